"""The solver that the protocol sees, with every way of dividing the memory: scores are those of `LinearSVC`."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts
from transferbench.evaluation.svm import gram, on_features, scoring
from transferbench.evaluation.svm.choice import Choice
from transferbench.evaluation.svm.descent import Descent
from transferbench.evaluation.svm.gram_file import stored_grams
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.evaluation.svm.operators import GramOperator
from transferbench.evaluation.svm.rows import RowsOperator
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
def reference(problem):
    """Scores of images by scikit-learn on whole rows."""
    ids, labels, arrays, _ = problem
    units = [a / np.linalg.norm(a.astype(np.float64), axis=1, keepdims=True) for a in arrays]
    rows = dict(zip(ids, np.concatenate(units, axis=1) / np.sqrt(2), strict=True))

    def scores(fitted, asked, C, loss="squared_hinge"):
        # LIBLINEAR is slow to the last digits of the hinge.
        tol = 1e-12 if loss == "squared_hinge" else 1e-5
        machine = LinearSVC(C=C, loss=loss, tol=tol, max_iter=1_000_000, random_state=0)
        machine.fit(np.stack([rows[i] for i in fitted]), [labels[i] for i in fitted])
        return machine.decision_function(np.stack([rows[i] for i in asked]))

    return scores


@pytest.fixture(scope="module")
def expected(problem, reference):
    """Scores of validation images for every C, and of test images for the first."""
    splits = problem[-1]
    return [([reference(s.fit, s.validation, C) for C in CS], reference(s.train, s.test, CS[0])) for s in splits]


def targets_of(labels, chosen):
    return one_vs_rest(np.array([labels[i] for i in chosen]), 3)


def by_image(state, name):
    return [(i, *b) for i, b in zip(json.loads(state["ids"].tobytes()), state[name].T.tolist(), strict=True)]


ROOM = {
    "all splits": 1 << 40,
    "a split at a time": 180_000,
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
    monkeypatch.setattr(on_features, "memory_of_machine", lambda: ROOM[room])
    monkeypatch.setattr(scoring, "memory_of_machine", lambda: 1 << 40 if slab > 10 else 1)
    monkeypatch.setattr(scoring, "_SLAB", slab)
    monkeypatch.setattr(gram, "FLOAT64_UP_TO", 2048 if precision == "float64" else 0)
    made = []
    monkeypatch.setattr(
        on_features, "gram_matrix", lambda f, i, *more: made.append(len(i)) or gram.gram_matrix(f, i, *more)
    )
    # The last chunk is a short one.
    features = FeatureParts([[make_source(a, ids, chunk=44) for a in arrays]], AGGREGATORS["stack"], "both")
    prepared = make_solver(way, "squared_hinge").prepare(features, splits)
    tolerance = {"float64": 1e-4, "float32": 2e-2}[precision]
    operators = []
    for number, (split, (by_C, _)) in enumerate(zip(splits, expected, strict=True)):
        found = list(prepared.path(number, targets_of(labels, split.fit), CS))
        np.testing.assert_allclose(found, by_C, atol=tolerance)
        operators.append(prepared._current[1].operator)
        prepared.train(number, targets_of(labels, split.train), CS[0])
        operators.append(prepared._current[1].operator)
    for found, (_, by_train) in zip(prepared.test_scores(), expected, strict=True):
        np.testing.assert_allclose(found, by_train, atol=tolerance)
    # Nothing has been in memory that has no room there.
    if way == "gram":
        assert made == ([len({i for s in splits for i in s.train})] if room == "all splits" else [80, 83, 81])
        beside = room in {"all splits", "a split at a time"}
        assert [len(o.gram) for o in operators] == [60 if beside else 80, 80, 70 if beside else 83, 83,
                                                    50 if beside else 81, 81]  # fmt: skip
    else:
        assert {o._rows is None for o in operators} == {room == "rows read again and again"}


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
@pytest.mark.parametrize("way", ["gram", "rows", "liblinear"])
def test_the_loss_asked_for_is_that_of_both_fits(problem, reference, make_source, loss, way):
    ids, labels, arrays, splits = problem
    features = FeatureParts([[make_source(a, ids) for a in arrays]], AGGREGATORS["stack"], "both")
    split = splits[2]
    prepared = make_solver(way, loss).prepare(features, [split])
    (chosen,) = prepared.path(0, targets_of(labels, split.fit), [0.1])
    prepared.train(0, targets_of(labels, split.train), 0.1)
    (tested,) = prepared.test_scores()
    for found, parts in ((chosen, (split.fit, split.validation)), (tested, (split.train, split.test))):
        theirs = {kind: reference(*parts, 0.1, kind) for kind in ("hinge", "squared_hinge")}
        np.testing.assert_allclose(found, theirs.pop(loss), atol=2e-3)
        assert np.abs(found - theirs.popitem()[1]).max() > 0.1


@pytest.mark.parametrize("way", ["gram", "rows"])
def test_the_way_is_chosen_by_the_shape_if_it_is_not_given(problem, make_source, monkeypatch, way):
    ids, labels, arrays, splits = problem
    asked = []
    monkeypatch.setattr(on_features, "choose", lambda *shape: asked.append(shape) or Choice(way, ""))
    features = FeatureParts([[make_source(a, ids) for a in arrays]], AGGREGATORS["stack"], "both")
    prepared = make_solver("auto", "squared_hinge").prepare(features, splits)
    next(prepared.path(1, targets_of(labels, splits[1].fit), CS))
    assert set(asked) == {(83, 23, 3)}
    assert isinstance(prepared._current[1].operator, GramOperator if way == "gram" else RowsOperator)


def test_a_name_tells_what_changes_scores_and_nothing_else():
    names = {
        loss: {make_solver(way, loss).name for way in ("auto", "gram", "rows")} for loss in ("hinge", "squared_hinge")
    }
    assert [len(found) for found in names.values()] == [1, 1]
    reference = {make_solver("liblinear", loss).name for loss in names}
    assert len(reference.union(*names.values())) == 4


def test_matrices_of_parts_are_kept_for_other_recipes(problem, make_source, tmp_path):
    ids, labels, arrays, splits = problem
    sources = [dataclasses.replace(make_source(a, ids), key=str(k)) for k, a in enumerate(arrays)]
    features = FeatureParts([sources], AGGREGATORS["stack"], "both")
    prepared = make_solver("gram", "squared_hinge", GramStore(tmp_path, worth=0)).prepare(features, splits)
    next(prepared.path(0, targets_of(labels, splits[0].fit), CS))
    assert [stored.n for stored in stored_grams(tmp_path)] == [len({i for s in splits for i in s.train})] * 2


@pytest.mark.parametrize("room", ["all splits", "validation images inside"])
@pytest.mark.parametrize("way", ["gram", "rows"])
def test_training_goes_on_from_what_the_same_split_found_for_the_same_C(problem, make_source, monkeypatch, room, way):
    """Image by image: a start of another split, of another C or in other rows ends at the same optimum, but later."""
    ids, labels, arrays, splits = problem
    monkeypatch.setattr(on_features, "memory_of_machine", lambda: ROOM[room])
    features = FeatureParts([[make_source(a, ids) for a in arrays]], AGGREGATORS["stack"], "both")
    prepared = make_solver(way, "squared_hinge").prepare(features, splits)
    for number, split in enumerate(splits):
        list(prepared.path(number, targets_of(labels, split.fit), CS))
    states = [prepared.path_state(number) for number in range(len(splits))]
    for state in states:  # nothing goes on from the last C but the training
        assert state.keys() == {"ids", *(f"found-{C!r}" for C in CS)}
    monkeypatch.setattr(Descent, "solve", lambda self, _: self.gaps.fill(0))
    for number, split in enumerate(splits):
        prepared.train(number, targets_of(labels, split.train), CS[0])
        begun = {i: b for i, *b in by_image(prepared.machine(number), "coefficients")}
        found = {i: b for i, *b in by_image(states[number], f"found-{CS[0]!r}") if i in split.fit}
        assert begun.keys() == set(split.train)
        assert {i: b for i, b in begun.items() if any(b)} == {i: b for i, b in found.items() if any(b)}
        assert len({tuple(b) for b in found.values()}) > 20


def test_machines_that_stopped_before_their_optimum_are_told_of(problem, make_source, monkeypatch):
    ids, labels, arrays, splits = problem
    monkeypatch.setattr(Descent, "solve", lambda self, _: self.gaps.fill(0.5))
    features = FeatureParts([[make_source(arrays[0], ids)]], None, "both")
    prepared = make_solver("gram", "squared_hinge").prepare(features, splits)
    with pytest.warns(ConvergenceWarning, match=r"3 of 3 SVMs stopped .* at C=1, split 1: the worst"):
        next(prepared.path(1, targets_of(labels, splits[1].fit), CS))
    with pytest.warns(ConvergenceWarning, match=r"at C=0.01, split 2, all training images: the worst"):
        prepared.train(2, targets_of(labels, splits[2].train), CS[1])
