"""How much memory there is, as the system and the container say, and how batches follow it."""

from pathlib import Path

import pytest

from transferbench.extraction import memory
from transferbench.extraction.memory import fitting, free_bytes, memory_kept


@pytest.mark.parametrize(
    ("free", "expected"),
    [(10**9, 1024), (2 * 1024 * 100, 1024), (2 * 1024 * 100 - 1, 512), (2 * 400 * 100, 256), (100, 1)],
)
def test_batches_are_halved_until_they_take_half_of_the_memory(free, expected):
    assert fitting(1024, 100, free) == expected


def container(folder: Path, limit: str) -> Path:
    folder.mkdir()
    for name, text in {"memory.max": limit, "memory.current": "900", "memory.stat": "anon 500\nfile 300\n"}.items():
        (folder / name).write_text(text)
    return folder


def test_a_containers_file_cache_can_be_given_back(tmp_path):
    assert memory._left_to_container(container(tmp_path / "limited", "1000")) == 1000 - 900 + 300
    assert memory._left_to_container(container(tmp_path / "free", "max")) is None
    assert memory._left_to_container(tmp_path / "nowhere") is None


@pytest.mark.parametrize(("machine", "box", "expected"), [(50, 70, 50), (50, 20, 20), (50, None, 50)])
def test_the_smaller_of_machine_and_container_counts(monkeypatch, machine, box, expected):
    monkeypatch.setattr(memory, "_available", lambda: machine)
    monkeypatch.setattr(memory, "_left_to_container", lambda: box)
    assert free_bytes("cpu") == expected


def test_a_gpus_memory_is_its_own(monkeypatch):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (7, 9) if device == "cuda:1" else (1, 1))
    assert free_bytes("cuda:1") == 7


def test_memory_is_asked_of_the_system():
    assert 1 << 20 < memory._available() < 1 << 50


def test_memory_is_kept_and_given_back_without_harm():
    with memory_kept():
        assert len(bytearray(1 << 24)) == 1 << 24
