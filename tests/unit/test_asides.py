"""Restart data of arrays on a device: a copy there, then the way to the host beside the steps."""

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from stand_in_device import HostEvent, HostStream, StandIn

from burgers_adjoint.devices.array import DeviceArray
from burgers_adjoint.devices.asides import LEFT_FREE
from burgers_adjoint.errors import ConfigError, RestartWriteError
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.restart.copies import Copies
from burgers_adjoint.restart.manifest import Manifest
from burgers_adjoint.restart.parts import file_name, write_part
from burgers_adjoint.restart.writer import Writer

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")

SHAPE = (2, 6, 9)
INNER = (..., slice(1, 5), slice(2, 7))
MAIN, BESIDE = 0, 1  # streams


@pytest.fixture
def device() -> StandIn:
    return StandIn()


def array_on(device: StandIn, seed: int = 0) -> tuple[DeviceArray, np.ndarray]:
    values = np.random.default_rng(seed).standard_normal(SHAPE)
    array = DeviceArray.zeros(device, SHAPE)
    array[...] = values
    return array, values


def test_a_copy_is_asked_for_in_the_order_of_the_steps_and_not_waited_for(device: StandIn) -> None:
    array, values = array_on(device)
    device.calls.clear()
    aside = array[INNER].set_aside()
    made = device.calls[-1][1]
    assert device.calls == [
        ("copy", "on device", MAIN), ("copy", "on device", MAIN), ("record", made, MAIN),
    ]  # fmt: skip
    array *= 0.0  # a step
    device.calls.clear()
    assert aside is not None
    found = aside.landed()
    arrived = device.calls[-1][1]
    assert device.calls == [
        ("wait", made, BESIDE), ("copy", "to host", BESIDE), ("record", arrived, BESIDE),
        ("synchronize", arrived, None),
    ]  # fmt: skip
    np.testing.assert_array_equal(found, values[INNER])
    assert found.flags.c_contiguous


def test_all_copies_of_a_device_come_in_one_stream_beside_it(device: StandIn) -> None:
    array, values = array_on(device)
    asides = [array.set_aside(), array[INNER].set_aside()]
    for aside, expected in zip(asides, (values, values[INNER]), strict=True):
        assert aside is not None
        np.testing.assert_array_equal(aside.landed(), expected)
    assert {call[2] for call in device.calls if call[:2] == ("copy", "to host")} == {BESIDE}


def test_the_device_has_its_memory_back_when_a_copy_has_landed(device: StandIn) -> None:
    array, _ = array_on(device)
    free, _ = device.memory_info()
    aside = array.set_aside()
    assert aside is not None
    assert device.memory_info()[0] == free - array.nbytes
    aside.landed()
    assert device.memory_info()[0] == free
    with pytest.raises(AssertionError, match="it is on the host"):
        aside.landed()


@pytest.mark.parametrize("short", [0, 1])
def test_steps_keep_room_beside_copies(short: int) -> None:
    n_bytes = 8 * int(np.prod(SHAPE))
    device = StandIn(n_bytes=(2 + LEFT_FREE) * n_bytes - short)
    array, _ = array_on(device)
    device.calls.clear()
    assert (array.set_aside() is None) == bool(short)
    assert bool(device.calls) == (not short)


def test_memory_that_others_have_taken_is_no_error(
    device: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, values = array_on(device)

    def gone(n_bytes: int, zeroed: bool = True) -> Any:
        raise ConfigError("another one was faster")

    monkeypatch.setattr(device, "allocate", gone)
    assert array.set_aside() is None
    copies = Copies()
    found = copies.of(array)
    assert copies.waited
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, values)


def test_fields_of_the_host_are_copied_there(device: StandIn) -> None:
    copies, values = Copies(), np.arange(6.0).reshape(1, 2, 3)
    first = copies.of(values)
    assert first is not values
    assert copies.of_lasting(values) is values
    copies.give_back()
    second = copies.of(values)
    assert second is first
    assert not copies.waited
    copies.of_lasting(array_on(device)[0])
    assert not copies.waited


def test_a_file_does_not_tell_where_its_fields_were(device: StandIn, tmp_path: Path) -> None:
    array, values = array_on(device)
    found = []
    for number, kept in enumerate((array[INNER].set_aside(), values[INNER].copy())):
        assert kept is not None
        folder = tmp_path / str(number)
        folder.mkdir()
        seal = write_part(folder, "run", "sweep", 0, slice(1, 5), slice(2, 7), {"state": kept})
        found.append((seal, (folder / file_name("sweep", 0)).read_bytes()))
    assert found[0] == found[1]


# ---- the writer's thread


class Slow(StandIn):
    """Copies of the stream beside the main one are done when somebody says so."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.done = threading.Event(), threading.Event()
        self.beside: set[int] = set()

    def record(self, stream: HostStream) -> HostEvent:
        event = super().record(stream)
        if stream.number == BESIDE:
            self.beside.add(event.number)
        return event

    def synchronize(self, stream: HostStream | HostEvent | None = None) -> None:
        if isinstance(stream, HostEvent) and stream.number in self.beside:
            self.begun.set()
            assert self.done.wait(60)
        super().synchronize(stream)


def writer_in(folder: Path) -> Writer:
    return Writer(Decomposition(MPI.COMM_SELF, SHAPE[1:], False), folder, "run", 2)


def draft() -> Manifest:
    counts = {"forward_steps": 5, "reverse_steps": 0}
    given: Any = ("run", 1, 1.5, {}, SHAPE[1:], 9, "gradient", "forward", 5, counts, {})
    return Manifest(*given, sweep="sweep-00000001")


def test_steps_go_on_while_restart_data_come_to_the_host(tmp_path: Path) -> None:
    device = Slow()
    array, values = array_on(device)
    writer = writer_in(tmp_path)
    writer.begin(draft(), {"sweep-00000001": {"state": Copies().of(array)}})
    assert device.begun.wait(60)
    array *= 2.0  # a step
    step = device.calls[-1]
    assert step[0] == "launch"
    assert writer.busy
    device.done.set()
    writer.wait()
    landed = ("synchronize", max(device.beside), None)
    assert device.calls.index(step) < device.calls.index(landed)
    assert not writer.proceed()
    writer.wait()
    assert writer.proceed()
    content = (tmp_path / file_name("sweep-00000001", 0)).read_bytes()
    assert values.tobytes() in content


def test_a_write_that_fails_gives_the_memory_back(device: StandIn, tmp_path: Path) -> None:
    array, _ = array_on(device)
    free, _ = device.memory_info()
    copies = Copies()
    writer = writer_in(tmp_path / "gone")
    names = "sweep-00000001", "final-00000001"
    parts = {name: {"state": copies.of(array)} for name in names}
    assert device.memory_info()[0] == free - 2 * array.nbytes
    writer.begin(draft(), parts)
    writer.wait()
    with pytest.raises(RestartWriteError, match="No such file") as caught:
        writer.proceed()
    assert caught.value.__cause__ is not None  # it knows where it failed, and lives on
    assert device.memory_info()[0] == free
