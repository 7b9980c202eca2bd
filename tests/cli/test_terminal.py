"""On a terminal there are bars; they come from rich, on stderr."""

import os
import pty
import re
import subprocess
import sys

import pytest

from transferbench.cli.bars import Bars, layout
from transferbench.cli.terminal import _LineTask


def test_long_work_without_a_terminal_says_now_and_then_how_far_it_is():
    said, clock = [], iter([0.0, 30.0, 61.0, 90.0, 122.0, 300.0])
    task = _LineTask(said.append, "extracting", 1000, 100, now=lambda: next(clock))
    for _ in range(4):
        task.advance(100, "7.0 images/s")
    task.advance(500)  # the end is not worth a line
    assert said == [
        "extracting: 300 of 1,000, 7.0 images/s, about 4 min left",
        "extracting: 500 of 1,000, 7.0 images/s, about 3 min left",
    ]


LONG = "extracting net A at width 0.125, crop 64, weights 3985e6f3, at 64, 96, 128 px"
NOTE = "loss 2.254, rate 0.0005, 1,236 images/s, top-1 18.0%, top-5 62.0%"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200])
@pytest.mark.parametrize("description", ["pretraining", LONG])
@pytest.mark.parametrize("note", ["", "1,236.0 images/s at 3 scales", NOTE])
def test_a_line_of_progress_fits_and_never_loses_count_and_time_left(width, description, note):
    shown = layout(width, description, "1,024/2,391", note, "0:01:02", "0:04:10")
    assert len(shown.description) + 1 + (shown.bar + 1 if shown.bar else 0) + len(shown.rest) <= width
    assert shown.rest.startswith("1,024/2,391")
    assert shown.rest.endswith("left 0:04:10")
    assert shown.bar == 0 or 10 <= shown.bar <= 40
    assert description.startswith(shown.description.rstrip("…"))
    assert len(shown.description) >= min(len(description), 20)
    inner = shown.rest.removeprefix("1,024/2,391").removesuffix("left 0:04:10").replace("0:01:02", "").strip()
    assert note == inner or note.startswith(f"{inner}, ") or inner == ""  # whole figures, or none


def test_a_line_of_progress_loses_the_least_that_it_can():
    assert layout(200, "pretraining", "3/9", "loss 2", "0:00:01", "0:00:02").bar == 40
    assert layout(56, "pretraining", "3/9", "loss 2", "0:00:01", "0:00:02").bar == 56 - 11 - 31 - 2
    timed = layout(45, "pretraining", "3/9", "loss 2", "0:00:01", "0:00:02")
    assert (timed.bar, timed.rest) == (0, "3/9 loss 2 0:00:01 left 0:00:02")
    brief = layout(42, "pretraining", "3/9", "loss 2", "0:00:01", "0:00:02")
    assert (brief.description, brief.bar, brief.rest) == ("pretraining", 0, "3/9 loss 2 left 0:00:02")
    assert (
        layout(80, LONG, "3/9", "", "", "0:00:02").description
        == "extracting net A at width 0.125, crop 64, weights 3985e6f3, at…"
    )


def test_what_is_said_on_a_terminal_wraps_between_words(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "24")
    Bars().say("wrote /a/long/path/to/weights.safetensors (99.0% held out)")
    assert capsys.readouterr().err.splitlines() == ["wrote", "/a/long/path/to/weights.safetensors", "(99.0% held out)"]


def test_an_extraction_ends_with_its_rate_and_size(tb, quick_recipe):
    err = tb("extract", "--recipe", quick_recipe, "--device", "cpu").err
    assert re.search(
        r"extracted 1,594 descriptors in [\d.]+ s: [\d,.]+ images/s at 2 scales; 2 block\(s\) of 0\.9 MB, 0 image\(s\) skipped",
        err,
    )
    assert re.search(
        r"(about \d+ s|less than a second), by a trial of one image at every scale\n(?s:.*)extracted 1,594", err
    )


def test_bars_are_shown_on_a_terminal_and_stdout_stays_data(tb, quick_recipe):
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "transferbench", "extract", "--recipe", str(quick_recipe), "--json"]
    environment = {**os.environ, "TB_HOME": str(tb.home), "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=child, env=environment, cwd=tb.cwd)
    os.close(child)
    shown = b""
    while True:
        try:
            shown += os.read(parent, 1 << 16)
        except OSError:  # the other end is closed
            break
    out = process.stdout.read()
    assert process.wait() == 0
    process.stdout.close()
    os.close(parent)
    frames = [line for line in re.split(r"[\r\n]+|\x1b\[[0-9;?]*[A-Za-z]", shown.decode()) if "/1,594" in line]
    assert frames
    for line in frames:  # what one waits for stays in sight on 80 columns, too
        assert re.search(r"/1,594 .*left (\d+:\d\d:\d\d|-:--:--)", line)
        assert len(line.rstrip()) <= 80
    assert any("images/s" in line for line in frames)
    assert out.startswith(b"[\n")
