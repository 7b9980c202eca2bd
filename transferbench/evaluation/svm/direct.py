"""One class by itself: Newton's method on the matrix of the few images that matter to it.

Each step solves the dual system of the images within their margin: where no image meets or leaves its margin any more,
it lands on the optimum, after three to six steps. On unit rows the dual system is well conditioned, and a matrix of a
few hundred images stays in cache, so conjugate gradients take a third of a Cholesky factor's time; the factor remains
for those that are not. The solution must be good: one that is rough in the dual's norm need not descend in the primal.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.svm.compiled import compiled
from transferbench.evaluation.svm.kernels import add_rows, gather, multiply
from transferbench.evaluation.svm.newton_kernels import search_line, slope_along, within
from transferbench.types.arrays import Float64, Int64

Matrix = NDArray[np.floating[Any]]

_ROUNDS = 100
_RESTARTS = 4
# C times a residual's square, about what it adds to the gap, may be this part of the gap allowed: a coefficient is what
# is left of 1 - y f over a small number, and must not have the wrong sign.
_SHARE = 1e-4


@compiled
def factor_solve(factor, vector):
    """Solve L L' x = vector in place; L stands by columns."""
    n = vector.shape[0]
    for j in range(n):
        column = factor[:, j]
        vector[j] /= column[j]
        value = vector[j]
        for i in range(j + 1, n):
            vector[i] -= value * column[i]
    for j in range(n - 1, -1, -1):
        column = factor[:, j]
        total = 0.0
        for i in range(j + 1, n):
            total += column[i] * vector[i]
        vector[j] = (vector[j] - total) / column[j]


@compiled
def solve_refined(matrix, right, lost, refinements):
    """Solve a positive definite system in the matrix's type; residuals, and so the solution, are in float64.

    `lost` is what rounding took from the diagonal.
    """
    n = right.shape[0]
    factor = np.linalg.cholesky(matrix)
    solution = right.copy()
    factor_solve(factor, solution)
    residual = np.empty(n, np.float64)
    for _ in range(refinements):
        for i in range(n):
            row = matrix[i]
            total = 0.0
            for j in range(n):
                total += row[j] * solution[j]
            residual[i] = right[i] - total - lost[i] * solution[i]
        factor_solve(factor, residual)
        for i in range(n):
            solution[i] += residual[i]
    return solution


@compiled
def solve_conjugate(matrix, own, right, solution, enough, steps):
    """Go by conjugate gradients from `solution` to where the residual's square is at most `enough`.

    The system is `matrix` with `own` added to its diagonal. Return whether that was reached in so many steps.
    """
    n = right.shape[0]
    search = np.empty(n, matrix.dtype)
    product = np.empty(n, matrix.dtype)
    residual = np.empty(n, np.float64)
    taken = 0
    for _ in range(_RESTARTS):
        # Followed from step to step, the residual gathers rounding: it is computed anew before it is believed.
        square = 0.0
        for i in range(n):
            row = matrix[i]
            total = right[i] - own[i] * solution[i]
            for j in range(n):
                total -= row[j] * solution[j]
            residual[i] = total
            search[i] = total
            square += total * total
        if square <= enough:
            return True
        while square > enough:
            if taken == steps:
                return False
            taken += 1
            multiply(matrix, search, product)
            curvature = 0.0
            for i in range(n):
                curvature += search[i] * (np.float64(product[i]) + own[i] * search[i])
            if curvature <= 0.0:
                return False
            length = square / curvature
            new = 0.0
            for i in range(n):
                solution[i] += length * search[i]
                residual[i] -= length * (product[i] + own[i] * search[i])
                new += residual[i] * residual[i]
            ratio = new / square
            for i in range(n):
                search[i] = residual[i] + ratio * search[i]
            square = new
    return False


@compiled
def solve_system(matrix, own, right, start, enough, stiff, refinements):
    """Solve the system of `matrix` with `own` added to its diagonal, beginning at `start`; both are changed.

    `enough` is the residual's square to stop at. Where conjugate gradients are slow, or `stiff` tells that they were,
    by a Cholesky factor. Return the solution, and whether it was the factor.
    """
    s = right.shape[0]
    # A factor takes as long as about s / 9 steps.
    if not stiff and solve_conjugate(matrix, own, right, start, enough, 20 + s // 8):
        return start, False
    for u in range(s):
        exact = np.float64(matrix[u, u]) + own[u]
        matrix[u, u] = exact
        own[u] = exact - np.float64(matrix[u, u])
    return solve_refined(matrix, right, own, refinements), True


@compiled
def solve_chosen(gram, chosen, sign, ridge, start, enough, stiff, refinements):
    """Solve for the coefficients of chosen images, as if none but those were within their margin; see `solve_system`.

    `start` holds coefficients of all images to begin with.
    """
    s = chosen.shape[0]
    matrix = np.empty((s, s), gram.dtype)
    right = np.empty(s, np.float64)
    own = np.empty(s, np.float64)
    solution = np.empty(s, np.float64)
    gather(gram, chosen, chosen, 0, s, matrix)
    for u in range(s):
        right[u] = sign[chosen[u]]
        own[u] = ridge[1 if sign[chosen[u]] > 0 else 0]
        solution[u] = start[chosen[u]]
    return solve_system(matrix, own, right, solution, enough, stiff, refinements)


@compiled
def minimise(gram, sign, b, f, loss, ridge, tolerance, widest, here):
    """Minimise over all images of a matrix; return False if more than `widest` of them come to be within their margin.

    `b` and ``f = K b`` become those of the solution; `f` is summed in float64. Where `tolerance` is reached, no
    coefficient has the wrong sign. `here` tells whether `f` belongs to `b`; otherwise it only says which images to
    begin with.
    """
    n = sign.shape[0]
    chosen = np.empty(min(widest, n), np.int64)
    before = np.zeros(n, np.bool_)
    step = np.empty(n, np.float64)
    gain = np.zeros(n, np.float64)
    refinements = 2 if gram.itemsize == 4 else 0
    whole = stiff = False
    for number in range(_ROUNDS):
        s = 0
        same = whole
        for i in range(n):
            inside = sign[i] != 0 and sign[i] * f[i] < 1.0
            if inside:
                if s == chosen.shape[0]:
                    return False
                chosen[s] = i
                s += 1
            same = same and inside == before[i]
            before[i] = inside
        if same:
            break
        primal, _ = slope_along(sign, b, f, loss, gain)
        for i in range(n):
            step[i] = -b[i]
            gain[i] = -f[i]
        if s > 0:
            enough = _SHARE * tolerance * primal / max(loss[0], loss[1])
            solution, stiff = solve_chosen(gram, chosen[:s], sign, ridge, b, enough, stiff, refinements)
            add_rows(gram, chosen[:s], solution, gain)
            for u in range(s):
                step[chosen[u]] += solution[u]
        # Scores whose coefficients are partly elsewhere are no point to search from: the first step goes all the way.
        length = 1.0
        near = False
        if here or number > 0:
            primal, slope = slope_along(sign, b, f, loss, gain)
            # Twice the gap, were no image to meet or leave its margin.
            near = -slope <= tolerance * primal
            if not near:
                length = search_line(sign, b, f, loss, step, gain)
        whole = abs(length - 1.0) < 1e-4
        if whole:
            length = 1.0
        for i in range(n):
            b[i] += length * step[i]
            f[i] += length * gain[i]
        if near:
            break
    if whole:
        for i in range(n):
            # Of images right at their margin rounding may leave a coefficient of the wrong sign.
            if sign[i] * b[i] < 0.0:
                value = b[i]
                b[i] = 0.0
                row = gram[i]
                for j in range(n):
                    f[j] -= value * row[j]
    return True


@compiled
def near_margin(y, f, margin, widest):
    """List the images within their margin, or beyond it by less than `margin`; if they are too many, only the nearest.

    Empty where more than `widest` are within it.
    """
    if within(y, f, 0.0) > widest:
        return np.empty(0, np.int64)
    while within(y, f, margin) > 2 * widest:
        margin *= 0.5
    index = np.empty(y.shape[0], np.int64)
    m = 0
    for i in range(y.shape[0]):
        if y[i] != 0 and y[i] * f[i] < 1.0 + margin:
            index[m] = i
            m += 1
    return index[:m]


def finish_near(
    small_matrix: Callable[[Int64], Matrix],
    sign: NDArray[np.int8],
    b: Float64,
    f: Float64,
    constants: tuple[Float64, Float64],
    tolerance: float,
    margin: float,
    widest: int,
) -> bool:
    """Minimise the squared hinge of one class on the images within their margin, or beyond it by little.

    Parameters
    ----------
    small_matrix : callable
        Gives the Gram matrix of chosen images.
    sign : ndarray of shape (n,), int8
        +1, -1, or 0 where an image is left out.
    b : ndarray of shape (n,), float64
        Becomes the solution: 0 for images that do not matter, and nowhere of the wrong sign.
    f : ndarray of shape (n,), float64
        Scores, which say what images matter; not changed.
    constants : tuple of two ndarrays of shape (2,)
        `Costs.loss` and `Costs.ridge` of the class.
    tolerance : float
        Relative duality gap.
    margin : float
        Images beyond their margin by less than this take part.
    widest : int
        If more images than this are within their margin, nothing is done.

    Returns
    -------
    bool
        Whether something was done. Not so either where the matrix is not positive definite in its precision.
    """
    index = near_margin(sign, f, margin, widest)
    if not len(index):
        return False
    values, scores = b[index], f[index]
    here = np.count_nonzero(b) == np.count_nonzero(values)
    signs = sign[index]
    try:
        minimise(small_matrix(index), signs, values, scores, *constants, tolerance, len(index), here)
    except np.linalg.LinAlgError:  # C is too large for this precision
        return False
    b[:] = 0
    b[index] = np.where(signs * values > 0, values, 0.0)
    return True
