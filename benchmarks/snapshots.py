"""Stores against memory: binomial on disk, and two levels against all snapshots in memory.

    mpiexec -n 2 python -m benchmarks.snapshots [--grid N] [--steps N] [-o DIR] [--quick]

The files are in the page cache unless --directory is on a disk that is slower than that.
"""

from functools import partial
from typing import Any

from benchmarks.measure import describe_machine, options, table, write


def main() -> None:
    """Run the benchmark on all ranks."""
    parser = options("snapshots", "Stores against memory, 1.10 being the aim.")
    parser.add_argument("--grid", type=int, default=1024, help="points in each direction")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--snapshots", type=int, default=20, help="of the binomial schedule")
    parser.add_argument("--directory", default="output/benchmarks", help="of the snapshot files")
    given = parser.parse_args()
    if given.quick:
        given.grid, given.steps, given.rounds = 64, 60, 2

    from mpi4py import MPI

    from benchmarks.reversals import Reversal, in_turn, maker_of, median, problem_of, ratio
    from burgers_adjoint.checkpointing.binomial import Binomial
    from burgers_adjoint.checkpointing.two_level import TwoLevel
    from burgers_adjoint.equations.burgers.preparation import prepare_kernels

    comm = MPI.COMM_WORLD
    prepare_kernels(problem_of(64, given.steps).case.model)
    n, s = given.steps, given.snapshots
    far = max(1, s // 2)
    binomial, levels = partial(Binomial, n, s), partial(TwoLevel, n, s - far, far)
    cases: list[tuple[str, Any, str, dict[str, Any]]] = [
        ("binomial, memory", binomial, "memory", {}),
        ("binomial, hdf5, 4 buffers", binomial, "hdf5", {"buffers": 4}),
        ("binomial, hdf5, 8 buffers", binomial, "hdf5", {}),
        ("binomial, hdf5, 8 buffers, thread", binomial, "hdf5", {"asynchronous": True}),
        ("binomial, hdf5, no buffers", binomial, "hdf5", {"asynchronous": False}),
        ("binomial, hdf5_shared", binomial, "hdf5_shared", {}),
        ("two_level, tiered", levels, "tiered", {"buffers": 2}),
        ("two_level, memory", levels, "memory", {}),
    ]
    competitors = {}
    for name, schedule, store, section in cases:
        problem = problem_of(given.grid, n, snapshots={"directory": given.directory, **section})
        competitors[name] = Reversal(problem, schedule(), maker_of(problem), store)
    in_turn(competitors, given.rounds)
    base = competitors["binomial, memory"]
    rows = [
        {
            "case": name,
            "seconds": median(one.seconds),
            "ratio": ratio(one, base),
            "forward_steps": one.counts.forward_steps,
            "waiting_and_copying": one.counts.seconds_snapshots,
            "samples": one.seconds,
        }
        for name, one in competitors.items()
    ]
    for one in competitors.values():
        one.close()
    if comm.rank:
        return
    print(describe_machine())
    print(f"{given.grid} x {given.grid}, {n} steps, {s} snapshots, {comm.size} ranks")
    columns = ("case", "seconds", "ratio", "forward_steps", "waiting_and_copying")
    print(table(columns, [[row[column] for column in columns] for row in rows]))

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.barh([row["case"] for row in rows], [row["ratio"] for row in rows])
        axes.axvline(1.1, color="tab:red")
        axes.invert_yaxis()
        axes.set_xlabel("time over that of binomial in memory")

    results = {"ranks": comm.size, "grid": given.grid, "steps": n, "snapshots": s, "rows": rows}
    write(given.output, "snapshots", results, draw)


if __name__ == "__main__":
    main()
