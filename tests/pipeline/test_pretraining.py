"""Chains of pretrainings, in miniature: slim nets on a tiny tree in the layout of ILSVRC."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from transferbench.cli import main
from transferbench.data import open_source
from transferbench.errors import DocumentError, UnknownNameError, WeightsError
from transferbench.home import Home
from transferbench.nets.modules import VGG, initialise
from transferbench.nets.start import copy_layers
from transferbench.nets.weights import load_weights, random_weights
from transferbench.pipeline.chain import PAPER, Changes, chain_of, recipe_for
from transferbench.pipeline.check import check_files
from transferbench.pipeline.runs import Run
from transferbench.recipe.files import load, shipped
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

CLASSES = ("n01440764", "n01443537", "n01484850")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """train/ and val/ of three classes that differ in colour."""
    folder, random = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for part, n in (("train", 7), ("val", 3)):
        for number, wnid in enumerate(CLASSES):
            (folder / part / wnid).mkdir(parents=True)
            for k in range(n):
                pixels = random.integers(0, 90, (44, 52, 3), dtype=np.uint8)
                pixels[..., number] += 120
                Image.fromarray(pixels).save(folder / part / wnid / f"{wnid}_{k}.JPEG", format="JPEG")
    return folder


def tb(*args):
    return CliRunner().invoke(main, [str(a) for a in args], catch_exceptions=False)


SLIM = ("--width", "0.015625", "--crop", "32", "--epochs", "1", "--batch-size", "8", "--workers", "0")
SLIM = (*SLIM, "--no-tensorboard", "--device", "cpu")


@pytest.fixture(scope="module")
def chain(tree, tmp_path_factory):
    """`tb pretrain --net E --recipe paper`, once."""
    home = tmp_path_factory.mktemp("home")
    command = ("pretrain", "--net", "E", "--recipe", "paper", "--dataset", f"imagefolder:{tree}", *SLIM)
    done = tb(*command, "--home", home)
    assert done.exit_code == 0, done.output
    return home, command, done


def weights_of(home, name):
    (found,) = (home / "runs").glob(f"imagefolder-*_{name}-????????/weights.safetensors")
    return load_weights(found)


def test_the_papers_chain_is_one_command_and_every_link_starts_from_the_right_one(chain):
    home, _, done = chain
    a, e, e_384, e_jitter = (weights_of(home, name) for name in ("a", "e", "e_384", "e_jitter"))
    assert "start" not in a.header.origin
    for child, parent, layers in ((e, a, 7), (e_384, e, 19), (e_jitter, e_384, 19)):
        start = child.header.origin["start"]
        assert start["weights_sha256"] == parent.header.sha256
        assert len(start["layers"]) == layers
    assert e.header.origin["start"]["layers"] == ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]
    assert [w.header.net.name for w in (a, e, e_384, e_jitter)] == ["A", "E", "E", "E"]
    told = e_jitter.header.origin["training"]
    # 256 px to a crop of 224 are 37 px to a crop of 32; 512 px are 73.
    assert told["short_side"] == {"smallest": 37, "largest": 73}
    assert done.stdout.strip().endswith("weights.safetensors")
    assert "e_jitter" in done.stdout


def test_the_same_command_again_does_nothing_and_a_missing_link_alone_is_done_again(chain):
    home, command, _ = chain
    before = {path: path.read_bytes() for path in home.glob("runs/*/weights.safetensors")}
    again = tb(*command, "--home", home)
    assert "reused: pretraining imagefolder-" in again.output
    (last,) = home.glob("runs/*_e_jitter-????????/run.json")
    last.unlink()
    done = tb(*command, "--home", home)
    assert done.exit_code == 0
    assert "_e_384 (done) -> " in done.output
    assert done.output.count("for 1 epochs on cpu") == 1
    assert {path: path.read_bytes() for path in before} == before


def test_its_result_feeds_extraction_and_evaluation(chain, tmp_path):
    home, _, _ = chain
    (run,) = home.glob("runs/*_e_jitter-????????")
    extracted = tb(
        "extract", "--dataset", "digits", "--net", "E", "--weights", f"run:{run.name}", "--scales", "32", "--no-flip",
        "--device", "cpu", "--limit", "40", "--home", home,
    )  # fmt: skip
    assert extracted.exit_code == 0, extracted.output
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        f"""# A slim net E.
version: 1
dataset: digits
features:
  nets: [{{name: E, width: 0.015625, crop: 32, weights: {{kind: file, path: {run / "weights.safetensors"}}}}}]
  scales: [32]
  flip: false
aggregate: {{kind: average, l2: block}}
svm: {{loss: squared_hinge, C: [1.0], selection: validation}}
claims: null
"""
    )
    evaluated = tb("run", recipe, "--device", "cpu", "--limit", "40", "--home", home, "--json")
    assert evaluated.exit_code == 0, evaluated.output
    scores = json.loads(evaluated.stdout)["scores"]
    assert 0.0 < scores[0]["mean"] <= 1.0


def test_convolutions_stay_where_only_fc_layers_are_tuned(chain, tmp_path):
    home, command, _ = chain
    recipe = load("ilsvrc2012_d_jitter_fc", PretrainRecipe)
    assert recipe.start.recipe == "ilsvrc2012_d_384"
    (run,) = home.glob("runs/*_e_384-????????")
    text = shipped(PretrainRecipe)["ilsvrc2012_e_jitter"].read_text()
    tuned = tmp_path / "tuned_fc.yaml"
    tuned.write_text(text.replace("short_side:", "train: fc\nshort_side:"))
    done = tb(*command[:1], "--recipe", tuned, *command[5:], "--home", home)
    assert done.exit_code == 0, done.output
    (found,) = home.glob("runs/tuned_fc-*/weights.safetensors")
    before, after = load_weights(run / "weights.safetensors").state, load_weights(found).state
    changed = {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"fc6", "fc7", "fc8"}


def test_own_images_change_the_run_and_are_held_out_by_class_where_no_parts_are_given(tree, tmp_path):
    home = Home(tmp_path)
    recipe = load("ilsvrc2012_a", PretrainRecipe)
    runs = {Run.of(home, "x", recipe, extra=extra).folder for extra in (None, {"images_sha256": "1"}, {"pixels": {}})}
    assert len(runs) == 3
    source = open_source(f"imagefolder:{tree / 'train'}")
    training, held_out = source.training_and_held_out()
    assert len(training) == 18
    assert sorted(source.labels.by_id[i] for i in held_out) == [0, 1, 2]
    assert not set(training) & set(held_out)


def test_every_net_the_paper_trains_has_its_recipe_with_the_papers_numbers():
    found = {name: load(name, PretrainRecipe) for name in shipped(PretrainRecipe) if name.startswith("ilsvrc2012_")}
    assert len(found) == 14
    for name, recipe in found.items():
        assert (recipe.batch_size, recipe.momentum, recipe.weight_decay, recipe.dropout) == (256, 0.9, 5e-4, 0.5), name
        assert round(recipe.epochs * 1_281_167 / 256, -3) == 370_000
        assert recipe.learning_rate == (0.001 if recipe.start and recipe.start.layers == "all" else 0.01)
        assert recipe.schedule.drops == 3
        assert recipe.modern.ema is None
        assert recipe.modern.label_smoothing == 0.0
        assert (recipe.flip, recipe.colour_shift) == (True, 0.1)
        assert recipe.net.spec(1000) == NetSpec(name=recipe.net.name)
    scales = {name: recipe.short_sides for name, recipe in found.items()}
    assert scales["ilsvrc2012_c_384"] == (384, 384)
    assert scales["ilsvrc2012_d_jitter"] == scales["ilsvrc2012_d_jitter_fc"] == (256, 512)


@pytest.mark.parametrize(
    ("net", "recipe", "scale", "expected"),
    [
        ("E", None, None, ["a", "e"]),
        ("A-LRN", None, None, ["a_lrn"]),
        ("E", PAPER, None, ["a", "e", "e_384", "e_jitter"]),
        ("B", PAPER, None, ["a", "b"]),
        ("B-5x5", PAPER, None, ["b_5x5"]),
        ("D", None, "384", ["a", "d", "d_384"]),
        ("C", None, "256..512", ["a", "c", "c_384", "c_jitter"]),
        (None, "ilsvrc2012_d_jitter_fc", None, ["a", "d", "d_384", "d_jitter_fc"]),
    ],
)
def test_what_a_command_means(net, recipe, scale, expected):
    links = chain_of(*recipe_for(recipe, net=net, scale=scale))
    assert [link.name for link in links] == [f"ilsvrc2012_{name}" for name in expected]


def test_what_cannot_be_meant_is_refused(tmp_path):
    with pytest.raises(DocumentError, match="which pretraining"):
        recipe_for(PAPER, net=None)
    with pytest.raises(DocumentError, match=r"does not train net B at scale 384; it has 256"):
        recipe_for(None, net="B", scale="384")
    with pytest.raises(UnknownNameError, match="ilsvrc2012_f"):
        recipe_for(None, net="F")
    with pytest.raises(DocumentError, match=r"--scale chooses among the paper's recipes"):
        recipe_for("digits_a", net=None, scale="256")
    with pytest.raises(DocumentError, match=r"ilsvrc2012_a with these options: .*crop 33 is not a multiple"):
        chain_of(*recipe_for(None, net="A"), Changes(crop=33))
    circle = tmp_path / "circle.yaml"
    text = shipped(PretrainRecipe)["ilsvrc2012_e_384"].read_text()
    circle.write_text(text.replace("recipe: ilsvrc2012_e,", f"recipe: {circle},"))
    with pytest.raises(DocumentError, match="start from each other"):
        chain_of(str(circle), load(str(circle), PretrainRecipe))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("recipe: ilsvrc2012_e,", "recipe: ilsvrc2012_ee,"), "ilsvrc2012_ee"),
        (("recipe: ilsvrc2012_e,", "recipe: ilsvrc2012_d,"), "start: the recipe trains net E, but ilsvrc2012_d trains"),
        (("{name: E}", "{name: E, width: 0.5}"), "trains net E at width 0.5"),
    ],
)
def test_a_start_that_cannot_be_is_found_when_the_recipe_is_checked(tmp_path, change, message):
    path = tmp_path / "changed.yaml"
    text = shipped(PretrainRecipe)["ilsvrc2012_e_384"].read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    (problem,) = check_files(path).values()
    assert message in problem


def test_first_layers_are_copied_by_block_and_nothing_that_does_not_fit():
    spec = NetSpec(name="B", width=1 / 64, crop=32, n_classes=3)
    a = random_weights(NetSpec(name="A", width=1 / 64, crop=32, n_classes=3), Preprocessing(), seed=1)
    net = VGG(spec)
    initialise(net, "normal", 0)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    copied = copy_layers(net, a, ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"))
    for key, value in net.state_dict().items():
        assert torch.equal(value, a.state[key] if key.partition(".")[0] in copied else before[key]), key
    with pytest.raises(WeightsError, match=r"only one of them has conv1_2, conv2_2"):
        copy_layers(net, a, None)
    other = random_weights(NetSpec(name="A", width=1 / 64, crop=32, n_classes=4), Preprocessing(), seed=1)
    with pytest.raises(WeightsError, match=r"fc8.weight is \(4, 64, 1, 1\) there and \(3, 64, 1, 1\) here"):
        copy_layers(VGG(spec), other, ("fc8",))
