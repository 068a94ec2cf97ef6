"""Principal components of patches: the best that a linear encoder can do."""

from __future__ import annotations

import numpy as np

from burgers_adjoint.snapshots.codecs.learned import Autoencoder, levels

ENOUGH = 10_000  # samples
ENOUGH_TO_COMPARE = 2_000
SHARES = (16, 8, 4, 2)  # there are so many times fewer wide latents than bytes
LEAST = 1e-8  # of the largest component: smaller ones are round-off


def linear(
    samples: np.ndarray, n_bytes: int, patch: int, equation: str, fields: tuple[str, ...]
) -> Autoencoder:
    """The autoencoder whose latents are principal components, each over its root mean square.

    The first ones hold means and slopes, for which a byte is too coarse; how many have 2 bytes is
    what is best for the samples: of smooth states more, of steep ones fewer.

    Args:
        samples: (n_samples, fields patch^2).
        n_bytes: of a patch's code.
        patch, equation, fields: see `Autoencoder`.
    """
    components, sizes = principal_components(samples, n_bytes - 1)
    sizes = np.maximum(sizes, LEAST * sizes[0] or 1.0)
    some = samples[:: max(1, len(samples) // ENOUGH_TO_COMPARE)]
    found = []
    for n_wide in sorted({max(1, n_bytes // share) for share in SHARES}):
        n_latents = n_bytes - n_wide
        analysis, synthesis = (
            np.ascontiguousarray(matrix[:, :n_latents], np.float32)
            for matrix in (components / sizes, components * sizes)
        )
        latents = some @ analysis
        steps = np.maximum(np.abs(latents).max(axis=0), LEAST) / levels(n_wide, n_latents)
        error = np.square(np.rint(latents / steps) * steps @ synthesis.T - some).mean()
        one = Autoencoder("linear", equation, fields, patch, n_wide, analysis, synthesis.T.copy())
        found.append((error, n_wide, one))
    return min(found)[-1]


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
