"""What the status and the previews for `watch` cost: gradients with and without them, in turn.

    python -m benchmarks.preview [--points N] [--steps N] [--ranks N] [--preview SECONDS]
        [--rounds N] [-o DIR] [--quick]

Every other round takes the run with them first. The overhead is the ratio of the sweeps' wall
times, less 1: the median over the rounds, the range of their middle half, and that of the least
times of each kind, which others on the machine lengthen least; beside it the share of the time that
rank 0 has counted for them.
"""

import json
from typing import Any

import numpy as np

from benchmarks.measure import describe_machine, options, table, write
from benchmarks.ranks import gradient_arguments, mpiexec


def gradient(ranks: int, points: int, steps: int, preview: float) -> tuple[dict[str, Any], float]:
    """Summary of one run, and the share of the time that it has counted for what is watched."""
    with gradient_arguments(points, steps, {"output.preview": preview}) as (arguments, folder):
        mpiexec(ranks, arguments)
        status, counted = folder / "run/watch/status.json", 0.0
        if status.exists():
            counted = json.loads(status.read_text(encoding="utf-8"))["preview_share"]
        return dict(json.loads((folder / "summary.json").read_text(encoding="utf-8"))), counted


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
    plain: list[float] = []
    watched: list[float] = []
    counted, digests = [], set()
    for number in range(rounds):
        for preview in (0.0, chosen.preview)[:: 1 if number % 2 else -1]:
            summary, share = gradient(chosen.ranks, points, steps, preview)
            (watched if preview else plain).append(summary["seconds"]["sweeps"])
            if preview:
                counted.append(share)
            digests.add(summary["digest"])
    assert len(digests) == 1, digests
    low, middle, high = 100 * (
        np.quantile(np.array(watched) / np.array(plain), [0.25, 0.5, 0.75]) - 1
    )
    least = 100 * (min(watched) / min(plain) - 1)
    columns = (
        "rounds", "sweeps s", "overhead %", "middle half %", "of least times %",
        "as counted by the run %",
    )  # fmt: skip
    row = [
        rounds, float(np.median(plain)), float(middle), f"{low:.2f} to {high:.2f}", least,
        100 * float(np.median(counted)),
    ]  # fmt: skip
    print(describe_machine())
    print(
        f"{points} x {points} points, {steps} steps, {chosen.ranks} ranks, output.preview = "
        f"{chosen.preview:g}; the same digest with and without"
    )
    print(table(columns, [row]))
    results = {"plain": plain, "watched": watched, "counted": counted}
    write(chosen.output, "preview", results)


if __name__ == "__main__":
    main()
