"""An evaluation that is killed at random moments ends with the bits of one that is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

KILLS = 40 if os.environ.get("TB_FAULTS") == "long" else 4


def test_whenever_it_is_killed_the_result_is_the_same(tmp_path):
    command = [sys.executable, Path(__file__).with_name("evaluator.py"), tmp_path, str(KILLS), "7"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["resumed"] == found["unbroken"]
    assert found["killed"] == KILLS
    assert found["with_pieces"] >= 1
    # A temporary file of a killed process is swept when the next one writes.
    assert found["left"] == ["line-0-split-0.npz", "line-0-split-1.npz"]
