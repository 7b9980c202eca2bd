"""`tb cache`: what the cache holds, whether it is whole, and copies of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from transferbench.cache.store import StoredBlock, remove, stored_blocks
from transferbench.cache.verification import verify
from transferbench.evaluation.svm.gram_file import StoredGram, stored_grams
from transferbench.home import Home
from transferbench.progress import Progress


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checking a block found.

    Parameters
    ----------
    block : StoredBlock
        Which.
    problems : tuple of str
        Empty when every byte is right.
    """

    block: StoredBlock
    problems: tuple[str, ...]


def verify_all(blocks: Sequence[StoredBlock], progress: Progress) -> list[Verdict]:
    """Check blocks byte by byte.

    Parameters
    ----------
    blocks : sequence of StoredBlock
        As listed.
    progress : Progress
        Told after every block.

    Returns
    -------
    list of Verdict
        In the same order.
    """
    verdicts = []
    with progress.task("verifying", len(blocks)) as task:
        for block in blocks:
            verdicts.append(Verdict(block, tuple(verify(block))))
            task.advance(note=f"{block.n_bytes / 1e6:.0f} MB")
    return verdicts


def prunable(home: Home, dataset: str | None, net: str | None) -> list[StoredBlock]:
    """Find blocks to delete.

    Parameters
    ----------
    home : Home
        The work folder.
    dataset, net : str or None
        Every block of them; when both are None, only unfinished and damaged blocks.

    Returns
    -------
    list of StoredBlock
        Sorted by name.
    """
    blocks = stored_blocks(home.features)
    if dataset is None and net is None:
        return [block for block in blocks if block.state != "complete"]
    # The folder's first two names are the dataset and the net with its weights; a damaged block has no other.
    chosen = []
    for block in blocks:
        of_dataset, of_net = block.name.split("/")[:2]
        if dataset in {None, of_dataset} and net in {None, of_net, of_net.rpartition("-")[0]}:
            chosen.append(block)
    return chosen


def prune(blocks: Sequence[StoredBlock]) -> int:
    """Delete blocks.

    Parameters
    ----------
    blocks : sequence of StoredBlock
        As `prunable` found them.

    Returns
    -------
    int
        Bytes freed.
    """
    for block in blocks:
        remove(block)
    return sum(block.n_bytes for block in blocks)


def verify_grams(home: Home) -> list[tuple[StoredGram, str | None]]:
    """Check the stored Gram matrices byte by byte.

    Parameters
    ----------
    home : Home
        The work folder.

    Returns
    -------
    list of tuple
        Every matrix, and what is wrong with it or None.
    """
    return [(gram, gram.problem()) for gram in stored_grams(home.grams)]


def prune_grams(grams: Sequence[StoredGram]) -> int:
    """Delete Gram matrices: they are made again from the blocks when they are needed.

    Parameters
    ----------
    grams : sequence of StoredGram
        As `stored_grams` lists them.

    Returns
    -------
    int
        Bytes freed.
    """
    for gram in grams:
        gram.remove()
    return sum(gram.n_bytes for gram in grams)
