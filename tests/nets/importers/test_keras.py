import h5py
import numpy as np
import pytest

from transferbench.errors import WeightsError
from transferbench.nets.importers.keras import read


def test_a_whole_model_holds_its_weights_one_level_down(foreign, state, tmp_path):
    plain = read(foreign.write_keras(tmp_path / "w.h5", state))
    model = read(foreign.write_keras(tmp_path / "m.h5", state, top="model_weights"))
    assert plain.arrays.keys() == model.arrays.keys() == state.keys()
    assert all(np.array_equal(plain.arrays[key], state[key]) for key in state)
    assert all(np.array_equal(model.arrays[key], state[key]) for key in state)
    assert plain.origin["fc6.weight"] == "/fc1/fc1_W_1:0"


def test_later_names_of_the_arrays_are_read_too(foreign, state, tmp_path):
    path = foreign.write_keras(tmp_path / "w.h5", state)
    with h5py.File(path, "r+") as file:
        for layer in [key for key in file if len(file[key])]:
            inner = file[layer].create_group(layer)
            for old, new in ((f"{layer}_W_1:0", "kernel:0"), (f"{layer}_b_1:0", "bias:0")):
                file[layer].move(old, f"{layer}/{new}")
            assert list(inner) == ["bias:0", "kernel:0"]
    assert all(np.array_equal(read(path).arrays[key], state[key]) for key in state)


def test_notop_is_refused_with_the_reason(foreign, state, tmp_path):
    path = foreign.write_keras(tmp_path / "notop.h5", {k: v for k, v in state.items() if k.startswith("conv")})
    with pytest.raises(WeightsError, match=r"has no layer fc1, .* This is a 'notop' file"):
        read(path)


def test_theano_kernels_are_refused(foreign, state, tmp_path):
    path = foreign.write_keras(tmp_path / "th.h5", state)
    with h5py.File(path, "r+") as file:
        del file["block1_conv1/block1_conv1_W_1:0"]
        file["block1_conv1/block1_conv1_W_1:0"] = state["conv1_1.weight"][..., ::-1, ::-1]
    with pytest.raises(WeightsError, match="its kernels are Theano's"):
        read(path)


@pytest.mark.parametrize("kind", ["soft", "external link", "external data", "virtual"])
def test_a_file_that_points_elsewhere_is_refused(foreign, state, tmp_path, kind):
    path = foreign.write_keras(tmp_path / "w.h5", state)
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.zeros(4, "f4")
    with h5py.File(path, "r+") as file:
        name = "block1_conv1/block1_conv1_b_1:0"
        del file[name]
        match kind:
            case "soft":
                file[name] = h5py.SoftLink("/fc1/fc1_b_1:0")
            case "external link":
                file[name] = h5py.ExternalLink(str(secret), "/x")
            case "external data":
                file.create_dataset(name, (4,), "f4", external=[(str(secret), 0, 16)])
            case "virtual":
                layout = h5py.VirtualLayout((4,), "f4")
                layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
                file.create_virtual_dataset(name, layout)
    with pytest.raises(WeightsError, match="such files are not read"):
        read(path)


def test_other_models_are_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["dense/kernel"] = np.zeros((3, 4), "f4")
    with pytest.raises(WeightsError, match="has no layer fc1"):
        read(tmp_path / "w.h5")
