"""How processes on GPUs meet and part, with torch's own calls noted down instead of made."""

import pytest
import torch

from transferbench.errors import TrainingError
from transferbench.training import processes as module
from transferbench.training.options import prepare_device
from transferbench.training.processes import together


@pytest.fixture
def calls(monkeypatch):
    """Two processes with a GPU each, of which this is the second."""
    made = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: made.append(("device", device)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    group = module.distributed
    monkeypatch.setattr(group, "init_process_group", lambda *a, **k: made.append(("meet", *a, k["device_id"])))
    monkeypatch.setattr(module, "rendezvous", lambda *a, **k: iter([(torch.distributed.HashStore(), 1, 2)]))
    monkeypatch.setattr(group, "destroy_process_group", lambda: made.append(("part",)))
    monkeypatch.setattr(group, "is_initialized", lambda: True)
    monkeypatch.setattr(group, "get_rank", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    return made


def test_a_process_takes_its_gpu_before_it_meets_the_others(calls):
    with together("cuda:1") as processes:
        assert (processes.rank, processes.world, processes.first) == (1, 2, False)
    assert calls == [("device", "cuda:1"), ("meet", "nccl", torch.device("cuda:1")), ("part",)]


def test_who_leaves_by_an_error_does_not_wait_for_the_others(calls):
    with pytest.raises(TrainingError, match="no room"), together("cuda:1"):
        raise TrainingError("no room")  # noqa: EM101
    assert ("part",) not in calls


def test_one_process_takes_the_gpu_that_was_named_and_leaves_the_current_one_otherwise(calls, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    for device in ("cuda:1", "cuda", "cpu"):
        with together(device) as processes:
            assert processes.world == 1
    assert calls == [("device", "cuda:1")]


def test_more_processes_than_gpus_are_refused(calls, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(TrainingError, match=r"3 processes of this machine have 2 GPU\(s\).*\n.*--nproc-per-node 2"):
        together("cuda:0").__enter__()
    assert not any(call[0] == "meet" for call in calls)


@pytest.mark.parametrize(("precision", "exact"), [("float32", False), ("bfloat16", False), ("float16", True)])
def test_float32_means_it_and_algorithms_are_sought_unless_they_must_be_repeatable(monkeypatch, precision, exact):
    flags = torch.backends.cudnn
    before = flags.benchmark, flags.allow_tf32
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: exact)
    try:
        prepare_device("cpu", precision)
        assert (flags.benchmark, flags.allow_tf32) == before
        prepare_device("cuda:0", precision)
        assert (flags.benchmark, flags.allow_tf32) == (not exact, precision != "float32")
    finally:
        flags.benchmark, flags.allow_tf32 = before


@pytest.mark.parametrize(("machines", "heard"), [(1, False), (2, True)])
def test_what_was_said_before_a_restart_is_heard_no_more_on_one_machine(machines, heard, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(2 // machines))
    kept = torch.distributed.HashStore()  # as torchrun keeps its own
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "5")
    module._of_this_start(kept).set("address", "of the dead")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "6")
    assert module._of_this_start(kept).check(["address"]) is heard
    module._of_this_start(kept).set("address", "of the living")
    assert module._of_this_start(kept).get("address") == b"of the living"
