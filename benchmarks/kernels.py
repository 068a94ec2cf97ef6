"""Steps, adjoint steps and snapshots of one rank, beside a plain copy of the state.

    python -m benchmarks.kernels [--tiles 64 128 ...] [-o DIR] [--quick]

A copy of u and v (NumPy's copyto) moves as few bytes as a step can that visits memory once. Every
row is timed in the same interleaved run as its copy. A step "by one" takes one step per sweep over
memory, "blocked" as many as the stepper chooses, "all kept" too, but from one state to the next. So
do adjoint steps, where all states are at hand.

A second table has all programs: each integrator with each advection scheme, and with fields that
steps depend on.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import psutil

from benchmarks.cases import fields_of, grid_of, model_on
from benchmarks.measure import (
    Clock,
    Samples,
    describe_machine,
    interleave,
    options,
    table,
    timed,
    write,
)
from benchmarks.programs import measure_programs, report_programs
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.stepping.engine import Engine
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.stepper import Cotangent

TILES = (64, 128, 256, 512, 1024, 2048, 4096)
STEPS_PER_CALL = 64
COPIES = 20
CALLS = (
    "advance",
    "advance_from",
    "advance_along",
    "seed",
    "adjoint_step",
    "adjoint_steps",
    "snapshot",
    "restore",
)
BOTH = ("initial", "viscosity")
ROWS = (
    "step, by one",
    "step, blocked",
    "step, all kept",
    "adjoint, by one",
    "adjoint, blocked",
    "with viscosity",
    "snapshot",
    "restore",
)


def competitors_on(n: int) -> tuple[dict[str, Callable[[], object]], dict[str, int], int]:
    """What to time on a tile of n x n points; steps in one call of each; steps per sweep."""
    grid = grid_of(n, n)
    blocked, single = model_on(grid, BOTH), model_on(grid, steps_per_sweep=1)
    fields = fields_of(grid, blocked.decomposition)
    state, state_single = blocked.initial_state(fields), single.initial_state(fields)
    copy, snapshot = fields.copy(), blocked.new_snapshot()
    n_states = cast(Engine, blocked.stepper).adjoint_steps_per_sweep
    states = [blocked.initial_state(fields) for _ in range(n_states + 1)]
    noise = np.random.default_rng(0)
    without = model_on(grid)
    plain, with_viscosity = without.new_cotangent(), blocked.new_cotangent()
    for cotangent in (plain, with_viscosity):
        blocked.layout.interior(cotangent.field)[...] = noise.normal(size=fields.shape)
    blocked.snapshot(state, snapshot)
    n_steps = STEPS_PER_CALL if n < 2048 else STEPS_PER_CALL // 2
    competitors: dict[str, Callable[[], object]] = {
        "copy": lambda: np.copyto(copy, fields),
        "step, by one": lambda: single.advance(state_single, 0, n_steps),
        "step, blocked": lambda: blocked.advance(state, 0, n_steps),
        "step, all kept": lambda: blocked.advance_along(states, 0),
        "adjoint, by one": lambda: without.adjoint_step(plain, states[0], 0),
        "adjoint, blocked": lambda: without.adjoint_steps(plain, states[1:], n_states - 1),
        "with viscosity": lambda: blocked.adjoint_steps(with_viscosity, states[1:], n_states - 1),
        "snapshot": lambda: blocked.snapshot(state, snapshot),
        "restore": lambda: blocked.restore(snapshot, state),
    }
    steps = dict.fromkeys(competitors, 1)
    steps["step, by one"] = steps["step, blocked"] = n_steps
    steps["step, all kept"] = n_states
    steps["adjoint, blocked"] = steps["with viscosity"] = n_states
    return competitors, steps, blocked.stepper.steps_per_sweep


def measure_tile(n: int, rounds: int, least_seconds: float, clock: Clock) -> dict[str, Any]:
    """Seconds per step, and per copy of the state, of everything on one tile."""
    competitors, steps, per_sweep = competitors_on(n)
    samples = interleave(competitors, rounds, least_seconds, clock)
    per_step = Samples({name: values / steps[name] for name, values in samples.seconds.items()})
    return {
        "tile": n,
        "steps_per_sweep": per_sweep,
        "seconds": {name: per_step.median(name) for name in competitors},
        "copies": {name: per_step.ratio(name, "copy") for name in ROWS},
        "spread": {name: per_step.spread(name) for name in competitors},
        "samples": per_step.as_dict(),
    }


class Recorder:
    """A model that notes the calls of what takes time in it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.calls: list[partial[object]] = []

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._model, name)
        if name not in CALLS:
            return attribute

        def call(*arguments: Any) -> Any:
            self.calls.append(partial(attribute, *arguments))
            return attribute(*arguments)

        return call


def executor_run(
    model: Model, n_steps: int, snapshots: int, fields: np.ndarray
) -> Callable[[], np.ndarray]:
    """One gradient by the executor, in a store whose memory has been used before."""
    state = model.initial_state(fields)
    store = MemoryStore(model.new_state, Binomial(n_steps, snapshots).slots, exchanges=True)

    def run() -> np.ndarray:
        nonlocal state
        model.restart(state, fields)
        executor: Executor[np.ndarray, Cotangent, Any] = Executor(
            model, Binomial(n_steps, snapshots), store
        )
        executor.run(state)
        assert executor.state is not None
        assert executor.cotangent is not None
        state = executor.state  # the store has kept the one that it began with
        return executor.cotangent.field

    return run


def bare_calls(
    model: Model, n_steps: int, snapshots: int, fields: np.ndarray
) -> Callable[[], np.ndarray]:
    """All calls of the model in one gradient, as a list: no executor, schedule or store."""
    recorder = Recorder(model)
    store = MemoryStore(model.new_state, Binomial(n_steps, snapshots).slots, exchanges=True)
    executor: Executor[np.ndarray, Cotangent, Any] = Executor(
        cast(Model, recorder), Binomial(n_steps, snapshots), store
    )
    state = model.initial_state(fields)
    executor.run(state)
    assert executor.cotangent is not None
    cotangent = executor.cotangent

    def run() -> np.ndarray:
        model.restart(state, fields)
        for call in recorder.calls:
            seeded = call()
            if isinstance(seeded, Cotangent):
                # the calls that follow know the recorded one
                cotangent.field[...] = seeded.field
        return cotangent.field

    return run


def measure_executor(
    n: int, n_steps: int, snapshots: int, rounds: int, clock: Clock
) -> dict[str, Any]:
    """A gradient by the executor, beside the bare calls of the model that it makes."""
    grid = grid_of(n, n)
    model = model_on(grid)
    fields = fields_of(grid, model.decomposition)
    competitors = {
        "executor": executor_run(model, n_steps, snapshots, fields),
        "parts": bare_calls(model, n_steps, snapshots, fields),
    }
    samples = interleave(competitors, rounds, clock=clock)
    return {
        "tile": n,
        "steps": n_steps,
        "snapshots": snapshots,
        "seconds": samples.median("executor"),
        "over_parts": samples.ratio("executor", "parts"),
        "spread": samples.spread("executor"),
        "samples": samples.as_dict(),
    }


def measure_gradient(
    n: int, n_steps: int, snapshots: int, rounds: int, clock: Clock
) -> dict[str, Any] | None:
    """A gradient in copies of the state per step; None where memory is too small for it."""
    bytes_of_state = 16 * n * n
    available = psutil.virtual_memory().available
    if (snapshots + 12) * bytes_of_state > 0.8 * available:
        print(
            f"skipped: {snapshots} snapshots of {n} x {n} points need "
            f"{snapshots * bytes_of_state / 1e9:.1f} GB of {available / 1e9:.1f} GB"
        )
        return None
    grid = grid_of(n, n)
    model = model_on(grid)
    fields = fields_of(grid, model.decomposition)
    copy = fields.copy()
    first: list[float] = []
    again: list[float] = []
    copied: list[float] = []
    for _ in range(rounds):
        store = MemoryStore(model.new_state, Binomial(n_steps, snapshots).slots, exchanges=True)
        for seconds in (first, again):
            state = model.initial_state(fields)
            copied.append(timed(lambda: np.copyto(copy, fields), clock, COPIES) / COPIES)
            executor: Executor[np.ndarray, Cotangent, Any] = Executor(
                model, Binomial(n_steps, snapshots), store
            )
            seconds.append(timed(partial(executor.run, state), clock))
        store.close()
    samples = Samples(
        {
            "first": np.array(first) / n_steps,
            "again": np.array(again) / n_steps,
            "copy of first": np.array(copied[::2]),
            "copy of again": np.array(copied[1::2]),
        }
    )
    return {
        "tile": n,
        "steps": n_steps,
        "snapshots": snapshots,
        "forward_steps": executor.counts.forward_steps,
        "saves": executor.counts.saves,
        "loads": executor.counts.loads,
        "seconds": samples.median("again") * n_steps,
        "copies_per_step": samples.ratio("again", "copy of again"),
        "copies_per_step_first": samples.ratio("first", "copy of first"),
        "samples": samples.as_dict(),
    }


def report(results: dict[str, Any]) -> None:
    """Print the tables."""
    print(
        describe_machine(results["clock"]),
        "\n\nnanoseconds per point and step, in brackets copies of the state",
    )
    tiles = results["tiles"]
    columns = ["tile", "k", "copy", *ROWS, "blocked steps/s"]
    rows = []
    for tile in tiles:
        per_point = 1e9 / tile["tile"] ** 2
        cells = [
            f"{tile['seconds'][name] * per_point:.2f} ({tile['copies'][name]:.2f})" for name in ROWS
        ]
        rows.append(
            [
                f"{tile['tile']}²",
                tile["steps_per_sweep"],
                f"{tile['seconds']['copy'] * per_point:.2f}",
                *cells,
                1 / tile["seconds"]["step, blocked"],
            ]
        )
    print(table(columns, rows))
    spreads = [spread for tile in tiles for spread in tile["spread"].values()]
    print(f"spread of the rounds (middle half over median): {np.median(spreads):.1%} in the middle")
    report_programs(results["programs"])
    executors, gradient = results["executor"], results["gradient"]
    print(
        "\na gradient by the executor, over the same calls of the model in a bare loop\n"
        + table(
            ["tile", "steps", "snapshots", "seconds", "over its parts"],
            [
                [
                    f"{one['tile']}²",
                    one["steps"],
                    one["snapshots"],
                    one["seconds"],
                    f"{one['over_parts']:.3f}",
                ]
                for one in executors
            ],
        )
    )
    if gradient:
        print(
            "\na gradient in copies of the state per step; first: in new memory, which the system "
            "clears as it is first used\n"
            + table(
                ["tile", "steps", "snapshots", "forward steps", "seconds", "copies", "first"],
                [
                    [
                        f"{gradient['tile']}²",
                        gradient["steps"],
                        gradient["snapshots"],
                        gradient["forward_steps"],
                        gradient["seconds"],
                        gradient["copies_per_step"],
                        gradient["copies_per_step_first"],
                    ]
                ],
            )
        )


def draw(results: dict[str, Any], figure: Any) -> None:
    """Copies of the state per step against the size of the tile."""
    axis = figure.subplots()
    tiles = [tile["tile"] for tile in results["tiles"]]
    for name in ROWS:
        axis.loglog(
            tiles, [tile["copies"][name] for tile in results["tiles"]], marker="o", label=name
        )
    axis.axhline(1.0, color="black", linewidth=0.8)
    axis.set_xlabel("points along each side of the tile")
    axis.set_ylabel("copies of the state per step")
    axis.set_xticks(tiles, [str(tile) for tile in tiles])
    axis.grid(alpha=0.3)
    axis.legend()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it wrote."""
    parser = options("kernels", "Steps, adjoint steps and snapshots beside a copy of the state.")
    parser.add_argument("--tiles", type=int, nargs="+", default=TILES, metavar="N")
    parser.add_argument(
        "--programs", type=int, nargs="*", default=(64, 1024, 2048), metavar="N",
        help="tiles on which all integrators and schemes are timed",
    )  # fmt: skip
    parser.add_argument(
        "--gradient",
        type=int,
        nargs=3,
        default=(2048, 500, 50),
        metavar=("N", "STEPS", "SNAPSHOTS"),
        help="of the gradient that is told in copies",
    )
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.tiles, chosen.rounds, chosen.gradient = (16, 64), 2, (64, 20, 3)
        chosen.programs = (16,)
    least_seconds = 1e-3 if chosen.quick else 0.05
    executor_cases = [(64, 200, 10)] if chosen.quick else [(64, 2000, 20), (512, 500, 20)]
    n, n_steps, snapshots = chosen.gradient
    results = {
        "clock": chosen.clock.__name__,
        "tiles": [
            measure_tile(n, chosen.rounds, least_seconds, chosen.clock) for n in chosen.tiles
        ],
        "programs": [
            measure_programs(n, chosen.rounds, least_seconds, chosen.clock) for n in chosen.programs
        ],
        "executor": [
            measure_executor(*case, chosen.rounds, chosen.clock) for case in executor_cases
        ],
        "gradient": measure_gradient(n, n_steps, snapshots, min(3, chosen.rounds), chosen.clock),
    }
    report(results)
    write(chosen.output, "kernels", results, lambda figure: draw(results, figure))
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
