"""What ranks tell each other: one name for each kind of agreement. All of them are collective."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from mpi4py import MPI

Comm = MPI.Comm
ALONE = MPI.COMM_SELF
T = TypeVar("T")


def from_rank(comm: Comm, value: Any, rank: int = 0) -> Any:
    """What one rank has, on all ranks; the others' values do not count."""
    return comm.bcast(value, root=rank)


def of_every_rank(comm: Comm, value: T) -> list[T]:
    """All ranks' values, in the order of the ranks, on all ranks."""
    found: list[T] = comm.allgather(value)
    return found


def at_rank_0(comm: Comm, value: T) -> list[T] | None:
    """All ranks' values, in the order of the ranks, on rank 0; None on the others."""
    found: list[T] | None = comm.gather(value, root=0)
    return found


def largest(comm: Comm, number: Any) -> Any:
    """The largest of all ranks' numbers."""
    return comm.allreduce(number, op=MPI.MAX)


def smallest(comm: Comm, number: Any) -> Any:
    """The smallest of all ranks' numbers."""
    return comm.allreduce(number, op=MPI.MIN)


def total(comm: Comm, number: Any) -> Any:
    """The sum of all ranks' numbers; of floats `reductions.exact_sum` has the same bits always."""
    return comm.allreduce(number, op=MPI.SUM)


def anywhere(comm: Comm, claim: bool) -> bool:
    """Whether a claim is true on some rank."""
    return bool(comm.allreduce(bool(claim), op=MPI.LOR))


def everywhere(comm: Comm, claim: bool) -> bool:
    """Whether a claim is true on every rank."""
    return bool(comm.allreduce(bool(claim), op=MPI.LAND))


def largest_each(comm: Comm, numbers: np.ndarray) -> np.ndarray:
    """The largest of all ranks' numbers at each place of an array."""
    found = np.empty_like(numbers)
    comm.Allreduce(numbers, found, op=MPI.MAX)
    return found


def total_each(comm: Comm, numbers: np.ndarray) -> np.ndarray:
    """The sum of all ranks' numbers at each place of an array."""
    found = np.empty_like(numbers)
    comm.Allreduce(numbers, found, op=MPI.SUM)
    return found


def last_arrival(comm: Comm) -> float:
    """`time.perf_counter()` when the last rank has arrived [s]."""
    comm.Barrier()
    return time.perf_counter()


@contextmanager
def ranks_of_node(comm: Comm) -> Iterator[Comm]:
    """The ranks that share this rank's node, in the order of their ranks."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        yield node
    finally:
        node.Free()
