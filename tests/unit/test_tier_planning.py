"""Plans with several tiers behind the memory: their counts are those of real stores."""

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest

from burgers_adjoint.checkpointing.actions import Fetch, Free, Load, Save
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.planning.candidates import candidates
from burgers_adjoint.planning.measure import hidden_share
from burgers_adjoint.planning.prediction import Candidate, Costs, Moves, predict
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.snapshots.tiered import TieredStore
from burgers_adjoint.snapshots.write_behind import WriteBehindStore

N_STEPS = 60
HOST = Moves(write=0.5, first_write=0.5, read=0.25, hidden=0.0, ahead=True)
DISK = Moves(write=4.0, first_write=4.0, read=3.0, hidden=0.0, ahead=True)
COSTS = Costs(
    advance=((1, 1.0), (16, 16.0)),
    along=((1, 1.0), (16, 16.0)),
    adjoint=((1, 3.0),),
    seed=0.0,
    save=0.0,
    first_save=0.0,
    load=0.0,
    last_load=0.0,
    call=0.0,
    copy=0.0,
    far={"host": HOST, "disk": DISK},
)


class Counting:
    """A slow store that counts; buffers are lists of one step."""

    nbytes = 0

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}
        self.writes = self.reads = 0

    def put(self, slot: int, step: int, buffer: list[int]) -> None:
        assert buffer == [step]
        self.steps[slot] = step
        self.writes += 1

    def get(self, slot: int, step: int, buffer: list[int]) -> None:
        if self.steps.get(slot) != step:
            raise SnapshotError(f"slot {slot} does not hold step {step}")
        buffer[:] = [step]
        self.reads += 1

    def close(self) -> None:
        self.steps.clear()

    def abandon(self) -> None:
        self.close()


def carry_out(schedule: Schedule, store: SnapshotStore[list[int]]) -> None:
    """Follow a schedule with a store."""
    for action in copy.deepcopy(schedule):
        if isinstance(action, Save):
            store.save(
                action.slot,
                action.step,
                lambda found, step=action.step: found.__setitem__(slice(None), [step]),
            )
        elif isinstance(action, Load):
            found: list[int] = []
            store.load(action.slot, action.step, found.extend)
            assert found == [action.step]
        elif isinstance(action, Fetch):
            store.fetch(action.slot, action.step)
        if isinstance(action, Free) or (isinstance(action, Load) and action.free):
            store.free(action.slot)


def simulated(one: Candidate, costs: Costs) -> tuple[float, dict[str, tuple[int, int]]]:
    """Seconds of a candidate, and moves to each tier: what real stores have counted."""
    slow = {place: Counting() for place in one.far}
    sizes = [one.near_slots, *one.far.values()]
    stores: list[SnapshotStore[list[int]]] = [MemoryStore(list, one.near_slots)]
    stores += [WriteBehindStore(slow[place], list, n, one.buffers) for place, n in one.far.items()]
    store = stores.pop()
    for nearer, n in zip(reversed(stores), reversed(sizes[:-1]), strict=True):
        store = TieredStore(nearer, store, n)
    carry_out(one.schedule, store)
    store.close()
    seconds = 1.0 * one.schedule.predicted_forward_steps + 3.0 * N_STEPS
    for place, counted in slow.items():
        seconds += counted.writes * costs.far[place].write + counted.reads * costs.far[place].read
    return seconds, {place: (one.writes, one.reads) for place, one in slow.items()}


def in_tiers(schedule: Schedule, near: int, host: int, buffers: int) -> Candidate:
    return Candidate(schedule, "tiered", near, buffers, between=(("host", host),))


@pytest.mark.parametrize("buffers", [2, 4])
@pytest.mark.parametrize("make", [Multistage, TwoLevel])
@pytest.mark.parametrize("host", [4, 9, 20])
def test_moves_are_those_of_the_stores(
    make: Callable[[int, int, int], Schedule], host: int, buffers: int
) -> None:
    schedule = make(N_STEPS, 3, 20)
    near = schedule.memory_slots
    one = in_tiers(schedule, near, host, buffers)
    found, (seconds, moves) = predict(one, COSTS), simulated(one, COSTS)
    assert list(one.far) == (["host", "disk"] if host < 20 else ["host"])
    assert sum(one.far.values()) == schedule.slots - near
    assert found.moves == moves
    assert (found.writes, found.reads) == moves.get("disk", (0, 0))
    assert found.seconds == pytest.approx(seconds)
    assert moves["host"][0] > 0
    assert one.memory_snapshots == near + buffers * len(one.far)


# cheap and dear ways to the host and the disk
CHEAP, DEAR = Moves(0.01, 0.01, 0.01, 0.0, True), Moves(50.0, 50.0, 50.0, 0.0, True)
CASES: dict[str, tuple[dict[str, Moves], dict[str, int], set[str]]] = {
    "all in the host's memory": ({"host": CHEAP, "disk": DEAR}, {"host": 90, "disk": 90}, {"host"}),
    "the disk alone": ({"host": DEAR, "disk": CHEAP}, {"host": 90, "disk": 90}, {"disk"}),
    "nothing": ({"host": DEAR, "disk": DEAR}, {"host": 90, "disk": 90}, set()),
    "a small host, then the disk": (
        {"host": CHEAP, "disk": replace(CHEAP, write=0.1, first_write=0.1, read=0.1)},
        {"host": 8, "disk": 8},
        {"host", "disk"},
    ),
    "a small host, and no disk": ({"host": CHEAP, "disk": DEAR}, {"host": 8, "disk": 90}, {"host"}),
    "as measured": ({"host": HOST, "disk": DISK}, {"host": 9, "disk": 90}, {"host"}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_predicted_best_is_that_of_the_counts(case: str) -> None:
    far, behind, expected = CASES[case]
    costs = replace(COSTS, far=far)
    found = candidates(N_STEPS, 10, behind, 2, costs)
    predicted = {id(one): predict(one, costs).seconds for one in found}
    counted = {id(one): simulated(one, costs)[0] for one in found}
    assert predicted == pytest.approx(counted)
    best = min(found, key=lambda one: predicted[id(one)])
    assert best is min(found, key=lambda one: counted[id(one)])
    assert set(best.far) == expected
    # nothing that fits at all, in three tiers or fewer, is much better
    least = min(
        simulated(one, costs)[0] for one in every_way(10, behind["host"], behind["disk"], buffers=2)
    )
    assert counted[id(best)] <= 1.1 * least


def every_way(memory: int, host: int, disk: int, buffers: int) -> list[Candidate]:
    """Every number of slots in each place, of every schedule that has slots in tiers."""
    found = [Candidate(Binomial(N_STEPS, n), "memory", n, 0) for n in range(1, memory + 1)]
    for on_host, on_disk in product(range(min(host, 58) + 1), range(min(disk, 58) + 1)):
        if not 1 <= on_host + on_disk <= 58 or (on_disk and 0 < on_host < host):
            continue  # the disk has what the host has no room for, or all
        near = memory - buffers * ((on_host > 0) + (on_disk > 0))
        for kind in (Multistage, TwoLevel):
            schedule = kind(N_STEPS, near, on_host + on_disk)
            behind = schedule.slots - schedule.memory_slots
            one = in_tiers(schedule, schedule.memory_slots, min(on_host, behind), buffers)
            found.append(one)
    return found


def test_every_tier_is_offered_alone_and_together() -> None:
    found = candidates(N_STEPS, 12, {"host": 70, "disk": 70}, 2, COSTS)
    assert {(one.schedule.name, one.store) for one in found} == {
        (name, store)
        for store, names in {
            "memory": ("binomial",),
            "pinned": ("store_all", "binomial"),
            "hdf5": ("store_all", "binomial"),
            "tiered": ("multistage", "two_level"),
        }.items()
        for name in names
    }
    for memory, host, disk in product((1, 4, 5, 12, 80), (0, 1, 7, 70), (0, 1, 30, 70)):
        for one in candidates(N_STEPS, memory, {"host": host, "disk": disk}, 2, COSTS):
            assert one.memory_snapshots <= memory
            assert one.far.get("host", 0) <= host
            assert one.far.get("disk", 0) <= disk
            if one.store == "tiered" and one.far.get("disk"):
                assert one.far.get("host", 0) == host  # the nearest is full
            assert one.store != "pinned" or list(one.far) == ["host"]


def test_a_tier_without_room_changes_nothing() -> None:
    for memory, disk in product((1, 5, 12, 80), (0, 1, 30, 70)):
        only, none = {"disk": disk}, {"host": 0, "disk": disk}
        alone, beside = (candidates(N_STEPS, memory, one, 2, COSTS) for one in (only, none))
        assert [(one.store, one.schedule.name, one.far) for one in alone] == [
            (one.store, one.schedule.name, one.far) for one in beside
        ]


def test_threads_of_two_tiers_move_at_the_same_time() -> None:
    one = in_tiers(StoreAll(40), 3, 10, 2)
    plain = predict(one, COSTS)
    to_host, to_disk = (
        writes * each.write + reads * each.read
        for (writes, reads), each in ((plain.moves["host"], HOST), (plain.moves["disk"], DISK))
    )
    assert plain.snapshots == pytest.approx(to_host + to_disk)
    computing = plain.forward + plain.adjoint
    for host, disk in ((1.0, 1.0), (1.0, 0.0), (0.5, 0.25)):
        far = {"host": replace(HOST, hidden=host), "disk": replace(DISK, hidden=disk)}
        found = predict(one, replace(COSTS, far=far)).snapshots
        late = max(0.0, max(host * to_host, disk * to_disk) - computing)
        assert found == pytest.approx((1 - host) * to_host + (1 - disk) * to_disk + late)
    dear = {"host": replace(HOST, hidden=1.0), "disk": replace(DISK, read=30.0, hidden=1.0)}
    found, reads = predict(one, replace(COSTS, far=dear)).snapshots, plain.moves["disk"][1]
    late = to_disk + 27.0 * reads - computing
    assert late > 0
    assert found == pytest.approx(late)


@pytest.mark.parametrize(
    ("computing", "moving", "both", "expected"),
    [
        (10.0, 4.0, 14.0, 0.0),
        (10.0, 4.0, 12.0, 0.5),
        (10.0, 4.0, 10.0, 1.0),
        (2.0, 10.0, 10.0, 1.0),  # as much as there are steps beside
        (2.0, 10.0, 11.0, 0.5),
        (10.0, 4.0, 15.0, 0.0),  # noise
        (10.0, 4.0, 9.0, 1.0),
        (10.0, 0.0, 10.0, 0.0),
    ],
)
def test_what_is_hidden_is_what_both_take_less(
    computing: float, moving: float, both: float, expected: float
) -> None:
    assert hidden_share(computing, moving, both) == pytest.approx(expected)
