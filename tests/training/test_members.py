"""Several processes over Gloo: the same gradient, the same weights, whoever is killed."""

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.members import run, save_accuracy, save_gradient, together
from transferbench.training.processes import Processes

KILLS = 20 if os.environ.get("TB_FAULTS") == "long" else 3


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_one_two_and_four_processes_have_the_same_gradient(tmp_path, dropout):
    save_gradient(Processes(), tmp_path, dropout)
    assert together(2, save_gradient, tmp_path, dropout) == [0, 0]
    assert together(4, save_gradient, tmp_path, dropout) == [0, 0, 0, 0]
    one, two, four = (np.load(tmp_path / f"{world}.npz") for world in (1, 2, 4))
    assert max(float(np.abs(one[name]).max()) for name in one) > 0.1
    for name in one:
        assert np.abs(one[name] - two[name]).max() < 1e-5
        assert np.abs(one[name] - four[name]).max() < 1e-5


def test_every_held_out_image_is_counted_once_over_all_processes(tmp_path):
    save_accuracy(Processes(), tmp_path)
    assert together(3, save_accuracy, tmp_path) == [0, 0, 0]
    alone, *members = (Path(tmp_path, name).read_text() for name in ("1-0.txt", "3-0.txt", "3-1.txt", "3-2.txt"))
    accuracy, visits = alone.split(") ", 1)
    assert all(text.split(") ", 1)[0] == accuracy for text in members)
    seen = [visit for text in members for visit in eval(text.split(") ", 1)[1])]
    assert sorted(seen, key=str) == sorted(eval(visits), key=str)


def result_of(folder):
    return torch.load(folder / "result.pt", weights_only=True)


def test_two_processes_that_are_killed_again_and_again_end_with_the_same_bits(tmp_path):
    assert together(2, run, tmp_path / "whole") == [0, 0]
    dice = random.Random(8)
    parts = tmp_path / "parts"
    for _ in range(KILLS):
        # One dies by SIGKILL; the other finds nobody to talk to, and says so. Or both are killed.
        who = dice.choice([0, 1, -2])
        codes = together(2, run, parts, (who, dice.randint(1, 6)), signal.SIGKILL, dice.choice([1, 2, 3]))
        if codes == [0, 0]:  # it was nearly done
            break
        assert -signal.SIGKILL in codes
        assert set(codes) <= {-signal.SIGKILL, 1}
    assert together(2, run, parts) == [0, 0]
    whole, again = result_of(tmp_path / "whole"), result_of(parts)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert not list(parts.glob(".*.tmp-*")) or KILLS  # what a killed process leaves is swept by the next run


def test_a_signal_to_one_process_saves_and_stops_all(tmp_path):
    assert together(2, run, tmp_path / "whole") == [0, 0]
    codes = together(2, run, tmp_path / "parts", (1, 9), signal.SIGTERM)
    assert codes == [-signal.SIGTERM] * 2
    assert list((tmp_path / "parts").glob("checkpoint-*.pt"))
    # The other number of processes goes on with it: the weights agree up to the order of sums.
    assert together(1, run, tmp_path / "parts") == [0]
    whole, again = result_of(tmp_path / "whole"), result_of(tmp_path / "parts")
    assert all(torch.allclose(whole[name], again[name], atol=1e-5) for name in whole)
