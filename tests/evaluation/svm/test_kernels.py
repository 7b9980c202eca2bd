"""Inner loops, each held to numpy, to scipy or to a case worked by hand."""

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize_scalar

from transferbench.evaluation.svm import hinge_kernels, kernels, newton_kernels
from transferbench.evaluation.svm.objective import Costs, objectives
from transferbench.evaluation.svm.operators import GramOperator
from transferbench.evaluation.svm.subspace import Preconditioner, Subspace

LOSS = np.array([0.7, 2.5])
"""Of negative and positive images: so different that one taken for the other shows."""


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
        hinge_kernels.rescale(y, b, f, LOSS * part)
        np.testing.assert_allclose(f, gram @ b, atol=1e-9)
        assert (np.abs(b) <= upper * (1 + 1e-12)).all()
        assert hinge_dual(gram, y, b) >= hinge_dual(gram, y, best * given) - 1e-9


def centred(y, b, f, centre, sigma):
    """The objective whose minimum is the next centre, by scores f = K b: each loss is the largest over a in [0, upper]."""
    upper = np.where(y > 0, LOSS[1], LOSS[0])
    a = np.clip(centre + sigma * (1 - y * f), 0, upper)
    losses = a * (1 - y * f) - (a - centre) ** 2 / (2 * sigma)
    return float(0.5 * b @ f + np.where(y != 0, losses, 0).sum())


SIGMA = 0.3


def aimed():
    """A point that is not the centre, and what `hinge_kernels.aim` says of it: some images are free, some are not."""
    gram, y, b, _ = one_class()
    gram -= 1
    f = gram @ b
    rng = np.random.default_rng(7)
    centre = np.where(y != 0, np.where(y > 0, LOSS[1], LOSS[0]) * rng.random(len(y)), 0)
    free, rest, right = np.empty(len(y), bool), np.empty(len(y)), np.empty(len(y))
    count = hinge_kernels.aim(y, b, f, centre, SIGMA, LOSS, free, rest, right)
    return gram, y, b, f, centre, free, rest, right, count


def test_the_next_point_of_the_hinge_is_where_its_images_have_what_they_should_have():
    gram, y, b, f, centre, free, rest, right, count = aimed()
    upper = np.where(y > 0, LOSS[1], LOSS[0])
    wanted = centre + SIGMA * (1 - y * f)
    np.testing.assert_array_equal(free, (y != 0) & (wanted > 0) & (wanted < upper))
    assert count == free.sum() > 3
    assert min((wanted <= 0).sum(), (wanted >= upper).sum(), (y == 0).sum()) > 0
    np.testing.assert_allclose((b + rest)[~free], np.where(y == 0, 0, y * np.clip(wanted, 0, upper))[~free])
    assert not rest[free].any()
    system = gram[np.ix_(free, free)] + np.eye(count) / SIGMA
    step = rest.copy()
    step[free] = np.linalg.solve(system, right[free] - (gram @ rest)[free])
    # Were no image to meet a bound, the free ones would have their own coefficients there.
    there = gram @ (b + step)
    np.testing.assert_allclose((b + step)[free], (y * (centre + SIGMA * (1 - y * there)))[free], atol=1e-9)


@pytest.mark.parametrize("scale", [0.2, 1.0, 10.0])
def test_the_line_search_of_the_hinge_finds_the_minimum_of_its_centred_objective(scale):
    gram, y, b, f, centre, free, rest, right, _ = aimed()
    step = rest + np.where(free, right, 0)
    step *= scale
    gain = gram @ step

    def value(length):
        return centred(y, b + length * step, f + length * gain, centre, SIGMA)

    start, bend = b @ gain, step @ gain
    for length in (0.0, 0.3, 0.9):
        slope, curvature = hinge_kernels.slope_at(length, y, f, centre, SIGMA, LOSS, gain, start, bend)
        assert slope == pytest.approx((value(length + 1e-6) - value(length - 1e-6)) / 2e-6, rel=1e-4, abs=1e-5)
        near = hinge_kernels.slope_at(length + 1e-7, y, f, centre, SIGMA, LOSS, gain, start, bend)[0]
        assert curvature == pytest.approx((near - slope) / 1e-7, rel=1e-4, abs=1e-5)
    found = hinge_kernels.search(y, b, f, centre, SIGMA, LOSS, step, gain)
    best = minimize_scalar(value, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}).x
    assert found == pytest.approx(best, abs=2e-3)
    assert value(found) < value(0.0)


def test_a_centre_is_what_every_image_should_have():
    _, y, _, f, centre, *_ = aimed()
    expected = np.where(y == 0, centre, np.clip(centre + SIGMA * (1 - y * f), 0, np.where(y > 0, LOSS[1], LOSS[0])))
    hinge_kernels.arrive(y, f, centre, SIGMA, LOSS)
    np.testing.assert_allclose(centre, expected)


def test_conjugate_gradients_solve_the_system_of_the_coefficients_that_are_free():
    gram, y, _, _, _, free, _, right, count = aimed()
    residual, step = np.where(free, right, 0), np.zeros(len(y))
    search, square = residual.copy(), float(residual @ residual)
    for _ in range(count + 5):
        if square < 1e-26:
            break
        square = hinge_kernels.conjugate(free, 0.4, residual, search, gram @ search, step, square)
    expected = np.linalg.solve(gram[np.ix_(free, free)] + 0.4 * np.eye(count), right[free])
    np.testing.assert_allclose(step[free], expected, atol=1e-8)
    assert not step[~free].any()


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
