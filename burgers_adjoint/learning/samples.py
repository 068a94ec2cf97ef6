"""Patches to learn from, drawn from states."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def drawn(state: np.ndarray, patch: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw patches from anywhere in a state, scaled as a codec scales them.

    That is by the largest magnitude in their tile: of the whole state, or of some part of it, as
    on so many ranks.

    Args:
        state: (fields, ny, nx).
        patch: points along each side.
        count: of patches.
        generator: draws tile and places.

    Returns:
        float32 (count, fields patch^2).
    """
    tile = state
    for axis in (1, 2):
        n = tile.shape[axis]
        length = min(n, max(patch, n // int(generator.integers(1, 4))))
        start = int(generator.integers(0, n - length + 1))
        tile = tile.take(range(start, start + length), axis)
    scale = np.abs(tile).max()
    missing = [(0, 0), *((0, max(0, patch - n)) for n in tile.shape[1:])]
    tile = np.pad(tile / (scale if scale > 0 else 1.0), missing, "edge")
    windows = sliding_window_view(tile, (len(tile), patch, patch))[0]
    rows, columns = (generator.integers(0, n, count) for n in windows.shape[:2])
    return windows[rows, columns].reshape(count, -1).astype(np.float32)


def perturbed(fields: np.ndarray, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Multiply fields (n, ny, nx) by smooth random factors, the largest of them 1.

    So no speed grows, and steps that are stable stay so.
    """
    ny, nx = fields.shape[1:]
    y, x = np.linspace(0, np.pi, ny)[:, None], np.linspace(0, np.pi, nx)
    result = np.empty_like(fields)
    for field, out in zip(fields, result, strict=True):
        weights, phases = generator.uniform(-1, 1, 5), generator.uniform(0, 2 * np.pi, 5)
        waves = ((1, 0), (0, 1), (1, 1), (2, 1), (1, 2))
        wave = sum(
            weight / len(waves) * np.cos(k * x + j * y + phase)
            for (k, j), weight, phase in zip(waves, weights, phases, strict=True)
        )
        factors = 1 + strength * wave
        out[...] = field * (factors / factors.max())
    return result
