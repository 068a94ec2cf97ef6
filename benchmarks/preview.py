"""What the status and the previews for `watch` cost: gradients with and without them, in turn.

    python -m benchmarks.preview [--points N] [--steps N] [--ranks N] [--preview SECONDS]
        [--rounds N] [-o DIR] [--quick]

Every other round takes the run with them first. The overhead is the ratio of the sweeps' wall
times, less 1: the median over the rounds, the range of their middle half, and that of the least
times of each kind, which others on the machine lengthen least; the median of the ratio of the CPU
times of the whole jobs, which on one rank no waiting is part of; and the share of the time that
rank 0 has counted for them.
"""

import json
import resource
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.measure import describe_machine, options, table, write
from benchmarks.ranks import gradient_arguments, mpiexec


@dataclass(frozen=True)
class Run:
    """What one run took.

    Attributes:
        sweeps: seconds.
        cpu: seconds of all its processes together.
        counted: share of the time that it has counted for what is watched.
        digest: of its results.
    """

    sweeps: float
    cpu: float
    counted: float
    digest: str


def gradient(ranks: int, points: int, steps: int, preview: float) -> Run:
    """One run with previews so many seconds apart; 0 for none."""
    with gradient_arguments(points, steps, {"output.preview": preview}) as (arguments, folder):
        before = _cpu_of_children()
        mpiexec(ranks, arguments)
        cpu = _cpu_of_children() - before
        status, counted = folder / "run/watch/status.json", 0.0
        if status.exists():
            counted = json.loads(status.read_text(encoding="utf-8"))["preview_share"]
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        return Run(summary["seconds"]["sweeps"], cpu, counted, summary["digest"])


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run the benchmark."""
    parser = options("preview", str(__doc__).splitlines()[0])
    parser.add_argument("--points", type=int, default=512, help="along x and along y")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--preview", type=float, default=5.0, help="output.preview [s]")
    chosen = parser.parse_args()
    points, steps, rounds = chosen.points, chosen.steps, chosen.rounds
    if chosen.quick:
        points, steps, rounds = 64, 300, 1
    plain: list[Run] = []
    watched: list[Run] = []
    for number in range(rounds):
        for preview in (0.0, chosen.preview)[:: 1 if number % 2 else -1]:
            run = gradient(chosen.ranks, points, steps, preview)
            (watched if preview else plain).append(run)
    digests = {run.digest for run in plain + watched}
    assert len(digests) == 1, digests
    without = np.array([[run.sweeps, run.cpu] for run in plain])
    with_them = np.array([[run.sweeps, run.cpu] for run in watched])
    low, middle, high = 100 * (np.quantile(with_them / without, [0.25, 0.5, 0.75], axis=0) - 1)
    least = 100 * (with_them.min(axis=0) / without.min(axis=0) - 1)
    counted = [run.counted for run in watched]
    columns = (
        "time", "rounds", "seconds", "overhead %", "middle half %", "of least times %",
        "as counted by the run %",
    )  # fmt: skip
    share = 100 * float(np.median(counted))
    rows = [
        (name, rounds, float(np.median(without[:, k])), float(middle[k]),
         f"{low[k]:.2f} to {high[k]:.2f}", float(least[k]), share)
        for k, name in enumerate(("sweeps, wall", "all of the job, CPU"))
    ]  # fmt: skip
    print(describe_machine())
    print(
        f"{points} x {points} points, {steps} steps, {chosen.ranks} ranks, output.preview = "
        f"{chosen.preview:g}; the same digest with and without"
    )
    print(table(columns, rows))
    results = {"plain": [asdict(run) for run in plain], "watched": [asdict(run) for run in watched]}
    write(chosen.output, "preview", results)


if __name__ == "__main__":
    main()
