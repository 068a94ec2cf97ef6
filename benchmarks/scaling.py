"""Strong and weak scaling, the share of the halo exchange, and a model that projects them.

    python -m benchmarks.scaling [--ranks 1 2 4] [--grid N] [--tiles N ...] [-o DIR] [--quick]

All numbers of ranks are measured in one job, in turn: the first 1, 2, ... of its ranks work while
the others sleep. Run as above it starts the job itself; under mpiexec or srun it uses the ranks
that are there. More ranks than cores are marked.
"""

import json
import os
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.cost_model import (
    Machine,
    as_dict,
    fit_messages,
    polaris_like,
    project,
    step_seconds,
)
from benchmarks.measure import describe_machine, options, table, write
from benchmarks.ranks import launched, mpiexec

MESSAGE_BYTES = tuple(2**n for n in range(3, 21))
STEPS_PER_SAMPLE = 16
PROJECTED_RANKS = (1, 4, 16, 32, 128, 512, 1024, 2048, 4096)
STRONG_GRID, WEAK_TILE = 16384, 1024


class Bench:
    """One problem on the first ranks of a job: steps and adjoint steps of it are timed.

    Args:
        world: all ranks of the job; the constructor is collective.
        n_ranks: how many of them share the grid.
        n_points: (ny, nx) of the grid.
        seconds_per_sample: as many steps are taken as fill that.
    """

    def __init__(
        self, world: Any, n_ranks: int, n_points: tuple[int, int], seconds_per_sample: float
    ) -> None:
        from mpi4py import MPI

        from benchmarks.cases import fields_of, grid_of, model_on

        works = world.rank < n_ranks
        comm = world.Split(0 if works else MPI.UNDEFINED)
        self.works, self.n_ranks, self.n_points = works, n_ranks, n_points
        self.samples: list[dict[str, float]] = []
        if not works:
            return
        self.comm = comm
        ny, nx = n_points
        self.model = model_on(grid_of(nx, ny), comm=comm)
        self.state = self.model.initial_state(fields_of(self.model.grid, self.model.decomposition))
        self.cotangent = self.model.seed(self.state)
        self.k = self.model.stepper.steps_per_sweep
        self.n_steps = STEPS_PER_SAMPLE
        self._steps()
        seconds = comm.bcast(self._timed(self._steps)["seconds"], root=0)
        self.n_steps *= max(1, round(seconds_per_sample / max(seconds, 1e-6)))

    def _steps(self) -> None:
        self.model.advance(self.state, 0, self.n_steps)

    def _adjoint_steps(self) -> None:
        for _ in range(self.n_steps):
            self.model.adjoint_step(self.cotangent, self.state, 0)

    def _timed(self, call: Any) -> dict[str, float]:
        self.comm.Barrier()
        halo, start = self.model.halo_seconds, perf_counter()
        call()
        own = self.model.halo_seconds - halo
        self.comm.Barrier()
        return {"seconds": perf_counter() - start, "halo": own}

    def sample(self) -> None:
        """Take one sample of both. Collective over the ranks that work."""
        primal, adjoint = self._timed(self._steps), self._timed(self._adjoint_steps)
        halo = self.comm.allreduce(primal["halo"]) / self.n_ranks
        self.samples.append(
            {
                "step": primal["seconds"] / self.n_steps,
                "adjoint": adjoint["seconds"] / self.n_steps,
                "halo_share": halo / primal["seconds"],
            }
        )

    def result(self) -> dict[str, Any]:
        """Medians and samples; on rank 0."""
        series = {key: [one[key] for one in self.samples] for key in self.samples[0]}
        return {
            "ranks": self.n_ranks,
            "oversubscribed": self.n_ranks > len(os.sched_getaffinity(0)),
            "grid": self.n_points,
            "process_grid": self.model.decomposition.process_grid,
            "tile": self.model.decomposition.tile_shape,
            "k": self.k,
            **{key: float(np.median(values)) for key, values in series.items()},
            "samples": series,
        }


def exchange_seconds(comm: Any, n_bytes: int, repeats: int) -> float:
    """Seconds in which two ranks send each other a message by persistent requests."""
    from mpi4py import MPI

    out, back = np.zeros(n_bytes // 8), np.zeros(n_bytes // 8)
    other = 1 - comm.rank
    requests = [comm.Recv_init(back, source=other), comm.Send_init(out, dest=other)]
    comm.Barrier()
    start = perf_counter()
    for _ in range(repeats):
        MPI.Prequest.Startall(requests)
        MPI.Prequest.Waitall(requests)
    seconds = (perf_counter() - start) / repeats
    for request in requests:
        request.Free()
    return seconds


def measure_messages(world: Any, rounds: int, most_repeats: int) -> list[float]:
    """Medians over the rounds, by size of the message; empty on one rank. Collective."""
    from mpi4py import MPI

    from burgers_adjoint.parallel.failure import patient_barrier

    if world.size == 1:
        return []
    works = world.rank < 2
    pair = world.Split(0 if works else MPI.UNDEFINED)
    seconds: list[list[float]] = [[] for _ in MESSAGE_BYTES]
    if works:
        for _ in range(rounds):
            for number, n_bytes in enumerate(MESSAGE_BYTES):
                repeats = max(5, min(most_repeats, 2**22 // n_bytes))
                seconds[number].append(exchange_seconds(pair, n_bytes, repeats))
        pair.Free()
    patient_barrier(world)
    return [float(np.median(values)) for values in seconds] if works else []


def measure(chosen: Any) -> dict[str, Any] | None:
    """Everything that is measured; on rank 0. Collective."""
    from mpi4py import MPI

    from benchmarks.cases import grid_of, model_on
    from burgers_adjoint.equations.burgers.preparation import prepare_kernels
    from burgers_adjoint.parallel.failure import patient_barrier

    world = MPI.COMM_WORLD
    model = model_on(grid_of(64, 64 * world.size), comm=world)
    prepare_kernels(model)
    model.close()
    ranks = [n for n in chosen.ranks if n <= world.size]
    seconds = 0.01 if chosen.quick else 0.1
    benches: dict[str, list[Bench]] = {"strong": [], "weak": []}
    for n in ranks:
        benches["strong"].append(Bench(world, n, (chosen.grid, chosen.grid), seconds))
        patient_barrier(world)
    for tile in chosen.tiles:
        for n in ranks:
            benches["weak"].append(Bench(world, n, (tile * n, tile), seconds))
            patient_barrier(world)
    for _ in range(chosen.rounds):
        for bench in (*benches["strong"], *benches["weak"]):
            if bench.works:
                bench.sample()
            patient_barrier(world)
    exchanges = measure_messages(world, chosen.rounds, 10 if chosen.quick else 200)
    if world.rank:
        return None
    found: dict[str, Any] = {
        kind: [bench.result() for bench in group] for kind, group in benches.items()
    }
    return {**found, "message_bytes": MESSAGE_BYTES if exchanges else (), "exchange": exchanges}


def fit(results: dict[str, Any]) -> Machine | None:
    """Constants of this machine; None when there was one rank only."""
    if not results["exchange"]:
        return None
    latency, bandwidth = fit_messages(results["message_bytes"], results["exchange"])
    alone = [row for row in results["weak"] + results["strong"] if row["ranks"] == 1]
    costs = {row["tile"]: (row["step"] / np.prod(row["tile"]), row["k"]) for row in alone}
    cached = float(min(cost for cost, _ in costs.values()))
    largest = max(costs, key=lambda tile: tile[0] * tile[1])
    machine = Machine(
        latency, bandwidth, 0.0, cached, costs[largest][0] * costs[largest][1], 2.0**21
    )
    # what two ranks take longer for the smallest tile than the model without overhead says
    pairs = [row for row in results["weak"] if row["ranks"] == 2]
    smallest = min(pairs, key=lambda row: row["tile"][0] * row["tile"][1])
    by_model = step_seconds(machine, smallest["process_grid"], smallest["tile"], smallest["k"])
    by_model_alone = step_seconds(machine, (1, 1), smallest["tile"], smallest["k"])["seconds"]
    own = costs[smallest["tile"]][0] * np.prod(smallest["tile"])
    overhead = smallest["step"] - own - (by_model["seconds"] - by_model_alone)
    return Machine(**{**as_dict(machine), "overhead": max(0.0, float(overhead) * smallest["k"])})


def added_by_exchange(weak: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Seconds per step of two ranks beyond those of one, by tile: exchange, Python, halo points."""
    steps = {(row["ranks"], row["grid"][1]): row["samples"]["step"] for row in weak}
    return {
        f"{tile} x {tile}": float(np.median(np.subtract(steps[2, tile], steps[1, tile])))
        for ranks, tile in steps
        if ranks == 2 and (1, tile) in steps
    }


def analyse(results: dict[str, Any], latency: float) -> None:
    """Add efficiencies, the fitted model, what it says of the measured runs, and projections."""
    for kind in ("strong", "weak"):
        for row in results[kind]:
            base = next(
                one
                for one in results[kind]
                if one["ranks"] == min(o["ranks"] for o in results[kind])
                and (kind == "strong" or one["grid"][1] == row["grid"][1])
            )
            for what in ("step", "adjoint"):
                ratios = np.array(base["samples"][what]) / np.array(row["samples"][what])
                row[f"{what}_speedup"] = float(np.median(ratios)) * (
                    1 if kind == "strong" else row["ranks"] / base["ranks"]
                )
    results["added_by_exchange"] = added_by_exchange(results["weak"])
    machine = fit(results)
    results["fitted"] = results["projected_machine"] = None
    results["projection"] = {"strong": [], "weak": []}
    if machine is None:
        return
    for row in results["strong"] + results["weak"]:
        if row["oversubscribed"]:
            continue  # it takes every rank to have a core
        row["model"] = step_seconds(machine, row["process_grid"], row["tile"], row["k"])
    there = polaris_like(machine, latency)
    results["fitted"], results["projected_machine"] = as_dict(machine), as_dict(there)
    for ranks in PROJECTED_RANKS:
        strong = project(there, (STRONG_GRID, STRONG_GRID), ranks)
        results["projection"]["strong"].append(strong)
        rows = 2 ** (int(np.log2(ranks)) // 2)
        grid = (WEAK_TILE * ranks // rows, WEAK_TILE * rows)
        results["projection"]["weak"].append(project(there, grid, ranks))
    node = next(row for row in results["projection"]["strong"] if row["ranks"] == 32)
    node_weak = next(row for row in results["projection"]["weak"] if row["ranks"] == 32)
    for row in results["projection"]["strong"]:
        row["efficiency"] = node["seconds"] * 32 / (row["seconds"] * row["ranks"])
    for row in results["projection"]["weak"]:
        row["efficiency"] = node_weak["seconds"] / row["seconds"]


def report(results: dict[str, Any]) -> None:
    """Print the tables."""
    print(describe_machine())
    for kind in ("strong", "weak"):
        rows = [
            [
                f"{row['ranks']}{' (oversubscribed)' if row['oversubscribed'] else ''}",
                f"{row['grid'][0]} x {row['grid'][1]}",
                row["k"],
                row["step"] * 1e6,
                row["step_speedup"],
                row["adjoint"] * 1e6,
                row["adjoint_speedup"],
                f"{row['halo_share']:.1%}",
                row["model"]["seconds"] * 1e6 if row.get("model") else None,
            ]
            for row in results[kind]
        ]
        columns = ["ranks", "grid", "k", "step [us]", "speed-up", "adjoint step [us]", "speed-up"]
        columns += ["halo share", "step by the model [us]"]
        told = "one grid" if kind == "strong" else "a tile for every rank; speed-up: of points/s"
        print(f"\n{kind} scaling ({told})\n{table(columns, rows)}")
    for tile, seconds in results["added_by_exchange"].items():
        print(f"\nwhat a second rank adds to a step of a {tile} tile: {seconds * 1e6:.2f} us")
    if not results["fitted"]:
        print("\nno model: it takes two ranks to measure messages")
        return
    for title, key in (("here", "fitted"), ("projected to", "projected_machine")):
        one = results[key]
        print(
            f"\n{title}: latency {one['latency'] * 1e6:.2f} us, bandwidth "
            f"{one['bandwidth'] / 1e9:.2f} GB/s, exchange overhead {one['overhead'] * 1e6:.1f} us, "
            f"point {one['cached'] * 1e9:.2f} ns in the cache ({one['cache'] / 2**20:.0f} MiB), "
            f"beyond it {one['memory'] * 1e9:.2f} ns per sweep at least"
        )
    problems = {
        "strong": f"{STRONG_GRID} x {STRONG_GRID} points",
        "weak": f"{WEAK_TILE} x {WEAK_TILE} points per rank",
    }
    for kind, what in problems.items():
        rows = [
            [
                row["ranks"],
                f"{row['tile'][0]} x {row['tile'][1]}",
                row["k"],
                row["seconds"] * 1e6,
                f"{row['exchange'] / row['seconds']:.1%}",
                f"{row['efficiency']:.1%}" if row["ranks"] >= 32 else None,
            ]
            for row in results["projection"][kind]
        ]
        columns = ["ranks", "tile", "k", "step [us]", "exchange", "efficiency to one node"]
        print(f"\nprojected {kind} scaling, {what}, 32 ranks a node\n{table(columns, rows)}")


def draw(results: dict[str, Any], figure: Any) -> None:
    """Measured messages and their fit; projected efficiency."""
    left, right = figure.subplots(1, 2)
    if results["fitted"]:
        sizes = np.array(results["message_bytes"])
        left.loglog(sizes, np.array(results["exchange"]) * 1e6, "o", label="measured")
        fitted = results["fitted"]
        times = fitted["latency"] + sizes / fitted["bandwidth"]
        left.loglog(sizes, times * 1e6, label="latency + bytes / bandwidth")
        left.set_xlabel("bytes of a message each way")
        left.set_ylabel("microseconds")
        left.legend()
        for kind, rows in results["projection"].items():
            shown = [row for row in rows if row["ranks"] >= 32]
            right.semilogx(
                [row["ranks"] for row in shown],
                [row["efficiency"] for row in shown],
                marker="o",
                base=2,
                label=f"{kind}, projected",
            )
        right.set_ylim(0, 1.05)
        right.set_xlabel("ranks")
        right.set_ylabel("efficiency to one node of 32 ranks")
        right.legend()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Run the benchmark, as a job where it is not one; returns what it wrote, on rank 0."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = options("scaling", "Strong and weak scaling over ranks, and a model of it.")
    parser.add_argument("--ranks", type=int, nargs="+", default=(1, 2, 4), metavar="R")
    parser.add_argument("--grid", type=int, default=2048, metavar="N", help="strong: N x N points")
    parser.add_argument("--tiles", type=int, nargs="+", default=(64, 256, 1024), metavar="N")
    parser.add_argument(
        "--latency", type=float, default=2e-6, help="of the projected machine's messages [s]"
    )
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.ranks, chosen.grid, chosen.tiles, chosen.rounds = (1, 2), 64, (16, 32), 2
    if not launched():
        mpiexec(max(chosen.ranks), ["-m", "benchmarks.scaling", *arguments])
        name = chosen.output / "scaling.json"
        return dict(json.loads(name.read_text(encoding="utf-8")))
    results = measure(chosen)
    if results is None:
        return None
    analyse(results, chosen.latency)
    report(results)
    write(chosen.output, "scaling", results, lambda figure: draw(results, figure))
    return results


if __name__ == "__main__":
    main()
