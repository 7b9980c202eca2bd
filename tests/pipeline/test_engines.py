"""Which engine is taken, what is recorded of it, and that it is in no key."""

import contextlib

import numpy as np
import pytest
import torch

from transferbench.errors import DeviceError
from transferbench.home import Home
from transferbench.nets.modules import VGG
from transferbench.pipeline import engines
from transferbench.pipeline.datasets import DataOptions
from transferbench.pipeline.engines import EngineOptions
from transferbench.pipeline.extract import extract
from transferbench.pipeline.wanted import parts_of_recipe
from transferbench.progress import Silent
from transferbench.types.net import NetSpec

TABLE_1 = VGG(NetSpec(name="A", width=1 / 8, crop=32, n_classes=2))
SLIM = VGG(NetSpec(name="A", width=1 / 16, crop=32, n_classes=2))


@pytest.mark.parametrize(
    ("net", "device", "options", "ncnn", "expected"),
    [
        (TABLE_1, "cpu", {}, True, "ncnn"),
        (TABLE_1, "cpu", {}, False, "torch"),
        (TABLE_1, "cuda:0", {}, True, "torch"),
        (torch.nn.Identity(), "cpu", {}, True, "torch"),
        (TABLE_1, "cpu", {"precision": "bfloat16"}, True, "torch"),
        (TABLE_1, "cpu", {"compiled": True}, True, "torch"),
        (TABLE_1, "cpu", {"engine": "torch"}, True, "torch"),
        (TABLE_1, "cpu", {"engine": "ncnn"}, True, "ncnn"),
        (SLIM, "cpu", {}, True, "torch"),
        (SLIM, "cpu", {"engine": "ncnn"}, True, "ncnn"),
    ],
)
def test_auto_takes_the_fastest_that_applies(monkeypatch, net, device, options, ncnn, expected):
    monkeypatch.setattr("transferbench.extraction.ncnn_engine.installed", lambda: ncnn)
    assert engines._engine_for(net, device, EngineOptions(**options)) == expected


@pytest.mark.parametrize(
    ("net", "device", "options", "ncnn", "reason"),
    [
        (TABLE_1, "cuda:0", {}, True, "is for CPUs; use --device cpu"),
        (torch.nn.Identity(), "cpu", {}, True, "knows the nets of Table 1 alone"),
        (TABLE_1, "cpu", {"precision": "bfloat16"}, True, "computes in float32 alone"),
        (TABLE_1, "cpu", {"compiled": True}, True, "is not compiled by torch"),
        (TABLE_1, "cpu", {}, False, "is not installed: pip install"),
    ],
)
def test_ncnn_asked_for_by_name_is_refused_with_the_reason_not_replaced(
    monkeypatch, net, device, options, ncnn, reason
):
    monkeypatch.setattr("transferbench.extraction.ncnn_engine.installed", lambda: ncnn)
    with pytest.raises(DeviceError, match=f"the engine ncnn {reason}"):
        engines._engine_for(net, device, EngineOptions(engine="ncnn", **options))


@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_computes_in_bfloat16_if_it_has_it_itself_and_as_asked_otherwise(monkeypatch, has, expected):
    asked = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: asked.append(device) or contextlib.nullcontext())
    # What is emulated is there, too, but slow.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has or including_emulation)
    assert engines.precision_for("cuda:1", EngineOptions()) == expected
    assert asked == ["cuda:1"]
    assert engines.precision_for("cuda:1", EngineOptions(precision="float16")) == "float16"
    assert engines.precision_for("cpu", EngineOptions()) == "float32"


def test_engines_fill_the_same_blocks_with_the_same_descriptors_and_leave_their_name(tmp_path, quick_recipe):
    found = {}
    for name in ("torch", "ncnn"):
        dataset, parts = parts_of_recipe(str(quick_recipe), Home(tmp_path / name), DataOptions(limit=4))
        extract(parts, dataset, device="cpu", progress=Silent(), engine=EngineOptions(engine=name))
        blocks = [block for part in parts for block in part.blocks]
        for block in blocks:
            told = block.environment()
            assert (told["engine"], told["precision"], told["device"]) == (name, "float32", "cpu")
        found[name] = {block.folder.name: block.read().array for block in blocks}
    assert found["torch"].keys() == found["ncnn"].keys()
    for key, a in found["torch"].items():
        b = found["ncnn"][key]
        assert ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min() >= 0.99999
