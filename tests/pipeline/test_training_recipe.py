"""Every value of a pretraining recipe reaches what is trained: none is left at a default on the way."""

from types import SimpleNamespace

import pytest
import torch

from tests.training.tree import CLASSES, write_tree
from transferbench.data import open_source
from transferbench.errors import TrainingError
from transferbench.home import Home
from transferbench.nets.modules import VGG, initialise
from transferbench.pipeline import training
from transferbench.pipeline.chain import Link
from transferbench.pipeline.pretrain import AS_USUAL
from transferbench.pipeline.runs import Run
from transferbench.pretraining import Plateau
from transferbench.progress import Silent
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.training.augment import AugmentOptions
from transferbench.training.options import TrainingOptions
from transferbench.training.processes import Processes
from transferbench.types.net import NetSpec

# Nothing here is what it would be if the recipe did not say it.
RECIPE = {
    "version": 1,
    "dataset": "ilsvrc2012",
    "net": {"name": "B", "width": 1 / 32, "crop": 32},
    "init": "literal",
    "short_side": {"smallest": 34, "largest": 41},
    "mean": (1.0, 2.0, 3.0),
    "interpolation": "bilinear",
    "flip": False,
    "colour_shift": 0.3,
    "epochs": 7,
    "batch_size": 5,
    "learning_rate": 0.03,
    "schedule": {"kind": "plateau", "drops": 2, "patience": 4, "least": 0.02},
    "momentum": 0.7,
    "weight_decay": 0.004,
    "bias_rate": 3.0,
    "bias_decay": False,
    "dropout": 0.2,
    "dropout_masks": "stream",
    "seed": 11,
    "modern": {"label_smoothing": 0.15, "ema": 0.95},
}


class SeenError(TrainingError):
    """Raised in place of training."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return open_source(f"imagefolder:{write_tree(tmp_path_factory.mktemp('tree'), training=4, held_out=2)}")


@pytest.fixture
def handed_over(source, tmp_path, monkeypatch):
    """Run a recipe up to the loop; return what the loop and the loading of images were given."""

    def until_trained(**changes):
        seen, crops, make_crops = SimpleNamespace(crops=[]), [], training.training_crops

        def noted(*given, **named):
            crops.append((*given[1:], named["exact"]))
            return make_crops(*given, **named)

        def train(net, images, held_out, options, execution, **_):
            seen.net, seen.images, seen.held_out, seen.options = net, images, held_out, options
            raise SeenError

        monkeypatch.setattr(training, "training_crops", noted)
        monkeypatch.setattr(training, "train", train)
        monkeypatch.setattr(training, "images_per_second", lambda *_, **__: 1.0)
        recipe = PretrainRecipe.model_validate(RECIPE | changes)
        run = Run.of(Home(tmp_path), "other", recipe)
        with pytest.raises(SeenError):
            training.train_link(
                Link("other", recipe), run, None, source, AS_USUAL,
                device="cpu", progress=Silent(), processes=Processes(),
            )  # fmt: skip
        seen.crops = crops
        return seen

    return until_trained


def test_the_loop_is_told_what_the_recipe_says(handed_over):
    assert handed_over().options == TrainingOptions(
        epochs=7,
        batch_size=5,
        learning_rate=0.03,
        schedule=Plateau(kind="plateau", drops=2, patience=4, least=0.02),
        momentum=0.7,
        weight_decay=0.004,
        bias_rate=3.0,
        bias_decay=False,
        image_draws=False,
        label_smoothing=0.15,
        ema=0.95,
        seed=11,
    )
    assert handed_over(dropout_masks="image").options.image_draws is True


def test_crops_are_drawn_as_the_recipe_says_and_held_out_ones_exactly(handed_over):
    options = AugmentOptions(crop=32, short_sides=(34, 41), flip=False, colour_shift=0.3, seed=11)
    (ids, *told), (held_out_ids, *held_out_told) = handed_over().crops
    assert told == [options, "bilinear", False]
    assert held_out_told == [options, "bilinear", True]
    assert (len(ids), len(held_out_ids)) == (12, 6)
    assert not set(ids) & set(held_out_ids)


def test_the_net_begins_as_the_recipe_says(handed_over):
    seen = handed_over()
    expected = VGG(NetSpec(name="B", width=1 / 32, crop=32, n_classes=3))
    initialise(expected, "literal", 11)
    assert seen.net.net.dropout == 0.2
    assert all(torch.equal(p, seen.net.net.get_parameter(name)) for name, p in expected.named_parameters())
    pixel = torch.tensor([[[[11, 12, 13]]]], dtype=torch.uint8)
    assert seen.net.inputs(pixel).flatten().tolist() == [10.0, 10.0, 10.0]


def test_every_image_has_the_class_of_its_folder(handed_over):
    seen = handed_over()
    for (ids, *_), images in zip(seen.crops, (seen.images, seen.held_out), strict=True):
        by_name = [CLASSES.index(next(name for name in CLASSES if name in image_id)) for image_id in ids]
        assert images.labels.tolist() == by_name
        # Classes differ in their brightest channel, so that pixels tell whose they are.
        (batch,) = images.batches([torch.arange(len(ids)).numpy()], None)
        assert batch.crops.float().mean(dim=(1, 2)).argmax(dim=1).tolist() == by_name
        assert batch.labels.tolist() == by_name
