"""The tests of a gradient: ways in which it can be wrong, tried on a case."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from burgers_adjoint.assembly import runs
from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import Gradient, Reversal, reverse
from burgers_adjoint.assembly.stores import Store, closed_at_end
from burgers_adjoint.assembly.twin import case_of
from burgers_adjoint.checking.alone import case_alone, gathered
from burgers_adjoint.checking.directions import LEAST_SHARE, Direction, drawn_points
from burgers_adjoint.equations.burgers.controls import copied
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import Check
from burgers_adjoint.parallel.agreement import anywhere, everywhere, from_rank, largest
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.memory import node_memory
from burgers_adjoint.parallel.reductions import exact_sum, norm, random_field
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.verification import central_differences, taylor_test

TAYLOR_SIZES = tuple(1e-2 * 2.0**-k for k in range(8))  # of the control's own size
DIFFERENCE_SIZES = tuple(10.0**-k for k in range(2, 11))
LEAST_ORDER = 1.99
FIRST_ORDER = (0.9, 1.1)
LARGEST_DIFFERENCE = 1e-7
ROUND_OFF_STEP = 1e-14  # relative to the norms, for one step
ROUND_OFF_RUN = 1e-11  # relative to the value, after many steps


class Checker:
    """The tests of one problem, in the order in which they are reported."""

    def __init__(
        self, case: Case, checkpointing: Checkpointing, store: Store, progress: Progress
    ) -> None:
        self.case, self._checkpointing = case, checkpointing
        self.comm = case.comm
        self.seed = case.config.check.seed
        self.checks: list[Check] = []
        self.left_out: list[str] = []
        self._store = store
        self._progress = progress
        self._sweeps = 0
        progress.begin("check", self._sweeps_ahead())
        self.base = self._reverse()
        self.amplitude = largest(self.comm, float(np.abs(case.fields).max())) or 1.0

    def _sweeps_ahead(self) -> int:
        controls = len(self.case.config.gradient.controls)
        points = self.case.config.check.points + controls
        more = 13 if self.case.config.check.second_order else 0
        return 6 + (len(TAYLOR_SIZES) + 1) * controls + 2 * len(DIFFERENCE_SIZES) * points + more

    def run(self) -> dict[str, tuple[Any, Any]]:
        """Test the gradient; returns the curves of the finite differences."""
        directions = [self.random_direction(control) for control in self.base.gradient]
        for direction in directions:
            self._taylor(direction)
        self._dot_product_of_one_step()
        for direction in directions:
            self._dot_product_of_the_run(direction)
        curves = self._differences([d for d in directions if d.control == "viscosity"])
        self._second_control_value()
        self._other_schedule()
        self._one_rank()
        return curves

    def add(self, name: str, value: float | str, passed: bool, limit: Any, text: str) -> None:
        self.checks.append(Check(name, value, bool(passed), limit, text))

    def count(self) -> None:
        self._sweeps += 1
        self._progress.update(self._sweeps)

    def _reverse(self) -> Reversal:
        """Gradient at the case's inputs; all use one model and one store, as users would."""
        self.count()
        result = reverse(self.case, self._checkpointing.schedule(), self._store)
        return dataclasses.replace(result, gradient=copied(result.gradient))

    def _objective(self, direction: Direction) -> Callable[[float], float]:
        return lambda size: self.moved({direction.control: direction.value}, size)

    def moved(self, along: Mapping[str, np.ndarray | float], size: float) -> float:
        """J at controls that have moved so far along a direction."""
        self.count()
        with self._moved(along, size):
            return runs.evaluate(self.case)

    def gradient_at(self, along: Mapping[str, np.ndarray | float], size: float) -> Gradient:
        """The gradient at controls that have moved so far along a direction."""
        with self._moved(along, size):
            return self._reverse().gradient

    @contextmanager
    def _moved(self, along: Mapping[str, np.ndarray | float], size: float) -> Iterator[None]:
        inputs = self.case.inputs
        before = {name: inputs.value(name) for name in along}
        inputs.set_all({name: before[name] + size * value for name, value in along.items()})
        try:
            yield
        finally:
            inputs.set_all(before)

    def random_direction(self, control: str, shift: int = 0) -> Direction:
        part, case = self.base.gradient[control], self.case
        grid, dt = case.grid, case.config.time.dt
        scale = self.amplitude
        if control.startswith("viscosity"):
            # in a few steps a small viscosity does so little that round-off hides the curvature
            in_the_run = min(grid.dx, grid.dy) ** 2 / (case.n_steps * dt)
            scale = max(float(case.inputs.value("viscosity")), in_the_run)
        elif control.startswith("forcing"):
            scale /= case.n_steps * dt
        value = scale * case.controls[control].random(self.seed + shift)
        return Direction(control, value, case.controls[control].dot(part, value))

    def _vanishes(self, control: str) -> bool:
        """Whether a gradient is zero; the tangent model tells whether it should be."""
        return not anywhere(self.comm, bool(np.any(self.base.gradient[control])))

    def _taylor(self, direction: Direction) -> None:
        if self._vanishes(direction.control):
            self.left_out.append(
                f"Taylor test and differences of {direction.control}: the gradient vanishes, "
                "there is nothing to test"
            )
            return
        low, high = FIRST_ORDER
        evaluate = lru_cache(self._objective(direction))
        # near a minimum the quadratic term rules for longer
        for more in (0, len(TAYLOR_SIZES), 2 * len(TAYLOR_SIZES)):
            sizes = [*TAYLOR_SIZES, *(TAYLOR_SIZES[-1] * 2.0 ** -(k + 1) for k in range(more))]
            test = taylor_test(evaluate, self.base.objective, direction.slope, sizes)
            if low < test.order < high:
                break
        self.add(
            f"Taylor order without gradient, {direction.control}",
            test.order,
            low < test.order < high,
            1.0,
            f"{low} to {high}",
        )
        self.add(
            f"Taylor order with gradient, {direction.control}",
            test.corrected_order,
            test.corrected_order > LEAST_ORDER,
            LEAST_ORDER,
            f"above {LEAST_ORDER}",
        )

    def _dot_product_of_one_step(self) -> None:
        """<w, T d> = <T' w, d> for the first step, all points and all that it depends on."""
        model, comm = self.case.model, self.comm
        state = model.initial_state(self.case.fields, replay=True)
        d, w = (random_field(self.case.decomposition, self.seed + k, 2) for k in (1, 2))
        of_steps = {name: one for name, one in self.case.controls.items() if one.of_steps}
        directions = {name: one.random(self.seed + 4) for name, one in of_steps.items()}
        tangent = model.fields_of(model.tangent_step(model.state_of(d), state, directions, 0))
        cotangent = model.new_cotangent()
        model.layout.interior(cotangent.field)[...] = w
        model.stepper.adjoint(cotangent, [state], 0)
        left = exact_sum(comm, w * tangent)
        right = exact_sum(comm, model.layout.interior(cotangent.field) * d)
        for name, control in of_steps.items():
            right += control.dot(control.pull_back(cotangent), directions[name])
        error = abs(left - right) / (norm(comm, w) * norm(comm, tangent))
        self.add(
            "dot product of one step",
            error,
            error <= ROUND_OFF_STEP,
            ROUND_OFF_STEP,
            f"at most {ROUND_OFF_STEP:g} of the norms",
        )

    def _dot_product_of_the_run(self, direction: Direction) -> None:
        """Derivative of J by the tangent model, step by step, against the gradient's."""
        model, case = self.case.model, self.case
        self.count()
        state = model.initial_state(case.fields, replay=True)
        control = case.controls[direction.control]
        perturbation, directions = model.new_state(), {}
        if control.of_steps:
            directions[control.name] = direction.value
        else:
            model.layout.interior(perturbation)[...] = control.masked(direction.value)
        slope = 0.0
        for n in range(case.n_steps):
            slope += model.objective_tangent(perturbation, state, n)
            perturbation = model.tangent_step(perturbation, state, directions, n)
            model.advance(state, n, n + 1)
        slope += model.objective_tangent(perturbation, state, case.n_steps, last=True)
        slope += case.prior.slope({control.name: direction.value}, case.fields)
        error = abs(slope - direction.slope)
        if error:
            error = error / abs(slope) if slope else math.inf
        self.add(
            f"tangent against adjoint, {direction.control}",
            error,
            error <= ROUND_OFF_RUN,
            ROUND_OFF_RUN,
            f"at most {ROUND_OFF_RUN:g} relative",
        )

    def _differences(self, directions: list[Direction]) -> dict[str, tuple[Any, Any]]:
        """Best agreement of central differences at seeded points and for scalar controls."""
        curves: dict[str, tuple[Any, Any]] = {}
        named = {one.control: one for one in directions if not self._vanishes(one.control)}
        if "initial" in self.base.gradient and not self._vanishes("initial"):
            points, missing = drawn_points(self.case, self.base.gradient["initial"], self.amplitude)
            named |= points
            if missing:
                wanted = self.case.config.check.points
                self.left_out.append(
                    f"central differences at {missing} of {wanted} grid points: few points have "
                    f"a gradient above {LEAST_SHARE:g} of the largest"
                )
        for name, direction in named.items():
            errors = central_differences(
                self._objective(direction), direction.slope, DIFFERENCE_SIZES
            )
            curves[name] = (DIFFERENCE_SIZES, errors)
            best = min(errors)
            size = DIFFERENCE_SIZES[errors.index(best)]
            self.add(
                f"central difference, {name}",
                best,
                best <= LARGEST_DIFFERENCE,
                LARGEST_DIFFERENCE,
                f"at most {LARGEST_DIFFERENCE:g} relative (best at {size:g})",
            )
        return curves

    def _second_control_value(self) -> None:
        """The gradient elsewhere, and back: nothing of an earlier one may survive."""
        case, before = self.case, self.case.fields
        # smaller, so that a stable time step stays stable
        noise = random_field(case.decomposition, self.seed + 3, 1)
        fields = before * (0.98 + 0.01 * noise)
        nu = case.inputs.value("viscosity")
        case.inputs.set("viscosity", 0.99 * nu)
        case.inputs.fields = fields
        reused = self._reverse()
        case.inputs.set("viscosity", nu)
        case.inputs.fields = before
        again = self._reverse()
        fresh = case_of(case.config, self.comm, own=case.own)
        fresh.inputs.set_all(case.inputs.copies(case.controls))
        fresh.inputs.set("viscosity", 0.99 * nu)
        fresh.inputs.fields = fields
        schedule = self._checkpointing.schedule()
        self.count()
        with closed_at_end(self._checkpointing.store(schedule)) as store:
            expected = reverse(fresh, schedule, store)
        found = case.digest(reused.final, reused.gradient)
        self.compare(
            "second control value, reused against fresh",
            found,
            fresh.digest(expected.final, expected.gradient),
        )
        fresh.close()
        self.compare(
            "first control value again",
            case.digest(again.final, again.gradient),
            case.digest(self.base.final, self.base.gradient),
        )

    def _other_schedule(self) -> None:
        """Another schedule, store-all where memory allows, gives the same bits."""
        case = self.case
        configured = case.config.checkpointing
        other = "binomial" if configured.schedule == "store_all" else "store_all"
        schedule = self._checkpointing.schedule(other)
        if not self._fits(schedule.slots * case.model.new_snapshot().nbytes):
            self.left_out.append(
                f"{other} against {configured.schedule}: {schedule.slots} snapshots need more "
                "than half of the free memory"
            )
            return
        self.count()
        with closed_at_end(self._checkpointing.store(schedule)) as store:
            result = reverse(case, schedule, store)
        self.compare(
            f"{other} against {configured.schedule}",
            case.digest(result.final, result.gradient),
            case.digest(self.base.final, self.base.gradient),
        )

    def _one_rank(self) -> None:
        """All ranks together and rank 0 on its own give the same bits."""
        comm = self.comm
        if comm.size == 1:
            self.left_out.append("one rank against several: there is one rank")
            return
        if self.case.own is not None:
            self.left_out.append("one rank against several: the objective is of these tiles")
            return
        if not self.fits_one_rank(2):
            self.left_out.append(
                f"one rank against {comm.size}: it needs more than half of the free memory"
            )
            return
        self.count()
        found, values = "", gathered(self.case, self.case.inputs.copies(self.case.controls))
        with agreed(comm):
            if comm.rank == 0:
                alone = case_alone(self.case, values)
                checkpointing = Checkpointing(alone)
                schedule = checkpointing.schedule()
                with closed_at_end(checkpointing.store(schedule)) as store:
                    result = reverse(alone, schedule, store)
                found = alone.digest(result.final, result.gradient)
                alone.close()
        self.compare(
            f"one rank against {comm.size}",
            from_rank(comm, found),
            self.case.digest(self.base.final, self.base.gradient),
        )

    def fits_one_rank(self, n_fields: int) -> bool:
        """Whether rank 0 has the memory for a reversal of states of so many fields."""
        ny, nx = self.case.grid.shape
        size = n_fields * ny * nx * np.dtype(np.float64).itemsize
        slots = self._checkpointing.schedule().slots + 10
        return self._fits(slots * size if self.comm.rank == 0 else 0)

    def _fits(self, n_bytes: int) -> bool:
        """Whether all ranks' needs fit into half of the free memory of every node."""
        needed, available, _ = node_memory(self.comm, n_bytes)
        return everywhere(self.comm, needed <= available / 2)

    def compare(self, name: str, found: str, expected: str) -> None:
        same = found == expected
        value = "same bits" if same else f"{found} is not {expected}"
        self.add(name, value, same, expected, "the same bits")
