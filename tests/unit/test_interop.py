import contextlib
import io
import pickle
from typing import Any

import pytest
from symbolic_machine import run

from burgers_adjoint.checkpointing.binomial import Binomial, least_forward_steps
from burgers_adjoint.checkpointing.interop import Foreign, as_checkpoint_schedule
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.online import Online
from burgers_adjoint.checkpointing.periodic import Periodic
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.errors import ConfigError

package = pytest.importorskip("checkpoint_schedules")

THEIRS = [
    ("Revolve", {"snapshots_in_ram": 3}),
    ("HRevolve", {"snapshots_in_ram": 2, "snapshots_on_disk": 2}),
    ("DiskRevolve", {"snapshots_in_ram": 2}),
    ("PeriodicDiskRevolve", {"snapshots_in_ram": 2}),
    ("MixedCheckpointSchedule", {"snapshots": 3, "storage": "RAM"}),
    ("MixedCheckpointSchedule", {"snapshots": 3}),
    ("MultistageCheckpointSchedule", {"snapshots_in_ram": 2, "snapshots_on_disk": 1}),
    ("TwoLevelCheckpointSchedule", {"period": 5, "binomial_snapshots": 2}),
    ("SingleMemoryStorageSchedule", {}),
    ("SingleDiskStorageSchedule", {}),
    ("SingleDiskStorageSchedule", {"move_data": True}),
]


@pytest.mark.parametrize(("name", "arguments"), THEIRS, ids=str)
def test_every_schedule_of_theirs_is_carried_out(name: str, arguments: dict[str, Any]) -> None:
    for n_steps in (*range(4, 30), 61):
        machine = run(Foreign(n_steps, name, arguments))
        if name.startswith("Single"):
            assert machine.forward_steps == n_steps
        if name == "Revolve":
            assert machine.forward_steps == least_forward_steps(n_steps, 3) + 1
        if name.startswith("Multistage"):
            assert machine.forward_steps == least_forward_steps(n_steps, 3) + 1
            assert machine.most_on_disk == 1


def test_they_say_nothing_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    list(Foreign(20, "PeriodicDiskRevolve", {"snapshots_in_ram": 2}))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "arguments"), THEIRS[1:8:3], ids=str)
def test_a_copy_goes_on_with_the_same_actions(name: str, arguments: dict[str, Any]) -> None:
    actions = list(Foreign(11, name, arguments))
    schedule = Foreign(11, name, arguments)
    for done in range(len(actions) + 1):
        copy = pickle.loads(pickle.dumps(schedule))
        assert list(pickle.loads(pickle.dumps(copy))) == actions[done:]
        assert list(copy) == actions[done:]
        schedule.next_action()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("HRevolv", {}, "has no schedule HRevolv, .*; it has .*HRevolve, .*Revolve"),
        ("CheckpointSchedule", {}, "has no schedule CheckpointSchedule"),
        ("StorageType", {}, "has no schedule StorageType"),
        ("HRevolve", {"snapshots": 3}, "unexpected keyword argument 'snapshots'.*it takes max_n"),
        ("HRevolve", {"snapshots_in_ram": 0, "snapshots_on_disk": 1}, "HRevolve refuses its argum"),
        ("MixedCheckpointSchedule", {"snapshots": 0}, "Invalid number of snapshots"),
        ("Multistge", {}, "has no schedule Multistge; it has .*MultistageCheckpointSchedule"),
        ("HRevolv", {}, r"HRevolv, did you mean HRevolve\?"),
        ("MultistageCheckpointSchedule", {"snapshots_in_ram": 0, "snapshots_on_disk": 0},
         r"refuses its arguments .*Require at least one snapshot\); it takes max_n, snapshots_"),
        ("NoneCheckpointSchedule", {}, "leaves 10 of 10 steps that are not reversed"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Foreign(10, name, arguments)


def consume(schedule: Any, n_steps: int) -> int:
    """Do what a consumer of theirs does; returns the forward steps."""
    storage = package.StorageType
    held: dict[Any, dict[int, bool]] = {storage.RAM: {}, storage.DISK: {}}
    position, linearised, to_reverse, taken, ended = 0, -1, n_steps, 0, False
    for action in schedule:
        match type(action).__name__:
            case "Forward":
                stop = min(action.n1, n_steps)
                assert position == action.n0
                assert not (action.write_ics and action.write_adj_deps)
                if action.write_ics:
                    assert schedule.uses_storage_type(action.storage)
                    held[action.storage][action.n0] = True
                if action.write_adj_deps:
                    assert stop == action.n0 + 1
                    linearised = action.n0
                taken += stop - position
                position = stop
                assert schedule.n >= stop
                if schedule.max_n is None and action.n1 >= n_steps:
                    schedule.finalize(n_steps)
            case "EndForward":
                assert position == n_steps
                ended = True
            case "Reverse":
                assert ended
                assert linearised == action.n0 == to_reverse - 1
                assert action.n1 == to_reverse
                to_reverse -= 1
                assert schedule.r == n_steps - to_reverse
            case "Copy" | "Move":
                assert action.n in held[action.from_storage]
                if type(action).__name__ == "Move":
                    del held[action.from_storage][action.n]
                if action.to_storage == storage.WORK:
                    position = action.n
            case "EndReverse":
                assert to_reverse == 0
                assert schedule.is_exhausted
                assert held == {storage.RAM: {}, storage.DISK: {}}
                return taken
    raise AssertionError("no end")


def test_ours_serve_their_consumers() -> None:
    for n_steps in range(1, 25):
        for snapshots in (1, 2, 4):
            ours: list[Schedule] = [
                Binomial(n_steps, snapshots),
                StoreAll(n_steps),
                Periodic(n_steps, snapshots),
                Multistage(n_steps, snapshots, 2),
                TwoLevel(n_steps, snapshots, 3),
            ]
            for schedule in ours:
                predicted = schedule.predicted_forward_steps
                adapted = as_checkpoint_schedule(schedule)
                assert isinstance(adapted, package.CheckpointSchedule)
                assert not adapted.is_running
                # They take each step once more to linearise it, but for the last.
                assert consume(adapted, n_steps) == predicted + n_steps - 1
                assert adapted.is_running
            online = Online(snapshots)
            taken = consume(as_checkpoint_schedule(online), n_steps)
            assert taken == online.predicted_forward_steps + n_steps


def test_no_part_of_the_package_needs_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "checkpoint_schedules", None)
    message = "checkpoint_schedules is not installed: pip install 'burgers_adjoint.interop.'"
    with pytest.raises(ConfigError, match=message), contextlib.redirect_stdout(io.StringIO()):
        Foreign(10, "Revolve", {"snapshots_in_ram": 3})
    with pytest.raises(ConfigError, match=message):
        as_checkpoint_schedule(Binomial(3, 1))
