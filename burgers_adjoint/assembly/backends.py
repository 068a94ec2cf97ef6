"""Where steps are taken: the backend of a configured device, once in a process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from burgers_adjoint.parallel.agreement import Comm, of_every_rank, ranks_of_node
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.stepping.backend import PROCESSOR, Backend

if TYPE_CHECKING:
    from burgers_adjoint.assembly.device_messages import Messages
    from burgers_adjoint.devices.device import Device
    from burgers_adjoint.stepping.accelerator import Accelerator

# Number of a rank on its node, as PALS, MPICH, Open MPI, MVAPICH and Slurm tell it: also where a
# communicator has one rank alone, and others have theirs.
LOCAL_RANK = (
    "PALS_LOCAL_RANKID", "MPI_LOCALRANKID", "PMI_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID",
)  # fmt: skip
_MADE: dict[str, Accelerator] = {}


def backend_of(name: str, comm: Comm, messages: Messages = "auto") -> Backend:
    """The backend of a device by its configured name. Collective.

    Ranks of a node take its cards in turn, and share them where there are fewer.

    Args:
        name: of the device.
        comm: all ranks.
        messages: see `device_messages.choose_messages`.

    Raises:
        ConfigError: on all ranks: one of them finds no such device, or too many share it.
    """
    if name == "cpu":
        return PROCESSOR
    from burgers_adjoint.assembly.device_messages import choose_messages

    # all ranks take part, also those that have used their device before
    with ranks_of_node(comm) as node:
        with agreed(comm):
            if name not in _MADE:
                _MADE[name] = _accelerator(node.rank)
        device = _MADE[name].device
        n_sharing = of_every_rank(node, device.card).count(device.card)
    with agreed(comm):
        device.share(n_sharing)
    choose_messages(device, comm, messages)
    return _MADE[name]


def device_in_use(name: str) -> Device | None:
    """The device that steps of this process are taken on, by its configured name, if any are."""
    return _MADE[name].device if name in _MADE else None


def _accelerator(rank: int) -> Accelerator:
    from burgers_adjoint.devices.cuda import Cuda
    from burgers_adjoint.stepping.accelerator import Accelerator

    told = next((os.environ[one] for one in LOCAL_RANK if one in os.environ), "")
    return Accelerator(Cuda(int(told) if told.isdecimal() else rank))
