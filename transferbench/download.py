"""Files from the network: whole, checked and resumed. Knows HTTP and hashes; knows no dataset and no net."""

import hashlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from filelock import FileLock, Timeout

from transferbench import __version__
from transferbench.errors import DownloadError, StorageError
from transferbench.files import publish_file, storing
from transferbench.progress import Progress

_CHUNK_BYTES = 1 << 18
_MB = 1_000_000
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a server is given.

    Parameters
    ----------
    timeout_s : float
        Longest silence of a server, in seconds.
    attempts : int
        Requests to one address that bring nothing new before the next address is tried.
    pause_s : float
        Wait before the second attempt; it doubles with every further one.
    """

    timeout_s: float = 30.0
    attempts: int = 4
    pause_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known about a file before it is there.

    Parameters
    ----------
    sha256 : str or None
        64 hexadecimal digits, or as many leading ones (8 at least) as its publisher gives.
    md5 : str or None
        32 hexadecimal digits.
    size : int or None
        In bytes.

    Raises
    ------
    ValueError
        If a hash is not hexadecimal or of the wrong length.
    """

    sha256: str | None = None
    md5: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        for name, text, shortest, longest in (("sha256", self.sha256, 8, 64), ("md5", self.md5, 32, 32)):
            if text is not None and not re.fullmatch(rf"[0-9a-f]{{{shortest},{longest}}}", text):
                msg = f"{name} {text!r} is not {longest} hexadecimal digits in lower case"
                raise ValueError(msg)

    @property
    def has_hash(self) -> bool:
        """Whether the content is known, not only its length."""
        return self.sha256 is not None or self.md5 is not None

    def problem(self, path: Path) -> str | None:
        """Compare a file with what is known.

        Parameters
        ----------
        path : Path
            An existing file.

        Returns
        -------
        str or None
            The first difference; None when there is none.
        """
        found = path.stat().st_size
        if self.size not in {None, found}:
            return f"it has {found:,} bytes instead of {self.size:,}"
        for name, expected in (("sha256", self.sha256), ("md5", self.md5)):
            if expected is not None and not (digest := _hash(path, name)).startswith(expected):
                return f"its {name} is {digest} instead of {expected}"
        return None

    def __str__(self) -> str:
        known = [
            f"{self.size:,} bytes" if self.size is not None else "",
            f"sha256 {self.sha256}" if self.sha256 else "",
            f"md5 {self.md5}" if self.md5 else "",
        ]
        return ", ".join(filter(None, known)) or "neither size nor hash is published"


class _RefusedError(Exception):
    """An address does not have the file; asking again is of no use."""


class _BrokenOffError(Exception):
    """The transfer stopped; what came before it is kept."""


def download(
    urls: Sequence[str],
    target: Path,
    *,
    sha256: str | None,
    md5: str | None,
    size: int | None,
    progress: Progress,
    patience: Patience | None = None,
) -> Path:
    """Fetch a file, unless it is there; go on with a transfer that was broken off.

    Parameters
    ----------
    urls : sequence of str
        The address and its mirrors (http, https), in the order in which they are tried.
    target : Path
        Where the file is to appear, whole and checked. A file that somebody put there by hand is checked too.
    sha256 : str or None
        64 hexadecimal digits, or as many leading ones (8 at least) as its publisher gives.
    md5 : str or None
        32 hexadecimal digits.
    size : int or None
        In bytes.
    progress : Progress
        Told how many MB have come.
    patience : Patience, optional
        How long a server is given.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    DownloadError
        If no address gives the file, each with its reason, and what to do by hand; or if `target` is another file.
    StorageError
        If the disk does not take it, or another process fetches the same file.

    Notes
    -----
    What has come is kept as ``.NAME.part`` beside the target and completed by a range request of a later call; without
    a known hash only a request of the same call goes on, since the file may have changed in between.
    """
    expected = Expected(sha256=sha256, md5=md5, size=size)
    if target.exists():
        _check_present(target, expected)
        return target
    part = target.with_name(f".{target.name}.part")
    with _only_one(target):
        if target.exists():  # another process has fetched it in the meantime
            _check_present(target, expected)
            return target
        problems = []
        for url in urls:
            if not expected.has_hash:
                part.unlink(missing_ok=True)
            try:
                _fetch(url, part, expected, _Bar(target.name, progress), patience or Patience())
            except _RefusedError as problem:
                problems.append(f"  {url}\n    {problem}")
                continue
            publish_file(part, target)
            return target
    raise DownloadError(_by_hand(target, expected, urls, problems))


def _check_present(target: Path, expected: Expected) -> None:
    problem = expected.problem(target) if target.is_file() else "it is no file"
    if problem is not None:
        msg = f"{target}: is there, but not the file that is meant: {problem}. Delete it, then run the command again."
        raise DownloadError(msg)


def _by_hand(target: Path, expected: Expected, urls: Sequence[str], problems: Sequence[str]) -> str:
    kept = target.with_name(f".{target.name}.part")
    resumed = "\n  What has come is kept; the same command goes on with it." if kept.exists() else ""
    return (
        f"{target.name} cannot be downloaded:\n" + "\n".join(problems or ["  no address is known"]) + f"{resumed}\n"
        f"  By hand: fetch {urls[0] if urls else target.name} on a machine that reaches it,\n"
        f"  put it at {target} ({expected})\n"
        "  and run the command again; the file is checked and used."
    )


@contextmanager
def _only_one(target: Path) -> Iterator[None]:
    path = target.with_name(f".{target.name}.lock")
    with storing(path, 0):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout as problem:
            msg = f"{target} is being fetched by another process. Wait until it has finished, then run this again."
            raise StorageError(msg) from problem
    try:
        yield
    finally:
        lock.release()


def _fetch(url: str, part: Path, expected: Expected, bar: "_Bar", patience: Patience) -> None:
    """Complete the partial file from one address, however often that address breaks off."""
    farthest = _length(part)
    from_earlier, failures, address = farthest > 0, 0, _Address(url, patience.timeout_s)
    while True:
        try:
            _transfer(address, part, expected, bar)
        except _BrokenOffError as problem:
            failures = 0 if _length(part) > farthest else failures + 1
            farthest = max(farthest, _length(part))
            if failures >= patience.attempts:
                msg = f"{problem} ({patience.attempts} attempts in a row brought nothing)"
                raise _RefusedError(msg) from problem
            time.sleep(patience.pause_s * 2**failures)
            continue
        difference = expected.problem(part)
        if difference is None:
            return
        part.unlink()
        if not from_earlier:
            msg = f"gives another file: {difference}. Nothing of it is kept"
            raise _RefusedError(msg)
        # The beginning came from an earlier call and may be that of another version: once more, from the start.
        from_earlier, farthest = False, 0


def _transfer(address: "_Address", part: Path, expected: Expected, bar: "_Bar") -> None:
    """Ask once and append what comes."""
    offset = _length(part)
    if offset and offset == expected.size:
        return
    with address.opened(offset) as response:
        if response.status == 416:  # the partial file is as long as the whole, or longer
            part.unlink()
            msg = "does not have the rest of the file"
            raise _BrokenOffError(msg)
        if _is_page(response):
            raise _RefusedError(_PAGE_MESSAGE)
        start = _start_of(response, offset)
        total = _total(response, start)
        if expected.size is not None and total not in {None, expected.size}:
            msg = f"has another file: {total:,} bytes instead of {expected.size:,}"
            raise _RefusedError(msg)
        _append(response, part, start, total if total is not None else expected.size, bar)


_PAGE_MESSAGE = "answers with a web page instead of the file; it may have moved or ask for a login"


def _append(response: HTTPResponse, part: Path, start: int, total: int | None, bar: "_Bar") -> None:
    received = start
    with storing(part, total or 0):
        file = part.open("r+b" if start else "wb")
    with file, bar.running(start, total) as advance:
        file.truncate(start)
        file.seek(start)
        while chunk := _read(response):
            if received == 0 and _PAGE.match(chunk):
                raise _RefusedError(_PAGE_MESSAGE)
            received += len(chunk)
            if total is not None and received > total:
                msg = f"sends more than the {total:,} bytes of the file"
                raise _RefusedError(msg)
            with storing(part, total or received):
                file.write(chunk)
            advance(len(chunk))
        with storing(part, total or received):
            file.flush()
    if total is not None and received < total:
        msg = f"broke off after {received:,} of {total:,} bytes"
        raise _BrokenOffError(msg)


def _read(response: HTTPResponse) -> bytes:
    try:
        # read1 returns what is there, so that a transfer that breaks off loses nothing it brought.
        return response.read1(_CHUNK_BYTES)
    except (OSError, HTTPException) as problem:
        msg = _network_words(problem)
        raise _BrokenOffError(msg) from problem


@dataclass(slots=True)
class _Address:
    """An address, and the version of the file that it gave first."""

    url: str
    timeout_s: float
    tag: str = ""

    @contextmanager
    def opened(self, offset: int) -> Iterator[HTTPResponse]:
        """Ask for the file from an offset on."""
        if urlsplit(self.url).scheme not in {"http", "https"}:
            msg = "is neither an http nor an https address"
            raise _RefusedError(msg)
        headers = {"User-Agent": f"transferbench/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if offset and self.tag:
            headers["If-Range"] = self.tag
        request = Request(self.url, headers=headers)  # noqa: S310 - the scheme is checked above
        try:
            response = _opener().open(request, timeout=self.timeout_s)
        except HTTPError as problem:
            if problem.code != 416:
                msg = f"answers {problem.code} {problem.reason}"
                raise (_BrokenOffError if problem.code in _TRY_AGAIN else _RefusedError)(msg) from problem
            response = problem
        except (OSError, HTTPException) as problem:
            reason = problem.reason if isinstance(problem, URLError) else problem
            hopeless = isinstance(reason, (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError))
            raise (_RefusedError if hopeless else _BrokenOffError)(_network_words(reason)) from problem
        with response:
            # A weak tag ("W/...") does not promise equal bytes, so it cannot vouch for the rest of a file.
            found = response.headers.get("ETag", "")
            self.tag = found if found.startswith('"') else ""
            yield response


def _opener() -> OpenerDirector:
    """Make an opener for http and https alone: a redirection leads neither to a local file nor to ftp."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPRedirectHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _network_words(problem: object) -> str:
    match problem:
        case TimeoutError():
            return "stopped answering"
        case socket.gaierror():
            return "its machine is not found: no network, or the address is gone"
        case ConnectionRefusedError():
            return "refuses the connection"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {problem.verify_message}"
        case _:
            return f"broke off: {problem}"


def _start_of(response: HTTPResponse, offset: int) -> int:
    """Return the position of the first byte of a response; 0 when the server ignores the range."""
    if response.status != 206:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != offset:
        msg = "answers with another part of the file than was asked for"
        raise _RefusedError(msg)
    return offset


def _total(response: HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None


def _is_page(response: HTTPResponse) -> bool:
    return bool(response.headers.get_content_type() in {"text/html", "application/xhtml+xml"})


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _hash(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, name).hexdigest()


@dataclass(frozen=True, slots=True)
class _Bar:
    """A transfer as a task counted in MB."""

    name: str
    progress: Progress

    @contextmanager
    def running(self, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
        begin, received, shown = time.monotonic(), start, start // _MB
        with self.progress.task(f"downloading {self.name}, MB", -(-(total or 0) // _MB), done=shown) as task:

            def advance(n_bytes: int) -> None:
                nonlocal received, shown
                received += n_bytes
                if (now := received // _MB) > shown:
                    speed = (received - start) / _MB / max(time.monotonic() - begin, 1e-3)
                    task.advance(now - shown, note=f"{speed:.1f} MB/s")
                    shown = now

            yield advance
