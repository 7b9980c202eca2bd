"""Newton's method on weight vectors, for many short rows: against explicit matrices and the Gram matrix's optimum."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from transferbench.evaluation.svm import primal
from transferbench.evaluation.svm.descent import Descent, warn_of_gaps
from transferbench.evaluation.svm.newton import Newton
from transferbench.evaluation.svm.objective import Costs, objectives
from transferbench.evaluation.svm.operators import GramOperator
from transferbench.evaluation.svm.primal import PrimalNewton, SharedInverse
from transferbench.evaluation.svm.rows import RowsOperator


def problem(n=900, d=24, classes=4, seed=1):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    rows = np.maximum(rng.standard_normal((classes, d))[labels] + 1.5 * rng.standard_normal((n, d)), 0)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return rows, np.where(labels == np.arange(classes)[:, None], 1, -1).astype(np.int8)


def operator_of(rows, bias=1.0, dtype=np.float64):
    operator = RowsOperator.of(rows, bias, np.dtype(dtype))
    operator.direct_up_to = operator.direct_up_to_if_slow = 0
    return operator


@pytest.mark.parametrize("bias", [0.0, 1.0, 3.0])
def test_halves_of_a_product_are_those_of_rows_with_the_bias_appended(bias):
    rows, _ = problem(n=2500)
    extended = np.concatenate([rows, np.full((len(rows), 1), bias)], axis=1).astype(np.float64)
    operator = operator_of(rows, bias)
    rng = np.random.default_rng(0)
    coefficients, weights = rng.standard_normal((3, len(rows))), rng.standard_normal((3, 25))
    np.testing.assert_allclose(operator.square, extended.T @ extended, rtol=1e-10)
    np.testing.assert_allclose(operator.forward(coefficients), coefficients @ extended, atol=1e-9)
    np.testing.assert_allclose(operator.backward(weights), weights @ extended.T, atol=1e-9)
    both = operator.backward(operator.forward(coefficients))
    np.testing.assert_allclose(both, operator.product(coefficients), atol=1e-8)


def test_the_shared_inverse_is_that_of_the_nearest_power_of_two():
    rows, _ = problem()
    square = operator_of(rows).square
    inverse = SharedInverse(square, len(rows))
    vectors = np.random.default_rng(0).standard_normal((5, 25))
    found = inverse.apply(np.array([0.0, 0.25, 8.0, 9.1, np.inf]), vectors)
    for vector, c, mine in zip(vectors, (0, 0.25, 8, 8), found, strict=False):
        np.testing.assert_allclose(mine, np.linalg.solve(np.eye(25) + c * square, vector), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[4], np.linalg.solve(square, vectors[4]), rtol=1e-6)


def test_no_more_factors_are_kept_than_said():
    rows, _ = problem()
    inverse = SharedInverse(operator_of(rows).square, len(rows))
    inverse.apply(2.0 ** np.arange(9), np.ones((9, 25)))
    assert len(inverse._factors) == primal._FACTORS_KEPT


@pytest.mark.parametrize("certified", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_optimum_is_that_of_the_gram_matrix(dtype, certified):
    rows, signs = problem()
    signs[1, 100:400] = 0
    weights = np.array([[1.0, 2.0], [0.5, 1.0], [1.0, 1.0], [3.0, 0.2]])
    gram = rows.astype(np.float64) @ rows.T.astype(np.float64) + 1
    settings = {"tolerance": 1e-5, "certified": certified}
    descent = Descent(operator_of(rows, dtype=dtype), signs, "squared_hinge", weights, **settings)
    best = Descent(GramOperator(gram), signs, "squared_hinge", weights, tolerance=1e-10)
    for C in (1e-4, 0.1, 10.0):
        descent.solve(C)
        best.solve(C)
        assert isinstance(descent._newton, PrimalNewton)
        assert (descent.gaps <= 1e-5).all()
        # The machine is what its coefficients say, not only what its scores say.
        scores = descent.coefficients @ gram
        np.testing.assert_allclose(scores, descent.scores, atol=2e-4 * np.abs(scores).max())
        costs = Costs.of("squared_hinge", C, weights)
        lowest = objectives(best.scores, best.coefficients, signs, costs)[0]
        assert (objectives(scores, descent.coefficients, signs, costs)[0] <= lowest * (1 + 3e-5)).all()


def test_a_start_from_other_coefficients_ends_at_the_same_optimum():
    rows, signs = problem()
    fewer = signs.copy()
    fewer[:, ::5] = 0
    first = Descent(operator_of(rows), fewer, "squared_hinge", tolerance=1e-8)
    first.solve(0.3)
    warm, cold = (Descent(operator_of(rows), signs, "squared_hinge", tolerance=1e-10) for _ in range(2))
    warm.start_from(first.coefficients)
    for descent in (warm, cold):
        descent.solve(0.3)
    np.testing.assert_allclose(warm.scores, cold.scores, atol=1e-4)
    machine = LinearSVC(C=0.3, tol=1e-8, max_iter=1_000_000, random_state=0).fit(rows.astype(np.float64), signs[2])
    np.testing.assert_allclose(cold.scores[2], machine.decision_function(rows), atol=1e-4)


@pytest.mark.parametrize("kind", [PrimalNewton, Newton])
def test_gaps_are_those_of_the_formula_also_after_somebody_changed_the_coefficients(kind):
    rows, signs = problem()
    extended = np.concatenate([rows, np.ones((len(rows), 1))], axis=1).astype(np.float64)
    loss = np.array([[1.0, 2.0], [0.5, 1.0], [1.0, 1.0], [3.0, 0.2]])
    b, f = np.zeros(signs.shape), np.zeros(signs.shape)
    operator = operator_of(rows) if kind is PrimalNewton else GramOperator(extended @ extended.T)
    newton = kind(operator, signs, b, f)
    for seed in range(2):
        b[:] = 0.01 * np.random.default_rng(seed).standard_normal(b.shape)
        f[:] = b @ extended @ extended.T
        newton.forget(np.arange(4))
        gaps, stays = newton.step(np.arange(4), Costs.of("squared_hinge", 1.0, loss), 1.0, np.inf)
        assert stays.all()
        np.testing.assert_allclose(gaps, by_formula(b @ extended, extended, signs, loss), rtol=1e-9)


@pytest.mark.parametrize("kind", [PrimalNewton, Newton])
def test_gaps_are_those_of_the_formula_along_steps_and_from_one_C_to_the_next(kind):
    """What is left of a step is the next gradient, but for images that met or left their margin: never another one."""
    rows, signs = problem()
    signs[1, 100:400] = 0
    extended = np.concatenate([rows, np.ones((len(rows), 1))], axis=1).astype(np.float64)
    loss = np.array([[1.0, 2.0], [0.5, 1.0], [1.0, 1.0], [3.0, 0.2]])
    b, f = np.zeros(signs.shape), np.zeros(signs.shape)
    operator = operator_of(rows) if kind is PrimalNewton else GramOperator(extended @ extended.T)
    newton, everyone, before = kind(operator, signs, b, f), np.arange(4), 1.0
    for C, some in (
        (0.01, everyone),
        (0.01, everyone[2:]),
        (0.01, everyone[1:]),
        (3.0, everyone),
        (3.0, everyone[::2]),
    ):
        newton.rescale(everyone, C / before)
        before = C
        weights = newton._weights if kind is PrimalNewton else b @ extended
        expected = by_formula(weights, extended, signs, C * loss)[some]
        assert (expected > 1e-6).any()
        gaps, stays = newton.step(some, Costs.of("squared_hinge", C, loss), C, 1e-9)
        np.testing.assert_allclose(gaps, expected, rtol=1e-5, atol=1e-11)
        np.testing.assert_array_equal(stays, gaps <= 1e-9)


def by_formula(weights, extended, signs, loss):
    """Half the square of the primal's gradient, over the primal."""
    violation = np.maximum(0, 1 - signs * (weights @ extended.T)) * (signs != 0)
    per_image = np.where(signs > 0, loss[:, 1:], loss[:, :1])
    primal_value = 0.5 * (weights**2).sum(axis=1) + (per_image * violation**2).sum(axis=1)
    lacking = weights - (2 * per_image * signs * violation) @ extended
    return 0.5 * (lacking**2).sum(axis=1) / primal_value


@pytest.mark.parametrize("kind", [PrimalNewton, Newton])
def test_what_one_process_knows_of_its_classes_goes_over_to_the_next(kind):
    rows, signs = problem()
    extended = np.concatenate([rows, np.ones((len(rows), 1))], axis=1).astype(np.float64)

    def made():
        operator = operator_of(rows) if kind is PrimalNewton else GramOperator(extended @ extended.T)
        return kind(operator, signs, np.zeros(signs.shape), np.zeros(signs.shape))

    first, second = made(), made()
    first.step(np.arange(1, 4), Costs.of("squared_hinge", 1.0, np.ones((4, 2))), 1.0, 1e-9)
    first.slow[2] = True
    second.restore({name: array.copy() for name, array in first.state().items()})
    assert second.slow.tolist() == first.slow.tolist()
    assert second._known.tolist() == [False, True, True, True]
    if kind is PrimalNewton:
        assert second._settled.tolist() == [True, False, False, False]
        np.testing.assert_array_equal(second._weights, first._weights)
    for name, array in first.state().items():
        np.testing.assert_array_equal(second.state()[name], array)


def test_stopping_early_leaves_a_gap_that_is_told():
    rows, signs = problem()
    descent = Descent(operator_of(rows), signs, "squared_hinge", tolerance=1e-12, max_rounds=1)
    descent.solve(1e4)
    assert (descent.gaps > 1e-12).any()
    with pytest.warns(ConvergenceWarning, match="stopped before their optimum at C=10000"):
        warn_of_gaps(descent.gaps, descent.tolerance, "C=10000")
    with pytest.warns(
        ConvergenceWarning, match=r"^2 of 4 SVMs .* class b, has a relative duality gap of 2.0e-03; 1.0e-06"
    ):
        warn_of_gaps(np.array([1e-3, 2e-3, 1e-6, 0.0]), 1e-6, "C=1", "abcd")
    with pytest.warns(ConvergenceWarning, match=r"^1 of 2 SVMs .* class number 1, has a relative duality gap of nan"):
        warn_of_gaps(np.array([0.0, np.nan]), 1e-6, "C=1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_gaps(np.zeros(4), 1e-12, "C=1")


@pytest.mark.parametrize(
    ("n", "d", "classes", "short"),
    [(200_000, 4096, 100, True), (20_000, 4096, 20, False), (900, 24, 4, True), (40, 24, 4, False)],
)
def test_short_rows_are_those_whose_square_is_worth_its_time(n, d, classes, short):
    row = np.zeros((1, d), np.float32)
    assert RowsOperator(lambda: iter([row]), n, 1.0).short_for(classes) == short
