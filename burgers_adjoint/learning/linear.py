"""Principal components of patches: the best that a linear encoder can do."""

from __future__ import annotations

import numpy as np

ENOUGH = 10_000  # samples


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
    vectors *= np.where(vectors.sum(axis=0) < 0, -1.0, 1.0)
    return vectors, np.sqrt(np.maximum(variances[::-1][:count], 0.0))
