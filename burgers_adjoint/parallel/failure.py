"""Failures that all ranks raise together, and waiting that leaves the cores to those who work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from mpi4py import MPI

from burgers_adjoint.errors import BurgersAdjointError

POLL_SECONDS = 0.005


@contextmanager
def agreed(comm: MPI.Comm) -> Iterator[None]:
    """Make an exception of any rank inside the block an exception of every rank.

    The block must hold no collective call: a rank that raises would leave it early. At the end of
    the block all ranks meet; when any of them failed, each raises the failure of the lowest such
    rank, with ``agreed = True``, so that whoever catches it knows that no rank is left waiting.

    Raises:
        BurgersAdjointError: of the failing rank's own class when it is one of this package's
            errors; other exceptions are wrapped, their type and rank named in the message.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failing_rank = comm.allreduce(comm.rank if failure else comm.size, op=MPI.MIN)
    if failing_rank == comm.size:
        return
    report = None
    if comm.rank == failing_rank:
        assert failure is not None
        if isinstance(failure, BurgersAdjointError):
            report = (type(failure), str(failure))
        else:
            report = (
                BurgersAdjointError,
                f"rank {comm.rank}: {type(failure).__name__}: {failure}",
            )
    error_class, message = comm.bcast(report, root=failing_rank)
    common = error_class(message)
    common.agreed = True
    raise common from failure


def patient_barrier(comm: MPI.Comm) -> None:
    """Wait for all ranks without spinning.

    MPI's own barrier keeps a core busy on every waiting rank; where ranks share cores and one of
    them compiles or writes, that is the core it needs.
    """
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(POLL_SECONDS)
