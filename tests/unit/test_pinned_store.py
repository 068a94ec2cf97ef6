"""Snapshots of states on a device: in page-locked memory, in its own, and in files."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from stand_in_device import HostEvent, HostStream, StandIn

from burgers_adjoint.assembly import stores
from burgers_adjoint.assembly.pinned import PinnedStore
from burgers_adjoint.assembly.stores import Store, StoreMaker, closed_at_end
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.residency import Move
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.config import from_dict
from burgers_adjoint.devices.array import DeviceArray
from burgers_adjoint.errors import ConfigError, SnapshotError, StorageError
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel import memory as parallel_memory
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.snapshots.file import HDF5Store
from burgers_adjoint.snapshots.write_behind import WriteBehindStore

SHAPE = (5, 7)
LAYOUT = Layout(*SHAPE, 2)
WHOLE = (2, LAYOUT.n_rows, LAYOUT.pitch)
STATE_BYTES = 8 * int(np.prod(WHOLE))
SLOTS = 6
MAIN, BESIDE = 0, 1  # streams
KINDS = [
    {"store": "pinned", "buffers": 2},
    {"store": "memory"},
    {"store": "hdf5", "asynchronous": True, "buffers": 3},
    {"store": "hdf5", "asynchronous": False},
    {"store": "tiered", "asynchronous": True, "buffers": 2},
    {"store": "tiered", "asynchronous": False},
    {"store": "tiered", "buffers": 2, "host_memory": f"{2 * STATE_BYTES} B"},  # one slot in a file
]
over_kinds = pytest.mark.parametrize("kind", KINDS, ids=str)
over_exchanging = pytest.mark.parametrize("kind", [KINDS[k] for k in (0, 1, 2, 4, 6)], ids=str)


@pytest.fixture
def device() -> StandIn:
    return StandIn()


def values(step: int) -> np.ndarray:
    """What no other step has, in all points of a state."""
    return np.arange(np.prod(WHOLE), dtype=float).reshape(WHOLE) + 1000 * step


def state_of(device: StandIn, step: int) -> DeviceArray:
    state = DeviceArray.zeros(device, WHOLE)
    state[...] = values(step)
    return state


def own(state: Any) -> np.ndarray:
    """The own points of a state, or of a host's snapshot, on the host."""
    on_host = np.asarray(state)
    return (on_host if on_host.shape[1:] == SHAPE else LAYOUT.interior(on_host)).copy()


def maker_of(device: StandIn | None, folder: Path, **section: Any) -> StoreMaker:
    """Of states on a device, or on the host."""
    section = {"directory": str(folder), **section}
    config = from_dict(
        {
            "snapshots": section,
            "checkpointing": {"snapshots": 3},
            "parallel": {"device": "cpu" if device is None else "cuda"},
        }
    )
    return StoreMaker(
        config,
        Decomposition(MPI.COMM_SELF, SHAPE, False),
        lambda: np.zeros((2, *SHAPE)),
        lambda: LAYOUT.new_array(2) if device is None else DeviceArray.zeros(device, WHOLE),
        lambda found: found if found.shape[1:] == SHAPE else LAYOUT.interior(found),
    )


def made(device: StandIn | None, folder: Path, slots: int = SLOTS, **section: Any) -> Store:
    return maker_of(device, folder, **section).make(StoreAll(slots + 1))


def save(store: Store, slot: int, step: int) -> None:
    def fill(buffer: Any) -> None:
        whole = values(step)
        buffer[...] = whole if buffer.shape == WHOLE else LAYOUT.interior(whole)

    store.save(slot, step, fill)


def loaded(store: Store, slot: int, step: int) -> np.ndarray:
    found: list[np.ndarray] = []
    store.load(slot, step, lambda buffer: found.append(own(buffer)))
    return found[0]


def expect(found: Any, step: int) -> None:
    np.testing.assert_array_equal(own(found), LAYOUT.interior(values(step)))


# ---- the contract


@over_kinds
def test_what_is_saved_is_loaded_in_any_order(
    device: StandIn, tmp_path: Path, kind: dict[str, Any]
) -> None:
    with closed_at_end(made(device, tmp_path, **kind)) as store:
        for turn in range(2):
            for slot in range(SLOTS):
                save(store, slot, 10 * turn + slot)
            for slot in map(int, np.random.default_rng(turn).permutation(2 * SLOTS) % SLOTS):
                ahead = (slot + 1) % SLOTS
                store.fetch(ahead, 10 * turn + ahead)
                expect(loaded(store, slot, 10 * turn + slot), 10 * turn + slot)
            for slot in range(turn, SLOTS):
                store.free(slot)
    assert list(tmp_path.iterdir()) == []


@over_exchanging
def test_states_change_hands(device: StandIn, tmp_path: Path, kind: dict[str, Any]) -> None:
    with closed_at_end(made(device, tmp_path, **kind)) as store:
        assert store.exchanges
        state = DeviceArray.zeros(device, WHOLE)
        for step in range(SLOTS):
            state[...] = values(step)
            given = store.hand_over(step, step, state)
            assert given is not state
            expect(state, step)  # the caller goes on reading it
            state = given
        for step in reversed(range(SLOTS)):
            (lent, *_) = store.lend([(step, step), *([(step - 1, step - 1)] if step else [])])
            expect(lent, step)
            taken = store.take_over(step, step, state)
            assert taken is not state
            expect(taken, step)
            state = taken
            with pytest.raises(SnapshotError, match="is empty: there is nothing to free"):
                store.free(step)


@over_kinds
def test_wrong_calls_are_errors(device: StandIn, tmp_path: Path, kind: dict[str, Any]) -> None:
    with closed_at_end(made(device, tmp_path, **kind)) as store:
        for slot in (0, SLOTS - 1):
            save(store, slot, 6)
            with pytest.raises(SnapshotError, match=r"holds step 6, not step 5"):
                loaded(store, slot, 5)
            store.free(slot)
            with pytest.raises(SnapshotError, match=r"is empty: it does not hold step 6"):
                loaded(store, slot, 6)
            with pytest.raises(SnapshotError, match=r"is empty: there is nothing to free"):
                store.free(slot)
        for wrong in (-1, SLOTS):
            with pytest.raises(SnapshotError, match="there is no slot"):
                save(store, wrong, 0)


def test_memory_is_what_it_says(device: StandIn, tmp_path: Path) -> None:
    store = made(device, tmp_path, store="pinned", buffers=3)
    assert store.nbytes == (3 + SLOTS) * STATE_BYTES
    store.close()
    assert store.nbytes == 0
    free, all_of_it = device.memory_info()
    assert free == all_of_it


def test_a_file_of_states_on_a_device_is_one_of_states_on_the_host(
    device: StandIn, tmp_path: Path
) -> None:
    found = []
    for where in (device, None):
        folder = tmp_path / str(where is None)
        store = made(where, folder, store="hdf5", asynchronous=False, keep=True)
        for slot in range(SLOTS):
            save(store, slot, slot)
        store.close()
        (path,) = folder.iterdir()
        # behind the head, with the run's name
        found.append(path.read_bytes()[-SLOTS * 16 * int(np.prod(SHAPE)) :])
    assert found[0] == found[1]


def test_a_damaged_snapshot_does_not_reach_the_device(device: StandIn, tmp_path: Path) -> None:
    store = made(device, tmp_path, store="hdf5", asynchronous=True, buffers=2)
    for slot in range(SLOTS):
        save(store, slot, slot)
    store.flush()
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    place = content.find(LAYOUT.interior(values(0))[0, 0].tobytes())
    assert place > 0
    content[place] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(SnapshotError, match=r"step 0 in slot 0 of .* is damaged: its checksum"):
        loaded(store, 0, 0)
    expect(loaded(store, 1, 1), 1)
    store.close()


# ---- page-locked memory


def test_bits_come_back(device: StandIn) -> None:
    store = PinnedStore(device, 3, STATE_BYTES)
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**64, (3, *WHOLE), dtype=np.uint64)
    for slot, one in enumerate(bits):
        state = DeviceArray.zeros(device, WHOLE)
        state[...] = one.view(np.float64)
        store.put(slot, 10 + slot, state)
        state[...] = -1.0 * np.ones(WHOLE)  # it is the caller's again
    for slot in (1, 2, 0, 1):
        store.get(slot, 10 + slot, state)
        np.testing.assert_array_equal(np.asarray(state).view(np.uint64), bits[slot])


def test_a_slot_that_does_not_hold_the_step(device: StandIn) -> None:
    store, state = PinnedStore(device, 2, STATE_BYTES), state_of(device, 0)
    store.put(1, 4, state)
    with pytest.raises(SnapshotError, match=r"^slot 1 holds step 4, not step 3$"):
        store.get(1, 3, state)
    with pytest.raises(SnapshotError, match=r"^slot 0 is empty: it does not hold step 4$"):
        store.get(0, 4, state)
    with pytest.raises(SnapshotError, match=r"^there is no slot 2: the store has 2$"):
        store.put(2, 4, state)
    with pytest.raises(ValueError, match=r"^a state of 80 bytes, in slots of \d+$"):
        store.put(0, 4, DeviceArray.zeros(device, 10))
    assert store.nbytes == 2 * STATE_BYTES
    store.abandon()
    assert store.nbytes == 0
    with pytest.raises(SnapshotError, match=r"^slot 1 is gone: the store is closed$"):
        store.get(1, 4, state)


def test_a_copy_waits_for_the_steps_before_it(device: StandIn) -> None:
    store, state = PinnedStore(device, 1, STATE_BYTES), state_of(device, 0)
    device.calls.clear()
    store.put(0, 0, state)
    (record, event, stream), *others = device.calls
    assert (record, stream) == ("record", MAIN)
    assert others == [
        ("wait", event, BESIDE),
        ("copy", "to host", BESIDE),
        ("synchronize", None, BESIDE),
    ]


def test_steps_after_a_copy_wait_for_it(device: StandIn) -> None:
    store, state = PinnedStore(device, 1, STATE_BYTES), state_of(device, 0)
    store.put(0, 0, state)
    device.calls.clear()
    store.get(0, 0, state)
    event, later = device.calls[0][1], device.calls[-1][1]
    assert device.calls == [
        ("record", event, MAIN),
        ("wait", event, BESIDE),
        ("copy", "to device", BESIDE),
        # the steps are not held up while it is on its way
        ("synchronize", None, BESIDE),
        ("record", later, BESIDE),
        ("wait", later, MAIN),
    ]


class Slow(StandIn):
    """Copies of the stream beside the main one are done when somebody says so."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.done = threading.Event(), threading.Event()

    def synchronize(self, stream: HostStream | HostEvent | None = None) -> None:
        if isinstance(stream, HostStream) and stream.number == BESIDE:
            self.begun.set()
            assert self.done.wait(60)
        super().synchronize(stream)


def test_the_caller_goes_on_while_a_state_is_copied() -> None:
    device = Slow()
    slow = PinnedStore(device, SLOTS, STATE_BYTES)
    store: WriteBehindStore[Any] = WriteBehindStore(
        slow, lambda: DeviceArray.zeros(device, WHOLE), SLOTS, 3, exchanges=True
    )
    store.transfers = []
    state = state_of(device, 0)
    for step in range(3):  # the third one has the first one written, ahead of need
        state[...] = values(step)
        state = store.hand_over(step, step, state)
    assert device.begun.wait(60)
    device.record(device.main)  # a step, for instance
    going_on = device.calls[-1]
    assert store.transfers == []
    device.done.set()
    store.flush()
    assert store.transfers[0][:2] == (Move.WRITE, 0)
    order = [
        device.calls.index(call)
        for call in (("copy", "to host", BESIDE), going_on, ("synchronize", None, BESIDE))
    ]
    assert order == sorted(order)
    expect(loaded(store, 0, 0), 0)
    store.close()


# ---- what is refused


@pytest.mark.parametrize("section", [{}, {"codec": "float32"}])
def test_states_on_the_host_are_not_for_it(tmp_path: Path, section: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        made(None, tmp_path, store="pinned", **section)
    assert str(error.value) == (
        'snapshots.store = "pinned" is for states on a device (parallel.device = "cuda"), '
        'kept as they are (no snapshots.codec, no time.stages = "keep"): use "memory"'
    )
    assert error.value.agreed


def test_copies_are_made_by_a_thread(device: StandIn, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        made(device, tmp_path, store="pinned", asynchronous=False)
    assert str(error.value) == (
        'snapshots.store = "pinned" copies beside the steps: expected no '
        "snapshots.asynchronous = false"
    )


@pytest.mark.parametrize(
    ("kind", "n_states", "instead"),
    [
        ("memory", 6, 'use fewer (checkpointing.snapshots), or snapshots.store = "pinned"'),
        ("pinned", 4, "use fewer (snapshots.buffers)"),
        ("hdf5", 4, "use fewer (snapshots.buffers)"),
    ],
)
def test_a_device_without_room_is_told_before_the_run(
    tmp_path: Path, kind: str, n_states: int, instead: str
) -> None:
    device = StandIn(n_bytes=3 * STATE_BYTES)
    with pytest.raises(ConfigError) as error:
        made(device, tmp_path, store=kind, asynchronous=True, buffers=4)
    assert str(error.value) == (
        f"the snapshots need {n_states * STATE_BYTES} bytes of the device's memory per rank, "
        f"{3 * STATE_BYTES} are free on stand-in: {instead}"
    )
    assert error.value.agreed
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_others_take_from_is_refused_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = StandIn(n_bytes=3 * STATE_BYTES)
    maker = maker_of(device, tmp_path, store="memory")

    def gone(n_bytes: int, zeroed: bool = True) -> Any:
        raise ConfigError("another one was faster")

    monkeypatch.setattr(device, "allocate", gone)
    with pytest.raises(ConfigError, match="another one was faster") as error:
        maker.make(StoreAll(3))
    assert error.value.agreed


@pytest.mark.parametrize(("memory", "fits"), [(0.5, 3), (f"{4 * STATE_BYTES} B", 4)])
def test_memory_given_is_that_of_the_device(tmp_path: Path, memory: float | str, fits: int) -> None:
    device = StandIn(n_bytes=6 * STATE_BYTES)
    made(device, tmp_path, fits, store="memory", memory=memory).close()
    with pytest.raises(ConfigError, match=r"snapshots.memory = .* allows"):
        made(device, tmp_path, fits + 1, store="memory", memory=memory)
    maker = maker_of(device, tmp_path, store="tiered", memory=memory, buffers=2)
    assert maker.tiers(StoreAll(8)) == [fits - 2, 9 - fits, 0]


def test_a_host_without_room_is_told(device: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def pinned(n_bytes: int) -> np.ndarray:
        for memory in given:
            return memory
        raise RuntimeError("cudaErrorMemoryAllocation: out of memory")

    given = iter([np.zeros(100, dtype=np.uint8)] * 2)
    monkeypatch.setattr(device, "pinned", pinned)
    with pytest.raises(ConfigError) as error:
        PinnedStore(device, 3, 100)
    assert str(error.value) == (
        "the snapshots need 300 bytes of page-locked memory per rank, the host gives 2 of 3 "
        "snapshots (cudaErrorMemoryAllocation: out of memory): use fewer "
        '(checkpointing.snapshots), or snapshots.store = "tiered" with less of it '
        "(snapshots.host_memory)"
    )


@pytest.mark.parametrize("slots", [SLOTS, SLOTS + 1])
def test_the_hosts_memory_given_holds_for_its_slots(
    device: StandIn, tmp_path: Path, slots: int
) -> None:
    allowed = f"{SLOTS * STATE_BYTES} B"
    section: dict[str, Any] = {"store": "pinned", "buffers": 2, "host_memory": allowed}
    if slots == SLOTS:
        made(device, tmp_path, slots, **section).close()
        return
    with pytest.raises(ConfigError) as error:
        made(device, tmp_path, slots, **section)
    assert str(error.value) == (
        f"the snapshots need {slots * STATE_BYTES} bytes of memory per rank, "
        f"snapshots.host_memory = {allowed!r} allows {SLOTS * STATE_BYTES}: use fewer "
        "(checkpointing.snapshots), or a store on disk (snapshots.store)"
    )


def test_the_devices_memory_given_does_not_hold_for_the_hosts(
    device: StandIn, tmp_path: Path
) -> None:
    section: dict[str, Any] = {"store": "pinned", "buffers": 3}
    made(device, tmp_path, memory=f"{3 * STATE_BYTES} B", **section).close()
    with pytest.raises(ConfigError, match=r"snapshots.memory = .* allows"):
        made(device, tmp_path, memory=f"{2 * STATE_BYTES} B", **section)


# ---- the device's memory, the host's, and files


THREE = {"store": "tiered", "buffers": 2, "host_memory": f"{4 * STATE_BYTES} B"}


def three_tiers(device: StandIn, folder: Path, slots: int = 10) -> Store:
    """Three slots on the device, four on the host, the others in a file."""
    maker = maker_of(device, folder, **THREE)
    schedule = Multistage(60, 3, slots - 3)
    assert maker.tiers(schedule) == [3, 4, slots - 7]
    return maker.make(schedule)


def test_slots_are_on_the_device_first_then_on_the_host_then_in_a_file(
    device: StandIn, tmp_path: Path
) -> None:
    store = three_tiers(device, tmp_path)
    assert store.exchanges
    # four buffers on the device, of the two tiers behind it
    assert store.nbytes == (3 + (2 + 4) + 2) * STATE_BYTES
    (path,) = tmp_path.iterdir()
    copies = []
    for slots in (range(3), range(3, 7), range(7, 10)):
        device.calls.clear()
        before = path.read_bytes()
        for slot in slots:
            state = state_of(device, slot)
            store.hand_over(slot, slot, state)
        store.flush()
        whole = ("copy", "to host", BESIDE)
        own_points = LAYOUT.interior(values(slots[-1]))[0, 0].tobytes()
        copies.append((device.calls.count(whole), own_points in path.read_bytes()))
        assert (path.read_bytes() == before) == (slots[-1] < 7)
    assert copies == [(0, False), (4, False), (0, True)]
    for slot in np.random.default_rng(0).permutation(10):
        expect(loaded(store, int(slot), int(slot)), int(slot))
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_each_copy_of_a_middle_slot_waits_for_the_steps_before_it(
    device: StandIn, tmp_path: Path
) -> None:
    store = three_tiers(device, tmp_path)
    device.calls.clear()
    store.hand_over(4, 4, state_of(device, 4))
    store.flush()
    beside = [call for call in device.calls if BESIDE in call[1:] and call[-1] == BESIDE]
    assert [call[0] for call in beside] == ["wait", "copy", "synchronize"]
    recorded = device.calls.index(("record", beside[0][1], MAIN))
    assert recorded < device.calls.index(beside[0])
    store.close()


def test_a_slow_file_does_not_hold_up_the_hosts_memory(
    device: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, going = threading.Event(), threading.Event()
    put = HDF5Store.put

    def slow(self: Any, *arguments: Any) -> None:
        begun.set()
        assert going.wait(60)
        put(self, *arguments)

    monkeypatch.setattr(HDF5Store, "put", slow)
    monkeypatch.setattr(stores, "idle_share", lambda comm: 1.0)
    store = three_tiers(device, tmp_path)
    for slot in (7, 8, 3, 4, 5, 6):  # two states for a file fill its buffers
        store.hand_over(slot, slot, state_of(device, slot))
    assert begun.wait(60)
    for slot in (6, 5, 4, 3):
        expect(loaded(store, slot, slot), slot)
    assert not going.is_set()
    going.set()
    store.flush()
    for slot in (7, 8):
        expect(loaded(store, slot, slot), slot)
    store.close()


def test_what_the_device_holds_counts_the_buffers_of_both_tiers(tmp_path: Path) -> None:
    device = StandIn(n_bytes=20 * STATE_BYTES)
    section = {**THREE, "memory": f"{7 * STATE_BYTES} B"}
    for slots, expected in ((7, [5, 2, 0]), (9, [5, 4, 0]), (10, [3, 4, 3])):
        maker = maker_of(device, tmp_path, **section)
        assert maker.tiers(StoreAll(slots + 1)) == expected
        store = maker.make(StoreAll(slots + 1))
        free, all_of_it = device.memory_info()
        assert all_of_it - free <= 7 * STATE_BYTES
        store.close()
    small = StandIn(n_bytes=6 * STATE_BYTES)
    with pytest.raises(ConfigError) as error:
        maker_of(small, tmp_path, **THREE).make(Multistage(60, 3, 7))
    assert str(error.value).startswith(
        f"the snapshots need {7 * STATE_BYTES} bytes of the device's memory per rank, "
        f"{6 * STATE_BYTES} are free on stand-in: "
    )


def test_half_of_the_hosts_free_memory_is_for_states(
    device: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(available=10 * STATE_BYTES)
    monkeypatch.setattr(parallel_memory.psutil, "virtual_memory", lambda: free)
    schedule = Multistage(60, 3, 7)
    for section, expected in (
        ({}, [3, 5, 2]),
        ({"host_memory": 0.3}, [3, 3, 4]),
        ({"host_memory": 0}, [3, 0, 7]),
        ({"asynchronous": False}, [3, 0, 7]),
    ):
        assert maker_of(device, tmp_path, store="tiered", **section).tiers(schedule) == expected
    assert maker_of(None, tmp_path, store="tiered").tiers(schedule) == [3, 0, 7]


@pytest.mark.parametrize(
    ("section", "why"),
    [
        (
            {"host_memory": "1 B"},
            f"'1 B' is 1 bytes per rank: one snapshot takes {STATE_BYTES}",
        ),
        (
            {"asynchronous": False, "host_memory": 0.5},
            "0.5 copies beside the steps: expected no snapshots.asynchronous = false; set "
            "it to 0 otherwise",
        ),
        (
            {"codec": "float32", "host_memory": "1 GiB"},
            "'1 GiB' is for states on a device (parallel.device = \"cuda\"), kept as they are (no "
            'snapshots.codec, no time.stages = "keep"); set it to 0 otherwise',
        ),
    ],
)
def test_memory_of_the_host_that_nothing_can_use_is_refused(
    device: StandIn, tmp_path: Path, section: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError) as error:
        maker_of(device, tmp_path, store="tiered", **section).make(Multistage(60, 3, 7))
    assert str(error.value) == f"snapshots.host_memory = {why}"
    assert error.value.agreed
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_host_has_is_refused(
    device: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(available=3 * STATE_BYTES)
    monkeypatch.setattr(parallel_memory.psutil, "virtual_memory", lambda: free)
    with pytest.raises(ConfigError) as error:
        three_tiers(device, tmp_path)
    asked, there = (n * STATE_BYTES / 2**30 for n in (4, 3))
    assert f"need {asked:.3g} GiB on a node (1 ranks), {there:.3g} GiB are free" in str(error.value)


def test_a_tier_that_cannot_be_made_leaves_none_behind(device: StandIn, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    maker = maker_of(device, tmp_path / "file", **THREE)
    before = threading.active_count()
    with pytest.raises(StorageError, match="cannot use the snapshot folder"):
        maker.make(Multistage(60, 3, 7))
    assert threading.active_count() == before
    free, all_of_it = device.memory_info()
    assert free == all_of_it
