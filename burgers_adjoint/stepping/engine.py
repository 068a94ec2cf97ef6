"""The engine: steps of any equation by any explicit Runge-Kutta method on this rank's tile."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.programs import Buffer, Level
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.kernels.wavefront import Frame
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.stepping.backend import PROCESSOR, Backend
from burgers_adjoint.stepping.equation import Steps, with_tangent
from burgers_adjoint.stepping.numbers import StepNumbers
from burgers_adjoint.stepping.passes import Arrays, Finder, Pass
from burgers_adjoint.stepping.runge_kutta import StepKinds
from burgers_adjoint.stepping.split_pass import SplitPass
from burgers_adjoint.stepping.step_levels import WORKING, StepLevels
from burgers_adjoint.stepping.stepper import Cotangent, Directions, Value
from burgers_adjoint.stepping.sweep_lengths import SweepLengths
from burgers_adjoint.stepping.tableaux import Tableau
from burgers_adjoint.stepping.tile_data import TileData, tile_frame
from burgers_adjoint.stepping.time_steps import TimeSteps

# Where every state is kept, sixteen steps are slower than four, whose targets stay in the cache.
LONGEST_SWEEP_ALONG = 4


class Engine:
    """Steps, their tangent and their adjoint: a `stepping.stepper.Stepper` for every equation.

    The stages of a step, and several steps, share a sweep over memory, and an exchange of halos as
    deep as they read together. Where tiles are too thin for that, each stage has its own.

    Args:
        equation: what is stepped.
        tableau: of the method.
        decomposition: who owns which points.
        time_steps: lengths of the steps.
        wanted: what of `Equation.varied` cotangents have densities of.
        steps_per_exchange: steps taken per exchange of halos; chosen from the tile when not given.
        overlap: advance the interior while the halo is under way; for ranks that own whole rows.
        backend: where it runs.

    Attributes:
        layout: of all arrays.
        steps_per_sweep: steps taken in one sweep over memory.
        adjoint_steps_per_sweep: the same of the adjoint.

    Raises:
        ConfigError: a tile is too small for the equation's reach; every rank finds the same.
    """

    def __init__(
        self,
        equation: Steps,
        tableau: Tableau,
        decomposition: Decomposition,
        time_steps: TimeSteps,
        wanted: Sequence[str] = (),
        steps_per_exchange: int | None = None,
        overlap: bool = False,
        backend: Backend = PROCESSOR,
    ) -> None:
        self.equation, self.decomposition = equation, decomposition
        self.n_stages, self.n_fields = len(tableau.b), len(equation.fields)
        self._tableau, self._time_steps, self._backend = tableau, time_steps, backend
        self._alone = decomposition.size == 1 and not decomposition.periodic
        kinds = StepKinds(equation, tableau, wanted, bounded=not decomposition.periodic)
        self._wanted = kinds.wanted
        thinnest = self._thinnest_tile()
        layers = self.n_stages * equation.reach
        self._forward = StepLevels(kinds, split=layers > thinnest)
        layers += (self.n_stages - 1) * equation.reach
        self._backward = StepLevels(kinds, split=layers > thinnest)
        lengths = SweepLengths(kinds, decomposition, thinnest, backend.most_steps)
        self.steps_per_sweep = steps_per_exchange or lengths.forward()
        self.adjoint_steps_per_sweep = lengths.adjoint(self.steps_per_sweep, self._backward)
        self.layout = Layout(*decomposition.tile_shape, halo=self._n_layers())
        self.data = TileData(equation, self.layout, decomposition, backend)
        self._frame = tile_frame(self.layout, decomposition)
        self._numbers = StepNumbers(kinds, time_steps)
        self._whole = backend.passes(kinds, self._forward, self._backward, self._frame)
        self._passes: dict[Hashable, Any] = {}
        # alone there is nothing to wait for, and thin tiles have no interior
        overlaps = overlap and backend.in_place and not (self._alone or self._forward.split)
        self._spare = self.data.new_array(self.n_fields) if overlaps else None
        self._stages: dict[Any, np.ndarray] = {}
        self._kept_step: int | None = None
        self.kept = False

    # ---- sizes

    def _thinnest_tile(self) -> float:
        """Points along the shorter side of the smallest tile, where there are neighbours."""
        if self._alone:
            return float("inf")
        smallest, reach = self.decomposition.smallest_tile, self.equation.reach
        if min(smallest) < reach:
            raise ConfigError(
                f"{self.decomposition.size} ranks leave tiles of {smallest} points, but the "
                f"equation reads {reach} points on each side: use fewer ranks"
            )
        return min(smallest)

    def _n_layers(self) -> int:
        """Layers of halo of the arrays."""
        if self._alone:
            return self.equation.reach
        forward = self._forward.n_layers(self.steps_per_sweep)
        return max(forward, self._backward.n_layers(self.adjoint_steps_per_sweep, adjoint=True))

    # ---- what there is

    @property
    def halo_seconds(self) -> float:
        """Time spent in halo exchange so far."""
        return self.data.halo_seconds

    def close(self) -> None:
        """Release the messages' requests."""
        self.data.close()

    def set_control(self, name: str, value: Value | None) -> None:
        """Set what steps depend on, by name; None for nothing. Collective; arrays are copied.

        Raises:
            ConfigError: the equation knows no such name, or not such a value of it.
        """
        self.set_data(self.equation.set_control(name, value))

    def set_data(self, data: Mapping[Hashable, np.ndarray]) -> None:
        """Set what formulas read beside the state, (n, ny, nx) of the tile, by key. Collective."""
        for key, fields in data.items():
            self.data.set(key, fields)
        self._numbers.forget()
        self.forget_stages()

    def finish(self) -> None:
        """Wait for the steps that were asked for: calls may return before they are taken."""
        self._backend.finish()

    def new_array(self, n_fields: int) -> np.ndarray:
        """Zeros of shape (n_fields, rows, pitch)."""
        return self.data.new_array(n_fields)

    def new_cotangent(self) -> Cotangent:
        """A cotangent of zeros, with the densities that were asked for."""
        densities = {}
        for name, shape in self.equation.density_shapes(self._wanted).items():
            fields = self.data.new_array(int(np.prod(shape)))
            densities[name] = fields.reshape(*shape, *fields.shape[1:])
        return Cotangent(self.data.new_array(self.n_fields), densities)

    def _finder(self, n: int, direction: int, of: Callable[[Hashable], np.ndarray]) -> Finder:
        """Finds what is not of the call, in a sweep that begins with step n; `of` the densities."""

        def find(key: Any) -> np.ndarray:
            what, name, *place = key
            if what == "profile":
                return self.data.get(key, 1)
            if what == "between":
                return self.data.get(key, self.n_fields)
            step, stage = place
            m = n + direction * step
            time = self._time_steps.time(m) + self._tableau.c[stage] * self._time_steps.length(m)
            where = self.equation.sources(time)[name]
            return (
                self.data.get(where, self.equation.streams[name]) if what == "data" else of(where)
            )

        return find

    def _pass(
        self, role: str, key: Hashable, make: Callable[[], list[Level]], frame: Frame | None = None
    ) -> Pass:
        """The pass of a key, made when it is called for the first time."""
        if key not in self._passes:
            levels = self._forward if role == "forward" else self._backward

            def whole(part: Sequence[Level]) -> Pass:
                return self._whole(role, part, frame or self._frame)

            self._passes[key] = (
                SplitPass(make(), whole, self.data, self.equation.reach)
                if levels.split
                else whole(make())
            )
        found: Pass = self._passes[key]
        return found

    def _buffers(self, name: str, n: int) -> list[Buffer]:
        return [Buffer(self.n_fields, (name, k)) for k in range(n)]

    # ---- forwards

    def advance(self, source: np.ndarray, state: np.ndarray, n0: int, n1: int) -> None:
        """Take steps n0 .. n1-1, from the source's points, which stay, to the state's."""
        if self._kept_step == n0:
            self.layout.interior(state)[...] = self.layout.interior(self._stages["after"])
            source, n0 = state, n0 + 1
        self.forget_stages()
        k = self.steps_per_sweep
        while self._spare is not None and source is state and n1 - n0 >= 2 * k:
            self._advance_overlapping(state, self._spare, n0)
            self._advance_overlapping(self._spare, state, n0 + k)
            n0 += 2 * k
        while n0 < n1:
            n_now = min(k, n1 - n0)
            if n_now * self.n_stages == 1 and source is not state:
                self.advance_along([source, state], n0)
            else:
                self._advance_sweep(source, state, n0, n_now)
            source, n0 = state, n0 + n_now

    def _levels_between(self, n_steps: int) -> list[Level]:
        """Levels from an array to another one, which may be the same."""
        ends = [Buffer(self.n_fields, end, alias=WORKING) for end in ("source", "target")]
        if n_steps * self.n_stages == 1 and self._backend.in_place:
            return self._forward.aside(*ends)
        between = [Buffer(self.n_fields) for _ in range(n_steps - 1)]
        return self._forward.forward([ends[0], *between, ends[1]])

    def _advance_sweep(self, source: np.ndarray, state: np.ndarray, n0: int, n_now: int) -> None:
        sweep = self._pass("forward", ("forward", n_now), lambda: self._levels_between(n_now))
        if not self._forward.split:
            self.data.exchange(self._forward.n_layers(n_now), source)
        arrays = {"source": source, "target": state}
        sweep.run(arrays, self._finder(n0, 1, self._no_density), self._numbers.forward(n0, n_now))

    def _advance_overlapping(self, source: np.ndarray, state: np.ndarray, n0: int) -> None:
        """Make one sweep, from one array to another: first the rows that need no halo.

        What the edges need of the interior's steps is computed twice.
        """
        n_now = self.steps_per_sweep
        halo = self.data.halo(self._forward.n_layers(n_now), self.n_fields)
        halo.start(source)
        arrays, numbers = {"source": source, "target": state}, self._numbers.forward(n0, n_now)
        find = self._finder(n0, 1, self._no_density)
        parts = self._split_rows()
        for number, frame in enumerate(parts):
            if number == min(1, len(parts) - 1):
                halo.finish(source)
            key = "forward", n_now, number
            self._pass("forward", key, lambda: self._levels_between(n_now), frame).run(
                arrays, find, numbers
            )

    def _split_rows(self) -> list[Frame]:
        """The interior, which needs no halo for a sweep, if there is one, and the edges."""
        if "parts" not in self._passes:
            frame, rows = self._frame, self.layout.rows
            depth = self._forward.n_layers(self.steps_per_sweep)
            south, north = (self.decomposition.neighbour(side, 0) is not None for side in (-1, 1))
            start, stop = rows.start + depth * south, rows.stop - depth * north
            parts = [frame]
            if start < stop:
                edges = slice(rows.start, start), slice(stop, rows.stop)
                cuts = [slice(start, stop), *(edge for edge in edges if edge.start < edge.stop)]
                parts = [frame.of_rows(cut) for cut in cuts]
            self._passes["parts"] = parts
        found: list[Frame] = self._passes["parts"]
        return found

    def advance_along(self, states: Sequence[np.ndarray], n0: int) -> None:
        """Take a step from each state to the next one, the first of them step n0."""
        self.forget_stages()
        longest = min(self.steps_per_sweep, LONGEST_SWEEP_ALONG) if self.n_stages == 1 else 1
        make = self._forward
        while len(states) > 1:
            part = states[: longest + 1]
            n_now = len(part) - 1
            buffers = self._buffers("state", n_now + 1)
            levels = partial(make.forward, buffers, ahead=True)
            sweep = self._pass("forward", ("along", n_now), levels)
            if not make.split:
                self.data.exchange(make.n_layers(n_now), part[0])
            arrays = {("state", k): state for k, state in enumerate(part)}
            find = self._finder(n0, 1, self._no_density)
            sweep.run(arrays, find, self._numbers.forward(n0, n_now))
            states, n0 = states[n_now:], n0 + n_now

    @staticmethod
    def _no_density(key: Hashable) -> np.ndarray:
        raise LookupError(f"nothing is added up for {key}")

    # ---- stages

    def stage_fields(self) -> list[np.ndarray]:
        """The tile's points of the states of all stages but the first: views (n_fields, ny, nx)."""
        return [self.layout.interior(array) for array in self._stage_arrays()]

    def _stage_arrays(self) -> list[np.ndarray]:
        if not self._stages:
            for key in (*(("stage", s) for s in range(1, self.n_stages)), "after"):
                self._stages[key] = self.data.new_array(self.n_fields)
        return [self._stages["stage", s] for s in range(1, self.n_stages)]

    def keep(self, state: np.ndarray, n: int) -> None:
        """Have the stages of step n, from this state, at hand in `stage_fields`."""
        self._stage_arrays()
        make = self._forward
        stages = {s: Buffer(self.n_fields, ("stage", s)) for s in range(1, self.n_stages)}
        ends = [Buffer(self.n_fields, end) for end in ("source", "after")]
        sweep = self._pass("forward", "keep", lambda: make.forward(ends, stages=stages))
        if not make.split:
            self.data.exchange(make.n_layers(1), state)
        arrays = {**self._stages, "source": state}
        sweep.run(arrays, self._finder(n, 1, self._no_density), self._numbers.forward(n, 1))
        self.kept, self._kept_step = True, n

    def restore_stages(self) -> None:
        """Take what was written to `stage_fields` for the stages of the next adjoint step."""
        self.kept, self._kept_step = True, None

    def forget_stages(self) -> None:
        """Compute the next step's stages anew, whatever is at hand."""
        self.kept, self._kept_step = False, None

    # ---- backwards

    def adjoint(self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int) -> None:
        """Apply the transposed Jacobians of the steps n, n-1, ... to the cotangent, in place.

        They are linearised at the states at the STARTS of these steps, in the same order.
        """
        if self.kept and self.n_stages > 1:
            self._adjoint(cotangent, states[:1], n, kept=True)
            states, n = states[1:], n - 1
        self.forget_stages()
        longest = self.adjoint_steps_per_sweep
        for start in range(0, len(states), longest):
            self._adjoint(cotangent, states[start : start + longest], n - start)

    def _adjoint(
        self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int, kept: bool = False
    ) -> None:
        make, n_now, field = self._backward, len(states), cotangent.field

        def levels() -> list[Level]:
            stages = {s: Buffer(self.n_fields, ("stage", s)) for s in range(1, self.n_stages)}
            return make.adjoint(
                Buffer(self.n_fields, "cotangent"),
                self._buffers("state", n_now),
                stages if kept else None,
            )

        sweep = self._pass("adjoint", ("adjoint", n_now, kept), levels)
        beside = self._stage_arrays() if kept else []
        if not make.split:
            layers = make.n_layers(n_now, adjoint=not kept)
            self.data.exchange(layers, field, *states, *beside)
        arrays: dict[Any, np.ndarray] = {("state", k): state for k, state in enumerate(states)}
        arrays |= {"cotangent": field, **(self._stages if kept else {})}
        find = self._finder(n, -1, cotangent.density)
        sweep.run(arrays, find, self._numbers.backward(n, n_now))

    def tangent(
        self, perturbation: np.ndarray, state: np.ndarray, directions: Directions, n: int
    ) -> np.ndarray:
        """Perturbation after step n of one before it, linearised at the state at its start.

        directions are perturbations of what steps depend on, by name.
        """
        make, out = self._backward, self.data.new_array(self.n_fields)
        names = ("source", "perturbation", "out")
        buffers = [Buffer(self.n_fields, name) for name in names]
        sweep = self._pass("tangent", "tangent", lambda: make.tangent(*buffers))
        shape = self.decomposition.tile_shape
        perturbations = with_tangent(self.equation).perturbations(directions, shape)
        varied: Arrays = {key: self._varied(key, one) for key, one in perturbations.items()}
        if not make.split:
            self.data.exchange(make.n_layers(1), perturbation, state)
        arrays = dict(zip(names, (state, perturbation, out), strict=True))
        sweep.run(arrays, self._finder(n, 1, varied.__getitem__), self._numbers.forward(n, 1))
        return out

    def _varied(self, key: Hashable, fields: np.ndarray) -> np.ndarray:
        """An array with a perturbation, its halo filled."""
        self.data.set(("varied", key), fields)
        return self.data.get(("varied", key), len(fields))
