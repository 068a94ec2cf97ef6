"""A gradient over a million steps: its time, and its memory tenth by tenth."""

import argparse
from time import perf_counter
from typing import Any

import psutil
from mpi4py import MPI

from benchmarks.measure import describe_machine, options, table, write
from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.checkpointing.actions import Save
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.config import load
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.problem import Problem

COLUMNS = ["done", "seconds", "resident MB"]
PARTS = 10


class Watch:
    """Observes a run: notes time and memory whenever another tenth of the actions' steps is done.

    Attributes:
        rows: done in percent, seconds and resident megabytes.
        at_turn: megabytes by which the seeding of the cotangent grew the process.
        after_turn: resident megabytes after the first reverse step.
    """

    def __init__(self, total: int) -> None:
        self.rows: list[list[float]] = []
        self._total = total
        self._process = psutil.Process()
        self._start = perf_counter()
        self._before = self.resident
        self.at_turn = self.after_turn = 0.0

    @property
    def resident(self) -> float:
        """Resident megabytes now."""
        return float(self._process.memory_info().rss / 1e6)

    def __call__(self, action: object, counts: Counts) -> None:
        """Look at the counts."""
        if not self.after_turn:
            if counts.reverse_steps:
                self.after_turn = self.resident
                self.at_turn = self.after_turn - self._before
            elif isinstance(action, Save):
                self._before = self.resident
        done = counts.forward_steps + counts.reverse_steps
        if done * PARTS >= (len(self.rows) + 1) * self._total:
            seconds = perf_counter() - self._start
            self.rows.append([100 * (len(self.rows) + 1) // PARTS, seconds, self.resident])


def main() -> None:
    """Print the table and write it."""
    parser = options("million", __doc__ or "")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--schedule", default="binomial")
    measure(parser.parse_args())


def measure(arguments: argparse.Namespace) -> None:
    """Run the gradient on 64 x 64 points with 100 snapshots."""
    n_steps = min(arguments.steps, 20_000) if arguments.quick else arguments.steps
    overrides = ["grid.nx=64", "grid.ny=64", "checkpointing.snapshots=100", f"time.steps={n_steps}"]
    config = load(None, [*overrides, f"checkpointing.schedule={arguments.schedule}"])
    problem = Problem(config, MPI.COMM_SELF)
    prepare_kernels(problem.case.model)
    schedule = problem.checkpointing.schedule()
    store = problem.checkpointing.store(schedule)
    watch = Watch(schedule.predicted_forward_steps + n_steps)
    result = reverse(problem.case, schedule, store, watch)
    store.close()
    problem.close()
    print(describe_machine())
    print(
        f"{n_steps} steps, {schedule.name}: {result.counts.forward_steps} forward steps, "
        f"{result.counts.saves} snapshots written"
    )
    print(table(COLUMNS, watch.rows))
    growth = watch.rows[-1][2] - watch.rows[0][2]
    print(f"from the first tenth to the end: {growth:+.2f} MB")
    print(
        f"of it, when the cotangent is made and J is summed up: {watch.at_turn:+.2f} MB; "
        f"after that: {watch.rows[-1][2] - watch.after_turn:+.2f} MB"
    )

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([row[0] for row in watch.rows], [row[2] for row in watch.rows], "o-")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("steps taken, forward and reverse, percent")
        axes.set_ylabel("resident MB")

    write(arguments.output, "million", {"n_steps": n_steps, "rows": watch.rows}, draw)


if __name__ == "__main__":
    main()
