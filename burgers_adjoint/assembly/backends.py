"""Where steps are taken: the backend of a configured device, once in a process."""

from __future__ import annotations

from burgers_adjoint.parallel.agreement import Comm, ranks_of_node
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.stepping.backend import PROCESSOR, Backend

_MADE: dict[str, Backend] = {"cpu": PROCESSOR}


def backend_of(name: str, comm: Comm) -> Backend:
    """The backend of a device by its configured name. Collective.

    Ranks of a node take its cards in turn, and share them where there are fewer.

    Raises:
        ConfigError: on all ranks: one of them finds no such device.
    """
    if name not in _MADE:
        from burgers_adjoint.devices.cuda import Cuda
        from burgers_adjoint.stepping.accelerator import Accelerator

        with ranks_of_node(comm) as node:
            local_rank, n_ranks = node.rank, node.size
        with agreed(comm):
            backend = Accelerator(Cuda(local_rank, n_ranks))
        _MADE[name] = backend
    return _MADE[name]
