"""SciPy's optimisers, which know one vector on one process, over a problem on any ranks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from burgers_adjoint.bridges.differentiable import Differentiable
from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.stepping.stepper import Value

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

T = TypeVar("T")


class ScipyProblem:
    """J and its gradient as functions of one vector, as `scipy.optimize.minimize` takes them.

    The vector has all controls of the whole grid one after another, in the order of `controls()`:
    a number is one entry, fields are those of (..., ny, nx) in C order, without the points that are
    another control's; entries are values over `controls.scale`. It is the same on any number of
    ranks. Rank 0 has it; what the other ranks have is empty.

    On one rank `fun`, `jac`, `hessp` and `bounds` go to SciPy as they are. On many ranks the whole
    program runs on all of them, and calls `drive`.

    Args:
        problem: whose controls they are.

    Attributes:
        x0: the configured values.
        bounds: of the entries, pairs as SciPy takes them, None for none; None without any bounds.
    """

    def __init__(self, problem: Differentiable) -> None:
        self._problem = problem
        self._comm = problem.comm
        self._controls = problem.case.controls
        self._driving = self._comm.size == 1
        self._places: dict[str, Any] = {}
        for name, control in self._controls.items():
            own = np.ones(control.shape)
            if control.shape and control.points is not None:
                own = np.broadcast_to(control.points, control.shape).astype(np.float64)
            whole = problem.gather(own) if control.shape else own
            self._places[name] = None if whole is None else whole.astype(bool)
        self.x0 = self._pack(problem.controls(), lambda scale: 1.0 / scale)
        self._last: tuple[np.ndarray, float, np.ndarray] | None = None

    @property
    def bounds(self) -> list[tuple[float | None, float | None]] | None:
        found: list[tuple[float | None, float | None]] = []
        for name, control in self._controls.items():
            places = self._places[name]
            if places is not None:
                one = [b and b / control.scale for b in (control.lower, control.upper)]
                found += [(one[0], one[1])] * int(places.sum())
        return found if any(b is not None for pair in found for b in pair) else None

    def fun(self, x: np.ndarray) -> float:
        """J; its gradient is computed with it, for `jac`.

        Raises:
            BurgersAdjointError: see `Problem.value_and_gradient`; or many ranks are not driven.
        """
        return self._evaluate(x)[0]

    def jac(self, x: np.ndarray) -> np.ndarray:
        """The gradient by the entries, like x; see `fun`."""
        return self._evaluate(x)[1]

    def hessp(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """The Hessian at x times a vector, by the entries, like both; see `fun`."""
        return self._ask("hessian_product", x, p)[1]

    def gauss_newton(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """The Gauss-Newton part of `hessp`: for `hessp` of a method that wants it convex."""
        return self._ask("gauss_newton_product", x, p)[1]

    def hessian(self, x: np.ndarray, gauss_newton: bool = False) -> "LinearOperator":
        """The Hessian at x, or its Gauss-Newton part, as a linear operator of SciPy."""
        from scipy.sparse.linalg import LinearOperator

        times, size = self.gauss_newton if gauss_newton else self.hessp, self.x0.size
        at = np.array(x, dtype=np.float64)
        return LinearOperator(
            (size, size), lambda p: times(at, np.ravel(p)), dtype=np.dtype(np.float64)
        )

    def values(self, x: np.ndarray) -> dict[str, Value]:
        """Controls by name, this rank's tiles, from the vector of rank 0. Collective."""
        return self._unpack(x if self._comm.rank == 0 else None)

    def drive(self, program: Callable[["ScipyProblem"], T]) -> T:
        """Let rank 0 run a program that calls `fun`, `jac` and `hessp`, all ranks at work.

        Collective.

        Args:
            program: called on rank 0, with this; what it returns can be pickled.

        Returns:
            What the program returns, on all ranks.

        Raises:
            BurgersAdjointError: on all ranks: of the program; other errors are wrapped in it.
        """
        result: Any = None
        if self._comm.size == 1:
            return program(self)
        with agreed(self._comm):
            if self._comm.rank == 0:
                self._driving = True
                try:
                    result = program(self)
                finally:
                    self._driving = False
                    from_rank(self._comm, "end")
            else:
                while (asked := from_rank(self._comm, None)) != "end":
                    self._answer(asked, None)
        found: T = from_rank(self._comm, result)
        return found

    def _evaluate(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        if self._last is not None and np.array_equal(self._last[0], x):
            return self._last[1], self._last[2].copy()
        at = np.array(x, dtype=np.float64)
        value, gradient = self._ask("value_and_gradient", at)
        self._last = at, value, gradient
        return value, gradient.copy()

    def _ask(self, what: str, *vectors: np.ndarray) -> tuple[float, np.ndarray]:
        """Have all ranks call a method of the problem at a vector, with another one perhaps."""
        if not self._driving:
            raise BurgersAdjointError(
                "on many ranks SciPy's optimiser runs on rank 0 alone: let `drive` call it"
            )
        if self._comm.size > 1:
            from_rank(self._comm, what)
        return self._answer(what, *vectors)

    def _answer(
        self, what: str, x: np.ndarray | None, p: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """One evaluation, on all ranks; an error that all ranks raise is rank 0's to deal with."""
        try:
            m, value = self._unpack(x), np.nan
            if what == "value_and_gradient":
                value, found = self._problem.value_and_gradient(m)
            else:
                found = getattr(self._problem, what)(m, self._unpack(p))
            return value, self._pack(found, lambda scale: scale)
        except BurgersAdjointError as error:
            if self._comm.rank == 0 or not error.agreed:
                raise
            return np.nan, np.empty(0)

    def _pack(self, values: dict[str, Value], factor: Callable[[float], float]) -> np.ndarray:
        parts = [np.empty(0)]
        for name, control in self._controls.items():
            tile = np.asarray(values[name])
            whole = self._problem.gather(tile) if control.shape else tile
            if self._comm.rank == 0 and whole is not None:
                parts.append(whole[self._places[name]].reshape(-1) * factor(control.scale))
        return np.concatenate(parts)

    def _unpack(self, x: np.ndarray | None) -> dict[str, Value]:
        with agreed(self._comm):
            if x is not None and np.shape(x) != self.x0.shape:
                raise BurgersAdjointError(
                    f"the vector has the shape {self.x0.shape}, not {np.shape(x)}"
                )
        values: dict[str, Value] = {}
        first = 0
        for name, control in self._controls.items():
            whole = None
            if x is not None:
                places = self._places[name]
                whole = np.zeros(places.shape)
                count = int(places.sum())
                whole[places] = x[first : first + count] * control.scale
                first += count
            if control.shape:
                values[name] = self._problem.scatter(whole)
            else:
                values[name] = float(from_rank(self._comm, whole))
        return values
