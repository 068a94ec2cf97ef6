"""Room for snapshots in memory, the host's or that of a device which has the states."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from burgers_adjoint.config.sections import Snapshots
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.parallel.agreement import Comm, smallest
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.memory import memory_limit, require_memory
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.snapshots.agreed import AgreedStore

FEWER = 'use fewer (checkpointing.snapshots), or snapshots.store = "pinned"'
FEWER_BUFFERS = "use fewer (snapshots.buffers)"
FOR_STATES = (
    'is for states on a device (parallel.device = "cuda"), kept as they are (no snapshots.codec, '
    'no time.stages = "keep")'
)
BESIDE = "copies beside the steps: expected no snapshots.asynchronous = false"
SHARE_OF_HOST = 0.5  # of its free memory, for what goes to files otherwise


def device_of(array: Any) -> Any:
    """The `devices.device.Device` that an array is on; None for the host's arrays."""
    return None if isinstance(array, np.ndarray) else getattr(array, "device", None)


def resident(new_array: Callable[[], Any]) -> Callable[[], Any]:
    """Arrays whose memory is there from the start: if it is too much, the run does not begin."""

    def new() -> Any:
        array = new_array()
        if device_of(array) is None:  # a device's memory is taken when the array is made
            np.asarray(array).fill(0.0)
        return array

    return new


class Room:
    """The memory that stores take for snapshots; all methods are collective.

    Args:
        comm: all ranks.
        section: [snapshots].
        device: whose memory it is; None for the host's.
        key: of the section, that says how much of it.
    """

    def __init__(
        self, comm: Comm, section: Snapshots, device: Any = None, key: str = "memory"
    ) -> None:
        self._comm, self._device, self.key = comm, device, f"snapshots.{key}"
        self.configured: str | float | None = getattr(section, key)

    def limit(self, otherwise: float | None = None) -> int | None:
        """Bytes per rank that the configuration allows; None for no limit.

        Args:
            otherwise: in its place, if it is not configured.
        """
        comm = self._comm
        wanted = otherwise if self.configured is None else self.configured
        if self._device is None or wanted is None or isinstance(wanted, str):
            return memory_limit(comm, wanted)
        with agreed(comm):
            free, _ = self._device.memory_info()
        return int(smallest(comm, int(wanted * free)))

    def given(self, otherwise: float) -> int:
        """Bytes per rank for snapshots: as configured, or this share of what is free."""
        limit = self.limit(otherwise)
        assert limit is not None
        return limit

    def require(self, n_bytes: int, largest_bytes: int, instead: str = "") -> None:
        """Refuse, before the run, what there is no room for.

        Args:
            n_bytes: that this rank is about to take.
            largest_bytes: that the rank which takes most is about to take.
            instead: what to do where the device has no room.

        Raises:
            ConfigError: on all ranks, with the sizes.
        """
        if self._device is None:
            require_memory(self._comm, n_bytes)
        else:
            with agreed(self._comm):
                # ranks that share a card and ask for too much together meet it as they take it
                free, _ = self._device.memory_info()
                if n_bytes > free:
                    raise ConfigError(
                        f"the snapshots need {n_bytes} bytes of the device's memory per rank, "
                        f"{free} are free on {self._device.name}: {instead}"
                    )
        self.require_limit(largest_bytes)

    def require_limit(self, n_bytes: int) -> None:
        """Refuse more than the configuration allows.

        Raises:
            ConfigError: on all ranks, with the sizes.
        """
        limit = self.limit()
        if limit is not None and n_bytes > limit:
            raise agreed_error(
                ConfigError(
                    f"the snapshots need {n_bytes} bytes of memory per rank, {self.key} = "
                    f"{self.configured!r} allows {limit}: use fewer "
                    "(checkpointing.snapshots), or a store on disk (snapshots.store)"
                )
            )


def pinned_store(
    comm: Any,
    section: Snapshots,
    device: Any,
    new_state: Callable[[], Any],
    capacity: int,
    sizes: tuple[int, int],
    room: Room,
) -> SnapshotStore[Any]:
    """A new store of states in page-locked memory, with buffers on their device. Collective.

    Args:
        comm: all ranks.
        section: [snapshots].
        device: that has the states; None where they are on the host, or are not kept as states.
        new_state: returns a new one.
        capacity: number of slots.
        sizes: bytes of a state, and of one on the rank that has most.
        room: of the host.

    Raises:
        ConfigError: on all ranks: there is no such device, or no room.
    """
    from burgers_adjoint.assembly.pinned import PinnedStore
    from burgers_adjoint.snapshots.write_behind import WriteBehindStore

    require_pinned(section, device)
    n_bytes, largest_bytes = (capacity * size for size in sizes)
    room.require(n_bytes, largest_bytes)
    with agreed(comm):
        slow = PinnedStore(device, capacity, sizes[0])
        store = WriteBehindStore(
            slow, new_state, capacity, section.buffers, threaded=True, exchanges=True
        )
    return AgreedStore(store, partial(agreed, comm))


def require_pinned(section: Snapshots, device: Any) -> None:
    """Refuse page-locked memory for what is not on a device, or is copied by the caller.

    Raises:
        ConfigError: on all ranks.
    """
    if device is None:
        raise _refused(f'{FOR_STATES}: use "memory"')
    if section.asynchronous is False:
        raise _refused(BESIDE)


def host_slots(section: Snapshots, device: Any, room: Room, state_bytes: int) -> int:
    """How many states of a device go to the host's memory where others can go to files. Collective.

    Args:
        section: [snapshots].
        device: that has the states; None where they are on the host, or are not kept as states.
        room: of the host.
        state_bytes: on the rank that has most.

    Raises:
        ConfigError: on all ranks: memory is given for states that there are none of, or for less
            than one.
    """
    wanted = room.configured
    if device is None or section.asynchronous is False:
        why = FOR_STATES if device is None else BESIDE
        if wanted:
            raise _refused(f"{why}; set it to 0 otherwise", f"{room.key} = {wanted!r}")
        return 0
    given = room.given(SHARE_OF_HOST)
    if wanted and given < state_bytes:
        raise _refused(
            f"is {given} bytes per rank: one snapshot takes {state_bytes}",
            f"{room.key} = {wanted!r}",
        )
    return given // state_bytes


def _refused(why: str, what: str = 'snapshots.store = "pinned"') -> ConfigError:
    return agreed_error(ConfigError(f"{what} {why}"))
