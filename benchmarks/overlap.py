"""Halo exchange overlapped with the interior, beside the plain one, on two ranks.

    python -m benchmarks.overlap [--shapes NY NX ...] [-o DIR] [--quick]

Both advance the same grid in turn, and have to come to the same bits. Overlapped, the exchange is
begun, the rows that need no halo are advanced, and then the edges: of these the rows of the steps
in between are computed twice. Beside it: what the plain exchange takes.
"""

import json
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.measure import describe_machine, options, table, write
from benchmarks.ranks import launched, mpiexec

SHAPES = (2048, 2048, 2048, 1024, 512, 256, 128, 64)


def measure(shape: tuple[int, int], rounds: int, seconds: float) -> dict[str, Any]:
    """Seconds per step of both on one grid. Collective."""
    from mpi4py import MPI

    from benchmarks.cases import DT, VISCOSITY, fields_of, grid_of
    from burgers_adjoint.assembly.model import Recipe
    from burgers_adjoint.parallel.decomposition import Decomposition
    from burgers_adjoint.stepping.time_steps import TimeSteps

    comm = MPI.COMM_WORLD
    grid = grid_of(shape[1], shape[0])
    decomposition = Decomposition(comm, grid.shape, False, (comm.size, 1))
    fields = fields_of(grid, decomposition)
    models = {
        name: Recipe(("initial",), VISCOSITY, overlap=overlap).model(
            grid, decomposition, TimeSteps(DT)
        )
        for name, overlap in (("plain", False), ("overlapped", True))
    }
    states = {name: model.initial_state(fields) for name, model in models.items()}
    n_steps = 2 * models["plain"].steps_per_sweep

    def sample(name: str, n_steps: int) -> float:
        comm.Barrier()
        start = perf_counter()
        models[name].advance(states[name], 0, n_steps)
        comm.Barrier()
        return (perf_counter() - start) / n_steps

    for name in models:
        sample(name, n_steps)
    step = comm.bcast(sample("plain", n_steps), root=0)
    n_steps *= max(1, round(seconds / (step * n_steps)))
    found: dict[str, list[float]] = {"plain": [], "overlapped": [], "halo": []}
    for name in models:
        models[name].restart(states[name], fields)
    for _ in range(rounds):
        halo = models["plain"].halo_seconds
        found["plain"].append(sample("plain", n_steps))
        found["halo"].append((models["plain"].halo_seconds - halo) / n_steps)
        found["overlapped"].append(sample("overlapped", n_steps))
    plain, overlapped = (model.layout.interior(states[name]) for name, model in models.items())
    assert np.array_equal(plain, overlapped), "the bits differ"
    for model in models.values():
        model.close()
    ratios = np.array(found["overlapped"]) / np.array(found["plain"])
    return {
        "grid": shape,
        "k": models["plain"].steps_per_sweep,
        **{name: float(np.median(values)) for name, values in found.items()},
        "ratio": float(np.median(ratios)),
        "samples": found,
    }


def report(results: dict[str, Any]) -> None:
    """Print the table."""
    print(describe_machine())
    columns = ["grid", "k", "plain [us]", "of it exchange [us]", "overlapped [us]", "over plain"]
    rows = [
        [
            f"{row['grid'][0]} x {row['grid'][1]}",
            row["k"],
            row["plain"] * 1e6,
            row["halo"] * 1e6,
            row["overlapped"] * 1e6,
            row["ratio"],
        ]
        for row in results["rows"]
    ]
    print(f"\na step on {results['ranks']} ranks\n{table(columns, rows)}")


def draw(results: dict[str, Any], figure: Any) -> None:
    """Bars of overlapped over plain."""
    axis = figure.subplots()
    names = [f"{row['grid'][0]} x {row['grid'][1]}" for row in results["rows"]]
    axis.bar(names, [row["ratio"] for row in results["rows"]])
    axis.axhline(1.0, color="black", linewidth=0.8)
    axis.set_ylabel("overlapped over plain")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Run the benchmark, as a job where it is not one; returns what it wrote, on rank 0."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = options("overlap", "Halo exchange overlapped with the interior.")
    parser.add_argument("--shapes", type=int, nargs="+", default=SHAPES, metavar="N")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.shapes, chosen.rounds = (64, 32), 2
    if not launched():
        mpiexec(2, ["-m", "benchmarks.overlap", *arguments])
        return dict(json.loads((chosen.output / "overlap.json").read_text(encoding="utf-8")))
    from mpi4py import MPI

    shapes = list(zip(chosen.shapes[::2], chosen.shapes[1::2], strict=True))
    seconds = 0.01 if chosen.quick else 0.3
    results = {
        "ranks": MPI.COMM_WORLD.size,
        "rows": [measure(shape, chosen.rounds, seconds) for shape in shapes],
    }
    if MPI.COMM_WORLD.rank:
        return None
    report(results)
    write(chosen.output, "overlap", results, lambda figure: draw(results, figure))
    return results


if __name__ == "__main__":
    main()
