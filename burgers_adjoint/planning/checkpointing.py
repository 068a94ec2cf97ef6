"""The schedule and the store that a case is reversed with: configured, or chosen by measurement."""

import copy
from contextlib import suppress
from functools import cached_property

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.lossy_error import LossyError
from burgers_adjoint.assembly.runs import Reversal
from burgers_adjoint.assembly.schedules import make_schedule
from burgers_adjoint.assembly.stores import Store, StoreMaker
from burgers_adjoint.assembly.variants import with_snapshots
from burgers_adjoint.checkpointing.counts import Observer
from burgers_adjoint.checkpointing.schedule import Schedule, Slotted
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.planning.encoded import encoded, encoded_options, states_of
from burgers_adjoint.planning.plan import (
    SHARE_OF_FREE_MEMORY,
    Option,
    Plan,
    make_plan,
    slots_in_memory,
)
from burgers_adjoint.planning.tolerance import piloted, reversed_within

USUAL_SNAPSHOTS = 30  # to find a tolerance with, where their number follows from it


class Checkpointing:
    """What [checkpointing] and [snapshots] say of a case; all methods are collective.

    Args:
        case: to be reversed.

    Attributes:
        stores: makes stores for the snapshots of the case's model.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self.stores = _stores(case)

    @cached_property
    def snapshots(self) -> int:
        """Snapshots that may be alive at once: as configured, or as many as fit.

        Where they are encoded, the bytes that states of this run take say how many that is, and the
        store lets states that take more have them.

        Raises:
            ConfigError: on all ranks: the memory given does not hold one snapshot.
        """
        case, stores = self._case, self.stores
        wanted = case.config.checkpointing.snapshots
        if isinstance(wanted, int):
            return wanted
        n_bytes, buffer_bytes = stores.largest_memory_bytes, 0
        if stores.encoding is not None:
            self._find_tolerance(stores, USUAL_SNAPSHOTS)
            n_bytes = encoded(case, stores.encoding, states_of(case)).slot_bytes
            stores.encoding.limited = False
            buffer_bytes = stores.encoding.buffer_bytes
        given = stores.room.given(SHARE_OF_FREE_MEMORY)
        memory = case.config.snapshots.memory or SHARE_OF_FREE_MEMORY
        most = slots_in_memory(given, memory, n_bytes, buffer_bytes)
        return int(most if case.model.n_steps is None else min(most, max(1, case.n_steps - 1)))

    @property
    def _measured(self) -> bool:
        return self._case.config.checkpointing.schedule == "auto"

    @cached_property
    def plan(self) -> Plan:
        """What schedules and stores would take, measured at its first use; "auto" takes the best.

        Where "auto" may choose the codec, too, and snapshots do not all fit as they are, those that
        can be worth it are measured and predicted, the lossy one within the wanted error.

        Raises:
            ConfigError: on all ranks: the memory given does not hold one snapshot.
        """
        case, configured = self._case, None
        if not self._measured:
            configured = (self.schedule(), case.config.snapshots.store)
        plan = self._planned(self.stores, configured)
        if not self._measured or self.stores.encoding is not None:
            return plan
        if plan.memory_slots >= case.n_steps - 1:
            return plan
        makers = self._encoding_stores()
        for stores in makers.values():
            plan = plan.with_options(self._encoded_options(stores, plan))
        self.stores = makers.get(plan.best.candidate.codec, self.stores)
        return plan

    def _planned(self, stores: StoreMaker, configured: tuple[Schedule, str] | None) -> Plan:
        """The plan with the configured codec, if there is one."""
        case, slot_bytes, encoding = self._case, None, stores.encoding
        if encoding is not None:
            self._find_tolerance(stores, USUAL_SNAPSHOTS)
            slot_bytes = encoded(case, encoding, states_of(case)).slot_bytes
            encoding.limited = encoding.limited and not self._measured
        return make_plan(case.model, case.fields, case.n_steps, stores, configured, slot_bytes)

    def _encoding_stores(self) -> dict[str, StoreMaker]:
        """Makers with each codec that "auto" may take, on all ranks; by its name."""
        section, found = self._case.config.snapshots, dict[str, StoreMaker]()
        names = ["lossless"]
        if section.gradient_error is not None:
            names += ["quantised", *(["learned"] if section.learned else [])]
            with suppress(ConfigError):  # its package is not installed
                found["bounded"] = _stores(with_snapshots(self._case, codec="bounded"))
        return {name: _stores(with_snapshots(self._case, codec=name)) for name in names} | found

    def _encoded_options(self, stores: StoreMaker, plan: Plan) -> list[Option]:
        """What could be done with a codec, where it can be worth it. Collective."""
        case, encoding = self._case, stores.encoding
        assert encoding is not None
        self._find_tolerance(stores, USUAL_SNAPSHOTS)
        taken = encoded(case, encoding, states_of(case, middle=False))
        found = encoded_options(plan, taken, case.n_steps, encoding.codec.name)
        if not found or found[0].prediction.seconds >= plan.best.prediction.seconds:
            return from_rank(case.comm, found)
        taken = encoded(case, encoding, states_of(case))
        encoding.limited = False
        return from_rank(case.comm, encoded_options(plan, taken, case.n_steps, encoding.codec.name))

    def schedule(self, name: str | None = None) -> Schedule:
        """A new schedule, the configured one or the named one."""
        section = self._case.config.checkpointing
        if (name or section.schedule) == "auto":
            return copy.deepcopy(self.plan.best.candidate.schedule)
        return make_schedule(section, self._case.model.n_steps, self.snapshots, name)

    @property
    def store_kind(self) -> str:
        """Name of the kind of stores, the configured one or the one that the plan takes."""
        if self._measured:
            return self.plan.best.candidate.store
        return self._case.config.snapshots.store

    def store(self, schedule: Slotted) -> Store:
        """A new store with the slots of the schedule.

        Raises:
            ConfigError: on all ranks: the memory or the disk is too small for it.
            StorageError: on all ranks: the folder or a file cannot be made.
        """
        kind = self.store_kind
        self._find_tolerance(self.stores, schedule.snapshots or USUAL_SNAPSHOTS)
        return self.stores.make(schedule, kind)

    def _find_tolerance(self, stores: StoreMaker, snapshots: int) -> None:
        """Find the tolerance that the wanted error of the gradient asks for, if any does."""
        encoding, section = stores.encoding, self._case.config.snapshots
        wanted = section.gradient_error
        if wanted is None or encoding is None or encoding.tolerance is not None:
            return
        if encoding.codec.bounded:
            prepare_kernels(self._case.model)
            piloted(self._case, encoding, wanted, snapshots)

    def reversed(
        self, schedule: Schedule, store: Store, observer: Observer | None = None
    ) -> tuple[Reversal, LossyError | None]:
        """A gradient with a schedule and a store; see `tolerance.reversed_within`. Collective."""
        encoding = self.stores.encoding
        return reversed_within(self._case, encoding, schedule, self.schedule, store, observer)


def _stores(case: Case) -> StoreMaker:
    """What makes stores for the snapshots of a case."""
    model = case.model
    return StoreMaker(
        case.config,
        case.decomposition,
        model.new_snapshot,
        None if model.keeps else model.new_state,
        model.own_points,
    )
