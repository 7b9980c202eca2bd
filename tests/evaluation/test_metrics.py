"""Average precision by its three definitions, recalls and spreads: against cases worked by hand, and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score, top_k_accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from transferbench.errors import EvaluationError
from transferbench.evaluation.metrics import (
    AVERAGE_PRECISIONS,
    average_precision_11_point,
    average_precision_area,
    average_precision_non_interpolated,
    class_recalls,
    confusion_matrix,
    mean_and_std,
    top_k_error,
)

# y in the order of falling scores; 11-point, area, non-interpolated; worked by hand.
GOLDEN = {
    "five": ([1, -1, 1, -1, 1], 8.4 / 11, (1 + 2 / 3 + 3 / 5) / 3, (1 + 2 / 3 + 3 / 5) / 3),
    # A recall of exactly 3/5 fails a comparison with the float 0.6000000000000001.
    "recalls on tenths": (
        [1, 1, 1, -1, -1, -1, -1, -1, 1, -1, 1],
        (7 + 4 * 5 / 11) / 11,
        (3 + 2 * 5 / 11) / 5,
        (3 + 4 / 9 + 5 / 11) / 5,
    ),
    "difficult": ([1, -1, 1, -1, -1, 1, -1, 1, 0, 1], 0.696970, 0.666667, (1 + 2 / 3 + 3 / 6 + 4 / 8 + 5 / 9) / 5),
    "perfect": ([1, 1, -1], 1.0, 1.0, 1.0),
    "last": ([-1, -1, -1, 1], 0.25, 0.25, 0.25),
}


def falling(truth):
    return np.array(truth, dtype=np.int8), np.arange(len(truth), 0, -1, dtype=np.float64)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name):
    truth, eleven, area, plain = GOLDEN[name]
    assert average_precision_11_point(*falling(truth)) == pytest.approx(eleven, abs=5e-7)
    assert average_precision_area(*falling(truth)) == pytest.approx(area, abs=5e-7)
    assert average_precision_non_interpolated(*falling(truth)) == pytest.approx(plain, abs=5e-7)


labelled = st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(-1000, 1000)), min_size=2, max_size=40)


@settings(deadline=None, max_examples=60)
@given(labelled, st.integers(0, 40))
def test_an_ignored_image_changes_nothing_wherever_it_stands(pairs, place):
    truth, scores = (np.array(column) for column in zip(*pairs, strict=True))
    truth[0] = 1
    scores = scores.astype(np.float64)
    at = min(place, len(truth))
    for measure in AVERAGE_PRECISIONS.values():
        with_one = measure(np.insert(truth, at, 0).astype(np.int8), np.insert(scores, at, scores[0] + 0.5))
        assert with_one == measure(truth.astype(np.int8), scores)


@settings(deadline=None, max_examples=60)
@given(labelled)
def test_order_of_distinct_scores_and_a_rising_map_change_nothing(pairs):
    truth = np.array([sign for sign, _ in pairs], dtype=np.int8)
    truth[0] = 1
    scores = np.array([score for _, score in pairs]) + np.linspace(0, 0.9, len(pairs))
    turned = np.argsort(scores)
    for measure in AVERAGE_PRECISIONS.values():
        value = measure(truth, scores)
        assert 0 < value <= 1
        assert measure(truth[turned], scores[turned]) == pytest.approx(value, abs=1e-12)
        assert measure(truth, np.exp(scores / 1000)) == pytest.approx(value, abs=1e-12)


def test_non_interpolated_is_scikit_learns_where_scores_differ():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = np.where(rng.random(50) < 0.3, 1, -1).astype(np.int8)
        truth[0] = 1
        scores = rng.standard_normal(50)
        ours = average_precision_non_interpolated(truth, scores)
        assert ours == pytest.approx(average_precision_score(truth > 0, scores), abs=1e-12)
        assert average_precision_area(truth, scores) >= ours


def test_equal_scores_rank_in_the_order_of_the_list():
    assert average_precision_non_interpolated(np.array([1, -1], np.int8), np.zeros(2)) == 1.0
    assert average_precision_non_interpolated(np.array([-1, 1], np.int8), np.zeros(2)) == 0.5


@pytest.mark.parametrize("measure", AVERAGE_PRECISIONS.values())
def test_what_has_no_value_is_refused(measure):
    with pytest.raises(EvaluationError, match="no image is positive"):
        measure(np.array([-1, 0], np.int8), np.zeros(2))
    with pytest.raises(EvaluationError, match="image number 1 is not finite"):
        measure(np.array([1, -1], np.int8), np.array([0.0, np.nan]))


def test_mean_class_recall_is_balanced_accuracy():
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 4, 100), rng.integers(0, 4, 100)
    recalls = class_recalls(confusion_matrix(truth, predicted, 4))
    assert recalls.mean() == pytest.approx(balanced_accuracy_score(truth, predicted), abs=1e-12)
    with pytest.raises(EvaluationError, match="class number 4 has no image"):
        class_recalls(confusion_matrix(truth, predicted, 5))


def test_spread_has_n_minus_1_below():
    assert mean_and_std([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_std([1.0]) == (1.0, None)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_confusion_is_that_of_scikit_learn(pairs):
    truth, predicted = np.array([*[(k, k) for k in range(4)], *pairs]).T
    table = confusion_matrix(truth, predicted, 4)
    assert np.array_equal(table, sklearn_confusion(truth, predicted, labels=range(4)))
    assert class_recalls(table).mean() == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_recalls_by_hand():
    table = confusion_matrix(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
    assert table.tolist() == [[2, 1], [0, 1]]
    assert class_recalls(table).tolist() == [2 / 3, 1.0]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_top_k_error_is_scikit_learns_where_no_scores_are_equal(k):
    rng = np.random.default_rng(k)
    truth, scores = rng.integers(0, 8, 200), rng.standard_normal((200, 8))
    truth[:8] = range(8)
    assert top_k_error(truth, scores, k) == pytest.approx(1 - top_k_accuracy_score(truth, scores, k=k))


@pytest.mark.parametrize(("truth", "errors"), [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1))])
def test_of_equal_scores_the_smaller_class_number_comes_first(truth, errors):
    """A net that says the same of all classes must not be right by luck of a sort."""
    scores = np.array([[0.25, 0.25, 0.25, 0.25]])
    assert tuple(top_k_error(np.array([truth]), scores, k) for k in (1, 2, 3)) == errors


@pytest.mark.parametrize(
    ("n", "value", "k", "told"), [(0, 1.0, 1, "0 images"), (2, 1.0, 4, "3 classes"), (2, np.nan, 1, "image number 1")]
)
def test_a_top_k_error_of_nothing_is_refused(n, value, k, told):
    scores = np.ones((n, 3))
    scores[1:, 2] = value
    with pytest.raises(EvaluationError, match=told):
        top_k_error(np.zeros(n, dtype=np.int64), scores, k)
