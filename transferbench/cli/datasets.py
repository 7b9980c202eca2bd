"""`tb datasets`."""

from pathlib import Path
from typing import Literal

import click

from transferbench.cli.options import data_dir_option, data_options, home_option, json_option
from transferbench.cli.terminal import print_json, print_table, progress

_MARKS = {"ok": "ok", "info": "note", "stray": "stray", "missing": "MISSING", "corrupt": "CORRUPT", "wrong": "WRONG"}


@click.group(short_help="List, show, fetch, check, pack and divide datasets.")
def datasets() -> None:
    """List, show, fetch and check datasets, and write out their splits.

    Records of your own are found in the folders that TB_DATASETS names, as NAME/dataset.yaml.
    """


@datasets.command("list")
@json_option
def list_datasets(as_json: bool) -> None:
    """List the datasets with a record.

    \b
    Example:
      tb datasets list
    """
    from transferbench.data.record import load_record, record_names

    records = [load_record(name) for name in record_names()]
    rows = [
        [r.name, r.title, r.task.replace("_", " "), len(r.classes), r.images if as_json else r.images or "?", r.metric]
        for r in records
    ]
    head = ("dataset", "title", "task", "classes", "images", "metric")
    print_table(head, rows, right=("classes", "images"), as_json=as_json)


@datasets.command("show")
@click.argument("name")
@json_option
def show_dataset(name: str, as_json: bool) -> None:
    """Print the record of a dataset: parts, protocol, archives, licence, published numbers.

    \b
    Example:
      tb datasets show voc2007
    """
    from transferbench.data.published import load_published
    from transferbench.data.record import load_record, record_folder
    from transferbench.pipeline.datasets import record_rows

    record, published = load_record(name), load_published(name)
    if as_json:
        rows_of = {key: {"value": row.value, "source": row.source} for key, row in published.items()}
        print_json({**record.model_dump(mode="json"), "record": str(record_folder(name)), "published": rows_of})
        return
    print_table((name, ""), record_rows(record, published, record_folder(name)), as_json=False)


@datasets.command("fetch")
@click.argument("name")
@click.option("--keep-archives", is_flag=True, help="Keep the archives after unpacking them.")
@click.option("--again", is_flag=True, help="Fetch and unpack also what was unpacked before.")
@data_dir_option
@home_option
@json_option
def fetch_dataset(
    name: str, keep_archives: bool, again: bool, data_dir: Path | None, home: Path, as_json: bool
) -> None:
    """Download the archives of a dataset, check their hashes and unpack them.

    Goes on where it was stopped. Archives that are given out after a registration are never downloaded: the command
    says where to register, and unpacks them once they are in the folder that it names.

    \b
    Example:
      tb datasets fetch caltech101
    """
    from transferbench.home import Home
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.fetch import fetch

    fetched = fetch(name, Home.at(home), DataOptions(data_dir), keep=keep_archives, again=again, progress=progress())
    rows = [[one.archive.file, one.archive.holds, one.state, one.sha256] for one in fetched]
    print_table(("archive", "holds", "state", "sha256"), rows, as_json=as_json)
    click.echo(f"next: tb datasets check {name}", err=True)


@datasets.command("check")
@click.argument("name")
@click.option(
    "--deep",
    is_flag=True,
    help="Decode every image, and look for files with equal contents and images that look alike.",
)
@data_options
@home_option
@json_option
def check_dataset(name: str, deep: bool, data_dir: Path | None, limit: int | None, home: Path, as_json: bool) -> None:
    """Compare a dataset on disk with its record and open every image.

    NAME has a record (`tb datasets list`), or is imagefolder:PATH or csv:PATH. Everything that is missing, corrupt,
    wrong or stray is listed at once with what to do; exits with 1 if the dataset cannot be used. With --limit lists and
    counts are checked whole, and only so many images are opened.

    \b
    Example:
      tb datasets check voc2007 --data-dir /data/VOCdevkit
    """
    from transferbench.home import Home
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.doctor import check, check_to_dict

    found = check(name, Home.at(home), DataOptions(data_dir, limit), deep=deep, progress=progress())
    if as_json:
        print_json(check_to_dict(found))
    else:
        rows = [[_MARKS[f.severity], f.what, f.where, f.todo] for f in found.findings]
        print_table(("", f"{name}: {found.layout or 'nothing recognised'}", "where", "what to do"), rows, as_json=False)
    if not found.good:
        problems = sum(finding.is_problem for finding in found.findings)
        msg = f"{name}: {problems} problem(s) in {found.folder}; it cannot be used like this"
        raise click.ClickException(msg)


@datasets.command("pack")
@click.argument("name")
@click.option(
    "--short-side",
    type=click.IntRange(min=1),
    metavar="PX",
    default=512,
    show_default=True,
    help="Images with a larger short side are rescaled to it; the others keep their file. At least the largest scale "
    "that will be trained at.",
)
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of the rescaled JPEGs.")
@click.option(
    "--interpolation", type=click.Choice(("bicubic", "bilinear")), default="bicubic", show_default=True, help="Filter."
)
@click.option("--shard-images", type=click.IntRange(min=1), default=8192, show_default=True, help="Images in a shard.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the pack, instead of data/NAME-packPX in the work folder.",
)
@click.option("--estimate", is_flag=True, help="Say how large the pack will be, and write nothing.")
@data_options
@home_option
@json_option
def pack_dataset(
    name: str,
    short_side: int,
    quality: int,
    interpolation: Literal["bicubic", "bilinear"],
    shard_images: int,
    out: Path | None,
    estimate: bool,
    data_dir: Path | None,
    limit: int | None,
    home: Path,
    as_json: bool,
) -> None:
    """Pack a dataset to pretrain on into few large files, which load faster.

    The files are plain tar archives of images and class numbers, as WebDataset names them; tar reads them too. Goes on
    where it was stopped. Rescaled images are not the originals: the pack's hash is part of every run that reads it.

    \b
    Example:
      tb datasets pack ilsvrc2012 --short-side 256 --data-dir /data/ilsvrc
    """
    from transferbench.data.pack.layout import PackOptions
    from transferbench.home import Home
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.pack import pack, packed_row

    options = PackOptions(
        short_side=short_side, quality=quality, interpolation=interpolation, shard_images=shard_images
    )
    data = DataOptions(data_dir, limit)
    done = pack(name, Home.at(home), data, options, out=out, only_estimate=estimate, progress=progress())
    row = packed_row(done)
    print_table(tuple(row), [list(row.values())], right=("bytes", "kept", "rescaled"), as_json=as_json)


@datasets.command("splits")
@click.argument("name")
@click.option(
    "--write",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for one text per split: a part and an id on every line.",
)
@click.option("--by-class", is_flag=True, help="Show the numbers of every class.")
@click.option(
    "--low-shot",
    metavar="N[,N]",
    help="Divisions with N training images of every class, as low_shot in a recipe makes them.",
)
@data_options
@home_option
@json_option
def show_splits(
    name: str,
    folder: Path | None,
    by_class: bool,
    low_shot: str | None,
    data_dir: Path | None,
    limit: int | None,
    home: Path,
    as_json: bool,
) -> None:
    """Show the splits of a dataset: sizes and hashes, the same on every machine.

    The hash is that of the text that --write writes, as sha256sum prints it.

    \b
    Example:
      tb datasets splits caltech256 --by-class
      tb datasets splits digits --low-shot 1,2,4
    """
    counts = [] if low_shot is None else low_shot.split(",")
    if not all(count.strip().isdecimal() and int(count) for count in counts):
        msg = f"--low-shot {low_shot}: give numbers of images with commas between them, for instance 1,2,4"
        raise click.UsageError(msg)
    from transferbench.home import Home
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.splits import splits

    wanted = list(dict.fromkeys(map(int, counts)))
    found = splits(name, Home.at(home), DataOptions(data_dir, limit), folder, wanted)
    head: tuple[str, ...] = ("split", "fit", "validation", "test", "sha256")
    rows = [[s.split.name, len(s.split.fit), len(s.split.validation), len(s.split.test), s.text_sha256] for s in found]
    whose = found
    if by_class:
        head = ("split", "class", "fit", "validation", "test")
        whose = [s for s in found for _ in s.per_class]
        rows = [[s.split.name, class_name, *n] for s in found for class_name, n in s.per_class.items()]
    if wanted:
        head = ("per class", *head)
        rows = [[s.train_per_class, *row] for s, row in zip(whose, rows, strict=True)]
    print_table(head, rows, right=("per class", "fit", "validation", "test"), as_json=as_json)
    for one in found:
        if one.path is not None:
            click.echo(f"wrote {one.path}", err=True)
