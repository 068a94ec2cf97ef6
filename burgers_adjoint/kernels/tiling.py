"""How a tile is shared out to blocks of threads.

The numbers were measured on an H100 with 4096 x 4096 points: benchmarks/device.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.marching import PAD, March

THREADS = 64, 32  # of a block; small blocks wait less for each other
MANY_ROWS = 40  # of rings: such levels leave no registers for two points of a thread
SPARE_BYTES = 1024  # of a block's shared memory, which the driver takes
BLOCKS = 10  # for each multiprocessor
HIGHEST, LOWEST = 128, 8  # rows of a block


@dataclass(frozen=True)
class Tiling:
    """Blocks, and what their threads do.

    Attributes:
        threads: of a block.
        points: of a row that a thread computes, 1 or 2.
        ahead: rows that are loaded before they are needed.
        height: rows of a block.
    """

    threads: int
    points: int
    ahead: int
    height: int

    def span(self, march: March) -> int:
        """Columns of a block, beside those that it computes for them."""
        return self.points * self.threads - 2 * march.pad

    def shared_bytes(self, march: March) -> int:
        """Of a block's shared memory."""
        return march.n_ring_rows * (self.points * self.threads + 2 * PAD) * 8


def tiling_of(
    march: March, n_rows: int, n_columns: int, n_processors: int, shared_bytes: int
) -> Tiling:
    """A tiling that is fast for a march over so many rows and columns.

    Blocks have as few rows as keep the device busy, and as many as repay what each computes of its
    neighbours'.

    Args:
        march: of the levels.
        n_rows, n_columns: of the tile.
        n_processors, shared_bytes: of the device; see `devices.device.Device`.

    Raises:
        ConfigError: no block has room for the rings, or columns for what lies around its own.
    """
    points = 1 if march.n_ring_rows > MANY_ROWS else 2
    ahead = 1 if len(march.levels) > 1 else 0
    found: Tiling | None = None
    for threads in (2 * THREADS[0] // points, *THREADS):
        tiling = Tiling(threads, points, ahead, LOWEST)
        fits = tiling.shared_bytes(march) <= shared_bytes - SPARE_BYTES
        if not fits or tiling.span(march) < max(1, 2 * march.pad):
            continue
        if found is None or tiling.span(march) >= n_columns:
            found = tiling
    if found is None:
        raise ConfigError(
            f"a sweep keeps {march.n_ring_rows} rows, and computes {march.pad} columns on either "
            "side, more than a block of the device has room for: take fewer steps per exchange "
            "(parallel.steps_per_exchange), or fewer directions at once"
        )
    beside = max(march.lags) + march.extents[0] + march.depths[0]
    height = -(-n_rows * -(-n_columns // found.span(march)) // (BLOCKS * n_processors))
    return replace(found, height=max(LOWEST, 2 * beside, min(height, HIGHEST)))
