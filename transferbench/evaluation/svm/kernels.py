"""Inner loops that both losses share: the certificate, and the Gram matrix's own moves.

Vectors of one class run over images: ``y`` int8 signs (0: image left out), ``b`` signed coefficients y a, ``f`` scores
K b. ``ridge``, ``upper`` and ``loss`` hold the constants of `Costs` for one class: index 0 negative, 1 positive. Scores
and coefficients are float64 whatever the type of the Gram matrix, so rounding does not build up over many small steps.
In modules of such loops upper-case names stand for the same arrays of several classes, the classes first; ``first`` and
``last`` bound the classes that a thread works on.
"""

import numpy as np

from transferbench.evaluation.svm.compiled import compiled

TILE = 64
"""Side of the square pieces in which a matrix is mirrored: two of them are in the nearest cache."""


@compiled
def relative_gap(y, b, f, loss, ridge, squared):
    """Return (primal - dual) / primal and the primal objective; see `Costs`."""
    square = 0.0
    linear = 0.0
    ridges = 0.0
    losses = 0.0
    for i in range(y.shape[0]):
        if y[i] == 0:
            continue
        side = 1 if y[i] > 0 else 0
        square += b[i] * f[i]
        linear += y[i] * b[i]
        ridges += ridge[side] * b[i] * b[i]
        violation = 1.0 - y[i] * f[i]
        if violation > 0.0:
            losses += loss[side] * (violation * violation if squared else violation)
    primal = 0.5 * square + losses
    return (primal - linear + 0.5 * square + 0.5 * ridges) / primal if primal > 0.0 else 0.0, primal


@compiled
def multiply(gram, vector, product):
    """Compute ``product = K vector``, summed in the type of K."""
    m = vector.shape[0]
    for i in range(m):
        row = gram[i]
        total = vector[0] * row[0]
        for j in range(1, m):
            total += vector[j] * row[j]
        product[i] = total


@compiled
def add_rows(gram, chosen, values, total):
    """Add multiples of chosen rows to `total`, in its type; four at a time, for it is read and written each time."""
    m = chosen.shape[0]
    for p in range(0, m - m % 4, 4):
        a, b, c, d = gram[chosen[p]], gram[chosen[p + 1]], gram[chosen[p + 2]], gram[chosen[p + 3]]
        x, y, z, w = values[p], values[p + 1], values[p + 2], values[p + 3]
        for j in range(total.shape[0]):
            total[j] += x * a[j] + y * b[j] + z * c[j] + w * d[j]
    for p in range(m - m % 4, m):
        row = gram[chosen[p]]
        for j in range(total.shape[0]):
            total[j] += values[p] * row[j]


@compiled
def multiply_sparse(gram, b, f):
    """Compute ``f = K b`` in the type of `f`, reading only the rows of coefficients that are not 0."""
    f[:] = 0.0
    chosen = np.flatnonzero(b)
    add_rows(gram, chosen, b[chosen], f)


@compiled
def gather(matrix, rows, columns, first, last, out):
    """Copy ``matrix[rows][:, columns]`` for rows `first` to `last` without a copy in between."""
    for i in range(first, last):
        row = matrix[rows[i]]
        for j in range(columns.shape[0]):
            out[i, j] = row[columns[j]]


@compiled
def mirror(matrix, first, last):
    """Copy what stands below the diagonal above it, tile by tile, for the columns of tile rows `first` to `last`."""
    n = matrix.shape[0]
    for tile in range(first, last):
        top = tile * TILE
        for left in range(0, top + TILE, TILE):
            for i in range(top, min(top + TILE, n)):
                for j in range(left, min(left + TILE, i)):
                    matrix[j, i] = matrix[i, j]
