"""`tb cache`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from transferbench.cli.options import home_option, json_option
from transferbench.cli.terminal import print_json, print_table, progress

if TYPE_CHECKING:
    from transferbench.cache.store import StoredBlock


@click.group()
def cache() -> None:
    """Look after the descriptors on disk."""


@cache.command("list")
@home_option
@json_option
def list_blocks(home: Path, as_json: bool) -> None:
    """List blocks of descriptors with their size and state.

    \b
    Example:
      tb cache list
    """
    from transferbench.cache.store import stored_blocks
    from transferbench.home import Home

    blocks = stored_blocks(Home.at(home).features)
    _print_blocks(blocks, as_json=as_json)
    click.echo(f"{len(blocks)} blocks, {sum(block.n_bytes for block in blocks) / 1e6:,.1f} MB", err=True)


@cache.command("verify")
@click.argument("block", required=False)
@home_option
@json_option
def verify_blocks(block: str | None, home: Path, as_json: bool) -> None:
    """Read blocks as a whole and check every byte. Exits with 1 if one is damaged.

    BLOCK is a folder, a name from the list, or the beginning of a key; without it all blocks are checked, and the Gram
    matrices that were made of them.

    \b
    Example:
      tb cache verify
    """
    from transferbench.cache.store import find_block, stored_blocks
    from transferbench.home import Home
    from transferbench.pipeline.cache import verify_all, verify_grams

    features = Home.at(home).features
    verdicts = verify_all([find_block(features, block)] if block else stored_blocks(features), progress())
    rows = [[v.block.name, "damaged" if v.problems else v.block.state, " ".join(v.problems)] for v in verdicts]
    for gram, problem in verify_grams(Home.at(home)) if block is None else ():
        rows.append([f"Gram matrix {gram.manifest.stem[:16]}", "damaged" if problem else "complete", problem or ""])
    if as_json:
        print_table(("block", "verdict", "problems"), rows, as_json=True)
    else:
        print_table(("block", "verdict"), [row[:2] for row in rows], as_json=False)
    problems = [row[2] for row in rows if row[2]]
    if problems:
        raise click.ClickException("\n".join(problems))


@cache.command("diff")
@click.argument("a")
@click.argument("b")
@home_option
@json_option
def diff_blocks(a: str, b: str, home: Path, as_json: bool) -> None:
    """Say in which fields two blocks differ, and so why one was not reused for the other.

    Which images each skips is compared too. A and B are folders, names from the list, or beginnings of keys.

    \b
    Example:
      tb cache diff 0a1b 2c3d
    """
    from transferbench.cache.differences import block_differences
    from transferbench.cache.store import find_block
    from transferbench.home import Home

    features = Home.at(home).features
    found = block_differences(find_block(features, a), find_block(features, b))
    print_table(("field", "A", "B"), found, as_json=as_json)
    if not found:
        click.echo("The specs are the same: one block can stand for the other.", err=True)


@cache.command("prune")
@click.option("--dataset", metavar="NAME", help="Delete every block of this dataset ...")
@click.option("--net", metavar="NAME", help="... or of this net: D, or with its weights as listed, D-1a2b3c4d.")
@click.option("--yes", is_flag=True, help="Delete; without it the blocks are only listed.")
@home_option
@json_option
def prune_blocks(dataset: str | None, net: str | None, yes: bool, home: Path, as_json: bool) -> None:
    """Delete blocks: unfinished and damaged ones, or all of a dataset or net.

    Gram matrices that were kept of blocks go in any case: they are made again when they are needed.

    \b
    Example:
      tb cache prune
      tb cache prune --dataset digits --yes
    """
    from transferbench.evaluation.svm.gram_file import stored_grams
    from transferbench.home import Home
    from transferbench.pipeline import cache as pipeline

    blocks, grams = pipeline.prunable(Home.at(home), dataset, net), stored_grams(Home.at(home).grams)
    _print_blocks(blocks, as_json=as_json)
    if not blocks and (dataset or net):
        click.echo(f"no block is of {' and '.join(filter(None, (dataset, net)))}; see: tb cache list", err=True)
    what = f"{len(blocks)} blocks" + (f" and {len(grams)} Gram matrices" if grams else "")
    if yes:
        freed = pipeline.prune(blocks) + pipeline.prune_grams(grams)
        click.echo(f"deleted {what}, {freed / 1e6:,.1f} MB", err=True)
    else:
        click.echo(f"nothing is deleted yet: {what} would be; add --yes", err=True)


@cache.command("export")
@click.argument("block")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@home_option
@json_option
def export_block(block: str, file: Path, home: Path, as_json: bool) -> None:
    """Copy a block into one HDF5 file with the datasets `ids` and `descriptors`.

    BLOCK is a folder, a name from the list, or the beginning of a key.

    \b
    Example:
      tb cache export 0a1b descriptors.h5
    """
    from transferbench.cache.portable import export
    from transferbench.cache.store import find_block
    from transferbench.home import Home

    n_bytes = export(find_block(Home.at(home).features, block), file)
    if as_json:
        print_json({"file": str(file), "bytes": n_bytes})
    else:
        click.echo(file)


@cache.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@home_option
@json_option
def import_block(file: Path, home: Path, as_json: bool) -> None:
    """Take an exported file into the cache.

    \b
    Example:
      tb cache import descriptors.h5
    """
    from transferbench.cache.portable import import_file
    from transferbench.home import Home

    block = import_file(file, Home.at(home).features)
    if as_json:
        print_json({"block": str(block.folder), "rows": len(block.ids), "key": block.spec.key()})
    else:
        click.echo(block.folder)


def _print_blocks(blocks: "Sequence[StoredBlock]", *, as_json: bool) -> None:
    rows = [[b.name, b.state, b.rows, b.skipped, b.dimensions, round(b.n_bytes / 1e6, 1)] for b in blocks]
    head = ("block", "state", "rows", "skipped", "dimensions", "MB")
    print_table(head, rows, right=head[2:], as_json=as_json)
