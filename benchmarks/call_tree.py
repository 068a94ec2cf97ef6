"""Checkpoints inside the step, chosen by measurement: `python -m benchmarks.call_tree`.

The operator-split example, and Burgers with rk4 and upwind differences: both strategies against
choices by chance within the same memory, and against what binomial snapshots alone do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from benchmarks.measure import Samples, describe_machine, interleave, options, table, write
from benchmarks.reversals import problem_of
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.call_tree import Reversal
from burgers_adjoint.checkpointing.call_tree_choice import Choice
from burgers_adjoint.checkpointing.call_tree_profile import ProfiledReversal
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.output.inside_picture import add_choices
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.planning.inside import (
    InsidePlan,
    Measure,
    compared,
    measured,
    plan_tree,
    points,
)
from burgers_adjoint.planning.inside_engine import EngineRuns, kinds_of, plan_engine
from burgers_adjoint.snapshots.memory import MemoryStore

EXAMPLE = Path(__file__).parents[1] / "examples" / "operator_split.py"
COMM = MPI.COMM_WORLD
COLUMNS = (
    "choice",
    "recorded",
    "snapshots",
    "MB",
    "predicted s",
    "median s",
    "least s",
    "over chosen's least",
)
FINALISTS = 3  # choices by chance that are compared with the plan in turn


@dataclass
class Case:
    """What is chosen for.

    Attributes:
        name: of it.
        plan: what the strategies found.
        measure: one gradient under each of some choices.
        run: a gradient under a choice that nothing is measured of.
    """

    name: str
    plan: InsidePlan
    measure: Measure
    run: Callable[..., object]


def split_case(quick: bool, clock: Callable[[], float]) -> tuple[Case, Any]:
    """The operator-split example, with memory for 21 states."""
    spec = spec_from_file_location("operator_split", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = module_from_spec(spec)
    spec.loader.exec_module(example)
    nx, ny, n_steps = (18, 12, 6) if quick else (72, 48, 50)
    grid = Grid(nx, ny, (0.0, 4.0), (0.0, 3.0), periodic=True)
    model = example.Split(grid, COMM, dt=0.08, nu=0.05 * (72 / nx) ** 2)
    budget = 21 * model.new_snapshot().nbytes
    repeats = 1 if quick else 3
    plan = plan_tree(model, model.start, n_steps, budget, COMM, repeats, clock)

    def run(choice: Choice, kind: type[Reversal] = Reversal, steps: int = n_steps) -> None:
        model.reversal = kind(model.step, choice.recorded)
        store = MemoryStore(model.new_snapshot, choice.snapshots)
        Executor(model, Binomial(steps, choice.snapshots), store).run(model.start())

    measure = partial(measured, model, model.start, n_steps, comm=COMM, clock=clock)
    return Case("operator split", plan, measure, run), partial(run, kind=ProfiledReversal)


def burgers_case(quick: bool) -> Case:
    """Burgers with rk4 and upwind differences, with memory for 21 states."""
    n_points, n_steps = (24, 20) if quick else (128, 100)
    by_stages = {}
    for keeps, stages in ((False, "recompute"), (True, "keep")):
        time = {"dt": 1e-5, "steps": n_steps, "allow_unstable": True, "integrator": "rk4",
                "stages": stages}  # fmt: skip
        physics = {"advection": "upwind"}
        problem = problem_of(n_points, n_steps, time=time, physics=physics)
        prepare_kernels(problem.case.model)
        by_stages[keeps] = problem.case, problem.checkpointing
    budget = 24 * by_stages[False][1].stores.largest_memory_bytes
    kinds = kinds_of(by_stages)
    runs = EngineRuns(kinds, 1)
    plan = plan_engine(kinds, budget, 1 if quick else 3)
    return Case("Burgers, rk4 and upwind", plan, runs.measure, runs.run)


def both_ways(
    calls: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> Samples:
    """Time calls in turn, half of the rounds in reverse order: what runs before one tells."""
    half = -(-rounds // 2)
    halves = [
        interleave(dict(items), half, clock=clock).seconds
        for items in ([*calls.items()], [*calls.items()][::-1])
    ]
    return Samples({name: np.concatenate([one[name] for one in halves]) for name in calls})


def least(samples: Samples, name: str, base: str | None = None) -> float:
    """The least seconds, which others on the machine lengthen least; or over those of another."""
    found = float(samples.seconds[name].min())
    return found if base is None else found / least(samples, base)


def compare(case: Case, count: int, rounds: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Run choices by chance, then the best of them in turn with the plan's and with others."""
    plan, first = case.plan, case.plan.first
    plan = compared(plan, case.measure, count)
    tried = sorted(plan.by_chance, key=lambda one: one.seconds)
    best = list(dict.fromkeys(one.choice for one in tried))
    chosen = plan.best.profile.choice
    finalists = {"chosen": chosen, "all checkpointed": first.choice}
    everything = first.filled(frozenset(first.paths), plan.budget)
    if everything is not None and everything != chosen:
        finalists["all recorded"] = everything
    others = [choice for choice in best if choice not in finalists.values()][:FINALISTS]
    finalists |= {f"by chance, {place + 1}": choice for place, choice in enumerate(others)}
    calls = {name: partial(case.run, choice) for name, choice in finalists.items()}
    samples = both_ways(calls, rounds, clock)
    rows = [
        (name, len(choice.recorded), choice.snapshots, first.bytes_with(choice) / 1e6,
         first.seconds_with(choice), samples.median(name),
         least(samples, name), least(samples, name, "chosen"))
        for name, choice in finalists.items()
    ]  # fmt: skip
    print(f"\n{case.name}: {first.n_steps} steps, {plan.budget / 1e6:.3g} MB\n\n{plan}\n")
    print(table(COLUMNS, rows))
    return {
        "name": case.name,
        "rows": rows,
        "predicted_over_realised": plan.best.seconds / plan.best.profile.seconds,
        "paths": plan.paths,
        "at_random": points(plan.by_chance),
        "binomial": points(plan.binomial),
        "finalists": {
            name: {"recorded": sorted(choice.recorded), "snapshots": choice.snapshots}
            for name, choice in finalists.items()
        },
        "samples": samples.as_dict(),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and report; returns what JSON holds."""
    parser = options("call_tree", "Checkpoints inside the step against choices by chance.")
    chosen = parser.parse_args(arguments)
    count, rounds = (4, 2) if chosen.quick else (40, chosen.rounds)
    print(describe_machine(chosen.clock.__name__))
    split, profiled = split_case(chosen.quick, chosen.clock)
    results = [
        compare(split, count, rounds, chosen.clock),
        compare(burgers_case(chosen.quick), count, rounds, chosen.clock),
    ]
    pair = {"profiled": profiled, "plain": split.run}
    one = Choice(frozenset(), 1)
    calls = {name: partial(run, one, steps=1) for name, run in pair.items()}
    samples = both_ways(calls, 2 if chosen.quick else 100, chosen.clock)
    overhead = least(samples, "profiled", "plain") - 1
    print(f"\nprofiling takes {100 * overhead:.2g} % of a step with all checkpointed")

    def draw(figure: Any) -> None:
        found = results[0]
        add_choices(figure, found["paths"], found["at_random"], found["binomial"])

    found = {"cases": results, "overhead": overhead}
    write(chosen.output, "call_tree", found, draw)
    return found


if __name__ == "__main__":
    main()
