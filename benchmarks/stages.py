"""Stage states computed anew or kept in snapshots: `python -m benchmarks.stages`."""

from collections.abc import Sequence
from typing import Any

from benchmarks.measure import describe_machine, interleave, options, table, write
from benchmarks.reversals import Reversal, maker_of, problem_of

SCHEDULES = {"store_all": {"schedule": "store_all"}, "binomial, 20": {"snapshots": 20}}


def competitor(n_points: int, n_steps: int, integrator: str, section: Any, stages: str) -> Reversal:
    """Gradients of one problem, with the snapshots in memory."""
    time = {
        "dt": 1e-5,
        "steps": n_steps,
        "allow_unstable": True,
        "integrator": integrator,
        "stages": stages,
    }
    problem = problem_of(n_points, n_steps, time=time, checkpointing=section)
    return Reversal(problem, problem.checkpointing.schedule(), maker_of(problem), "memory")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and report; returns what JSON holds."""
    parser = options("stages", "Time and memory of gradients with kept and with recomputed stages.")
    chosen = parser.parse_args(arguments)
    sizes = [(32, 20)] if chosen.quick else [(128, 100), (512, 40)]
    rows, results = [], []
    for n_points, n_steps in sizes:
        for integrator in ("ssprk3", "rk4"):
            for name, section in SCHEDULES.items():
                pair = {
                    stages: competitor(n_points, n_steps, integrator, section, stages)
                    for stages in ("recompute", "keep")
                }
                samples = interleave(pair, 2 if chosen.quick else chosen.rounds, clock=chosen.clock)
                digests = {one.digest for one in pair.values()}
                assert len(digests) == 1, f"the gradients differ: {digests}"
                per_point = 1e9 / n_points**2 / n_steps
                anew, kept = (samples.median(stages) * per_point for stages in pair)
                counts = pair["keep"].counts
                sizes_of = [
                    one.problem.case.model.new_snapshot().nbytes / 1e6 for one in pair.values()
                ]
                ratio = samples.ratio("keep", "recompute")
                rows.append(
                    (f"{n_points}²", integrator, name, anew, kept, ratio,
                     f"{counts.kept_steps} of {n_steps}", *sizes_of)
                )  # fmt: skip
                results.append(
                    {"points": n_points, "steps": n_steps, "integrator": integrator,
                     "schedule": name, "samples": samples.as_dict(), "ratio": ratio,
                     "kept_steps": counts.kept_steps, "snapshot_megabytes": sizes_of}
                )  # fmt: skip
                for one in pair.values():
                    one.close()
                    one.problem.close()
    print(describe_machine(chosen.clock.__name__))
    print("Gradients, nanoseconds per point and step; MB of one snapshot\n")
    columns = ("grid", "integrator", "schedule", "recompute", "keep", "keep over recompute",
               "steps with kept stages", "MB", "MB kept")  # fmt: skip
    print(table(columns, rows))
    write(chosen.output, "stages", {"cases": results})
    return {"cases": results}


if __name__ == "__main__":
    main()
