"""An evaluation that is stopped after any split or any value of C, and goes on, gives the same bits as one that is not."""

import itertools

import numpy as np
import pytest

from transferbench.evaluation.aggregate import FeatureParts
from transferbench.evaluation.pieces import Begun, Piece
from transferbench.evaluation.protocol import evaluate, predict
from transferbench.evaluation.svm import gram, liblinear, operators, rows
from transferbench.evaluation.svm.apart import Apart
from transferbench.evaluation.svm.solvers import make_solver
from transferbench.types.labels import ClassLabels
from transferbench.types.split import Split

CS = (0.001, 0.01, 0.03, 0.1, 0.3)
N, N_CLASSES = 260, 5


class StoppedError(Exception):
    """The process ends here."""


class Memory:
    """Pieces as files would keep them: copies; and an end after so many of them."""

    def __init__(self, kept=None, lifetime=10**9):
        self.kept = {} if kept is None else kept
        self.lifetime = lifetime
        self.read = []

    def get(self, split):
        return self._take("done", split)

    def get_begun(self, split):
        return self._take("begun", split)

    def put(self, split, piece):
        self._keep("done", split, Piece(C=piece.C, validation=dict(piece.validation), machine=copied(piece.machine)))

    def put_begun(self, split, begun):
        self._keep("begun", split, Begun(validation=dict(begun.validation), path=copied(begun.path)))

    def _take(self, what, split):
        found = self.kept.get((what, split))
        if found is not None:
            self.read.append((what, split))
        return found

    def _keep(self, what, split, value):
        self.kept[what, split] = value
        self.lifetime -= 1
        if not self.lifetime:
            raise StoppedError


def copied(arrays):
    return {name: np.array(array) for name, array in arrays.items()}


@pytest.fixture
def problem(make_source):
    """Features, labels and two splits of so hard a problem that every C has another solution."""
    rng = np.random.default_rng(3)
    numbers = np.arange(N) % N_CLASSES
    ids = tuple(f"image-{i:03d}" for i in range(N))
    rows = (rng.standard_normal((N_CLASSES, 24))[numbers] + 2.5 * rng.standard_normal((N, 24))).astype(np.float32)
    features = FeatureParts([[make_source(rows, ids)]], None, "none")
    labels = ClassLabels(classes=tuple("abcde"), by_id={i: int(k) for i, k in zip(ids, numbers, strict=True)})
    splits = []
    for number in range(2):
        order = [ids[i] for i in np.random.default_rng(number).permutation(N)]
        fit, validation, test = (tuple(sorted(part)) for part in (order[:130], order[130:180], order[180:]))
        splits.append(Split(name=f"{number + 1} of 2", fit=fit, validation=validation, test=test))
    return features, labels, splits


@pytest.fixture(params=["float32, in step", "float64, alone"])
def regime(request, monkeypatch):
    """The two regimes of large problems, on a small one: Newton's method for all classes, and each class alone."""
    if request.param == "float64, alone":
        return
    monkeypatch.setattr(gram, "FLOAT64_UP_TO", 10)
    for kind in (operators.GramOperator, rows.RowsOperator):
        made = kind.__init__

        def narrow(self, *given, made=made):
            made(self, *given)
            self.direct_up_to = self.direct_up_to_if_slow = 0

        monkeypatch.setattr(kind, "__init__", narrow)


def outcome(found):
    return [(s.C, s.validation, s.score, s.scores.tobytes()) for s in found.splits]


@pytest.mark.usefixtures("regime")
@pytest.mark.parametrize(("way", "loss"), [
    ("gram", "squared_hinge"), ("rows", "squared_hinge"), ("short rows", "squared_hinge"), ("gram", "hinge"),
    ("apart gram", "squared_hinge"),
])  # fmt: skip
def test_wherever_it_is_stopped_it_ends_with_the_same_bits(problem, way, loss, monkeypatch):
    features, labels, splits = problem
    monkeypatch.setattr(rows.RowsOperator, "short_for", lambda *_, short=way == "short rows": short)
    solver = make_solver(way.rpartition(" ")[2], loss)
    solver = Apart(solver) if way.startswith("apart") else solver

    def run(pieces):
        return outcome(evaluate(features, labels, splits, solver, CS, lambda: None, pieces=pieces))

    def coefficients(pieces, split):
        """Return what has been found for every C of a split, also for those that are not chosen."""
        return {name: array.tobytes() for name, array in pieces.kept["begun", split].path.items()}

    whole = Memory()
    unbroken = run(whole)
    assert run(None) == unbroken
    assert len({validation for _, values, *_ in unbroken for validation in values.values()}) > 3
    per_split = len(CS) + 1
    for lifetime in range(1, 2 * per_split + 1, 1 if (way, loss) == ("gram", "squared_hinge") else 3):
        stopped = Memory(lifetime=lifetime)
        with pytest.raises(StoppedError):
            run(stopped)
        resumed = Memory(stopped.kept)
        assert run(resumed) == unbroken, lifetime
        for number in range(2):
            assert coefficients(resumed, number) == coefficients(whole, number), (lifetime, number)
        split, step = divmod(lifetime, per_split)
        assert resumed.read == [("done", number) for number in range(split)] + [("begun", split)] * (step > 0)


@pytest.mark.usefixtures("regime")
def test_it_may_be_stopped_again_and_again(problem):
    features, labels, splits = problem
    kept, ends = {}, 0
    for lifetime in itertools.cycle([1, 2]):
        try:
            found = evaluate(
                features, labels, splits, make_solver("gram", "squared_hinge"), CS, lambda: None,
                pieces=Memory(kept, lifetime),
            )  # fmt: skip
            break
        except StoppedError:
            ends += 1
    assert ends > 5
    unbroken = evaluate(features, labels, splits, make_solver("gram", "squared_hinge"), CS, lambda: None)
    assert outcome(found) == outcome(unbroken)


def test_values_of_C_that_were_done_are_not_done_again(problem, monkeypatch):
    features, labels, splits = problem
    stopped = Memory(lifetime=3)
    with pytest.raises(StoppedError):
        evaluate(
            features, labels, splits[:1], make_solver("liblinear", "squared_hinge"), CS, lambda: None, pieces=stopped
        )
    tried = []
    fit = liblinear.LiblinearOnFeatures._fit
    monkeypatch.setattr(
        liblinear.LiblinearOnFeatures, "_fit", lambda self, *given: tried.append(given[2]) or fit(self, *given)
    )
    found = evaluate(
        features,
        labels,
        splits[:1],
        make_solver("liblinear", "squared_hinge"),
        CS,
        lambda: None,
        pieces=Memory(stopped.kept),
    )
    assert sorted(set(tried)) == sorted({*CS[3:], found.splits[0].C})
    assert list(found.splits[0].validation) == list(CS)


def test_scores_for_a_server_resume_as_well(problem):
    features, labels, (split, _) = problem

    def run(pieces):
        found = predict(features, labels, split, make_solver("gram", "squared_hinge"), CS, pieces=pieces)
        return found.C, found.validation, found.scores.tobytes()

    unbroken = run(None)
    for lifetime in (2, len(CS), len(CS) + 1):
        stopped = Memory(lifetime=lifetime)
        with pytest.raises(StoppedError):
            run(stopped)
        resumed = Memory(stopped.kept)
        assert run(resumed) == unbroken
        assert resumed.read == [("begun" if lifetime <= len(CS) else "done", 0)]
