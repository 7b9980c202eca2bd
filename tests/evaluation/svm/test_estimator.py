"""`LinearSVM` against scikit-learn's `LinearSVC`, on ordinary and on degenerate data."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from transferbench.evaluation.svm import gram
from transferbench.evaluation.svm.estimator import LinearSVM


def objective(rows, signs, coef, intercept, C, loss, bias=1.0):
    """LIBLINEAR's primal objective, written down anew."""
    violation = np.maximum(0, 1 - signs * (rows @ coef + intercept))
    regulariser = 0.5 * (coef @ coef + (intercept / bias) ** 2)
    return regulariser + C * (violation ** (2 if loss == "squared_hinge" else 1)).sum()


def clusters(n=300, d=40, classes=5, seed=0, spread=1.2):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    rows = np.maximum(rng.standard_normal((classes, d))[labels] + spread * rng.standard_normal((n, d)), 0)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def reference(rows, labels, C, loss, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LinearSVC(C=C, loss=loss, tol=1e-7, max_iter=200_000, dual=True, random_state=0, **settings).fit(
            rows.astype(np.float64), labels
        )


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_objective_and_decisions_are_those_of_LinearSVC(C, loss):
    rows, labels = clusters()
    ours = LinearSVM(C=C, loss=loss).fit(rows, labels)
    theirs = reference(rows, labels, C, loss)
    for k in range(5):
        signs = np.where(labels == k, 1, -1)
        mine = objective(rows, signs, ours.coef_[k], ours.intercept_[k], C, loss)
        other = objective(rows, signs, theirs.coef_[k], theirs.intercept_[k], C, loss)
        assert mine <= other * (1 + 1e-6)
    assert (ours.duality_gaps_ <= 1e-8).all()
    if loss == "squared_hinge":
        np.testing.assert_allclose(ours.decision_function(rows), theirs.decision_function(rows), atol=2e-3)
    assert (ours.predict(rows) == theirs.predict(rows)).mean() >= 0.99


def test_digits_are_classified_as_by_LinearSVC():
    bundle = load_digits()
    rows = (bundle.data / np.linalg.norm(bundle.data, axis=1, keepdims=True)).astype(np.float32)
    train, test = np.arange(0, 1797, 2), np.arange(1, 1797, 2)
    ours = LinearSVM(C=1.0).fit(rows[train], bundle.target[train])
    theirs = reference(rows[train], bundle.target[train], 1.0, "squared_hinge")
    assert (ours.predict(rows[test]) == theirs.predict(rows[test])).mean() >= 0.999
    assert ours.score(rows[test], bundle.target[test]) > 0.9


@pytest.mark.parametrize("C", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("kind", ["plain", "duplicated rows", "duplicated columns", "one positive"])
def test_digits_agree_with_the_primal_solver_of_LIBLINEAR(C, kind):
    """LIBLINEAR's trust-region Newton method is another algorithm than its dual one, and exact at every C."""
    bundle = load_digits()
    rows = (bundle.data / np.linalg.norm(bundle.data, axis=1, keepdims=True)).astype(np.float32)
    train, test, labels = np.arange(0, 1797, 4), np.arange(1, 1797, 2), bundle.target
    if kind == "duplicated rows":
        train = np.concatenate([train, train[::2]])
    elif kind == "duplicated columns":
        rows = np.concatenate([rows, rows], axis=1)
    elif kind == "one positive":
        train = train[(labels[train] != 3) | (np.arange(len(train)) == np.flatnonzero(labels[train] == 3)[0])]
    ours = LinearSVM(C=C).fit(rows[train], labels[train])
    theirs = LinearSVC(C=C, dual=False, tol=1e-10, max_iter=100_000).fit(rows[train].astype(np.float64), labels[train])
    for k in range(10):
        signs = np.where(labels[train] == k, 1, -1)
        mine = objective(rows[train], signs, ours.coef_[k], ours.intercept_[k], C, "squared_hinge")
        other = objective(rows[train], signs, theirs.coef_[k], theirs.intercept_[k], C, "squared_hinge")
        assert mine <= other * (1 + 1e-6)
    assert (ours.predict(rows[test]) == theirs.predict(rows[test])).mean() >= 0.999
    recalls = [balanced_accuracy_score(labels[test], machine.predict(rows[test])) for machine in (ours, theirs)]
    assert abs(recalls[0] - recalls[1]) <= 2e-4


@pytest.mark.parametrize("C", [1e-8, 1e-4, 1e4, 1e8])
def test_extreme_C_is_certified_or_told_of(C):
    rows, labels = clusters(n=120, d=30)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours = LinearSVM(C=C).fit(rows, labels)
    assert bool((ours.duality_gaps_ > 1e-8).any()) == bool(caught)
    theirs = reference(rows, labels, C, "squared_hinge")
    for k in range(5):
        signs = np.where(labels == k, 1, -1)
        other = objective(rows, signs, theirs.coef_[k], theirs.intercept_[k], C, "squared_hinge")
        assert objective(rows, signs, ours.coef_[k], ours.intercept_[k], C, "squared_hinge") <= other * (1 + 1e-4)


def degenerate(kind):
    rows, labels = clusters(n=100, d=20, classes=3)
    if kind == "constant features":
        rows = np.ones_like(rows)
    elif kind == "constant columns":
        rows = np.concatenate([rows, np.full_like(rows, 0.5), np.zeros_like(rows)], axis=1)
    elif kind == "duplicated rows of two classes":
        rows, labels = np.concatenate([rows, rows]), np.concatenate([labels, (labels + 1) % 3])
    elif kind == "duplicated columns":
        rows = np.concatenate([rows, rows, rows], axis=1)
    elif kind == "one positive":
        labels = np.where(np.arange(100) == 7, 2, labels % 2)
    elif kind == "a zero row":
        rows = rows.copy()
        rows[3] = 0
    return rows, labels


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
@pytest.mark.parametrize(
    "kind",
    [
        "constant features",
        "constant columns",
        "duplicated rows of two classes",
        "duplicated columns",
        "one positive",
        "a zero row",
    ],
)
def test_degenerate_data_have_the_same_optimum(kind, loss):
    rows, labels = degenerate(kind)
    for C in (0.1, 10.0):
        ours = LinearSVM(C=C, loss=loss).fit(rows, labels)
        theirs = reference(rows, labels, C, loss)
        for k in range(3):
            signs = np.where(labels == k, 1, -1)
            mine = objective(rows, signs, ours.coef_[k], ours.intercept_[k], C, loss)
            other = objective(rows, signs, theirs.coef_[k], theirs.intercept_[k], C, loss)
            assert mine <= other * (1 + 1e-6)


def test_bias_scaling_and_class_weights_are_those_of_LinearSVC():
    rows, labels = clusters(n=90, classes=3)
    settings = {"intercept_scaling": 3.0, "class_weight": {0: 2.0, 2: 0.5}}
    ours = LinearSVM(C=2.0, **settings).fit(rows, labels)
    theirs = reference(rows, labels, 2.0, "squared_hinge", **settings)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-3)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)
    two = LinearSVM(class_weight="balanced").fit(rows, labels == 0)
    other = reference(rows, labels == 0, 1.0, "squared_hinge", class_weight="balanced")
    np.testing.assert_allclose(two.coef_, other.coef_, atol=1e-3)


def test_an_early_stop_is_told_with_the_gap():
    rows, labels = clusters(n=400, d=400, spread=3)
    with pytest.warns(ConvergenceWarning, match=r"relative duality gap of .* was asked for"):
        LinearSVM(C=1e6, tol=1e-30, max_iter=1).fit(rows, labels)


def test_equal_inputs_give_equal_bytes():
    rows, labels = clusters()
    first, second = (LinearSVM(C=0.5).fit(rows, labels) for _ in range(2))
    assert first.coef_.tobytes() == second.coef_.tobytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"C": 0}, "C must be"), ({"loss": "log"}, "loss must be"), ({"class_weight": {"x": 1}}, "class_weight must be")],
)
def test_wrong_parameters_are_named(settings, message):
    rows, labels = clusters(n=30)
    with pytest.raises(ValueError, match=message):
        LinearSVM(**settings).fit(rows, labels)


def test_it_is_a_scikit_learn_classifier():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(LinearSVM(), on_fail=None, on_skip=None)
    assert [r["check_name"] for r in results if r["status"] not in {"passed", "skipped"}] == []
    assert len(results) > 40


@pytest.mark.parametrize("offset", [0.0, 10.0, 100.0])
def test_the_gap_told_is_that_of_the_rows_also_where_their_gram_matrix_is_rounded(monkeypatch, offset):
    """What all rows have in common leaves few digits of a float32 matrix to what tells them apart."""
    monkeypatch.setattr(gram, "FLOAT64_UP_TO", 0)
    rows, labels = clusters(n=200, d=20, classes=3)
    rows = rows + np.float32(offset)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours = LinearSVM(C=1.0).fit(rows, labels)
    assert bool((ours.duality_gaps_ > 1e-5).any()) == bool(caught)
    theirs = LinearSVC(C=1.0, dual=False, tol=1e-12, max_iter=100_000).fit(rows.astype(np.float64), labels)
    for k in range(3):
        signs = np.where(labels == k, 1, -1)
        mine, lowest = (
            objective(rows.astype(np.float64), signs, m.coef_[k], m.intercept_[k], 1.0, "squared_hinge")
            for m in (ours, theirs)
        )
        assert mine - lowest <= ours.duality_gaps_[k] * mine + 1e-9 * lowest
