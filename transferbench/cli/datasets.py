"""`tb datasets`."""

import click

from transferbench.cli.options import json_option
from transferbench.cli.terminal import print_json, print_table


@click.group()
def datasets() -> None:
    """List and show datasets."""


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
        [
            r.name,
            r.title,
            r.task.replace("_", " "),
            len(r.classes),
            sum(part.images for part in r.parts.values()),
            r.metric,
        ]
        for r in records
    ]
    print_table(
        ("dataset", "title", "task", "classes", "images", "metric"), rows, right=("classes", "images"), as_json=as_json
    )


@datasets.command("show")
@click.argument("name")
@json_option
def show_dataset(name: str, as_json: bool) -> None:
    """Print the record of a dataset: parts, protocol, licence, published numbers.

    \b
    Example:
      tb datasets show digits
    """
    from transferbench.data.record import load_published, load_record

    record, published = load_record(name), load_published(name)
    if as_json:
        print_json(
            {
                **record.model_dump(mode="json"),
                "published": {key: {"value": row.value, "source": row.source} for key, row in published.items()},
            }
        )
        return
    rows = [
        ["title", record.title],
        ["task", f"{record.task.replace('_', ' ')}, {len(record.classes)} classes"],
        ["metric", record.metric],
    ]
    rows += [[f"part {part}", f"{stated.images} images, {stated.use}"] for part, stated in record.parts.items()]
    rows += [
        ["protocol", record.protocol.sentence()],
        ["source", record.source],
        ["licence", record.licence],
        ["citation", record.citation],
    ]
    rows += [[f"published {key}", f"{100 * row.value:.1f} ({row.source})"] for key, row in published.items()]
    print_table((name, ""), rows, as_json=False)
