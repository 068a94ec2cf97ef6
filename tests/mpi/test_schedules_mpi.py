"""Every schedule gives the bits that store-all gives on one rank."""

from functools import cache

import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.runs import evaluate, reverse
from burgers_adjoint.config import load
from burgers_adjoint.problem import Problem

COMM = MPI.COMM_WORLD

PROBLEM = [
    *("grid.nx=17", "grid.ny=13", "grid.boundary=periodic", "initial.kind=sines"),
    *("initial.amplitude=[1.0, 0.6]", "physics.viscosity=0.3", "time.dt=0.02", "time.steps=41"),
]
FOLLOWING = ["time.dt=0.3", "time.until=6.0", "time.cfl=0.3"]
SETTLING = ["time.dt=0.1", "time.steps=5000", "time.steady=0.015"]

SCHEDULES = [
    ["binomial", "checkpointing.snapshots=4"],
    ["periodic", "checkpointing.period=7"],
    ["periodic", "checkpointing.snapshots=12"],
    ["online", "checkpointing.snapshots=4"],
    ["multistage", "checkpointing.snapshots=2", "checkpointing.snapshots_on_disk=2"],
    ["two_level", "checkpointing.snapshots=2", "checkpointing.snapshots_on_disk=4"],
    [
        "checkpoint_schedules:HRevolve",
        "checkpointing.arguments={ snapshots_in_ram = 2, snapshots_on_disk = 1 }",
    ],
]


def reversed_with(comm, steps, schedule, known_by=None):
    """Digest, steps and forward steps of a gradient, with a schedule that finds the end or not."""
    config = load(
        None, [*PROBLEM, *steps, *(f"checkpointing.schedule={schedule[0]}", *schedule[1:])]
    )
    problem = Problem(config, comm)
    try:
        schedule = problem.checkpointing.schedule()
        with_store = problem.checkpointing.store(schedule)
        result = reverse(problem.case, schedule, with_store)
        with_store.close()
        digest = problem.case.digest(result.final, result.gradient)
        assert result.counts.forward_steps == schedule.predicted_forward_steps
        if known_by is not None:
            other = problem.checkpointing.schedule(known_by)
            store = problem.checkpointing.store(other)
            again = reverse(problem.case, other, store)
            store.close()
            assert again.counts.forward_steps == problem.case.n_steps
            assert problem.case.digest(again.final, again.gradient) == digest
            assert evaluate(problem.case) == result.objective
        return digest, problem.case.n_steps, result.counts.forward_steps
    finally:
        problem.close()


@cache
def expected(steps, schedule):
    """The same on this rank alone."""
    return reversed_with(MPI.COMM_SELF, steps, schedule)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule[0])
def test_every_schedule_gives_the_bits_of_store_all_on_one_rank(schedule):
    digest, n_steps, _ = reversed_with(COMM, (), schedule)
    assert n_steps == 41
    assert digest == expected((), ("store_all",))[0]


@pytest.mark.parametrize("steps", [FOLLOWING, SETTLING], ids=["following the flow", "settling"])
def test_an_end_found_on_the_way_gives_the_bits_of_store_all_with_these_steps(steps):
    schedule = ("online", "checkpointing.snapshots=4")
    digest, n_steps, forward_steps = reversed_with(COMM, steps, schedule, known_by="store_all")
    assert (digest, n_steps, forward_steps) == expected(tuple(steps), schedule)
    assert 20 < n_steps < 1000
    other = reversed_with(COMM, steps, ("online", "checkpointing.snapshots=9"))
    assert other[:2] == (digest, n_steps)
    assert other[2] < forward_steps


def test_steps_that_follow_the_flow_serve_any_schedule():
    steps = ("time.dt=0.3", "time.cfl=0.3")
    digest, n_steps, _ = reversed_with(COMM, steps, ["binomial", "checkpointing.snapshots=4"])
    assert digest == expected(steps, ("store_all",))[0]
    assert n_steps == 41


def test_a_stop_time_that_is_a_multiple_of_dt_is_as_many_steps():
    digest, n_steps, _ = reversed_with(COMM, ["time.until=0.82"], ["binomial"])
    assert n_steps == 41
    assert digest == expected((), ("store_all",))[0]
