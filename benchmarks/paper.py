"""The published experiment: 10,000 steps with 10 to 250 snapshots, gradient over primal.

    python -m benchmarks.paper [--grid N] [--steps N] [--snapshots S ...] [-o DIR] [--quick]

M. Schanen et al. (ICCS 2023) measured on Polaris what the gradient of a 2D Burgers solver costs in
primal runs, with binomial schedules and snapshots in memory, on a parallel file system and on
node-local disks. Here one rank does the same in memory. Before every gradient the primal is run
step by step, as that paper's primal runs are, and in blocked steps.
All steps are taken: nothing is extrapolated. At 1024 x 1024 points state, cotangent and snapshots
are beyond the cache of a core, and the whole ends in some minutes.
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import psutil

from benchmarks.cases import fields_of, grid_of, model_on
from benchmarks.measure import describe_machine, options, table, timed, write
from burgers_adjoint.checkpointing.binomial import Binomial, least_forward_steps
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.snapshots.memory import MemoryStore

# Gradient time over primal time by number of snapshots (plotdata of Burgers.jl).
PUBLISHED = {
    "RAM": {10: 14.5, 30: 11.8, 50: 11.5, 100: 11.3, 250: 11.0},
    "parallel disk": {50: 17.3, 100: 14.0, 250: 20.3},
    "node SSD": {50: 15.2, 100: 13.4},
}
PUBLISHED_STEPS = 10_000
SNAPSHOTS = (10, 30, 50, 100, 250)
# As the paper's theory has it: an adjoint step costs as much as three steps.
ADJOINT_STEPS = 3


def theory(n_steps: int, snapshots: int) -> float:
    """Gradient over primal when steps alone cost time, and an adjoint step costs three of them."""
    return (least_forward_steps(n_steps, snapshots) + 1) / n_steps + ADJOINT_STEPS


def measure(chosen: Any) -> list[dict[str, Any]]:
    """One row per number of snapshots: primal runs, and the gradient after them."""
    n_steps = chosen.steps
    grid = grid_of(chosen.grid, chosen.grid)
    single, blocked = model_on(grid, steps_per_sweep=1), model_on(grid)
    fields = fields_of(grid, blocked.decomposition)
    state_single, state = single.initial_state(fields), blocked.initial_state(fields)

    def run_single() -> None:
        single.restart(state_single, fields)
        single.advance(state_single, 0, n_steps)

    def run_blocked() -> None:
        blocked.restart(state, fields)
        blocked.advance(state, 0, n_steps)

    # everything once before it is timed
    run_briefly = Executor(blocked, Binomial(2, 1), MemoryStore(blocked.new_snapshot, 1))
    run_briefly.run(state)
    single.advance(state_single, 0, 1)
    rows = []
    for snapshots in chosen.snapshots:
        needed, available = 16 * grid.nx * grid.ny * snapshots, psutil.virtual_memory().available
        if needed > 0.8 * available:
            print(f"skipped: {snapshots} snapshots need {needed / 1e9:.1f} GB", flush=True)
            continue
        by_one, in_blocks, gradients = [], [], []
        for _ in range(chosen.rounds):
            by_one.append(timed(run_single, chosen.clock))
            in_blocks.append(timed(run_blocked, chosen.clock))
            store = MemoryStore(blocked.new_state, snapshots, exchanges=True)
            schedule = Binomial(n_steps, snapshots)
            blocked.restart(state, fields)
            executor: Executor[np.ndarray, Any, Any] = Executor(blocked, schedule, store)
            gradients.append(timed(partial(executor.run, state), chosen.clock))
            assert executor.state is not None
            state = executor.state  # the store has kept the one that it began with
            store.close()
        primal, primal_blocked = float(np.median(by_one)), float(np.median(in_blocks))
        gradient = float(np.median(gradients))
        rows.append(
            {
                "snapshots": snapshots,
                "forward_steps": executor.counts.forward_steps,
                "saves": executor.counts.saves,
                "primal": primal,
                "primal_blocked": primal_blocked,
                "gradient": gradient,
                "over_primal": gradient / primal,
                "over_blocked": gradient / primal_blocked,
                "theory": theory(n_steps, snapshots),
                "samples": {"primal": by_one, "primal_blocked": in_blocks, "gradient": gradients},
            }
        )
        if chosen.show_progress:
            print(f"  {snapshots} snapshots: {gradient / primal:.2f} primal runs", flush=True)
    return rows


def report(results: dict[str, Any]) -> None:
    """Print the table."""
    n, n_steps = results["grid"], results["steps"]
    print(describe_machine(results["clock"]))
    print(f"\n{n} x {n} points, {n_steps} steps, one rank; gradient time over primal time")
    published = results["published"]
    columns = [
        "snapshots",
        "forward steps",
        "primal by one [s]",
        "gradient [s]",
        "over primal by one",
        "over blocked primal",
        "theory",
        *(f"paper, {where}" for where in published),
    ]
    rows = [
        [
            row["snapshots"],
            row["forward_steps"],
            row["primal"],
            row["gradient"],
            row["over_primal"],
            row["over_blocked"],
            row["theory"],
            *(numbers.get(str(row["snapshots"])) for numbers in published.values()),
        ]
        for row in results["rows"]
    ]
    print(table(columns, rows))
    primals = np.concatenate([row["samples"]["primal"] for row in results["rows"]])
    print(
        f"primal by one over all rounds: {primals.min():.2f} to {primals.max():.2f} s; "
        f"blocked: {np.median([row['primal_blocked'] for row in results['rows']]):.2f} s\n"
        f"theory: forward steps over steps, and {ADJOINT_STEPS} for the adjoint"
    )


def draw(results: dict[str, Any], figure: Any) -> None:
    """Gradient over primal against snapshots."""
    axis = figure.subplots()
    for where, numbers in results["published"].items():
        pairs = sorted((int(s), ratio) for s, ratio in numbers.items())
        axis.plot(*zip(*pairs, strict=True), marker="s", linestyle="--", label=f"paper, {where}")
    snapshots = [row["snapshots"] for row in results["rows"]]
    for key, label in (
        ("over_primal", "over the primal step by step"),
        ("over_blocked", "over the blocked primal"),
        ("theory", "theory"),
    ):
        axis.plot(snapshots, [row[key] for row in results["rows"]], marker="o", label=label)
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("snapshots")
    axis.set_ylabel("gradient time over primal time")
    axis.grid(alpha=0.3)
    axis.legend()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it wrote."""
    parser = options("paper", "The published experiment: gradient time over primal time.")
    parser.set_defaults(rounds=1)
    parser.add_argument("--grid", type=int, default=1024, metavar="N", help="N x N points")
    parser.add_argument("--steps", type=int, default=PUBLISHED_STEPS)
    parser.add_argument("--snapshots", type=int, nargs="+", default=SNAPSHOTS, metavar="S")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.grid, chosen.steps, chosen.snapshots = 32, 50, (5, 10)
    chosen.show_progress = not chosen.quick
    as_published = chosen.steps == PUBLISHED_STEPS
    published = {
        where: {str(s): ratio for s, ratio in numbers.items()}
        for where, numbers in PUBLISHED.items()
        if as_published
    }
    results = {
        "clock": chosen.clock.__name__,
        "grid": chosen.grid,
        "steps": chosen.steps,
        "rows": measure(chosen),
        "published": published,
    }
    report(results)
    write(chosen.output, "paper", results, lambda figure: draw(results, figure))
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
