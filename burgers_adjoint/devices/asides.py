"""Copies of arrays that wait on their device, until they are brought to the host beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from burgers_adjoint.devices.device import Device
from burgers_adjoint.devices.staging import Staging
from burgers_adjoint.devices.view import View

# times its own size that a copy leaves free: steps, sums and other copies take memory as they go
LEFT_FREE = 2


def has_room(device: Device, n_bytes: int) -> bool:
    """Whether a device has memory for a copy, and for the steps beside it."""
    free, _ = device.memory_info()
    return free >= (1 + LEFT_FREE) * n_bytes


class Aside:
    """A copy that the main stream has been asked to make.

    Args:
        device: that has it.
        memory: of it, held until it is on the host.
        address: of the memory.
        view: which entries.
    """

    def __init__(self, device: Device, memory: Any, address: int, view: View) -> None:
        self._device, self._memory, self._place = device, memory, (address, view)
        self._made = device.record(device.main)

    def landed(self) -> np.ndarray:
        """Its entries, in a new array of the host, once in its life; any thread may ask for them.

        They come in a stream of their own, which waits for the copy to be made. What the main
        stream is given meanwhile waits for neither. Then the device has its memory back.
        """
        assert self._memory is not None, "it is on the host"
        address, view = self._place
        values = np.empty(view.shape)
        Staging.beside(self._device).download(self._device, address, view, values, self._made)
        self._memory = None
        return values
