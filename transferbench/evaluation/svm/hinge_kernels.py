"""Inner loops of the hinge's method, `hinge`, for one class each and for several.

Vectors run over images as in `kernels`. ``a`` is the centre, coefficients that are not negative; ``sigma`` is how fast
an image within its margin gains coefficient, so ``clip(a + sigma (1 - y f), 0, upper)`` is what it should have.
"""

from transferbench.evaluation.svm.compiled import compiled

_SEARCHES = 40
# Parts of the slope at the beginning: what is left at the end of a whole step, and of one that is cut.
_ALL_THE_WAY = 0.05
_NEAR = 1e-3


@compiled
def rescale(y, b, f, upper):
    """Multiply a solution for another C by the factor that is best for the dual; the start of a warm start."""
    linear = 0.0
    curvature = 0.0
    largest = 1e300
    for i in range(y.shape[0]):
        if b[i] != 0.0:
            linear += y[i] * b[i]
            curvature += b[i] * f[i]
            largest = min(largest, upper[1 if y[i] > 0 else 0] / abs(b[i]))
    if curvature > 0.0:
        factor = min(linear / curvature, largest)
        for i in range(y.shape[0]):
            b[i] *= factor
            f[i] *= factor


@compiled
def aim(y, b, f, a, sigma, upper, free, rest, right):
    """Tell where Newton's step leads; return how many images are free, between the bounds.

    Of the others `rest` is the change of the coefficient. `right` is the right-hand side of the system for the changes
    of those that are free, were there no `rest`; 0 elsewhere.
    """
    count = 0
    for i in range(y.shape[0]):
        free[i] = False
        rest[i] = 0.0
        right[i] = 0.0
        if y[i] == 0:
            continue
        limit = upper[1 if y[i] > 0 else 0]
        wanted = a[i] + sigma * (1.0 - y[i] * f[i])
        if wanted <= 0.0:
            rest[i] = -b[i]
        elif wanted >= limit:
            rest[i] = y[i] * limit - b[i]
        else:
            right[i] = (y[i] * wanted - b[i]) / sigma
            free[i] = True
            count += 1
    return count


@compiled
def slope_at(length, y, f, a, sigma, upper, gain, start, bend):
    """Return slope and curvature of the centred objective at a length along a step.

    `start` and `bend` are slope and curvature of the regulariser at its beginning.
    """
    slope = start + length * bend
    curvature = bend
    for i in range(y.shape[0]):
        if y[i] != 0:
            limit = upper[1 if y[i] > 0 else 0]
            wanted = a[i] + sigma * (1.0 - y[i] * (f[i] + length * gain[i]))
            slope -= y[i] * gain[i] * min(max(wanted, 0.0), limit)
            if 0.0 < wanted < limit:
                curvature += sigma * gain[i] * gain[i]
    return slope, curvature


@compiled
def search(y, b, f, a, sigma, upper, step, gain):
    """Find how far along a step, at most all the way, the centred objective has its minimum."""
    start = 0.0
    bend = 0.0
    for i in range(y.shape[0]):
        start += b[i] * gain[i]
        bend += step[i] * gain[i]
    steepest = -slope_at(0.0, y, f, a, sigma, upper, gain, start, bend)[0]
    slope, curvature = slope_at(1.0, y, f, a, sigma, upper, gain, start, bend)
    if slope <= _ALL_THE_WAY * steepest or steepest <= 0.0:
        return 1.0
    low, high, length = 0.0, 1.0, 1.0
    for _ in range(_SEARCHES):
        new = length - slope / curvature if curvature > 0.0 else low
        length = new if low < new < high else 0.5 * (low + high)
        slope, curvature = slope_at(length, y, f, a, sigma, upper, gain, start, bend)
        if abs(slope) <= _NEAR * steepest:
            break
        if slope > 0.0:
            high = length
        else:
            low = length
    return length


@compiled
def arrive(y, f, a, sigma, upper):
    """Make what every image should have its coefficient the centre."""
    for i in range(y.shape[0]):
        if y[i] != 0:
            a[i] = min(max(a[i] + sigma * (1.0 - y[i] * f[i]), 0.0), upper[1 if y[i] > 0 else 0])


@compiled
def conjugate(free, ridge, residual, search, product, step, square):
    """Make one step of conjugate gradients, given ``product = K search``; return the residual's new square, or -1.

    The system is that of the free images, K with `ridge` on its diagonal: `search` and `residual` are 0 elsewhere.
    `step` is the solution so far. -1: there is no curvature in this direction.
    """
    n = free.shape[0]
    curvature = 0.0
    for i in range(n):
        if free[i]:
            curvature += search[i] * (product[i] + ridge * search[i])
    if curvature <= 1e-30:
        return -1.0
    length = square / curvature
    new = 0.0
    for i in range(n):
        if free[i]:
            step[i] += length * search[i]
            residual[i] -= length * (product[i] + ridge * search[i])
            new += residual[i] * residual[i]
    ratio = new / square
    for i in range(n):
        if free[i]:
            search[i] = residual[i] + ratio * search[i]
    return new


@compiled
def aim_classes(Y, B, F, A, sigma, upper, free, rest, right, counts, first, last):
    """`aim` for many classes."""
    for k in range(first, last):
        counts[k] = aim(Y[k], B[k], F[k], A[k], sigma[k], upper[k], free[k], rest[k], right[k])


@compiled
def search_classes(Y, B, F, A, sigma, upper, step, gain, lengths, first, last):
    """`search` for many classes, and the step."""
    for k in range(first, last):
        length = search(Y[k], B[k], F[k], A[k], sigma[k], upper[k], step[k], gain[k])
        for i in range(Y.shape[1]):
            B[k, i] += length * step[k, i]
            F[k, i] += length * gain[k, i]
        lengths[k] = length


@compiled
def arrive_classes(Y, F, A, sigma, upper, arrived, first, last):
    """`arrive` for chosen classes."""
    for k in range(first, last):
        if arrived[k]:
            arrive(Y[k], F[k], A[k], sigma[k], upper[k])


@compiled
def conjugate_classes(free, ridge, residual, search, product, step, square, first, last):
    """`conjugate` for many classes; one that has ended (square <= 0) stays as it is."""
    for k in range(first, last):
        if square[k] > 0.0:
            square[k] = conjugate(free[k], ridge[k], residual[k], search[k], product[k], step[k], square[k])
        if square[k] <= 0.0:
            search[k, :] = 0.0
