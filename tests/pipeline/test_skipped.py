"""Images that could not be decoded, from the blocks to the report: the others are scored as if nothing had happened."""

from types import SimpleNamespace

import numpy as np
import pytest

from transferbench.cache.block import Block
from transferbench.data import open_dataset
from transferbench.home import Home
from transferbench.pipeline.evaluate import evaluate_recipe
from transferbench.pipeline.features import source_of
from transferbench.pipeline.plan import blocks, variants
from transferbench.pipeline.report import report
from transferbench.pipeline.skipped import Remaining, skipped_ids
from transferbench.progress import Silent
from transferbench.recipe.files import load
from transferbench.recipe.transfer import Recipe
from transferbench.types.descriptors import DescriptorSpec
from transferbench.types.labels import MultiLabels
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing
from transferbench.types.split import Split

DIMENSIONS = 6


class Heard(Silent):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def rows_of(dataset, block):
    """Rows that tell the classes apart, badly."""
    random = np.random.default_rng(block.spec.short_side_px)
    numbers = dataset.labels.of(dataset.ids)
    centres = random.standard_normal((10, DIMENSIONS))
    return (centres[numbers] + 0.8 * random.standard_normal((len(numbers), DIMENSIONS))).astype(np.float32)


def fill(block, rows, skipped=()):
    row_of = dict(zip(block.ids, rows, strict=True))
    for index in range(block.n_shards):
        kept = [row_of[i] for i in block.rows(index) if i not in skipped]
        reasons = {i: "is damaged" for i in block.rows(index) if i in skipped}
        block.write(index, np.array(kept, dtype=np.float32), reasons)
    block.finish({"device": "cpu"})


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A recipe of two scales, each of which lacks other images: a whole shard and a test image; two training images."""
    folder = tmp_path_factory.mktemp("skipped")
    path = folder / "lacking.yaml"
    path.write_text(
        """# Two scales.
version: 1
dataset: digits
features:
  nets: [{name: A, width: 0.03125, crop: 32, weights: {kind: random, seed: 3}}]
  scales: [32, 48]
  flip: true
aggregate: {kind: stack, l2: both}
svm: {loss: squared_hinge, C: [0.1, 1.0], selection: validation}
claims: null
"""
    )
    recipe, dataset, home = load(str(path), Recipe), open_dataset("digits"), Home(folder / "home")
    first, second = blocks(variants(recipe, dataset, home))
    split = dataset.splits()[0]
    lost = {first: {split.test[0], *first.rows(3)}, second: {split.fit[0], split.fit[7]}}
    for block, skipped in lost.items():
        fill(block, rows_of(dataset, block), skipped)
    heard = Heard()
    stored, _ = evaluate_recipe(str(path), recipe, dataset, home, progress=heard)
    return SimpleNamespace(
        recipe=recipe, dataset=dataset, home=home, blocks=(first, second), path=str(path), heard=heard,
        result=report(home, stored).result, told=report(home, stored), lost=set().union(*lost.values()),
    )  # fmt: skip


def test_what_any_scale_lacks_is_left_out_of_all(evaluated):
    assert {one.id for one in evaluated.result.skipped} == evaluated.lost
    assert {one.reason for one in evaluated.result.skipped} == {"is damaged"}
    (line,) = (line for line in evaluated.heard.lines if line.startswith("left out"))
    assert line.startswith(f"left out: {len(evaluated.lost)} images, first {min(evaluated.lost)}")


def test_splits_are_those_of_all_images_without_the_ones_left_out(evaluated):
    for whole, found in zip(evaluated.dataset.splits(), evaluated.result.scores[0].splits, strict=True):
        counts = [len(set(ids) - evaluated.lost) for ids in (whole.fit, whole.validation, whole.test)]
        assert [found.n_fit, found.n_validation, found.n_test] == counts
        assert sum(whole.name in one.training_in for one in evaluated.result.skipped) == len(
            set(whole.train) & evaluated.lost
        )
        assert sum(whole.name in one.test_in for one in evaluated.result.skipped) == len(
            set(whole.test) & evaluated.lost
        )


def test_scores_are_those_of_scikit_learn_on_the_images_that_are_left(evaluated):
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.svm import LinearSVC

    dataset = evaluated.dataset
    parts = [rows_of(dataset, block).astype(float) for block in evaluated.blocks]
    rows = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], axis=1) / np.sqrt(2)
    row = dict(zip(dataset.ids, rows, strict=True))
    for split, stated in zip(dataset.splits(), evaluated.result.scores[0].splits, strict=True):
        train, test = ([i for i in ids if i not in evaluated.lost] for ids in (split.train, split.test))
        machine = LinearSVC(C=stated.C, tol=1e-8, max_iter=100_000).fit(
            [row[i] for i in train], dataset.labels.of(train)
        )
        value = balanced_accuracy_score(dataset.labels.of(test), machine.predict([row[i] for i in test]))
        assert value == pytest.approx(stated.value, abs=1e-9)
        assert 0.5 < value < 0.95  # the numbers say something


def test_the_report_counts_and_names_them(evaluated):
    lost = sorted(evaluated.lost)
    split = evaluated.dataset.splits()[0]
    n_test = len(set(split.test) & evaluated.lost)
    assert (
        f"LEFT OUT because they could not be decoded (--on-bad-image skip): {lost[0]} (is damaged)"
        in evaluated.told.text
    )
    assert (
        f"{len(lost) - 5} more; split 1 of 3 lacks {len(lost) - n_test} training and {n_test} test"
        in evaluated.told.text
    )


def test_a_result_without_the_skipped_images_stands_for_no_other(evaluated, tmp_path):
    home = Home(tmp_path)
    for block in blocks(variants(evaluated.recipe, evaluated.dataset, home)):
        fill(block, rows_of(evaluated.dataset, block))
    folder, _ = evaluate_recipe(evaluated.path, evaluated.recipe, evaluated.dataset, home, progress=Silent())
    whole = report(home, folder).result
    assert whole.skipped == ()
    assert whole.inputs_sha256 != evaluated.result.inputs_sha256
    assert whole.blocks == evaluated.result.blocks  # the choice to skip is no part of a block's key


def test_people_are_left_out_with_their_photograph(tmp_path):
    people = ("a#1", "a#2", "b#1", "c#1")
    dataset = SimpleNamespace(
        ids=people, record=None, limit=None,
        labels=MultiLabels(classes=("x",), by_id=dict.fromkeys(people, (1,))),
        splits=lambda: (Split(name="all", fit=("a#1",), validation=("b#1",), test=("a#2", "c#1")),),
    )  # fmt: skip
    spec = DescriptorSpec(
        dataset="people", images_sha256="a" * 64, net=NetSpec(name="D"), weights_sha256="b" * 64,
        preprocessing=Preprocessing(), short_side_px=256,
    )  # fmt: skip
    photographs, boxes = Block.of(tmp_path, spec, ("a", "b", "c")), Block.of(tmp_path, spec.at(384), people)
    fill(photographs, np.ones((3, 2), np.float32), {"a"})
    fill(boxes, np.ones((4, 2), np.float32), {"c#1"})
    found = skipped_ids([photographs, boxes], dataset)
    assert found == dict.fromkeys(("a#1", "a#2", "c#1"), "is damaged")
    left = Remaining(dataset, found)
    assert left.ids == tuple(left.labels.by_id) == ("b#1",)
    (split,) = left.splits()
    assert (split.fit, split.validation, split.test) == ((), ("b#1",), ())
    assert [(one.id, one.training_in, one.test_in) for one in left.records()] == [
        ("a#1", ("all",), ()), ("a#2", (), ("all",)), ("c#1", (), ("all",)),
    ]  # fmt: skip


def test_chunks_are_of_the_images_that_are_left_where_a_whole_shard_is_missing(evaluated, tmp_path):
    dataset, (block, _) = evaluated.dataset, evaluated.blocks
    block = Block.of(tmp_path, block.spec, block.ids)
    rows = rows_of(dataset, block)
    fill(block, rows, skipped := {*block.rows(1), block.ids[0]})
    chunks = list(source_of(block, Remaining(dataset, dict.fromkeys(skipped, "is damaged")).ids).chunks())
    assert [len(chunk) for chunk in chunks] == [256, 256, 28]
    np.testing.assert_array_equal(np.concatenate(chunks), np.concatenate([rows[1:256], rows[512:]]))
