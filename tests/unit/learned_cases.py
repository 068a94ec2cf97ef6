"""Learned codecs that no training is needed for, and sections whose training takes a second."""

from itertools import pairwise
from typing import Any

import numpy as np

from burgers_adjoint.assembly.learned import EQUATION, FIELDS
from burgers_adjoint.learning.linear import linear
from burgers_adjoint.learning.samples import drawn
from burgers_adjoint.snapshots.codecs.learned import Autoencoder

PATCH = 4
QUICK: dict[str, dict[str, Any]] = {
    "grid": {"nx": 30, "ny": 23, "x": [-3, 4]},
    "time": {"steps": 40, "dt": 0.01},
    "train": {
        "patch": PATCH, "ratio": 16, "runs": 2, "states": 6, "samples": 600, "hidden": [9],
        "epochs": 3,
    },
}  # fmt: skip


def state(ny: int, nx: int, steepness: float = 3.0) -> np.ndarray:
    """A front in u, and a bump in v."""
    x, y = np.linspace(-1, 1, nx), np.linspace(-2, 1, ny)[:, None]
    return np.array([np.tanh(steepness * (x + 0.3 * y)), np.exp(-2 * x**2 - y**2)])


def autoencoder(n_bytes: int = 16, network: bool = False) -> Autoencoder:
    """Principal components of some states; with layers that do what they like where wanted."""
    rng = np.random.default_rng(7)
    samples = [drawn(state(25, 31, k), PATCH, 400, rng) for k in (0.5, 1.0, 2.0, 4.0)]
    one = linear(np.concatenate(samples), n_bytes, PATCH, EQUATION, FIELDS)
    if not network:
        return one
    n_values, n_latents = one.analysis.shape
    sizes = (n_values, 11, 6, n_latents)

    def layers(sizes: tuple[int, ...]) -> list[np.ndarray]:
        return [rng.normal(scale=0.05, size=two).astype(np.float32) for two in pairwise(sizes)]

    return Autoencoder(
        "network", EQUATION, FIELDS, PATCH, one.n_wide, one.analysis, one.synthesis,
        layers(sizes), layers(sizes[::-1]),
    )  # fmt: skip
