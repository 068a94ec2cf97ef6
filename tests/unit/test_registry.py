"""Schedules and stores from outside the package, by names in the configuration."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.store_kinds import StoreKind, Tier
from burgers_adjoint.assembly.stores import StoreMaker, closed_at_end
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.config import Checkpointing, from_dict
from burgers_adjoint.config.registry import SCHEDULES, STORES, Registry
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.problem import Problem
from burgers_adjoint.protocols import SnapshotStore

SECTIONS = {
    "grid": {"nx": 11, "ny": 9, "x": [-1, 2], "y": [-1.5, 3]},
    "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
    "time": {"dt": 0.01, "steps": 20},
    "checkpointing": {"snapshots": 4},
}


def digest(**sections: dict[str, Any]) -> str:
    problem = Problem(from_dict({**SECTIONS, **sections}), MPI.COMM_SELF)
    schedule = problem.checkpointing.schedule()
    with closed_at_end(problem.checkpointing.store(schedule)) as store:
        found = reverse(problem.case, schedule, store)
    problem.close()
    return problem.case.digest(found.final, found.gradient)


@contextmanager
def named(registry: Registry, name: str, maker: Any) -> Iterator[None]:
    registry.add(name, maker)
    try:
        yield
    finally:
        registry.remove(name)


def test_a_schedule_of_ones_own_is_one_line() -> None:
    used: list[Schedule] = []

    def everything(section: Checkpointing, n_steps: int | None) -> Schedule:
        assert n_steps is not None
        used.append(StoreAll(n_steps))
        return used[-1]

    with named(SCHEDULES, "everything", everything):
        assert digest(checkpointing={"schedule": "everything", "snapshots": 4}) == digest()
    assert [schedule.n_steps for schedule in used] == [20]


class Shelf(SnapshotStore[Any]):
    """Keeps the bytes of snapshots."""

    def __init__(self, new_buffer: Callable[[], Any]) -> None:
        self.buffer = new_buffer()
        self.kept: dict[int, bytes] = {}
        self.life = ["made"]

    def save(self, slot: int, step: int, fill: Callable[[Any], None]) -> None:
        fill(self.buffer)
        self.kept[slot] = np.asarray(self.buffer).tobytes()

    def load(self, slot: int, step: int, read: Callable[[Any], None]) -> None:
        values = np.asarray(self.buffer)
        values[...] = np.frombuffer(self.kept[slot]).reshape(values.shape)
        read(self.buffer)

    def free(self, slot: int) -> None:
        del self.kept[slot]

    def close(self) -> None:
        self.life.append("closed")

    @property
    def nbytes(self) -> int:
        return sum(map(len, self.kept.values()))


def test_a_store_of_ones_own_is_one_line() -> None:
    shelves: list[Shelf] = []

    def make(maker: StoreMaker, capacity: int, asynchronous: bool) -> SnapshotStore[Any]:
        shelves.append(Shelf(maker.new_buffer))
        return shelves[-1]

    kind = StoreKind(near_slots=lambda maker, schedule: 0, far=(Tier(make),))
    with named(STORES, "shelf", kind):
        assert digest(snapshots={"store": "shelf"}) == digest()
        config = from_dict({**SECTIONS, "snapshots": {"store": "shelf"}})
    assert [shelf.life for shelf in shelves] == [["made", "closed"]]
    assert shelves[0].kept == {}
    with pytest.raises(ConfigError, match='store = "shelf": expected one of "memory", "hdf5", '):
        Problem(config, MPI.COMM_SELF).store(StoreAll(20))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"checkpointing": {"schedule": "binomail"}},
            'schedule = "binomail", did you mean binomial?: expected one of "binomial", "store_a',
        ),
        (
            {"snapshots": {"store": "hdf5_share"}},
            'store = "hdf5_share", did you mean hdf5_shared?: expected one of "memory", "hdf5"',
        ),
        (
            {"checkpointing": {"schedule": "checkpoint_schedules:CLASS:X"}},
            'schedule = "checkpoint_schedules:CLASS:X"',
        ),
    ],
)
def test_names_that_nothing_has_are_refused_with_those_there_are(
    section: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        from_dict(section)
    assert message in str(error.value)


def test_every_name_has_its_maker() -> None:
    for registry in (SCHEDULES, STORES):
        for name in registry.names:
            assert registry[name.replace(":CLASS", ":Revolve")] is not None
