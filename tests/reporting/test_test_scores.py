"""Scores of single images beside a result: nothing is lost that a metric needs, and damage is noticed."""

import numpy as np
import pytest

from transferbench.errors import ResultError
from transferbench.evaluation.metrics import AVERAGE_PRECISIONS
from transferbench.reporting.result import find_equal, save_result
from transferbench.reporting.test_scores import FILE, OFFICIAL, SplitScores, load_test_scores, save_test_scores
from transferbench.types.labels import ClassLabels, MultiLabels

IDS = tuple(f"imäge {n}" for n in range(40))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def several(rng):
    rows = rng.choice([1, -1, 0], size=(40, 3))
    labels = MultiLabels(classes=("a", "b", "c"), by_id={i: tuple(map(int, r)) for i, r in zip(IDS, rows, strict=True)})
    return labels, rng.normal(size=(40, 3))


@pytest.fixture
def one_each(rng):
    numbers = rng.integers(0, 300, 40)
    return ClassLabels(
        classes=tuple(map(str, range(300))), by_id={i: int(k) for i, k in zip(IDS, numbers, strict=True)}
    ), rng.normal(size=(40, 300))


def test_average_precision_of_kept_scores_is_the_same_to_the_last_bit(tmp_path, several):
    labels, scores = several
    sha256 = save_test_scores(tmp_path, [SplitScores.of(0, "1 of 1", IDS, labels, scores)])
    (kept,) = load_test_scores(tmp_path, sha256)
    assert kept.ids == IDS
    assert kept.best is None
    for measure in AVERAGE_PRECISIONS.values():
        for k in range(3):
            assert measure(kept.truth[:, k], kept.values[:, k]) == measure(labels.of(IDS)[:, k], scores[:, k])


def test_predictions_and_margins_of_single_labels_are_kept(tmp_path, one_each):
    labels, scores = one_each
    scores[3, 7] = scores[3, 9] = 99.0  # a tie: the class that comes first, as argmax says
    scores[4] = 0.25  # and of all classes
    sha256 = save_test_scores(tmp_path, [SplitScores.of(0, "1 of 1", IDS, labels, scores)])
    (kept,) = load_test_scores(tmp_path, sha256)
    assert (kept.predicted == scores.argmax(axis=1)).all()
    assert kept.predicted[3] == 7
    assert kept.best.shape == (40, 5)
    assert kept.best[4].tolist() == [0, 1, 2, 3, 4]
    assert (kept.truth == labels.of(IDS)).all()
    assert kept.true_values == pytest.approx(scores[range(40), labels.of(IDS)], rel=1e-6)
    assert kept.values[0] == pytest.approx(np.sort(scores[0])[::-1][:5], rel=1e-6)


def test_variants_share_their_ids_and_a_server_test_has_no_truth(tmp_path, several):
    labels, scores = several
    entries = [SplitScores.of(v, "1 of 1", IDS, labels, scores) for v in range(2)]
    entries.append(SplitScores.of(0, OFFICIAL, IDS[:7], None, scores[:7]))
    kept = load_test_scores(tmp_path, save_test_scores(tmp_path, entries))
    assert [(one.variant, one.split, len(one.ids)) for one in kept] == [
        (0, "1 of 1", 40),
        (1, "1 of 1", 40),
        (0, OFFICIAL, 7),
    ]
    assert kept[2].truth is None
    assert (kept[2].values == scores[:7]).all()
    with pytest.raises(ValueError, match="no single most certain"):
        _ = kept[2].predicted


def test_equal_scores_give_equal_bytes(tmp_path, one_each):
    labels, scores = one_each
    hashes = set()
    for name in ("one", "two"):
        hashes.add(save_test_scores(tmp_path / name, [SplitScores.of(0, "1 of 1", IDS, labels, scores)]))
    assert len(hashes) == 1


def test_damage_is_named(tmp_path, several):
    labels, scores = several
    sha256 = save_test_scores(tmp_path, [SplitScores.of(0, "1 of 1", IDS, labels, scores)])
    with pytest.raises(ResultError, match="keeps no scores of single images"):
        load_test_scores(tmp_path, None)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ResultError, match="is not the file that the result beside it names"):
        load_test_scores(tmp_path, sha256)
    path.unlink()
    with pytest.raises(ResultError, match="is not there"):
        load_test_scores(tmp_path, sha256)


def test_a_result_without_test_scores_is_made_again(tmp_path, result, several):
    labels, scores = several
    save_result(tmp_path, result)
    assert find_equal(tmp_path, result.recipe_name, result.inputs_sha256) is None
    folder = save_result(tmp_path, result, [SplitScores.of(0, "1 of 1", IDS, labels, scores)])
    assert find_equal(tmp_path, result.recipe_name, result.inputs_sha256) == folder
