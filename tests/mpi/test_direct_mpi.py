"""Messages from device to device: tried out, agreed on, and with the bits of those by the host.

The device is `tests.stand_in_device`, whose memory is the host's, so that any MPI can use it. What
MPI says of devices is made up here; what it does with the messages is its own.
"""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly import backends, device_messages
from burgers_adjoint.assembly.device_messages import SIZES, choose_messages
from burgers_adjoint.commands.gradient import gradient
from burgers_adjoint.config import load
from burgers_adjoint.devices.array import DeviceArray
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import RunSummary
from burgers_adjoint.parallel import direct, library
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.stepping.accelerator import Accelerator
from tests.stand_in_device import HostMemory, HostStream, StandIn

COMM = MPI.COMM_WORLD
LAST, SEVERAL = COMM.rank == COMM.size - 1, COMM.size > 1
pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler"),
]
PROBLEM = [
    *("grid.nx=31", "grid.ny=26", "grid.x=[-4.0, 3.0]", "initial.amplitude=[1.0, 0.6]"),
    *("time.steps=20", "checkpointing.snapshots=5", "output.plots=false"),
    *("grid.boundary=periodic", "time.integrator=ssprk3"),
]


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """MPI says that it reads memory of cards."""
    monkeypatch.setattr(device_messages, "claims_device_memory", lambda: True)


def run(device: StandIn | None, folder: Path, *more: str) -> RunSummary:
    with pytest.MonkeyPatch.context() as patched:
        if device is not None:
            patched.setitem(backends._MADE, "cuda", Accelerator(device))
            more = (*more, "parallel.device=cuda")
        config = load(None, [*PROBLEM, f"output.directory={folder}", *more])
        return gradient(config, COMM, Progress(False))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that all ranks see."""
    return Path(COMM.bcast(str(tmp_path), root=0))


# ---- what a run does


@pytest.mark.usefixtures("claimed")
def test_messages_go_from_device_to_device(folder: Path) -> None:
    device = StandIn()
    found = run(device, folder / "device")
    assert found.digest == run(None, folder / "host").digest
    assert found.device.messages == ("direct" if SEVERAL else "none")
    assert device.direct == SEVERAL
    packed = device.calls.count(("launch", "pack", 0))
    assert (packed > 20) == SEVERAL
    # sums and fields come to the host, no edges
    assert len(device.brought) < packed / 2 or not SEVERAL


@pytest.mark.usefixtures("claimed")
def test_they_go_by_the_host_where_it_is_configured(folder: Path) -> None:
    device = StandIn()
    found = run(device, folder / "device", "parallel.messages=staged")
    assert found.digest == run(device, folder / "again").digest
    assert found.device.messages == ("staged" if SEVERAL else "none")


def test_nothing_is_tried_where_mpi_does_not_say_so_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_messages, "claims_device_memory", lambda: SEVERAL and not LAST)
    device = StandIn()
    choose_messages(device, COMM, "auto")
    assert not device.direct
    assert not device.calls


@pytest.mark.usefixtures("claimed")
def test_a_rank_alone_has_nobody_to_try_it_with() -> None:
    device = StandIn()
    choose_messages(device, MPI.COMM_SELF, "auto")
    assert not device.calls


# ---- trials that fail


class Blind(StandIn):
    """What its copies have written MPI does not see."""

    def copy(
        self,
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        height: int,
        kind: str,
        stream: HostStream | None = None,
    ) -> None:
        super().copy(target, target_pitch, source, source_pitch, width, height, kind, stream)
        if kind == "to device":
            ctypes.memset(target, 7, width * height)


class Full(StandIn):
    def allocate(self, n_bytes: int, zeroed: bool = True) -> HostMemory:
        raise ConfigError("there is no room")


@pytest.mark.skipif(not SEVERAL, reason="a rank alone sends nothing")
@pytest.mark.usefixtures("claimed")
@pytest.mark.parametrize("broken", [Blind, Full])
def test_a_trial_that_fails_on_one_rank_has_all_go_by_the_host(
    broken: Callable[[], StandIn],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "SECONDS", 0.5)
    device = broken() if LAST else StandIn()
    device.direct = True  # of a run before
    choose_messages(device, COMM, "auto")
    assert not device.direct
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (COMM.rank == 0)
    for text in said:
        what = "arrived with other bytes on rank 0"
        if broken is Full:
            what = f"failed (ConfigError: there is no room) on rank {COMM.size - 1}"
        assert f"{library.library_name()} says that it reads memory of cards" in text
        assert f"a message of {8 * SIZES[0]} bytes" in text
        assert what in text
        assert 'parallel.messages = "staged"' in text
    # it is not tried again, and said once
    device.calls.clear()
    choose_messages(device, COMM, "auto")
    assert not device.direct
    assert not device.calls
    assert len(caplog.records) == len(said)
    # and nothing of it is in the way of the next one
    sound = StandIn()
    choose_messages(sound, COMM, "auto")
    assert sound.direct


@pytest.mark.skipif(not SEVERAL, reason="a rank alone sends nothing")
@pytest.mark.usefixtures("claimed")
def test_long_messages_are_tried_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passed_around(comm: MPI.Comm, sent: DeviceArray, received: DeviceArray) -> bool:
        came = direct.passed_around(comm, sent, received)
        if LAST and received.nbytes > 2**16:
            received[-1:] = 0.0
        return came

    monkeypatch.setattr(device_messages, "passed_around", passed_around)
    device = StandIn()
    choose_messages(device, COMM, "auto")
    assert not device.direct
    if COMM.rank == 0:
        assert f"a message of {8 * SIZES[1]} bytes between them arrived" in caplog.text


# ---- the exchange of halos


@pytest.mark.parametrize("grid", [(1, COMM.size), (COMM.size, 1), (0, 0)])
def test_halos_are_packed_sent_and_unpacked_in_order(grid: tuple[int, int]) -> None:
    device = StandIn()
    device.direct = True
    decomposition = Decomposition(COMM, (31, 37), True, grid)
    layout = Layout(*decomposition.tile_shape, halo=3)
    exchange = Halo(decomposition, Frame(layout.rows, layout.columns), 2, 3, corners=True)
    hosts = [layout.new_array(n) for n in (2, 1)]
    arrays = []
    for seed, host in enumerate(hosts):
        host[...] = np.random.default_rng([seed, COMM.rank]).standard_normal(host.shape)
        arrays.append(DeviceArray.zeros(device, host.shape))
        arrays[-1][...] = host
    for _ in range(3):
        device.calls.clear()
        exchange.exchange(*hosts)
        exchange.exchange(*arrays)
        calls = list(device.calls)
        for mine, host in zip(arrays, hosts, strict=True):
            assert np.asarray(mine).tobytes() == host.tobytes()
            layout.interior(host)[...] *= 1.5
            layout.interior(mine)[...] *= 1.5
    exchange.close()
    around = [("launch", "wrap", 0)] * 2 * (1 in decomposition.process_grid)
    packed, unpacked = ([("launch", name, 0)] * 2 for name in ("pack", "unpack"))
    # what is sent is waited for, what was received before has been unpacked by then
    far = [*packed, ("synchronize", None, 0)]
    assert calls == ([*far, *around, *unpacked] if SEVERAL else around)


def test_a_device_without_room_for_messages_sends_them_by_the_host() -> None:
    device = StandIn(n_bytes=2**20)
    device.direct = True
    decomposition = Decomposition(COMM, (31, 37), True)
    layout = Layout(*decomposition.tile_shape, halo=2)
    exchange = Halo(decomposition, Frame(layout.rows, layout.columns), 2, 1, corners=False)
    host = layout.new_array(1)
    host[...] = np.random.default_rng(COMM.rank).standard_normal(host.shape)
    array = DeviceArray.zeros(device, host.shape)
    array[...] = host
    exchange.exchange(host)
    with pytest.MonkeyPatch.context() as patched:
        if LAST:  # the others send from device to device all the same
            patched.setattr("burgers_adjoint.devices.parcels.Post.__init__", full)
        exchange.exchange(array)
    assert np.asarray(array).tobytes() == host.tobytes()
    exchange.close()


def full(self: object, device: StandIn, size: int) -> None:
    raise ConfigError("there is no room")


# ---- what MPI says

QUERIES = {
    "none": ("", False),
    "Open MPI, no": ("int MPIX_Query_cuda_support(void) { return 0; }", False),
    "Open MPI": ("int MPIX_Query_cuda_support(void) { return 1; }", True),
    "MPICH": ("int MPIX_GPU_query_support(int k, int* is) { *is = k == 0; return 0; }", True),
    "MPICH, no": ("int MPIX_GPU_query_support(int k, int* is) { *is = k == 1; return 0; }", False),
    "MPICH, error": ("int MPIX_GPU_query_support(int k, int* is) { *is = 1; return 5; }", False),
}  # fmt: skip


@pytest.mark.parametrize("kind", QUERIES)
def test_mpi_is_asked_by_its_extensions(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library.claims_device_memory():
        pytest.skip("this MPI says so itself")
    text, expected = QUERIES[kind]
    source = tmp_path / "queries.cpp"
    source.write_text(f'extern "C" {{ {text} }}\n')
    made = source.with_suffix(".so")
    subprocess.run(["g++", "-shared", "-fPIC", source, "-o", made], check=True, timeout=50)
    monkeypatch.setattr(MPI, "__file__", str(made))
    assert library.claims_device_memory() == expected
