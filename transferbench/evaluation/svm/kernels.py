"""Inner loops of the descent: steps on one class's coefficients, the class finished in cache, and the Gram's own moves.

Vectors of one class run over images: ``y`` int8 signs (0: image left out), ``b`` signed coefficients y a, ``f`` scores
K b. ``ridge``, ``upper`` and ``loss`` hold the constants of `Costs` for one class: index 0 negative, 1 positive. Scores
and coefficients are float64 whatever the type of the Gram matrix, so rounding does not build up over many small steps.
Upper-case names stand for the same arrays of several classes, the classes first; ``first`` and ``last`` bound the
classes that a thread works on.
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
def rescale(y, b, f, ridge, upper):
    """Multiply a solution for another C by the factor that is best for the dual; the start of a warm start."""
    linear = 0.0
    curvature = 0.0
    largest = 1e300
    for i in range(y.shape[0]):
        if b[i] != 0.0:
            side = 1 if y[i] > 0 else 0
            linear += y[i] * b[i]
            curvature += b[i] * (f[i] + ridge[side] * b[i])
            largest = min(largest, upper[side] / abs(b[i]))
    if curvature > 0.0:
        factor = min(linear / curvature, largest)
        for i in range(y.shape[0]):
            b[i] *= factor
            f[i] *= factor


@compiled
def sweep(gram, first, y, b, f, ridge, upper):
    """Minimise over each coefficient in turn, once; return how many moved.

    `gram` is a block of rows whose image i stands in column ``first + i``; all vectors belong to the block's images.
    """
    n = y.shape[0]
    moved = 0
    for i in range(n):
        if y[i] == 0:
            continue
        side = 1 if y[i] > 0 else 0
        a = y[i] * b[i]
        curvature = gram[i, first + i] + ridge[side]
        if curvature <= 0.0:
            continue
        new = min(max(a - (y[i] * f[i] - 1.0 + ridge[side] * a) / curvature, 0.0), upper[side])
        if new != a:
            step = y[i] * (new - a)
            b[i] = y[i] * new
            row = gram[i, first : first + n]
            factor = gram.dtype.type(step)
            for j in range(n):
                f[j] += factor * row[j]
            moved += 1
    return moved


@compiled
def aim(y, b, f, ridge, upper, residual, search, step, gain):
    """Begin conjugate gradients on the coefficients that are free to move; return the residual's square.

    Not free are those at a bound that the gradient pushes against. `search` is 0 for them from here on.
    """
    square = 0.0
    for i in range(y.shape[0]):
        step[i] = 0.0
        gain[i] = 0.0
        residual[i] = 0.0
        if y[i] != 0:
            side = 1 if y[i] > 0 else 0
            a = y[i] * b[i]
            slope = y[i] * f[i] - 1.0 + ridge[side] * a
            if not ((a <= 0.0 and slope >= 0.0) or (a >= upper[side] and slope <= 0.0)):
                residual[i] = -y[i] * slope
        search[i] = residual[i]
        square += residual[i] * residual[i]
    return square


@compiled
def conjugate(y, ridge, residual, search, product, step, gain, square):
    """Make one step of conjugate gradients, given ``product = K search``; return the residual's new square, or -1.

    `step` is the change of b so far and `gain` = K step that of f. -1: the matrix is singular in this direction.
    """
    n = y.shape[0]
    curvature = 0.0
    for i in range(n):
        if search[i] != 0.0:
            curvature += search[i] * (product[i] + ridge[1 if y[i] > 0 else 0] * search[i])
    if curvature <= 1e-30:
        return -1.0
    length = square / curvature
    new = 0.0
    for i in range(n):
        gain[i] += length * product[i]
        if search[i] != 0.0 or residual[i] != 0.0:
            step[i] += length * search[i]
            residual[i] -= length * (product[i] + ridge[1 if y[i] > 0 else 0] * search[i])
            new += residual[i] * residual[i]
    ratio = new / square
    for i in range(n):
        if residual[i] != 0.0 or search[i] != 0.0:
            search[i] = residual[i] + ratio * search[i]
    return new


@compiled
def clip(y, b, upper, step, correction):
    """Shorten a step where it leaves the bounds, by `correction`; return how many coefficients that concerns."""
    clipped = 0
    for i in range(y.shape[0]):
        correction[i] = 0.0
        if step[i] != 0.0:
            side = 1 if y[i] > 0 else 0
            a = y[i] * (b[i] + step[i])
            inside = min(max(a, 0.0), upper[side])
            if inside != a:
                correction[i] = y[i] * (inside - a)
                step[i] += y[i] * (inside - a)
                clipped += 1
    return clipped


@compiled
def move(y, b, f, ridge, upper, step, gain):
    """Go along a step as far as the dual improves, at most all the way."""
    slope = 0.0
    curvature = 0.0
    for i in range(y.shape[0]):
        if step[i] != 0.0:
            side = 1 if y[i] > 0 else 0
            slope += step[i] * (f[i] - y[i] + ridge[side] * b[i])
            curvature += step[i] * (gain[i] + ridge[side] * step[i])
    if slope >= 0.0:
        return
    length = min(1.0, -slope / curvature) if curvature > 0.0 else 1.0
    for i in range(y.shape[0]):
        f[i] += length * gain[i]
        if step[i] != 0.0:
            side = 1 if y[i] > 0 else 0
            b[i] = y[i] * min(max(y[i] * (b[i] + length * step[i]), 0.0), upper[side])


@compiled
def candidates(y, b, f, upper, margin, index):
    """List the images whose coefficient may still move in `index`; return how many.

    Left out are those at a bound with their margin more than `margin` on the right side of 1.
    """
    m = 0
    for i in range(y.shape[0]):
        if y[i] == 0:
            continue
        slope = y[i] * f[i] - 1.0
        a = y[i] * b[i]
        if (a > 0.0 or slope < margin) and (a < upper[1 if y[i] > 0 else 0] or slope > -margin):
            index[m] = i
            m += 1
    return m


@compiled
def width(y, b, f, upper, margin):
    """Count the images that matter: not beyond their margin by more than `margin`, nor held at an upper bound."""
    count = 0
    for i in range(y.shape[0]):
        if y[i] != 0:
            slope = y[i] * f[i] - 1.0
            if slope < margin and (y[i] * b[i] < upper[1 if y[i] > 0 else 0] or slope > -margin):
                count += 1
    return count


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
def _finish_small(gram, y, b, f, loss, ridge, upper, squared, target, rounds):
    """Solve for a few images whose Gram matrix stays in cache: sweeps find the bounds, conjugate gradients the rest."""
    m = y.shape[0]
    search = np.empty(m, gram.dtype)
    product = np.empty(m, gram.dtype)
    residual = np.empty(m, np.float64)
    step = np.empty(m, np.float64)
    gain = np.empty(m, np.float64)
    for _ in range(rounds):
        for _ in range(3):
            if sweep(gram, 0, y, b, f, ridge, upper) == 0:
                break
        # The gap within these images alone: outside them nothing moves.
        gap = 0.0
        for i in range(m):
            side = 1 if y[i] > 0 else 0
            violation = 1.0 - y[i] * f[i]
            a = y[i] * b[i]
            gap += a * (0.5 * ridge[side] * a - violation)
            if violation > 0.0:
                gap += loss[side] * (violation * violation if squared else violation)
        if gap <= target:
            return
        square = aim(y, b, f, ridge, upper, residual, search, step, gain)
        if square == 0.0:
            return
        enough = 0.09 * square
        for _ in range(20):
            multiply(gram, search, product)
            square = conjugate(y, ridge, residual, search, product, step, gain, square)
            if square <= enough:
                break
        if clip(y, b, upper, step, search):
            for i in range(m):
                if search[i] != 0.0:
                    row = gram[i]
                    for j in range(m):
                        gain[j] += search[i] * row[j]
        move(y, b, f, ridge, upper, step, gain)


@compiled
def finish(gram, y, b, f, loss, ridge, upper, squared, tolerance, margin, widest, rounds):
    """Solve for one class, gathering the Gram matrix of the images that matter; return the relative gap reached.

    Stops early when more than `widest` images matter. `f` must be exact; it is again on return, for every image.
    """
    n = y.shape[0]
    index = np.empty(n, np.int64)
    gap, primal = relative_gap(y, b, f, loss, ridge, squared)
    for _ in range(rounds):
        if gap <= tolerance:
            break
        m = candidates(y, b, f, upper, margin, index)
        if m > widest or m == 0:
            break
        small = np.empty((m, m), gram.dtype)
        small_y = np.empty(m, np.int8)
        small_b = np.empty(m, np.float64)
        small_f = np.empty(m, np.float64)
        for p in range(m):
            row = gram[index[p]]
            for q in range(m):
                small[p, q] = row[index[q]]
            small_y[p] = y[index[p]]
            small_b[p] = b[index[p]]
            small_f[p] = f[index[p]]
        _finish_small(small, small_y, small_b, small_f, loss, ridge, upper, squared, 0.3 * tolerance * primal, 6)
        for p in range(m):
            change = small_b[p] - b[index[p]]
            if change != 0.0:
                b[index[p]] = small_b[p]
                row = gram[index[p]]
                for j in range(n):
                    f[j] += change * row[j]
        gap, primal = relative_gap(y, b, f, loss, ridge, squared)
    return gap


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
def sweep_classes(gram, column, start, Y, B, F, ridge, upper, sweeps, first, last, change):
    """Sweep over a block of images, `start` and up, for classes `first` to `last`.

    `gram` holds the block's rows, the block itself beginning at `column`. The coefficients move, and `change` tells by
    how much; the scores are left to the caller, who changes those of all images with one matrix product.
    """
    m = gram.shape[0]
    f = np.empty(m, np.float64)
    before = np.empty(m, np.float64)
    for k in range(first, last):
        y = Y[k][start : start + m]
        b = B[k][start : start + m]
        f[:] = F[k][start : start + m]
        before[:] = b
        for _ in range(sweeps):
            if sweep(gram, column, y, b, f, ridge[k], upper[k]) == 0:
                break
        for i in range(m):
            change[k, i] = b[i] - before[i]


@compiled
def aim_classes(Y, B, F, ridge, upper, residual, search, step, gain, square, first, last):
    """`aim` for many classes."""
    for k in range(first, last):
        square[k] = aim(Y[k], B[k], F[k], ridge[k], upper[k], residual[k], search[k], step[k], gain[k])


@compiled
def conjugate_classes(Y, ridge, residual, search, product, step, gain, square, first, last):
    """`conjugate` for many classes; one that has ended (square <= 0) stays as it is."""
    for k in range(first, last):
        if square[k] > 0.0:
            square[k] = conjugate(Y[k], ridge[k], residual[k], search[k], product[k], step[k], gain[k], square[k])
        if square[k] <= 0.0:
            search[k, :] = 0.0


@compiled
def clip_classes(Y, B, upper, step, correction, clipped, first, last):
    """`clip` for many classes."""
    for k in range(first, last):
        clipped[k] = clip(Y[k], B[k], upper[k], step[k], correction[k])


@compiled
def move_classes(Y, B, F, ridge, upper, step, gain, first, last):
    """`move` for many classes."""
    for k in range(first, last):
        move(Y[k], B[k], F[k], ridge[k], upper[k], step[k], gain[k])


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
