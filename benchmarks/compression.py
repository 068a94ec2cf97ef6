"""What codecs of snapshots spare and cost: `python -m benchmarks.compression`.

Three tables. What each codec makes of states at the start and in the middle of a run, smooth and
steep ones. What gradients take in a memory for few snapshots as they are: with these, and with a
codec in no more memory, as a schedule of its own or beside a few snapshots as they are. And what
they take on a disk of 200 MB/s: every transfer lasts as long as it would there.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter, sleep
from typing import Any

import numpy as np

from benchmarks.measure import (
    Clock,
    describe_machine,
    interleave,
    options,
    table,
    write,
)
from benchmarks.reversals import Reversal
from burgers_adjoint.assembly.encoding import Encoding, packed_ratio
from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.config.sections import Snapshots
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.parallel.agreement import ALONE
from burgers_adjoint.planning.encoded import states_of
from burgers_adjoint.problem import Problem
from burgers_adjoint.snapshots.compressed import bytes_of
from burgers_adjoint.snapshots.file import LocalFile

STATES = {"smooth": 0.5, "steep": 0.15}  # widths of the Gaussian
CODECS: dict[str, dict[str, Any]] = {
    "float32": {"codec": "float32"},
    "lossless": {"codec": "lossless"},
    "quantised 1e-4": {"codec": "quantised", "tolerance": 1e-4},
    "quantised 1e-6": {"codec": "quantised", "tolerance": 1e-6},
    "quantised 1e-8": {"codec": "quantised", "tolerance": 1e-8},
    "bounded 1e-4": {"codec": "bounded", "tolerance": 1e-4},
    "bounded 1e-6": {"codec": "bounded", "tolerance": 1e-6},
    "bounded 1e-8": {"codec": "bounded", "tolerance": 1e-8},
}
METHODS: dict[str, dict[str, dict[str, Any]]] = {
    "euler": {},
    "rk4, upwind": {"time": {"integrator": "rk4"}, "physics": {"advection": "upwind"}},
}
DISK_BYTES_PER_SECOND = 200e6
VISCOSITY, COURANT, DIFFUSION = 0.002, 0.3, 0.15


def problem_of(points: int, steps: int, width: float, method: str, **more: Any) -> Problem:
    """A Gaussian on a grid that is not square, with the longest steps that are safe."""
    nx, ny = points, max(8, points - points // 8)
    spacing = min(3.0 / nx, 2.5 / ny)
    dt = min(COURANT * spacing, DIFFUSION * spacing**2 / VISCOSITY)
    if method == "euler":
        dt = min(dt, VISCOSITY)
    sections: dict[str, dict[str, Any]] = {
        "grid": {"nx": nx, "ny": ny, "x": [-1.0, 2.0], "y": [-1.5, 1.0]},
        "physics": {"viscosity": VISCOSITY},
        "initial": {"center": [0.2, -0.2], "width": [width, 0.8 * width], "amplitude": [1.0, -0.6]},
        "time": {"dt": dt, "steps": steps},
        "gradient": {"controls": ["initial"]},
    }
    for found in (METHODS[method], more):
        for section, keys in found.items():
            sections[section] = sections.get(section, {}) | keys
    return Problem(sections, ALONE)


def codec_rows(points: int, steps: int, rounds: int) -> list[list[Any]]:
    """Ratio, and encoding and decoding in copies of the state and in MB/s, by states and codec."""
    rows: list[list[Any]] = []
    for name, width in STATES.items():
        with problem_of(points, steps, width, "rk4, upwind") as problem:
            model = problem.case.model
            both = [model.layout.interior(state).copy() for state in states_of(problem.case)]
            for codec, keys in CODECS.items():
                encoding = Encoding(Snapshots(**keys), ALONE, model.new_snapshot, keys["codec"])
                one = encoding.codec
                for when, array in zip(("start", "middle"), both, strict=True):
                    if one.bounded:
                        one.tolerances = np.abs(array).max(axis=(1, 2)) * keys["tolerance"]
                    data, out = bytes_of(one.encode(array)), np.empty_like(array)
                    samples = interleave(
                        {
                            "copy": partial(np.copyto, out, array),
                            "encode": partial(one.encode, array),
                            "decode": partial(one.decode, data, out),
                        },
                        rounds,
                    )
                    rows.append(
                        [name, when, codec, array.nbytes / data.nbytes,
                         samples.ratio("encode", "copy"), samples.ratio("decode", "copy"),
                         array.nbytes / samples.median("encode") / 1e6,
                         array.nbytes / samples.median("decode") / 1e6,
                         float(np.abs(out - array).max() / np.abs(array).max())]
                    )  # fmt: skip
    return rows


def ways(few: int, steps: int) -> dict[str, dict[str, Any]]:
    """Sections of gradients in about the memory of few snapshots as they are, or of all states."""
    far = {"snapshots": max(1, few - 2), "snapshots_on_disk": max(4, round(1.5 * steps**0.5))}
    tight = {"codec": "bounded", "tolerance": 3e-7}
    fast = {"codec": "quantised", "tolerance": 3e-7}
    return {
        f"{few} as they are": {"checkpointing": {"snapshots": few}},
        "lossless, binomial": {
            "checkpointing": {"snapshots": "as many as fit"},
            "snapshots": {"codec": "lossless"},
        },
        "lossless, all states": {
            "checkpointing": {"schedule": "store_all"}, "snapshots": {"codec": "lossless"},
        },
        "float32, binomial": {
            "checkpointing": {"snapshots": "as many as fit"},
            "snapshots": {"codec": "float32"},
        },
        "quantised, binomial": {
            "checkpointing": {"snapshots": "as many as fit"}, "snapshots": fast,
        },
        "quantised beside a few, two_level": {
            "checkpointing": {"schedule": "two_level", **far}, "snapshots": fast,
        },
        "quantised, all states": {"checkpointing": {"schedule": "store_all"}, "snapshots": fast},
        "quantised 1e-4, all states": {
            "checkpointing": {"schedule": "store_all"}, "snapshots": CODECS["quantised 1e-4"],
        },
        "quantised 1e-10, all states": {
            "checkpointing": {"schedule": "store_all"}, "snapshots": fast | {"tolerance": 1e-10},
        },
        "bounded, binomial": {
            "checkpointing": {"snapshots": "as many as fit"}, "snapshots": tight,
        },
        "bounded beside a few, two_level": {
            "checkpointing": {"schedule": "two_level", **far}, "snapshots": tight,
        },
        "bounded, all states": {"checkpointing": {"schedule": "store_all"}, "snapshots": tight},
        "all states as they are": {"checkpointing": {"schedule": "store_all"}},
    }  # fmt: skip


def gradient_rows(
    points: int, steps: int, few: int, rounds: int, clock: Clock, only: Sequence[str]
) -> list[list[Any]]:
    """Time over that of few snapshots as they are, memory and error, by method and way."""
    rows: list[list[Any]] = []
    for method in METHODS:
        competitors: dict[str, Reversal] = {}
        errors, memory, ratios = {}, {}, {}
        exact: np.ndarray | None = None
        for name, sections in ways(few, steps).items():
            if competitors and only and not any(text in name for text in only):
                continue
            one = 2 * 8 * points * max(8, points - points // 8)
            if sections["checkpointing"].get("snapshots") == "as many as fit":
                limit = {"memory": f"{few * one} B"}
                sections = {**sections, "snapshots": sections["snapshots"] | limit}
            problem = problem_of(points, steps, STATES["smooth"], method, **sections)
            schedule = problem.checkpointing.schedule()
            prepare_kernels(problem.case.model)
            found = Reversal(problem, schedule, problem.checkpointing.stores, "memory")
            result = reverse(problem.case, problem.checkpointing.schedule(), found._store)
            gradient = np.array(result.gradient["initial"])
            exact = gradient if exact is None else exact
            errors[name] = float(np.linalg.norm(gradient - exact) / np.linalg.norm(exact))
            memory[name] = found._store.nbytes / 1e6
            ratios[name] = packed_ratio(ALONE, found._store)
            competitors[name] = found
        samples = interleave(competitors, rounds, clock=clock, warm=False)
        base = next(iter(competitors))
        for name, found in competitors.items():
            rows.append(
                [method, name, found.counts.forward_steps, found.counts.saves, ratios[name],
                 memory[name], samples.median(name), 1 / samples.ratio(name, base), errors[name]]
            )  # fmt: skip
            found.close()
            found.problem.close()
    return rows


@contextmanager
def slow_disk() -> Iterator[None]:
    """Transfers of snapshot files that last as long as on a disk of so many bytes a second."""
    kept = LocalFile.write, LocalFile.read

    def slowed(move: Callable[..., Any]) -> Callable[..., Any]:
        def moved(self: LocalFile, *arguments: Any) -> Any:
            start = perf_counter()
            found = move(self, *arguments)
            left = arguments[-1].nbytes / DISK_BYTES_PER_SECOND - (perf_counter() - start)
            sleep(max(0.0, left))
            return found

        return moved

    slow: Any = [slowed(move) for move in kept]
    # for the time of the benchmark the disk is slower, in place of two methods
    LocalFile.write, LocalFile.read = slow  # type: ignore[method-assign]
    try:
        yield
    finally:
        LocalFile.write, LocalFile.read = kept  # type: ignore[method-assign]


def disk_rows(points: int, steps: int, rounds: int) -> list[list[Any]]:
    """Time of gradients with all states on a slow disk, by codec."""
    rows: list[list[Any]] = []
    seconds: dict[str, list[float]] = {}
    errors, exact = {}, None
    for name in ("none", "float32", "lossless", "quantised 1e-6", "bounded 1e-6"):
        with tempfile.TemporaryDirectory() as folder, slow_disk():
            section = {"store": "hdf5", "directory": folder, "asynchronous": False}
            sections = {
                "checkpointing": {"schedule": "store_all"},
                "snapshots": section | CODECS.get(name, {}),
            }
            with problem_of(points, steps, STATES["smooth"], "rk4, upwind", **sections) as problem:
                prepare_kernels(problem.case.model)
                schedule = problem.checkpointing.schedule()
                with closed_at_end(problem.checkpointing.store(schedule)) as store:
                    for _ in range(rounds):
                        start = perf_counter()
                        result = reverse(problem.case, problem.checkpointing.schedule(), store)
                        seconds.setdefault(name, []).append(perf_counter() - start)
                gradient = np.array(result.gradient["initial"])
        exact = gradient if exact is None else exact
        errors[name] = float(np.linalg.norm(gradient - exact) / np.linalg.norm(exact))
        taken = float(np.median(seconds[name]))
        rows.append([name, taken, float(np.median(seconds["none"])) / taken, errors[name]])
    return rows


def draw(gradients: Sequence[Sequence[Any]], figure: Any) -> None:
    """Draw memory against time, and memory against the gradient's error, with Pareto fronts."""
    left, right = figure.subplots(1, 2)
    names = list(dict.fromkeys(row[1] for row in gradients))
    for method, marker in zip(METHODS, "os", strict=True):
        rows = [row for row in gradients if row[0] == method]
        points = {row[1]: (row[5], row[6], max(row[8], 1e-16)) for row in rows}
        for name, (memory, seconds, error) in points.items():
            style = {"marker": marker, "color": f"C{names.index(name) % 10}", "linestyle": ""}
            style["fillstyle"] = "full" if names.index(name) < 10 else "none"
            label = name if method == next(iter(METHODS)) else None
            left.loglog(memory, seconds, **style)
            right.loglog(memory, error, label=label, **style)
        for axis, place in ((left, 1), (right, 2)):
            front = pareto([(point[0], point[place]) for point in points.values()])
            axis.step(*zip(*front, strict=True), where="post", color="gray", linewidth=0.7)
    left.set_xlabel("snapshots in memory [MB]")
    left.set_ylabel("time of the gradient [s]")
    right.set_xlabel("snapshots in memory [MB]")
    right.set_ylabel("relative error of the gradient (0: 1e-16)")
    right.legend(
        fontsize=5,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.1),
        title="o Euler, squares rk4 with upwind",
        title_fontsize=6,
    )


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of which no other one has less of both, in the order of the first."""
    front: list[tuple[float, float]] = []
    for point in sorted(points):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and report; returns what JSON holds."""
    parser = options("compression", "What codecs of snapshots spare and cost.")
    parser.add_argument("--codec-points", type=int, default=1024, help="of a side, first table")
    parser.add_argument("--points", type=int, default=1024, help="of a side, gradients")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--few", type=int, default=4, help="snapshots as they are, in the memory")
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="TEXT", help="gradients whose names have one"
    )
    chosen = parser.parse_args(arguments)
    points, steps, rounds = chosen.points, chosen.steps, chosen.rounds
    codec_points, short = chosen.codec_points, min(steps, 200)
    if chosen.quick:
        codec_points, points, steps, short, rounds = 40, 32, 24, 12, 2
    codecs = codec_rows(codec_points, steps, rounds)
    print(describe_machine(chosen.clock.__name__))
    print(f"Codecs, {codec_points} points a side, states of {steps} steps with rk4 and upwind\n")
    columns = ("states", "at", "codec", "ratio", "encode, copies", "decode, copies",
               "encode MB/s", "decode MB/s", "largest error")  # fmt: skip
    print(table(columns, codecs), flush=True)
    gradients = gradient_rows(points, steps, chosen.few, rounds, chosen.clock, chosen.only)
    print(f"\nGradients, {points} points a side, {steps} steps, memory for {chosen.few} states\n")
    columns = ("method", "snapshots", "forward steps", "saves", "ratio", "MB", "seconds",
               "times faster", "gradient error")  # fmt: skip
    print(table(columns, gradients), flush=True)
    disk = disk_rows(points, short, min(rounds, 3))
    print(f"\nAll states of {short} steps on a disk of 200 MB/s, rk4 and upwind\n")
    print(table(("codec", "seconds", "times faster", "gradient error"), disk))
    results = {"codecs": codecs, "gradients": gradients, "disk": disk}
    write(chosen.output, "compression", results, partial(draw, gradients))
    return results


if __name__ == "__main__":
    main()
