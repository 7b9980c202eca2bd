"""The solver that the protocol sees, with every way of dividing the memory: scores are those of `LinearSVC`."""

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts
from transferbench.evaluation.svm import gram, scoring, solvers
from transferbench.evaluation.svm.solvers import make_solver
from transferbench.evaluation.targets import one_vs_rest
from transferbench.types.split import Split

CS = (1.0, 0.01)  # not ascending: results come in the order asked for


@pytest.fixture(scope="module")
def problem():
    """Overlapping classes, two parts of different lengths, and splits of different sizes that share images."""
    rng = np.random.default_rng(5)
    labels = np.arange(150) % 3
    ids = tuple(f"{i:03d}" for i in rng.permutation(150))
    arrays = [np.abs(rng.standard_normal((150, d)) + labels[:, None] * (np.arange(d) < 4)) for d in (9, 14)]
    splits = []
    for number, (n_fit, n_validation) in enumerate(((60, 20), (70, 13), (50, 31))):
        order = rng.permutation(150)
        bounds = np.split(order, [n_fit, n_fit + n_validation])
        fit, validation, test = (tuple(ids[i] for i in part) for part in bounds)
        splits.append(Split(name=str(number), fit=fit, validation=validation, test=test))
    return ids, dict(zip(ids, labels, strict=True)), [a.astype(np.float32) for a in arrays], splits


@pytest.fixture(scope="module")
def expected(problem):
    """Scores of validation images for every C, and of test images for the first, by scikit-learn on whole rows."""
    ids, labels, arrays, splits = problem
    units = [a / np.linalg.norm(a.astype(np.float64), axis=1, keepdims=True) for a in arrays]
    rows = dict(zip(ids, np.concatenate(units, axis=1) / np.sqrt(2), strict=True))

    def scores(fitted, asked, C):
        machine = LinearSVC(C=C, tol=1e-12, max_iter=1_000_000, random_state=0)
        machine.fit(np.stack([rows[i] for i in fitted]), [labels[i] for i in fitted])
        return machine.decision_function(np.stack([rows[i] for i in asked]))

    return [([scores(s.fit, s.validation, C) for C in CS], scores(s.train, s.test, CS[0])) for s in splits]


ROOM = {
    "all splits": 1 << 40,
    "a split at a time": 130_000,
    "validation images inside": 70_000,
    "rows read again and again": 20_000,
}


@pytest.mark.parametrize("room", ROOM)
@pytest.mark.parametrize("way", ["gram", "rows"])
@pytest.mark.parametrize(("precision", "slab"), [("float64", 2048), ("float32", 7)])
def test_scores_are_those_of_linear_svc_however_much_memory_there_is(
    problem, expected, make_source, monkeypatch, room, way, precision, slab
):
    ids, labels, arrays, splits = problem
    monkeypatch.setattr(solvers, "memory_of_machine", lambda: ROOM[room])
    monkeypatch.setattr(scoring, "memory_of_machine", lambda: 1 << 40 if slab > 10 else 1)
    monkeypatch.setattr(scoring, "_SLAB", slab)
    monkeypatch.setattr(gram, "FLOAT64_UP_TO", 2048 if precision == "float64" else 0)
    made = []
    monkeypatch.setattr(
        solvers, "gram_matrix", lambda f, i, *more: made.append(len(i)) or gram.gram_matrix(f, i, *more)
    )
    features = FeatureParts([[make_source(a, ids) for a in arrays]], AGGREGATORS["stack"], "both")
    prepared = make_solver(way, "squared_hinge").prepare(features, splits)

    def targets(chosen):
        return one_vs_rest(np.array([labels[i] for i in chosen]), 3)

    tolerance = {"float64": 1e-4, "float32": 2e-2}[precision]
    for number, (split, (by_C, _)) in enumerate(zip(splits, expected, strict=True)):
        found = list(prepared.path(number, targets(split.fit), CS))
        np.testing.assert_allclose(found, by_C, atol=tolerance)
        prepared.train(number, targets(split.train), CS[0])
    for found, (_, by_train) in zip(prepared.test_scores(), expected, strict=True):
        np.testing.assert_allclose(found, by_train, atol=tolerance)
    if way == "gram":
        assert made == ([len({i for s in splits for i in s.train})] if room == "all splits" else [80, 83, 81])
