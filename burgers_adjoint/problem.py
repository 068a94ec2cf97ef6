"""The door for programs: arrays in, J and its gradient out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from burgers_adjoint.assembly.runs import Gradient, reverse, sweep
from burgers_adjoint.assembly.twin import case_of
from burgers_adjoint.bridges.differentiable import Directions
from burgers_adjoint.config import Config, from_dict, validated
from burgers_adjoint.equations.burgers.controls import copied
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import BurgersAdjointError, ConfigError, agreed_error, closest
from burgers_adjoint.parallel import whole_fields
from burgers_adjoint.parallel.agreement import Comm
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.library import all_ranks, is_freed
from burgers_adjoint.stepping import primal
from burgers_adjoint.stepping.stepper import Value

if TYPE_CHECKING:
    from burgers_adjoint.assembly.own_objective import OwnObjective
    from burgers_adjoint.assembly.stores import Store
    from burgers_adjoint.bridges.final_state import FinalState
    from burgers_adjoint.bridges.scipy import ScipyProblem
    from burgers_adjoint.output.summary import CheckSummary
    from burgers_adjoint.planning.checkpointing import Checkpointing
    from burgers_adjoint.second_order.products import LatestProducts
    from burgers_adjoint.second_order.search import Optimum


class Problem:
    """A configured problem, whose objective and gradient are functions of its controls.

    All methods are collective: every rank calls them, in the same order. Arrays are this rank's
    tile, on one rank the whole grid: float64, fields (2, ny, nx) with u first. Values of controls
    may be of any type and layout that NumPy turns into float64; they are read, never kept.

    Args:
        config: what to compute: as `load` reads it, sections of keys, or None for the defaults.
        comm: the ranks that share the grid, an mpi4py communicator; all that `mpiexec` has started
            when not given.
        objective: J, in place of the configured one.

    Attributes:
        case: what the configuration is made into: model, controls, objective, grid.

    Raises:
        ConfigError: on all ranks: the configuration is wrong, or the ranks do not fit the grid.
        NumericalError: on all ranks: the time step is unstable.

    Example:
        >>> import burgers_adjoint as ba
        >>> sections = {"grid": {"nx": 24, "ny": 20}, "time": {"steps": 10}}
        >>> with ba.Problem(sections) as problem:
        ...     m = problem.controls()
        ...     J, g = problem.value_and_gradient(m)
        ...     d = 1e-6
        ...     slope = (problem.value({**m, "viscosity": 0.01 + d}) - J) / d
        >>> sorted(g), g["initial"].shape, bool(abs(slope / g["viscosity"] - 1) < 1e-4)
        (['initial', 'viscosity'], (2, 20, 24), True)
    """

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        comm: Comm | None = None,
        objective: OwnObjective | None = None,
    ) -> None:
        comm = all_ranks() if comm is None else comm
        if is_freed(comm):
            raise ConfigError("the communicator of this problem was freed, or is MPI.COMM_NULL")
        with agreed(comm):
            config = validated(config) if isinstance(config, Config) else from_dict(config or {})
        self._lock, self._open, self._prepared = threading.Lock(), ExitStack(), ""
        self._closed = False
        self.case = case_of(config, comm, own=objective)
        self._open.callback(self.case.close)
        self._start = self.case.inputs.copies(self.case.controls)

    @property
    def config(self) -> Config:
        """What is computed."""
        return self.case.config

    @property
    def x(self) -> np.ndarray:
        """Coordinates of the tile's columns, (nx,) [length]."""
        return self.case.grid.x[self.case.decomposition.columns]

    @property
    def y(self) -> np.ndarray:
        """Coordinates of the tile's rows, (ny, 1) [length]."""
        return self.case.grid.y[self.case.decomposition.rows, None]

    @property
    def comm(self) -> Comm:
        """The ranks that share the grid."""
        return self.case.comm

    @cached_property
    def second_order(self) -> LatestProducts:
        """What computes products with a Hessian."""
        from burgers_adjoint.second_order.products import LatestProducts

        return self._open.enter_context(closing(LatestProducts(self.case)))

    @cached_property
    def checkpointing(self) -> Checkpointing:
        """Makes the schedules and stores of reversals."""
        from burgers_adjoint.planning.checkpointing import Checkpointing

        return Checkpointing(self.case)

    def __enter__(self) -> Problem:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._closed = True
        self._open.__exit__(*raised)

    def close(self) -> None:
        """Give back all that the problem holds; it cannot be used afterwards."""
        self.__exit__(None, None, None)

    def controls(self) -> dict[str, Value]:
        """The configured values of the controls, by name; copies.

        Those of [gradient] controls: "initial" and "boundary" (2, ny, nx) [length/time],
        "viscosity" a float [length^2/time], "viscosity_field" (ny, nx) [length^2/time], "forcing"
        (2, ny, nx) and "forcing_in_time" (n_knots, 2, ny, nx) [length/time^2].
        """
        return copied(self._start)

    def value(self, controls: Mapping[str, Any] | None = None) -> float:
        """J.

        Args:
            controls: by name, as `controls` gives them; those left out are as configured.

        Raises:
            ConfigError: on all ranks: there is no such control, or its values do not fit.
            NumericalError: on all ranks: a state or J is not finite.
        """
        with self._running(controls, "primal"):
            return sweep(self.case)

    def value_and_gradient(
        self, controls: Mapping[str, Any] | None = None
    ) -> tuple[float, Gradient]:
        """J and its Euclidean gradient, by the names of the controls.

        Args:
            controls: see `value`.

        Raises:
            ConfigError: on all ranks: there is no such control, or its values do not fit; or the
                memory or the disk is too small for the snapshots.
            NumericalError: on all ranks: a state or the gradient is not finite.
            SnapshotError, StorageError: on all ranks: a snapshot is damaged or cannot be written.
        """
        with self._running(controls, "gradient"):
            schedule = self.checkpointing.schedule()
            result, _ = self.checkpointing.reversed(schedule, self._store)
        return result.objective, copied(result.gradient)

    def hessian_product(
        self, controls: Mapping[str, Any] | None, direction: Directions
    ) -> Gradient | list[Gradient]:
        """The second derivative of J times a direction, or times each of a batch of them.

        Exact to round-off: a tangent sweep and a second-order adjoint one, in one reversal under
        the configured schedule whose snapshots hold the states and their tangents. A batch shares
        the states, up to four directions at a time.

        Args:
            controls: see `value`.
            direction: by the names of the controls, laid out like them; those left out are zero.
                Or a sequence of such.

        Returns:
            The product by the names of the controls, like a gradient; a list of a batch's.

        Raises:
            ConfigError, NumericalError, SnapshotError, StorageError: see `value_and_gradient`;
                ConfigError, too, where an objective of your own has no `second_derivative`.

        Example:
            >>> import burgers_adjoint as ba
            >>> sections = {"grid": {"nx": 24, "ny": 20}, "time": {"steps": 10}}
            >>> with ba.Problem(sections) as problem:
            ...     m, d = problem.controls(), {"viscosity": 1.0}
            ...     product = problem.hessian_product(m, d)
            ...     ahead = problem.value_and_gradient({**m, "viscosity": 0.01 + 1e-6})[1]
            ...     here = problem.value_and_gradient(m)[1]
            >>> slope = (ahead["viscosity"] - here["viscosity"]) / 1e-6
            >>> bool(abs(slope / product["viscosity"] - 1) < 1e-4)
            True
        """
        return self._product(controls, direction, full=True)

    def gauss_newton_product(
        self, controls: Mapping[str, Any] | None, direction: Directions
    ) -> Gradient | list[Gradient]:
        """The Gauss-Newton part of `hessian_product`, symmetric and nowhere negative.

        What J's second derivative by the states makes of their tangents: without the curvature of
        the steps, which vanishes at a perfect fit.
        """
        return self._product(controls, direction, full=False)

    def trajectory(
        self, controls: Mapping[str, Any] | None = None, every: int = 1
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The states of a run, as it comes by them.

        Nothing else can be asked of the problem until the last one has come, or the iterator is
        closed.

        Args:
            controls: see `value`.
            every: steps between states, at least 1.

        Yields:
            Number of steps done, and the fields (2, ny, nx) then, a copy: at the start, after each
            `every` steps, and at the end.

        Raises:
            ConfigError, NumericalError: see `value`.
        """
        if every < 1 or every != int(every):
            raise agreed_error(ConfigError(f"every = {every}: expected a whole number, at least 1"))
        with self._running(controls, "primal"):
            model = self.case.model
            state, bins = model.initial_state(self.case.fields), model.objective.new_bins()
            for n in primal.stretches(model, state, bins, 0, lambda n: n % every == 0):
                if n % every == 0 or n == model.n_steps:
                    yield n, model.fields_of(state).copy()
                    self._require_open()

    def check(self, controls: Mapping[str, Any] | None = None) -> CheckSummary:
        """Test the gradient at these controls: see the command `check`.

        Args:
            controls: see `value`.

        Returns:
            The tests with their results; `passed` says whether all are right.

        Raises:
            ConfigError, NumericalError, SnapshotError, StorageError: see `value_and_gradient`.
        """
        from burgers_adjoint.checking.checked import checked
        from burgers_adjoint.output.progress import Progress

        with self._running(controls, "gradient"):
            return checked(self.case, self.checkpointing, Progress(shown=False))[0]

    def optimize(self, controls: Mapping[str, Any] | None = None) -> Optimum:
        """Search for the controls that make J smallest, by PETSc TAO as [tao] says.

        Nothing is written; the command `optimize` saves each iteration, and goes on from it.

        Args:
            controls: the first guess; see `value`.

        Raises:
            ConfigError: on all ranks: PETSc is missing or not fit; see `value_and_gradient`.
            NumericalError: on all ranks: the run of the first guess fails.
        """
        from burgers_adjoint.second_order.search import optimum_of

        with self._running(controls, "gradient"):
            schedule = self.checkpointing.schedule
            return optimum_of(self.case, lambda: reverse(self.case, schedule(), self._store))

    def as_scipy(self) -> ScipyProblem:
        """J and its gradient as functions of one vector, for SciPy's optimisers."""
        from burgers_adjoint.bridges.scipy import ScipyProblem

        return ScipyProblem(self)

    def final_state(self) -> FinalState:
        """The final state as a function of the controls, with its pull-back."""
        from burgers_adjoint.bridges.final_state import FinalState

        def new_problem(objective: OwnObjective) -> Problem:
            return self._open.enter_context(Problem(self.config, self.comm, objective))

        with self._in_use():
            return FinalState(new_problem)

    def gather(self, tile: np.ndarray) -> np.ndarray | None:
        """The whole grid's fields (..., ny, nx) on rank 0, from all tiles; None on the others.

        Raises:
            ConfigError: on all ranks: a tile has another shape.
        """
        with self._in_use():
            return whole_fields.gather(self.case.decomposition, tile)

    def scatter(self, whole: np.ndarray | None) -> np.ndarray:
        """This rank's tile of fields (..., ny, nx) of the whole grid that rank 0 gives.

        Raises:
            ConfigError: on all ranks: the fields have another shape.
        """
        with self._in_use():
            return whole_fields.scatter(self.case.decomposition, whole)

    def _product(
        self, controls: Mapping[str, Any] | None, direction: Directions, full: bool
    ) -> Gradient | list[Gradient]:
        batch = [direction] if isinstance(direction, Mapping) else list(direction)
        with self._running(controls, None):
            directions = [self._direction(one) for one in batch]
            found = self.second_order.products(directions, full).products
        return found[0] if isinstance(direction, Mapping) else found

    def _direction(self, given: Mapping[str, Any]) -> Gradient:
        found = {name: control.zeros() for name, control in self.case.controls.items()}
        with agreed(self.comm):
            for name, value in self._checked(given).items():
                found[name] = self.case.controls[name].masked(value)
        return found

    @cached_property
    def _store(self) -> Store:
        """One store for all gradients."""
        from burgers_adjoint.assembly.stores import closed_at_end

        store = self.checkpointing.store(self.checkpointing.schedule())
        return self._open.enter_context(closed_at_end(store, self.config.snapshots.keep))

    def _require_open(self) -> None:
        if self._closed:
            raise agreed_error(BurgersAdjointError("this problem is closed"))
        if is_freed(self.comm):
            raise BurgersAdjointError("the communicator of this problem was freed")

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Let nobody else in, and nobody after the end."""
        self._require_open()
        if not self._lock.acquire(blocking=False):
            raise BurgersAdjointError(
                "this problem is in use: by another thread, or by a trajectory that has not ended "
                "(exhaust or close it); give each thread a problem of its own"
            )
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _running(self, controls: Mapping[str, Any] | None, what: str | None) -> Iterator[None]:
        """Be at work at these controls, with the kernels of what comes, if anything."""
        with self._in_use():
            self._set(controls or {})
            if what is not None and self._prepared not in (what, "gradient"):
                prepare_kernels(self.case.model, reverse=what == "gradient")
                self._prepared = what
            # values may be beyond what a run can bear: then it says so
            with np.errstate(over="ignore", invalid="ignore"):
                yield

    def _set(self, controls: Mapping[str, Any]) -> None:
        values: dict[str, Value] = {**self._start}
        with agreed(self.comm):
            values |= self._checked(controls)
        self.case.inputs.set_all(values)

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        names = [*self.case.controls]
        for name, value in given.items():
            if name not in names:
                raise ConfigError(
                    f"this problem has no control {name!r}{closest(name, names)}; it has "
                    f"{', '.join(names)} (gradient.controls)"
                )
            control = self.case.controls[name]
            values[name] = control.checked(value)
            control.require_finite(values[name])
        return values
