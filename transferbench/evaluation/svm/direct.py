"""One class by itself: Newton's method with a Cholesky factor, on the matrix of the few images that matter to it.

Where no image meets or leaves its margin any more, a step lands on the optimum: five or six factors are enough.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.svm.compiled import compiled
from transferbench.evaluation.svm.newton_kernels import search_line, slope_along, within
from transferbench.types.arrays import Float64, Int64

Matrix = NDArray[np.floating[Any]]

ROUNDS = 30


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
def solve_chosen(gram, chosen, sign, ridge, refinements):
    """Solve for the coefficients of chosen images, as if none but those were within their margin."""
    s = chosen.shape[0]
    matrix = np.empty((s, s), gram.dtype)
    right = np.empty(s, np.float64)
    lost = np.empty(s, np.float64)
    for u in range(s):
        row = gram[chosen[u]]
        for v in range(s):
            matrix[u, v] = row[chosen[v]]
        own = ridge[1 if sign[chosen[u]] > 0 else 0]
        exact = np.float64(matrix[u, u]) + own
        matrix[u, u] = exact
        lost[u] = exact - np.float64(matrix[u, u])
        right[u] = sign[chosen[u]]
    return solve_refined(matrix, right, lost, refinements)


@compiled
def finish_whole(gram, sign, b, f, loss, ridge, tolerance, widest, rounds):
    """Minimise over all images, as long as at most `widest` of them are within their margin; return whether they were.

    `b` and ``f = K b`` become those of the solution; `f` is summed in float64 for every image. Where `tolerance` is
    reached, no coefficient has the wrong sign.
    """
    n = sign.shape[0]
    chosen = np.empty(min(widest, n), np.int64)
    before = np.zeros(n, np.bool_)
    step = np.empty(n, np.float64)
    gain = np.empty(n, np.float64)
    refinements = 2 if gram.itemsize == 4 else 0
    whole = False
    for _ in range(rounds):
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
        gain[:] = 0.0
        for i in range(n):
            step[i] = -b[i]
        if s > 0:
            solution = solve_chosen(gram, chosen[:s], sign, ridge, refinements)
            for u in range(s):
                value = solution[u]
                row = gram[chosen[u]]
                for i in range(n):
                    gain[i] += value * row[i]
                step[chosen[u]] += value
        for i in range(n):
            gain[i] -= f[i]
        primal, slope = slope_along(sign, b, f, loss, gain)
        # Twice the gap, were no image to meet or leave its margin.
        near = -slope <= tolerance * primal
        length = 1.0 if near else search_line(sign, b, f, loss, step, gain)
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
            # Nothing is left of a coefficient but rounding where its image is beyond the margin.
            if not before[i] or sign[i] * b[i] < 0.0:
                value = b[i]
                b[i] = 0.0
                if before[i] and value != 0.0:
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


@compiled
def solve_small(small, sign, value, score, loss, ridge, tolerance, here, rounds):
    """Minimise over the images of a small Gram matrix; `value` and `score` become those of the solution.

    `here` tells whether `score` belongs to `value`; otherwise it only says which images to begin with. Ends when the
    next step would reduce the relative gap by less than `tolerance`.
    """
    m = sign.shape[0]
    chosen = np.empty(m, np.int64)
    before = np.zeros(m, np.bool_)
    target = np.empty(m, np.float64)
    step = np.empty(m, np.float64)
    gain = np.empty(m, np.float64)
    refinements = 1 if small.itemsize == 4 else 0
    whole = False
    for number in range(rounds):
        s = 0
        same = whole
        for p in range(m):
            inside = sign[p] * score[p] < 1.0
            if inside:
                chosen[s] = p
                s += 1
            same = same and inside == before[p]
            before[p] = inside
        if same or s == 0:
            break
        solution = solve_chosen(small, chosen[:s], sign, ridge, refinements)
        target[:] = 0.0
        for u in range(s):
            target[chosen[u]] = solution[u]
        for p in range(m):
            row = small[p]
            total = 0.0
            for q in range(m):
                total += target[q] * row[q]
            gain[p] = total - score[p]
            step[p] = target[p] - value[p]
        # Scores whose coefficients are partly elsewhere are no point to search from: the first step goes all the way.
        length = 1.0
        near = False
        if number > 0 or here:
            primal, slope = slope_along(sign, value, score, loss, gain)
            # Twice the gap, were no image to meet or leave its margin.
            near = -slope <= tolerance * primal
            if not near:
                length = search_line(sign, value, score, loss, step, gain)
        for p in range(m):
            value[p] += length * step[p]
            score[p] += length * gain[p]
        if near:
            break
        whole = length == 1.0


def finish_direct(
    small_matrix: Callable[[Int64], Matrix],
    sign: NDArray[np.int8],
    b: Float64,
    f: Float64,
    constants: tuple[Float64, Float64],
    tolerance: float,
    margin: float,
    widest: int,
) -> bool:
    """Minimise the squared hinge of one class on the images that matter to it.

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
        solve_small(small_matrix(index), signs, values, scores, *constants, tolerance, here, ROUNDS)
    except np.linalg.LinAlgError:  # C is too large for this precision
        return False
    b[:] = 0
    b[index] = np.where(signs * values > 0, values, 0.0)
    return True
