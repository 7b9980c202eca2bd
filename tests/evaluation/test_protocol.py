import numpy as np
import pytest

from transferbench.data.splits import random_splits
from transferbench.evaluation.protocol import choose_C, evaluate, one_vs_rest
from transferbench.evaluation.svm import Liblinear
from transferbench.types import ClassLabels, Features


@pytest.mark.parametrize(
    ("validation", "chosen"),
    [
        ({0.1: 0.5, 1.0: 0.9, 10.0: 0.8}, 1.0),
        ({0.1: 0.9, 1.0: 0.9, 10.0: 0.9}, 1.0),
        ({0.1: 0.9, 1.0: 0.9, 10.0: 0.9, 100.0: 0.9}, 1.0),
        ({0.1: 0.9, 1.0: 0.2, 10.0: 0.9}, 0.1),
        ({0.1: 0.9}, 0.1),
    ],
)
def test_the_middle_one_of_the_best_is_chosen(validation, chosen):
    assert choose_C(validation) == chosen


def test_targets_are_one_against_the_rest():
    assert one_vs_rest(np.array([0, 2]), 3).tolist() == [[1, -1, -1], [-1, -1, 1]]


class Nearest:
    """A solver whose scores can be worked out by hand, and that remembers what it was given."""

    name = "nearest class mean"

    def __init__(self):
        self.calls = []

    def scores(self, train, targets, other, Cs):
        self.calls.append((len(train), len(other), tuple(Cs)))
        means = np.stack([train[targets[:, k] > 0].mean(axis=0) for k in range(targets.shape[1])])
        return np.stack([other @ means.T] * len(Cs))


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    numbers = np.arange(90) % 3
    ids = tuple(f"i{n:02d}" for n in range(90))
    centres = np.eye(3, 8)[numbers] * 4
    features = Features(ids=ids, array=(centres + random.standard_normal((90, 8))).astype(np.float32))
    labels = ClassLabels(classes=("x", "y", "z"), by_id=dict(zip(ids, map(int, numbers), strict=True)))
    splits = random_splits(labels, n_splits=3, seed=1, train_per_class=10, test_per_class=None, validation_fraction=0.2)
    return features, labels, splits


def test_c_is_chosen_on_validation_and_the_test_part_is_touched_once(data):
    features, labels, splits = data
    solver = Nearest()
    evaluate(features, labels, splits[:1], solver, [0.1, 1.0, 10.0], done=lambda: None)
    assert solver.calls == [(24, 6, (0.1, 1.0, 10.0)), (30, 60, (1.0,))]


def test_a_split_is_scored_as_scikit_learn_would(data):
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.svm import LinearSVC

    features, labels, splits = data
    found = evaluate(features, labels, splits, Liblinear("squared_hinge"), [1.0], done=lambda: None)
    for split, result in zip(splits, found.splits, strict=True):
        machine = LinearSVC(C=1.0, tol=1e-8, max_iter=100_000).fit(features.rows(split.train), labels.of(split.train))
        predicted = machine.predict(features.rows(split.test))
        assert result.score.value == pytest.approx(balanced_accuracy_score(labels.of(split.test), predicted))
        assert result.confusion.sum() == result.score.n_test == 60
    assert found.mean == pytest.approx(np.mean([r.score.value for r in found.splits]))
    assert found.std == pytest.approx(np.std([r.score.value for r in found.splits], ddof=1))


def test_labels_of_test_images_cannot_change_the_choice_of_c(data):
    features, labels, splits = data
    solver, Cs = Liblinear("squared_hinge"), [0.001, 0.1, 10.0]
    honest = evaluate(features, labels, splits[:1], solver, Cs, done=lambda: None).splits[0]
    lied = ClassLabels(
        classes=labels.classes, by_id={i: (k + (i in splits[0].test)) % 3 for i, k in labels.by_id.items()}
    )
    other = evaluate(features, lied, splits[:1], solver, Cs, done=lambda: None).splits[0]
    assert other.validation == honest.validation
    assert other.score.value < honest.score.value


def test_a_c_at_the_edge_is_marked(data):
    features, labels, splits = data
    result = evaluate(features, labels, splits[:1], Nearest(), [1.0, 2.0], done=lambda: None).splits[0]
    assert (result.C, result.C_at_edge) == (1.0, True)
    assert not evaluate(features, labels, splits[:1], Nearest(), [1.0], done=lambda: None).splits[0].C_at_edge
