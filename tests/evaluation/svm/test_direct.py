"""The systems of one class's images, held to numpy's solver; and classes that steps of all classes get nowhere."""

import numpy as np
import pytest

from transferbench.evaluation.svm import direct, kernels
from transferbench.evaluation.svm.descent import Descent
from transferbench.evaluation.svm.objective import Costs, objectives
from transferbench.evaluation.svm.operators import GramOperator


def system(n, dtype, ridge, seed=0):
    rows = np.maximum(np.random.default_rng(seed).standard_normal((n, 3 * n)) + 0.3, 0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    sign = np.where(np.arange(n) % 3 == 0, 1, -1).astype(np.int8)
    return (rows @ rows.T + 1).astype(dtype), sign, np.array([ridge, 2 * ridge])


def solved(gram, chosen, sign, ridge):
    matrix = gram[np.ix_(chosen, chosen)].astype(np.float64)
    return np.linalg.solve(matrix + np.diag(ridge[(sign[chosen] > 0).astype(int)]), sign[chosen].astype(np.float64))


@pytest.mark.parametrize("m", range(10))
def test_rows_are_added_whatever_is_left_of_fours(m):
    gram = np.random.default_rng(m).standard_normal((12, 12)).astype(np.float32)
    chosen = np.arange(11, 11 - m, -1)
    values = np.random.default_rng(9).standard_normal(m)
    total = np.ones(12)
    kernels.add_rows(gram, chosen, values, total)
    np.testing.assert_allclose(total, 1 + values @ gram[chosen].astype(np.float64), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "rounding"), [(np.float64, 1e-9), (np.float32, 2e-5)])
@pytest.mark.parametrize("stiff", [False, True])
def test_both_ways_solve_the_system_of_chosen_images(dtype, rounding, stiff):
    gram, sign, ridge = system(120, dtype, 0.05)
    chosen = np.flatnonzero(np.arange(120) % 4 != 1)
    start = np.random.default_rng(1).standard_normal(120)
    found, by_factor = direct.solve_chosen(gram, chosen, sign, ridge, start, rounding**2, stiff, 2)
    assert by_factor == stiff
    # A factor in float32 has its solution refined: it is that of the float32 matrix to float64's precision, or nearly.
    np.testing.assert_allclose(found, solved(gram, chosen, sign, ridge), atol=1e-9 if stiff else 20 * rounding)


def test_conjugate_gradients_end_where_they_are_told_to():
    gram, sign, ridge = system(200, np.float64, 0.01)
    own, right = ridge[(sign > 0).astype(int)], sign.astype(np.float64)

    def left(solution):
        return float(((right - gram @ solution - own * solution) ** 2).sum())

    for enough in (1.0, 1e-3, 1e-8):
        solution = np.zeros(200)
        assert direct.solve_conjugate(gram, own, right, solution, enough, 200)
        assert enough * 1e-4 < left(solution) <= enough
    solution = np.zeros(200)
    assert not direct.solve_conjugate(gram, own, right, solution, 1e-8, 3)
    assert left(solution) < left(np.zeros(200))


def test_a_system_too_stiff_for_conjugate_gradients_gets_a_factor():
    n = 64
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]
    gram = np.ascontiguousarray((vectors * np.logspace(0, -9, n)) @ vectors.T)
    sign, ridge = np.where(np.arange(n) % 2, 1, -1).astype(np.int8), np.full(2, 1e-10)
    found, by_factor = direct.solve_chosen(gram, np.arange(n), sign, ridge, np.zeros(n), 1e-20, False, 0)
    assert by_factor
    expected = solved(gram, np.arange(n), sign, ridge)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


# At 0.1, coefficients of a wrong sign are left to be removed at the end.
@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-4, 1e-9])
@pytest.mark.parametrize("C", [0.3, 3.0, 30.0])
def test_a_class_alone_is_taken_to_the_gap_allowed_with_a_feasible_dual(C, tolerance):
    gram, sign, _ = system(300, np.float64, 1.0)
    sign[::7] = 0
    costs = Costs.of("squared_hinge", C, np.array([[1.0, 4.0]]))
    b, f = np.zeros(300), np.zeros(300)
    constants = sign, b, f, costs.loss[0], costs.ridge[0]
    assert direct.minimise(gram, *constants, tolerance, 300, True)
    np.testing.assert_allclose(f, gram @ b, atol=1e-9)
    assert (sign * b >= 0).all()
    assert not b[sign == 0].any()
    primal, dual = objectives(f[None], b[None], sign[None], costs)
    assert primal - dual <= tolerance * primal


def test_a_class_of_which_too_many_images_matter_is_given_up_with_scores_of_its_own_coefficients():
    gram, sign, _ = system(300, np.float64, 1.0)
    costs = Costs.of("squared_hinge", 30.0, np.ones((1, 2)))
    b = np.where(np.arange(300) < 40, 0.0, 3.0 * sign)
    f = gram @ b
    within = int((sign * f < 1).sum())
    assert 0 < within < 150
    assert not direct.minimise(gram, sign, b, f, costs.loss[0], costs.ridge[0], 1e-6, within, True)
    np.testing.assert_allclose(f, gram @ b, atol=1e-9)
    assert (sign * f < 1).sum() > within


@pytest.mark.parametrize("C", [100.0, 1000.0])
def test_classes_that_common_steps_get_nowhere_are_finished_alone_though_wide(C):
    """Random labels: hundreds of images stay within their margin, more than are finished alone otherwise."""
    rng = np.random.default_rng(0)
    gram, _, _ = system(600, np.float32, 1.0)
    signs = np.where(rng.random((3, 600)) < 0.5, 1, -1).astype(np.int8)
    rounds = {}
    for limit in (0, 600):
        operator = GramOperator(gram)
        operator.direct_up_to, operator.direct_up_to_if_slow = 100, limit
        descent = Descent(operator, signs, "squared_hinge", max_rounds=40)
        descent.solve(C)
        rounds[limit] = descent.rounds
        assert limit == 0 or (descent.gaps <= descent.tolerance).all()
    assert rounds[600] < rounds[0] / 2


def test_a_class_is_finished_on_the_images_near_its_margin_and_on_no_others():
    rows = np.random.default_rng(0).standard_normal((300, 20))
    sign = np.where(rows[:, 0] + 0.3 * rows[:, 1] > 0, 1, -1).astype(np.int8)
    sign[::7] = 0
    gram = rows @ rows.T / 20 + 1
    costs = Costs.of("squared_hinge", 30.0, np.array([[1.0, 4.0]]))
    constants = costs.loss[0], costs.ridge[0]
    best, scores = np.zeros(300), np.zeros(300)
    direct.minimise(gram, sign, best, scores, *constants, 1e-10, 300, True)
    room = int(((sign != 0) & (sign * scores < 1)).sum())
    asked = []

    def finish(widest, margin):
        b, f = 2 * best + 0.1, scores.copy()
        matrix = lambda index: asked.append(index) or gram[np.ix_(index, index)]  # noqa: E731
        done = direct.finish_near(matrix, sign, b, f, constants, 1e-10, margin, widest)
        np.testing.assert_array_equal(f, scores)
        return done, b

    done, b = finish(room, 0.01)
    assert done
    (index,) = asked
    np.testing.assert_array_equal(index, np.flatnonzero((sign != 0) & (sign * scores < 1.01)))
    assert room <= len(index) < np.count_nonzero(sign)
    np.testing.assert_allclose(b, best, atol=1e-6)
    assert not b[np.setdiff1d(np.arange(300), index)].any()
    done, b = finish(room - 1, 0.01)
    assert not done
    np.testing.assert_array_equal(b, 2 * best + 0.1)
    # Of too many near the margin, the nearest.
    assert finish(room, 1e9)[0]
    assert room <= len(asked[-1]) <= 2 * room < np.count_nonzero(sign)
