"""Leading eigenpairs: against LAPACK, of operators of any rank."""

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.inverse.eigenpairs import dots, eigenpairs_of, leading, orthonormal

ALONE = MPI.COMM_SELF


def symmetric(eigenvalues: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    n = len(eigenvalues)
    vectors = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    return (vectors * eigenvalues) @ vectors.T, vectors


@pytest.mark.parametrize(
    "eigenvalues",
    [
        10.0 ** -np.arange(12.0),
        np.array([3.0, 3.0, 3.0, -1.0, 0.0, 0.0, 1e-300]),
        np.array([5.0]),
        np.zeros(4),
    ],
    ids=["graded", "repeated", "one", "zero"],
)
def test_small_matrices(eigenvalues: np.ndarray) -> None:
    matrix, _ = symmetric(eigenvalues)
    matrix = 0.5 * (matrix + matrix.T)
    values, rows = eigenpairs_of(matrix)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(values, np.sort(eigenvalues)[::-1], atol=1e-14)
    np.testing.assert_allclose(rows @ rows.T, np.eye(len(matrix)), atol=1e-14)
    np.testing.assert_allclose(rows @ matrix, values[:, None] * rows, atol=1e-14)


def test_a_basis_has_no_more_vectors_than_what_it_spans() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(6, 3)) @ rng.normal(size=(3, 50))
    basis = orthonormal(ALONE, vectors)
    assert basis.shape == (3, 50)
    np.testing.assert_allclose(dots(ALONE, basis, basis), np.eye(3), atol=1e-15)
    np.testing.assert_allclose(dots(ALONE, vectors, basis) @ basis, vectors, atol=1e-13)
    assert orthonormal(ALONE, np.zeros((2, 50))).shape == (0, 50)


@pytest.mark.parametrize("rank", [5, 40])
def test_leading_pairs(rank: int) -> None:
    eigenvalues = np.where(np.arange(40) < rank, 1e4 * 0.5 ** np.arange(40.0), 0.0)
    matrix, vectors = symmetric(eigenvalues)
    start = np.random.default_rng(3).normal(size=(14, 40))
    asked = []

    def product(given: np.ndarray) -> np.ndarray:
        asked.append(len(given))
        return given @ matrix

    found = leading(ALONE, product, start, 8, 4)
    n = min(rank, 8)
    assert asked[0] == 14
    assert len(asked) == 4
    np.testing.assert_allclose(found.values[:n], eigenvalues[:n], rtol=1e-9)
    np.testing.assert_allclose(found.values[n:], 0.0, atol=1e-9)
    np.testing.assert_allclose(np.abs(found.vectors[:n] @ vectors)[:, :n], np.eye(n), atol=1e-4)
    residuals = np.linalg.norm(
        found.vectors @ matrix - found.values[:, None] * found.vectors, axis=1
    )
    np.testing.assert_allclose(found.residuals, residuals, atol=1e-10)
    assert (residuals < 1e-5 * eigenvalues[0]).all()
