"""Memory that the ranks of a node share."""

import psutil

from burgers_adjoint.config.sizes import parse_size
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.agreement import Comm, ranks_of_node, smallest, total
from burgers_adjoint.parallel.failure import agreed


def node_memory(comm: Comm, n_bytes: int) -> tuple[int, int, int]:
    """Bytes that all ranks of this rank's node need together, bytes free there, ranks there.

    Collective; `n_bytes` is what this rank needs.
    """
    with ranks_of_node(comm) as node:
        needed, n_ranks = int(total(node, n_bytes)), node.size
    return needed, psutil.virtual_memory().available, n_ranks


def require_memory(comm: Comm, n_bytes: int) -> None:
    """Refuse, before the run, snapshots that the memory of a node cannot hold. Collective.

    Args:
        comm: all ranks.
        n_bytes: what this rank is about to take.

    Raises:
        ConfigError: on all ranks, with the sizes.
    """
    needed, available, n_ranks = node_memory(comm, n_bytes)
    with agreed(comm):
        if needed > available:
            raise ConfigError(
                f"the snapshots need {needed / 2**30:.3g} GiB on a node ({n_ranks} ranks), "
                f"{available / 2**30:.3g} GiB are free there: use fewer "
                "(checkpointing.snapshots) or more nodes"
            )


def memory_limit(comm: Comm, limit: str | float | None) -> int | None:
    """Bytes per rank that `snapshots.memory` allows, the same on all ranks. Collective.

    Args:
        comm: all ranks.
        limit: a size such as "2 GiB" per rank, or the share of the free memory of a node that its
            ranks may take together; None for no limit.
    """
    if limit is None:
        return None
    if isinstance(limit, str):
        return parse_size(limit)
    _, available, n_ranks = node_memory(comm, 0)
    return int(smallest(comm, int(limit * available / n_ranks)))
