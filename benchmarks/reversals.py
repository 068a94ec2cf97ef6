"""Reversals of one problem with any schedule and store, for the benchmarks of both."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.stores import Store, StoreMaker, closed_at_end
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.config import from_dict
from burgers_adjoint.problem import Problem


class Reversal:
    """One competitor: every call is one gradient. Collective.

    A store serves all calls, so that files and memory are there before the first one that counts.
    """

    def __init__(self, problem: Problem, schedule: Schedule, maker: StoreMaker, store: str) -> None:
        self.problem, self.schedule = problem, schedule
        self.digest = ""
        self.seconds: list[float] = []
        self._closing: AbstractContextManager[Store] = closed_at_end(maker.make(schedule, store))
        self._store = self._closing.__enter__()

    def __call__(self) -> float:
        """Compute the gradient; returns the seconds, which are those of all ranks."""
        comm, problem = self.problem.comm, self.problem
        comm.Barrier()
        start = perf_counter()
        result = reverse(problem.case, _again(self.schedule), self._store)
        comm.Barrier()
        self.seconds.append(comm.bcast(perf_counter() - start, root=0))
        self.digest = problem.case.digest(result.final, result.gradient)
        self.counts = result.counts
        return self.seconds[-1]

    def close(self) -> None:
        """Close the store and remove its files."""
        self._closing.__exit__(None, None, None)


def _again(schedule: Schedule) -> Schedule:
    import copy

    return copy.deepcopy(schedule)


def problem_of(n_points: int, n_steps: int, **sections: Any) -> Problem:
    """A square problem on all ranks, stable or not: what counts is the time."""
    data = {
        "grid": {"nx": n_points, "ny": n_points},
        "time": {"steps": n_steps, "dt": 1e-5, "allow_unstable": True},
    }
    return Problem(from_dict({**data, **sections}), MPI.COMM_WORLD)


def maker_of(problem: Problem) -> StoreMaker:
    """The stores of a problem."""
    return problem.checkpointing.stores


def in_turn(competitors: dict[str, Reversal], rounds: int) -> None:
    """Run all of them in turn, round after round, after one that does not count."""
    for turn in range(rounds + 1):
        for one in competitors.values():
            one()
            if turn == 0:
                one.seconds.clear()
    digests = {one.digest for one in competitors.values()}
    assert len(digests) == 1, f"the gradients differ: {digests}"


def ratio(one: Reversal, base: Reversal) -> float:
    """Median over the rounds of the seconds of one over those of the other."""
    return float(np.median(np.array(one.seconds) / np.array(base.seconds)))


def median(samples: Sequence[float]) -> float:
    """Median."""
    return float(np.median(samples))
