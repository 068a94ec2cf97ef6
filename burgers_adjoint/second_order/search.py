"""A search for the controls that make J smallest, by PETSc TAO as [tao] says."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import Reversal
from burgers_adjoint.config import Config, time_is_open
from burgers_adjoint.equations.burgers.controls import copied
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.inverse import tao
from burgers_adjoint.inverse.vector import ControlVector
from burgers_adjoint.second_order.entries import EntryProducts
from burgers_adjoint.second_order.near_inverse import NearInverse
from burgers_adjoint.stepping.stepper import Value


@dataclass(frozen=True)
class Optimum:
    """What a search has come to.

    Attributes:
        controls: by name, as `Problem.controls` gives them.
        objective: J there.
        converged: whether a tolerance of [tao] is met.
        reason: in words.
        iterations: taken.
    """

    controls: dict[str, Value]
    objective: float
    converged: bool
    reason: str
    iterations: int


def petsc_for(config: Config) -> Any:
    """PETSc, started as [petsc] says, for runs whose number of steps is known. Collective.

    Raises:
        ConfigError: on all ranks: it is missing or not fit, or the number of steps is open.
    """
    try:
        petsc = tao.load_petsc(config.petsc.options)
    except ConfigError as error:
        raise agreed_error(error) from None
    if time_is_open(config.time):
        raise agreed_error(
            ConfigError(
                "optimize needs a number of steps that is known: leave out time.steady and time.cfl"
            )
        )
    return petsc


def minimized(
    petsc: Any,
    case: Case,
    vector: ControlVector,
    products: EntryProducts,
    evaluate: tao.Evaluate,
    start: np.ndarray,
    watch: Callable[[tao.Iteration], None],
    first_norm: float = 1.0,
) -> tao.Outcome:
    """Minimise J from a vector of entries on; see `inverse.tao.minimize`. Collective.

    Args:
        petsc: from `petsc_for`.
        case: whose J it is.
        vector: where the entries of its controls lie.
        products: for Newton's methods; closed at the end.
        evaluate, start, watch: see `inverse.tao.minimize`.
        first_norm: of the gradient, over that at the start.
    """
    section, bounds, limits = case.config.tao, None, case.config.controls
    if limits.lower or limits.upper:
        bounds = np.zeros(vector.size), np.zeros(vector.size)
        vector.put_bounds(tao.INFINITE, *bounds)
    settings = tao.Settings(
        section.type, section.gatol, section.grtol, section.gttol * first_norm,
        section.iterations, section.evaluations,
    )  # fmt: skip
    with closing(products):
        near_inverse = NearInverse(case, vector, products)
        functions = tao.Functions(evaluate, products.multiply, near_inverse)
        return tao.minimize(petsc, case.comm, functions, start, bounds, settings, watch)


def optimum_of(case: Case, reverse: Callable[[], Reversal]) -> Optimum:
    """Search from the case's inputs on, which are those that are found afterwards. Collective.

    Args:
        case: whose J it is.
        reverse: has J and its gradient at the case's inputs.

    Raises:
        BurgersAdjointError: on all ranks: see `petsc_for` and `inverse.tao.minimize`.
    """
    petsc = petsc_for(case.config)
    vector = ControlVector(case.comm, case.controls)
    start, latest = np.zeros(vector.size), [0.0]
    vector.put_values(case.inputs.copies(case.controls), start)

    def evaluate(entries: np.ndarray, gradient: np.ndarray) -> float:
        case.inputs.set_all(vector.values(entries))
        with np.errstate(over="ignore", invalid="ignore"):  # a trial may be beyond all bounds
            result = reverse()
            vector.put_gradient(result.gradient, gradient)
        return result.objective

    def accept(at: tao.Iteration) -> None:
        latest[0] = at.objective

    products = EntryProducts(case, vector, case.config.tao.hessian == "full")
    done = minimized(petsc, case, vector, products, evaluate, start, accept)
    controls = copied(vector.values(done.entries))
    return Optimum(controls, latest[0], done.converged, done.reason, done.iterations)
