"""On a terminal there are bars; they come from rich, on stderr."""

import os
import pty
import re
import subprocess
import sys

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


def test_an_extraction_ends_with_its_rate_and_size(tb, quick_recipe):
    err = tb("extract", "--recipe", quick_recipe, "--device", "cpu").err
    assert re.search(
        r"extracted 1,594 descriptors in [\d.]+ s: [\d,.]+ images/s at 2 scales; 2 block\(s\) of 0\.9 MB, 0 image\(s\) skipped",
        err,
    )
    assert re.search(r"about (< 1|\d+) s, by a trial of one image at every scale\n(?s:.*)extracted 1,594", err)


def test_bars_are_shown_on_a_terminal_and_stdout_stays_data(tb, quick_recipe):
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "transferbench", "extract", "--recipe", str(quick_recipe), "--json"]
    environment = {**os.environ, "TB_HOME": str(tb.home), "TERM": "xterm", "COLUMNS": "160"}
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
    assert b"/1594" in shown
    assert b"left" in shown
    assert b"images/s" in shown
    assert out.startswith(b"[\n")
