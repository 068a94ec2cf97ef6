"""Places in a file that all ranks share, written and read with collective MPI-IO."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI


class SharedPlaces:
    """Numbered arrays in one file, each in global order, of which every rank has a block.

    All ranks make the same calls in the same order, whether one of them fails or not. HDF5 is not
    involved: its own collective calls hang in known ways, and hold Python's lock meanwhile.

    Args:
        comm: all ranks.
        path: an existing file.
        offset: where array 0 begins, in bytes; the others follow.
        shape: of an array.
        block: the part of an array that is this rank's.
        itemsize: bytes of an element.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        path: str,
        offset: int,
        shape: tuple[int, ...],
        block: tuple[slice, ...],
        itemsize: int,
    ) -> None:
        starts = [part.start for part in block]
        lengths = [part.stop - part.start for part in block]
        self._block_bytes = int(np.prod(lengths)) * itemsize
        *outer, inner = shape
        kind = MPI.BYTE.Create_subarray(
            [*outer, inner * itemsize],
            [*lengths[:-1], lengths[-1] * itemsize],
            [*starts[:-1], starts[-1] * itemsize],
        )
        kind.Commit()
        self._file = MPI.File.Open(comm, path, MPI.MODE_RDWR)
        self._file.Set_view(offset, MPI.BYTE, kind)
        kind.Free()

    def write(self, number: int, data: np.ndarray) -> None:
        """Write this rank's block of an array. Collective; raises OSError."""
        try:
            self._file.Write_at_all(number * self._block_bytes, [data, MPI.BYTE])
        except MPI.Exception as error:
            raise as_os_error(error) from error

    def read(self, number: int, data: np.ndarray) -> None:
        """Read this rank's block of an array. Collective; raises OSError or EOFError."""
        status = MPI.Status()
        try:
            self._file.Read_at_all(number * self._block_bytes, [data, MPI.BYTE], status)
        except MPI.Exception as error:
            raise as_os_error(error) from error
        if status.Get_count(MPI.BYTE) != data.nbytes:
            raise EOFError("the file is cut short")

    def close(self) -> None:
        """Close the file. Collective."""
        self._file.Close()


def as_os_error(error: Any) -> OSError:
    """An error of MPI-IO as the one of the operating system that it most likely is."""
    return OSError(error.Get_error_string())
