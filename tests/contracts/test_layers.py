"""The walls of the house hold, and would be seen to fall."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture
def house(tmp_path):
    shutil.copytree(TOP / "transferbench", tmp_path / "transferbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOP / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder):
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )
    return done.returncode, done.stdout + done.stderr


def test_all_contracts_hold(house):
    code, text = lint(house)
    assert code == 0, text
    assert "0 broken" in text


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("types/net.py", "import transferbench.cli", "One way"),
        ("data/images.py", "import transferbench.nets.vgg", "One way"),
        ("cache/block.py", "import transferbench.evaluation.metrics", "One way"),
        ("nets/vgg.py", "import transferbench.pipeline.run", "One way"),
        ("evaluation/metrics.py", "import torch", "without torch"),
        ("reporting/tables.py", "import torch", "without torch"),
    ],
)
def test_a_planted_import_is_found(house, file, line, broken):
    path = house / "transferbench" / file
    path.write_text(path.read_text() + f"\n{line}\n")
    code, text = lint(house)
    assert code == 1
    assert "0 broken" not in text
    assert broken in text.split("Broken contracts")[1]
