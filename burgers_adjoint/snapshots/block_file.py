"""A file of encoded snapshots: room for the largest, and a transfer as long as each one is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from burgers_adjoint.snapshots.block import HEAD
from burgers_adjoint.snapshots.file import SlotFile
from burgers_adjoint.snapshots.file_layout import FileLayout


class BlockFile:
    """A `SlotFile` of blocks, of which it moves those bytes that are used.

    Args:
        file: with slots of the blocks' room.
        whole: the file can move all the room alone.
    """

    def __init__(self, file: SlotFile, whole: bool = False) -> None:
        self._file = file
        self._whole = whole
        self._used: dict[int, int] = {}

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._file.path

    @property
    def layout(self) -> FileLayout:
        """Of the file."""
        return self._file.layout

    def write(self, slot: int, step: int, data: np.ndarray) -> None:
        """Write a block, its step and its checksum."""
        used = len(data) if self._whole else HEAD.size + HEAD.unpack_from(data.data)[1]
        self._used[slot] = used
        self._file.write(slot, step, data[:used])

    def read(self, slot: int, data: np.ndarray) -> tuple[int, int, int]:
        """Read the block that was written; returns what `SlotFile` says."""
        # where a write has failed, a read still has to be made together with the other ranks
        return self._file.read(slot, data[: self._used.get(slot, len(data))])

    def close(self) -> None:
        """Let go of the file; it stays."""
        self._file.close()
