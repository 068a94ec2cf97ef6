"""Snapshots of states on a device, in page-locked memory of the host."""

from __future__ import annotations

from typing import Any

from burgers_adjoint.devices.array import DeviceArray
from burgers_adjoint.devices.device import Device
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.snapshots.slots import Slots


class PinnedStore:
    """Copies whole states between their device and the host, in a stream beside that of the steps.

    It is a `write_behind.SlowStore`: `put` and `get` return when the copy is done, in the thread of
    a `WriteBehindStore`, which lets others run meanwhile, here and on the device.

    Args:
        device: that has the states.
        capacity: number of slots.
        slot_bytes: of a state.

    Raises:
        ConfigError: the host has no room for all slots.
    """

    def __init__(self, device: Device, capacity: int, slot_bytes: int) -> None:
        self._device, self._slot_bytes = device, slot_bytes
        self._slots = Slots(capacity)
        self._stream = device.stream()
        self._memory: list[Any] = []
        try:
            self._memory += (device.pinned(slot_bytes) for _ in range(capacity))
        except (MemoryError, RuntimeError) as error:  # the latter is what drivers' errors are
            got = len(self._memory)
            self._memory.clear()
            raise ConfigError(
                f"the snapshots need {capacity * slot_bytes} bytes of page-locked memory per rank, "
                f"the host gives {got} of {capacity} snapshots ({error}): use fewer "
                '(checkpointing.snapshots), or snapshots.store = "tiered" with less of it '
                "(snapshots.host_memory)"
            ) from error

    def put(self, slot: int, step: int, buffer: DeviceArray) -> None:
        """Copy a state, as the steps given to the device so far leave it, to the host.

        Raises:
            SnapshotError: there is no such slot.
        """
        self._slots.put(slot, None)
        self._copy(slot, buffer, "to host")
        self._slots.put(slot, step)

    def get(self, slot: int, step: int, buffer: DeviceArray) -> None:
        """Copy the state of `step` to the device, once steps given to it leave its memory alone.

        Raises:
            SnapshotError: the slot does not hold `step`.
        """
        self._slots.require_held(slot, step)
        self._copy(slot, buffer, "to device")
        # The copy is done by now. Had the steps been told to wait for it when it began, those that
        # do not need it would have stood still meanwhile.
        self._device.wait(self._device.main, self._device.record(self._stream))

    def _copy(self, slot: int, buffer: DeviceArray, kind: str) -> None:
        device, n_bytes = self._device, self._slot_bytes
        if buffer.nbytes != n_bytes:
            raise ValueError(f"a state of {buffer.nbytes} bytes, in slots of {n_bytes}")
        memory = self._memory[slot]  # held until the copy is done, whoever closes the store
        ends = buffer.address, memory.ctypes.data
        target, source = ends if kind == "to device" else reversed(ends)
        device.wait(self._stream, device.record(device.main))
        device.copy(target, n_bytes, source, n_bytes, n_bytes, 1, kind, self._stream)
        device.synchronize(self._stream)

    def close(self) -> None:
        """Give the host's memory back; every later use is an error that says so."""
        self._memory.clear()
        self._slots.close()

    def abandon(self) -> None:
        """Give the host's memory back; there is nothing else that would be left behind."""
        self.close()

    @property
    def nbytes(self) -> int:
        """Bytes of the host's memory, full or empty."""
        return len(self._memory) * self._slot_bytes
