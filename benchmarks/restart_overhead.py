"""What durable restart data costs: gradients with and without it, in turn.

    python -m benchmarks.restart_overhead [--points N] [--steps N] [--ranks N] [-o DIR] [--quick]

Each round takes a run without restart data, one with it, and both again with a competing load (a
process that copies memory) from the middle of the sweeps on. The overhead is the median over the
rounds of the ratio of the sweeps' wall times, less 1; beside it what the run itself has measured,
what its policy predicted, and the interval that the policy has come to.
"""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import describe_machine, options, table, write
from benchmarks.ranks import mpiexec

LOAD = "import numpy as np\na = np.ones(2**23)\nb = a.copy()\nwhile True: b[...] = a"


def gradient(
    ranks: int, points: int, steps: int, durable: bool, load_after: float | None
) -> dict[str, Any]:
    """Summary of one run; a load starts so many seconds after the run, when it is given."""
    disk = Path("output")
    disk.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        keys = {
            "grid.nx": points,
            "grid.ny": points,
            "time.steps": steps,
            # far from both limits of stability, on any grid
            "time.dt": 0.02 / points,
            "restart.enabled": str(durable).lower(),
            "output.plots": "false",
        }
        report = Path(folder) / "summary.json"
        arguments = ["-m", "burgers_adjoint", "gradient", "-o", f"{folder}/run", "--quiet"]
        arguments += ["--json", str(report)]
        for key, value in keys.items():
            arguments += ["-s", f"{key}={value}"]
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
        return dict(json.loads(report.read_text(encoding="utf-8")))


def main() -> None:
    """Run the benchmark."""
    parser = options("restart_overhead", str(__doc__).splitlines()[0])
    parser.add_argument("--points", type=int, default=1024, help="along x and along y")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--ranks", type=int, default=2)
    chosen = parser.parse_args()
    points, steps, rounds = chosen.points, chosen.steps, chosen.rounds
    if chosen.quick:
        points, steps, rounds = 64, 300, 1
    trial = gradient(chosen.ranks, points, steps, False, None)
    middle = trial["seconds"]["startup"] + trial["seconds"]["sweeps"] / 2
    samples: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for name, load_after in (("quiet", None), ("competing load", middle)):
            for durable in (False, True):
                summary = gradient(chosen.ranks, points, steps, durable, load_after)
                samples.setdefault(f"{name}, {durable}", []).append(summary)
    rows, results = [], {}
    for name in ("quiet", "competing load"):
        plain = np.array([one["seconds"]["sweeps"] for one in samples[f"{name}, False"]])
        saved = np.array([one["seconds"]["sweeps"] for one in samples[f"{name}, True"]])
        restart = [one["restart"] for one in samples[f"{name}, True"]]
        assert {one["digest"] for one in samples[f"{name}, True"]} == {trial["digest"]}
        results[name] = {"plain": plain.tolist(), "saved": saved.tolist(), "restart": restart}
        rows.append(
            [
                name,
                float(np.median(plain)),
                100 * float(np.median(saved / plain) - 1),
                *(100 * median(restart, key) for key in ("overhead", "predicted_overhead")),
                median(restart, "interval"),
                median(restart, "saves"),
            ]
        )
    columns = ("machine", "sweeps s", "overhead %", "as measured by the run %", "predicted %")
    print(describe_machine())
    print(f"{points} x {points} points, {steps} steps, {chosen.ranks} ranks, {rounds} rounds")
    print(table([*columns, "interval s", "saves"], rows))
    write(chosen.output, "restart_overhead", results)


def median(reports: list[dict[str, Any]], key: str) -> float:
    """Median of one number over the reports that have it."""
    values = [report[key] for report in reports if report[key] is not None]
    return float(np.median(values)) if values else 0.0


if __name__ == "__main__":
    main()
