import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transferbench.errors import WeightsError
from transferbench.nets.importers.caffe import _MalformedError, parse, read


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("packed", [True, False])
def test_old_and_new_layers_packed_and_single_numbers(foreign, state, tmp_path, new, packed):
    small = {key: array for key, array in state.items() if key.startswith(("conv1_", "conv5_"))}
    found = read(foreign.write_caffe(tmp_path / "w", small, new=new, packed=packed))
    assert found.arrays.keys() == small.keys()
    for key, array in small.items():
        assert np.array_equal(found.arrays[key], array)
        assert found.arrays[key].flags.writeable
    assert found.origin["conv1_1.weight"] == "conv1_1 blob 0"


def test_numbers_in_double_precision(foreign):
    values = np.array([1.5, -2.25], "<f8")
    blob = foreign.field(3, 0, b"\x01") + foreign.field(4, 0, b"\x02") + foreign.field(8, 2, values.tobytes())
    layer = foreign.field(1, 2, b"x") + foreign.field(7, 2, blob)
    (array,) = parse(memoryview(foreign.field(100, 2, layer)))["x"]
    assert array.dtype == np.float32
    assert array.tolist() == [[[[1.5, -2.25]]]]


def cases(foreign):
    blob = foreign.blob(np.ones((2, 3)), new=True, packed=True)

    def layer(*parts):
        return foreign.field(100, 2, b"".join(parts))

    def blobs(body):
        return layer(foreign.field(1, 2, b"x"), foreign.field(7, 2, body))

    return {
        "a length beyond the end": b"\x12\xff\xff\xff\xff\x0f",
        "an endless number": b"\x10" + b"\xff" * 11,
        "a number cut off": b"\x10\xff",
        "a group": b"\x13",
        "field zero": b"\x02\x00",
        "a name that is no text": layer(foreign.field(1, 2, b"\xff\xfe"), foreign.field(7, 2, blob)),
        "two layers of one name": blobs(blob) * 2,
        "a shape of other size": blobs(
            foreign.field(7, 2, foreign.field(1, 2, b"\x05\x05")) + foreign.field(5, 2, b"\0" * 8)
        ),
        "a giant shape": blobs(
            foreign.field(7, 2, foreign.field(1, 2, b"\xff\xff\xff\xff\x7f" * 2)) + foreign.field(5, 2, b"\0" * 8)
        ),
        "many axes": blobs(foreign.field(7, 2, foreign.field(1, 2, b"\x01" * 9)) + foreign.field(5, 2, b"\0" * 4)),
        "half a number": blobs(foreign.field(5, 2, b"\0" * 7)),
        "no data": blobs(foreign.field(7, 2, foreign.field(1, 2, b"\x02"))),
    }


def test_malformed_messages_are_refused(foreign, tmp_path):
    for name, data in cases(foreign).items():
        path = tmp_path / "w.caffemodel"
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"w\.caffemodel: is no \.caffemodel") as caught:
            read(path)
        assert len(str(caught.value)) < 300, name


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        layers = parse(memoryview(data))
    except _MalformedError:
        return
    assert all(isinstance(name, str) and blobs for name, blobs in layers.items())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 40),
)
def test_a_changed_model_is_read_or_refused(foreign, changes, cut):
    state = {"conv1_1.weight": np.ones((2, 3, 3, 3), "f4"), "conv1_1.bias": np.ones(2, "f4")}
    body = b"".join(foreign.field(6, 2, foreign.blob(array, new=False, packed=True)) for array in state.values())
    data = bytearray(foreign.field(2, 2, foreign.field(4, 2, b"conv1_1") + body))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        parse(memoryview(bytes(data[: len(data) - cut])))
    except _MalformedError:
        return


def test_a_layer_without_bias_is_refused(foreign, tmp_path):
    layer = foreign.field(4, 2, b"conv1_1") + foreign.field(
        6, 2, foreign.blob(np.ones((2, 3, 3, 3)), new=False, packed=True)
    )
    (tmp_path / "w.caffemodel").write_bytes(foreign.field(2, 2, layer))
    with pytest.raises(WeightsError, match="layer conv1_1 has 1 blobs"):
        read(tmp_path / "w.caffemodel")
