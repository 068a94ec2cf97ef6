"""Steps on a tile: halo exchange and kernels together, in few sweeps over memory."""

import numpy as np

from burgers_adjoint.burgers import kernels
from burgers_adjoint.burgers.layout import Layout, aligned_zeros
from burgers_adjoint.burgers.stencil import Coefficients
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.halo import Frame, Halo

# Rows of that many steps stay in the cache while a sweep passes over them. Sixteen steps of a row
# of 2048 points, more than a second-level cache of 1 MiB holds, were still as fast as eight.
SWEEP_BYTES = 2**21
LONGEST_SWEEP = 16


class Stepper:
    """Forward Euler steps, their tangent and their adjoint, on arrays of this rank's tile.

    Args:
        decomposition: who owns which points.
        steps_per_exchange: layers of halo, and steps taken per exchange of them; chosen from the
            tile when not given.

    Attributes:
        layout: of the arrays.
        steps_per_sweep: steps taken in one sweep over memory.
    """

    def __init__(self, decomposition: Decomposition, steps_per_exchange: int | None = None) -> None:
        self.decomposition = decomposition
        ny, nx = decomposition.tile_shape
        self._alone = decomposition.size == 1 and not decomposition.periodic
        self.steps_per_sweep = steps_per_exchange or self._choose_steps()
        self.layout = Layout(ny, nx, halo=1 if self._alone else self.steps_per_sweep)
        frame = Frame(self.layout.rows, self.layout.columns)
        self._narrow = Halo(decomposition, frame, depth=1, n_fields=2, corners=False)
        self._wide = Halo(decomposition, frame, self.layout.halo, n_fields=2, corners=True)
        self._paired = Halo(decomposition, frame, depth=1, n_fields=4, corners=False)
        self._ring = aligned_zeros((self.steps_per_sweep, 4, 2, self.layout.pitch))
        self._cotangent_ring = aligned_zeros((4, 2, self.layout.pitch))
        self._limits = {
            n: np.array([self._moving(n - 1 - s) for s in range(n)], dtype=np.int64)
            for n in range(1, self.steps_per_sweep + 1)
        }
        rows, columns = self.layout.rows, self.layout.columns
        self._box = np.array([rows.start, rows.stop, columns.start, columns.stop], dtype=np.int64)
        self._adjoint_limits = np.array(self._moving(1), dtype=np.int64)

    def _choose_steps(self) -> int:
        """Steps per sweep whose ring of rows stays in the cache, the same on every rank."""
        widest = -(-self.decomposition.shape[1] // self.decomposition.process_grid[1])
        bytes_per_step = 4 * 2 * 8 * widest
        steps = max(1, min(LONGEST_SWEEP, SWEEP_BYTES // bytes_per_step))
        return steps if self._alone else min(steps, *self.decomposition.smallest_tile)

    def _moving(self, reach: int) -> tuple[int, int, int, int]:
        """Row start and stop, column start and stop of the points that steps compute.

        Reaches that many points beyond the tile, but never to the domain's boundary.
        """
        limits: list[int] = []
        for own, span, n_points in zip(
            (self.layout.rows, self.layout.columns),
            (self.decomposition.rows, self.decomposition.columns),
            self.decomposition.shape,
            strict=True,
        ):
            start, stop = own.start - reach, own.stop + reach
            if not self.decomposition.periodic:
                start = max(start, own.start + 1 - span.start)
                stop = min(stop, own.start + n_points - 1 - span.start)
            limits += [start, stop]
        return limits[0], limits[1], limits[2], limits[3]

    @property
    def halo_seconds(self) -> float:
        """Time spent in halo exchange so far."""
        return self._narrow.seconds + self._wide.seconds + self._paired.seconds

    def close(self) -> None:
        """Release the messages' requests."""
        for halo in (self._narrow, self._wide, self._paired):
            halo.close()

    def advance(self, source: np.ndarray, state: np.ndarray, c: Coefficients, n_steps: int) -> None:
        """Take so many steps, all with these coefficients, from the source's points to the state's.

        The source keeps its own points, unless it is the state.
        """
        if self._alone:
            n_sweeps, n_steps = divmod(n_steps, self.steps_per_sweep)
            limits = self._limits[self.steps_per_sweep]
            if n_sweeps:
                kernels.advance_alone(source, state, c, self._box, limits, self._ring, n_sweeps)
                source = state
        while n_steps > 0:
            n_now = min(self.steps_per_sweep, n_steps)
            (self._narrow if n_now == 1 else self._wide).exchange(source)
            kernels.advance(source, state, c, self._box, self._limits[n_now], self._ring)
            source = state
            n_steps -= n_now

    def adjoint(
        self, cotangent: np.ndarray, state: np.ndarray, density: np.ndarray, c: Coefficients
    ) -> None:
        """Apply the transposed Jacobian of one step to the cotangent, in place.

        Args:
            cotangent: (2, rows, pitch).
            state: at the start of the step, (2, rows, pitch).
            density: (rows, pitch): each point's part of dJ/d(viscosity) is added; or empty.
            c: the coefficients of the step.
        """
        self._paired.exchange(cotangent, state)
        kernels.adjoint(
            cotangent, state, density, c, self._box, self._adjoint_limits, self._cotangent_ring
        )

    def tangent(self, perturbation: np.ndarray, state: np.ndarray, c: Coefficients) -> np.ndarray:
        """Perturbation after one step, for one of (u, v) before it and c.d_nu of the viscosity."""
        self._paired.exchange(perturbation, state)
        out = perturbation.copy()
        kernels.tangent(perturbation, out, state, c, self._limits[1][0])
        return out
