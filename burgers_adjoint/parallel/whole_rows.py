"""Tiles of a field become whole rows, so that a file takes them in long pieces."""

from collections.abc import Iterator

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from burgers_adjoint.parallel.decomposition import Decomposition, blocks

PIECE = 2**22  # bytes that a rank has of whole rows at a time


def whole_rows(
    decomposition: Decomposition, tile: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Share the rows of a field among the ranks whose tiles they cross, some at a time.

    Collective: all ranks have to take all that comes. No rank holds more of the field than its tile
    and some `PIECE`, and all ranks of a row of tiles get as many rows, but for one.

    Args:
        decomposition: whose tile it is.
        tile: this rank's, (ny_tile, nx_tile).

    Yields:
        The global index of the first row, and rows (n, nx) in one piece; n can be 0.
    """
    nx, px = decomposition.shape[1], decomposition.process_grid[1]
    process_row, column = divmod(decomposition.rank, px)
    widths = [part.stop - part.start for part in decomposition.column_blocks]
    crossed = decomposition.comm.Split(process_row, column)
    step = px * max(1, PIECE // (nx * tile.itemsize))
    for first in range(0, len(tile), step):
        sent = np.ascontiguousarray(tile[first : first + step], dtype=np.float64)
        shares = blocks(len(sent), px)
        own = shares[column].stop - shares[column].start
        received = np.empty(own * nx)
        crossed.Alltoallv(
            [sent, [(part.stop - part.start) * widths[column] for part in shares], MPI.DOUBLE],
            [received, [own * width for width in widths], MPI.DOUBLE],
        )
        pieces = np.split(received, np.cumsum([own * width for width in widths])[:-1])
        rows = np.concatenate(
            [piece.reshape(own, width) for piece, width in zip(pieces, widths, strict=True)], axis=1
        )
        yield decomposition.rows.start + first + shares[column].start, rows
    crossed.Free()
