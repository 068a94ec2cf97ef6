"""The schedule and the store that a case is reversed with: configured, or chosen by measurement."""

import copy
from functools import cached_property

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.lossy_error import LossyError
from burgers_adjoint.assembly.runs import Reversal
from burgers_adjoint.assembly.schedules import make_schedule
from burgers_adjoint.assembly.stores import Store, StoreMaker
from burgers_adjoint.checkpointing.counts import Observer
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.planning.plan import Plan, make_plan
from burgers_adjoint.planning.tolerance import piloted, reversed_within


class Checkpointing:
    """What [checkpointing] and [snapshots] say of a case; all methods are collective.

    Args:
        case: to be reversed.

    Attributes:
        stores: makes stores for the snapshots of the case's model.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        model = case.model
        self.stores = StoreMaker(
            case.config,
            case.decomposition,
            model.new_snapshot,
            None if model.keeps else model.new_state,
            model.own_points,
        )

    @property
    def _measured(self) -> bool:
        return self._case.config.checkpointing.schedule == "auto"

    @cached_property
    def plan(self) -> Plan:
        """What schedules and stores would take, measured at its first use; "auto" takes the best.

        Raises:
            ConfigError: on all ranks: the memory given does not hold one snapshot.
        """
        case, configured = self._case, None
        if not self._measured:
            configured = (self.schedule(), case.config.snapshots.store)
        return make_plan(case.model, case.fields, case.n_steps, self.stores, configured)

    def schedule(self, name: str | None = None) -> Schedule:
        """A new schedule, the configured one or the named one."""
        section = self._case.config.checkpointing
        if (name or section.schedule) == "auto":
            return copy.deepcopy(self.plan.best.candidate.schedule)
        return make_schedule(section, self._case.model.n_steps, name)

    @property
    def store_kind(self) -> str:
        """Name of the kind of stores, the configured one or the one that the plan takes."""
        if self._measured:
            return self.plan.best.candidate.store
        return self._case.config.snapshots.store

    def store(self, schedule: Schedule) -> Store:
        """A new store with the slots of the schedule.

        Raises:
            ConfigError: on all ranks: the memory or the disk is too small for it.
            StorageError: on all ranks: the folder or a file cannot be made.
        """
        self._find_tolerance()
        return self.stores.make(schedule, self.store_kind)

    def _find_tolerance(self) -> None:
        """Find the tolerance that the wanted error of the gradient asks for, if any does."""
        encoding, section = self.stores.encoding, self._case.config.snapshots
        wanted = section.gradient_error
        if wanted is None or encoding is None or encoding.tolerance is not None:
            return
        if encoding.codec.bounded:
            prepare_kernels(self._case.model)
            snapshots = self._case.config.checkpointing.snapshots
            piloted(self._case, encoding, wanted, snapshots)

    def reversed(
        self, schedule: Schedule, store: Store, observer: Observer | None = None
    ) -> tuple[Reversal, LossyError | None]:
        """A gradient with a schedule and a store; see `tolerance.reversed_within`. Collective."""
        encoding = self.stores.encoding
        return reversed_within(self._case, encoding, schedule, self.schedule, store, observer)
