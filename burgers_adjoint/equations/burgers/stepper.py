"""Forward Euler steps with central differences: halo exchange and kernels, in few sweeps."""

from collections.abc import Collection, Sequence

import numpy as np

from burgers_adjoint.equations.burgers import kernels
from burgers_adjoint.equations.burgers.stencil import Coefficients, coefficients
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.tile_layout import Layout, aligned_zeros
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.stepping.stepper import Cotangent, Directions, Value
from burgers_adjoint.stepping.time_steps import TimeSteps

# Rows of that many steps stay in the cache while a sweep passes over them. Sixteen steps of a row
# of 2048 points, more than a second-level cache of 1 MiB holds, were still as fast as eight.
SWEEP_BYTES = 2**21
LONGEST_SWEEP = 16
# Where every state is kept, sixteen steps are slower than four, whose targets stay in the cache.
LONGEST_SWEEP_ALONG = 4
# A sweep of the adjoint needs rows of every step's state too, and k steps need k (k + 1) layers of
# halo filled. Measured: more than eight steps gain nothing, and on two ranks more than four.
LONGEST_ADJOINT_SWEEP, LONGEST_WITH_HALO = 8, 4
NO_DENSITY = np.zeros((1, 0, 0))


class EulerStepper:
    """Forward Euler steps, their tangent and their adjoint: a `stepping.stepper.Stepper`.

    Args:
        grid: the points.
        decomposition: who owns which of them.
        time_steps: of the run.
        controls: names of what cotangents have densities of; "viscosity" alone counts.
        steps_per_exchange: layers of halo, and steps taken per exchange of them; chosen from the
            tile when not given.
        overlap: advance the interior while the halo is under way; for ranks that own whole rows.

    Attributes:
        layout: of the arrays.
        steps_per_sweep: steps taken in one sweep over memory.
        adjoint_steps_per_sweep: the same of the adjoint.
    """

    n_fields = 2
    kept = False

    def __init__(
        self,
        grid: Grid,
        decomposition: Decomposition,
        time_steps: TimeSteps,
        controls: Collection[str] = (),
        steps_per_exchange: int | None = None,
        overlap: bool = False,
    ) -> None:
        self.grid, self.decomposition = grid, decomposition
        self.time_steps = time_steps
        self._wants_viscosity = "viscosity" in controls
        self.set_control("viscosity", 0.0)
        ny, nx = decomposition.tile_shape
        self._alone = decomposition.size == 1 and not decomposition.periodic
        self.steps_per_sweep = steps_per_exchange or self._choose_steps()
        self.layout = Layout(ny, nx, halo=1 if self._alone else self.steps_per_sweep)
        self._halos: dict[tuple[int, int], Halo] = {}
        self._ring = aligned_zeros((self.steps_per_sweep, 4, 2, self.layout.pitch))
        longest = LONGEST_ADJOINT_SWEEP if self._alone else LONGEST_WITH_HALO
        self.adjoint_steps_per_sweep = min(self.steps_per_sweep, longest)
        ring = self.adjoint_steps_per_sweep + 2, 4, 2, self.layout.pitch
        self._cotangent_ring = aligned_zeros(ring)
        self._limits = {
            n: self._limits_of(self.layout.rows, n) for n in range(1, self.steps_per_sweep + 1)
        }
        self._box = self._box_of(self.layout.rows)
        self._parts = self._split_rows() if overlap else ()
        self._spare = self.layout.new_array(2) if self._parts else None
        self._all_moving = np.array(self._moving(self.adjoint_steps_per_sweep + 1), dtype=np.int64)

    def _choose_steps(self) -> int:
        """Steps per sweep whose ring of rows stays in the cache, the same on every rank."""
        widest = -(-self.decomposition.shape[1] // self.decomposition.process_grid[1])
        bytes_per_step = 4 * 2 * 8 * widest
        steps = max(1, min(LONGEST_SWEEP, SWEEP_BYTES // bytes_per_step))
        return steps if self._alone else min(steps, *self.decomposition.smallest_tile)

    def _split_rows(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Boxes and limits of the interior, which needs no halo for a sweep, and of the edges."""
        rows, k = self.layout.rows, self.steps_per_sweep
        to_south, to_north = (self.decomposition.neighbour(side, 0) is not None for side in (-1, 1))
        start, stop = rows.start + k * to_south, rows.stop - k * to_north
        if start >= stop or not (to_south or to_north):
            return ()
        edges = slice(rows.start, start), slice(stop, rows.stop)
        parts = [slice(start, stop), *(edge for edge in edges if edge.start < edge.stop)]
        return tuple((self._box_of(part), self._limits_of(part, k)) for part in parts)

    def _box_of(self, rows: slice) -> np.ndarray:
        columns = self.layout.columns
        return np.array([rows.start, rows.stop, columns.start, columns.stop], dtype=np.int64)

    def _limits_of(self, rows: slice, n_steps: int) -> np.ndarray:
        """What each of so many steps computes, so that these rows are right after the last one."""
        reaches = range(n_steps - 1, -1, -1)
        return np.array([self._moving(reach, rows) for reach in reaches], dtype=np.int64)

    def _moving(self, reach: int, rows: slice | None = None) -> tuple[int, int, int, int]:
        """Row start and stop, column start and stop of the points that steps compute.

        Reaches that many points beyond the tile, or beyond some rows of it, but never to the
        domain's boundary.
        """
        limits: list[int] = []
        for part, own, span, n_points in zip(
            (rows or self.layout.rows, self.layout.columns),
            (self.layout.rows, self.layout.columns),
            (self.decomposition.rows, self.decomposition.columns),
            self.decomposition.shape,
            strict=True,
        ):
            start, stop = part.start - reach, part.stop + reach
            if not self.decomposition.periodic:
                start = max(start, own.start + 1 - span.start)
                stop = min(stop, own.start + n_points - 1 - span.start)
            limits += [start, stop]
        return limits[0], limits[1], limits[2], limits[3]

    @property
    def halo_seconds(self) -> float:
        """Time spent in halo exchange so far."""
        return sum((halo.seconds for halo in self._halos.values()), 0.0)

    def close(self) -> None:
        """Release the messages' requests."""
        for halo in self._halos.values():
            halo.close()

    def _halo(self, depth: int, n_fields: int = 2) -> Halo:
        """The exchange of so many layers of so many fields; one layer needs no corners."""
        if (depth, n_fields) not in self._halos:
            frame = Frame(self.layout.rows, self.layout.columns)
            self._halos[depth, n_fields] = Halo(
                self.decomposition, frame, depth, n_fields, corners=depth > 1
            )
        return self._halos[depth, n_fields]

    def set_control(self, name: str, value: Value | None) -> None:
        if name != "viscosity" or isinstance(value, np.ndarray) or value is None:
            raise ConfigError(f"this stepper depends on a number viscosity, not on {name}")
        self._viscosity = value
        self._coefficients: tuple[float, Coefficients] | None = None

    def _coefficients_at(self, n: int) -> Coefficients:
        """Weights of step n."""
        length = self.time_steps.length(n)
        if self._coefficients is None or self._coefficients[0] != length:
            found = coefficients(self._viscosity, length, self.grid.dx, self.grid.dy)
            self._coefficients = length, found
        return self._coefficients[1]

    def new_cotangent(self) -> Cotangent:
        densities = {"viscosity": self.layout.new_array(1)} if self._wants_viscosity else {}
        return Cotangent(self.layout.new_array(2), densities)

    def keep(self, state: np.ndarray, n: int) -> None:
        """There is one stage, the state itself."""

    def stage_fields(self) -> list[np.ndarray]:
        return []

    def restore_stages(self) -> None:
        """There are none."""

    def forget_stages(self) -> None:
        """There are none."""

    def advance(self, source: np.ndarray, state: np.ndarray, n0: int, n1: int) -> None:
        while n0 < n1:
            stop = self.time_steps.alike(n0, n1)
            self._advance(source, state, self._coefficients_at(n0), stop - n0)
            source, n0 = state, stop

    def _advance(
        self, source: np.ndarray, state: np.ndarray, c: Coefficients, n_steps: int
    ) -> None:
        """Take so many steps, all with these coefficients."""
        if n_steps == 1 and source is not state:
            self._advance_along([source, state], c)
            return
        if self._alone:
            n_sweeps, n_steps = divmod(n_steps, self.steps_per_sweep)
            limits = self._limits[self.steps_per_sweep]
            if n_sweeps:
                kernels.sweeps(source, state, c, self._box, limits, self._ring, n_sweeps)
                source = state
        while self._spare is not None and source is state and n_steps >= 2 * self.steps_per_sweep:
            self._overlapped_sweep(state, self._spare, c)
            self._overlapped_sweep(self._spare, state, c)
            n_steps -= 2 * self.steps_per_sweep
        while n_steps > 0:
            n_now = min(self.steps_per_sweep, n_steps)
            self._halo(1 if n_now == 1 else self.layout.halo).exchange(source)
            limits = self._limits[n_now]
            kernels.sweeps(source, state, c, self._box, limits, self._ring, 1)
            source = state
            n_steps -= n_now

    def _overlapped_sweep(self, source: np.ndarray, state: np.ndarray, c: Coefficients) -> None:
        """Make one sweep, from one array to another: first the rows that need no halo.

        What the edges need of the interior's steps is computed twice.
        """
        halo = self._halo(self.layout.halo)
        halo.start(source)
        for number, (box, limits) in enumerate(self._parts):
            if number == 1:
                halo.finish(source)
            kernels.sweeps(source, state, c, box, limits, self._ring, 1)

    def advance_along(self, states: Sequence[np.ndarray], n0: int) -> None:
        while len(states) > 1:
            n_now = self.time_steps.alike(n0, n0 + len(states) - 1) - n0
            self._advance_along(states[: n_now + 1], self._coefficients_at(n0))
            states, n0 = states[n_now:], n0 + n_now

    def _advance_along(self, states: Sequence[np.ndarray], c: Coefficients) -> None:
        """Take a step from each state to the next one, all with these coefficients."""
        places = addresses(states)
        longest = min(self.steps_per_sweep, LONGEST_SWEEP_ALONG)
        for start in range(0, len(states) - 1, longest):
            part = places[start : start + longest + 1]
            n_now = len(part) - 1
            source = states[start]
            self._halo(1 if n_now == 1 else min(self.layout.halo, longest)).exchange(source)
            kernels.advance_along(part, source, c, self._limits[n_now])

    def adjoint(self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int) -> None:
        density = cotangent.densities.get("viscosity", NO_DENSITY)[0]
        length = self.time_steps.length
        start = 0
        while start < len(states):
            stop = start + 1
            while stop < len(states) and length(n - stop) == length(n - start):
                stop += 1
            c = self._coefficients_at(n - start)
            self._adjoint(cotangent.field, states[start:stop], density, c)
            start = stop

    def _adjoint(
        self,
        cotangent: np.ndarray,
        states: Sequence[np.ndarray],
        density: np.ndarray,
        c: Coefficients,
    ) -> None:
        """Apply the transposed Jacobians of steps with these coefficients, in place.

        Args:
            cotangent: (2, rows, pitch).
            states: at the starts of the steps, the last one first, each (2, rows, pitch).
            density: (rows, pitch): each point's part of dJ/d(viscosity) is added; or empty.
            c: the coefficients of the steps.
        """
        places = addresses(states)
        work = density, c, self._box, self._all_moving, self._cotangent_ring
        if self._alone:
            kernels.adjoint_sweeps(cotangent, places, *work)
            return
        longest = self.adjoint_steps_per_sweep
        for start in range(0, len(states), longest):
            part = slice(start, start + longest)
            n_now = len(states[part])
            self._halo(n_now, 2 + 2 * n_now).exchange(cotangent, *states[part])
            kernels.adjoint_sweeps(cotangent, places[part], *work)

    def tangent(
        self, perturbation: np.ndarray, state: np.ndarray, directions: Directions, n: int
    ) -> np.ndarray:
        c = self._coefficients_at(n)._replace(d_nu=float(directions.get("viscosity", 0.0)))
        self._halo(1, n_fields=4).exchange(perturbation, state)
        out = perturbation.copy()
        kernels.tangent(perturbation, out, state, c, self._limits[1][0])
        return out


def addresses(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Where the arrays' first elements are; valid as long as somebody keeps them."""
    return np.array([array.__array_interface__["data"][0] for array in arrays])
