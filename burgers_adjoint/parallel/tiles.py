"""Fields of all ranks, tile after tile, on one rank: never a whole field at a time."""

from collections.abc import Iterator, Mapping

import numpy as np

from burgers_adjoint.parallel.decomposition import Decomposition

Tile = tuple[str, tuple[slice, slice], np.ndarray]


def tiles_in_turn(decomposition: Decomposition, fields: Mapping[str, np.ndarray]) -> Iterator[Tile]:
    """Name, place and values of every rank's tile of every field, on rank 0.

    Args:
        decomposition: whose tiles they are.
        fields: name to this rank's tile; the same names on every rank.
    """
    for name in sorted(fields):
        yield name, decomposition.tile_of(0), fields[name]
        for rank in range(1, decomposition.size):
            rows, columns = decomposition.tile_of(rank)
            tile = np.empty((rows.stop - rows.start, columns.stop - columns.start))
            decomposition.comm.Recv(tile, source=rank)
            yield name, (rows, columns), tile


def send_tiles(decomposition: Decomposition, fields: Mapping[str, np.ndarray]) -> None:
    """Send a rank's tiles to rank 0, which takes them by `tiles_in_turn`."""
    for name in sorted(fields):
        decomposition.comm.Send(np.ascontiguousarray(fields[name], dtype=np.float64), dest=0)
