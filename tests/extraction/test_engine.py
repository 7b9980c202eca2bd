import pytest
import torch

from transferbench.errors import DeviceError
from transferbench.extraction.engine import choose_device


def test_auto_takes_what_is_there():
    assert choose_device("auto") == ("cuda:0" if torch.cuda.is_available() else "cpu")


def test_the_cpu_is_always_there():
    assert choose_device("cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_an_error_not_a_fallback():
    with pytest.raises(DeviceError, match="device cuda:99 is not there: torch sees"):
        choose_device("cuda:99")


@pytest.fixture
def four_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


def test_auto_and_cuda_give_each_process_of_torchrun_a_gpu_of_its_own(four_gpus, monkeypatch):
    assert [choose_device(asked) for asked in ("auto", "cuda", "cuda:3")] == ["cuda:0", "cuda", "cuda:3"]
    for rank, device in (("1", "cuda:1"), ("3", "cuda:3"), ("6", "cuda:2")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert [choose_device(asked) for asked in ("auto", "cuda", "cuda:0")] == [device, device, "cuda:0"]
    with pytest.raises(DeviceError, match="device cuda:4 is not there: torch sees 4"):
        choose_device("cuda:4")
