"""Products of a case's Hessian, and of its Gauss-Newton part, with directions of its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.model import recipe_of
from burgers_adjoint.assembly.objective import build_objective
from burgers_adjoint.assembly.own_objective import CurvedObjective
from burgers_adjoint.assembly.runs import executed
from burgers_adjoint.assembly.stores import Store, closed_at_end
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.equations.burgers.controls import Inputs, as_value, copied
from burgers_adjoint.equations.burgers.objectives.objective import Objective
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.observing.observations import Observations
from burgers_adjoint.parallel.agreement import largest
from burgers_adjoint.parallel.memory import memory_limit
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.second_order.reversals import StateReversals
from burgers_adjoint.stepping.along import ObjectiveOfTangents
from burgers_adjoint.stepping.directions import WithDirections
from burgers_adjoint.stepping.engine import Engine
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.primal import stretches
from burgers_adjoint.stepping.stepper import Cotangent, Value

# Directions that go through one sweep: of more, what a step computes of each point fits the
# processor's registers no longer, which costs more than to compute the states once again.
TOGETHER = 4

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
    case is configured with: a snapshot is 1 + n_directions times as large as a gradient's. Where
    Gauss-Newton is asked for and J looks at no more states than there may be snapshots, the
    tangents of these are kept from a sweep before, and drive reversals of states alone.

    Args:
        case: whose products they are.
        n_directions: how many go together, at most, in every call.
        full: of the Hessian; else of its Gauss-Newton part, in which the tangents of states alone
            count, and not the curvature of the steps.
        at_once: never keep tangents from a sweep before.

    Raises:
        ConfigError: on all ranks: there are no directions, or J has no second derivative.
    """

    def __init__(
        self, case: Case, n_directions: int, full: bool = True, at_once: bool = False
    ) -> None:
        self._case, self.n_directions, self.full = case, n_directions, full
        _require_second_order(case, n_directions)
        self._open = ExitStack()
        recipe = replace(recipe_of(case.config, case.comm), directions=n_directions, full=full)
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
            along = recipe.along(objective)
            model = recipe.compose(grid, decomposition, time_steps, stepper, along)
            undone.pop_all()
        self._open.callback(model.close)
        assert isinstance(stepper, Engine)
        assert isinstance(stepper.equation, WithDirections)
        self._engine, self._steps = stepper, stepper.equation
        inputs = Inputs(case.all_controls, case.fields, model)
        self.case = replace(case, setting=setting, model=model, objective=objective, inputs=inputs)
        self._driven_model: Model | None = None
        self._looked = [] if full or at_once else self._looked_at()
        if not (full or self._looked) and case.config.hessian.keep_states is True:
            self.close()
            raise agreed_error(
                ConfigError(
                    "hessian.keep_states = true: expected Gauss-Newton products one after the "
                    "other, of a J that looks at no more states than there may be snapshots"
                )
            )
        if self._looked:
            same = Objective(case.objective.terms, decomposition)  # whose `parts` are its own
            drive = ObjectiveOfTangents(same, case.model.layout, len(case.fields))
            self._driven_model = case.model.with_objective(drive)
            prepare_kernels(case.model)
        prepare_kernels(model, reverse=not self.driven)

    def _looked_at(self) -> list[int]:
        """Steps after which J looks at the state, if they are known and no more than snapshots.

        None, too, where `snapshots.memory` does not allow their tangents beside the snapshots.
        """
        case, most = self._case, self._of_states.snapshots
        limit = memory_limit(case.comm, case.config.snapshots.memory)
        if case.model.n_steps is None:
            return []
        looks_at, last = case.objective.looks_at, case.n_steps
        found: list[int] = []
        for n in range(last + 1):
            if looks_at(n, n == last):
                found.append(n)
                if len(found) > most:
                    return []
        own_bytes = case.fields.nbytes * (len(found) * self.n_directions + most)
        n_bytes = largest(case.comm, own_bytes)  # tiles differ, and all ranks go one way
        return found if limit is None or n_bytes <= limit else []

    def close(self) -> None:
        """Release what the model and the store hold."""
        self._open.close()

    @property
    def driven(self) -> bool:
        """Whether kept tangents drive reversals of states alone."""
        return self._driven_model is not None

    @cached_property
    def _of_states(self) -> Checkpointing:
        """Makes schedules and stores for states alone."""
        return Checkpointing(self._case)

    @cached_property
    def checkpointing(self) -> Checkpointing:
        """Makes the schedules and stores of the reversals."""
        return self._of_states if self.driven else Checkpointing(self.case)

    @cached_property
    def _reversals(self) -> StateReversals:
        """Of the states alone, driven by kept tangents."""
        tangents = len(self._looked) * self.n_directions * self._case.fields.nbytes
        return StateReversals(self._case, self._of_states, tangents)

    @property
    def keeps_states(self) -> bool:
        """Whether snapshots of states are kept for the next products at the same point."""
        return self.driven and self._reversals.keeps

    @cached_property
    def _store(self) -> Store:
        if self.driven:
            store = self._reversals.store
        else:
            store = self.checkpointing.store(self.checkpointing.schedule())
        return self._open.enter_context(closed_at_end(store))

    def require_room(self) -> None:
        """See that the snapshots fit, before anything runs. Collective.

        Raises:
            ConfigError: on all ranks: the memory or the disk is too small for them.
        """
        _ = self._store  # is made at its first use

    def of(self, directions: Sequence[Direction], prior: bool = True) -> Products:
        """The products with these directions, which have values for all controls. Collective.

        Args:
            directions: at most as many as go together.
            prior: whether the background term has a part in them, or what is observed alone.

        Raises:
            ConfigError: on all ranks: the memory or the disk is too small for the snapshots, or
                a term of J has no second derivative.
            NumericalError: on all ranks: a state is not finite.
        """
        self.set_directions(directions)
        if self.driven:
            found = self._driven(len(directions))
        else:
            found = self.ended(executed(self.case, self.checkpointing.schedule(), self._store))
            del found.products[len(directions) :]
        if prior:
            self.add_prior(directions, found)
        return found

    def tangents(self, directions: Sequence[Direction]) -> list[np.ndarray]:
        """Derivatives of the final state along directions, (2, ny, nx) of the tile. Collective.

        Args:
            directions: at most as many as go together.

        Raises:
            NumericalError: on all ranks: a state is not finite.
        """
        self.set_directions(directions)
        model, n_fields = self.case.model, len(self._case.fields)
        state, bins = model.initial_state(self.case.fields), model.objective.new_bins()
        for _ in stretches(model, state, bins, 0, lambda n: False):
            pass
        own = model.fields_of(state)
        firsts = range(n_fields, n_fields * (1 + len(directions)), n_fields)
        return [own[first : first + n_fields].copy() for first in firsts]

    def set_directions(self, directions: Sequence[Direction]) -> None:
        """Take the case's inputs, and these directions beside them, and zeros. Collective."""
        case, model, controls = self._case, self.case.model, self._case.controls
        zeros = {name: control.zeros() for name, control in controls.items()}
        directions = [*directions, *[zeros] * (self.n_directions - len(directions))]
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

    def add_prior(self, directions: Sequence[Direction], found: Products) -> None:
        """Add the part of the background term. Collective."""
        case = self._case
        found.objective = case.prior.added_to(found.objective, case.fields, found.gradient)
        for direction, product in zip(directions, found.products, strict=True):
            case.prior.add_product(direction, product)

    def ended(self, executor: Executor[np.ndarray, Cotangent, Any]) -> Products:
        """What an executor of states beside their tangents ends with, without the prior."""
        assert executor.cotangent is not None
        stacked = self.case.model.gradient(executor.cotangent)
        parts = [
            {name: as_value(np.asarray(part)[j]) for name, part in stacked.items()}
            for j in range(1 + self.n_directions)
        ]
        gradient = parts[0] if self.full else None
        return Products(self.case.model.value, gradient, parts[1:], executor.counts)

    def _driven(self, n_wanted: int) -> Products:
        """One sweep of tangents, and a reversal of states for each one that is wanted."""
        case, model, driven = self._case, self.case.model, self._driven_model
        self.require_room()
        assert driven is not None
        assert isinstance(driven.objective, ObjectiveOfTangents)
        tangents: list[dict[int, np.ndarray]] = [{} for _ in range(self.n_directions)]
        state, bins = model.initial_state(self.case.fields), model.objective.new_bins()
        looked, n_fields = set(self._looked), len(case.fields)
        for n in stretches(model, state, bins, 0, looked.__contains__):
            if n in looked:
                own = model.fields_of(state)
                for j, seen in enumerate(tangents):
                    first = n_fields * (1 + j)
                    seen[n] = own[first : first + n_fields].copy()
        model.evaluate(state, bins)
        products, counts = [], Counts(forward_steps=case.n_steps)
        for driven.objective.tangents in tangents[:n_wanted]:
            executor = self._reversals.reversed(driven)
            assert executor.cotangent is not None
            products.append(copied(driven.gradient(executor.cotangent)))
            counts.forward_steps += executor.counts.forward_steps
        return Products(model.value, None, products, counts)


class LatestProducts:
    """The latest `SecondOrder` of each kind, for calls that come one by one.

    Args:
        case: whose products they are.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._kept: dict[bool, SecondOrder] = {}

    def of(self, n_directions: int, full: bool) -> SecondOrder:
        """What computes products with so many directions at once.

        Raises:
            ConfigError: on all ranks: there are none, or J has no second derivative.
        """
        kept = self._kept.get(full)
        if kept is None or kept.n_directions != n_directions:
            if kept is not None:
                self._kept.pop(full).close()
            kept = self._kept[full] = SecondOrder(self._case, n_directions, full)
        return kept

    def products(self, directions: Sequence[Direction], full: bool) -> Products:
        """Products with any number of directions; see `SecondOrder.of`. Collective."""
        n = together(len(directions))
        second, found = self.of(n, full), list[Products]()
        for first in range(0, len(directions), n):
            found.append(second.of(directions[first : first + n]))
        products = [one for part in found for one in part.products]
        counts = reduce(Counts.plus, (part.counts for part in found))
        return Products(found[0].objective, found[0].gradient, products, counts)

    def close(self) -> None:
        """Release what they hold."""
        while self._kept:
            self._kept.popitem()[1].close()


def together(n_directions: int) -> int:
    """How many of so many directions go through a sweep: as few sweeps, as even, as can be."""
    n_sweeps = -(-n_directions // TOGETHER)
    return -(-n_directions // max(1, n_sweeps))


def _require_second_order(case: Case, n_directions: int) -> None:
    if n_directions < 1:
        raise agreed_error(ConfigError("a batch of directions has at least one: it is empty"))
    if case.own is not None and not isinstance(case.own, CurvedObjective):
        raise agreed_error(
            ConfigError(
                f"{type(case.own).__name__} has no second_derivative(state, direction, step), "
                "which products with a Hessian need"
            )
        )


def _observed(case: Case) -> Observations:
    """What was observed of a twin experiment's truth, as the case's misfit has it."""
    from burgers_adjoint.equations.burgers.objectives.misfit import Misfit

    (misfit,) = (term for term in case.objective.terms if isinstance(term, Misfit))
    return misfit.observations
