"""Snapshots of all ranks in one file, each snapshot in global order, as plain h5py reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import xxhash

from burgers_adjoint.snapshots.file_layout import FileLayout, new_record, read_record


class Places(Protocol):
    """Numbered arrays in a file that ranks share, each with its block; all calls are collective."""

    def write(self, number: int, data: np.ndarray) -> None:
        """Write this rank's block of an array; raises OSError."""
        ...

    def read(self, number: int, data: np.ndarray) -> None:
        """Read this rank's block of an array; raises OSError or EOFError."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class SharedFile:
    """A `SlotFile` that all ranks share: /snapshots, (slots, 2, ny, nx), and a record per rank.

    Args:
        path: made by one rank with `layout.create`, which returned `layout`.
        snapshots: the places of /snapshots.
        records: the places of /records.
        divisible: whether the beginning of a rank's block can be moved alone.
    """

    def __init__(
        self,
        path: Path,
        layout: FileLayout,
        snapshots: Places,
        records: Places,
        divisible: bool = True,
    ) -> None:
        self.path = path
        self.layout = layout
        self.divisible = divisible
        self._snapshots = snapshots
        self._records = records

    def write(self, slot: int, step: int, data: np.ndarray) -> None:
        """Write this rank's part of a snapshot, its step and its checksum. Collective."""
        try:
            self._snapshots.write(slot, data)
        finally:
            self._records.write(slot, new_record(step, _checksum(data)))

    def read(self, slot: int, data: np.ndarray) -> tuple[int, int, int]:
        """Read this rank's part of a snapshot; returns what `SlotFile` says. Collective."""
        record = new_record()
        try:
            self._snapshots.read(slot, data)
        finally:
            self._records.read(slot, record)
        return (*read_record(record), _checksum(data))

    def close(self) -> None:
        """Let go of the file; it stays. Collective."""
        self._snapshots.close()
        self._records.close()


def _checksum(data: np.ndarray) -> int:
    return xxhash.xxh3_64_intdigest(data.data)
