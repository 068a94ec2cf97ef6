"""Chooses schedule and store of a run: measures, predicts what fits, and takes the fastest."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from burgers_adjoint.assembly.store_kinds import DISK, HOST
from burgers_adjoint.assembly.stores import StoreMaker
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.errors import ConfigError, StorageError, agreed_error
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.planning.candidates import candidates
from burgers_adjoint.planning.measure import measure
from burgers_adjoint.planning.prediction import Candidate, Costs, Prediction, predict
from burgers_adjoint.stepping.model import Model

SHARE_OF_FREE_MEMORY = 0.5
SHARE_OF_FREE_DISK = 0.5


@dataclass(frozen=True)
class Option:
    """What could be done, and what it would take, the bytes of its snapshots in memory included."""

    candidate: Candidate
    prediction: Prediction
    memory_bytes: int


@dataclass(frozen=True)
class Plan:
    """All that could be done, the fastest first, the same on all ranks.

    Attributes:
        options: with their predictions.
        costs: that were measured.
        slot_bytes: that a snapshot takes in memory.
        memory_slots: snapshots that the memory given holds, per rank.
        behind: snapshots that each tier behind it holds, per rank; 0 when it cannot be used.
        no_disk: why not.
    """

    options: list[Option]
    costs: Costs
    slot_bytes: int
    memory_slots: int
    behind: dict[str, int]
    no_disk: str

    @property
    def disk_slots(self) -> int:
        """Snapshots that the disk holds, per rank."""
        return self.behind[DISK]

    @property
    def best(self) -> Option:
        """The fastest."""
        return self.options[0]

    def with_options(self, more: list[Option]) -> "Plan":
        """The plan with more options."""
        both = sorted(self.options + more, key=lambda one: one.prediction.seconds)
        return replace(self, options=both)

    def rows(self, slot_bytes: int) -> list[dict[str, Any]]:
        """The plan as a table."""
        return [_row(option, slot_bytes, self.slot_bytes) for option in self.options]


def make_plan(
    model: Model,
    fields: np.ndarray,
    n_steps: int,
    maker: StoreMaker,
    configured: tuple[Schedule, str] | None = None,
    slot_bytes: int | None = None,
) -> Plan:
    """Measure and predict. Collective.

    Args:
        model: of the run.
        fields: its initial fields.
        n_steps: its steps.
        maker: of its stores.
        configured: another schedule and store to predict.
        slot_bytes: of an encoded snapshot in memory; not given, they are kept as they are.

    Raises:
        ConfigError: on all ranks: the memory given does not hold one snapshot.
    """
    comm, section = model.comm, maker.config.snapshots
    size = slot_bytes or maker.largest_memory_bytes
    given = maker.room.given(SHARE_OF_FREE_MEMORY)
    beside = 0 if maker.encoding is None else maker.encoding.buffer_bytes
    memory_slots = slots_in_memory(given, section.memory, size, beside)
    behind, no_disk = {DISK: 0}, ""
    if host_slots := maker.host_slots():
        behind = {HOST: host_slots, DISK: 0}
    try:
        behind[DISK] = maker.free_disk_slots(SHARE_OF_FREE_DISK)
    except (ConfigError, StorageError) as error:
        no_disk = str(error)
    wanted = {} if configured is None else maker.far(*configured)
    costs = measure(
        model,
        fields,
        n_steps,
        memory_slots,
        lambda schedule: maker.make(schedule, "memory"),
        maker.exchanges,
        {**wanted, **behind},
        maker.sample,
    )
    buffers = section.buffers if section.asynchronous is not False else 0
    found = candidates(n_steps, memory_slots, behind, buffers, costs)
    codec = "none" if maker.encoding is None else maker.encoding.codec.name
    found = [replace(one, swaps=maker.exchanges, codec=codec) for one in found]
    if configured is not None:
        schedule, store = configured
        near = schedule.slots - sum(wanted.values())
        between = tuple((place, n) for place, n in wanted.items() if place != DISK)
        buffers = maker.buffers_of(store)
        found.append(Candidate(schedule, store, near, buffers, codec=codec, between=between))
    options = [Option(one, predict(one, costs), one.memory_snapshots * size) for one in found]
    options.sort(key=lambda option: option.prediction.seconds)
    # Timings differ between ranks; the choice must not.
    options, costs = from_rank(comm, (options, costs))
    return Plan(options, costs, size, memory_slots, behind, no_disk)


def slots_in_memory(given: int, memory: str | float | None, size: int, beside: int = 0) -> int:
    """How many snapshots of a size the bytes given hold, beside some others.

    Args:
        given: alike on all ranks.
        memory: as which they are configured.
        size: of a snapshot.
        beside: other bytes.

    Raises:
        ConfigError: on all ranks: they do not hold one.
    """
    if given < beside + size:
        raise agreed_error(
            ConfigError(
                f"snapshots.memory = {memory!r} is {given} bytes per rank: one snapshot takes "
                f"{beside + size}"
            )
        )
    return (given - beside) // size


def _row(option: Option, slot_bytes: int, memory_slot_bytes: int) -> dict[str, Any]:
    candidate, prediction = option.candidate, option.prediction
    schedule = candidate.schedule
    on_disk = candidate.far.get(DISK, 0)
    disk_bytes = 0 if candidate.store == "memory" else on_disk * slot_bytes
    row = {
        "schedule": schedule.name,
        "store": candidate.store,
        "codec": candidate.codec,
        "snapshots": candidate.near_slots,
        "snapshots_on_disk": on_disk,
        "memory_bytes": option.memory_bytes,
        "disk_bytes": disk_bytes,
        "forward_steps": prediction.forward_steps,
        "snapshots_written": prediction.saves,
        "disk_writes": prediction.writes,
        "bytes_written": prediction.writes * slot_bytes if disk_bytes else 0,
        "seconds": prediction.seconds,
    }
    if on_host := candidate.far.get(HOST):  # of states on a device
        row |= {"snapshots_on_host": on_host, "host_bytes": on_host * memory_slot_bytes}
        row["host_writes"], _ = prediction.moves[HOST]
    return row
