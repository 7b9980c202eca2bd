"""Where datasets are, and opening them for the other verbs; a record told in rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

from transferbench.data import Dataset, Source, open_dataset, open_source, packed_in
from transferbench.data.own import own_name
from transferbench.data.pack.layout import Pack, is_pack
from transferbench.data.pack.reading import PackedDataset
from transferbench.data.place import Place
from transferbench.data.record import Archive, DatasetRecord, Part, is_own
from transferbench.errors import BadImageError, DatasetError
from transferbench.home import Home
from transferbench.progress import Progress, Silent
from transferbench.types.scores import PublishedRow


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where the data are, if not in the work folder, and how much of them is wanted.

    Parameters
    ----------
    data_dir : Path, optional
        Instead of the dataset's folder in the work folder.
    limit : int, optional
        For a trial: at most so many images of every class, in every part.
    progress : Progress
        Told of what takes long before the work itself begins.
    """

    data_dir: Path | None = None
    limit: int | None = None
    progress: Progress = field(default_factory=Silent, compare=False, repr=False)


WHOLE = DataOptions()
"""All of it, in the work folder."""


def place_of(name: str, home: Home, options: DataOptions = WHOLE) -> Place:
    """Work out where a dataset is.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        What the command line says.

    Returns
    -------
    Place
        Nothing is looked at.
    """
    folder = options.data_dir or home.data / (name if not is_own(name) else "own")
    return Place(
        folder=folder.expanduser().absolute(),
        memory=home.data / ".hashes",
        limit=options.limit,
        progress=options.progress,
    )


@contextmanager
def mending(name: str, options: DataOptions) -> Iterator[None]:
    """Add to the error about a damaged image what to do about it.

    Parameters
    ----------
    name : str
        Of the dataset, as the user gave it.
    options : DataOptions
        What the command line says.

    Raises
    ------
    BadImageError
        The one that was raised within, with its remedy.
    """
    try:
        yield
    except BadImageError as problem:
        place = "" if options.data_dir is None else f" --data-dir {quote(str(options.data_dir))}"
        look = f"tb datasets check {quote(name)}{place} --deep"
        todo = f"Get the file again and repeat the command. All such files: {look}"
        raise BadImageError(problem.path, problem.reason, problem.todo or todo) from problem


def target(name: str, home: Home, options: DataOptions = WHOLE) -> Dataset:
    """Open the target of a transfer experiment.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        What the command line says.

    Returns
    -------
    Dataset
        Ready to give images.

    Raises
    ------
    DatasetError
        If it is not there or not what its record states.
    """
    return open_dataset(name, place_of(name, home, options))


def source(name: str, home: Home, options: DataOptions = WHOLE) -> Source:
    """Open a dataset to pretrain on.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        What the command line says.

    Returns
    -------
    Source
        Ready to give images.

    Raises
    ------
    DatasetError
        If it is not there or not what its record states.
    """
    return open_source(name, place_of(name, home, options))


def pack_folder(name: str, home: Home, short_side: int) -> Path:
    """Say where a pack of a dataset is written.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    short_side : int
        Of the packed images, in px.

    Returns
    -------
    Path
        Beside the dataset's own folder; for the user's own data named after its folder.
    """
    return home.data / f"{own_name(name) if is_own(name) else name}-pack{short_side}"


def packs_of(name: str, home: Home) -> list[tuple[int, Path]]:
    """List the finished packs of a dataset in the work folder.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.

    Returns
    -------
    list of tuple of int and Path
        Short side in px and folder, small ones first.
    """
    start = pack_folder(name, home, 0).name.removesuffix("0")
    found = [(path.name.removeprefix(start), path) for path in home.data.glob(f"{start}*") if is_pack(path)]
    return sorted((int(side), path) for side, path in found if side.isdecimal())


def training_source(name: str, home: Home, options: DataOptions, *, short_side: int, progress: Progress) -> Source:
    """Open what a training reads: the dataset's own folder, or else a pack that is large enough.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        What the command line says; a folder named there is the one that is read.
    short_side : int
        The largest that is trained at, in px: a smaller pack would have to be enlarged.
    progress : Progress
        Told what was chosen, and what would be faster.

    Returns
    -------
    Source
        A pack only takes the place of a folder that is not there: the same command never changes its input because
        something was added beside it.

    Raises
    ------
    DatasetError
        If it is not there or not what its record states, or a pack that is too small.
    """
    packs = [path for side, path in packs_of(name, home) if side >= short_side]
    if options.data_dir is None and packs:
        own = packed_in(name, place_of(name, home))
        if not own.is_dir():
            progress.say(f"reading {packs[0]}: {own} is not there")
            options = replace(options, data_dir=packs[0])
        elif not is_pack(own):
            progress.say(f"reading {own}; --data-dir {packs[0]} would load faster")
    opened = source(name, home, options)
    if isinstance(opened, PackedDataset):
        _refuse_small_pack(opened.pack, packed_in(name, place_of(name, home, options)), short_side)
    return opened


def _refuse_small_pack(pack: Pack, folder: Path, short_side: int) -> None:
    if pack.rescaled and pack.options.short_side < short_side:
        msg = (
            f"{folder}: its images were rescaled to a short side of {pack.options.short_side} px; at {short_side} px "
            "they would be enlarged, and blurred.\n"
            f"  tb datasets pack {pack.dataset} --short-side {short_side}, or --data-dir with the original images."
        )
        raise DatasetError(msg)


def record_rows(record: DatasetRecord, published: Mapping[str, PublishedRow], folder: Path) -> list[list[str]]:
    """Tell a record in rows of a name and a value.

    Parameters
    ----------
    record : DatasetRecord
        Any.
    published : mapping of str to PublishedRow
        What others reached.
    folder : Path
        Where the record stands.

    Returns
    -------
    list of list of str
        For a table of two columns.
    """
    rows = [
        ["title", record.title],
        ["task", f"{record.task.replace('_', ' ')}, {len(record.classes)} classes"],
        ["metric", f"{record.metric}{f' ({record.average_precision})' if record.average_precision else ''}"],
    ]
    rows += [[f"part {name}", _part_told(part)] for name, part in record.parts.items()]
    rows += [["counts", record.counts_source], ["protocol", record.protocol.sentence()]]
    rows += [[f"archive {a.file}", _archive_told(a)] for a in record.archives]
    rows += [["source", record.source], ["licence", record.licence], ["citation", record.citation]]
    rows += [[f"published {key}", f"{100 * row.value:.1f} ({row.source})"] for key, row in published.items()]
    return [*rows, ["record", str(folder)]]


def _part_told(part: Part) -> str:
    counts = [f"{n:,} {what}" for n, what in ((part.images, "images"), (part.people, "people")) if n is not None]
    told = ", ".join(counts) or "number of images not published"
    return f"{told}{'' if part.verified else ' (not verified)'}, {part.use}"


def _archive_told(archive: Archive) -> str:
    where = " or ".join(archive.urls) if archive.urls else f"after registration at {archive.page}"
    digest = f"sha256 {archive.sha256}" if archive.sha256 else f"md5 {archive.md5}" if archive.md5 else "no hash known"
    return f"{archive.holds}; {digest}; {where}"
