"""Inner loops of Newton's method on the primal of the squared hinge; names as in `kernels`.

A direction is kept with its product with K, its *image*, so that a step of conjugate gradients costs one product for
all classes. ``hard`` is the diagonal of the loss's second derivative: 2 loss where an image is within its margin, else
0.
"""

import numpy as np

from transferbench.evaluation.svm.compiled import compiled


@compiled
def aim(y, b, f, loss, residual, hard):
    """Fill `residual` with minus the primal gradient, as coefficients; return the objective.

    The gradient is w - X'c with c = 2 loss y max(0, 1 - y f). Because c is feasible for the dual, half the gradient's
    square is the duality gap between w and c, whatever the signs of b.
    """
    square = 0.0
    losses = 0.0
    for i in range(y.shape[0]):
        rest = -b[i]
        square += b[i] * f[i]
        violation = 1.0 - y[i] * f[i]
        hard[i] = 0.0
        if y[i] != 0 and violation > 0.0:
            factor = loss[1 if y[i] > 0 else 0]
            losses += factor * violation * violation
            rest += 2.0 * factor * violation * y[i]
            hard[i] = 2.0 * factor
        residual[i] = rest
    return 0.5 * square + losses


@compiled
def go(hard, residual, search, image, step, gain, bent, square):
    """Go along `search` to the minimum of the quadratic model; fill `bent` with what is to be multiplied by K next."""
    curvature = 0.0
    for i in range(hard.shape[0]):
        bent[i] = hard[i] * image[i]
        curvature += (search[i] + bent[i]) * image[i]
    length = square / curvature if curvature > 0.0 else 0.0
    for i in range(hard.shape[0]):
        step[i] += length * search[i]
        gain[i] += length * image[i]
        residual[i] -= length * (search[i] + bent[i])
    return length


@compiled
def arrive(length, residual, residual_image, image, bent_image):
    """Follow the residual's image; return the residual's square in the norm of K."""
    square = 0.0
    for i in range(residual.shape[0]):
        residual_image[i] -= length * (image[i] + bent_image[i])
        square += residual[i] * residual_image[i]
    return square


@compiled
def slope_along(y, b, f, loss, gain):
    """Compute the primal, and its slope along a step with the image `gain`."""
    square = 0.0
    losses = 0.0
    slope = 0.0
    for i in range(y.shape[0]):
        square += b[i] * f[i]
        slope += b[i] * gain[i]
        violation = 1.0 - y[i] * f[i]
        if y[i] != 0 and violation > 0.0:
            factor = loss[1 if y[i] > 0 else 0]
            losses += factor * violation * violation
            slope -= 2.0 * factor * violation * y[i] * gain[i]
    return 0.5 * square + losses, slope


@compiled
def lowest_along(y, f, loss, gain, start, bend):
    """`search_line`, given slope and curvature of the regulariser along the step."""
    length = 1.0
    low = 0.0
    high = 1e300
    for _ in range(30):
        slope = start + length * bend
        curvature = bend
        for i in range(y.shape[0]):
            violation = 1.0 - y[i] * (f[i] + length * gain[i])
            if y[i] != 0 and violation > 0.0:
                factor = 2.0 * loss[1 if y[i] > 0 else 0]
                slope -= factor * violation * y[i] * gain[i]
                curvature += factor * gain[i] * gain[i]
        if slope > 0.0:
            high = length
        else:
            low = length
        if curvature <= 0.0:
            break
        new = length - slope / curvature
        if not low < new < high:
            new = 0.5 * (low + high) if high < 1e300 else 2.0 * length
        if abs(new - length) <= 1e-6 * length:
            return new
        length = new
    return length


@compiled
def search_line(y, b, f, loss, step, gain):
    """Find how far along a step the primal, a piecewise quadratic of one variable, has its minimum."""
    start = 0.0
    bend = 0.0
    for i in range(y.shape[0]):
        start += b[i] * gain[i]
        bend += step[i] * gain[i]
    return lowest_along(y, f, loss, gain, start, bend)


@compiled
def within(y, f, margin):
    """Count the images that are within their margin, or beyond it by less than `margin`."""
    count = 0
    for i in range(y.shape[0]):
        if y[i] != 0 and y[i] * f[i] < 1.0 + margin:
            count += 1
    return count


@compiled
def aim_classes(Y, B, F, loss, residual, hard, objective, first, last):
    """`aim` for many classes."""
    for k in range(first, last):
        objective[k] = aim(Y[k], B[k], F[k], loss[k], residual[k], hard[k])


@compiled
def go_classes(hard, residual, search, image, step, gain, bent, square, length, first, last):
    """`go` for many classes."""
    for k in range(first, last):
        length[k] = go(hard[k], residual[k], search[k], image[k], step[k], gain[k], bent[k], square[k])


@compiled
def arrive_classes(length, residual, residual_image, image, bent_image, square, first, last):
    """`arrive` for many classes."""
    for k in range(first, last):
        square[k] = arrive(length[k], residual[k], residual_image[k], image[k], bent_image[k])


@compiled
def dots(a, b, result, first, last):
    """Scalar product of every class's vectors, in float64."""
    for k in range(first, last):
        total = 0.0
        for i in range(a.shape[1]):
            total += np.float64(a[k, i]) * b[k, i]
        result[k] = total


@compiled
def turn_classes(ratio, new, new_image, search, image, first, last):
    """Choose the next conjugate direction."""
    for k in range(first, last):
        for i in range(search.shape[1]):
            search[k, i] = new[k, i] + ratio[k] * search[k, i]
            image[k, i] = new_image[k, i] + ratio[k] * image[k, i]


@compiled
def move_classes(Y, B, F, loss, step, gain, lengths, first, last):
    """Search along every class's step and go there."""
    for k in range(first, last):
        length = search_line(Y[k], B[k], F[k], loss[k], step[k], gain[k])
        lengths[k] = length
        for i in range(step.shape[1]):
            B[k, i] += length * step[k, i]
            F[k, i] += length * gain[k, i]


@compiled
def pull(y, f, loss, pulls, hard):
    """Fill ``pulls = 2 loss y max(0, 1 - y f)`` and the loss's second derivative; return the sum of losses."""
    losses = 0.0
    for i in range(y.shape[0]):
        violation = 1.0 - y[i] * f[i]
        pulls[i] = 0.0
        hard[i] = 0.0
        if y[i] != 0 and violation > 0.0:
            factor = loss[1 if y[i] > 0 else 0]
            losses += factor * violation * violation
            pulls[i] = 2.0 * factor * violation * y[i]
            hard[i] = 2.0 * factor
    return losses


@compiled
def pull_classes(Y, F, loss, classes, pulls, hard, losses, first, last):
    """`pull` for many classes: numbers of classes are places in the first three, their order is that of the others."""
    for row in range(first, last):
        k = classes[row]
        losses[row] = pull(Y[k], F[k], loss[k], pulls[row], hard[row])


@compiled
def bend_classes(hard, image, bent, bends, first, last):
    """Fill ``bent = hard image`` and its product with the image."""
    for k in range(first, last):
        total = 0.0
        for i in range(hard.shape[1]):
            bent[k, i] = hard[k, i] * image[k, i]
            total += bent[k, i] * image[k, i]
        bends[k] = total


@compiled
def add_classes(factors, vectors, places, total, first, last):
    """Add multiples of vectors to the rows of `total` at some places."""
    for k in range(first, last):
        row = total[places[k]]
        for i in range(total.shape[1]):
            row[i] += factors[k] * vectors[k, i]


@compiled
def move_scores(Y, F, loss, classes, start, bend, gain, lengths, first, last):
    """Search along every class's step and move the scores there; `classes` as for `pull_classes`."""
    for row in range(first, last):
        k = classes[row]
        lengths[row] = lowest_along(Y[k], F[k], loss[row], gain[row], start[row], bend[row])
        for i in range(gain.shape[1]):
            F[k, i] += lengths[row] * gain[row, i]


@compiled
def follow_classes(lengths, old, new, first, last):
    """Say what of the quadratic model is left at the length gone: ``new`` becomes (1 - length) old + length new."""
    for k in range(first, last):
        for i in range(new.shape[1]):
            new[k, i] = (1.0 - lengths[k]) * old[k, i] + lengths[k] * new[k, i]


@compiled
def differ_classes(hard, hard_before, residual, model, change, counts, first, last):
    """Fill `change` with the residual less that of the model, where an image has met or left its margin."""
    for k in range(first, last):
        count = 0
        for i in range(hard.shape[1]):
            change[k, i] = 0.0
            if (hard[k, i] > 0.0) != (hard_before[k, i] > 0.0):
                change[k, i] = residual[k, i] - model[k, i]
                count += 1
        counts[k] = count


@compiled
def follow_curvature(by_image, squares, weights, correction, classes, new, factor, first, last):
    """Follow changes of the weights D in ``squares = Z D Z'``, and of ``correction = (1 + factor squares)^-1 - 1``.

    Z stands by images, (n, r). A class has its place in the first three by its number, in `new` by its row.
    """
    n, rank = by_image.shape
    unit = np.eye(rank)
    index = np.empty(n, np.int64)
    for row in range(first, last):
        k = classes[row]
        count = 0
        for i in range(n):
            if new[row, i] != weights[k, i]:
                index[count] = i
                count += 1
        rows = np.empty((count, rank), by_image.dtype)
        weighted = np.empty((count, rank), by_image.dtype)
        for p in range(count):
            change = new[row, index[p]] - weights[k, index[p]]
            weights[k, index[p]] = new[row, index[p]]
            for q in range(rank):
                rows[p, q] = by_image[index[p], q]
                weighted[p, q] = change * rows[p, q]
        squares[k] += np.dot(rows.T, weighted)
        inverse = np.linalg.inv(unit + factor * squares[k].astype(np.float64))
        for p in range(rank):
            for q in range(rank):
                correction[k, p, q] = inverse[p, q] - unit[p, q]
