"""Places in a file that ranks share, moved by parallel HDF5: its driver "mpio"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def has_mpi() -> bool:
    """Whether this h5py has HDF5's driver "mpio"."""
    return bool(h5py.get_config().mpi)


def open_shared(path: Path, comm: Any) -> h5py.File:
    """Open an existing file on all ranks of `comm`. Collective; raises OSError."""
    return h5py.File(path, "r+", driver="mpio", comm=comm)


class HDF5Places:
    """Numbered arrays in one dataset, of which every rank has a block: `shared.Places`.

    All room is there before, so that a transfer touches no metadata. All ranks make it together,
    also those whose block is empty, whether one of them fails or not. Meanwhile this rank's other
    Python threads stand still.

    Args:
        file: what `open_shared` has opened; `close` closes it, for all of its datasets.
        name: of the dataset, (places, ...).
        block: the part of an array that is this rank's.
        collective: whether ranks help each other in a transfer, or each moves its own block.
    """

    def __init__(
        self, file: h5py.File, name: str, block: tuple[slice, ...], collective: bool = True
    ) -> None:
        self._file, self._dataset = file, file[name].id
        self._first = tuple(part.start for part in block)
        self._lengths = tuple(part.stop - part.start for part in block)
        self._memory = h5py.h5s.create_simple(self._lengths)
        self._space = self._dataset.get_space()
        if 0 in self._lengths:
            self._memory.select_none()
            self._space.select_none()
        # HDF5 makes no collective transfer of what it has to convert: so all is of one type.
        self._type = self._dataset.get_type()
        self._transfer = h5py.h5p.create(h5py.h5p.DATASET_XFER)
        if collective:  # else each rank moves its own, HDF5's default
            self._transfer.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)

    def write(self, number: int, data: np.ndarray) -> None:
        """Write this rank's block of an array. Collective; raises OSError."""
        self._select(number)
        self._dataset.write(self._memory, self._space, data, self._type, self._transfer)

    def read(self, number: int, data: np.ndarray) -> None:
        """Read this rank's block of an array. Collective; raises OSError."""
        self._select(number)
        self._dataset.read(self._memory, self._space, data, self._type, self._transfer)

    def close(self) -> None:
        """Close the file. Collective, the first time."""
        self._file.close()

    def _select(self, number: int) -> None:
        if 0 not in self._lengths:
            self._space.select_hyperslab((number, *self._first), (1, *self._lengths))
