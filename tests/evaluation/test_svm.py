import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from transferbench.errors import EvaluationError
from transferbench.evaluation import svm
from transferbench.evaluation.protocol import one_vs_rest
from transferbench.evaluation.svm import Liblinear

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.standard_normal((60, 20)).astype(np.float32)
OTHER = RANDOM.standard_normal((15, 20)).astype(np.float32)
NUMBERS = np.arange(60) % 3


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_scores_are_those_of_linear_svc_for_all_classes_at_once(loss):
    scores = Liblinear(loss).scores(ROWS, one_vs_rest(NUMBERS, 3), OTHER, [0.1, 1.0])
    assert scores.shape == (2, 15, 3)
    for C, ours in zip([0.1, 1.0], scores, strict=True):
        theirs = (
            LinearSVC(C=C, loss=loss, tol=1e-8, max_iter=1_000_000, random_state=1)
            .fit(ROWS, NUMBERS)
            .decision_function(OTHER)
        )
        assert np.abs(ours - theirs).max() < 2e-3 * np.abs(theirs).max()


def test_a_row_with_label_zero_is_left_out_of_that_class_only():
    targets = one_vs_rest(NUMBERS, 3)
    targets[:7, 1] = 0
    found = Liblinear("squared_hinge").scores(ROWS, targets, OTHER, [1.0])[0]
    whole = Liblinear("squared_hinge").scores(ROWS, one_vs_rest(NUMBERS, 3), OTHER, [1.0])[0]
    without = Liblinear("squared_hinge").scores(ROWS[7:], one_vs_rest(NUMBERS[7:], 3), OTHER, [1.0])[0]
    assert np.array_equal(found[:, [0, 2]], whole[:, [0, 2]])
    assert np.array_equal(found[:, 1], without[:, 1])


def test_the_same_call_gives_the_same_bits():
    solver = Liblinear("squared_hinge")
    first, second = (solver.scores(ROWS, one_vs_rest(NUMBERS, 3), OTHER, [0.1, 10.0]) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(("sign", "word"), [(-1, "positive"), (1, "negative")])
def test_a_class_without_examples_of_one_kind_is_an_error(sign, word):
    targets = one_vs_rest(NUMBERS, 3)
    targets[:, 2] = sign
    with pytest.raises(EvaluationError, match=f"class number 2 has no {word} training image"):
        Liblinear("squared_hinge").scores(ROWS, targets, OTHER, [1.0])


def test_a_machine_that_did_not_converge_is_told(monkeypatch):
    monkeypatch.setattr(svm, "MAX_ITERATIONS", 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Liblinear("hinge").scores(ROWS, one_vs_rest(NUMBERS, 3), OTHER, [100.0])
    assert [w.category for w in caught] == [ConvergenceWarning]
    assert "not converged: class 0 at C=100, 1 at C=100, 2 at C=100" in str(caught[0].message)
