"""Predicted against actual seconds of every schedule and store, and what "auto" would take.

    mpiexec -n 2 python -m benchmarks.planner [--grid N] [--steps N] [--memory SIZE] [--quick]

Predictions are to be within 15 % of what is measured, and the chosen one no slower than 1.1 times
the best.
"""

from time import perf_counter
from typing import Any

from benchmarks.measure import describe_machine, options, table, write


def main() -> None:
    """Run the benchmark on all ranks."""
    parser = options("planner", "Predicted against actual seconds.")
    parser.add_argument("--grid", type=int, default=512, help="points in each direction")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--memory", default="60 MB", help="for snapshots, per rank")
    parser.add_argument("--directory", default="output/benchmarks", help="of the snapshot files")
    given = parser.parse_args()
    if given.quick:
        given.grid, given.steps, given.rounds, given.memory = 64, 60, 2, "1 MB"

    from mpi4py import MPI

    from benchmarks.reversals import Reversal, in_turn, maker_of, median, problem_of
    from burgers_adjoint.equations.burgers.preparation import prepare_kernels

    comm = MPI.COMM_WORLD
    section = {"directory": given.directory, "memory": given.memory}
    auto = {"schedule": "auto"}
    problem = problem_of(given.grid, given.steps, snapshots=section, checkpointing=auto)
    maker = maker_of(problem)
    prepare_kernels(problem.case.model)
    comm.Barrier()
    start = perf_counter()
    plan = problem.checkpointing.plan
    measuring = comm.allreduce(perf_counter() - start, op=MPI.MAX)
    competitors = {}
    for option in plan.options:
        schedule, store = option.candidate.schedule, option.candidate.store
        name = f"{schedule.name}, {store}, {schedule.memory_slots} of {schedule.slots}"
        competitors[name] = Reversal(problem, schedule, maker, store)
    in_turn(competitors, given.rounds)
    fastest = min(median(one.seconds) for one in competitors.values())
    rows: list[dict[str, Any]] = []
    for (name, one), option in zip(competitors.items(), plan.options, strict=True):
        actual = median(one.seconds)
        rows.append(
            {
                "case": name,
                "predicted": option.prediction.seconds,
                "actual": actual,
                "predicted_over_actual": option.prediction.seconds / actual,
                "actual_over_best": actual / fastest,
                "samples": one.seconds,
            }
        )
        one.close()
    if comm.rank:
        return
    print(describe_machine())
    print(f"{given.grid} x {given.grid}, {given.steps} steps, {given.memory} for snapshots")
    columns = ("case", "predicted", "actual", "predicted_over_actual", "actual_over_best")
    print(table(columns, [[row[column] for column in columns] for row in rows]))
    print(f"measuring and predicting took {measuring:.2f} s")
    print(f"auto takes {rows[0]['case']}: {rows[0]['actual_over_best']:.3g} times the best")

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        most = max(max(row["predicted"], row["actual"]) for row in rows)
        axes.plot([0, most], [0, most], color="black")
        axes.fill_between([0, most], [0, 0.85 * most], [0, 1.15 * most], alpha=0.2)
        for row in rows:
            axes.plot(row["actual"], row["predicted"], "o", label=row["case"])
        axes.set_xlabel("actual seconds")
        axes.set_ylabel("predicted seconds")
        axes.legend()

    results = {"ranks": comm.size, "rows": rows, "measuring": measuring}
    write(given.output, "planner", results, draw)


if __name__ == "__main__":
    main()
