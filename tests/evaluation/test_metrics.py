import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from transferbench.errors import EvaluationError
from transferbench.evaluation.metrics import class_recalls, confusion_matrix, mean_and_std


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_recall_and_confusion_are_those_of_scikit_learn(pairs):
    truth, predicted = np.array([*[(k, k) for k in range(4)], *pairs]).T
    table = confusion_matrix(truth, predicted, 4)
    assert np.array_equal(table, sklearn_confusion(truth, predicted, labels=range(4)))
    assert class_recalls(table).mean() == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_recalls_by_hand():
    table = confusion_matrix(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
    assert table.tolist() == [[2, 1], [0, 1]]
    assert class_recalls(table).tolist() == [2 / 3, 1.0]


def test_a_class_without_test_images_is_an_error_not_a_smaller_mean():
    with pytest.raises(EvaluationError, match="class number 1 has no image to test on"):
        class_recalls(np.array([[2, 0], [0, 0]]))


def test_spread_has_n_minus_one_in_the_denominator():
    assert mean_and_std([0.9, 1.0, 0.8]) == (pytest.approx(0.9), pytest.approx(0.1))
    assert mean_and_std([0.9]) == (0.9, None)
