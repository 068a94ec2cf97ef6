"""Snapshots in files on 2, 3 and 6 ranks: one per rank, or one of all by each of its drivers.

    python -m benchmarks.drivers [--grids N ...] [--ranks N ...] [--directory DIR] [-o DIR]

It takes an h5py with MPI. Each snapshot, u and v of the grid, is saved and loaded again, without
buffers. The files are in the page cache unless --directory is on a disk that is slower than that.
"""

import json
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.measure import describe_machine, options, table, write
from benchmarks.ranks import launched, mpiexec

SLOTS = 8
STORES: dict[str, dict[str, Any]] = {
    "file per rank": {"store": "hdf5", "asynchronous": False},
    "direct": {"store": "hdf5_shared", "driver": "direct"},
    "mpio": {"store": "hdf5_shared", "driver": "mpio"},
}


def measure(n: int, rounds: int, directory: str) -> dict[str, Any]:
    """Seconds per save and per load of a snapshot of n x n points. Collective."""
    from mpi4py import MPI

    from burgers_adjoint.assembly.stores import StoreMaker
    from burgers_adjoint.checkpointing.store_all import StoreAll
    from burgers_adjoint.config import from_dict
    from burgers_adjoint.parallel.decomposition import Decomposition

    comm = MPI.COMM_WORLD
    decomposition = Decomposition(comm, (n, n), False)
    values = np.random.default_rng(comm.rank).normal(size=(2, *decomposition.tile_shape))
    found = np.empty_like(values)

    def fill(buffer: np.ndarray) -> None:
        buffer[...] = values

    def read(buffer: np.ndarray) -> None:
        found[...] = buffer

    stores = {}
    for name, section in STORES.items():
        config = from_dict({"snapshots": {"directory": directory, **section}})
        maker = StoreMaker(config, decomposition, lambda: np.zeros_like(values))
        stores[name] = maker.make(StoreAll(SLOTS + 1))
    seconds: dict[str, dict[str, list[float]]] = {name: {"save": [], "load": []} for name in stores}
    for turn in range(rounds + 1):
        for name, store in stores.items():
            for what, move, data in (("save", store.save, fill), ("load", store.load, read)):
                comm.Barrier()
                start = perf_counter()
                for slot in range(SLOTS):
                    move(slot, slot, data)
                comm.Barrier()
                if turn:  # the first one touches new pages
                    seconds[name][what].append((perf_counter() - start) / SLOTS)
            assert np.array_equal(found, values), "the bits differ"
    for store in stores.values():
        store.close()
    medians = {
        name: {what: float(np.median(one)) for what, one in each.items()}
        for name, each in seconds.items()
    }
    return {"rank": comm.rank, "ranks": comm.size, "grid": n, **medians, "samples": seconds}


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    columns = ["ranks", "grid", *(f"{name} [ms]" for name in STORES)]
    cells = [
        [
            row["ranks"],
            f"{row['grid']} x {row['grid']}",
            *(f"{1e3 * row[name]['save']:.3g} / {1e3 * row[name]['load']:.3g}" for name in STORES),
        ]
        for row in rows
    ]
    print(f"{describe_machine()}\nsave / load of a snapshot\n{table(columns, cells)}")


def draw(rows: Sequence[dict[str, Any]], figure: Any) -> None:
    """Bars of save and load together, over those of a file per rank."""
    axis = figure.subplots()
    for place, name in enumerate(STORES):
        totals = [sum(row[name].values()) / sum(row["file per rank"].values()) for row in rows]
        axis.bar(np.arange(len(rows)) + 0.25 * place, totals, 0.25, label=name)
    names = [f"{row['grid']}², {row['ranks']} ranks" for row in rows]
    axis.set_xticks(np.arange(len(rows)) + 0.25, names, rotation=30)
    axis.set_ylabel("time over that of a file per rank")
    axis.legend()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, a job for each number of ranks, or its part as one of the ranks."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = options("drivers", "Snapshots in files: one per rank, or one of all ranks.")
    parser.add_argument("--grids", type=int, nargs="+", default=[128, 1024], metavar="N")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 3, 6], metavar="N")
    parser.add_argument("--directory", default="output/benchmarks", help="of the snapshot files")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.grids, chosen.ranks, chosen.rounds = [32], [2], 1
    if launched():
        rows = [measure(n, chosen.rounds, chosen.directory) for n in chosen.grids]
        if rows[0]["rank"] == 0:
            print(json.dumps(rows))
        return
    rows = []
    for n_ranks in chosen.ranks:
        told = mpiexec(n_ranks, ["-m", "benchmarks.drivers", *arguments], capture=True)
        rows += json.loads(told.splitlines()[-1])
    report(rows)
    write(chosen.output, "drivers", {"rows": rows}, lambda figure: draw(rows, figure))


if __name__ == "__main__":
    main()
