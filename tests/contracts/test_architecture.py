"""The map of the house shows what is there."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
TEXT = (TOP / "docs" / "architecture.md").read_text()
WHERE = re.findall(
    r"^\| (.+?) \| (.+?) \| (.+?) \|$", TEXT.split("## Where is ...?")[1].split("\n## ")[0], flags=re.MULTILINE
)


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_file_on_the_map_exists():
    paths = set(re.findall(r"`([\w./]+(?:\.py|/))`", TEXT))
    assert len(paths) > 50
    absent = sorted(p for p in paths if not (TOP / "transferbench" / p).exists() and not (TOP / p).exists())
    assert absent == []


@pytest.mark.parametrize(("files", "names"), [row[1:] for row in WHERE[2:]], ids=[row[0] for row in WHERE[2:]])
def test_what_is_looked_for_is_defined_there(files, names):
    code = "\n".join((TOP / "transferbench" / path).read_text() for path in quoted(files))
    assert quoted(files)
    for name in quoted(names):
        last = name.rpartition(".")[2]
        assert re.search(rf"^\s*(def|class) {last}\b|^{last}\b.* = ", code, flags=re.MULTILINE), (
            f"{name} is not in {files}"
        )
