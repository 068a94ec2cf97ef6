"""Communicators that are numbers alone: to ask who would own what on any number of ranks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.parallel.decomposition import Decomposition, Shape


@dataclass(frozen=True)
class FakeRank:
    """One rank of many. What it is to reduce over all ranks it keeps as its own part."""

    rank: int
    size: int

    def Allreduce(self, part: np.ndarray, total: np.ndarray, op: Any) -> None:  # noqa: N802
        total[...] = part

    def Iallreduce(self, in_place: Any, part: np.ndarray, op: Any) -> MPI.Request:  # noqa: N802
        return MPI.REQUEST_NULL

    def allreduce(self, part: Any, op: Any) -> Any:
        return part


def decompositions(
    size: int, shape: Shape, periodic: bool = False, process_grid: Shape = (0, 0)
) -> list[Decomposition]:
    """What each of the ranks would make of the grid."""
    return [
        Decomposition(FakeRank(rank, size), shape, periodic, process_grid) for rank in range(size)
    ]
