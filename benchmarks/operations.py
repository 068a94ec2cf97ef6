"""The operations of each program, and what each takes: whether arithmetic or memory limits it.

    python -m benchmarks.operations [--tile N] [--rounds N]

The operations of a program's formulas are counted at one point, as a compiler leaves them: equal
ones once, those that nothing needs not at all, a sign for free. A program that computes all the
time takes about the same for each of its sums, whatever it does; one that waits for memory takes
more. Beside it the same code generator runs chains of multiply-adds, divisions and square roots on
rows in the first-level cache.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.measure import Clock, describe_machine, interleave, options, table, write
from benchmarks.programs import PROGRAMS, Program, measure_programs
from burgers_adjoint.config.registry import INTEGRATORS
from burgers_adjoint.kernels.compilation import compiled
from burgers_adjoint.kernels.formula import fma, square_root
from burgers_adjoint.kernels.lanes import row_kernel
from burgers_adjoint.kernels.programs import Kind, Row
from burgers_adjoint.kernels.tile_layout import LINE, aligned_zeros
from burgers_adjoint.stepping.runge_kutta import StepKinds

N_CHAINS, LENGTH = 12, 20  # as many as hide what one operation waits for the one before it
N_LINES = 32
CLASSES = {"sqrt": "roots", "div": "divisions", "neg": ""}  # others are one instruction each


def operations(kinds: Sequence[Kind]) -> Counter[str]:
    """Operations of these kinds at one point: "sums" (adds, products, both in one) and others."""
    found: Counter[str] = Counter()
    for kind in kinds:
        lines = kind.listing().splitlines()[1:]
        n_results = len(kind.outputs)
        body, results = lines[: len(lines) - n_results], lines[len(lines) - n_results :]
        names: dict[str, str] = {}  # of a line to the first one that computes the same
        seen: dict[str, str] = {}
        operands: dict[str, list[str]] = {}
        for number, line in enumerate(body, 1):
            what, *parts = line.split()
            parts = [names.get(part, part) for part in parts]
            name = seen.setdefault(" ".join([what, *parts]), str(number))
            names[str(number)] = name
            operands[name] = [what, *parts]
        wanted = [names.get(one, one) for one in results]
        needed: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name in operands and name not in needed:
                needed.add(name)
                wanted += operands[name][1:]
        found.update(CLASSES.get(operands[name][0], "sums") for name in needed)
    found.pop("", None)
    return found


def kinds_of(program: Program) -> dict[str, list[Kind]]:
    """The kinds of a step, and of an adjoint step with the stages that it computes anew."""
    stepper: Any = program.model(16).stepper
    kinds = StepKinds(stepper.equation, INTEGRATORS[program.integrator], (), bounded=True)
    stages = range(kinds.n_stages)
    again = [kinds.forward(stage, end=False) for stage in stages[:-1]]
    return {
        "primal": [kinds.forward(stage) for stage in stages],
        "adjoint": [*again, *(kinds.backward(stage) for stage in stages)],
    }


def chain(step: Callable[[Any, Any], Any]) -> Callable[[], object]:
    """A call that makes `N_CHAINS` x `LENGTH` operations at each point of `N_LINES` lines."""

    def formula(c: Sequence[Any], points: Sequence[Any]) -> list[Any]:
        # chains that begin alike would be one
        values = [points[0] + float(k) for k in range(N_CHAINS)]
        for _ in range(LENGTH):
            values = [step(value, points[1]) for value in values]
        total = values[0]
        for value in values[1:]:
            total = total + value
        return [total]

    kind = Kind(formula, ((Row("x"), 0), (Row("y"), 0)), (Row("out"),))
    row = row_kernel([kind])

    def run(streams: Any, n_lines: Any) -> None:
        row(0, 0, 0, streams.ctypes.data, 0, n_lines, 0)

    call = compiled(run, cache=False)
    arrays = [aligned_zeros((N_LINES * LINE,)) for _ in range(3)]
    arrays[0][:], arrays[1][:] = 1.25, 0.75
    streams = np.array([word for one in arrays for word in (0, one.ctypes.data)], dtype=np.int64)
    return lambda: (call(streams, N_LINES), arrays)


def measure_operations(rounds: int, clock: Clock) -> dict[str, float]:
    """Nanoseconds of an operation at a point, by class."""
    competitors = {
        "sums": chain(lambda value, y: fma(value, y, y)),
        "divisions": chain(lambda value, y: y / value),
        "roots": chain(lambda value, y: square_root(value + y)),
    }
    samples = interleave(competitors, rounds, 0.02, clock)
    points = N_CHAINS * LENGTH * N_LINES * LINE
    found = {name: samples.median(name) * 1e9 / points for name in competitors}
    found["roots"] -= found["sums"]  # each with an add before it
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it wrote."""
    parser = options("operations", "What programs would take without memory.")
    parser.add_argument("--tile", type=int, default=256, metavar="N", help="N x N points")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.tile, chosen.rounds = 16, 2
    costs = measure_operations(chosen.rounds, chosen.clock)
    measured = measure_programs(
        chosen.tile, chosen.rounds, 1e-3 if chosen.quick else 0.02, chosen.clock
    )
    results: dict[str, Any] = {"nanoseconds": costs, "programs": {}}
    rows: list[list[object]] = []
    for program in PROGRAMS:
        for role, kinds in kinds_of(program).items():
            counts = operations(kinds)
            taken = measured["seconds"][f"{program}: {role}"] * 1e9 / chosen.tile**2
            results["programs"][f"{program}: {role}"] = {**counts, "taken": taken}
            cells = [counts[name] for name in costs]
            each = f"{taken / counts['sums']:.3f}"
            rows.append([str(program), role, *cells, f"{taken:.2f}", each])
    print(describe_machine(chosen.clock.__name__))
    said = ", ".join(f"{name} {cost:.3f}" for name, cost in costs.items())
    print(f"\nnanoseconds of one at a point, in chains: {said}")
    print(f"\nper point and step; taken: on {chosen.tile} x {chosen.tile} points, by sweeps")
    print(table(["program", "role", *costs, "taken [ns]", "per sum [ns]"], rows))
    write(chosen.output, "operations", results)
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
