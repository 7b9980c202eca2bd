"""One file from one address, however often the transfer breaks off. Knows HTTP; knows nothing of mirrors."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
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

from transferbench import __version__
from transferbench.expected import Expected
from transferbench.files import storing
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


class RefusedError(Exception):
    """An address does not have the file; asking again is of no use."""


class _BrokenOffError(Exception):
    """The transfer stopped; what came before it is kept."""


def fetch(url: str, part: Path, expected: Expected, *, name: str, progress: Progress, patience: Patience) -> None:
    """Complete a partial file from one address, however often that address breaks off.

    Parameters
    ----------
    url : str
        The address, http or https.
    part : Path
        The partial file: what an earlier call brought, or not there. Whole and checked afterwards.
    expected : Expected
        What the whole file must be.
    name : str
        Of the file, for people.
    progress : Progress
        Told how many MB have come.
    patience : Patience
        How long the server is given.

    Raises
    ------
    RefusedError
        If the address does not give the file; the text completes a sentence that begins with the address.
    StorageError
        If the disk does not take it.
    """
    farthest = _length(part)
    bar = _Bar(name, progress)
    from_earlier, failures, address = farthest > 0, 0, _Address(url, patience.timeout_s)
    while True:
        try:
            _transfer(address, part, expected, bar)
        except _BrokenOffError as problem:
            failures = 0 if _length(part) > farthest else failures + 1
            farthest = max(farthest, _length(part))
            if failures >= patience.attempts:
                msg = f"{problem} ({patience.attempts} attempts in a row brought nothing)"
                raise RefusedError(msg) from problem
            time.sleep(patience.pause_s * 2**failures)
            continue
        difference = expected.problem(part)
        if difference is None:
            return
        part.unlink()
        if not from_earlier:
            msg = f"gives another file: {difference}. Nothing of it is kept"
            raise RefusedError(msg)
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
            raise RefusedError(_PAGE_MESSAGE)
        start = _start_of(response, offset)
        total = _total(response, start)
        if expected.size is not None and total not in {None, expected.size}:
            msg = f"has another file: {total:,} bytes instead of {expected.size:,}"
            raise RefusedError(msg)
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
                raise RefusedError(_PAGE_MESSAGE)
            received += len(chunk)
            if total is not None and received > total:
                msg = f"sends more than the {total:,} bytes of the file"
                raise RefusedError(msg)
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
            raise RefusedError(msg)
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
                raise (_BrokenOffError if problem.code in _TRY_AGAIN else RefusedError)(msg) from problem
            response = problem
        except (OSError, HTTPException) as problem:
            reason = problem.reason if isinstance(problem, URLError) else problem
            hopeless = isinstance(reason, (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError))
            raise (RefusedError if hopeless else _BrokenOffError)(_network_words(reason)) from problem
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
        raise RefusedError(msg)
    return offset


def _total(response: HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None


def _is_page(response: HTTPResponse) -> bool:
    return bool(response.headers.get_content_type() in {"text/html", "application/xhtml+xml"})


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


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
