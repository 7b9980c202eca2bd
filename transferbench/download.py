"""Files from the network: whole, checked and resumed, from the first of several addresses that gives them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from transferbench.address import Patience, RefusedError, fetch
from transferbench.errors import DownloadError, StorageError
from transferbench.expected import Expected
from transferbench.files import publish_file, storing
from transferbench.progress import Progress


def download(
    urls: Sequence[str],
    target: Path,
    expected: Expected,
    *,
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
    expected : Expected
        What is known of it.
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
                fetch(url, part, expected, name=target.name, progress=progress, patience=patience or Patience())
            except RefusedError as problem:
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
