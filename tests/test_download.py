"""Downloads from a real server on 127.0.0.1 that behaves, breaks off, lies, ignores ranges, stalls or answers pages."""

import hashlib
import random
import resource
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from transferbench import download as module
from transferbench.address import Patience
from transferbench.download import download
from transferbench.errors import DownloadError, StorageError
from transferbench.expected import Expected
from transferbench.progress import Silent

CONTENT = random.Random(1).randbytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
SIZE = len(CONTENT)
SWIFT = Patience(timeout_s=20, attempts=3, pause_s=0.001)  # a busy machine may keep the server waiting for seconds
HASTY = Patience(timeout_s=0.4, attempts=3, pause_s=0.001)


class Server:
    """What the handler is to do, and what it was asked."""

    def __init__(self):
        self.content = CONTENT
        self.etag = '"one"'
        self.break_after = []  # bytes of the first answers
        self.ignores_range = False
        self.stalls = 0  # answers that stop in the middle without closing
        self.status = []  # statuses of the first answers
        self.page = None
        self.length_header = True
        self.wrong_range_start = False
        self.redirect_to = None
        self.requests = []
        self.released = threading.Event()


class Handler(BaseHTTPRequestHandler):
    state: Server

    def log_message(self, *args):
        pass

    def do_GET(self):
        state = self.state
        state.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        if state.redirect_to and self.path != "/file.bin":
            self._head(302, Location=state.redirect_to)
        elif state.status:
            self.send_error(state.status.pop(0))
        elif state.page is not None:
            body, kind = state.page
            self._head(200, **{"Content-Type": kind, "Content-Length": len(body)})
            self.wfile.write(body)
        else:
            self._file(self._start())

    def _start(self):
        asked = self.headers.get("Range")
        same = self.headers.get("If-Range") in {None, self.state.etag}
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked and same and not self.state.ignores_range else 0

    def _file(self, start):
        state, whole = self.state, len(self.state.content)
        if start >= whole:
            self.send_error(416)
            return
        body = state.content[start:]
        headers = {"ETag": state.etag}
        if start:
            headers["Content-Range"] = f"bytes {start + state.wrong_range_start}-{whole - 1}/{whole}"
        if state.length_header:
            headers["Content-Length"] = len(body)
        self._head(206 if start else 200, **headers)
        if state.stalls:
            state.stalls -= 1
            self.wfile.write(body[:100_000])
            self.wfile.flush()
            state.released.wait(10)
            return
        self.wfile.write(body[: state.break_after.pop(0)] if state.break_after else body)

    def _head(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()


@contextmanager
def _running(state):
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        state.released.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def address(server):
    with _running(server) as url:
        yield url


def fetch(urls, target, *, patience=SWIFT, progress=None, **known):
    urls = [urls] if isinstance(urls, str) else urls
    expected = Expected(**{"sha256": SHA256, "size": SIZE, **known})
    return download(urls, target, expected, progress=progress or Silent(), patience=patience)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def part_of(target):
    return target.with_name(f".{target.name}.part")


@pytest.mark.parametrize(
    "known",
    [
        {"sha256": SHA256},
        {"sha256": SHA256[:8]},
        {"sha256": None, "md5": MD5},
        {"sha256": None, "sha384": hashlib.sha384(CONTENT).hexdigest()},
    ],
)
def test_a_file_arrives_whole_and_checked(server, address, tmp_path, known):
    target = tmp_path / "new folder" / "file.bin"
    assert fetch(f"{address}/file.bin", target, **known) == target
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["file.bin"]


def test_a_file_that_is_there_is_checked_and_not_fetched_again(server, address, tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(CONTENT)
    assert fetch(f"{address}/file.bin", target) == target
    assert server.requests == []


def test_another_file_under_the_name_is_refused_and_left_alone(address, tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(DownloadError, match=r"file\.bin: is there, but not .* its sha256 is .* Delete it"):
        fetch(f"{address}/file.bin", target)
    assert target.read_bytes().endswith(b"?")


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server, address, tmp_path):
    server.break_after = [300_000, 200_000]
    target = fetch(f"{address}/file.bin", tmp_path / "file.bin")
    assert target.read_bytes() == CONTENT
    assert server.requests == [
        ("/file.bin", None, None),
        ("/file.bin", "bytes=300000-", '"one"'),
        ("/file.bin", "bytes=500000-", '"one"'),
    ]


def test_a_later_call_completes_what_an_earlier_one_brought(server, address, tmp_path):
    target = tmp_path / "file.bin"
    server.break_after = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError) as stopped:
        fetch(f"{address}/file.bin", target)
    assert "broke off after 300,000 of 700,000 bytes (3 attempts in a row brought nothing)" in str(stopped.value)
    assert "What has come is kept" in str(stopped.value)
    assert not target.exists()
    assert part_of(target).stat().st_size == 300_000
    server.requests.clear()
    fetch(f"{address}/file.bin", target)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/file.bin", "bytes=300000-", None)]
    assert names(tmp_path) == ["file.bin"]


def test_without_a_hash_nothing_of_an_earlier_call_is_used(server, address, tmp_path):
    target = tmp_path / "file.bin"
    part_of(target).write_bytes(b"of another version")
    fetch(f"{address}/file.bin", target, sha256=None, size=None)
    assert target.read_bytes() == CONTENT
    assert server.requests[0][1] is None


def test_a_changed_file_is_not_glued_to_its_old_beginning(server, address, tmp_path):
    """Between two requests the file changes: the tag of the first answer makes the server send the whole new one."""
    new = random.Random(2).randbytes(SIZE)

    class Changing(Silent):
        @contextmanager
        def task(self, description, total, *, done=0):
            with Silent().task(description, total, done=done) as task:
                yield task
            server.content, server.etag = new, '"two"'

    server.break_after = [300_000]
    target = fetch(f"{address}/file.bin", tmp_path / "file.bin", sha256=None, size=None, progress=Changing())
    assert target.read_bytes() == new


def test_a_beginning_from_another_version_is_dropped(server, address, tmp_path):
    target = tmp_path / "file.bin"
    part_of(target).write_bytes(b"\0" * 1000)
    fetch(f"{address}/file.bin", target)
    assert target.read_bytes() == CONTENT
    assert [asked for _, asked, _ in server.requests] == ["bytes=1000-", None]


@pytest.mark.parametrize("length", [SIZE, SIZE + 5])
def test_a_beginning_as_long_as_the_file_or_longer(server, address, tmp_path, length):
    target = tmp_path / "file.bin"
    part_of(target).write_bytes((CONTENT + b"extra")[:length])
    fetch(f"{address}/file.bin", target)
    assert target.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_starts_anew(server, address, tmp_path):
    server.ignores_range = True
    server.break_after = [300_000]
    assert fetch(f"{address}/file.bin", tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_server_that_sends_another_part_is_refused(server, address, tmp_path):
    server.break_after = [300_000]
    server.wrong_range_start = True
    with pytest.raises(DownloadError, match="another part of the file"):
        fetch(f"{address}/file.bin", tmp_path / "file.bin")


def test_a_server_that_stalls_is_asked_again(server, address, tmp_path):
    server.stalls = 1
    assert fetch(f"{address}/file.bin", tmp_path / "file.bin", patience=HASTY).read_bytes() == CONTENT
    assert server.requests[1][1] == "bytes=100000-"


def test_a_server_that_says_no_length(server, address, tmp_path):
    server.length_header = False
    assert fetch(f"{address}/file.bin", tmp_path / "file.bin", size=None).read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing(address, tmp_path):
    wrong = "0" * 64
    with pytest.raises(DownloadError) as refused:
        fetch(f"{address}/file.bin", tmp_path / "file.bin", sha256=wrong)
    assert f"its sha256 is {SHA256} instead of {wrong}" in str(refused.value)
    assert names(tmp_path) == []


def test_a_wrong_length_is_seen_before_anything_is_fetched(server, address, tmp_path):
    with pytest.raises(DownloadError, match="another file: 700,000 bytes instead of 700,001"):
        fetch(f"{address}/file.bin", tmp_path / "file.bin", size=SIZE + 1)
    assert len(server.requests) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "page",
    [
        (b"<html><body>Log in</body></html>", "text/html; charset=utf-8"),
        (b"\n<!-- moved -->\n<!DOCTYPE html><title>Gone</title>", "application/octet-stream"),
    ],
)
def test_a_web_page_is_not_a_file(server, address, tmp_path, page):
    server.page = page
    with pytest.raises(DownloadError, match="answers with a web page instead of the file"):
        fetch(f"{address}/file.bin", tmp_path / "file.bin", sha256=None, size=None)
    assert [name for name in names(tmp_path) if not name.startswith(".")] == []


def test_a_mirror_is_tried_when_the_first_address_fails(server, address, tmp_path):
    server.status = [404]
    target = fetch([f"{address}/gone.bin", f"{address}/file.bin"], tmp_path / "file.bin")
    assert target.read_bytes() == CONTENT
    assert [path for path, _, _ in server.requests] == ["/gone.bin", "/file.bin"]


def test_a_busy_server_is_asked_again(server, address, tmp_path):
    server.status = [503, 429]
    assert fetch(f"{address}/file.bin", tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_a_redirection_is_followed_but_not_to_a_local_file(server, address, tmp_path):
    server.redirect_to = f"{address}/file.bin"
    assert fetch(f"{address}/old.bin", tmp_path / "file.bin").read_bytes() == CONTENT
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    server.redirect_to = secret.as_uri()
    with pytest.raises(DownloadError):
        fetch(f"{address}/old.bin", tmp_path / "other.bin")
    assert not (tmp_path / "other.bin").exists()


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "/etc/hostname"])
def test_only_http_is_spoken(tmp_path, url):
    with pytest.raises(DownloadError, match="neither an http nor an https address"):
        fetch(url, tmp_path / "file.bin")


def test_offline_says_what_to_fetch_and_where_to_put_it(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        with pytest.raises(DownloadError) as offline:
            fetch([url], tmp_path / "weights" / "file.bin")
    text = str(offline.value)
    assert "refuses the connection" in text
    assert f"By hand: fetch {url}" in text
    assert f"put it at {tmp_path / 'weights' / 'file.bin'} (700,000 bytes, sha256 {SHA256})" in text


def test_two_processes_do_not_fetch_into_one_file(address, tmp_path):
    target = tmp_path / "file.bin"
    with module._only_one(target), pytest.raises(StorageError, match="is being fetched by another process"):
        fetch(f"{address}/file.bin", target)


def test_a_folder_that_cannot_be_written_is_a_clear_error(address, tmp_path):
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(StorageError, match="cannot write"):
        fetch(f"{address}/file.bin", tmp_path / "taken" / "file.bin")


def test_a_full_disk_is_a_clear_error(address, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"no room to write 700,000 bytes"):
            fetch(f"{address}/file.bin", tmp_path / "file.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    fetch(f"{address}/file.bin", tmp_path / "file.bin")
    assert names(tmp_path) == ["file.bin"]


def test_progress_counts_megabytes(server, address, tmp_path):
    server.content = random.Random(3).randbytes(3_400_000)
    seen = []

    class Counting(Silent):
        @contextmanager
        def task(self, description, total, *, done=0):
            seen.append([description, total, done])

            class Task:
                def advance(self, n=1, note=""):
                    seen[-1].append(n)
                    assert note.endswith("MB/s")

            yield Task()

    server.break_after = [2_100_000]
    fetch(f"{address}/file.bin", tmp_path / "file.bin", sha256=None, size=None, progress=Counting())
    assert [(head, total, done) for head, total, done, *_ in seen] == [
        ("downloading file.bin, MB", 4, 0),
        ("downloading file.bin, MB", 4, 2),
    ]
    assert [sum(steps) for _, _, _, *steps in seen] == [2, 1]


@pytest.mark.parametrize("bad", [{"sha256": "xyz"}, {"sha256": "ABCDEF0123"}, {"md5": SHA256}, {"sha384": SHA256}])
def test_a_hash_that_cannot_be_one_is_a_programming_error(tmp_path, bad):
    with pytest.raises(ValueError, match="hexadecimal digits"):
        fetch("http://127.0.0.1/", tmp_path / "file.bin", **{"sha256": None, **bad})
