import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from transferbench.errors import WeightsError
from transferbench.nets.header import METADATA_KEY, WeightsHeader, read_header
from transferbench.nets.weights import Weights, from_net, load_weights, random_weights, save_weights, state_sha256
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

SPEC = NetSpec(name="A", width=1 / 64, crop=32, n_classes=4)


@pytest.fixture
def weights():
    return random_weights(SPEC, Preprocessing(mean=(1.0, 2.0, 3.0)), seed=5)


@pytest.fixture
def path(tmp_path, weights):
    save_weights(tmp_path / "w.safetensors", weights)
    return tmp_path / "w.safetensors"


def test_a_round_trip_is_exact(path, weights):
    back = load_weights(path)
    assert back.header == weights.header == read_header(path)
    assert all(torch.equal(back.state[name], tensor) for name, tensor in weights.state.items())


def test_the_net_that_is_built_holds_the_weights(weights):
    net = weights.build()
    assert not net.training
    again = from_net(net, weights.header.preprocessing, weights.header.classes, {})
    assert again.header.sha256 == weights.header.sha256


def test_the_identity_covers_names_shapes_and_values_but_not_the_origin(weights):
    state = dict(weights.state)
    assert (
        from_net(weights.build(), Preprocessing(), ("a", "b", "c", "d"), {"other": 1}).header.sha256
        == weights.header.sha256
    )
    renamed = {name.replace("fc7", "fc9"): tensor for name, tensor in state.items()}
    reshaped = {**state, "fc8.bias": state["fc8.bias"].reshape(2, 2)}
    bumped = {**state, "fc8.bias": state["fc8.bias"] + 1}
    assert len({state_sha256(s) for s in (state, renamed, reshaped, bumped)}) == 4


def test_random_weights_depend_on_the_seed_alone(weights):
    torch.manual_seed(99)
    assert random_weights(SPEC, Preprocessing(), seed=5).header.sha256 == weights.header.sha256
    assert random_weights(SPEC, Preprocessing(), seed=6).header.sha256 != weights.header.sha256


@pytest.mark.parametrize("seed", range(20))
def test_any_flipped_bit_is_found(path, seed):
    data = bytearray(path.read_bytes())
    generator = torch.Generator().manual_seed(seed)
    place = int(torch.randint(len(data) * 8, (1,), generator=generator))
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        load_weights(path)


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_weights(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="there is no weights file at"):
        load_weights(tmp_path / "none.safetensors")


def test_a_safetensors_file_of_others_is_refused(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="no transferbench.weights header"):
        load_weights(tmp_path / "x.safetensors")


def test_weights_of_another_net_are_refused_with_the_difference(tmp_path, weights):
    other = WeightsHeader(
        **{
            **{f: getattr(weights.header, f) for f in weights.header.__slots__},
            "net": NetSpec(name="B", width=1 / 64, crop=32, n_classes=5),
        }
    )
    save_weights(tmp_path / "w.safetensors", Weights(header=other, state=weights.state))
    with pytest.raises(WeightsError) as caught:
        load_weights(tmp_path / "w.safetensors")
    assert "does not hold net B" in str(caught.value)
    assert "missing conv1_2.weight (1, 1, 3, 3)" in str(caught.value)
    assert "fc8.bias has shape (4,), expected (5,)" in str(caught.value)


def test_values_that_are_not_finite_are_refused(tmp_path, weights):
    state = {**weights.state, "fc7.bias": torch.full_like(weights.state["fc7.bias"], torch.nan)}
    header = WeightsHeader(
        **{**{f: getattr(weights.header, f) for f in weights.header.__slots__}, "sha256": state_sha256(state)}
    )
    save_weights(tmp_path / "w.safetensors", Weights(header=header, state=state))
    with pytest.raises(WeightsError, match="fc7.bias has values that are not finite"):
        load_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 2}, "format version 2; this program reads version 1"),
        ({"net": {"name": "A", "crop": 33}}, "header is damaged"),
        ({"classes": None}, "header is damaged"),
        ({"extra": 1}, "header is damaged"),
    ],
)
def test_a_header_of_another_kind_is_refused(weights, change, problem):
    header = {**json.loads(weights.header.to_json()), **change}
    with pytest.raises(WeightsError, match=problem):
        WeightsHeader.from_json(json.dumps(header), "w")


def test_the_header_can_be_read_by_anyone(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][METADATA_KEY])
    assert header["preprocessing"]["mean"] == [1.0, 2.0, 3.0]
