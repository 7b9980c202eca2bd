"""Chains of pretrainings, in miniature: slim nets on a tiny tree in the layout of ILSVRC."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from tests.training.tree import write_tree
from transferbench.cli import main
from transferbench.data import open_source
from transferbench.errors import DocumentError, TrainingError, UnknownNameError, WeightsError
from transferbench.home import Home
from transferbench.nets.modules import VGG, initialise
from transferbench.nets.start import copy_layers
from transferbench.nets.weights import load_weights, random_weights, save_weights
from transferbench.pipeline.chain import PAPER, Changes, chain_of, recipe_for
from transferbench.pipeline.check import check_files
from transferbench.pipeline.runs import Run
from transferbench.pipeline.weights import choose, weights_choice
from transferbench.pipeline.weights_store import describe
from transferbench.recipe.files import load, shipped
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.training.checkpoint import save_checkpoint
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"))


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
    assert done.output.count("for 1 epoch on cpu") == 1
    assert {path: path.read_bytes() for path in before} == before


def test_the_best_weights_are_kept_beside_the_last_and_can_be_chosen(chain):
    home, _, _ = chain
    (run,) = home.glob("runs/*_e-????????")
    last, best = (load_weights(run / f"weights{which}.safetensors") for which in ("", "-best"))
    assert best.header.origin["epoch"] == 1  # of one
    assert best.header.sha256 == last.header.sha256
    assert best.header.origin["held_out_accuracy"] == last.header.origin["held_out_accuracy"]
    chosen = {
        which: choose(weights_choice(f"run:{run.name}{which}"), Home(home), net="E").path for which in ("", "@best")
    }
    assert chosen == {"": run / "weights.safetensors", "@best": run / "weights-best.safetensors"}


def test_best_weights_that_are_not_there_are_named(chain, tmp_path):
    run = tmp_path / "runs" / "other-01234567"
    (folder,) = chain[0].glob("runs/*_e-????????")
    shutil.copytree(folder, run)
    (run / "weights-best.safetensors").unlink()
    with pytest.raises(WeightsError, match="did not keep its best weights; the last are --weights run:other-01234567"):
        choose(weights_choice(f"run:{run.name}@best"), Home(tmp_path), net="E")


def test_finished_runs_with_other_settings_than_the_recipe_are_named(chain):
    """The chain was trained on another dataset, slim and for one epoch: that is not what its recipes say."""
    home, _, _ = chain
    runs = Home(home).runs
    (run,) = runs.glob("*_e-????????")
    document = runs / "ilsvrc2012_e-01234567" / "run.json"
    shutil.copytree(run, document.parent)
    document.write_text(json.dumps(json.loads(document.read_text()) | {"recipe_name": "ilsvrc2012_e"}))
    with pytest.raises(WeightsError) as told:
        choose(weights_choice("run:ilsvrc2012_e@best"), Home(home), net="E")
    shutil.rmtree(document.parent)
    assert str(told.value).splitlines() == [
        "the pretraining ilsvrc2012_e is finished only with other settings than ilsvrc2012_e has.",
        "  Take that one: --weights run:ilsvrc2012_e-01234567@best",
        "  Or train it as the recipe says: tb pretrain --recipe ilsvrc2012_e",
    ]


def test_a_damaged_training_image_is_told_with_its_remedy(tmp_path):
    tree = write_tree(tmp_path / "tree")
    victim = tree / "train" / "n01443537" / "n01443537_3.JPEG"
    victim.write_bytes(victim.read_bytes()[:-60])
    name = f"imagefolder:{tree}"
    done = tb("pretrain", "--net", "A", "--dataset", name, *SLIM, "--home", tmp_path / "home")
    assert done.exit_code == 1
    assert f"Error: {victim}: is damaged" in done.stderr
    remedy = "Get the file again and repeat the command. All such files: tb datasets check"
    assert done.stderr.endswith(f"\n  {remedy} {name} --deep\n")


def test_weights_of_a_trial_are_taken_only_by_name(chain, tmp_path):
    """Newest of all, and of few images: what is measured without naming weights must not be measured with them."""
    home = Home(tmp_path)
    (folder,) = chain[0].glob("runs/*_e-????????")
    for name in ("whole-01234567", "whole-trial-01234567"):
        shutil.copytree(folder, home.runs / name)
    trial = home.runs / "whole-trial-01234567"
    weights = load_weights(trial / "weights.safetensors")
    origin = weights.header.origin | {"limit": 3}
    save_weights(trial / "weights.safetensors", replace(weights, header=replace(weights.header, origin=origin)))
    os.utime(trial / "run.json", (2e9, 2e9))
    whole = home.runs / "whole-01234567"
    assert choose(weights_choice("default"), home, net="E").path == whole / "weights.safetensors"
    shutil.rmtree(whole)
    with pytest.raises(WeightsError) as told:
        choose(weights_choice("default"), home, net="E")
    first, second, *_ = str(told.value).splitlines()
    assert first == f"there are no weights of net E in {home.root} that are taken without being named."
    assert second.endswith("is a trial on a few images (--limit). Take it by name: --weights run:whole-trial-01234567")
    chosen = choose(weights_choice("run:whole-trial-01234567"), home, net="E")
    assert "TRIAL with up to 3 images of every class" in describe(chosen.header)


@pytest.mark.parametrize("asked", ["other-01234567", "other-01234567@best", "{runs}/other-01234567"])
def test_a_run_that_is_named_by_its_folder_is_not_looked_for_among_recipes(tmp_path, asked):
    home = Home(tmp_path)
    asked = weights_choice("run:" + asked.format(runs=home.runs))
    with pytest.raises(WeightsError, match=rf"the run other-01234567 is not there.\n  All runs: .* in {home.runs}"):
        choose(asked, home, net="E")
    (home.runs / "other-01234567").mkdir(parents=True)
    with pytest.raises(WeightsError, match="the run other-01234567 is not finished: go on with it by its tb pretrain"):
        choose(asked, home, net="E")


@pytest.mark.parametrize(
    ("ema", "kept_as", "prefix"), [((), "net", "net."), (("--ema", 0.9), "average", "module.net.")]
)
def test_the_best_weights_are_those_of_the_first_epoch_that_was_best(tree, tmp_path, monkeypatch, ema, kept_as, prefix):
    accuracies = iter([(0.2, 0.5), (0.6, 0.7), (0.6, 0.9), (0.3, 0.4)])
    monkeypatch.setattr("transferbench.training.loop.held_out_accuracy", lambda *_, **__: next(accuracies))
    kept = {}

    def saved(folder, step, state, *, best=False):
        kept[step] = {key.removeprefix(prefix): value.clone() for key, value in state[kept_as].items()}
        return save_checkpoint(folder, step, state, best=best)

    monkeypatch.setattr("transferbench.training.loop.save_checkpoint", saved)
    command = ("pretrain", "--net", "A", "--dataset", f"imagefolder:{tree}", *SLIM, *ema, "--epochs", 4)
    done = tb(*command, "--home", tmp_path)
    assert done.exit_code == 0, done.output
    (run,) = tmp_path.glob("runs/*")
    found = {epoch: kept[3 * epoch] for epoch in range(1, 5)}
    last, best = (load_weights(run / f"weights{which}.safetensors") for which in ("", "-best"))
    assert all(torch.equal(value, found[4][key]) for key, value in last.state.items())
    assert all(torch.equal(value, found[2][key]) for key, value in best.state.items())
    assert (best.header.origin["epoch"], best.header.origin["held_out_accuracy"]) == (2, 0.6)
    assert "the best epoch was 2 of 4 (60.0%)" in done.output
    assert not list(run.glob("checkpoint-*"))


def test_a_dry_run_tells_the_chain_and_begins_no_run(chain, tree, tmp_path):
    _, command, _ = chain
    done = tb(*command, "--home", tmp_path / "none", "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [one["state"] for one in found] == ["not begun"] * 4
    assert [one["start"] for one in found] == ["", *(one["run"] for one in found[:3])]
    assert all((one["images"], one["steps"], one["steps_left"]) == (21, 3, 3) for one in found)
    for one in found:
        assert one["hours"] == pytest.approx(21 / one["images_per_s"] / 3600)
    # Weights and momentum in float32, three times.
    net = NetSpec(name="A", width=0.015625, crop=32, n_classes=3)
    assert found[0]["disk_bytes"] == 3 * 2 * sum(4 * p.numel() for p in VGG(net).parameters())
    assert not (tmp_path / "none" / "runs").exists()


def test_a_dry_run_knows_what_is_done(chain):
    home, command, _ = chain
    done = tb(*command, "--home", home, "--dry-run", "--json")
    assert [(one["state"], one["steps_left"], one["hours"]) for one in json.loads(done.stdout)] == [
        ("finished", 0, None)
    ] * 4
    assert "finished" in tb(*command, "--home", home, "--dry-run").stdout


def test_a_stopped_run_goes_on_by_itself_and_begins_anew_only_when_asked(tree, tmp_path, monkeypatch):
    command = ("pretrain", "--net", "A", "--dataset", f"imagefolder:{tree}", *SLIM, "--epochs", 2, "--home", tmp_path)
    command = (*command, "--save-every-steps", 1)

    def broken(*_, **__):
        raise TrainingError("stopped here")  # noqa: EM101

    with monkeypatch.context() as stopping:
        stopping.setattr("transferbench.training.loop.held_out_accuracy", broken)
        assert tb(*command).exit_code == 1
    (stopped,) = json.loads(tb(*command, "--dry-run", "--json").stdout)
    assert (stopped["state"], stopped["steps_left"]) == ("stopped after step 3", 3)
    with monkeypatch.context() as stopping:
        stopping.setattr("transferbench.training.loop.held_out_accuracy", broken)
        stopping.setenv("TORCHELASTIC_RESTART_COUNT", "1")  # torchrun starts the same command again, --fresh and all
        assert "resuming after step 3 of epoch 1" in tb(*command, "--fresh").output
        stopping.delenv("TORCHELASTIC_RESTART_COUNT")
        assert "resuming" not in tb(*command, "--fresh").output
    done = tb(*command)
    assert "resuming after step 3 of epoch 1" in done.output
    assert done.exit_code == 0
    refused = tb(*command, "--fresh")
    assert refused.exit_code == 1
    assert "is finished, and --fresh only deletes what a stopped run has left" in refused.output
    assert "reused" in tb(*command).output


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
    (problem,) = check_files(str(path)).values()
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
