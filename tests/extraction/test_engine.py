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
