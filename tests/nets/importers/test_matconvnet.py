import numpy as np
import pytest

from transferbench.errors import WeightsError
from transferbench.nets.importers.matconvnet import read


@pytest.mark.parametrize("old", [False, True])
def test_both_generations_of_files(foreign, state, tmp_path, old):
    found = read(foreign.write_matconvnet(tmp_path / "w.mat", state, old=old))
    assert found.arrays.keys() == state.keys()
    assert all(np.array_equal(found.arrays[key], state[key]) for key in state)
    assert found.origin["conv1_2.bias"] == "layers{3} conv1_2"


def test_a_single_output_keeps_its_axes(foreign, state, tmp_path):
    thin = {**state, "fc8.weight": state["fc8.weight"][:1], "fc8.bias": state["fc8.bias"][:1]}
    found = read(foreign.write_matconvnet(tmp_path / "w.mat", thin))
    assert np.array_equal(found.arrays["fc8.weight"], thin["fc8.weight"])


@pytest.mark.parametrize("mean", [(103.939, 116.779, 123.68), (122.7, 114.7, 100.0)])
def test_another_average_colour_is_another_model(foreign, state, tmp_path, mean):
    with pytest.raises(WeightsError, match=f"subtracts {mean[0]:.3f}, .* This is another model"):
        read(foreign.write_matconvnet(tmp_path / "w.mat", state, mean=mean))


def test_batch_normalisation_is_refused(foreign, state, tmp_path):
    path = foreign.write_matconvnet(tmp_path / "w.mat", state, more=[{"name": "bn1", "type": "bnorm"}])
    with pytest.raises(WeightsError, match="has batch normalisation"):
        read(path)


def test_a_name_twice_is_refused(foreign, state, tmp_path):
    weights = np.zeros((1, 1, 1, 2), "f4")
    cell = np.empty((1, 2), object)
    cell[0, 0], cell[0, 1] = weights, np.zeros((1, 2), "f4")
    again = {"name": "conv1_1", "type": "conv", "weights": cell}
    with pytest.raises(WeightsError, match="two layers are called conv1_1"):
        read(foreign.write_matconvnet(tmp_path / "w.mat", state, more=[again]))


def test_another_mat_file_is_refused(tmp_path):
    import scipy.io

    scipy.io.savemat(tmp_path / "w.mat", {"layers": np.arange(3.0), "x": 1})
    with pytest.raises(WeightsError, match="is no MatConvNet model"):
        read(tmp_path / "w.mat")
