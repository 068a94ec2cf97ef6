"""Snapshots of states that stay between Gauss-Newton products: the same bits, in fewer steps."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import burgers_adjoint as ba
from burgers_adjoint.checkpointing.actions import Turn
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.forward_part import forward_part, places_of
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.snapshots.kept import KeptStore
from burgers_adjoint.snapshots.memory import MemoryStore

STEPS = 11
METHODS = [
    ("euler", "upwind", "dirichlet"),
    ("euler", "central", "periodic"),
    ("rk4", "upwind", "periodic"),
    ("rk4", "upwind", "dirichlet"),
]
SCHEDULES: list[dict[str, Any]] = [
    {"schedule": "binomial", "snapshots": 3},
    {"schedule": "two_level", "snapshots": 2, "snapshots_on_disk": 3},
    {"schedule": "store_all"},
    {
        "schedule": "checkpoint_schedules:MultistageCheckpointSchedule",
        "arguments": {"snapshots_in_ram": 1, "snapshots_on_disk": 2},
    },
]
STORES: list[dict[str, Any]] = [
    {"store": "memory"},
    {"store": "hdf5", "asynchronous": True, "buffers": 3},
    {"store": "hdf5", "asynchronous": False},
    {"store": "tiered", "asynchronous": True, "buffers": 3},
    {"store": "memory", "codec": "lossless"},
]


def sections(
    method: tuple[str, str, str] = METHODS[0], keep: Any = True, **changes: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    integrator, advection, boundary = method
    smooth = {"smooth_speed": 0.1} if advection == "upwind" else {}
    return {
        "grid": {"nx": 15, "ny": 12, "x": [-1, 2], "y": [-1.5, 3], "boundary": boundary},
        "physics": {"viscosity": 0.05, "advection": advection} | smooth,
        "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
        "time": {"dt": 0.02, "steps": STEPS, "integrator": integrator},
        "truth": {"twin": True, "viscosity": 0.06},
        "objective": {"kind": "misfit"},
        "observations": {"count": 2},
        "gradient": {"controls": ["initial", "viscosity"]},
        "hessian": {"keep_states": keep},
        **changes,
    }


def directions(problem: ba.Problem, count: int) -> list[dict[str, Any]]:
    draw = np.random.default_rng(4)
    return [
        {name: draw.normal(size=np.shape(value)) for name, value in problem.controls().items()}
        for _ in range(count)
    ]


def products(problem: ba.Problem) -> list[dict[str, Any]]:
    """At a point, again, elsewhere, and back; with a whole Hessian and a gradient between."""
    m, (one, two) = problem.controls(), directions(problem, 2)
    moved = {**m, "viscosity": 0.07}
    found = []
    for point, d in ((m, one), (m, two), (moved, one), (moved, two), (m, two)):
        found.append(problem.gauss_newton_product(point, d))
    found.append(problem.hessian_product(moved, one))
    found.append(problem.value_and_gradient(moved)[1])
    found.append(problem.gauss_newton_product(m, one))
    found += problem.gauss_newton_product(m, [one, two])
    return found


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return all(np.array_equal(part, right[name]) for name, part in left.items())


@pytest.mark.parametrize("method", METHODS, ids="-".join)
def test_products_along_kept_states_have_the_bits_of_others(
    method: tuple[str, str, str], tmp_path: Path
) -> None:
    with ba.Problem(sections(method, keep=False)) as problem:
        expected = products(problem)
        assert not problem.second_order.of(2, False).keeps_states
    for checkpointing in SCHEDULES:
        for store in STORES:
            snapshots = {"directory": str(tmp_path)} | store
            changes = {"checkpointing": checkpointing, "snapshots": snapshots}
            with ba.Problem(sections(method, **changes)) as problem:
                found = products(problem)
                assert problem.second_order.of(2, False).keeps_states
            assert all(same(*pair) for pair in zip(found, expected, strict=True)), changes


@pytest.mark.parametrize("method", [METHODS[0], METHODS[3]], ids="-".join)
def test_states_that_change_hands_stay_as_they_are(
    method: tuple[str, str, str], tmp_path: Path
) -> None:
    wide = {"nx": 248, "ny": 96, "x": [-20, 40], "y": [-15, 30], "boundary": method[2]}
    changes: dict[str, dict[str, Any]] = {"grid": wide}
    with ba.Problem(sections(method, keep=False, **changes)) as problem:
        expected = products(problem)
    for checkpointing in SCHEDULES[:3]:
        for store in (STORES[0], STORES[1], STORES[3]):
            changes["checkpointing"] = checkpointing
            changes["snapshots"] = {"directory": str(tmp_path)} | store
            with ba.Problem(sections(method, **changes)) as problem:
                found = products(problem)
                assert problem.checkpointing.stores.exchanges
            assert all(same(*pair) for pair in zip(found, expected, strict=True)), changes


def test_kept_stages_and_states_stay_together() -> None:
    found = []
    for keep in (True, False):
        made = sections(METHODS[3], keep)
        made["time"]["stages"] = "keep"
        with ba.Problem(made) as problem:
            found.append(products(problem))
    assert all(same(*pair) for pair in zip(*found, strict=True))


def test_later_products_take_no_forward_sweep_of_states() -> None:
    with ba.Problem(sections(checkpointing={"schedule": "store_all"})) as problem:
        second, (one, two) = problem.second_order.of(1, False), directions(problem, 2)
        counts = [second.of([d]).counts.forward_steps for d in (one, two)]
        assert counts == [2 * STEPS, STEPS + 1]
        problem.case.inputs.set_all({**problem.controls(), "viscosity": 0.07})
        assert second.of([one]).counts.forward_steps == 2 * STEPS


def test_a_run_that_failed_leaves_nothing_to_go_on_with() -> None:
    with ba.Problem(sections()) as problem:
        m, (d,) = problem.controls(), directions(problem, 1)
        expected = problem.gauss_newton_product(m, d)
        wild = {**m, "initial": m["initial"] * 1e200}
        for _ in range(2):
            with pytest.raises(ba.NumericalError):
                problem.gauss_newton_product(wild, d)
        assert same(problem.gauss_newton_product(m, d), expected)


@pytest.mark.parametrize(
    ("checkpointing", "snapshots", "kept"),
    [
        ({"schedule": "store_all"}, {}, True),
        ({"snapshots": 3}, {}, False),
        ({"snapshots": 3}, {"memory": "1 MiB"}, True),
        ({"snapshots": 3}, {"memory": "20 KiB"}, False),
        ({"snapshots": 3}, {"memory": "1 MiB", "codec": "lossless"}, False),
        ({"schedule": "online", "snapshots": 3}, {"memory": "1 MiB"}, False),
    ],
    ids=str,
)
def test_states_are_kept_by_themselves_where_there_is_memory_for_them(
    checkpointing: dict[str, Any], snapshots: dict[str, Any], kept: bool
) -> None:
    made = sections(keep="auto", checkpointing=checkpointing, snapshots=snapshots)
    with ba.Problem(made) as problem:
        second = problem.second_order.of(1, False)
        assert second.driven
        assert second.keeps_states == kept


def test_what_cannot_be_kept_is_said() -> None:
    with pytest.raises(ba.ConfigError, match=r"hessian.keep_states"):
        ba.Problem(sections(keep="yes"))
    online = sections(checkpointing={"schedule": "online", "snapshots": 3})
    wrong = r"hessian.keep_states = true with the online schedule: expected one that knows"
    with ba.Problem(online) as problem, pytest.raises(ba.ConfigError, match=wrong):
        problem.gauss_newton_product(None, {"viscosity": 1.0})
    little: dict[str, Any] = {
        "checkpointing": {"snapshots": 6},
        "snapshots": {"memory": "24 KiB"},
        "time": {"dt": 0.02, "steps": 60},
    }
    wrong = r"hessian.keep_states = true: the snapshots need \d+ bytes"
    need = pytest.raises(ba.ConfigError, match=wrong)
    with ba.Problem(sections(**little)) as problem, need:
        problem.gauss_newton_product(None, {"viscosity": 1.0})
    with ba.Problem(sections(keep=False, **little)) as problem:
        problem.gauss_newton_product(None, {"viscosity": 1.0})


@pytest.mark.parametrize(
    "schedule", [Binomial(11, 3), StoreAll(11), TwoLevel(11, 2, 3)], ids=lambda one: one.name
)
def test_the_forward_part_ends_right_before_the_turn(schedule: Any) -> None:
    actions = [*copy.deepcopy(schedule)]
    part = forward_part(schedule)
    assert isinstance(part.rest.take(), Turn)
    assert part.position == 10
    assert 0 in part.held.values()
    places = places_of(schedule, part.saved_again)
    taken = [*places.first, *places.place_again.values()]
    assert sorted(taken) == list(range(places.slots))
    in_memory = {places.first[slot] for slot in range(min(schedule.memory_slots, schedule.slots))}
    in_memory |= {
        place for slot, place in places.place_again.items() if slot < schedule.memory_slots
    }
    assert in_memory == set(range(places.memory_slots))
    assert [*schedule] == actions  # it stays at its start


def test_a_kept_store_goes_back_to_how_it_was_settled() -> None:
    places = places_of(Binomial(11, 3), (1, 2))
    inner: MemoryStore[list[int]] = MemoryStore(lambda: [0], places.slots)
    store = KeptStore(inner, places, lambda source, target: target.__setitem__(0, source[0]))

    def save(slot: int, step: int) -> None:
        store.save(slot, step, lambda buffer: buffer.__setitem__(0, step))

    def held(slot: int, step: int) -> int:
        found: list[int] = []
        store.load(slot, step, found.extend)
        return found[0]

    for slot, step in ((0, 0), (1, 4), (2, 8)):
        save(slot, step)
    store.settle()
    for _ in range(2):
        assert held(2, 8) == 8
        store.free(2)
        with pytest.raises(SnapshotError, match="slot 2 is empty"):
            held(2, 8)
        save(2, 5)
        save(1, 6)
        assert (held(2, 5), held(1, 6)) == (5, 6)
        with pytest.raises(SnapshotError, match="holds step 6, not step 4"):
            held(1, 4)
        store.rewind()
        assert (held(1, 4), held(2, 8)) == (4, 8)
    store.begin()
    with pytest.raises(SnapshotError, match="slot 0 is empty"):
        held(0, 0)
    with pytest.raises(SnapshotError, match="slot 0 is empty"):
        store.free(0)
    save(0, 3)
    assert held(0, 3) == 3
