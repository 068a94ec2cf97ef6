"""Minimisation by PETSc TAO; the one place that imports petsc4py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from burgers_adjoint.errors import (
    BurgersAdjointError,
    ConfigError,
    NumericalError,
    agreed_error,
)
from burgers_adjoint.inverse.newton import (
    FIRST_REGIONS,
    NEWTON,
    Multiply,
    Precondition,
    SecondOrder,
)
from burgers_adjoint.parallel.agreement import Comm, anywhere

INFINITE = 1e100  # beyond which PETSc takes a bound for none
# A failed trial's J, over that of the point it started from: finite, as the cubic interpolation of
# a line search turns an infinite one into nan, and small, as it sets how far the search steps back.
FAILED = 3.0

FIRST_ORDER = ("blmvm", "bqnls", "bncg", "bqnkls", "bqnktr", "bqnktl", "lmvm", "cg", "owlqn")
METHODS = FIRST_ORDER + NEWTON
REASONS = {
    "CONVERGED_GATOL": "the gradient norm is below tao.gatol",
    "CONVERGED_GRTOL": "the gradient norm over the objective is below tao.grtol",
    "CONVERGED_GTTOL": "the gradient norm over the first one is below tao.gttol",
    "CONVERGED_STEPTOL": "the step is below PETSc's -tao_steptol",
    "CONVERGED_MINF": "the objective is below PETSc's -tao_fmin",
    "CONVERGED_USER": "the caller asked to stop",
    "DIVERGED_MAXITS": "tao.iterations are used up",
    "DIVERGED_MAXFCN": "tao.evaluations are used up",
    "DIVERGED_NAN": "the objective or its gradient is not a number",
    "DIVERGED_LS_FAILURE": "the line search found no lower objective",
    "DIVERGED_TR_REDUCTION": "the trust region shrank to nothing",
    "DIVERGED_USER": "the caller asked to stop",
}


@dataclass
class Settings:
    """What TAO is asked to do; see its manual for gatol, grtol and gttol."""

    method: str
    gatol: float
    grtol: float
    gttol: float
    iterations: int
    evaluations: int


@dataclass
class Outcome:
    """How a minimisation ended.

    Attributes:
        entries: this rank's share of the best vector.
        converged, reason: verdict, in words.
        iterations: taken.
        failed_trials: trial points at which the objective could not be evaluated.
    """

    entries: np.ndarray
    converged: bool
    reason: str
    iterations: int
    failed_trials: int


@dataclass
class Iteration:
    """One accepted point: its number, objective, gradient norm, length of the step, entries."""

    number: int
    objective: float
    gradient_norm: float
    step: float
    entries: np.ndarray = field(repr=False)


Evaluate = Callable[[np.ndarray, np.ndarray], float]


@dataclass
class Functions:
    """What a search asks for, of vectors of which each rank has a share; all collective.

    Attributes:
        evaluate: (entries, gradient out) -> objective; a NumericalError that all ranks raise makes
            a failed trial, except at the start.
        multiply: (entries, direction, product out), of the Hessian there: for Newton's methods.
        precondition: what is close to the inverse of the Hessian, times a vector.
    """

    evaluate: Evaluate
    multiply: Multiply | None = None
    precondition: Precondition = np.copy


def load_petsc(options: str) -> Any:
    """Import and start petsc4py with options.

    Raises:
        ConfigError: it is not installed, or built for other scalars than real doubles.
    """
    try:
        import petsc4py
    except ImportError as error:
        raise ConfigError(
            "optimize needs PETSc: install petsc4py, as docs/howto/install.md says "
            f"(importing it failed: {error})"
        ) from error
    petsc4py.init(["burgers_adjoint", "-no_signal_handler", *options.split()])
    from petsc4py import PETSc

    require_doubles(np.dtype(PETSc.ScalarType))
    return PETSc


def require_doubles(scalar: np.dtype[Any]) -> None:
    """Refuse a PETSc whose scalars are not real doubles.

    Raises:
        ConfigError: naming what they are.
    """
    if scalar != np.float64:
        kind = "complex" if scalar.kind == "c" else "other"
        raise ConfigError(
            f"this PETSc is built for {kind} scalars ({scalar}); optimize needs a petsc4py whose "
            "PETSc is built for real scalars in double precision (PETSC_ARCH chooses one)"
        )


def prepare(petsc: Any, comm: Comm, method: str) -> None:
    """Let PETSc load what a method needs, which it does at first use. Collective."""

    def parabola(tao: Any, point: Any, gradient: Any) -> float:
        point.copy(gradient)
        return 0.5 * float(point.dot(point))

    x = petsc.Vec().createMPI((1, petsc.DETERMINE), comm=comm)
    x.set(1.0)
    gradient = x.duplicate()
    tao = petsc.TAO().create(comm)
    tao.setOptionsPrefix("prepare_")  # out of reach of what the user asks for
    tao.setType(method)
    tao.setObjectiveGradient(parabola, gradient)

    def identity(point: np.ndarray, direction: np.ndarray, out: np.ndarray) -> None:
        out[...] = direction

    second = SecondOrder(petsc, tao, x, identity)
    tao.setMaximumIterations(2)
    tao.setFromOptions()
    second.begin()
    tao.solve(x)
    for item in (tao, x, gradient, second):
        item.destroy()


def minimize(
    petsc: Any,
    comm: Comm,
    functions: Functions,
    start: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray] | None,
    settings: Settings,
    watch: Callable[[Iteration], None],
) -> Outcome:
    """Minimise an objective of a vector that is spread over the ranks. Collective.

    Args:
        petsc: from `load_petsc`.
        comm: the ranks.
        functions: of this rank's share.
        start: this rank's share; changed in place.
        bounds: lower and upper ones, or None.
        settings: of TAO.
        watch: called with every accepted point, the start among them.

    Raises:
        NumericalError: on all ranks: the start cannot be evaluated, or PETSc's norms overflow.
        ConfigError: on all ranks: PETSc knows no method of the name that its options ask for, or
            the search does not.
    """
    x = petsc.Vec().createWithArray(start, comm=comm)
    trials = _Trials(comm, functions.evaluate, watch, x.duplicate(), x.duplicate())
    tao = petsc.TAO().create(comm)
    tao.setType(settings.method)
    tao.setObjectiveGradient(trials.evaluate, trials.slope)
    tao.setMonitor(trials.accept)
    multiply = functions.multiply and trials.watched(functions.multiply)
    second = SecondOrder(petsc, tao, x, multiply, functions.precondition)
    tao.setTolerances(gatol=settings.gatol, grtol=settings.grtol, gttol=settings.gttol)
    tao.setMaximumIterations(settings.iterations)
    tao.setMaximumFunctionEvaluations(settings.evaluations)
    limits = []
    if bounds is not None:
        limits = [petsc.Vec().createWithArray(bound, comm=comm) for bound in bounds]
        tao.setVariableBounds(*limits)
    try:
        _set_from_options(petsc, tao, METHODS if multiply else FIRST_ORDER)
        second.begin()
        tao.solve(x)
        return trials.outcome(petsc, tao, x)
    except petsc.Error as error:
        # PETSc reports what a callback raised as an error of its own
        if trials.failures:
            raise trials.failures[0] from None
        raise _explained(error) from error
    finally:
        for item in (tao, x, trials.latest, trials.slope, second, *limits):
            item.destroy()


def _set_from_options(petsc: Any, tao: Any, methods: Sequence[str]) -> None:
    """Let the user's options have their way, as far as the search can follow."""
    options = petsc.Options()
    ours = {key: way for key, way in FIRST_REGIONS.items() if not options.hasName(key)}
    for key, way in ours.items():
        options.setValue(key, way)
    try:
        tao.setFromOptions()
    except petsc.Error as error:
        raise agreed_error(ConfigError(f"petsc.options: PETSc says: {_words(error)}")) from error
    finally:
        for key in ours:
            options.delValue(key)
    if tao.getType() not in methods:
        raise agreed_error(
            ConfigError(
                f"petsc.options: -tao_type {tao.getType()} takes more than the objective and its "
                f"gradient, or is not tried here: expected one of {', '.join(methods)}"
            )
        )


def _explained(error: Exception) -> BurgersAdjointError:
    """What PETSc says, as an error of ours."""
    said = _words(error)
    if "Inf or NaN" in said:
        return agreed_error(
            NumericalError(
                "PETSc squares the objective's gradient, and that is not finite: smaller "
                f"objective.weights, or a controls.scale, may help ({said})"
            )
        )
    return BurgersAdjointError(f"the search failed: PETSc says: {said}")


def _words(error: Exception) -> str:
    """What PETSc says in the last line of an error, after its code and its calls."""
    return str(error).splitlines()[-1].rpartition("] ")[2]


class _Trials:
    """The points that TAO tries, and those that it accepts.

    A trial whose run fails gets an objective that is far above all others, and the gradient of the
    trial before: no line search takes such a point for better, and no test for a minimum.

    Attributes:
        latest: gradient of the latest trial whose run did not fail.
        slope: TAO's gradient at an accepted point, without what bounds hold.
        failures: what the callbacks have raised.
    """

    def __init__(
        self,
        comm: Comm,
        evaluate: Evaluate,
        watch: Callable[[Iteration], None],
        latest: Any,
        slope: Any,
    ) -> None:
        self._comm, self._evaluate, self._watch = comm, evaluate, watch
        self.latest, self.slope = latest, slope
        self._point, self._objective = np.empty(0), 0.0  # of the latest
        self._first = self._shown = self._gttol = 0.0
        self.failures: list[BaseException] = []
        self._accepted: list[float] = []
        self._failed: list[float] = []

    def evaluate(self, tao: Any, point: Any, gradient: Any) -> float:
        """Objective of a trial, whose gradient is filled in."""
        if self._accepted and not anywhere(self._comm, self._moved(point.array_r)):
            self.latest.copy(gradient)  # a trust region asks for J, and then for its gradient
            return self._objective
        try:
            with gradient as out:
                objective = self._evaluate(point.array_r, out)
        except NumericalError as error:
            if not self._accepted or not error.agreed:
                self.failures.append(error)
                raise
            self.latest.copy(gradient)
            tiny = float(np.finfo(float).tiny)
            self._failed.append(FAILED * max(abs(self._accepted[-1]), tiny))
            return self._failed[-1]
        except BaseException as error:
            self.failures.append(error)
            raise
        gradient.copy(self.latest)
        self._point, self._objective = point.array_r.copy(), objective
        return objective

    def _moved(self, point: np.ndarray) -> bool:
        return not np.array_equal(point, self._point)

    def watched(self, multiply: Multiply) -> Multiply:
        """The products, whose failures are noted."""

        def noting(point: np.ndarray, direction: np.ndarray, out: np.ndarray) -> None:
            try:
                multiply(point, direction, out)
            except BaseException as error:
                self.failures.append(error)
                raise

        return noting

    def accept(self, tao: Any) -> None:
        """Note a point that TAO goes on from."""
        number, objective, shown, _, step, _ = tao.getSolutionStatus()
        norm = self.slope.norm()
        self._keep_gttol(tao, norm, shown)
        self._accepted.append(objective)
        if objective in self._failed:  # some methods take what their line search has left
            tao.setConvergedReason(tao.Reason.DIVERGED_USER)
            return
        try:
            self._watch(Iteration(number, objective, norm, step, tao.getSolution().array_r))
        except BaseException as error:
            self.failures.append(error)
            raise

    def _keep_gttol(self, tao: Any, norm: float, shown: float) -> None:
        """Let the search end by the gradient's norm, whatever norm its method shows.

        With bounds, PETSc's bnls and bntr show that of the Fischer-Burmeister function of gradient
        and distance to the bound (VecFischer): far from a minimum that is less, and tao.gttol would
        ask for more than of the other methods.
        """
        if not self._accepted:
            *_, gttol = tao.getTolerances()
            self._first, self._shown, self._gttol = norm, shown, gttol
        if self._shown > 0.0 and shown != norm:
            tao.setTolerances(gttol=self._gttol * (self._first / self._shown) * (shown / norm))

    def outcome(self, petsc: Any, tao: Any, x: Any) -> Outcome:
        """What the search has come to; converged only where a run has computed its gradient."""
        reason = tao.getConvergedReason()
        names = {getattr(petsc.TAO.Reason, name): name for name in REASONS}
        words = REASONS.get(names.get(reason, ""), f"PETSc's reason {reason}")
        converged = reason > 0
        if self._accepted[-1] in self._failed:
            converged, words = False, "the point that it stopped at cannot be run"
        iterations = tao.getIterationNumber()
        return Outcome(x.array_r.copy(), converged, words, iterations, len(self._failed))
