"""Whole fields on rank 0: put together from tiles, and cut into them."""

import numpy as np

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed

TAG = 71


def gather(decomposition: Decomposition, tile: np.ndarray) -> np.ndarray | None:
    """Put fields together on rank 0. Collective.

    Args:
        decomposition: whose tiles they are.
        tile: this rank's, (..., ny_tile, nx_tile); the leading axes are those of all ranks.

    Returns:
        The fields, (..., ny, nx), on rank 0; None on the others.

    Raises:
        ConfigError: on all ranks: a tile has another shape.
    """
    comm = decomposition.comm
    with agreed(comm):
        array = np.asarray(tile, dtype=np.float64)
        if array.shape[-2:] != decomposition.tile_shape:
            raise ConfigError(
                f"rank {comm.rank}: the tile has the shape (..., "
                f"{', '.join(map(str, decomposition.tile_shape))}), not {array.shape}"
            )
    leading = array.shape[:-2]
    if comm.rank:
        comm.Send(np.ascontiguousarray(array), dest=0, tag=TAG)
        return None
    whole = np.empty((*leading, *decomposition.shape))
    for rank in range(comm.size):
        rows, columns = decomposition.tile_of(rank)
        if rank:
            array = np.empty((*leading, rows.stop - rows.start, columns.stop - columns.start))
            comm.Recv(array, source=rank, tag=TAG)
        whole[..., rows, columns] = array
    return whole


def scatter(decomposition: Decomposition, whole: np.ndarray | None) -> np.ndarray:
    """Cut the fields of rank 0 into tiles. Collective.

    Args:
        decomposition: whose tiles they become.
        whole: (..., ny, nx) on rank 0; what the others give does not count.

    Returns:
        This rank's tile, (..., ny_tile, nx_tile).

    Raises:
        ConfigError: on all ranks: the fields have another shape.
    """
    comm = decomposition.comm
    array, leading = np.empty(0), None
    with agreed(comm):
        if comm.rank == 0:
            array = np.asarray(whole, dtype=np.float64)
            if array.shape[-2:] != decomposition.shape:
                raise ConfigError(
                    f"the whole grid has the shape (..., "
                    f"{', '.join(map(str, decomposition.shape))}), not {array.shape}"
                )
            leading = array.shape[:-2]
    leading = comm.bcast(leading, root=0)
    if comm.rank:
        tile = np.empty((*leading, *decomposition.tile_shape))
        comm.Recv(tile, source=0, tag=TAG)
        return tile
    for rank in range(1, comm.size):
        rows, columns = decomposition.tile_of(rank)
        comm.Send(np.ascontiguousarray(array[..., rows, columns]), dest=rank, tag=TAG)
    rows, columns = decomposition.tile_of(0)
    return array[..., rows, columns].copy()
