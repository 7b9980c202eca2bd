"""Nets of other libraries: their own modules are the oracle."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

from transferbench.errors import UnknownNameError, WeightsError
from transferbench.nets.backbones import Backbone, PooledNet
from transferbench.nets.inputs import DenseBackbone
from transferbench.nets.opening import open_backbone, seeded
from transferbench.nets.weights import load_weights, random_weights, save_weights
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

IMAGES = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8))


def described(name, images=IMAGES):
    weights = random_weights(NetSpec(name=name), Preprocessing(), seed=4)
    with torch.inference_mode():
        return weights, DenseBackbone(weights.build_any(), weights.header.preprocessing)(images)


def normalised(images, config):
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (images.permute(0, 3, 1, 2) / 255 - mean) / std


def same_state(model, weights, prefix="model."):
    model.load_state_dict({key.removeprefix(prefix): value for key, value in weights.state.items()})
    return model.eval()


def test_a_convolutional_timm_model_gives_the_mean_of_its_last_map():
    weights, rows = described("timm:resnet10t")
    assert (weights.header.layer, weights.header.positions) == ("last features", "mean")
    model = same_state(timm.create_model("resnet10t"), weights)
    config = timm.data.resolve_model_data_config(model)
    assert weights.header.preprocessing == Preprocessing(
        value_range=1.0, mean=config["mean"], std=config["std"], interpolation=config["interpolation"]
    )
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(normalised(IMAGES, config)), pre_logits=True)
    assert torch.allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_a_vision_transformer_interpolates_its_positions_and_says_so():
    weights, rows = described("timm:test_vit")
    assert "position embeddings interpolated" in weights.header.positions
    model = same_state(timm.create_model("test_vit", dynamic_img_size=True, dynamic_img_pad=True), weights)
    with torch.inference_mode():
        given = normalised(IMAGES, timm.data.resolve_model_data_config(model))
        expected = model.forward_head(model.forward_features(given), pre_logits=True)
    assert torch.allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_torchvision_models_give_the_mean_of_what_their_pooling_sees():
    weights, rows = described("torchvision:resnet18")
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    model = torchvision.models.resnet18().eval()
    trunk = nn.Sequential(*(getattr(model, name) for name in names))
    trunk.load_state_dict(weights.state)
    model.fc = nn.Identity()
    config = {"mean": weights.header.preprocessing.mean, "std": weights.header.preprocessing.std}
    with torch.inference_mode():
        assert torch.allclose(rows, model(normalised(IMAGES, config)), rtol=1e-4, atol=1e-5)


def test_random_weights_depend_on_the_seed_alone_and_leave_torchs_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = random_weights(NetSpec(name="timm:resnet10t"), Preprocessing(), seed=4).header.sha256
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert random_weights(NetSpec(name="timm:resnet10t"), Preprocessing(), seed=4).header.sha256 == first
    assert random_weights(NetSpec(name="timm:resnet10t"), Preprocessing(), seed=5).header.sha256 != first


def test_a_file_of_another_net_is_read_back_whole_with_its_statistics(tmp_path):
    weights = random_weights(NetSpec(name="timm:resnet10t"), Preprocessing(), seed=4)
    assert any(key.endswith("running_mean") for key in weights.state)
    save_weights(tmp_path / "w.safetensors", weights)
    back = load_weights(tmp_path / "w.safetensors")
    assert back.header == weights.header
    with torch.inference_mode():
        image = torch.rand(1, 3, 64, 64)
        assert torch.equal(back.build_any().describe(image), weights.build_any().describe(image))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timm:resnet1O1", "Did you mean 'timm:resnet101'"),
        ("torchvision:resnet81", "Did you mean 'torchvision:resnet18'"),
        ("torchvision:raft_large", "no model 'raft_large' that classifies images"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no model 'fasterrcnn_resnet50_fpn' that classifies images"),
        ("tim:resnet18", "Did you mean 'timm'"),
        ("timm:../x", "is no name of a net"),
        ("nothing", "unknown net 'nothing'"),
    ],
)
def test_unknown_nets_get_a_suggestion(name, says):
    with pytest.raises(UnknownNameError, match=says):
        open_backbone(name, pretrained=False)


def test_a_torchvision_model_without_a_plain_trunk_is_refused():
    with pytest.raises(WeightsError, match="take it from timm"):
        open_backbone("torchvision:swin_t", pretrained=False)


def test_fc7_of_torchvisions_normalised_vgg_is_dense(monkeypatch):
    from transferbench.nets.torchvision_models import _FullyConvolutional

    class Slim(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(32))
            self.classifier = nn.Sequential(nn.Linear(4 * 49, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 5), nn.ReLU())

    torch.manual_seed(1)
    model = Slim().eval()
    crop = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        expected = model.classifier(model.features(crop).flatten(1))
        assert torch.allclose(_FullyConvolutional(model)(crop)[:, :, 0, 0], expected, atol=1e-6)
        assert _FullyConvolutional(model)(torch.rand(1, 3, 256, 320)).shape == (1, 5, 2, 4)


def test_a_module_that_gives_something_else_is_refused():
    backbone = Backbone(module=nn.Flatten(2), preprocessing=Preprocessing(), layer="x")
    with pytest.raises(WeightsError, match=r"gives values of shape \(2, 3, 64\)"):
        PooledNet(backbone).describe(torch.zeros(2, 3, 8, 8))


def test_a_net_that_is_made_differently_now_refuses_old_weights():
    from dataclasses import replace

    weights = random_weights(NetSpec(name="timm:resnet10t"), Preprocessing(), seed=4)
    other = replace(weights, header=replace(weights.header, positions="own pooling; image resized to 224 x 224"))
    with pytest.raises(WeightsError, match="fetch its weights anew"):
        other.build_any()
    short = replace(weights, state={key: value for key, value in weights.state.items() if "layer4" not in key})
    with pytest.raises(WeightsError, match="do not fit net timm:resnet10t as it is made now"):
        short.build_any()
    assert seeded("timm:resnet10t", 4).spec("timm:resnet10t") == weights.header.net
