"""Leading eigenpairs of a symmetric operator on vectors that lie over the ranks."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from burgers_adjoint.parallel.agreement import Comm
from burgers_adjoint.parallel.reductions import bin_sums, rounded_sums

LOST = 1e-12  # share of a vector that is round-off, once what others have of it is taken away
SWEEPS = 40  # of rotations at most; ten are many


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues, the largest first, with their eigenvectors.

    Attributes:
        values: (n_pairs,).
        vectors: orthonormal, (n_pairs, size) of this rank.
        residuals: norms of A v - value v, (n_pairs,).
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


def leading(
    comm: Comm,
    product: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    n_pairs: int,
    passes: int,
) -> Eigenpairs:
    """Leading eigenpairs by randomised subspace iteration. Collective.

    All but the last pass turn a basis towards the leading eigenvectors; those of the operator in
    the basis are the result (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.3). All that
    vectors have in common with each other is summed exactly, and each rank combines its share of
    them in the same order: the bits do not depend on the number of ranks.

    Args:
        comm: the ranks.
        product: a symmetric operator times some vectors, (n, size) of this rank.
        start: random vectors, (n, size) of this rank; more than n_pairs make the pairs better.
        n_pairs: how many are wanted; there are fewer where the operator has a lower rank.
        passes: products with a whole basis, at least 2.
    """
    basis = orthonormal(comm, start)
    for _ in range(passes - 1):
        basis = orthonormal(comm, product(basis))
    images = product(basis)
    within = dots(comm, basis, images)
    values, rotation = eigenpairs_of(0.5 * (within + within.T))
    values, rotation = values[:n_pairs], rotation[:n_pairs]
    vectors = combined(rotation, basis)
    apart = combined(rotation, images)
    for value, vector, residual in zip(values, vectors, apart, strict=True):
        residual -= value * vector
    return Eigenpairs(values, vectors, np.array([norm_of(comm, one) for one in apart]))


def dots(comm: Comm, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Scalar products of all pairs, (n, m), each exact and rounded once. Collective."""
    if not len(left) or not len(right):
        return np.zeros((len(left), len(right)))
    bins = np.stack([bin_sums(one * other) for one in left for other in right])
    return np.array(rounded_sums(comm, bins)).reshape(len(left), len(right))


def norm_of(comm: Comm, vector: np.ndarray) -> float:
    """Euclidean norm. Collective."""
    return math.sqrt(dots(comm, vector[None], vector[None])[0, 0])


def combined(weights: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Sums of weighted vectors, (n, size) for weights (n, m), added in their order.

    BLAS would add them in another order on a rank that has more of them.
    """
    found = np.zeros((len(weights), vectors.shape[1]))
    for total, row in zip(found, weights, strict=True):
        for weight, vector in zip(row, vectors, strict=True):
            total += weight * vector
    return found


def orthonormal(comm: Comm, vectors: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what vectors span, (rank, size), by Gram and Schmidt. Collective.

    What others have of a vector is taken away twice, which is enough (Parlett 1998, section 6.9).
    """
    basis: list[np.ndarray] = []
    for given in vectors:
        vector, length = given.copy(), norm_of(comm, given)
        for _ in range(2 if basis else 0):
            taken = dots(comm, np.stack(basis), vector[None])[:, 0]
            vector -= combined(taken[None], np.stack(basis))[0]
        left = norm_of(comm, vector)
        if left > LOST * length:
            basis.append(vector / left)
    return np.stack(basis) if basis else np.zeros((0, vectors.shape[1]))


def eigenpairs_of(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of a small symmetric matrix, the largest first, and eigenvectors as rows.

    Cyclic rotations of Jacobi (Golub and Van Loan 2013, section 8.5): LAPACK's bits depend on its
    threads, and these on how the launcher places the ranks.
    """
    a, n = matrix.copy(), len(matrix)
    rows = np.eye(n)
    for _ in range(SWEEPS):
        if not _rotate_all(a, rows, n):
            break
    order = np.argsort(-np.diag(a), kind="stable")
    return np.diag(a)[order], rows[order]


def _rotate_all(a: np.ndarray, rows: np.ndarray, n: int) -> bool:
    """Make each element beside the diagonal zero once; whether there was any to be rotated."""
    rotated = False
    for p in range(n - 1):
        for q in range(p + 1, n):
            if abs(a[p, q]) <= 1e-17 * math.sqrt(abs(a[p, p] * a[q, q])) or not a[p, q]:
                continue
            rotated = True
            theta = 0.5 * float(a[q, q] - a[p, p]) / float(a[p, q])
            t = math.copysign(1.0 / (abs(theta) + math.hypot(theta, 1.0)), theta)
            c = 1.0 / math.sqrt(t * t + 1.0)
            for turned in (a, a.T, rows):
                _rotate(turned, p, q, c, t * c)
            a[p, q] = a[q, p] = 0.0
    return rotated


def _rotate(rows: np.ndarray, p: int, q: int, c: float, s: float) -> None:
    first, second = rows[p].copy(), rows[q].copy()
    rows[p] = c * first - s * second
    rows[q] = s * first + c * second
