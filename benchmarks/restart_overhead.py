"""What durable restart data costs: gradients with and without it, in turn.

    python -m benchmarks.restart_overhead [--points N] [--steps N] [--ranks N] [--rounds N] [--add]
        [-o DIR] [--quick]

Each round takes a run without restart data, one with it, and both again with a competing load (a
process that copies memory) from the middle of the sweeps on; every other round has the one with it
first. The overhead is the median over the rounds of the ratio of the sweeps' wall times, less 1,
and the range of the middle half of the rounds; beside it what the run itself has measured, what its
policy predicted, and the interval that the policy has come to.
"""

import json
import subprocess
import sys
import threading
from typing import Any

import numpy as np

from benchmarks.measure import describe_machine, options, table, write
from benchmarks.ranks import gradient_arguments, mpiexec

LOAD = "import numpy as np\na = np.ones(2**23)\nb = a.copy()\nwhile True: b[...] = a"


def gradient(
    ranks: int, points: int, steps: int, durable: bool, load_after: float | None
) -> dict[str, Any]:
    """Summary of one run; a load starts so many seconds after the run, when it is given."""
    keys = {"restart.enabled": str(durable).lower()}
    with gradient_arguments(points, steps, keys) as (arguments, folder):
        load: list[subprocess.Popen[bytes]] = []
        timer = threading.Timer(
            load_after or 0.0, lambda: load.append(subprocess.Popen([sys.executable, "-c", LOAD]))
        )
        if load_after is not None:
            timer.start()
        try:
            mpiexec(ranks, arguments)
        finally:
            timer.cancel()
            if load_after is not None:
                timer.join()
            for process in load:
                process.kill()
                process.wait()
        return dict(json.loads((folder / "summary.json").read_text(encoding="utf-8")))


def main() -> None:
    """Run the benchmark."""
    parser = options("restart_overhead", str(__doc__).splitlines()[0])
    parser.add_argument("--points", type=int, default=1024, help="along x and along y")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument(
        "--add", action="store_true", help="add the rounds to those in the output folder"
    )
    chosen = parser.parse_args()
    points, steps, rounds = chosen.points, chosen.steps, chosen.rounds
    if chosen.quick:
        points, steps, rounds = 64, 300, 1
    trial = gradient(chosen.ranks, points, steps, False, None)
    middle = trial["seconds"]["startup"] + trial["seconds"]["sweeps"] / 2
    samples: dict[str, list[dict[str, Any]]] = {}
    for number in range(rounds):
        for name, load_after in (("quiet", None), ("competing load", middle)):
            for durable in (number % 2 == 1, number % 2 == 0):
                summary = gradient(chosen.ranks, points, steps, durable, load_after)
                samples.setdefault(f"{name}, {durable}", []).append(summary)
    before: dict[str, Any] = {}
    if chosen.add:
        before = json.loads((chosen.output / "restart_overhead.json").read_text(encoding="utf-8"))
    rows: list[list[Any]] = []
    results: dict[str, Any] = {"case": [points, steps, chosen.ranks]}
    if before and before["case"] != results["case"]:
        parser.error(f"the rounds in {chosen.output} are of another case: {before['case']}")
    for name in ("quiet", "competing load"):
        assert {one["digest"] for one in samples[f"{name}, True"]} == {trial["digest"]}
        found = {
            "plain": [one["seconds"]["sweeps"] for one in samples[f"{name}, False"]],
            "saved": [one["seconds"]["sweeps"] for one in samples[f"{name}, True"]],
            "restart": [one["restart"] for one in samples[f"{name}, True"]],
        }
        for key, values in found.items():
            found[key] = before.get(name, {}).get(key, []) + values
        results[name] = found
        plain, saved = np.array(found["plain"]), np.array(found["saved"])
        quartiles = 100 * (np.quantile(saved / plain, [0.25, 0.5, 0.75]) - 1)
        rows.append(
            [
                name,
                len(plain),
                float(np.median(plain)),
                float(quartiles[1]),
                f"{quartiles[0]:.2f} to {quartiles[2]:.2f}",
                *(
                    100 * median(found["restart"], key)
                    for key in ("overhead", "predicted_overhead")
                ),
                median(found["restart"], "interval"),
                median(found["restart"], "saves"),
            ]
        )
    columns: tuple[str, ...] = ("machine", "rounds", "sweeps s", "overhead %", "middle half %")
    columns += ("as measured by the run %", "predicted %", "interval s", "saves")
    print(describe_machine())
    print(f"{points} x {points} points, {steps} steps, {chosen.ranks} ranks")
    print(table(columns, rows))
    write(chosen.output, "restart_overhead", results)


def median(reports: list[dict[str, Any]], key: str) -> float:
    """Median of one number over the reports that have it."""
    values = [report[key] for report in reports if report[key] is not None]
    return float(np.median(values)) if values else 0.0


if __name__ == "__main__":
    main()
