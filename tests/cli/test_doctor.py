"""`tb doctor`: what is there, what would be chosen and why, and what is in the way."""

import contextlib
import os
import tomllib
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch

from transferbench.pipeline import machine

CPU_ONLY = pytest.mark.skipif(torch.cuda.is_available(), reason="tells of a GPU that is not there")


@pytest.fixture
def look(tb, monkeypatch):
    """The command's JSON, without measuring."""
    monkeypatch.setattr(machine, "products_per_second", lambda: 5e9)
    return lambda: (done := tb("doctor", "--json")).json() | {"code": done.code}


def choices(told):
    return {(each["device"], each["nets"]): (each["engine"], each["precision"], each["why"]) for each in told["auto"]}


def whats(told, severity):
    return [each["what"] for each in told["findings"] if each["severity"] == severity]


def test_versions_cores_memory_and_disk_are_those_of_the_machine(tb, look):
    told = look()
    assert (told["code"], told["good"]) == (0, True)
    assert told["packages"]["torch"] == version("torch")
    assert told["engines"] == {"torch": version("torch"), "ncnn": version("ncnn")}
    assert told["cores"] == len(os.sched_getaffinity(0))
    assert told["matrix_product_gflop_per_s"] == 5
    assert 0 < told["devices"][0]["free_bytes"] <= told["devices"][0]["total_bytes"]
    assert told["home"] == str(tb.home)
    assert told["home_free_bytes"] > 0
    assert not [path for path in tb.home.iterdir() if path.name.startswith(".doctor")]


@CPU_ONLY
def test_auto_is_explained_for_both_devices_and_both_kinds_of_nets(look):
    found = choices(look())
    assert found["cpu", "of Table 1, 8 channels and more"][:2] == ("ncnn", "float32")
    assert found["cpu", "others"] == ("torch", "float32", "ncnn knows the nets of Table 1 alone")
    assert found["cuda", "of Table 1, 8 channels and more"][:2] == ("", "")
    assert "torch" in found["cuda", "of Table 1, 8 channels and more"][2]


def test_without_ncnn_torch_is_taken_and_the_remedy_named(look, monkeypatch):
    monkeypatch.setattr("transferbench.extraction.ncnn_engine.installed", lambda: False)
    monkeypatch.setattr(machine, "_version", lambda name: "not installed" if name == "ncnn" else "1")
    told = look()
    engine, precision, why = choices(told)["cpu", "of Table 1, 8 channels and more"]
    assert (engine, precision) == ("torch", "float32")
    assert why == "ncnn is not installed: pip install 'transferbench[cpu]'"
    assert any("the extra [cpu] is not installed" in what for what in whats(told, "info"))
    if not torch.cuda.is_available():
        assert any("without a GPU and ncnn" in what for what in whats(told, "slow"))


def test_a_gpu_is_listed_and_torch_runs_on_it_in_bfloat16(look, monkeypatch):
    facts = SimpleNamespace(name="Card", major=9, minor=0)
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_properties": lambda number: facts,
        "mem_get_info": lambda number: (3 * 10**9, 80 * 10**9),
        "is_bf16_supported": lambda including_emulation: not including_emulation,
        "device": lambda device: contextlib.nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    told = look()
    assert told["devices"][1] == {
        "name": "cuda:0",
        "there": True,
        "what": "Card, compute capability 9.0",
        "free_bytes": 3 * 10**9,
        "total_bytes": 80 * 10**9,
    }
    assert choices(told)["cuda", "of Table 1, 8 channels and more"] == (
        "torch",
        "bfloat16",
        "ncnn is for CPUs; use --device cpu",
    )
    assert any("3.0 GB of memory are free on cuda:0" in what for what in whats(told, "slow"))


def test_what_prevents_work_ends_with_1_and_says_what_to_do(tb, look, tmp_path):
    (tmp_path / "file").write_text("no folder can be made in this")
    done = tb("doctor", "--home", tmp_path / "file" / "home", "--json")
    assert (done.code, done.json()["good"]) == (1, False)
    assert "cannot be used" in whats(done.json(), "wrong")[0]
    assert "Error: 1 thing(s) prevent work" in done.err
    assert "WRONG" in tb("doctor", "--home", tmp_path / "file" / "home").out


def test_threads_that_leave_cores_idle_are_told_with_what_set_them(look, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr("transferbench.environment.cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert any(
        "torch uses 1 thread(s), this process may use 4 core(s): set by OMP_NUM_THREADS=1" in what
        for what in whats(look(), "slow")
    )
    monkeypatch.setattr("transferbench.environment.cores", lambda: 1)
    assert not any("torch uses" in what for what in whats(look(), "slow"))


def test_a_package_that_is_needed_and_missing_is_wrong(look, monkeypatch):
    monkeypatch.setattr(machine, "_version", lambda name: "not installed" if name == "scipy" else "1")
    assert whats(look(), "wrong") == ["scipy is not installed"]


def test_extras_are_those_of_the_package(pytestconfig):
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    stated = {name for name in project["optional-dependencies"] if name != "dev"}
    assert set(machine.EXTRAS) == stated
    for extra, (packages, _) in machine.EXTRAS.items():
        assert packages[0] in project["optional-dependencies"][extra][0]


def test_a_person_reads_the_same(tb):
    told = tb("doctor").out
    for word in ("GFLOP/s", "work folder", "--engine auto takes", "ncnn", "tensorboard"):
        assert word in told
