"""On a terminal there are bars; they come from rich, on stderr."""

import os
import pty
import subprocess
import sys


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
    assert out.startswith(b"[\n")
