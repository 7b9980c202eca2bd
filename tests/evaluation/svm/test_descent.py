"""The two operators and the two ways of the descent, against the objectives written down plainly."""

import numpy as np
import pytest

from transferbench.evaluation.svm.descent import Descent
from transferbench.evaluation.svm.objective import Costs, objectives
from transferbench.evaluation.svm.operators import GramOperator
from transferbench.evaluation.svm.rows import RowsOperator


def problem(n=400, d=60, classes=4, seed=3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    rows = np.maximum(rng.standard_normal((classes, d))[labels] + 1.5 * rng.standard_normal((n, d)), 0)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    signs = np.where(labels == np.arange(classes)[:, None], 1, -1).astype(np.int8)
    return rows, signs, (rows.astype(dtype) @ rows.T.astype(dtype) + 1).astype(dtype)


def blocks(rows, size=64):
    return lambda: (rows[start : start + size] for start in range(0, len(rows), size))


def costs(loss, C, classes):
    return Costs.of(loss, C, np.ones((classes, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_multiply_as_their_gram_matrix_does(dtype):
    rows, signs, gram = problem(dtype=dtype)
    coefficients = np.random.default_rng(0).standard_normal(signs.shape)
    with_gram, with_rows = GramOperator(gram), RowsOperator(blocks(rows), len(rows), 1.0, np.dtype(dtype))
    expected = coefficients @ gram.astype(np.float64)
    np.testing.assert_allclose(with_gram.exact(coefficients), expected, rtol=1e-10)
    np.testing.assert_allclose(with_rows.exact(coefficients), expected, rtol=1e-4, atol=1e-4)
    coefficients[:, 10:] = 0
    np.testing.assert_allclose(with_gram.exact(coefficients), coefficients @ gram, rtol=1e-6)
    single = coefficients.astype(dtype)
    np.testing.assert_allclose(with_rows.product(single), with_gram.product(single), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
@pytest.mark.parametrize("widest", [0, 100, 10_000])
def test_every_way_reaches_the_certified_optimum(loss, widest):
    _, signs, gram = problem()
    operator = GramOperator(gram)
    operator.gathers_up_to = operator.direct_up_to = operator.direct_up_to_if_slow = widest
    descent = Descent(operator, signs, loss, tolerance=1e-6, max_rounds=1000)
    for C in (0.01, 1.0, 20.0):
        descent.solve(C)
        assert (descent.gaps <= 1e-6).all()
        np.testing.assert_allclose(descent.scores, descent.coefficients @ gram, atol=1e-8)
        other = Descent(GramOperator(gram), signs, loss, tolerance=1e-9)
        other.solve(C)
        lower = objectives(other.scores, other.coefficients, signs, costs(loss, C, 4))[0] * (1 - 1e-8)
        assert (
            objectives(descent.scores, descent.coefficients, signs, costs(loss, C, 4))[0] <= lower * (1 + 3e-6)
        ).all()


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_rows_in_blocks_reach_the_optimum_of_the_gram_matrix(loss):
    rows, signs, gram = problem(n=300, d=30)
    by_rows = Descent(RowsOperator(blocks(rows), 300, 1.0), signs, loss, tolerance=1e-5, max_rounds=2000)
    by_gram = Descent(GramOperator(gram), signs, loss)
    for C in (0.05, 2.0):
        by_rows.solve(C)
        by_gram.solve(C)
        assert (by_rows.gaps <= 1e-5).all()
        mine, best = (objectives(d.scores, d.coefficients, signs, costs(loss, C, 4))[0] for d in (by_rows, by_gram))
        np.testing.assert_allclose(mine, best, rtol=3e-5)


def test_the_dual_objective_meets_the_primal_one_at_the_optimum():
    _, signs, gram = problem()
    descent = Descent(GramOperator(gram), signs, "squared_hinge", tolerance=1e-10)
    descent.solve(3.0)
    primal, dual = objectives(descent.scores, descent.coefficients, signs, costs("squared_hinge", 3.0, 4))
    np.testing.assert_allclose(primal, dual, rtol=1e-8)


def test_coefficients_of_images_left_out_are_no_point_of_the_dual():
    _, signs, gram = problem()
    signs[:, ::4] = 0
    descent = Descent(GramOperator(gram), signs, "squared_hinge", tolerance=1e-6)
    descent.solve(1.0)
    descent.coefficients[:, ::4] = 0.01
    descent.certify(GramOperator(gram), 1.0)
    best = Descent(GramOperator(gram), signs, "squared_hinge", tolerance=1e-10)
    best.solve(1.0)
    mine, lowest = (
        objectives(d.coefficients @ gram, d.coefficients, signs, costs("squared_hinge", 1.0, 4))[0]
        for d in (descent, best)
    )
    assert (mine - lowest <= descent.gaps * mine).all()


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_images_with_sign_0_have_no_say_but_get_scores(loss):
    _, signs, gram = problem()
    masked = signs.copy()
    masked[1, 50:200] = 0
    masked[2, ::3] = 0
    together = Descent(GramOperator(gram), masked, loss)
    together.solve(1.0)
    for k in range(4):
        kept = np.flatnonzero(masked[k])
        alone = Descent(GramOperator(gram[np.ix_(kept, kept)]), masked[k : k + 1, kept], loss)
        alone.solve(1.0)
        np.testing.assert_allclose(together.coefficients[k, kept], alone.coefficients[0], atol=1e-3)
        np.testing.assert_allclose(together.scores[k], alone.coefficients[0] @ gram[kept], atol=1e-4)
    assert not together.coefficients[masked == 0].any()


@pytest.mark.parametrize("gathers_up_to", [0, 400])
def test_a_large_C_does_not_hide_the_gap_of_a_float32_matrix_behind_its_rounding(gathers_up_to):
    """A loss of 1,000 times what float32 takes from the margins of 300 images is a tenth of the objective."""
    _, signs, gram = problem(dtype=np.float32)
    operator = GramOperator(gram)
    operator.gathers_up_to = gathers_up_to
    descent = Descent(operator, signs, "hinge", tolerance=1e-6, certified=False)
    for C in (1.0, 1000.0):
        descent.start_from(descent.coefficients)
        descent.solve(C)
        primal, dual = objectives(
            descent.coefficients @ gram.astype(np.float64), descent.coefficients, signs, costs("hinge", C, 4)
        )
        assert ((primal - dual) / primal <= 1.1e-6).all()


def test_the_bounds_of_the_hinge_hold_after_any_number_of_steps():
    _, signs, gram = problem()
    descent = Descent(GramOperator(gram), signs, "hinge", tolerance=1e-12, max_rounds=1)
    for C in (0.02, 3.0):
        descent.solve(C)
        assert (descent.gaps > 1e-12).any()
        a = signs * descent.coefficients
        assert ((a >= 0) & (a <= C)).all()
        np.testing.assert_allclose(descent.scores, descent.coefficients @ gram, atol=1e-9)
        primal, dual = objectives(descent.scores, descent.coefficients, signs, costs("hinge", C, 4))
        np.testing.assert_allclose(descent.gaps, (primal - dual) / primal, rtol=1e-6)


def test_a_warm_start_ends_where_a_cold_one_does():
    _, signs, gram = problem()
    warm, cold = (Descent(GramOperator(gram), signs, "squared_hinge") for _ in range(2))
    for C in (0.01, 0.1, 1.0, 10.0):
        warm.solve(C)
    cold.solve(10.0)
    np.testing.assert_allclose(warm.scores, cold.scores, atol=1e-4)
    again = Descent(GramOperator(gram), signs, "squared_hinge")
    again.start_from(warm.coefficients)
    again.solve(10.0)
    np.testing.assert_allclose(again.scores, cold.scores, atol=1e-4)


def test_a_float32_gram_matrix_is_certified_in_float64():
    _, signs, gram = problem(dtype=np.float32)
    descent = Descent(GramOperator(gram), signs, "squared_hinge")
    descent.solve(5.0)
    scores = descent.coefficients @ gram.astype(np.float64)
    np.testing.assert_allclose(descent.scores, scores, atol=1e-9)
    assert (descent.gaps <= 1e-5).all()


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_path_in_step_without_exact_sums_is_at_the_optimum_of_every_C(dtype, loss):
    _, signs, gram = problem(dtype=dtype)
    operator = GramOperator(gram)
    operator.gathers_up_to = operator.direct_up_to = operator.direct_up_to_if_slow = 0
    descent = Descent(operator, signs, loss, tolerance=1e-4, certified=False)
    for C in (0.01, 0.03, 0.1, 1.0):
        descent.solve(C)
        best = Descent(GramOperator(gram.astype(np.float64)), signs, loss, tolerance=1e-9)
        best.solve(C)
        mine, lowest = (objectives(d.scores, d.coefficients, signs, costs(loss, C, 4))[0] for d in (descent, best))
        assert (descent.gaps <= 1e-4).all()
        assert (mine <= lowest * (1 + 1.1e-4)).all()
        np.testing.assert_allclose(descent.scores, descent.coefficients @ gram, atol=1e-2)


def test_a_start_takes_over_only_coefficients_with_the_signs_of_the_problem():
    _, signs, gram = problem()
    masked = signs.copy()
    masked[:, ::3] = 0
    descent = Descent(GramOperator(gram), masked, "squared_hinge")
    descent.start_from(np.where(np.arange(400) % 2, signs, -signs).astype(np.float64))
    np.testing.assert_array_equal(descent.coefficients, np.where(np.arange(400) % 2, masked, 0))
    np.testing.assert_allclose(descent.scores, descent.coefficients @ gram, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("certified", [True, False])
@pytest.mark.parametrize("C", [1.0, 1e4])
def test_classes_finished_alone_leave_their_own_scores_and_a_feasible_dual(dtype, certified, C):
    _, signs, gram = problem(dtype=dtype)
    signs[2, ::4] = 0
    operator = GramOperator(gram)
    operator.direct_up_to = len(gram)
    descent = Descent(operator, signs, "squared_hinge", tolerance=1e-5, certified=certified)
    # From a solution with other images, whose coefficients are in the way.
    descent.start_from(np.where(np.arange(400) % 3 == 0, 0.5 * signs, 0.0))
    descent.solve(C)
    assert (signs * descent.coefficients >= 0).all()
    np.testing.assert_allclose(
        descent.scores, descent.coefficients @ gram.astype(np.float64), atol=1e-2 if C > 1 else 1e-5
    )
    primal, dual = objectives(descent.scores, descent.coefficients, signs, costs("squared_hinge", C, 4))
    assert ((primal - dual) / primal <= 1.01e-5).all()


def test_what_is_not_positive_definite_in_its_precision_is_left_to_the_other_way():
    _, signs, gram = problem(dtype=np.float32)
    operator = GramOperator(gram)
    b, f = np.full(400, 0.25), np.zeros(400)
    before = b.copy(), f.copy()
    constants = costs("squared_hinge", 1e12, 4)
    assert not operator.finish_direct((signs[0], b, f), constants, 0, 1e-5, 0, 400)
    np.testing.assert_array_equal(b, before[0])
    np.testing.assert_array_equal(f, before[1])
    # The first step, on ten images, can be taken; the second one cannot, and takes it back.
    b, f = np.zeros(400), np.where(np.arange(400) < 10, 0.0, 2.0 * signs[0])
    before = b.copy(), f.copy()
    assert not operator.finish_direct((signs[0], b, f), constants, 0, 1e-5, 0, 400)
    np.testing.assert_array_equal(b, before[0])
    np.testing.assert_array_equal(f, before[1])


def test_rows_whose_matrix_is_not_positive_definite_in_its_precision_are_left_as_they_are():
    rows, signs, _ = problem()
    operator = RowsOperator.of(rows, 1.0, np.dtype(np.float32))
    b = np.full(400, 0.25)
    assert not operator.finish_direct((signs[0], b, np.zeros(400)), costs("squared_hinge", 1e12, 4), 0, 1e-5, 0, 400)
    np.testing.assert_array_equal(b, np.full(400, 0.25))


def test_the_matrix_of_a_few_rows_is_whole_whatever_its_size():
    rows, *_ = problem(n=700, d=40)
    operator = RowsOperator.of(rows, 2.0, np.dtype(np.float64))
    for size in (1, 64, 65, 513, 600):
        index = np.random.default_rng(size).permutation(700)[:size]
        expected = rows[index].astype(np.float64) @ rows[index].T + 4
        np.testing.assert_allclose(operator.small(index), expected, rtol=1e-12)


@pytest.mark.parametrize("certified", [True, False])
def test_steps_of_all_classes_go_on_from_where_a_class_was_given_up(certified):
    """A class that turns out too wide half way to its optimum has moved: its gradient is not the one known before."""
    _, signs, gram = problem()

    class GivesUp(GramOperator):
        def finish_direct(self, signed, costs, k, tolerance, turn, widest):
            super().finish_direct(signed, costs, k, tolerance, turn, len(gram))
            signed[1][:] *= 0.9
            signed[2][:] *= 0.9
            self.direct_up_to = self.direct_up_to_if_slow = 0
            return False

    operator = GivesUp(gram)
    descent = Descent(operator, signs, "squared_hinge", tolerance=1e-4, certified=certified)
    operator.direct_up_to = operator.direct_up_to_if_slow = 0
    descent.solve(1.0)
    operator.direct_up_to = operator.direct_up_to_if_slow = len(gram)
    descent.solve(3.0)
    best = Descent(GramOperator(gram), signs, "squared_hinge", tolerance=1e-10)
    best.solve(3.0)
    mine, lowest = (
        objectives(d.coefficients @ gram, d.coefficients, signs, costs("squared_hinge", 3.0, 4))[0]
        for d in (descent, best)
    )
    assert (descent.gaps <= 1e-4).all()
    assert (mine <= lowest * (1 + 1.01e-4)).all()


WEIGHTS = np.array([[1.0, 2.0], [0.5, 1.0], [1.0, 1.0], [3.0, 0.2]])
"""So different that the constants of one class, or of one side, taken for those of another show."""


def true_gaps(descent, gram, signs, constants):
    """Work out the gaps of coefficients from nothing but the two objectives and the gradient."""
    b = descent.coefficients
    f = b @ gram
    primal, dual = objectives(f, b, signs, constants)
    feasible = ((signs * b > 0) | (b == 0)).all(axis=1)
    gaps = np.where(feasible, (primal - dual) / primal, np.inf)
    if constants.squared:
        loss = np.take_along_axis(constants.loss, (signs > 0).astype(int), axis=1)
        residual = 2 * loss * signs * np.maximum(0, 1 - signs * f) - b
        by_gradient = 0.5 * np.einsum("kn,kn->k", residual @ gram, residual) / primal
        gaps = np.where(gaps <= descent.tolerance, gaps, np.minimum(gaps, by_gradient))
    return gaps


@pytest.mark.parametrize("max_rounds", [100, 1])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_scores_and_gaps_are_those_of_the_coefficients(loss, alone, max_rounds):
    """Of each class by its own constants, whichever way it went, in float32, and where it was stopped early as well."""
    _, signs, gram = problem(dtype=np.float32)
    signs[2, 30:90] = 0
    operator = GramOperator(gram)
    operator.widest = operator.direct_up_to = operator.direct_up_to_if_slow = 400 if alone else 0
    tolerance = 1e-5 if loss == "squared_hinge" or alone else 1e-4
    descent = Descent(operator, signs, loss, WEIGHTS, tolerance=tolerance, max_rounds=max_rounds)
    exact = gram.astype(np.float64)
    for C in (0.1, 3.0, 0.02):
        descent.solve(C)
        constants = Costs.of(loss, C, WEIGHTS)
        assert (descent.gaps <= tolerance).all() or max_rounds == 1
        known = np.isfinite(descent.gaps)  # without a certificate, scores are summed in float32
        np.testing.assert_allclose(descent.scores[known], (descent.coefficients @ exact)[known], atol=1e-9)
        expected = true_gaps(descent, exact, signs, constants)
        np.testing.assert_allclose(descent.gaps[known], expected[known], rtol=1e-3, atol=1e-3 * tolerance)
        upper = np.where(signs > 0, constants.upper[:, 1:], constants.upper[:, :1])
        assert (np.abs(descent.coefficients) <= upper * (1 + 1e-12)).all()


@pytest.mark.parametrize("C", [0.05, 1.0])
def test_a_certificate_is_the_lower_of_two_gaps_whatever_the_signs_of_coefficients(C):
    _, signs, gram = problem()
    descent = Descent(GramOperator(gram), signs, "squared_hinge", WEIGHTS, tolerance=1e-12)
    descent.coefficients = np.abs(np.random.default_rng(2).standard_normal(signs.shape)) * 0.02 * signs
    descent.coefficients[:2] *= -1
    descent.certify(GramOperator(gram), C)
    np.testing.assert_allclose(descent.scores, descent.coefficients @ gram, atol=1e-9)
    expected = true_gaps(descent, gram, signs, Costs.of("squared_hinge", C, WEIGHTS))
    assert (expected > 1e-3).all()
    np.testing.assert_allclose(descent.gaps, expected, rtol=1e-9)


@pytest.mark.parametrize("wide", [True, False])
def test_a_start_forgets_what_was_solved_before(wide):
    _, signs, gram = problem()
    first, second = GramOperator(gram), GramOperator(gram)
    if wide:
        first.direct_up_to = first.direct_up_to_if_slow = 0
    descent = Descent(first, signs, "squared_hinge", tolerance=1e-9)
    descent.solve(3.0)
    descent.start_from(np.where(np.arange(400) % 3, 0.01 * signs, 0.0))
    descent.solve(0.1)
    other = Descent(second, signs, "squared_hinge", tolerance=1e-9)
    other.solve(0.1)
    np.testing.assert_allclose(descent.scores, descent.coefficients @ gram, atol=1e-8)
    np.testing.assert_allclose(descent.scores, other.scores, atol=1e-3)
