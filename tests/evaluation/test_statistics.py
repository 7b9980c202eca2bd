"""Intervals and paired tests: against scipy, against simulations with a known truth, and against plain copying."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from transferbench.errors import EvaluationError
from transferbench.evaluation import statistics
from transferbench.evaluation.metrics import AVERAGE_PRECISIONS
from transferbench.evaluation.resampling import ranking, weighted_average_precisions
from transferbench.evaluation.statistics import compare, holm, interval_of
from transferbench.evaluation.tested import ClassTest, LabelTest, value_of


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def classes(rng, recalls, per_class, prefix=""):
    truth = np.repeat(np.arange(len(recalls)), per_class)
    right = rng.random(len(truth)) < np.asarray(recalls)[truth]
    return ClassTest(ids=tuple(f"{prefix}{i}" for i in range(len(truth))), truth=truth, right=right)


def labels(rng, n, n_classes, share, distance, truth=None):
    if truth is None:
        truth = np.where(rng.random((n, n_classes)) < share, 1, -1).astype(np.int8)
    scores = rng.normal(size=(n, n_classes)) + distance * (truth > 0)
    return LabelTest(ids=tuple(map(str, range(n))), truth=truth, scores=scores)


def pair(rng):
    """Two machines that are as good as each other and agree in much."""
    one = labels(rng, 120, 1, 0.3, 1.5)
    return [
        LabelTest(ids=one.ids, truth=one.truth, scores=one.scores + 0.7 * rng.normal(size=one.scores.shape))
        for _ in range(2)
    ]


@pytest.mark.parametrize("definition", AVERAGE_PRECISIONS)
def test_a_weight_is_so_many_copies_in_the_list(rng, definition):
    for _ in range(30):
        n = int(rng.integers(2, 40))
        truth = rng.choice([1, -1, 0], size=n).astype(np.int8)
        truth[0] = 1
        scores = rng.integers(0, 9, n).astype(float)  # with ties
        weights = rng.integers(0, 4, (n, 6)).astype(np.uint8)
        weights[0] = np.maximum(weights[0], 1)
        found = weighted_average_precisions(ranking(scores, truth), truth, weights, definition)
        for column, value in enumerate(found):
            copies = np.repeat(np.arange(n), weights[:, column])
            expected = AVERAGE_PRECISIONS[definition](truth[copies], scores[copies])
            assert value == pytest.approx(expected, abs=1e-12)


def test_a_resample_without_positive_images_is_no_number(rng):
    truth = np.array([1, -1, -1], dtype=np.int8)
    weights = np.array([[0, 1], [1, 1], [2, 1]], dtype=np.uint8)
    found = weighted_average_precisions(ranking(np.zeros(3), truth), truth, weights, "area")
    assert np.isnan(found[0])
    assert found[1] == 1.0


def test_resamples_of_recall_are_those_of_scipy_class_by_class(rng):
    test = classes(rng, [0.9, 0.6, 0.3], 30)
    ours = statistics._resampled([[test]], "mean class recall", 6000, 1)[0]
    parts = [test.right[test.truth == k].astype(float) for k in range(3)]
    theirs = stats.bootstrap(
        parts, lambda *p, axis: np.mean([x.mean(axis=axis) for x in p], axis=0), n_resamples=6000, method="percentile", rng=2
    ).bootstrap_distribution  # fmt: skip
    # Sums in another order differ in the last bit, which would tear equal values apart.
    assert stats.ks_2samp(ours.round(9), theirs.round(9)).pvalue > 0.001
    assert np.quantile(ours, [0.025, 0.975]) == pytest.approx(np.quantile(theirs, [0.025, 0.975]), abs=0.012)


def test_the_interval_of_accuracy_is_that_of_scipy(rng):
    test = classes(rng, [0.5], 400)
    low, high = interval_of([test], "accuracy", n_resamples=9999)
    # Without skewness the accelerated interval of scipy and ours are the same.
    theirs = stats.bootstrap((test.right.astype(float),), np.mean, n_resamples=9999, method="BCa", rng=3)
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.006)


@pytest.mark.parametrize("definition", AVERAGE_PRECISIONS)
def test_resamples_of_average_precision_are_those_of_scipy(rng, definition):
    test = labels(rng, 120, 1, 0.3, 1.0)
    ours = statistics._resampled([[test]], definition, 1500, 1)[0]
    theirs = stats.bootstrap(
        (test.truth[:, 0], test.scores[:, 0]), AVERAGE_PRECISIONS[definition], paired=True, vectorized=False,
        n_resamples=1500, method="percentile", rng=2,
    ).bootstrap_distribution  # fmt: skip
    assert stats.ks_2samp(ours, theirs).pvalue > 0.001


def test_permutations_of_accuracy_are_those_of_scipy(rng):
    one, other = classes(rng, [0.7], 60), classes(rng, [0.55], 60)
    found = compare([one], [other], "accuracy", n_resamples=20_000)
    theirs = stats.permutation_test(
        (one.right.astype(float), other.right.astype(float)), lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples", n_resamples=20_000, vectorized=True, rng=4,
    )  # fmt: skip
    assert found.difference == pytest.approx(theirs.statistic)
    assert found.p_permutation == pytest.approx(theirs.pvalue, abs=0.02)
    # Of one split this is McNemar's test in its exact form.
    gained, lost = (one.right & ~other.right).sum(), (other.right & ~one.right).sum()
    assert found.p_permutation == pytest.approx(stats.binomtest(int(gained), int(gained + lost)).pvalue, abs=0.02)


def test_permutations_of_average_precision_are_those_of_scipy(rng):
    one = labels(rng, 60, 1, 0.3, 1.2)
    other = labels(rng, 60, 1, 0.3, 0.6, one.truth)
    found = compare([one], [other], "area", n_resamples=3000)
    # Ranks are spread by a little so that scipy's statistic meets no ties.
    first, second = (-statistics._ranks(t.scores[:, 0]).astype(float) + rng.random(60) * 1e-3 for t in (one, other))
    measure = AVERAGE_PRECISIONS["area"]
    truth = one.truth[:, 0]
    theirs = stats.permutation_test(
        (first, second), lambda x, y: measure(truth, x) - measure(truth, y), permutation_type="samples",
        n_resamples=3000, vectorized=False, rng=5,
    )  # fmt: skip
    assert found.p_permutation == pytest.approx(theirs.pvalue, abs=0.04)


def test_the_paired_bootstrap_counts_only_resamples_that_have_a_value():
    """One positive image, ranked first of three by one result and last by the other; worked by hand.

    A resample with w copies of the positive image has the average precisions 1 and w/3. Of 27 resamples 8 have w = 0 and
    no value; of the other 19 one (w = 3) has the difference 0, which is as far from 2/3 as that is from zero.
    """
    truth = np.array([[1], [-1], [-1]], dtype=np.int8)
    good, poor = (
        LabelTest(ids=("a", "b", "c"), truth=truth, scores=np.array(scores)[:, None])
        for scores in ([3.0, 2.0, 1.0], [1.0, 3.0, 2.0])
    )
    found = compare([good], [poor], "area", n_resamples=20_000)
    assert found.difference == pytest.approx(2 / 3)
    assert found.p_bootstrap == pytest.approx(1 / 19, abs=0.006)  # of all 27 it would be 0.037
    assert found.interval == pytest.approx((1 / 3, 2 / 3))


def test_an_interval_of_average_precision_stays_inside_nought_and_one(rng):
    truth = np.where(np.arange(60) < 4, 1, -1).astype(np.int8)[:, None]
    scores = rng.normal(size=(60, 1)) + 1.5 * (truth > 0)  # one resample in fifty has no positive image
    test = LabelTest(ids=tuple(map(str, range(60))), truth=truth, scores=scores)
    low, high = interval_of([test], "area")
    assert 0 < low < value_of([test], "area") < high < 1
    perfect = LabelTest(ids=test.ids, truth=truth, scores=truth.astype(np.float64))
    assert interval_of([perfect], "area") == (1.0, 1.0)


def test_an_image_in_several_splits_is_drawn_for_all_of_them(rng):
    """Three splits that test the same images with the same outcome know no more than one of them."""
    test = classes(rng, [0.8, 0.5], 50)
    one = statistics._resampled([[test]], "mean class recall", 4000, 1)[0]
    three = statistics._resampled([[test] * 3], "mean class recall", 4000, 1)[0]
    assert three.std() == pytest.approx(one.std(), rel=0.05)
    apart = [classes(rng, [0.8, 0.5], 50, prefix=f"{n}/") for n in range(3)]
    assert statistics._resampled([apart], "mean class recall", 4000, 1)[0].std() < 0.75 * one.std()


def test_a_class_with_one_test_image_in_every_split_is_no_obstacle(rng):
    splits = [
        ClassTest(ids=("a0", "a1", f"b{n}"), truth=np.array([0, 0, 1]), right=np.array([True, False, n == 0]))
        for n in range(3)
    ]
    low, high = interval_of(splits, "mean class recall")
    assert 0 <= low < value_of(splits, "mean class recall") < high <= 1


@pytest.mark.parametrize(("measure", "draw"), [
    ("mean class recall", lambda rng: classes(rng, np.linspace(0.5, 0.95, 10), 40)),
    ("accuracy", lambda rng: classes(rng, [0.8], 300)),
    ("area", lambda rng: labels(rng, 700, 1, 0.2, 2.0)),
    ("eleven_point", lambda rng: labels(rng, 500, 1, 0.04, 2.5)),
], ids=["recall", "accuracy", "precision", "precision of about 20 positive images"])  # fmt: skip
def test_the_interval_covers_the_mean_of_such_test_sets_in_95_of_100_cases(measure, draw):
    rng = np.random.default_rng(95)
    trials = 400
    tests = [draw(rng) for _ in range(trials)]
    ends = np.array([interval_of([t], measure, n_resamples=400, seed=n) for n, t in enumerate(tests)])
    truth = np.mean([value_of([t], measure) for t in tests])
    assert 0.93 <= np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) <= 0.97


@pytest.mark.parametrize(("measure", "draw"), [
    ("mean class recall", lambda rng: (classes(rng, np.full(10, 0.7), 40), classes(rng, np.full(10, 0.7), 40))),
    ("area", pair),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_without_a_difference_p_values_are_uniform(measure, draw):
    rng = np.random.default_rng(11)
    found = [compare(*([t] for t in draw(rng)), measure, n_resamples=300, seed=trial) for trial in range(250)]
    assert stats.kstest([f.p_permutation for f in found], "uniform").pvalue > 0.01
    for p in ([f.p_permutation for f in found], [f.p_bootstrap for f in found]):
        assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.09


def test_a_real_difference_is_found_and_has_its_sign(rng):
    truth = labels(rng, 400, 3, 0.2, 1.0).truth
    good, poor = labels(rng, 400, 3, 0.2, 2.5, truth), labels(rng, 400, 3, 0.2, 1.5, truth)
    found = compare([good], [poor], "eleven_point", n_resamples=500)
    assert found.difference > 0
    assert found.interval[0] > 0
    assert max(found.p_bootstrap, found.p_permutation) < 0.01
    assert found.n_images == 400
    turned = compare([poor], [good], "eleven_point", n_resamples=500)
    assert turned.difference == -found.difference
    assert turned.interval[1] < 0


def test_a_p_value_is_never_zero():
    """One is right of all 40 images, the other of none: no swap reaches that, every resample has it."""
    one, other = (
        ClassTest(ids=tuple(map(str, range(40))), truth=np.zeros(40, dtype=np.int64), right=np.full(40, right))
        for right in (True, False)
    )
    found = compare([one], [other], "accuracy", n_resamples=99)
    assert (found.difference, found.interval) == (1.0, (1.0, 1.0))
    assert found.p_permutation == found.p_bootstrap == 1 / 100


def test_an_image_is_found_again_in_whatever_order_a_split_has_it(rng):
    """The same images backwards are another split of the same outcome: it moves with the first in every resample."""
    test = labels(rng, 80, 2, 0.3, 1.0)
    backwards = LabelTest(ids=test.ids[::-1], truth=test.truth[::-1], scores=test.scores[::-1])
    alone, both = (statistics._resampled([tests], "area", 50, 1)[0] for tests in ([test], [test, backwards]))
    assert both == pytest.approx(alone, abs=1e-12)


def test_equal_results_do_not_differ(rng):
    test = classes(rng, [0.8, 0.5], 50)
    found = compare([test], [test], "mean class recall")
    assert (found.difference, found.interval) == (0.0, (0.0, 0.0))
    assert found.p_bootstrap == found.p_permutation == 1.0


def test_the_same_seed_gives_the_same_interval(rng):
    test = labels(rng, 100, 2, 0.3, 1.0)
    assert interval_of([test], "area") == interval_of([test], "area")


def test_results_on_other_images_are_not_compared(rng):
    one, other = classes(rng, [0.8, 0.5], 50), classes(rng, [0.8, 0.5], 50, prefix="x")
    with pytest.raises(EvaluationError, match="not of the same test images"):
        compare([one], [other], "accuracy")
    with pytest.raises(EvaluationError, match="is not for images with several classes"):
        interval_of([labels(rng, 50, 2, 0.3, 1.0)], "accuracy")


def test_holm_against_a_case_worked_by_hand():
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, each at least the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_values_are_those_of_scikit_learn_for_classes_of_any_size(rng):
    truth = np.repeat(np.arange(3), [5, 20, 40])
    predicted = np.where(rng.random(65) < np.array([0.9, 0.4, 0.7])[truth], truth, (truth + 1) % 3)
    test = ClassTest(ids=tuple(map(str, range(65))), truth=truth, right=predicted == truth)
    assert value_of([test], "mean class recall") == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert value_of([test], "accuracy") == pytest.approx(accuracy_score(truth, predicted))
    assert value_of([test], "accuracy") != pytest.approx(value_of([test], "mean class recall"), abs=0.01)
