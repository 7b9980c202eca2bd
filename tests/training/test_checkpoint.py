"""Checkpoints on disk: whole, found again, and the best one never behind the history that names it."""

import os
from types import SimpleNamespace

import pytest
import torch

from transferbench.errors import StorageError
from transferbench.progress import Silent
from transferbench.training import checkpoint as module
from transferbench.training.checkpoint import BEST, newest_checkpoint, read_checkpoint, save_checkpoint


def state(number):
    return {"net": torch.full((3,), float(number)), "number": number}


def test_the_best_one_has_its_name_before_the_step_that_made_it_counts(tmp_path, monkeypatch):
    """Killed in between the other way round, a run would go on after the epoch and keep an older best for good."""
    save_checkpoint(tmp_path, 1, state(1), best=True)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "publish_file", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 2, state(2), best=True)
    assert newest_checkpoint(tmp_path, Silent())["number"] == 1  # the end of the epoch is made once more
    assert read_checkpoint(tmp_path / BEST)["number"] == 2
    assert not list(tmp_path.glob(".*tmp*"))


def test_the_best_one_is_a_second_name_where_the_disk_knows_links_and_a_copy_elsewhere(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path / "links", 1, state(1), best=True)
    assert path.samefile(tmp_path / "links" / BEST)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    path = save_checkpoint(tmp_path / "copies", 1, state(1), best=True)
    assert not path.samefile(tmp_path / "copies" / BEST)
    assert read_checkpoint(tmp_path / "copies" / BEST)["number"] == 1


@pytest.mark.parametrize("room", [0, 100, 700, 1100])  # torch hides the reason where it cannot close what it began
def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path, monkeypatch, room):
    save_checkpoint(tmp_path, 1, state(1), best=True)

    class Small(module._Hashed):
        def __init__(self, file):
            super().__init__(SimpleNamespace(write=self.until_full, flush=file.flush))
            self.left = room

        def until_full(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return len(data)

    monkeypatch.setattr(module, "_Hashed", Small)
    with pytest.raises(StorageError, match=r"no room to write 12 bytes: No space left[\s\S]*TB_HOME to a folder on a"):
        save_checkpoint(tmp_path, 2, state(2))
    assert newest_checkpoint(tmp_path, Silent())["number"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000000001.pt", BEST]
