"""Principal components of patches: the best that a linear encoder can do."""

from __future__ import annotations

import numpy as np

from burgers_adjoint.snapshots.codecs.learned import Autoencoder, latent_counts

ENOUGH = 10_000  # samples
LEAST = 1e-8  # of the largest component: smaller ones are round-off


def linear(
    samples: np.ndarray, n_bytes: int, patch: int, equation: str, fields: tuple[str, ...]
) -> Autoencoder:
    """The autoencoder whose latents are principal components, each over its root mean square.

    Args:
        samples: (n_samples, fields patch^2).
        n_bytes: of a patch's code.
        patch, equation, fields: see `Autoencoder`.
    """
    n_wide, n_narrow = latent_counts(n_bytes)
    components, sizes = principal_components(samples, n_wide + n_narrow)
    sizes = np.maximum(sizes, LEAST * sizes[0] or 1.0)
    analysis, synthesis = (
        np.ascontiguousarray(matrix, np.float32)
        for matrix in (components / sizes, (components * sizes).T)
    )
    return Autoencoder("linear", equation, fields, patch, n_wide, analysis, synthesis)


def principal_components(samples: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Those about zero, so that what is scaled alike is encoded alike.

    Args:
        samples: (n_samples, n_values).
        count: of components, at most n_values.

    Returns:
        Orthonormal columns (n_values, count), the most important one first, and the samples' root
        mean squares along them (count,); float64.
    """
    samples = samples[:: max(1, len(samples) // ENOUGH)].astype(np.float64)
    covariance = samples.T @ samples / len(samples)
    variances, vectors = np.linalg.eigh(covariance)
    vectors = vectors[:, ::-1][:, :count]
    # eigenvectors have no sign of their own
    vectors = vectors * np.where(vectors.sum(axis=0) < 0, -1.0, 1.0)
    return vectors, np.sqrt(np.maximum(variances[::-1][:count], 0.0))
