"""From the start of a run to its first step, beside bare imports of what it is built on.

    python -m benchmarks.startup [--ranks 1 64] [--rounds N] [--warm] [-o DIR] [--quick]

The command is started as users start it, with a one-step run; "bare" imports numpy, mpi4py (which
starts MPI), numba and h5py, and ends. Seconds are those of the slowest rank from the creation of
its process, by the same formula for all. Cold: no compiled kernels in the cache.
"""

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Samples, describe_machine, options, table, write
from benchmarks.ranks import mpiexec

BARE = """
import numpy, numba, h5py
from mpi4py import MPI
import os, time
with open("/proc/self/stat", encoding="utf-8") as file:
    ticks = int(file.read().rpartition(")")[2].split()[19])
started = ticks / os.sysconf("SC_CLK_TCK")
print(f"<{time.clock_gettime(time.CLOCK_BOOTTIME) - started:.6f}>", flush=True)
"""


def bare(n_ranks: int) -> tuple[float, float]:
    """Seconds until everything is imported on the slowest rank, and of the whole job."""
    start = time.perf_counter()
    printed = mpiexec(n_ranks, ["-c", BARE], capture=True)
    seconds = time.perf_counter() - start
    # the launcher may join lines of several ranks
    found = [float(number) for number in re.findall(r"<([\d.]+)>", printed)]
    if len(found) != n_ranks:
        raise RuntimeError(f"{len(found)} of {n_ranks} ranks told their time:\n{printed}")
    return max(found), seconds


def first_step(n_ranks: int, cache: str | None) -> tuple[float, float]:
    """Seconds until a run's first step on the slowest rank, and of the whole job."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["-m", "burgers_adjoint", "forward", "-s", "time.steps=1", "--quiet"]
        arguments += ["-s", "output.plots=false", "-o", folder, "--json", f"{folder}/summary.json"]
        start = time.perf_counter()
        mpiexec(n_ranks, arguments, {"NUMBA_CACHE_DIR": cache} if cache else None, capture=True)
        seconds = time.perf_counter() - start
        summary = json.loads(Path(folder, "summary.json").read_text(encoding="utf-8"))
    return summary["seconds"]["startup"], seconds


def cold(n_ranks: int) -> tuple[float, float]:
    """`first_step` with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        return first_step(n_ranks, cache)


def measure(n_ranks: int, rounds: int, with_cold: bool) -> dict[str, Any]:
    """All in turn, after one warm run that does not count."""
    first_step(n_ranks, None)
    jobs: dict[str, Callable[[int], tuple[float, float]]] = {
        "bare": bare,
        "warm": lambda n: first_step(n, None),
    }
    if with_cold:
        jobs["cold"] = cold
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            seconds[name].append(job(n_ranks))
    ready = Samples({name: np.array(values)[:, 0] for name, values in seconds.items()})
    whole = Samples({name: np.array(values)[:, 1] for name, values in seconds.items()})
    return {
        "ranks": n_ranks,
        "seconds": {name: ready.median(name) for name in jobs},
        "over_bare": {name: ready.ratio(name, "bare") for name in jobs},
        "whole_job": {name: whole.median(name) for name in jobs},
        "samples": ready.as_dict(),
    }


def report(results: dict[str, Any]) -> None:
    """Print the table."""
    print(describe_machine())
    print("\nseconds from the creation of a rank's process, slowest rank; in brackets over bare")
    columns = ["ranks", "bare imports", "first step, warm", "first step, cold", "whole job, warm"]
    rows = []
    for row in results["rows"]:
        told = [
            f"{row['seconds'][name]:.2f} ({row['over_bare'][name]:.2f})"
            if name in row["seconds"]
            else None
            for name in ("warm", "cold")
        ]
        rows.append(
            [row["ranks"], row["seconds"]["bare"], *told, f"{row['whole_job']['warm']:.2f}"]
        )
    print(table(columns, rows))
    for row in results["rows"]:
        ranges = [
            f"{name} {min(values):.2f} to {max(values):.2f}"
            for name, values in row["samples"].items()
        ]
        print(f"{row['ranks']} ranks, over the rounds: {', '.join(ranges)} s")


def draw(results: dict[str, Any], figure: Any) -> None:
    """Bars of seconds."""
    axis = figure.subplots()
    places = np.arange(len(results["rows"]))
    for i, name in enumerate(results["rows"][0]["seconds"]):
        heights = [row["seconds"][name] for row in results["rows"]]
        axis.bar(places + 0.25 * (i - 1), heights, 0.25, label=name)
    axis.set_xticks(places, [f"{row['ranks']} ranks" for row in results["rows"]])
    axis.set_ylabel("seconds to the first step")
    axis.legend()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it wrote."""
    parser = options("startup", "From the start of a run to its first step, beside bare imports.")
    parser.set_defaults(rounds=3)
    parser.add_argument("--ranks", type=int, nargs="+", default=(1, 64), metavar="R")
    parser.add_argument("--warm", action="store_true", help="leave out the cold starts")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.ranks, chosen.rounds, chosen.warm = (1,), 1, True
    results = {"rows": [measure(n, chosen.rounds, not chosen.warm) for n in chosen.ranks]}
    report(results)
    write(chosen.output, "startup", results, lambda figure: draw(results, figure))
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
