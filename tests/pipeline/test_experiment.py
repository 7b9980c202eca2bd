"""The main job, through the real command line: `tb run digits_stack` in an empty work folder."""

import csv
import json
import shutil

import numpy as np
import pytest

from transferbench.cache.block import Block
from transferbench.data import open_dataset
from transferbench.home import Home
from transferbench.pipeline.plan import blocks, variants
from transferbench.recipe.files import load
from transferbench.recipe.transfer import Recipe
from transferbench.reporting.test_scores import load_test_scores


def test_the_table_shows_the_pretrained_net_above_both_floors(experiment):
    lines = experiment.first.out.splitlines()
    assert (
        lines[0]
        == "digits_stack: mean class recall in per cent on digits, 3 splits of 100 training and 697 test images"
    )
    assert [line.split("  ")[0] for line in lines[4:7]] == ["pretrained, net A", "random weights", "raw pixels"]
    means = {variant["name"]: variant["mean"] for variant in experiment.result["scores"]}
    assert means["pretrained"] > 0.96
    assert means["pretrained"] > max(means["random weights"], means["raw pixels"]) + 0.05


def test_pretraining_reached_its_accuracy_on_held_out_images(experiment):
    (run,) = (experiment.tb.home / "runs").iterdir()
    with (run / "metrics.csv").open() as file:
        assert float(list(csv.DictReader(file))[-1]["accuracy"]) >= 0.95
    assert sorted(path.name for path in run.iterdir() if not path.name.startswith(".")) == [
        "metrics.csv",
        "run.json",
        "steps.csv",
        "tensorboard",
        "weights-best.safetensors",
        "weights.safetensors",
    ]


def test_progress_went_to_stderr(experiment):
    assert "pretraining net A" in experiment.first.err
    assert "extracting raw pixels at 8 px" in experiment.first.err
    assert "pretraining net A" not in experiment.first.out


def test_a_second_run_reuses_every_stage_and_says_so(experiment):
    again = experiment.tb("run", "digits_stack")
    assert again.code == 0
    assert again.out == experiment.first.out
    said = [line for line in again.err.splitlines() if not line.startswith("page:")]
    assert len(said) == 5
    assert all(line.startswith("reused: ") for line in said)


def test_the_result_says_everything_that_it_rests_on(experiment):
    result = experiment.result
    assert [stage["name"] for stage in result["stages"]] == [
        "pretrain digits_a",
        "extract digits",
        "evaluate digits_stack",
    ]
    assert all(not stage["reused"] and stage["seconds"] > 0 for stage in result["stages"])
    assert result["recipe"]["features"]["scales"] == [64, 96, 128]
    assert len(result["blocks"]) == 7
    assert result["device"] in {"cpu", "cuda:0"}
    assert result["blocks"][0]["spec"]["weights_sha256"] == result["weights"][0]["sha256"]
    assert {"torch", "scikit-learn", "h5py", "platform", "cores"} <= result["environment"].keys()
    for variant in result["scores"]:
        for split in variant["splits"]:
            assert np.array(split["confusion"]).sum() == split["n_test"] == 697
            assert split["value"] == pytest.approx(np.mean(split["per_class"]))
            assert split["C"] in dict(split["validation"])
        assert variant["std"] == pytest.approx(np.std([s["value"] for s in variant["splits"]], ddof=1))


def test_the_kept_test_scores_give_the_same_numbers(experiment):
    kept = load_test_scores(experiment.folder, experiment.result["test_scores_sha256"])
    assert [(s.variant, s.split) for s in kept] == [(v, f"{n} of 3") for v in range(3) for n in (1, 2, 3)]
    for one in kept:
        stated = experiment.result["scores"][one.variant]["splits"][int(one.split[0]) - 1]
        recalls = [np.mean(one.predicted[one.truth == k] == k) for k in range(10)]
        assert stated["per_class"] == recalls
        assert one.best.shape == (697, 5)


def test_reports_stand_beside_the_result(experiment):
    assert sorted(path.name for path in experiment.folder.iterdir()) == [
        "report.html",
        "report.md",
        "result.json",
        "test-scores.npz",
    ]
    assert "| pretrained, net A |" in (experiment.folder / "report.md").read_text()
    page = (experiment.folder / "report.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 12  # six best and six worst digits
    assert "taken for" in page


def test_the_scores_are_those_of_an_independent_computation(experiment):
    """From the shards, with plain numpy and scikit-learn, by none of our evaluation code."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.svm import LinearSVC

    dataset = open_dataset("digits")
    layout = variants(load("digits_stack", Recipe), dataset, Home(experiment.tb.home))
    for variant, found in zip(layout[:1], experiment.result["scores"], strict=False):
        parts = [block.read().array.astype(float) for block in variant.parts[0].blocks]
        rows = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], axis=1) / np.sqrt(
            len(parts)
        )
        row = dict(zip(dataset.ids, rows, strict=True))
        for split, stated in zip(dataset.splits(), found["splits"], strict=True):
            machine = LinearSVC(C=stated["C"], tol=1e-6, max_iter=100_000).fit(
                [row[i] for i in split.train], dataset.labels.of(split.train)
            )
            value = balanced_accuracy_score(
                dataset.labels.of(split.test), machine.predict([row[i] for i in split.test])
            )
            assert value == pytest.approx(stated["value"], abs=0.002)


@pytest.fixture
def copy(experiment, tb):
    """The finished work folder, to be changed at will."""
    shutil.copytree(experiment.tb.home, tb.home)
    return tb


def test_the_same_inputs_give_the_same_scores_to_the_byte(experiment, copy):
    shutil.rmtree(copy.home / "results")
    again = copy("evaluate", "--recipe", "digits_stack", "--json")
    assert json.dumps(again.json()["scores"]) == json.dumps(experiment.result["scores"])


def test_the_reference_solver_gives_the_same_table(copy):
    """Of the average over scales, whose rows are a third as long: LIBLINEAR is what takes the time."""
    own = copy("evaluate", "--recipe", "digits_average", "--json").json()
    reference = copy("evaluate", "--recipe", "digits_average", "--solver", "liblinear", "--json").json()
    assert reference["solver"].startswith("liblinear")
    assert [stage["reused"] for stage in reference["stages"]] == [False]
    for ours, theirs in zip(own["scores"], reference["scores"], strict=True):
        assert [split["C"] for split in ours["splits"]] == [split["C"] for split in theirs["splits"]]
        assert ours["mean"] == pytest.approx(theirs["mean"], abs=2e-4)


def test_another_recipe_shares_pretraining_and_descriptors(copy):
    done = copy("run", "digits_average", "--json")
    assert [stage["reused"] for stage in done.json()["stages"]] == [True, True, False]
    assert done.json()["scores"][0]["dimensions"] == 512
    assert done.json()["comparison"]["within"] is True


def test_evaluation_never_imports_torch(copy, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('torch must not be imported')\n")
    done = copy.process("evaluate", "--recipe", "digits_average", env={"PYTHONPATH": str(tmp_path)})
    assert done.code == 0, done.err


def test_a_corrupt_shard_is_refused_by_name_and_mended_by_extracting_again(copy):
    shutil.rmtree(copy.home / "results")
    shard = next(path for path in sorted((copy.home / "features").rglob("rows-00001.h5")) if "q0096" in str(path))
    good = shard.read_bytes()
    shard.write_bytes(good[:5000] + b"\0" + good[5001:])
    done = copy("evaluate", "--recipe", "digits_stack")
    assert done.code == 1
    assert f"{shard}: is damaged" in done.err
    assert not (copy.home / "results").exists()
    shard.unlink()
    assert "1 block(s) of descriptors are missing" in copy("evaluate", "--recipe", "digits_stack").err
    assert copy("evaluate", "--recipe", "digits_stack", "--extract").code == 0
    assert shard.read_bytes() == good


def test_a_block_is_the_same_whoever_wrote_its_shards(experiment, copy):
    """Half of the shards computed in a second process: the same bytes."""
    home = Home(copy.home)
    dataset = open_dataset("digits")
    block: Block = next(blocks(variants(load("digits_stack", Recipe), dataset, home)))
    before = {path.name: path.read_bytes() for path in block.folder.glob("*.h5")}
    (block.folder / "manifest.json").unlink()
    (block.folder / "rows-00002.h5").unlink()
    done = copy("extract", "--recipe", "digits_stack")
    assert "(2,135 of 2,391 descriptors are there)" in done.err
    assert {path.name: path.read_bytes() for path in block.folder.glob("*.h5")} == before


def test_reports_can_be_made_again_and_listed_rows_corrected(copy):
    folder = next((copy.home / "results" / "digits_stack").iterdir())
    for name in ("report.md", "report.html"):
        (folder / name).unlink()
    done = copy("report", "digits_stack")
    assert done.code == 0
    assert done.out.startswith("digits_stack: ")
    assert f"page: {folder / 'report.html'}" in done.err
    assert (folder / "report.html").is_file()
    assert copy("report", str(folder), "--json").json()["folder"] == str(folder)


def test_a_claim_that_is_gone_is_an_error_of_the_report_not_of_the_result(copy):
    folder = next((copy.home / "results" / "digits_stack").iterdir())
    document = json.loads((folder / "result.json").read_text())
    document["recipe"]["claims"] = "digits/none"
    (folder / "result.json").write_text(json.dumps(document))
    done = copy("report", "digits_stack")
    assert done.code == 1
    assert "unknown published row of digits 'digits/none'" in done.err
