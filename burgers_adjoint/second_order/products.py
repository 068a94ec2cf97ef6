"""Products of a case's Hessian, and of its Gauss-Newton part, with directions of its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.model import recipe_of
from burgers_adjoint.assembly.objective import build_objective
from burgers_adjoint.assembly.runs import executed
from burgers_adjoint.assembly.stores import Store, closed_at_end
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.equations.burgers.controls import Inputs
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.observing.observations import Observations
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.stepping.directions import WithDirections
from burgers_adjoint.stepping.engine import Engine
from burgers_adjoint.stepping.stepper import Value

Direction = Mapping[str, Value]
Product = dict[str, Value]


@dataclass
class Products:
    """Products with some directions, and what they took.

    Attributes:
        objective: J.
        gradient: Euclidean, by control; None where Gauss-Newton was asked for, which has none.
        products: of each direction, by control.
        counts: what the executor did.
    """

    objective: float
    gradient: Product | None
    products: list[Product]
    counts: Counts


class SecondOrder:
    """Computes products with so many directions at once, at a case's inputs. Collective.

    One reversal of states beside their tangents, under the schedule and in the store that the
    case is configured with: a snapshot is 1 + n_directions times as large as a gradient's.

    Args:
        case: whose products they are.
        n_directions: how many there are in every call.
        full: of the Hessian; else of its Gauss-Newton part, in which the tangents of states alone
            count, and not the curvature of the steps.

    Raises:
        ConfigError: on all ranks: there are no directions, or J has no second derivative.
    """

    def __init__(self, case: Case, n_directions: int, full: bool = True) -> None:
        self._case, self.n_directions, self.full = case, n_directions, full
        _require_second_order(case, n_directions)
        self._open = ExitStack()
        recipe = replace(recipe_of(case.config), directions=n_directions, full=full)
        grid, decomposition = case.grid, case.decomposition
        time_steps = case.setting.time_steps
        with ExitStack() as undone:
            stepper = recipe.stepper(grid, decomposition, time_steps)
            undone.callback(stepper.close)
            setting = replace(
                case.setting, layout=stepper.layout, observe_truth=lambda _: _observed(case)
            )
            objective = build_objective(setting, case.own)
            undone.callback(objective.close)
            model = recipe.compose(grid, decomposition, time_steps, stepper, objective)
            undone.pop_all()
        self._open.callback(model.close)
        assert isinstance(stepper, Engine)
        assert isinstance(stepper.equation, WithDirections)
        self._engine, self._steps = stepper, stepper.equation
        inputs = Inputs(case.all_controls, case.fields, model)
        self.case = replace(case, setting=setting, model=model, objective=objective, inputs=inputs)
        prepare_kernels(model)

    def close(self) -> None:
        """Release what the model and the store hold."""
        self._open.close()

    @cached_property
    def checkpointing(self) -> Checkpointing:
        """Makes the schedules and stores of the reversals."""
        return Checkpointing(self.case)

    @cached_property
    def _store(self) -> Store:
        store = self.checkpointing.store(self.checkpointing.schedule())
        return self._open.enter_context(closed_at_end(store))

    def of(self, directions: Sequence[Direction], prior: bool = True) -> Products:
        """The products with these directions, which have values for all controls. Collective.

        Args:
            directions: as many as there are in every call.
            prior: whether the background term has a part in them, or what is observed alone.

        Raises:
            ConfigError: on all ranks: the memory or the disk is too small for the snapshots, or
                a term of J has no second derivative.
            NumericalError: on all ranks: a state is not finite.
        """
        case, model, controls = self._case, self.case.model, self._case.controls
        for name, value in case.model.values.items():
            model.set_value(name, value)
        fields, of_steps = [case.fields], []
        for direction in directions:
            start = np.zeros_like(case.fields)
            for name, control in controls.items():
                if not control.of_steps:
                    start += control.masked(direction[name])
            fields.append(start)
            of_steps.append({name: direction[name] for name in controls if controls[name].of_steps})
        self._engine.set_data(self._steps.directions(of_steps, case.decomposition.tile_shape))
        self.case.inputs.fields = np.concatenate(fields)
        executor = executed(self.case, self.checkpointing.schedule(), self._store)
        assert executor.cotangent is not None
        stacked = model.gradient(executor.cotangent)
        parts = [
            {name: _number_or_array(np.asarray(part)[j]) for name, part in stacked.items()}
            for j in range(1 + self.n_directions)
        ]
        gradient, products = parts[0], parts[1:]
        objective = model.value
        if prior:
            objective = case.prior.added_to(objective, case.fields, gradient)
            for direction, product in zip(directions, products, strict=True):
                case.prior.add_product(direction, product)
        return Products(objective, gradient if self.full else None, products, executor.counts)


def _require_second_order(case: Case, n_directions: int) -> None:
    if n_directions < 1:
        raise agreed_error(ConfigError("a batch of directions has at least one: it is empty"))
    if case.own is not None and not hasattr(case.own, "second_derivative"):
        raise agreed_error(
            ConfigError(
                f"{type(case.own).__name__} has no second_derivative(state, direction, step), "
                "which products with a Hessian need"
            )
        )


def _number_or_array(part: np.ndarray) -> Value:
    return part if part.ndim else float(part)


def _observed(case: Case) -> Observations:
    """What was observed of a twin experiment's truth, as the case's misfit has it."""
    from burgers_adjoint.equations.burgers.objectives.misfit import Misfit

    (misfit,) = (term for term in case.objective.terms if isinstance(term, Misfit))
    return misfit.observations
