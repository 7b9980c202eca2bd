"""One class by itself: Newton's method with a Cholesky factor, on the matrix of the few images that matter to it.

Where no image meets or leaves its margin any more, a step lands on the optimum: five or six factors are enough.
"""

import numpy as np

from transferbench.evaluation.svm.compiled import compiled
from transferbench.evaluation.svm.newton_kernels import search_line, slope_along, within

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
def solve_refined(matrix, right, refinements):
    """Solve a positive definite system in the matrix's type; residuals, and so the solution, are in float64."""
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
            residual[i] = right[i] - total
        factor_solve(factor, residual)
        for i in range(n):
            solution[i] += residual[i]
    return solution


@compiled
def finish_direct(gram, y, b, f, loss, ridge, tolerance, margin, widest, rounds):
    """Minimise over the images within their margin, or not far beyond it; return how many they are, or -1.

    -1: more than `widest` within it, and nothing is done. Otherwise `b` is the solution, 0 for the other images and
    nowhere of the wrong sign; `f` is what it was, and only told which images to begin with. Ends when the
    next step would reduce the relative gap by less than `tolerance`.
    """
    n = y.shape[0]
    index = np.empty(n, np.int64)
    if within(y, f, 0.0) > widest:
        return -1
    while within(y, f, margin) > 2 * widest:
        margin *= 0.5
    m = 0
    for i in range(n):
        if y[i] != 0 and y[i] * f[i] < 1.0 + margin:
            index[m] = i
            m += 1
    small = np.empty((m, m), gram.dtype)
    sign = np.empty(m, np.int8)
    value = np.empty(m, np.float64)
    score = np.empty(m, np.float64)
    for p in range(m):
        row = gram[index[p]]
        for q in range(m):
            small[p, q] = row[index[q]]
        sign[p] = y[index[p]]
        value[p] = b[index[p]]
        score[p] = f[index[p]]
    here = np.count_nonzero(b) == np.count_nonzero(value)
    chosen = np.empty(m, np.int64)
    before = np.zeros(m, np.bool_)
    target = np.empty(m, np.float64)
    step = np.empty(m, np.float64)
    gain = np.empty(m, np.float64)
    refinements = 1 if gram.itemsize == 4 else 0
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
        matrix = np.empty((s, s), gram.dtype)
        right = np.empty(s, np.float64)
        for u in range(s):
            row = small[chosen[u]]
            for v in range(s):
                matrix[u, v] = row[chosen[v]]
            matrix[u, u] += ridge[1 if sign[chosen[u]] > 0 else 0]
            right[u] = sign[chosen[u]]
        solution = solve_refined(matrix, right, refinements)
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
    b[:] = 0.0
    for p in range(m):
        if sign[p] * value[p] > 0.0:
            b[index[p]] = value[p]
    return m
