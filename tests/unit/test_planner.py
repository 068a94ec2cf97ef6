"""Predictions against what executors and stores then do."""

import copy
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.checkpointing.actions import (
    Advance,
    FusedAction,
    Load,
    Reverse,
    ReverseLoading,
    Save,
)
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.fusion import Limits, fused
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.residency import Move, Residency
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.commands.line import main
from burgers_adjoint.config import from_dict
from burgers_adjoint.output.schedule_picture import draw_schedule, trace
from burgers_adjoint.planning.candidates import candidates
from burgers_adjoint.planning.prediction import Candidate, Costs, Moves, predict
from burgers_adjoint.problem import Problem

COSTS = Costs(
    advance=((1, 1.0), (2, 2.0), (16, 16.0)),
    along=((1, 1.0), (16, 16.0)),
    adjoint=((1, 3.0),),
    seed=0.0,
    save=0.25,
    first_save=0.25,
    load=0.25,
    last_load=0.125,
    call=0.125,
    copy=0.5,
    far={"disk": Moves(write=10.0, first_write=20.0, read=7.0, hidden=0.0, ahead=False)},
)
SMALL = ("-s", "grid.nx=9", "-s", "grid.ny=7", "-s", "time.steps=12", "-s", "output.plots=false")


def test_reverse_steps_that_snapshots_have_kept_work_of_cost_less():
    costs = dataclasses.replace(COSTS, kept_adjoint=1.0)
    for schedule, kept in ((StoreAll(20), 20), (Binomial(4, 1), 2), (Binomial(5, 2), 3)):
        prediction = predict(Candidate(schedule, "memory", schedule.slots, 0), costs)
        assert prediction.adjoint == 3.0 * (schedule.n_steps - kept) + 1.0 * kept


def test_an_advance_costs_what_lies_between_the_measured_ones():
    assert [COSTS.of_advance(n) for n in (1, 2, 9, 16, 64)] == [1.0, 2.0, 9.0, 16.0, 64.0]


@pytest.mark.parametrize(
    "schedule", [Binomial(57, 6), StoreAll(20), Binomial(1, 1)], ids=lambda one: one.name
)
def test_seconds_in_memory_are_the_sum_over_the_actions(schedule):
    actions = list(copy.deepcopy(schedule))
    prediction = predict(Candidate(schedule, "memory", schedule.slots, 0), COSTS)
    saves = sum(isinstance(action, Save) for action in actions)
    loads = [action for action in actions if isinstance(action, Load)]
    # those of which the step is reversed together with the one behind it are no calls of their own
    passed = sum(
        isinstance(load, Load) and load.free and isinstance(before, Reverse)
        for before, load in pairwise(actions)
    )
    # nor are saves in the middle of single steps
    passed_saves = sum(
        isinstance(actions[n], Save)
        and all(
            isinstance(step, Advance) and step.step1 == step.step0 + 1
            for step in (actions[n - 1], actions[n + 1])
        )
        for n in range(1, len(actions) - 1)
    )
    last = sum(action.free for action in loads) - passed
    assert prediction.saves == saves
    assert prediction.loads == len(loads)
    assert prediction.forward_steps == prediction.forward == schedule.predicted_forward_steps
    assert prediction.adjoint == 3.0 * schedule.n_steps
    others = saves - passed_saves + len(loads) - passed - last
    assert prediction.snapshots == pytest.approx(0.25 * others + 0.125 * last)
    assert (prediction.writes, prediction.reads) == (0, 0)


def test_steps_that_are_reversed_together_cost_what_was_measured_of_such():
    costs = replace(COSTS, adjoint=((1, 3.0), (4, 8.0)))
    for store, near, buffers, expected in (
        ("memory", 7, 0, 16.0),  # eight at once
        ("hdf5", 0, 4, 16.0),  # twice four
        ("hdf5", 0, 0, 24.0),  # one by one
    ):
        prediction = predict(Candidate(StoreAll(8), store, near, buffers), costs)
        assert prediction.adjoint == expected
        assert prediction.loads == 7


def test_steps_between_which_states_are_saved_cost_what_was_measured_of_such():
    costs = replace(COSTS, along=((1, 1.0), (4, 2.0)))
    for store, near, expected in (
        ("memory", 4, 2.0 + 1.0),  # four at once, and the last one
        ("tiered", 2, 4 / 3 + 1.0 + 1.0 + 1.0),  # the third and fourth are saved on disk
        ("hdf5", 0, 5.0),
    ):
        prediction = predict(Candidate(StoreAll(5), store, near, 2), costs)
        assert prediction.forward == pytest.approx(expected)
        assert prediction.saves == 4


def test_without_a_thread_every_save_on_disk_is_a_write():
    schedule = Binomial(57, 6)
    prediction = predict(Candidate(schedule, "hdf5", 0, 0), COSTS)
    assert (prediction.writes, prediction.reads) == (prediction.saves, prediction.loads)
    expected = 0.5 * (prediction.saves + prediction.loads) + 10.0 * prediction.writes
    expected += 7.0 * prediction.reads + schedule.slots * (20.0 - 10.0)
    expected += min(schedule.slots, 1) * (0.25 - 0.25)
    assert prediction.snapshots == pytest.approx(expected)


def test_a_long_schedule_is_predicted_from_its_beginning():
    schedule = Binomial(200_000, 50)
    prediction = predict(Candidate(schedule, "memory", schedule.slots, 0), COSTS)
    counts = Counter(type(action).__name__ for action in copy.deepcopy(schedule))
    assert prediction.forward == pytest.approx(schedule.predicted_forward_steps)
    assert prediction.saves == pytest.approx(counts["Save"], rel=0.1)
    assert prediction.loads == pytest.approx(counts["Load"], rel=0.1)


def test_candidates_fit_the_memory_and_the_disk():
    for memory, disk in ((1, 0), (8, 0), (8, 30), (9, 500), (99, 99), (500, 500)):
        for one in candidates(100, memory, {"disk": disk}, 4, COSTS):
            assert one.memory_snapshots <= memory
            assert one.schedule.slots - one.near_slots <= disk
            assert one.schedule.n_steps == 100
    names = {(one.schedule.name, one.store) for one in candidates(100, 20, {"disk": 500}, 4, COSTS)}
    assert names == {
        ("binomial", "memory"),
        ("periodic", "memory"),
        ("store_all", "hdf5"),
        ("binomial", "hdf5"),
        ("multistage", "tiered"),
        ("two_level", "tiered"),
    }
    found = candidates(100, 99, {"disk": 0}, 4, COSTS)
    assert [(one.schedule.name, one.store) for one in found] == [
        ("binomial", "memory"),
        ("store_all", "memory"),
    ]


@pytest.mark.parametrize("buffers", [2, 3, 5])
@pytest.mark.parametrize("make", [lambda: Binomial(60, 9), lambda: StoreAll(30)])
def test_buffers_hold_what_the_schedule_loads(make, buffers):
    """Follow every order with values in place of snapshots."""
    residency, disk, memory = Residency(buffers), {}, {}

    def carry_out(orders):
        for move, slot, buffer in orders:
            if move is Move.WRITE:
                disk[slot] = memory[buffer]
            else:
                memory[buffer] = disk[slot]

    for action in make():
        if isinstance(action, Save):
            buffer, orders = residency.save(action.slot, action.step)
            carry_out(orders)
            memory[buffer] = action.step
            carry_out(residency.settle())
        elif isinstance(action, Load):
            buffer, orders = residency.load(action.slot)
            carry_out(orders)
            assert memory[buffer] == action.step
            carry_out(residency.settle())
            if action.free:
                residency.free(action.slot)
                carry_out(residency.settle())
        assert len(memory) <= buffers
    assert residency.held == {}
    assert residency.reads_waited <= residency.reads <= residency.writes + residency.reads_waited


def test_more_buffers_spare_more_writes():
    def writes(buffers: int) -> int:
        schedule = Binomial(1000, 10)
        return predict(Candidate(schedule, "hdf5", 0, buffers), COSTS).writes

    found = [writes(buffers) for buffers in (0, 2, 4, 6, 10)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 714
    assert found[3] < 100
    assert found[-1] <= 1


def fused_actions(schedule: Schedule) -> Iterator[FusedAction]:
    return fused(copy.deepcopy(schedule), Limits(), lambda slot: True)


def test_a_traced_schedule_shows_every_step_and_snapshot():
    for schedule in (Binomial(40, 5), TwoLevel(40, 3, 4), Multistage(40, 2, 3)):
        found = trace(schedule)
        actions = list(copy.deepcopy(schedule))
        assert found.duration == schedule.predicted_forward_steps + 40
        for lines, steps in (
            (found.forward, schedule.predicted_forward_steps),
            (found.reverse, 40),
        ):
            lengths = [abs(step1 - step0) for (step0, _), (step1, _) in lines]
            assert lengths == [until - since for (_, since), (_, until) in lines]
            assert sum(lengths) == steps
        runs = sum(isinstance(action, ReverseLoading) for action in fused_actions(schedule))
        assert 1 <= runs < len(found.reverse) < 40
        saves = [action for action in actions if isinstance(action, Save)]
        assert len(found.near) + len(found.far) == len(saves)
        assert len(found.far) == sum(action.slot >= schedule.memory_slots for action in saves)
        for (step0, since), (step1, until) in found.near + found.far:
            assert step0 == step1
            assert since < until


def test_a_schedule_of_thousands_of_steps_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    for schedule, name in ((TwoLevel(3000, 12, 30), "plan.png"), (Binomial(50, 4), "plan.pdf")):
        assert draw_schedule(schedule, tmp_path / name)
        assert 5_000 < (tmp_path / name).stat().st_size < 1_000_000


def run(*arguments: Any) -> None:
    with pytest.raises(SystemExit) as ending:
        main([str(argument) for argument in arguments])
    assert ending.value.code == 0


def test_plan_prints_its_table_and_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture, summary = tmp_path / "plan.png", tmp_path / "plan.json"
    run("plan", *SMALL, "-o", tmp_path, "--json", summary, "--draw", picture)
    printed = capsys.readouterr().out
    assert "store_all" in printed
    assert "hdf5" in printed
    found = json.loads(summary.read_text())
    seconds = [option["seconds"] for option in found["options"]]
    assert seconds == sorted(seconds)
    assert all(second > 0 for second in seconds)
    assert ("binomial", "memory", 11) in [
        (option["schedule"], option["store"], option["snapshots"]) for option in found["options"]
    ]
    assert picture.stat().st_size > 5000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "plan.png"]


def test_auto_takes_the_predicted_best_within_the_memory(tmp_path, capsys):
    snapshot = 2 * 9 * 7 * 8
    summary = tmp_path / "summary.json"
    memory = f"snapshots.memory={5 * snapshot} B"
    auto = ("-s", "checkpointing.schedule=auto", "-s", memory, "-s", "snapshots.buffers=2")
    run(*SMALL, *auto, "-o", tmp_path / "run", "--json", summary)
    found = json.loads(summary.read_text())
    best = found["plan"]["options"][0]
    assert found["schedule"]["name"] == best["schedule"]
    assert found["schedule"]["store"] == best["store"]
    assert found["snapshot_bytes"] <= 5 * snapshot
    assert found["plan"]["predicted_seconds"] == best["seconds"]
    assert "s predicted," in capsys.readouterr().out
    plain = tmp_path / "plain.json"
    run(*SMALL, "-o", tmp_path / "plain", "--json", plain)
    assert json.loads(plain.read_text())["digest"] == found["digest"]


def test_dumps_hold_the_fields_of_every_kth_step(tmp_path, capsys):
    run(*SMALL, "-s", "output.every=5", "-o", tmp_path)
    names = sorted(path.name for path in (tmp_path / "dumps").glob("*.h5"))
    assert names == ["step-00.h5", "step-05.h5", "step-10.h5"]
    dump = tmp_path / "dumps" / "step-00.h5"
    with h5py.File(tmp_path / "results.h5") as results, h5py.File(dump) as first:
        for name in "uv":
            np.testing.assert_array_equal(first["primal"][name], results["state/initial"][name])
            np.testing.assert_array_equal(
                first["cotangent"][name], results["gradient/initial"][name]
            )
        assert (first["step"][()], first["time"][()]) == (0, 0.0)
        assert first["primal/u"].dims[0].keys() == ["y"]
    config = from_dict({"grid": {"nx": 9, "ny": 7}, "time": {"steps": 12}})
    problem = Problem(config, MPI.COMM_SELF)
    state = problem.case.model.initial_state(problem.case.fields)
    problem.case.model.advance(state, 0, 10)
    with h5py.File(tmp_path / "dumps" / "step-10.h5") as dump:
        np.testing.assert_array_equal(
            dump["primal/v"], problem.case.model.layout.interior(state)[1]
        )
        assert dump["time"][()] == pytest.approx(0.01)
    problem.close()
