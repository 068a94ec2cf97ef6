"""What snapshots that stay between products at a point save, of Gauss-Newton's and the Hessian's.

    python -m benchmarks.kept_states [--methods euler rk4] [--directions 1 8]

Gauss-Newton products with `hessian.keep_states` over those without; of the whole Hessian, what it
would gain: snapshots that have the tangent alone, beside states that are kept in memory, and
forward steps of the tangent alone along kept states, over those of states and tangents together.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

import burgers_adjoint as ba
from benchmarks.measure import interleave, options, table, write
from burgers_adjoint.assembly.runs import executed
from burgers_adjoint.kernels.programs import Buffer, Fix, Kind, Level, Points, kinds_of
from burgers_adjoint.kernels.wavefront import RowPool, kernel_of
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.second_order.products import Products, SecondOrder
from burgers_adjoint.stepping.engine import Engine
from burgers_adjoint.stepping.passes import WholePass

METHODS = {"euler": "central", "rk4": "upwind"}
SCHEDULES: dict[str, dict[str, Any]] = {
    "store_all": {"schedule": "store_all"},
    "10 snapshots": {"snapshots": 10},
}
STORES: dict[str, dict[str, Any]] = {
    "memory": {"store": "memory"},
    "hdf5": {"store": "hdf5"},
    "hdf5, no thread": {"store": "hdf5", "asynchronous": False},
}


class TangentsAlone(SnapshotStore[Any]):
    """Snapshots of states and tangents, of which a store has the tangents alone.

    Args:
        store: for as many fields as the states have, of one direction.
        pair: a snapshot of both, to copy by.
        interior: the own points of a state.
    """

    def __init__(
        self, store: SnapshotStore[Any], pair: Any, interior: Callable[[Any], np.ndarray]
    ) -> None:
        self._store, self._pair, self._interior = store, pair, interior
        self.states: dict[int, np.ndarray] = {}

    def _points(self, buffer: Any) -> np.ndarray:
        array = np.asarray(getattr(buffer, "state", buffer))
        return array if array.shape[1:] == self._pair.state.shape[1:] else self._interior(array)

    def save(self, slot: int, step: int, fill: Callable[[Any], None]) -> None:
        fill(self._pair)
        state, tangent = np.split(self._pair.state, 2)
        if step not in self.states:
            self.states[step] = state.copy()
        self._store.save(slot, step, lambda buffer: np.copyto(self._points(buffer), tangent))

    def load(self, slot: int, step: int, read: Callable[[Any], None]) -> None:
        state, tangent = np.split(self._pair.state, 2)
        self._store.load(slot, step, lambda buffer: np.copyto(tangent, self._points(buffer)))
        state[...] = self.states[step]
        read(self._pair)

    def fetch(self, slot: int, step: int) -> None:
        self._store.fetch(slot, step)

    def free(self, slot: int) -> None:
        self._store.free(slot)

    def close(self) -> None:
        self._store.close()

    @property
    def nbytes(self) -> int:
        return self._store.nbytes


def sections(integrator: str, chosen: Any, **more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A run to multiply in, with more sections."""
    return {
        "grid": {"nx": chosen.grid, "ny": chosen.grid},
        "time": {"dt": 1e-5, "steps": chosen.steps, "integrator": integrator},
        "physics": {"advection": METHODS[integrator]},
        "gradient": {"controls": ["initial"]},
        **more,
    }


def drawn(problem: ba.Problem, n_directions: int) -> list[dict[str, Any]]:
    """Random directions."""
    draw, shape = np.random.default_rng(1), np.shape(problem.controls()["initial"])
    return [{"initial": draw.normal(size=shape)} for _ in range(n_directions)]


def same(one: Products, other: Products) -> bool:
    """Whether they have the same bits."""
    pairs = zip(one.products, other.products, strict=True)
    return all(np.array_equal(left["initial"], right["initial"]) for left, right in pairs)


def gauss_newton(integrator: str, schedule: str, n_directions: int, chosen: Any) -> float:
    """Time of products along kept states over that of others."""
    given = {"checkpointing": SCHEDULES[schedule]}
    found, competitors = [], dict[str, Callable[[], object]]()
    problems = []
    for keep in (False, True):
        made = sections(integrator, chosen, hessian={"keep_states": keep}, **given)
        problems.append(problem := ba.Problem(made))
        products, batch = problem.second_order.products, drawn(problem, n_directions)
        call = partial(products, batch, full=False)
        call()
        found.append(call())
        competitors["kept" if keep else "not"] = call
    assert same(*found)
    samples = interleave(competitors, chosen.rounds, clock=chosen.clock)
    for problem in problems:
        problem.close()
    return samples.ratio("kept", "not")


def tangents_stored(integrator: str, schedule: str, store: str, chosen: Any) -> float:
    """Time of Hessian products with tangents alone in the store over those with both."""
    with tempfile.TemporaryDirectory() as folder:
        snapshots = {"directory": folder, **STORES[store]}
        given = {"checkpointing": SCHEDULES[schedule], "snapshots": snapshots}
        with ba.Problem(sections(integrator, chosen, **given)) as problem:
            second, directions = SecondOrder(problem.case, 1), drawn(problem, 1)
            of_states, model = problem.checkpointing, second.case.model
            inner = of_states.store(of_states.schedule())
            halves = TangentsAlone(inner, model.new_snapshot(), model.layout.interior)

            def alone() -> Products:
                second.set_directions(directions)
                run = executed(second.case, second.checkpointing.schedule(), halves)
                return second.ended(run)

            both = partial(second.of, directions, prior=False)
            assert same(both(), alone())
            competitors: dict[str, Callable[[], object]] = {"both": both, "alone": alone}
            samples = interleave(competitors, chosen.rounds, clock=chosen.clock)
            halves.close()
            second.close()
    return samples.ratio("alone", "both")


class AlongStates:
    """Steps of forward Euler of tangents alone, along states that are kept.

    Args:
        engine: steps the states.
        n_directions: tangents.
        states: at the starts of all steps.
    """

    def __init__(self, engine: Engine, n_directions: int, states: Sequence[np.ndarray]) -> None:
        self._engine, self._n, self._states = engine, n_directions, states
        kinds, points = engine._forward.kinds, Points()
        reach, n_fields = engine.equation.reach, engine.n_fields
        state = kinds._crosses(points, "state", n_fields, reach)
        tangents = kinds._crosses(points, "d_state", n_fields * n_directions, reach)
        equation: Any = engine.equation

        def formula(c: Sequence[Any], values: Sequence[Any]) -> list[Any]:
            q, dq = state(values), tangents(values)
            firsts = range(0, len(dq), n_fields)
            parts = (equation.tangent(c, q, dq[k : k + n_fields], {}, {}) for k in firsts)
            return [one for part in parts for one in part]

        outputs = tuple(kinds._rows("d_next", n_fields * n_directions))
        fixes = kinds.fixes(Fix("d_next", "keep", "d_held"))
        n_numbers = equation.n_numbers
        self._kind = Kind(formula, tuple(points.found), outputs, (), n_numbers, fixes)
        self._passes: dict[tuple[int, bool], WholePass] = {}

    def _pass(self, n_steps: int, all_kept: bool) -> WholePass:
        if (n_steps, all_kept) not in self._passes:
            width, alias = self._engine.n_fields * self._n, None if all_kept else "working"
            ends = [Buffer(width, ("d", k), alias=alias) for k in (0, n_steps)]
            keys = (("d", k) if all_kept else None for k in range(1, n_steps))
            between = [Buffer(width, key) for key in keys]
            levels = []
            for k, (start, end) in enumerate(pairwise([ends[0], *between, ends[1]])):
                state = Buffer(self._engine.n_fields, ("state", k))
                bound = {"state": state, "d_state": start, "d_next": end, "d_held": ends[0]}
                levels.append(Level(self._kind, bound, n_steps - 1 - k, k))
            kinds = kinds_of(levels)
            kernel = kinds, kernel_of(kinds)
            made = WholePass(levels, kernel, self._engine._frame, RowPool())
            self._passes[n_steps, all_kept] = made
        return self._passes[n_steps, all_kept]

    def advance(self, tangents: Sequence[np.ndarray], most: int) -> None:
        """Step from each array to the next one; within the one if there is no other."""
        engine, all_kept, n_steps = self._engine, len(tangents) > 1, len(self._states)
        find = engine._finder(0, 1, engine._no_density)
        for n in range(0, n_steps, most):
            now = min(most, n_steps - n)
            arrays: dict[Any, np.ndarray] = {("state", k): self._states[n + k] for k in range(now)}
            places = range(now + 1) if all_kept else (0, now)
            arrays |= {("d", k): tangents[n + k if all_kept else 0] for k in places}
            self._pass(now, all_kept).run(arrays, find, engine._numbers.forward(n, now))


def forward_steps(n_directions: int, chosen: Any) -> dict[str, float]:
    """Time of forward Euler's steps of tangents alone over those of states and tangents."""
    with ba.Problem(sections("euler", chosen)) as problem:
        case, n_steps = problem.case, chosen.steps
        second = SecondOrder(case, n_directions)
        second.set_directions(drawn(problem, n_directions))
        model, engine, fields = second.case.model, case.model.stepper, second.case.inputs.fields
        assert isinstance(engine, Engine)
        states = [case.model.initial_state(case.fields)]
        states += [case.model.new_state() for _ in range(n_steps)]
        case.model.advance_along(states, 0)
        along = AlongStates(engine, n_directions, states[:-1])
        pairs = [model.new_state() for _ in range(n_steps + 1)]
        tangents = [engine.new_array(2 * n_directions) for _ in range(n_steps + 1)]
        interior = model.layout.interior

        def together(arrays: list[np.ndarray]) -> None:
            model.restart(arrays[0], fields)
            if len(arrays) > 1:
                model.advance_along(arrays, 0)
            else:
                model.advance(arrays[0], 0, n_steps)

        def alone(arrays: list[np.ndarray], most: int) -> None:
            interior(arrays[0])[...] = fields[2:]
            along.advance(arrays, most)

        competitors: dict[str, Callable[[], object]] = {
            "together": partial(together, pairs[:1]),
            "alone": partial(alone, tangents[:1], 4),
            "together, all kept": partial(together, pairs),
            "alone, all kept": partial(alone, tangents, 4),
        }
        for run in competitors.values():
            run()
        assert np.array_equal(interior(pairs[-1])[2:], interior(tangents[-1]))
        samples = interleave(competitors, chosen.rounds, clock=chosen.clock)
        second.close()
    return {
        "swept": samples.ratio("alone", "together"),
        "all kept": samples.ratio("alone, all kept", "together, all kept"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = options("kept_states", "Products with states that are kept over those without.")
    parser.add_argument("--grid", type=int, default=256, help="points along x and along y")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    several = "directions at once"
    parser.add_argument("--directions", type=int, nargs="+", default=[1, 8], help=several)
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.grid, chosen.steps, chosen.rounds = 24, 12, 1
    size = f"{chosen.grid} squared, {chosen.steps} steps"
    result: dict[str, Any] = {"gauss_newton": {}, "tangents_stored": {}, "forward_steps": {}}

    rows, columns = [], [(schedule, n) for schedule in SCHEDULES for n in chosen.directions]
    for method in chosen.methods:
        found = {f"{s}, {n}": gauss_newton(method, s, n, chosen) for s, n in columns}
        result["gauss_newton"][method] = found
        rows.append([f"{method} {METHODS[method]}", *(f"{one:.2f}" for one in found.values())])
    print("Gauss-Newton, kept states over none, by schedule and directions at once")
    print(table([size, *(f"{schedule}, {n}" for schedule, n in columns)], rows))

    rows, places = [], [(schedule, store) for schedule in SCHEDULES for store in STORES]
    for method in chosen.methods:
        found = {f"{s}, {where}": tangents_stored(method, s, where, chosen) for s, where in places}
        result["tangents_stored"][method] = found
        rows.append([f"{method} {METHODS[method]}", *(f"{one:.2f}" for one in found.values())])
    print("Hessian, tangents alone in the store over states and tangents")
    print(table([size, *(f"{schedule}, {where}" for schedule, where in places)], rows))

    rows = []
    for n in chosen.directions if "euler" in chosen.methods else ():
        found = result["forward_steps"][n] = forward_steps(n, chosen)
        rows.append([str(n), *(f"{one:.2f}" for one in found.values())])
    if rows:
        print("forward steps of euler central, tangents alone along kept states over both together")
        print(table(["directions", *found], rows))
    write(chosen.output, "kept_states", result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
