"""Inner loops, each held to numpy, to scipy or to a case worked by hand."""

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize_scalar

from transferbench.evaluation.svm import kernels, newton_kernels
from transferbench.evaluation.svm.objective import Costs, objectives
from transferbench.evaluation.svm.operators import GramOperator
from transferbench.evaluation.svm.subspace import Preconditioner, Subspace

LOSS = np.array([0.7, 2.5])
"""Of negative and positive images: so different that one taken for the other shows."""
NONE = np.zeros(2)


def one_class(n=40, seed=0):
    """A Gram matrix, signs of which some are 0, coefficients within the hinge's bounds, some at them, and scores."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, 2 * n)) / np.sqrt(2 * n)
    gram = rows @ rows.T + 1
    y = rng.choice(np.array([-1, 0, 1], np.int8), n, p=[0.5, 0.1, 0.4])
    b = y * np.where(y > 0, LOSS[1], LOSS[0]) * np.clip(rng.uniform(-0.5, 1.5, n), 0, 1)
    return gram, y, b, gram @ b


def hinge_dual(gram, y, b):
    return float((y * b).sum() - 0.5 * b @ gram @ b)


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_the_gap_is_that_of_the_objectives_written_down_plainly(loss):
    _, y, b, f = one_class()
    costs = Costs.of(loss, 1.0, LOSS[None])
    gap, primal = kernels.relative_gap(y, b, f, costs.loss[0], costs.ridge[0], costs.squared)
    # The gap of images that are left out is nobody's: their coefficients are 0.
    expected, dual = objectives(f[None], b[None], y[None], costs)
    assert primal == pytest.approx(expected[0], rel=1e-12)
    assert gap == pytest.approx((expected[0] - dual[0]) / expected[0], rel=1e-12)


def test_a_sweep_leaves_the_last_coefficient_where_the_dual_is_highest():
    gram, y, b, f = one_class()
    y[-1] = 1
    b[-1], f = 0.0, gram @ np.append(b[:-1], 0.0)
    kernels.sweep(gram, 0, y, b, f, NONE, LOSS)
    np.testing.assert_allclose(f, gram @ b, atol=1e-12)
    assert (y * b >= 0).all()
    assert (np.abs(b) <= np.where(y > 0, LOSS[1], LOSS[0])).all()
    best = hinge_dual(gram, y, b)
    for value in np.linspace(0, LOSS[1], 101):
        assert hinge_dual(gram, y, np.append(b[:-1], value)) <= best + 1e-12


@pytest.mark.parametrize("part", [1.0, 0.1], ids=["within the bounds", "at a bound"])
def test_a_rescaled_solution_is_the_best_multiple_within_the_bounds(part):
    gram, y, full, _ = one_class()
    upper = np.where(y > 0, LOSS[1], LOSS[0]) * part
    given = 0.01 * part * full
    room = float(np.min(upper[full != 0] / np.abs(given[full != 0])))
    multiples = np.linspace(0, 1, 2001) * room
    best = multiples[np.argmax([hinge_dual(gram, y, multiple * given) for multiple in multiples])]
    assert (best == room) == (part < 1)
    for vector in (given, 500.0 * given):
        b, f = vector.copy(), gram @ vector
        kernels.rescale(y, b, f, NONE, LOSS * part)
        np.testing.assert_allclose(f, gram @ b, atol=1e-9)
        assert (np.abs(b) <= upper * (1 + 1e-12)).all()
        assert hinge_dual(gram, y, b) >= hinge_dual(gram, y, best * given) - 1e-9


def test_conjugate_gradients_solve_the_system_of_the_coefficients_that_are_free():
    gram, y, b, f = one_class()
    n = len(y)
    residual, search, step, gain = (np.empty(n) for _ in range(4))
    square = kernels.aim(y, b, f, NONE, LOSS, residual, search, step, gain)
    upper, slope = np.where(y > 0, LOSS[1], LOSS[0]), y * f - 1
    held = ((b == 0) & (slope >= 0)) | ((y * b >= upper) & (slope <= 0)) | (y == 0)
    np.testing.assert_allclose(residual, np.where(held, 0, y - f))
    assert square == pytest.approx((residual**2).sum())
    assert 5 < held.sum() < n - 5
    for _ in range(n):
        if square < 1e-26:
            break
        square = kernels.conjugate(y, NONE, residual, search, gram @ search, step, gain, square)
    free = np.flatnonzero(~held)
    expected = np.linalg.solve(gram[np.ix_(free, free)], (y - f)[free])
    np.testing.assert_allclose(step[free], expected, atol=1e-8)
    assert not step[held].any()
    np.testing.assert_allclose(gain, gram @ step, atol=1e-8)


def test_a_step_is_cut_at_the_bounds_and_goes_as_far_as_the_dual_improves():
    gram, y, b, f = one_class()
    step = np.where(y == 0, 0.0, 3.0 * (y - f))
    given = step.copy()
    correction = np.empty(len(y))
    clipped = kernels.clip(y, b, LOSS, step, correction)
    upper = np.where(y > 0, LOSS[1], LOSS[0])
    inside = y * np.clip(y * (b + given), 0, upper)
    np.testing.assert_allclose(b + step, inside, atol=1e-12)
    np.testing.assert_allclose(correction, step - given, atol=1e-12)
    assert clipped == np.count_nonzero(correction) > 5
    gain, start = gram @ step, b.copy()
    best = max(np.linspace(0, 1, 2001), key=lambda length: hinge_dual(gram, y, start + length * step))
    kernels.move(y, b, f, NONE, LOSS, step, gain)
    assert hinge_dual(gram, y, b) >= hinge_dual(gram, y, start + best * step) - 1e-9
    np.testing.assert_allclose(f, gram @ b, atol=1e-9)
    b, f = start.copy(), gram @ start
    kernels.move(y, b, f, NONE, LOSS, -step, -gain)  # downhill: not a step of it
    np.testing.assert_array_equal(b, start)


def test_candidates_are_those_that_may_still_move():
    y = np.array([1, 1, 1, 1, 1, -1, -1, 0, -1], np.int8)
    b = np.array([0, 0, 1, LOSS[1], LOSS[1], -LOSS[0], -LOSS[0], 0, 0])
    f = y * np.array([1.2, 1.05, 2.0, 0.8, 0.95, 0.5, 1.3, 0, 0.3])
    index = np.empty(9, np.int64)
    count = kernels.candidates(y, b, f, LOSS, 0.1, index)
    # Beyond the margin and 0: left out, near it not; free: always; at its bound: where it is not well within the margin.
    assert index[:count].tolist() == [1, 2, 4, 6, 8]


def test_a_product_does_not_depend_on_what_was_there_before():
    gram, _, b, f = one_class()
    found = np.full(len(b), np.nan)
    kernels.multiply_sparse(gram, b, found)
    np.testing.assert_allclose(found, f, atol=1e-12)


def squared_primal(y, loss, b, f):
    violation = np.where(y != 0, np.maximum(0, 1 - y * f), 0)
    return float(0.5 * b @ f + (np.where(y > 0, loss[1], loss[0]) * violation**2).sum())


@pytest.mark.parametrize("scale", [0.03, 1.0, 40.0])
def test_the_line_search_finds_the_minimum_of_the_primal(scale):
    gram, y, b, f = one_class()
    step, hard = np.empty(len(y)), np.empty(len(y))
    newton_kernels.aim(y, b, f, LOSS, step, hard)
    step *= scale
    gain = gram @ step
    found = newton_kernels.search_line(y, b, f, LOSS, step, gain)
    expected = minimize_scalar(
        lambda t: squared_primal(y, LOSS, b + t * step, f + t * gain), bracket=(0, 1 / scale), tol=1e-12
    ).x
    assert found == pytest.approx(expected, rel=1e-5)
    value, slope = newton_kernels.slope_along(y, b, f, LOSS, gain)
    assert value == pytest.approx(squared_primal(y, LOSS, b, f))
    ends = [squared_primal(y, LOSS, b + t * step, f + t * gain) for t in (-1e-6 / scale, 1e-6 / scale)]
    assert slope == pytest.approx((ends[1] - ends[0]) / (2e-6 / scale), rel=1e-4)


def test_the_residual_is_minus_the_gradient_of_the_primal():
    gram, y, b, f = one_class()
    residual, hard = np.empty(len(y)), np.empty(len(y))

    def gradient(x):
        value = newton_kernels.aim(y, x, gram @ x, LOSS, residual, hard)
        assert value == pytest.approx(squared_primal(y, LOSS, x, gram @ x))
        return -gram @ residual

    off = check_grad(lambda x: squared_primal(y, LOSS, x, gram @ x), gradient, b)
    assert off < 1e-5 * np.linalg.norm(gradient(b))
    np.testing.assert_array_equal(hard, np.where((y != 0) & (y * f < 1), 2 * np.where(y > 0, LOSS[1], LOSS[0]), 0))


def test_directions_are_orthonormal_in_the_norm_of_the_gram_matrix():
    gram, *_ = one_class(150)
    found = Subspace(GramOperator(gram), 10)
    np.testing.assert_allclose(found.basis @ gram @ found.basis.T, np.eye(10), atol=1e-9)
    np.testing.assert_allclose(found.image, found.basis @ gram, atol=1e-9)
    # Among them the largest one: what all images have in common.
    values, vectors = np.linalg.eigh(gram)
    within = found.image @ vectors[:, -1]
    assert within @ within == pytest.approx(values[-1], rel=1e-6)


def test_with_all_directions_the_preconditioner_is_the_inverse_itself():
    gram, *_ = one_class(30)
    rng = np.random.default_rng(3)
    preconditioner = Preconditioner(Subspace(GramOperator(gram), 30), np.ones(30), 2)
    for C in (0.1, 7.0):  # followed from one to the other, and from the first weights
        weights = (rng.random((1, 30)) < 0.5).astype(np.float64)
        preconditioner.update(np.array([1]), weights, C)
        vector = rng.standard_normal((1, 30))
        found, image = preconditioner.apply(np.array([1]), vector, vector @ gram)
        # 1 + 2 C X'DX of weight vectors X'v is 1 + 2 C D K of the coefficients v.
        expected = np.linalg.solve(np.eye(30) + 2 * C * weights[0][:, None] * gram, vector[0])
        np.testing.assert_allclose(image[0], gram @ expected, atol=1e-8)
        np.testing.assert_allclose(found[0] @ gram, image[0], atol=1e-8)
