"""What a step costs on many ranks: latency, bandwidth, overhead of an exchange, cost of a point.

With k steps per exchange on a tile of ny x nx points, a step takes

    cost_of_point * points + (overhead + messages * latency + bytes / bandwidth) / k,

where `points` are those of the tile and of what the steps compute of the neighbours' points (the
mean over the k steps), and an exchange sends k layers, corners included, to each neighbour. Nothing
is taken off for messages that are under way at the same time, or behind computation.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from burgers_adjoint.parallel.decomposition import choose_process_grid

BYTES_OF_POINT = 2 * 8
LONGEST_SWEEP = 16


@dataclass(frozen=True)
class Machine:
    """Constants of the model.

    Attributes:
        latency: of a message [s].
        bandwidth: of a rank's messages [bytes/s].
        overhead: of an exchange, whatever is sent: packing calls, starting, Python [s].
        cached: cost of a point and step in a tile that stays in the cache [s].
        memory: what reading and writing a point costs per sweep over a larger tile, at least [s].
        cache: bytes of cache that a rank has.
    """

    latency: float
    bandwidth: float
    overhead: float
    cached: float
    memory: float
    cache: float

    def cost_of_point(self, tile: tuple[int, int], k: int) -> float:
        """Seconds per point and step: of computing, or of memory where that takes longer."""
        if tile[0] * tile[1] * BYTES_OF_POINT <= self.cache:
            return self.cached
        return max(self.cached, self.memory / k)


def messages(
    process_grid: tuple[int, int], tile: tuple[int, int], k: int
) -> tuple[int, int, tuple[int, int]]:
    """Messages and bytes that a rank with the most neighbours sends, and its (rows, columns)."""
    rows, columns = (min(n - 1, 2) for n in process_grid)
    ny, nx = tile
    points = k * (rows * nx + columns * ny) + k * k * rows * columns
    return rows + columns + rows * columns, points * BYTES_OF_POINT, (rows, columns)


def step_seconds(
    machine: Machine, process_grid: tuple[int, int], tile: tuple[int, int], k: int
) -> dict[str, float]:
    """Seconds of one step, and the part of it that the exchange takes."""
    count, n_bytes, (rows, columns) = messages(process_grid, tile, k)
    beyond = np.arange(k)
    points = float(np.mean((tile[0] + rows * beyond) * (tile[1] + columns * beyond)))
    exchange = 0.0
    if count:
        exchange = machine.overhead + count * machine.latency + n_bytes / machine.bandwidth
    seconds = machine.cost_of_point(tile, k) * points
    return {"seconds": seconds + exchange / k, "exchange": exchange / k}


def fit_messages(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Latency [s] and bandwidth [bytes/s], by least squares of the relative errors."""
    n_bytes, measured = np.asarray(sizes, float), np.asarray(seconds, float)
    design = np.stack([1 / measured, n_bytes / measured], axis=1)
    (latency, per_byte), *_ = np.linalg.lstsq(design, np.ones_like(measured), rcond=None)
    return max(float(latency), 0.0), 1 / max(float(per_byte), 1e-15)


def polaris_like(here: Machine, latency: float) -> Machine:
    """A machine with the nodes of Polaris, a core of which computes as fast as one here.

    From the user guide of the Argonne Leadership Computing Facility: one AMD EPYC 7543P with 32
    cores, 256 MB of third-level cache and 8 memory channels of together 204.8 GB/s. 32 ranks share
    a node, and all messages are taken to leave it. Its two network adapters are assumed to move
    200 Gbit/s each, and the latency is an option: neither is from there.
    """
    ranks = 32
    return replace(
        here,
        latency=latency,
        bandwidth=2 * 25e9 / ranks,
        memory=2 * BYTES_OF_POINT / (204.8e9 / ranks),
        cache=256 * 2**20 / ranks,
    )


def project(machine: Machine, grid: tuple[int, int], ranks: int) -> dict[str, Any]:
    """The best k and the cost of a step when so many ranks share a grid (ny, nx)."""
    process_grid = choose_process_grid(grid, ranks)
    tile = grid[0] // process_grid[0], grid[1] // process_grid[1]
    longest = min(LONGEST_SWEEP, *tile)
    costs = {k: step_seconds(machine, process_grid, tile, k) for k in range(1, longest + 1)}
    best = min(costs, key=lambda k: costs[k]["seconds"])
    return {"ranks": ranks, "tile": tile, "k": best, **costs[best]}


def as_dict(machine: Machine) -> dict[str, float]:
    """The constants, for JSON."""
    return asdict(machine)
