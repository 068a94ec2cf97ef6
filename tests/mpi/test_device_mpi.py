"""Whole commands on a device: the bits of the processor, over ranks, stores, stops and searches.

The device is `tests.stand_in_device`, whose kernels are the generated ones, compiled for the host.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly import backends
from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.stores import idle_share
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.commands.check import check
from burgers_adjoint.commands.gradient import gradient
from burgers_adjoint.commands.hessian import hessian
from burgers_adjoint.commands.plan import plan
from burgers_adjoint.config import Config, load
from burgers_adjoint.devices import array
from burgers_adjoint.errors import ConfigError, InterruptedRunError, NumericalError
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.tables import print_plan
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import patient_barrier
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.problem import Problem
from burgers_adjoint.restart import keeper
from burgers_adjoint.restart.manifest import generations, path_of, read_manifest
from burgers_adjoint.restart.parts import PartFile
from burgers_adjoint.snapshots.file import HDF5Store
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.stepping.accelerator import Accelerator
from tests.interruptions import At, stopping
from tests.stand_in_device import StandIn

COMM = MPI.COMM_WORLD
pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler"),
]
PROBLEM = [
    *("grid.nx=31", "grid.ny=26", "grid.x=[-4.0, 3.0]", "initial.amplitude=[1.0, 0.6]"),
    *("time.steps=40", "checkpointing.snapshots=5", "output.plots=false"),
]
CASES = {
    "default": [],
    "periodic, chosen steps": [
        *("grid.boundary=periodic", "time.integrator=ssprk3", "time.cfl=0.3"),
        "objective.kind=weighted_sum",
        "objective.weights={ running_energy = 1.0, running_enstrophy = 0.3 }",
    ],
    "upwind, all controls": [
        *("time.integrator=ssprk3", "physics.advection=upwind", "controls.knots=[0.01, 0.05]"),
        "gradient.controls=['initial', 'boundary', 'viscosity', 'viscosity_field', 'forcing', "
        "'forcing_in_time']",
    ],
    "sensors": [
        *("objective.kind=misfit", "observations.kind=sensors", "observations.count=3"),
        "truth.twin=true",
    ],
    "stages kept": ["time.integrator=ssprk3", "time.stages=keep"],
}
STORES = {
    "pinned": ["snapshots.store=pinned"],
    "hdf5": ["snapshots.store=hdf5"],
    "tiered": [
        *("snapshots.store=tiered", "checkpointing.snapshots=2"),
        *("checkpointing.schedule=two_level", "checkpointing.snapshots_on_disk=3"),
    ],
    "multistage": [
        *("snapshots.store=tiered", "checkpointing.snapshots=1", "snapshots.buffers=2"),
        *("checkpointing.schedule=multistage", "checkpointing.snapshots_on_disk=4"),
    ],
}
ON_A_DEVICE = "parallel.device=cuda"


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The device of this process."""
    found = StandIn()
    monkeypatch.setitem(backends._MADE, "cuda", Accelerator(found))
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all ranks see."""
    made = COMM.bcast(tempfile.mkdtemp() if COMM.rank == 0 else None, root=0)
    yield Path(made)
    patient_barrier(COMM)
    if COMM.rank == 0:
        shutil.rmtree(made)


def config_of(folder: Path, *more: str) -> Config:
    return load(None, [*PROBLEM, f"output.directory={folder}", *more])


def digest_of(folder: Path, *more: str) -> str:
    return gradient(config_of(folder, *more), COMM, Progress(False)).digest


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_has_the_bits_of_the_processor(name: str, folder: Path, device: StandIn) -> None:
    expected = digest_of(folder / "host", *CASES[name])
    assert not device.calls
    assert digest_of(folder / "device", *CASES[name], ON_A_DEVICE) == expected
    assert sum(call[:2] == ("launch", "sweep") for call in device.calls) > 20


def test_what_is_found_in_states_is_found_on_the_device(folder: Path, device: StandIn) -> None:
    large = "grid.nx=200", "grid.ny=400", "time.steps=6"  # edges are a small part
    config = config_of(folder, *CASES["periodic, chosen steps"], *large, ON_A_DEVICE)
    with Problem(config, COMM) as problem:
        problem.value_and_gradient(problem.controls())
        device.brought.clear()
        problem.value_and_gradient(problem.controls())
        state_bytes = 16 * int(np.prod(problem.case.decomposition.tile_shape))
    whole = [n for n in device.brought if n >= state_bytes // 4]
    assert len(device.brought) > 6 * 3  # sums and maxima
    # the gradient by the initial state, and a snapshot, however many steps there are
    assert sum(whole) <= 2 * state_bytes


def test_a_final_state_comes_to_the_host_where_the_device_has_no_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: array.DeviceArray) -> array.DeviceArray:
        raise ConfigError("no room")

    with Problem(config_of(folder, ON_A_DEVICE), COMM) as problem:
        schedule = Binomial(40, 5)
        store = MemoryStore(problem.case.model.new_state, 5, exchanges=True)
        found = reverse(problem.case, schedule, store)
        assert isinstance(found.final, array.DeviceArray)
        monkeypatch.setattr(array.DeviceArray, "copy", full)
        again = problem.case.model.final_copy
    assert type(again) is np.ndarray
    assert np.asarray(found.final).tobytes() == again.tobytes()


@pytest.mark.parametrize("store", STORES)
def test_every_store_keeps_states_of_a_device(store: str, folder: Path, device: StandIn) -> None:
    chosen = STORES[store]
    expected = digest_of(folder / "host", *(chosen if store != "pinned" else []))
    assert digest_of(folder / "device", *chosen, ON_A_DEVICE) == expected
    assert device.memory_info()[0] > 0


def with_host_memory(folder: Path, n_slots: float, *more: str) -> str:
    """The key that gives so many snapshots room on the host."""
    with Problem(config_of(folder, *more, ON_A_DEVICE), COMM) as problem:
        n_bytes = problem.checkpointing.stores.largest_memory_bytes
    return f"snapshots.host_memory={int(n_slots * n_bytes)} B"


@pytest.mark.parametrize("n_slots", [0, 1, 2, 9])
@pytest.mark.parametrize("store", ["tiered", "multistage"])
def test_slots_are_on_the_device_on_the_host_and_in_files(
    store: str, n_slots: int, folder: Path, device: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, put = [*STORES[store], "snapshots.buffers=2"], HDF5Store.put
    expected = digest_of(folder / "host", *chosen)
    given = with_host_memory(folder, n_slots, *chosen) if n_slots else "snapshots.host_memory=0"
    config = config_of(folder / "device", *chosen, given, ON_A_DEVICE)
    with Problem(config, COMM) as problem:
        checkpointing = problem.checkpointing
        near, on_host, in_files = checkpointing.stores.tiers(checkpointing.schedule())
        whole = checkpointing.stores.memory_bytes
    far = 3 if store == "tiered" else 4
    assert (near, on_host, in_files) == (5 - far, min(n_slots, far), max(0, far - n_slots))
    written: set[int] = set()

    def noted(self: HDF5Store[Any], slot: int, step: int, buffer: Any) -> None:
        written.add(slot)
        put(self, slot, step, buffer)

    monkeypatch.setattr(HDF5Store, "put", noted)
    device.brought.clear()
    assert gradient(config, COMM, Progress(False)).digest == expected
    assert len(written) <= in_files
    # the last buffer that is filled is written by a thread, and when it is needed without one
    assert bool(written) == (in_files > 2 or (in_files == 2 and idle_share(COMM) > 0))
    assert (whole in device.brought) == (on_host >= 2)


def test_auto_weighs_the_host_and_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, device: StandIn
) -> None:
    """What it takes has the processor's bits, whatever that is."""
    auto = "checkpointing.schedule=auto", "snapshots.buffers=2"
    expected = digest_of(folder / "host")
    with Problem(config_of(folder, ON_A_DEVICE), COMM) as problem:
        n_bytes = problem.checkpointing.stores.largest_memory_bytes
    room = f"snapshots.memory={6 * n_bytes} B", f"snapshots.host_memory={9 * n_bytes} B"
    config = config_of(folder, *auto, *room, ON_A_DEVICE)
    with Problem(config, COMM) as problem:
        found, mine = problem.checkpointing.plan, problem.checkpointing.stores.memory_bytes
    assert (found.memory_slots, found.behind["host"]) == (6, 9)
    assert {row["store"] for row in found.rows(1)} == {"memory", "pinned", "hdf5", "tiered"}
    for option, row in zip(found.options, found.rows(1), strict=True):
        assert option.memory_bytes <= 6 * n_bytes
        on_host = option.candidate.far.get("host", 0)
        assert row.get("snapshots_on_host", 0) == on_host <= 9
        assert row.get("host_bytes", 0) == on_host * n_bytes
    moves = found.costs.far["host"]
    assert min(moves.write, moves.read) > 0
    assert 0 <= moves.hidden <= 1
    assert moves.ahead
    # each store in turn, as if it had been the fastest
    for store in ("pinned", "tiered"):
        chosen = [one for one in found.options if one.candidate.store == store]
        for option in chosen:
            best = replace(found, options=[option])
            with monkeypatch.context() as patched:
                patched.setattr(Checkpointing, "plan", best)
                device.brought.clear()
                assert gradient(config, COMM, Progress(False)).digest == expected
            assert mine in device.brought


def test_a_plan_of_what_is_configured_tells_where_its_slots_are(folder: Path) -> None:
    chosen = [*STORES["multistage"], "snapshots.memory=0.5"]
    given = with_host_memory(folder, 3, *chosen)
    found = plan(config_of(folder, *chosen, given, ON_A_DEVICE), COMM)
    (row,) = [
        one for one in found.options
        if (one["schedule"], one["snapshots"], one["snapshots_on_disk"]) == ("multistage", 1, 1)
    ]  # fmt: skip
    assert (row["store"], row["snapshots_on_host"]) == ("tiered", 3)
    assert row["host_writes"] > 0
    printed = StringIO()
    print_plan(found, printed, False)
    assert "1 + 3 + 1" in printed.getvalue()
    assert "slots in memory + on the host + on disk" in " ".join(printed.getvalue().split())
    with pytest.raises(ConfigError, match='"pinned" is for states on a device'):
        plan(config_of(folder, *STORES["pinned"]), COMM)


def test_without_a_device_there_is_no_host_to_plan(folder: Path) -> None:
    with Problem(config_of(folder, "checkpointing.schedule=auto"), COMM) as problem:
        found = problem.checkpointing.plan
    assert list(found.behind) == list(found.costs.far) == ["disk"]
    assert all("snapshots_on_host" not in row for row in found.rows(1))


@pytest.mark.parametrize("second", ["cpu", "cuda"])
@pytest.mark.parametrize("at", [17, 70])
def test_a_run_with_three_tiers_is_stopped_and_goes_on(
    second: str, at: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [*STORES["multistage"], "restart.enabled=true", "restart.overhead=1.0"]
    expected = digest_of(folder / "whole", *STORES["multistage"])
    monkeypatch.setattr(keeper, "WORTH", 0.0)  # all snapshots are saved
    given = with_host_memory(folder, 2, *STORES["multistage"])
    with monkeypatch.context() as patched:
        stopping(patched)
        with pytest.raises(InterruptedRunError):
            gradient(config_of(folder, *chosen, given, ON_A_DEVICE), COMM, At(at))
    if second == "cpu":
        given = "snapshots.host_memory=0"
    goes_on = config_of(folder, *chosen, given, f"parallel.device={second}")
    assert gradient(goes_on, COMM, Progress(False), "must").digest == expected


@pytest.mark.parametrize("first", ["cpu", "cuda"])
@pytest.mark.parametrize("at", [17, 70])
def test_a_stopped_run_goes_on_elsewhere(
    first: str, at: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest_of(folder / "whole")
    durable = "restart.enabled=true", "restart.overhead=1.0"
    with monkeypatch.context() as patched:
        stopping(patched)
        with pytest.raises(InterruptedRunError):
            gradient(config_of(folder, *durable, f"parallel.device={first}"), COMM, At(at))
    second = "cuda" if first == "cpu" else "cpu"
    goes_on = config_of(folder, *durable, f"parallel.device={second}")
    assert gradient(goes_on, COMM, Progress(False), "must").digest == expected


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("grid", [(1, COMM.size), (COMM.size, 1), (0, 0)])
def test_what_goes_around_a_tile_stays_on_its_device(
    grid: tuple[int, int], corners: bool, device: StandIn
) -> None:
    decomposition = Decomposition(COMM, (31, 37), True, grid)
    layout = Layout(*decomposition.tile_shape, halo=3)
    exchange = Halo(decomposition, Frame(layout.rows, layout.columns), 2, 3, corners)
    hosts = [layout.new_array(n) for n in (2, 1)]
    on_device = []
    for seed, host in enumerate(hosts):
        random = np.random.default_rng([seed, COMM.rank])
        host[...] = random.standard_normal(host.shape)  # also where no neighbour's points go
        on_device.append(array.DeviceArray.zeros(device, host.shape))
        on_device[-1][...] = host
    for _ in range(2):
        device.calls.clear()
        exchange.exchange(*hosts)
        exchange.exchange(*on_device)
        for mine, host in zip(on_device, hosts, strict=True):
            assert np.asarray(mine).tobytes() == host.tobytes()
            layout.interior(host)[...] *= 1.5
            layout.interior(mine)[...] *= 1.5
    exchange.close()
    names = [call[1] for call in device.calls if call[0] == "launch"]
    around, others = 1 in decomposition.process_grid, COMM.size > 1
    assert names.count("wrap") == 2 * around
    assert names.count("pack") == names.count("unpack") == 2 * others


def parts_of(folder: Path) -> dict[str, tuple[bytes, list[list[int | str]]]]:
    """Bytes and fields of this rank's files of the newest generation, by what they are of."""
    manifest = read_manifest(path_of(folder / "restart", generations(folder / "restart")[0]))
    found = {}
    for name, part in manifest.parts.items():
        seal = part.seals[COMM.rank]
        with PartFile(folder / "restart", name, COMM.rank, seal) as file:
            content = file.path.read_bytes()[: -seal.index_size]
            fields = [[one.name, one.offset, one.crc32] for one in file.index.fields]
            found[name.rpartition("-")[0]] = content, fields
    return found


@pytest.mark.parametrize("store", ["memory", "pinned"])
@pytest.mark.parametrize("at", [17, 70])
def test_restart_data_have_the_bytes_of_the_processor(
    at: int, store: str, folder: Path, device: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "WORTH", 0.0)  # all snapshots are saved
    stopping(monkeypatch)
    for name in ("cpu", "cuda"):
        more = [f"parallel.device={name}", "restart.enabled=true", "restart.overhead=1.0"]
        more += [f"snapshots.store={store}"] if name == "cuda" else []
        with pytest.raises(InterruptedRunError):
            gradient(config_of(folder / name, *more), COMM, At(at))
    expected, found = (parts_of(folder / name) for name in ("cpu", "cuda"))
    assert found == expected
    assert "sweep" in found
    assert any(name.startswith("snapshot-") for name in found)
    assert ("final" in found) == (at > 40)
    # nothing that is saved has come to the host in the stream of the steps
    asides = [call for call in device.calls if call[0] == "wait" and call[2] != 0]
    assert len(asides) >= len(found)


def test_a_device_without_room_for_copies_says_that_steps_wait(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest_of(folder / "host")
    monkeypatch.setattr(array, "has_room", lambda device, n_bytes: False)
    durable = "restart.enabled=true", "restart.overhead=1.0", ON_A_DEVICE
    with monkeypatch.context() as patched:
        stopping(patched)
        with pytest.raises(InterruptedRunError):
            gradient(config_of(folder, *durable), COMM, At(70))
    said = [record.getMessage() for record in caplog.records]
    assert sum("has no memory for copies of restart data" in text for text in said) == (
        COMM.rank == 0
    )
    assert gradient(config_of(folder, *durable), COMM, Progress(False), "must").digest == expected


def test_products_with_the_hessian_have_the_bits_of_the_processor(folder: Path) -> None:
    more = "gradient.controls=['initial', 'viscosity']", "hessian.count=2"
    digests = [
        hessian(config_of(folder / device, *more, f"parallel.device={device}"), COMM,
                Progress(False)).digest
        for device in ("cpu", "cuda")
    ]  # fmt: skip
    assert digests[0] == digests[1]


def test_check_passes(folder: Path) -> None:
    found = check(config_of(folder, ON_A_DEVICE, "time.steps=20"), COMM, Progress(False))
    assert all(one.passed for one in found.checks)
    assert len(found.checks) > 5


def test_a_problem_gives_arrays_of_the_host(folder: Path) -> None:
    with Problem(config_of(folder, ON_A_DEVICE), COMM) as problem:
        J, parts = problem.value_and_gradient(problem.controls())
        states = [fields for _, fields in problem.trajectory(problem.controls(), every=20)]
    with Problem(config_of(folder), COMM) as problem:
        expected, found = problem.value_and_gradient(problem.controls())
    assert expected == J
    for name, part in found.items():
        assert np.asarray(parts[name]).tobytes() == np.asarray(part).tobytes()
        assert isinstance(parts[name], np.ndarray | float)
    assert all(type(fields) is np.ndarray for fields in states)


def test_a_run_that_blows_up_says_where(folder: Path) -> None:
    messages = []
    for name in ("cpu", "cuda"):
        unstable = "time.dt=1.0", "time.allow_unstable=true", f"parallel.device={name}"
        with pytest.raises(NumericalError, match="no longer finite") as caught:
            gradient(config_of(folder / name, *unstable), COMM, Progress(False))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_overlap_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="halos are exchanged while the interior is advanced on"):
        gradient(config_of(folder, ON_A_DEVICE, "parallel.overlap=true"), COMM, Progress(False))
