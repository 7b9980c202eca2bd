"""`tb plan` and `tb extract --dry-run`: what is said beforehand, and that nothing else is done."""

import numpy as np
import pytest
from PIL import Image

from transferbench.evaluation.svm.choice import choose
from transferbench.nets.costs import dense_macs
from transferbench.reporting.outlook import duration
from transferbench.types.net import NetSpec

SIZES = ((60, 40), (40, 50), (64, 64))
RESCALED = {32: ((48, 32), (32, 40), (32, 32)), 48: ((72, 48), (48, 60), (48, 48))}
SLIM = NetSpec(name="A", width=0.03125, crop=32)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """300 images of three sizes in two classes."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir()
        for k in range(150):
            width, height = SIZES[k % 3]
            pixels = random.integers(0, 255, (height, width, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k:03d}.jpg")
    return folder


@pytest.fixture
def recipe(photographs, tmp_path):
    path = tmp_path / "pets.yaml"
    path.write_text(
        f"""# Own images.
version: 1
dataset: "imagefolder:{photographs}"
features:
  nets: [{{name: A, width: 0.03125, crop: 32, weights: {{kind: random, seed: 3}}}}]
  scales: [32, 48]
  flip: true
aggregate: {{kind: stack, l2: both}}
svm: {{loss: squared_hinge, C: [0.1, 1.0], selection: validation}}
claims: null
"""
    )
    return path


def test_operations_and_bytes_follow_from_the_sizes_of_the_images(tb, recipe):
    (plan,) = tb("plan", recipe, "--no-probe", "--json").json()
    extraction = plan["extraction"]
    for block in extraction["blocks"]:
        sizes = RESCALED[block["short_side_px"]]
        assert block["macs"] == 100 * 2 * sum(dense_macs(SLIM, *size) for size in sizes)
        assert (block["to_do"], block["state"], block["n_bytes"]) == (300, "absent", 300 * 128 * 4)
        assert block["seconds"] is None
    assert extraction["pictures"] == ["300 images, median 60 x 40 px (all headers read)"]
    assert extraction["disk_bytes"] == 2 * 300 * 128 * 4
    assert (extraction["probes"], extraction["memory_bytes"], extraction["seconds"]) == ([], None, None)
    assert not (tb.home / "features").exists()
    assert not (tb.home / "weights").exists()


def test_a_sample_of_the_headers_is_scaled_up_and_stated(tb, recipe, monkeypatch):
    (whole,) = tb("plan", recipe, "--no-probe", "--json").json()
    monkeypatch.setattr("transferbench.pipeline.geometry.MOST_HEADERS", 75)  # every fourth, as often of each size
    (sampled,) = tb("plan", recipe, "--no-probe", "--json").json()
    assert sampled["extraction"]["pictures"] == ["300 images, median 60 x 40 px (from 75 headers, evenly chosen)"]
    for one, other in zip(whole["extraction"]["blocks"], sampled["extraction"]["blocks"], strict=True):
        assert one["macs"] == other["macs"]


def test_the_svms_and_the_choice_of_their_solver_are_told(tb, recipe):
    (plan,) = tb("plan", recipe, "--no-probe", "--json").json()
    (svm,) = plan["svms"]
    assert (svm["images"], svm["dimensions"], svm["classes"], svm["splits"]) == (60, 256, 2, 3)
    assert svm["fits"] == 2 * 3 * (2 + 1)
    chosen = choose(60, 256, 2)
    assert (svm["solver"], svm["reason"]) == (chosen.way, chosen.reason)
    assert f"solver {chosen.way}: {chosen.reason}" in tb("plan", recipe, "--no-probe").out


def with_curve(recipe, *counts):
    curve = f"low_shot: {{train_per_class: {list(counts)}, C_without_validation: 1.0}}\nclaims:"
    recipe.write_text(recipe.read_text().replace("claims:", curve))


def test_the_svms_of_a_low_shot_curve_are_those_of_all_its_counts(tb, recipe):
    with_curve(recipe, 1, 2, 10)
    (plan,) = tb("plan", recipe, "--no-probe", "--json").json()
    (svm,) = plan["svms"]
    assert (svm["images"], svm["splits"], svm["rounds"]) == (2 * 10, 3, 3)
    assert svm["fits"] == 2 * 3 * (1 + 2 * (2 + 1))  # one image of every class leaves none to choose C on
    assert "(2 classes, 3 splits, 3 numbers of training images, 2 values of C" in tb("plan", recipe, "--no-probe").out


@pytest.mark.parametrize("command", [("plan",), ("extract", "--recipe"), ("run",)])
def test_a_curve_beyond_the_smallest_class_is_refused_before_any_descriptor(tb, recipe, command):
    with_curve(recipe, 1, 31)
    done = tb(*command, recipe)
    assert (done.code, done.out) == (1, "")
    assert "has 30 training images in split 1 of 3, and low_shot asks for 31" in done.err
    assert not (tb.home / "features").exists()


def test_each_block_is_cached_partial_or_absent_and_says_why(tb, recipe):
    assert tb("extract", "--recipe", recipe).code == 0
    (plan,) = tb("plan", recipe, "--no-probe", "--json").json()
    assert [(b["state"], b["to_do"], b["macs"], b["seconds"]) for b in plan["extraction"]["blocks"]] == [
        ("cached", 0, 0, 0.0)
    ] * 2
    assert plan["extraction"]["seconds"] == 0.0
    assert "time: nothing is to be computed" in tb("plan", recipe, "--no-probe").out
    folder = next(tb.home.glob("features/*/*/q0048-*"))
    (folder / "manifest.json").unlink()
    (folder / "rows-00000.h5").unlink()
    (plan,) = tb("plan", recipe, "--no-probe", "--json").json()
    block = plan["extraction"]["blocks"][1]
    assert (block["state"], block["to_do"], block["why"]) == ("partial", 256, "1 of 2 shards are there")
    recipe.write_text(recipe.read_text().replace("flip: true", "flip: false"))
    (plan,) = tb("plan", recipe, "--no-probe", "--json").json()
    block = plan["extraction"]["blocks"][0]
    assert block["state"] == "absent"
    assert block["why"].startswith("nearest: imagefolder-")
    assert block["why"].endswith(": flip is true there, false here")


def test_a_probe_times_every_scale_and_writes_nothing(tb, recipe):
    (plan,) = tb("plan", recipe, "--json").json()
    extraction = plan["extraction"]
    assert all(block["seconds"] > 0 for block in extraction["blocks"])
    assert extraction["seconds"] == pytest.approx(sum(block["seconds"] for block in extraction["blocks"]))
    assert extraction["memory_bytes"] > 0
    assert "on cpu, by " in extraction["probes"][0]
    assert plan["svms"][0]["seconds"] > 0
    assert not (tb.home / "features").exists()


def test_a_dry_run_says_the_same_as_the_plan(tb, recipe):
    def timeless(extraction):
        return [{**block, "seconds": None} for block in extraction["blocks"]]

    (plan,) = tb("plan", recipe, "--no-probe", "--json").json()
    dry = tb("extract", "--recipe", recipe, "--dry-run", "--json")
    assert dry.code == 0, dry.err
    assert timeless(dry.json()) == timeless(plan["extraction"])
    assert not (tb.home / "features").exists()


def test_pretraining_and_weights_that_are_not_there_are_named_with_their_commands(tb):
    (plan,) = tb("plan", "digits_stack", "--no-probe", "--json").json()
    assert plan["pretraining"] == ["digits_a is needed: tb pretrain --recipe digits_a"]
    assert {block["state"] for block in plan["extraction"]["blocks"]} == {"absent"}
    told = tb("plan", "--dataset", "digits", "--scales", "224,256", "--no-probe").out
    assert "weights: there are no weights of net D in" in told
    assert "Fetch the paper's net D: tb weights fetch" in told
    assert "time: not probed" in told


def test_a_disk_that_is_too_small_is_said(tb, recipe, monkeypatch):
    monkeypatch.setattr("transferbench.pipeline.outlook.free_disk", lambda _folder: 1000)
    assert "307.2 kB needed, 1.0 kB free; THERE IS NOT ENOUGH ROOM" in tb("plan", recipe, "--no-probe").out


@pytest.mark.parametrize("command", [("plan",), ("plan", "digits_stack", "--dataset", "digits", "--scales", "224")])
def test_either_recipes_or_a_dataset(tb, command):
    done = tb(*command)
    assert done.code == 2
    assert "give either recipes, or --dataset and --scales" in done.err


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "?"), (0, "0 s"), (0.2, "< 1 s"), (40, "40 s"), (119, "119 s"), (150, "2 min"), (3600, "1 h 00 min"),
     (11_100, "3 h 05 min"), (400_000, "111 h 07 min")],
)  # fmt: skip
def test_durations_read_as_a_person_would_say_them(seconds, told):
    assert duration(seconds) == told
