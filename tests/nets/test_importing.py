"""The four layouts of the authors' weights, torchvision's and plain ones: right conversions agree, wrong ones do not."""

import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
import torchvision

from transferbench.errors import UnknownNameError, WeightsError
from transferbench.nets.fingerprint import fingerprint, sample_descriptor, sample_image
from transferbench.nets.importers import CONVENTIONS, FORMATS
from transferbench.nets.importing import check_forms, import_file
from transferbench.nets.inputs import DenseBackbone, InputLayer
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import MEAN_RGB_ILSVRC, Preprocessing

ORIGINALS = ("keras", "matconvnet", "caffe", "pytorch-bgr")


def refused(match, *args, **options):
    with pytest.raises(WeightsError) as caught:
        import_file(*args, **options)
    text = str(caught.value)
    assert match in text, text
    return text


@pytest.fixture(scope="module")
def truth(foreign, state):
    """The descriptor by the weights that every file was written from."""
    return sample_descriptor(foreign.weights_of(state))


@pytest.mark.parametrize("kind", ORIGINALS)
def test_every_layout_of_the_originals_gives_the_same_descriptor(foreign, state, truth, tmp_path, kind):
    path = foreign.WRITERS[kind](tmp_path / "w", state)
    weights = import_file(path, kind)
    assert weights.header.net == NetSpec(name="D", width=1 / 16, crop=64, n_classes=10)
    assert weights.header.preprocessing == Preprocessing(mean=MEAN_RGB_ILSVRC)
    assert weights.header.class_order == "wnid"
    assert np.abs(sample_descriptor(weights) - truth).max() <= 1e-5 * truth.max()
    # Nothing is recomputed on the way, so even the bits are equal, and with them the identity and the fingerprint.
    expected = foreign.weights_of(state)
    assert weights.header.sha256 == expected.header.sha256
    assert weights.header.fingerprint == fingerprint(expected)


def test_channel_order_folding_equals_feeding_bgr(foreign, state, truth):
    """Folded weights on RGB are the unfolded ones on BGR with the mean in that order."""
    unfolded = foreign.weights_of(foreign.bgr(state), preprocessing=CONVENTIONS["bgr-mean"].preprocessing)
    assert np.allclose(sample_descriptor(unfolded), truth, rtol=1e-9, atol=0)


def wrong_channels(foreign, state, path):
    """The file is RGB where its format means BGR."""
    return foreign.write_caffe(path, state), "caffe"


def wrong_keras_flattening(foreign, state, path):
    """fc1's inputs in Caffe's order instead of Keras'."""
    foreign.write_keras(path, foreign.bgr(state))
    with h5py.File(path, "r+") as file:
        kernel = state["fc6.weight"].reshape(len(state["fc6.weight"]), -1).T
        file["fc1/fc1_W_1:0"][...] = kernel
    return path, "keras"


def wrong_fc6_axes(foreign, state, path):
    """fc6 with width and height exchanged."""
    turned = {**state, "fc6.weight": state["fc6.weight"].transpose(0, 1, 3, 2).copy()}
    return foreign.write_matconvnet(path, turned), "matconvnet"


def wrong_kernel_flip(foreign, state, path):
    """Kernels turned by 180 degrees, as true convolutions have them."""
    turned = {
        key: array[..., ::-1, ::-1].copy() if key.startswith("conv") and array.ndim == 4 else array
        for key, array in state.items()
    }
    return foreign.write_caffe(path, foreign.bgr(turned)), "caffe"


def wrong_format(foreign, state, path):
    """A conversion of the originals, read as torchvision's: equal shapes, other input."""
    return foreign.write_torch(path, foreign.bgr(state), (0, 3, 6)), "torchvision"


@pytest.mark.parametrize(
    "wrong", [wrong_channels, wrong_keras_flattening, wrong_fc6_axes, wrong_kernel_flip, wrong_format]
)
def test_every_wrong_conversion_is_another_net(foreign, state, truth, tmp_path, wrong):
    path, kind = wrong(foreign, state, tmp_path / "w.pth")
    weights = import_file(path, kind)
    row = sample_descriptor(weights)
    assert np.abs(row - truth).max() > 0.01 * truth.max()
    assert weights.header.fingerprint != fingerprint(foreign.weights_of(state))


def test_a_swap_of_conv1_channels_shows_in_the_fingerprint(foreign, state):
    assert fingerprint(foreign.weights_of(foreign.bgr(state))) != fingerprint(foreign.weights_of(state))


def test_torchvision_files_keep_their_own_input_and_rounding(foreign, state, tmp_path):
    weights = import_file(foreign.write_torch(tmp_path / "w.pth", state), "torchvision")
    assert weights.header.net.pool_rounding == "floor"
    assert weights.header.preprocessing == Preprocessing(
        channel_order="RGB",
        value_range=1.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bilinear",
    )


class SlimTorchvision(torch.nn.Module):
    """torchvision's VGG-11 with its own layers, at a sixteenth of the width, for crops of 64 px."""

    def __init__(self):
        super().__init__()
        width = {c: c // 16 for c in (64, 128, 256, 512)}
        plan = [width.get(entry, entry) for entry in torchvision.models.vgg.cfgs["A"]]
        self.features = torchvision.models.vgg.make_layers(plan)
        linear = torch.nn.Linear
        self.classifier = torch.nn.Sequential(
            linear(32 * 4, 256),
            torch.nn.ReLU(),
            torch.nn.Dropout(),
            linear(256, 256),
            torch.nn.ReLU(),
            torch.nn.Dropout(),
            linear(256, 5),
        )

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def test_torchvision_weights_score_as_torchvision_does(tmp_path):
    """The oracle is torchvision's own layers and its own transforms, on a crop."""
    torch.manual_seed(3)
    theirs = SlimTorchvision().eval()
    torch.save(theirs.state_dict(), tmp_path / "vgg11.pth")
    weights = import_file(tmp_path / "vgg11.pth", "torchvision")
    assert weights.header.net == NetSpec(name="A", width=1 / 16, crop=64, n_classes=5, pool_rounding="floor")
    image = torch.from_numpy(sample_image(64, 64))
    transforms = torchvision.models.VGG11_Weights.IMAGENET1K_V1.transforms(crop_size=64, resize_size=64)
    expected = theirs(transforms(image.permute(2, 0, 1))[None])
    found = weights.build()(InputLayer(weights.header.preprocessing)(image[None]))
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "of_theirs"),
    [
        ("pool5", lambda net, x: net.features(x).mean(dim=(2, 3))),
        ("fc6+relu", lambda net, x: net.classifier[:2](net.features(x).flatten(1))),
        ("fc7+relu", lambda net, x: net.classifier[:5](net.features(x).flatten(1))),
    ],
)
def test_every_layer_is_that_of_torchvisions_modules(tmp_path, layer, of_theirs):
    torch.manual_seed(3)
    theirs = SlimTorchvision().eval()
    torch.save(theirs.state_dict(), tmp_path / "vgg11.pth")
    weights = import_file(tmp_path / "vgg11.pth", "torchvision")
    backbone = DenseBackbone(weights.build_any(), weights.header.preprocessing, layer=layer)
    crops = torch.from_numpy(sample_image(64, 64))[None]
    with torch.inference_mode():
        expected = of_theirs(theirs, InputLayer(weights.header.preprocessing)(crops))
        found = backbone(crops)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert backbone.n_dimensions == found.shape[1]
    assert float(found.min()) >= 0  # after the ReLU


@pytest.mark.parametrize(
    ("convention", "write"),
    [
        ("bgr-mean", lambda f, p, s: f.write_torch(p, f.bgr(s), (0, 3, 6))),
        ("bgr-mean", lambda f, p, s: f.write_torch(p, f.bgr(s), (1, 4, 6))),
        ("rgb-mean", lambda f, p, s: f.write_torch(p, s)),
        (
            "rgb-mean",
            lambda _, p, s: torch.save({"state_dict": {f"module.{k}": torch.from_numpy(v) for k, v in s.items()}}, p),
        ),
    ],
)
def test_a_state_dict_says_its_input(foreign, state, truth, tmp_path, convention, write):
    write(foreign, tmp_path / "w.pth", state)
    weights = import_file(tmp_path / "w.pth", "state-dict", convention=convention, class_order="ilsvrc-id")
    assert np.allclose(sample_descriptor(weights), truth, rtol=1e-9, atol=0)
    assert weights.header.class_order == "ilsvrc-id"
    refused("Give --input: rgb-mean, bgr-mean, torchvision", tmp_path / "w.pth", "state-dict")


def test_a_format_is_not_contradicted(foreign, state, tmp_path):
    path = foreign.write_torch(tmp_path / "w.pth", state)
    refused("--input bgr-mean cannot be", path, "torchvision", convention="bgr-mean")
    with pytest.raises(UnknownNameError, match="Did you mean 'torchvision'"):
        import_file(path, "torchvison")


def test_the_two_pytorch_layouts_are_not_mixed_up(foreign, state, tmp_path):
    refused("--format pytorch-bgr", foreign.write_torch(tmp_path / "a.pth", state, (1, 4, 6)), "torchvision")
    refused("--format torchvision", foreign.write_torch(tmp_path / "b.pth", state, (0, 3, 6)), "pytorch-bgr")


@pytest.mark.parametrize("kind", ORIGINALS)
def test_a_file_of_another_net_is_refused_with_the_difference(foreign, tmp_path, kind):
    spec = replace(foreign.SPEC, name="D")
    path = foreign.WRITERS[kind](tmp_path / "w", foreign.state_of(spec))
    text = refused("does not hold net E at width 0.0625, crop 64 but that of net D", path, kind, net="E")
    assert "missing conv3_4.weight (16, 16, 3, 3)" in text
    assert "missing conv5_4.bias (32,)" in text


def test_a_net_with_the_tensors_of_a_is_a_lrn_only_when_named(foreign, tmp_path):
    path = foreign.write_torch(tmp_path / "a.pth", foreign.state_of(replace(foreign.SPEC, name="A")))
    assert import_file(path, "torchvision").header.net.name == "A"
    assert import_file(path, "torchvision", net="A-LRN").header.net.name == "A-LRN"


def test_1x1_convolutions_tell_net_c_from_d(foreign, tmp_path):
    path = foreign.write_caffe(tmp_path / "c.caffemodel", foreign.state_of(replace(foreign.SPEC, name="C")))
    assert import_file(path, "caffe").header.net.name == "C"


@pytest.mark.parametrize("kind", ORIGINALS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(foreign, state, tmp_path, kind, value):
    broken = {**state, "conv4_2.weight": state["conv4_2.weight"].copy()}
    broken["conv4_2.weight"][3, 2, 1, 0] = value
    refused("conv4_2.weight has values that are not finite", foreign.WRITERS[kind](tmp_path / "w", broken), kind)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_another_number_type_is_refused(foreign, state, tmp_path, dtype):
    path = foreign.write_keras(tmp_path / "w.h5", {**state, "conv2_1.weight": state["conv2_1.weight"].astype(dtype)})
    refused(f"conv2_1.weight is torch.{np.dtype(dtype).name}, expected float32", path, "keras")


def test_features_without_a_classifier_are_refused_with_the_reason(foreign, state, tmp_path):
    whole = foreign.torch_state(state, (0, 3, 6))
    torch.save({k: v for k, v in whole.items() if k.startswith("features")}, tmp_path / "features.pth")
    refused("has no classifier (fc6, fc7, fc8 missing or not finite)", tmp_path / "features.pth", "torchvision")
    torch.save(
        {k: v * (torch.nan if k.startswith("classifier") else 1) for k, v in whole.items()}, tmp_path / "nan.pth"
    )
    refused("IMAGENET1K_FEATURES is such a file", tmp_path / "nan.pth", "torchvision")


def test_batch_normalisation_is_refused(tmp_path):
    torch.save(
        torchvision.models.vgg11_bn(num_classes=2, init_weights=False).features.state_dict(), tmp_path / "bn.pth"
    )
    refused("has batch normalisation", tmp_path / "bn.pth", "torchvision")


class Malicious:
    """A pickle that runs a command when it is loaded in good faith."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return open, (self.witness, "w")


@pytest.mark.parametrize("kind", ["torchvision", "pytorch-bgr", "state-dict"])
@pytest.mark.parametrize("protocol", ["torch", "plain pickle"])
def test_a_malicious_pickle_runs_nothing(foreign, state, tmp_path, kind, protocol):
    witness = tmp_path / "it ran"
    content = {**foreign.torch_state(state, (0, 3, 6)), "features.0.weight": Malicious(str(witness))}
    path = tmp_path / "evil.pth"
    if protocol == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(str(witness))))
    convention = None if kind != "state-dict" else "rgb-mean"
    text = refused("nothing in it was run", path, kind, convention=convention)
    assert len(text.splitlines()) == 1
    assert not witness.exists()
    pickle.loads(pickle.dumps(Malicious(str(witness)))).close()
    assert witness.exists()  # the weapon was loaded


@pytest.mark.parametrize("kind", sorted(FORMATS))
@pytest.mark.parametrize("damage", ["empty", "text", "page", "cut", "missing"])
def test_a_damaged_file_is_one_clear_error(foreign, state, tmp_path, kind, damage):
    path = foreign.WRITERS.get(kind, foreign.WRITERS["pytorch-bgr"])(tmp_path / "w", state)
    data = path.read_bytes()
    contents = {
        "empty": b"",
        "text": b"not weights at all\n" * 20,
        "page": b"<!DOCTYPE html><html>404</html>",
        "cut": data[: len(data) * 2 // 3],
    }
    path.unlink() if damage == "missing" else path.write_bytes(contents[damage])
    text = refused(str(path), path, kind, convention="rgb-mean" if kind == "state-dict" else None)
    assert len(text) < 1500


def test_a_blind_net_is_refused(foreign, state):
    dark = {
        key: -np.abs(array) if key == "conv1_1.bias" else np.zeros_like(array) if key == "conv1_1.weight" else array
        for key, array in state.items()
    }
    dark["fc7.bias"] = -np.ones_like(state["fc7.bias"])
    dark["fc7.weight"] = -np.abs(state["fc7.weight"])
    with pytest.raises(WeightsError, match="describes the test image by zeros"):
        check_forms(foreign.weights_of(dark), "dark.pth")


@pytest.mark.slow
def test_a_file_of_full_size_is_net_d(foreign, tmp_path):
    """138,357,544 parameters (the paper's Table 2 says 138 million), through the authors' own layout."""
    whole = foreign.state_of(NetSpec(name="D"))
    assert sum(array.size for array in whole.values()) == 138_357_544
    path = foreign.write_caffe(tmp_path / "w.caffemodel", foreign.bgr(whole))
    weights = import_file(path, "caffe")
    path.unlink()
    assert weights.header.net == NetSpec(name="D")
    assert all(np.array_equal(weights.state[key].numpy(), array) for key, array in whole.items())


def test_forms_that_disagree_are_refused(foreign, state, monkeypatch):
    from transferbench.nets.modules import VGG

    monkeypatch.setattr(VGG, "dense_scores", lambda self, images: self(images) * 1.001)
    with pytest.raises(WeightsError, match=r"fully connected and dense forms differ by 1\.0e-03"):
        check_forms(foreign.weights_of(state), "w.pth")
