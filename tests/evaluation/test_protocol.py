"""The protocol over splits: both kinds of labels, all solvers, and what it refuses."""

import dataclasses
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.svm import LinearSVC

from transferbench.errors import EvaluationError
from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts
from transferbench.evaluation.judge import Judge
from transferbench.evaluation.metrics import AVERAGE_PRECISIONS, mean_average_precision
from transferbench.evaluation.protocol import Prediction, choose_C, evaluate, predict
from transferbench.evaluation.svm import liblinear
from transferbench.evaluation.svm.apart import Apart
from transferbench.evaluation.svm.solvers import make_solver
from transferbench.evaluation.targets import shuffled
from transferbench.types.labels import ClassLabels, MultiLabels
from transferbench.types.split import Split

CS = (0.03, 0.3, 3.0)


def divided(ids, n_splits=2):
    splits = []
    for number in range(n_splits):
        order = [ids[i] for i in np.random.default_rng(number).permutation(len(ids))]
        parts = (order[:80], order[80:120], order[120:])
        splits.append(
            Split(
                name=f"{number + 1} of {n_splits}",
                **dict(zip(("fit", "validation", "test"), (tuple(sorted(p)) for p in parts), strict=True)),
            )
        )
    return splits


@pytest.fixture
def features(nets, make_source):
    _, ids, arrays = nets
    return FeatureParts([[make_source(a, ids) for a in scales] for scales in arrays], AGGREGATORS["stack"], "both")


@pytest.fixture
def class_labels(nets):
    labels, ids, _ = nets
    return ClassLabels(classes=tuple("abcdef"), by_id={i: int(k) for i, k in zip(ids, labels, strict=True)})


@pytest.fixture
def multi_labels(nets):
    labels, ids, _ = nets
    rng = np.random.default_rng(9)
    signs = np.where((labels[:, None] == np.arange(4)) | (rng.random((240, 4)) < 0.1), 1, -1)
    signs[rng.random((240, 4)) < 0.1] = 0
    return MultiLabels(
        classes=tuple("abcd"), by_id={i: tuple(map(int, row)) for i, row in zip(ids, signs, strict=True)}
    )


def run(features, labels, splits, solver="auto", loss="squared_hinge", **more):
    told = []
    found = evaluate(features, labels, splits, make_solver(solver, loss), CS, lambda: told.append(1), **more)
    assert len(told) == len(splits)
    return found


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
@pytest.mark.parametrize("solver", ["gram", "rows"])
def test_every_solver_gives_the_reference_table(features, class_labels, nets, solver, loss):
    splits = divided(nets[1])
    ours, theirs = (run(features, class_labels, splits, s, loss) for s in (solver, "liblinear"))
    assert ours.mean == pytest.approx(theirs.mean, abs=2e-3)
    for mine, other in zip(ours.splits, theirs.splits, strict=True):
        assert mine.C == other.C
        assert list(mine.validation) == list(CS)
        assert mine.validation == pytest.approx(other.validation, abs=0.03)
        assert mine.confusion.sum() == len(mine.split.test)
        assert np.abs(mine.confusion - other.confusion).sum() <= 4


@pytest.mark.parametrize("labels", ["class_labels", "multi_labels"])
@pytest.mark.parametrize("solver", ["gram", "rows", "liblinear"])
def test_splits_apart_give_what_they_give_together(features, labels, nets, solver, request, monkeypatch):
    labels, splits = request.getfixturevalue(labels), divided(nets[1])
    alone = make_solver(solver, "squared_hinge")
    together = evaluate(features, labels, splits, alone, CS, lambda: None, shuffle_seed=None)
    prepared, prepare = [], alone.prepare
    monkeypatch.setattr(alone, "prepare", lambda *given: prepared.append(given[1]) or prepare(*given))
    apart = Apart(alone)
    found = evaluate(features, labels, splits, apart, CS, lambda: None)
    assert prepared == [[split] for split in splits]  # none with the images of another
    assert (apart.name, apart.way) == (alone.name, f"{alone.way}, splits apart")
    for mine, other in zip(found.splits, together.splits, strict=True):
        assert mine.C == other.C
        np.testing.assert_allclose(list(mine.validation.values()), list(other.validation.values()), atol=1e-9)
        np.testing.assert_allclose(mine.scores, other.scores, atol=2e-3 if solver == "liblinear" else 1e-6)
    prediction = predict(features, labels, splits[1], Apart(make_solver(solver, "squared_hinge")), CS)
    np.testing.assert_allclose(prediction.scores, found.splits[1].scores, atol=2e-3 if solver == "liblinear" else 0)


def test_equal_inputs_give_equal_numbers(features, class_labels, nets):
    first, second = (run(features, class_labels, divided(nets[1])) for _ in range(2))
    assert [s.score for s in first.splits] == [s.score for s in second.splits]
    assert [s.validation for s in first.splits] == [s.validation for s in second.splits]


def test_test_scores_are_byte_for_byte_the_same(features, class_labels, nets):
    splits = divided(nets[1])

    def scores():
        prepared = make_solver("gram", "squared_hinge").prepare(features, splits)
        for number, split in enumerate(splits):
            targets = np.where(class_labels.of(split.train)[:, None] == np.arange(6), 1, -1).astype(np.int8)
            prepared.train(number, targets, 1.0)
        return b"".join(s.tobytes() for s in prepared.test_scores())

    assert scores() == scores()


def test_several_classes_per_image_are_judged_by_average_precision(features, multi_labels, nets):
    (split,) = divided(nets[1], 1)
    found = run(features, multi_labels, [split], average_precision="eleven_point")
    (result,) = found.splits
    assert found.std is None
    assert result.confusion is None
    assert result.score.metric == mean_average_precision("eleven_point")
    assert [other.metric for other in result.others] == [
        mean_average_precision("area"),
        mean_average_precision("non_interpolated"),
    ]
    # One LinearSVC per class on the images that are not difficult for it, with the C that was chosen.
    rows, expected = features.read(), []
    for k in range(4):
        train, test = multi_labels.of(split.train)[:, k], multi_labels.of(split.test)[:, k]
        machine = LinearSVC(C=result.C, dual=True, tol=1e-7, max_iter=100_000, random_state=0)
        machine.fit(rows.rows(split.train)[train != 0].astype(np.float64), train[train != 0])
        scores = machine.decision_function(rows.rows(split.test)[test != 0].astype(np.float64))
        expected.append(average_precision_score(test[test != 0] > 0, scores))
    assert result.others[1].per_class == pytest.approx(expected, abs=1e-6)


def test_the_C_of_several_classes_is_that_of_the_best_mean(features, multi_labels, nets):
    (split,) = divided(nets[1], 1)
    (result,) = run(features, multi_labels, [split]).splits
    assert result.score.metric == "mean average precision (area)"
    assert choose_C(result.validation) == result.C
    assert len(set(result.validation.values())) > 1


@pytest.mark.parametrize("definition", AVERAGE_PRECISIONS)
def test_C_is_chosen_by_the_definition_that_counts(features, multi_labels, nets, definition):
    (split,) = divided(nets[1], 1)
    mixed = dataclasses.replace(split, validation=split.validation[::-1], test=split.test[::-1])
    truth, solver = multi_labels.of(mixed.validation), Recorder()
    (result,) = evaluate(
        features, multi_labels, [mixed], solver, [1.0, 2.0], lambda: None, average_precision=definition
    ).splits
    predicted = predict(features, multi_labels, mixed, Recorder(), [1.0, 2.0], average_precision=definition)
    scores = solver._score(mixed.fit, multi_labels.of(mixed.fit), mixed.validation)
    expected = np.mean([AVERAGE_PRECISIONS[definition](truth[:, k], scores[:, k]) for k in range(4)])
    assert result.validation == predicted.validation == {1.0: pytest.approx(expected), 2.0: pytest.approx(expected)}
    assert result.score.metric == mean_average_precision(definition)
    # Every definition under its own name.
    truth, scores = multi_labels.of(mixed.test), result.scores
    for score in (result.score, *result.others):
        (name,) = (name for name in AVERAGE_PRECISIONS if mean_average_precision(name) == score.metric)
        per_class = [AVERAGE_PRECISIONS[name](truth[:, k], scores[:, k]) for k in range(4)]
        assert score.per_class == pytest.approx(per_class)
        assert score.value == pytest.approx(np.mean(per_class))
        assert score.n_test == 120


@pytest.mark.parametrize("labels", ["class_labels", "multi_labels"])
def test_a_floor_is_fitted_and_chosen_on_labels_of_other_images_and_judged_on_its_own(features, labels, nets, request):
    labels, (split,) = request.getfixturevalue(labels), divided(nets[1], 1)
    floor, given, honest = (
        run(features, used, [split], shuffle_seed=seed).splits[0]
        for used, seed in ((labels, 7), (shuffled(labels, split, 7), None), (labels, None))
    )
    assert (floor.C, floor.validation, floor.score) == (given.C, given.validation, given.score)
    np.testing.assert_array_equal(floor.scores, given.scores)
    assert max(floor.validation.values()) < min(honest.validation.values())
    assert floor.score.value < honest.score.value


def test_the_reference_leaves_out_difficult_images_as_well(features, multi_labels, nets):
    (split,) = divided(nets[1], 1)
    ours, theirs = (run(features, multi_labels, [split], solver).splits[0] for solver in ("gram", "liblinear"))
    assert ours.C == theirs.C
    assert ours.score.per_class == pytest.approx(theirs.score.per_class, abs=2e-3)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=0.02)


def test_without_validation_images_there_is_no_choice(features, class_labels, nets):
    (split,) = divided(nets[1], 1)
    with pytest.raises(ValueError, match="too many values"):
        run(features, class_labels, [dataclasses.replace(split, validation=())])


@pytest.mark.parametrize(("C", "edge"), [(1.0, True), (2.0, False), (3.0, True)])
def test_the_smallest_and_the_largest_C_are_at_the_edge(C, edge):
    split = Split(name="1", fit=("a",), validation=("b",), test=("c",))
    values = {1.0: 0.5, 2.0: 0.5, 3.0: 0.5}
    assert Prediction(split=split, C=C, validation=values, scores=np.zeros((1, 2))).C_at_edge == edge


def test_a_class_without_positives_in_a_split_is_named(features, class_labels, nets):
    (split,) = divided(nets[1], 1)
    without = Split(
        name="1 of 1",
        fit=tuple(i for i in split.fit if class_labels.by_id[i] != 2),
        validation=split.validation,
        test=split.test,
    )
    with pytest.raises(EvaluationError, match="class 'c' has no positive image to fit on in split 1 of 1"):
        run(features, class_labels, [without])


def test_a_class_that_cannot_be_judged_is_named(features, multi_labels, nets):
    (split,) = divided(nets[1], 1)
    without = MultiLabels(
        classes=multi_labels.classes,
        by_id={i: (*row[:3], -1 if i in split.test else row[3]) for i, row in multi_labels.by_id.items()},
    )
    with pytest.raises(EvaluationError, match="class 'd' has no positive image to test on in split"):
        run(features, without, [split])


def test_difficult_images_are_no_positives_to_judge_by():
    labels = MultiLabels(classes=("a", "b"), by_id={"x": (1, 0), "y": (-1, -1)})
    with pytest.raises(EvaluationError, match="class 'b' has no positive among 2 images to score"):
        Judge.of(labels, "area").value(("x", "y"), np.eye(2))


@pytest.mark.parametrize(
    ("validation", "C"),
    [
        ({1: 0.5, 2: 0.7, 3: 0.6}, 2),
        ({1: 0.7, 2: 0.7, 3: 0.7}, 2),
        ({1: 0.7, 2: 0.7, 3: 0.1}, 1),
        ({4: 0.1}, 4),
        ({1: 0.1 + 0.2, 2: 0.3, 3: 0.3}, 2),
        ({1: 0.7 + 1e-9, 2: 0.7, 3: 0.7}, 1),  # a difference of any size that is not rounding
    ],
)
def test_of_equally_good_C_the_middle_one_is_taken(validation, C):
    assert choose_C(validation) == C


class Recorder:
    """A solver that remembers what it was given, and knows every class from its mean."""

    name = way = "nearest class mean"

    def __init__(self):
        self.calls = []

    def prepare(self, features, splits):
        self.rows, self.splits, self.machines = features.read(), splits, {}
        return self

    def path(self, split, targets, Cs):
        here = self.splits[split]
        self.calls.append((len(targets), len(here.validation), tuple(Cs)))
        return iter([self._score(here.fit, targets, here.validation)] * len(Cs))

    def train(self, split, targets, C):
        here = self.splits[split]
        self.calls.append((len(targets), C))
        self.machines[split] = self._score(here.train, targets, here.test)

    def test_scores(self):
        self.calls.append("test")
        return [self.machines[split] for split in range(len(self.splits))]

    def _score(self, train, targets, other):
        rows = self.rows.rows(train)
        means = np.stack([rows[targets[:, k] > 0].mean(axis=0) for k in range(targets.shape[1])])
        return self.rows.rows(other) @ means.T


def test_C_is_chosen_on_validation_and_the_test_part_is_touched_once(features, class_labels, nets):
    (split,) = divided(nets[1], 1)
    solver = Recorder()
    result = evaluate(features, class_labels, [split], solver, [1.0, 2.0], lambda: None).splits[0]
    assert solver.calls == [(80, 40, (1.0, 2.0)), (120, 1.0), "test"]
    assert (result.C, result.C_at_edge) == (1.0, True)
    alone = evaluate(features, class_labels, [split], Recorder(), [1.0], lambda: None).splits[0]
    assert not alone.C_at_edge


@pytest.mark.parametrize("solver", ["gram", "rows", "liblinear"])
def test_labels_of_test_images_cannot_change_the_choice_of_C(features, class_labels, nets, solver):
    (split,) = divided(nets[1], 1)
    (honest,) = run(features, class_labels, [split], solver).splits
    lied = ClassLabels(
        classes=class_labels.classes,
        by_id={i: (k + (i in split.test)) % 6 for i, k in class_labels.by_id.items()},
    )
    (other,) = run(features, lied, [split], solver).splits
    assert other.validation == honest.validation
    assert other.score.value < honest.score.value


def test_a_split_is_scored_as_scikit_learn_would(features, class_labels, nets):
    splits = divided(nets[1], 3)
    found = run(features, class_labels, splits)
    rows = features.read()
    for split, result in zip(splits, found.splits, strict=True):
        machine = LinearSVC(C=result.C, dual=True, tol=1e-8, max_iter=1_000_000, random_state=0)
        machine.fit(rows.rows(split.train).astype(np.float64), class_labels.of(split.train))
        predicted = machine.predict(rows.rows(split.test).astype(np.float64))
        truth = class_labels.of(split.test)
        assert result.score.value == pytest.approx(balanced_accuracy_score(truth, predicted))
        assert result.confusion.sum() == result.score.n_test == 120
    assert found.mean == pytest.approx(np.mean([r.score.value for r in found.splits]))
    assert found.std == pytest.approx(np.std([r.score.value for r in found.splits], ddof=1))


def test_a_reference_machine_that_did_not_converge_is_told(features, class_labels, nets, monkeypatch):
    monkeypatch.setattr(liblinear, "MAX_ITERATIONS", 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(features, class_labels, divided(nets[1], 1), "liblinear", "hinge")
    assert {w.category for w in caught} == {ConvergenceWarning}
    assert "not converged: class 0 at C=0.03, 1 at C=0.03" in str(caught[0].message)
