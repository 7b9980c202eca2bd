"""Nets beside those of Table 1, several nets, other layers: through the command line, to a result."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

TOP = Path(__file__).resolve().parents[2]

RECIPE = """\
# A plugin's net on the digits, with random weights
version: 1
dataset: digits
features:
  nets:
    - {name: tiny, weights: {kind: random, seed: 3}}
    - {name: A, width: 0.015625, crop: 32, weights: {kind: random, seed: 3}, layer: pool5}
  scales: [32]
  flip: false
aggregate: {kind: stack, l2: both}
svm: {loss: squared_hinge, C: [1], selection: validation}
claims: null
"""


@pytest.fixture(scope="session")
def plugin(tmp_path_factory):
    """The example of docs/adding-a-net.md, installed by pip into a folder of its own."""
    document = (TOP / "docs" / "adding-a-net.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    (project,) = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    assert len(code.splitlines()) <= 32
    folder, site = tmp_path_factory.mktemp("plugin"), tmp_path_factory.mktemp("site")
    (folder / "tiny_net.py").write_text(code)
    (folder / "pyproject.toml").write_text(project)
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", str(site), str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return site


@pytest.fixture
def with_plugin(plugin, monkeypatch):
    """This process finds the plugin, as any that pip installed; its module is forgotten afterwards."""
    monkeypatch.syspath_prepend(plugin)
    yield
    sys.modules.pop("tiny_net", None)


def first_rows(home):
    path = next(home.rglob("rows-00000.h5"))
    with h5py.File(path) as file:
        return np.array(file["descriptors"])


def test_a_net_of_a_plugin_that_is_not_installed_is_unknown(tb, tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    gone = tb("run", "tiny.yaml")
    assert gone.code == 1
    assert "unknown net 'tiny'" in gone.err


@pytest.mark.usefixtures("with_plugin")
def test_the_documented_plugin_runs_from_images_to_a_score(tb, plugin, tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    done = tb.process("run", "tiny.yaml", env={"PYTHONPATH": os.pathsep.join([str(plugin), str(TOP)])})
    assert done.code == 0, done.err
    assert "net tiny" in done.out
    blocks = sorted(path.parent.name for path in (tmp_path / "home" / "features" / "digits").glob("*/q*"))
    assert [name.split("-")[0] for name in blocks] == ["A", "tiny"]
    assert "extracting net A" not in tb("run", "tiny.yaml").err  # all of it is reused


def test_a_timm_net_is_extracted_at_two_scales(tb, tmp_path):
    done = tb(
        "extract",
        "--dataset",
        "digits",
        "--net",
        "timm:test_resnet",
        "--weights",
        "random",
        "--scales",
        "32,64",
        "--no-flip",
    )
    assert done.code == 0, done.err
    assert first_rows(tmp_path / "home").shape[0] == 256


def test_several_nets_with_a_weights_choice_each(tb, tmp_path):
    done = tb(
        "extract", "--dataset", "digits", "--net", "timm:test_resnet,timm:test_vit", "--weights", "random:1,random:2",
        "--scales", "32", "--no-flip", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "home" / "features" / "digits").iterdir()) == [
        "timm:test_resnet",
        "timm:test_vit",
    ]
    unequal = tb("extract", "--dataset", "digits", "--net", "D,E,C", "--weights", "a,b", "--scales", "256")
    assert (unequal.code, "--weights names 2 for 3 nets" in unequal.err) == (1, True)


def test_weights_that_cannot_be_had_offline_are_one_clear_message(tb, tmp_path):
    done = tb("weights", "fetch", "timm:test_resnet")
    assert done.code == 1
    assert "the weights of timm:test_resnet cannot be had" in done.err
    assert f"copy what it writes to {tmp_path}/home/weights/timm-test_resnet.safetensors" in done.err
    missing = tb("extract", "--dataset", "digits", "--net", "timm:test_resnet", "--scales", "32")
    assert "Fetch them: tb weights fetch timm:test_resnet" in missing.err


def test_a_layer_of_a_net_that_has_but_one_is_refused(tb):
    done = tb(
        "extract", "--dataset", "digits", "--net", "timm:test_resnet", "--weights", "random", "--layer", "fc6",
        "--scales", "32",
    )  # fmt: skip
    assert done.code == 1
    assert "layer fc6 is for the nets of Table 1; timm:test_resnet gives last features alone" in done.err


@pytest.mark.usefixtures("with_plugin")
def test_a_plugins_weights_are_fetched_and_verified(tb, tmp_path):
    absent = tb("weights", "fetch", "tiny")
    assert absent.code == 1
    assert "the weights of tiny cannot be had" in absent.err
    tiny_net = importlib.import_module("tiny_net")
    torch.save(tiny_net.tiny(False).module.state_dict(), tmp_path / "tiny.pth")
    assert tb("weights", "fetch", "tiny").code == 0
    assert "tiny     ok" in tb("weights", "verify").out
    done = tb("extract", "--dataset", "digits", "--net", "tiny", "--scales", "32", "--no-flip")
    assert done.code == 0, done.err
    assert "published weights of tiny" in done.err
