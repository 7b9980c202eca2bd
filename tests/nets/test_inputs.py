import numpy as np
import torch

from transferbench.nets.inputs import Classifier, DenseBackbone, InputLayer, PixelBackbone
from transferbench.nets.modules import VGG, initialise
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

BYTES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 40, 48, 3), dtype=np.uint8))


def test_the_papers_preprocessing_subtracts_the_mean_from_bytes():
    out = InputLayer(Preprocessing())(BYTES)
    assert out.shape == (2, 3, 40, 48)
    assert out[1, 2, 3, 4] == BYTES[1, 3, 4, 2].float() - 103.939


def test_bgr_reverses_the_channels_before_the_mean():
    out = InputLayer(Preprocessing(channel_order="BGR", mean=(103.939, 116.779, 123.68)))(BYTES)
    assert out[0, 0, 5, 6] == BYTES[0, 5, 6, 2].float() - 103.939


def test_torchvisions_preprocessing_is_that_of_torchvision():
    from torchvision.transforms.functional import normalize

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ours = InputLayer(Preprocessing(value_range=1.0, mean=mean, std=std))(BYTES)
    theirs = normalize(BYTES.permute(0, 3, 1, 2).float() / 255, mean, std)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_colour_shift_is_in_grey_levels_of_red_green_and_blue_whatever_the_nets_own_order_and_range():
    shifts = torch.tensor([[1.5, -2.0, 40.0], [0.0, 0.0, 0.0]])
    mean = (103.939, 116.779, 123.68)
    bgr = InputLayer(Preprocessing(channel_order="BGR", mean=mean))
    out = bgr(BYTES, shifts) - bgr(BYTES)
    assert torch.allclose(out[0].mean(dim=(1, 2)), torch.tensor([40.0, -2.0, 1.5]), atol=1e-4)
    assert not out[1].any()
    unit = InputLayer(Preprocessing(value_range=1.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)))
    expected = shifts[0] / 255 / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose((unit(BYTES, shifts) - unit(BYTES))[0].mean(dim=(1, 2)), expected, atol=1e-5)


def test_a_shifted_colour_is_not_cut_off_at_black_or_white():
    black = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    out = InputLayer(Preprocessing())(black, torch.tensor([[-7.25, -7.25, 300.0]]))
    assert torch.allclose(out[0, :, 0, 0], torch.tensor([-7.25 - 123.68, -7.25 - 116.779, 300 - 103.939]))


def test_input_is_channels_last():
    assert InputLayer(Preprocessing())(BYTES).is_contiguous(memory_format=torch.channels_last)


def test_classifier_and_backbone_share_a_net():
    net = VGG(NetSpec(name="A", width=1 / 32, crop=32, n_classes=7))
    initialise(net, "glorot", 0)
    crops = BYTES[:, :32, :32]
    backbone = DenseBackbone(net, Preprocessing())
    with torch.inference_mode():
        assert torch.allclose(Classifier(net, Preprocessing()).eval()(crops), net(InputLayer(Preprocessing())(crops)))
        assert backbone(BYTES).shape == (2, backbone.n_dimensions) == (2, 128)


def test_a_classifier_hands_on_the_shifts_of_colours_and_the_draws_of_dropout():
    net = VGG(NetSpec(name="A", width=1 / 32, crop=32, n_classes=7))
    initialise(net, "glorot", 0)
    crops, shifts, draws = (
        BYTES[:, :32, :32],
        torch.tensor([[9.0, -20.0, 30.0], [0.0, 5.0, -9.0]]),
        torch.tensor([3, 8]),
    )
    classifier = Classifier(net, Preprocessing()).train()
    shifted = (
        crops.permute(0, 3, 1, 2) + shifts[:, :, None, None] - torch.tensor([123.68, 116.779, 103.939])[:, None, None]
    )
    with torch.inference_mode():
        assert torch.allclose(classifier(crops, shifts, draws), net(shifted, draws), atol=1e-5)


def test_raw_pixels_are_the_central_square():
    assert torch.equal(PixelBackbone(40)(BYTES), BYTES[:, :, 4:44].flatten(1).float())
    assert PixelBackbone(40).n_dimensions == 4800
    # Where the middle falls between two pixels, the one to the top and left.
    assert torch.equal(PixelBackbone(37)(BYTES), BYTES[:, 1:38, 5:42].flatten(1).float())
