"""Copies of fields that are to be saved while the sweeps go on changing them."""

from collections import defaultdict
from typing import Any

import numpy as np

from burgers_adjoint.restart.parts import Field


class Copies:
    """Makes copies of fields that are views, and keeps the host's memory for later ones.

    A field that is on a device is copied there, where it has room: the copy comes to the host when
    it is written, and the sweeps do not wait for that. Such a field has `set_aside`, which gives
    a `parts.Aside`, or None where there is no room.

    Attributes:
        waited: whether the sweeps have waited for a field of a device to come to the host.
    """

    def __init__(self) -> None:
        self._pool: dict[tuple[int, ...], list[np.ndarray]] = defaultdict(list)
        self._lent: list[np.ndarray] = []
        self.waited = False

    def of(self, field: Any) -> Field:
        """A copy of a field, until `give_back`."""
        aside = self._aside(field)
        if aside is not None:
            return aside
        spare = self._pool[field.shape]
        buffer = spare.pop() if spare else np.empty(field.shape)
        buffer[...] = field
        self._lent.append(buffer)
        return buffer

    def of_lasting(self, field: Any) -> Field:
        """A field that stays as it is: itself where it is on the host."""
        aside = self._aside(field)
        return np.asarray(field) if aside is None else aside

    def _aside(self, field: Any) -> Field | None:
        if isinstance(field, np.ndarray):
            return None
        aside: Field | None = field.set_aside()
        self.waited |= aside is None
        return aside

    def give_back(self) -> None:
        """Take the memory of all copies back: they are written, or not to be written any more."""
        for buffer in self._lent:
            self._pool[buffer.shape].append(buffer)
        self._lent.clear()
