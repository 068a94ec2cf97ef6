"""Failures that all ranks raise together, and waiting that leaves the cores to those who work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from mpi4py import MPI

from burgers_adjoint.errors import BurgersAdjointError, agreed_error

SPIN_SECONDS = 0.001
LONGEST_SLEEP = 0.005
SHARE_OF_SLEEP = 0.1  # of what has been waited already: by so much it may end late


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
    first = np.array([comm.rank if failure else comm.size])
    wait_patiently(comm.Iallreduce(MPI.IN_PLACE, first, op=MPI.MIN))
    failing_rank = int(first[0])
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
    raise agreed_error(error_class(message)) from failure


def patient_barrier(comm: MPI.Comm) -> None:
    """Wait for all ranks without spinning; see `wait_patiently`."""
    wait_patiently(comm.Ibarrier())


def wait_patiently(request: MPI.Request) -> None:
    """Wait for a request, and sleep in between when it takes more than a moment.

    MPI's own waits keep a core busy on every waiting rank; where ranks share cores and one of them
    compiles or writes, that is the core it needs.
    """
    begun = time.perf_counter()
    while not request.Test():
        waited = time.perf_counter() - begun
        if waited > SPIN_SECONDS:
            time.sleep(min(LONGEST_SLEEP, SHARE_OF_SLEEP * waited))
