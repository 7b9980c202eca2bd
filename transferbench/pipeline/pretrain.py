"""`tb pretrain`: recipes and a source dataset → weights, one run after the other along a chain."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transferbench.data import Source
from transferbench.data.pack.layout import is_pack
from transferbench.data.record import is_own
from transferbench.errors import TrainingError
from transferbench.files import sweep
from transferbench.home import Home
from transferbench.locks import writer_lock
from transferbench.pipeline.chain import NONE, Changes, Link, chain_of
from transferbench.pipeline.crops import pixels_of
from transferbench.pipeline.datasets import WHOLE, DataOptions, mending, training_source
from transferbench.pipeline.runs import Run
from transferbench.pipeline.stage import Stage, timed
from transferbench.progress import Progress

if TYPE_CHECKING:
    from transferbench.training.processes import Processes


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a pretraining is carried out; nothing of it is part of what is trained.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16", "float16"}
        Of the passes through the net; auto is bfloat16 on GPUs that have it, float32 elsewhere.
    compiled : bool
        Whether torch compiles the net.
    images_at_once : int, optional
        The most that one process sends through the net at once.
    workers : int, optional
        Processes that decode images, for every process that trains.
    save_every_s : float
        Seconds between checkpoints, besides one after every epoch.
    save_every_steps : int, optional
        Steps between checkpoints, besides the others.
    fresh : bool
        Whether a stopped run begins anew instead of going on.
    tensorboard : bool, optional
        Whether event files are written; where it is installed, when None.
    """

    precision: str = "auto"
    compiled: bool = False
    images_at_once: int | None = None
    workers: int | None = None
    save_every_s: float = 600.0
    save_every_steps: int | None = None
    fresh: bool = False
    tensorboard: bool | None = None


AS_USUAL = How()


def pretrain(
    link: Link,
    home: Home,
    *,
    device: str,
    progress: Progress,
    data: DataOptions = WHOLE,
    changes: Changes = NONE,
    how: How = AS_USUAL,
) -> tuple[Run, Stage]:
    """Pretrain a net and all that it starts from, unless that is done; go on with what was stopped.

    Parameters
    ----------
    link : Link
        The recipe and its name.
    home : Home
        Every run gets a folder in it.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    progress : Progress
        Told what happens.
    data : DataOptions
        Where the images are, and how many are wanted; a trial is a run of its own.
    changes : Changes
        What the command line says instead of the recipes.
    how : How
        Precision, memory, checkpoints.

    Returns
    -------
    tuple of Run and Stage
        The finished run of the recipe, and whether it was there.

    Raises
    ------
    TrainingError
        If the loss diverges, another process of a torchrun has gone away, or a finished run shall begin anew.
    StorageError
        If another process trains this very run.
    """
    with timed(Stage(f"pretrain {link.name}")) as stage:
        links, runs, images = chain_runs(link, home, data, changes, progress)
        if runs[-1].finished:
            if how.fresh and not _restarted():
                raise TrainingError(_not_fresh(runs[-1]))
            stage.reused = True
            reached = f"{accuracy(runs[-1]):.1%} held-out accuracy ({runs[-1].folder})"
            progress.say(f"reused: pretraining {links[-1].name}, {reached}")
            return runs[-1], stage
        # torch takes two seconds to import; a finished run never needs it.
        from transferbench.extraction.engine import choose_device
        from transferbench.pipeline.training import train_link
        from transferbench.training.processes import together

        if len(links) > 1:
            steps = [f"{name}{' (done)' if run.finished else ''}" for (name, run) in _named(links, runs)]
            progress.say(f"pretraining in {len(links)} steps: {' -> '.join(steps)}")
        chosen = choose_device(device)
        with together(chosen) as processes:
            for number, (one, run) in enumerate(zip(links, runs, strict=True)):
                if run.finished:
                    continue
                with _alone_in(run, processes), mending(one.recipe.dataset, images.data):
                    if one is links[-1] and how.fresh and not _restarted():
                        _begin_anew(run, processes)
                    start = runs[number - 1] if one.recipe.start is not None else None
                    train_link(
                        one, run, start, images.of(one), how, device=chosen, progress=progress, processes=processes
                    )
    return runs[-1], stage


def chain_runs(
    link: Link, home: Home, data: DataOptions, changes: Changes, progress: Progress
) -> tuple[tuple[Link, ...], list[Run], "Images"]:
    """Work out which pretrainings a command means, and where their runs are.

    Parameters
    ----------
    link, home, data, changes, progress
        As for `pretrain`.

    Returns
    -------
    tuple of Link
        In the order in which they have to be done.
    list of Run
        One for every link.
    Images
        What they are trained on.
    """
    links = chain_of(link.name, link.recipe, changes)
    images = Images(links, home, data, progress)
    return links, _runs(links, home, images), images


def accuracy(run: Run) -> float:
    """Return the accuracy that a finished run reached.

    Parameters
    ----------
    run : Run
        Finished.

    Returns
    -------
    float
        Held-out top-1 accuracy after the last epoch, in [0, 1].
    """
    return float(run.summary()["history"][-1]["accuracy"])


def _restarted() -> bool:
    """Tell whether torchrun has started these processes again: what is there then, they have made themselves."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _begin_anew(run: Run, processes: "Processes") -> None:
    from transferbench.training.checkpoint import remove_checkpoints
    from transferbench.training.curves import forget_curves

    if processes.first:
        remove_checkpoints(run.folder)
        forget_curves(run.folder)
    processes.wait()


def _not_fresh(run: Run) -> str:
    return (
        f"{run.folder.name} is finished, and --fresh only deletes what a stopped run has left.\n"
        f"  To train it once more: tb runs rm {run.folder.name} --yes, then the same command without --fresh."
    )


def _named(links: tuple[Link, ...], runs: list[Run]) -> Iterator[tuple[str, Run]]:
    return ((link.name, run) for link, run in zip(links, runs, strict=True))


class Images:
    """The sources of a chain, opened when they are needed: looking through a million files takes a while.

    Parameters
    ----------
    links : tuple of Link
        The chain; all of them read the same pixels.
    home : Home
        The work folder.
    data : DataOptions
        Where the images are, and how many are wanted.
    progress : Progress
        Told when images are looked through.
    """

    def __init__(self, links: tuple[Link, ...], home: Home, data: DataOptions, progress: Progress) -> None:
        self._home, self.data, self._progress = home, data, progress
        self._short_side = max(link.recipe.short_sides[1] for link in links)  # all links read the same pixels
        self._opened: dict[str, Source] = {}

    def of(self, link: Link) -> Source:
        """Open what a link is trained on.

        Parameters
        ----------
        link : Link
            Of the chain.

        Returns
        -------
        Source
            The same for all links of one dataset.
        """
        name = link.recipe.dataset
        if name not in self._opened:
            self._opened[name] = training_source(
                name, self._home, self.data, short_side=self._short_side, progress=self._progress
            )
        return self._opened[name]


def _runs(links: tuple[Link, ...], home: Home, images: Images) -> list[Run]:
    """Work out the runs of a chain; open the images only where the runs as distributed are not all there."""
    plain = _chained(links, home, images.data.limit, {})
    packed = images.data.data_dir is not None and is_pack(images.data.data_dir)
    if plain[-1].finished and not packed and not any(is_own(link.recipe.dataset) for link in links):
        return plain
    return _chained(links, home, images.data.limit, {link.name: _identity(link, images) for link in links})


def _chained(links: tuple[Link, ...], home: Home, limit: int | None, extra: dict[str, dict[str, Any]]) -> list[Run]:
    runs: list[Run] = []
    for link in links:
        start = runs[-1] if link.recipe.start is not None else None
        runs.append(Run.of(home, link.name, link.recipe, limit=limit, start=start, extra=extra.get(link.name)))
    return runs


def _identity(link: Link, images: Images) -> dict[str, Any]:
    """Say what else than the recipe decides the pixels."""
    source = images.of(link)
    pixels = pixels_of(source)
    found: dict[str, Any] = {"pixels": pixels} if pixels else {}
    if is_own(link.recipe.dataset):
        found["images_sha256"] = source.images_sha256
    return found


@contextmanager
def _alone_in(run: Run, processes: "Processes") -> Iterator[None]:
    """Let the first process hold the folder of a run for all of them."""
    if not processes.first:
        processes.wait()
        yield
        return
    with writer_lock(run.folder, f"the pretraining run {run.folder.name}"):
        sweep(run.folder)
        processes.wait()
        yield
