"""How messages of states on devices go to other ranks: tried out, as words are not enough."""

from __future__ import annotations

import logging
from typing import Literal
from weakref import WeakSet

import numpy as np

from burgers_adjoint.devices.array import DeviceArray
from burgers_adjoint.devices.device import Device
from burgers_adjoint.parallel.agreement import Comm, everywhere, of_every_rank
from burgers_adjoint.parallel.direct import apart, passed_around
from burgers_adjoint.parallel.library import claims_device_memory, library_name

logger = logging.getLogger(__name__)

Messages = Literal["auto", "staged"]
# devices of trials that failed, which are not held up by another one
_failed: WeakSet[Device] = WeakSet()
FAILED = "failed"
SIZES = 64, 2**17  # doubles: MPI takes other ways for long messages than for short ones


def choose_messages(device: Device, comm: Comm, wanted: Messages) -> None:
    """Let messages go from device to device where they arrive so, else by the host. Collective.

    MPI is asked first, since one that knows nothing of devices may end the process over such a
    message; then messages are sent and compared. All ranks come to the same end.

    Args:
        device: of this rank; its `direct` is set. A rank alone leaves it as it is.
        comm: all ranks.
        wanted: "auto", or "staged" for the way by the host without a trial.
    """
    if comm.size == 1:
        return
    device.direct = False
    if wanted == "staged":
        return
    if not everywhere(comm, device not in _failed and claims_device_memory()):
        return
    for size in SIZES:
        ranks = apart(comm)
        faults = of_every_rank(comm, _fault(device, ranks, size))
        if any(faults):
            _failed.add(device)
            # a rank that failed is why others have waited in vain
            least = min(
                (not one.startswith(FAILED), rank) for rank, one in enumerate(faults) if one
            )
            rank, fault = least[1], faults[least[1]]
            if comm.rank == 0:
                logger.warning(
                    "%s says that it reads memory of cards, but a message of %d bytes between them "
                    "%s on rank %d: halos go through memory of the host; parallel.messages = "
                    '"staged" does so without a trial',
                    library_name(), 8 * size, fault, rank,
                )  # fmt: skip
            return
        ranks.Free()
    device.direct = True


def _fault(device: Device, comm: Comm, size: int) -> str:
    """What is wrong with a message of the rank before this one; empty where nothing is."""
    try:
        sent, received = (DeviceArray.zeros(device, size) for _ in range(2))
        sent[...] = _numbers(comm.rank, size)
        device.synchronize()
        if not passed_around(comm, sent, received):
            return "did not arrive"
        expected = _numbers((comm.rank - 1) % comm.size, size)
        if np.asarray(received).tobytes() != expected.tobytes():
            return "arrived with other bytes"
    except Exception as error:  # of MPI, the driver or the device: of many kinds
        return f"{FAILED} ({type(error).__name__}: {error})"
    return ""


def _numbers(rank: int, size: int) -> np.ndarray:
    """What no other rank sends."""
    return np.arange(size) + 0.5 + float(rank * size)
