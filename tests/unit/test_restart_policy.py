import json
import math
import os
import signal
import stat
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burgers_adjoint.restart import deadline as deadlines
from burgers_adjoint.restart.choice import thinned, worth_saving
from burgers_adjoint.restart.deadline import Deadline, ask
from burgers_adjoint.restart.policy import SEEN, Pace, Policy, daly_interval
from burgers_adjoint.restart.progress import note_stop, way_out
from burgers_adjoint.restart.signals import StopSignals


def simulate(
    policy: Policy, seconds: float, stall: float, excess: float, start: float = 0.0
) -> float:
    """Let saves cost `stall` and `excess`, and last a second; returns the share of the time."""
    now, spent = start, 0.0
    while now < start + seconds:
        if policy.due(now):
            policy.begun(now)
            policy.ended(now + 1.0, stall, excess)
            spent += stall + excess
        now += 0.1
    return spent / seconds


@pytest.mark.parametrize("first_cost", [0.001, 0.1, 10.0])
def test_saves_cost_at_most_their_share_and_not_much_less(first_cost: float) -> None:
    policy = Policy(0.035, None, first_cost, 0.0)
    share = simulate(policy, 2000.0, 0.05, 0.05)
    assert share <= SEEN * 0.035
    assert share >= SEEN * 0.02
    assert policy.predicted_overhead == pytest.approx(0.035)
    assert policy.interval == pytest.approx(0.1 / SEEN / 0.035)


def test_the_interval_follows_the_interference_both_ways() -> None:
    policy = Policy(0.035, None, 0.1, 0.0)
    simulate(policy, 500.0, 0.05, 0.05)
    quiet = policy.interval
    assert simulate(policy, 1000.0, 0.05, 0.5, start=500.0) <= 0.036
    busy = policy.interval
    assert busy > 4 * quiet
    simulate(policy, 1000.0, 0.05, 0.05, start=1500.0)
    assert policy.interval == pytest.approx(quiet, rel=0.1)


def test_an_interval_is_never_shorter_than_two_saves_take() -> None:
    policy = Policy(0.035, None, 1e-6, 0.0)
    policy.begun(10.0)
    policy.ended(30.0, 1e-6, 0.0)
    assert policy.interval == 40.0


def test_failing_saves_become_rare_and_a_good_one_ends_that() -> None:
    policy = Policy(0.035, None, SEEN * 0.035, 0.0)
    assert policy.interval == pytest.approx(1.0)
    policy.failed()
    policy.failed()
    assert policy.interval == pytest.approx(4.0)
    policy.begun(10.0)
    policy.ended(10.1, SEEN * 0.035, 0.0)
    assert policy.interval == pytest.approx(1.0)


def test_noise_costs_neither_less_than_nothing_nor_more_than_the_time() -> None:
    policy = Policy(0.035, None, 1.0, 0.0)
    policy.begun(0.0)
    policy.ended(2.0, 0.5, -7.0)
    assert policy.spent == 0.5
    policy.begun(10.0)
    policy.ended(12.0, 0.5, 70.0)
    assert policy.spent == 0.5 + 0.5 + 2.0


def test_a_failure_rate_gives_the_interval_that_loses_least() -> None:
    cost, mtbf = 2.0, 3600.0
    policy = Policy(0.035, mtbf, cost, 0.0)
    best = policy.interval

    def lost(interval: float) -> float:
        # Daly's model: time lost to saves and to failures, exponentially distributed.
        return mtbf * (math.exp((interval + cost) / mtbf) - 1) / interval

    assert lost(best) <= min(lost(0.95 * best), lost(1.05 * best))
    assert best == pytest.approx(math.sqrt(2 * cost * mtbf), rel=0.05)
    assert daly_interval(10.0, 1.0) == 1.0


def test_pace_tells_steps_that_writing_slowed_down() -> None:
    pace = Pace()

    def counts(forward: float, seconds: float) -> dict[str, float]:
        done = {"forward_steps": forward, "seconds_forward": seconds}
        return {**done, "reverse_steps": 10.0, "seconds_adjoint": 1.0}

    pace.measure(counts(0, 0.0), False)
    pace.measure(counts(100, 1.0), False)
    pace.measure(counts(200, 2.5), True)
    assert pace.take_excess() == pytest.approx(0.5)
    assert pace.take_excess() == 0.0
    assert pace.steps_worth(0.25) == 25
    assert Pace().steps_worth(5.0) == 1


@given(
    st.sets(st.integers(0, 200)),
    st.sets(st.integers(0, 200)),
    st.integers(0, 220),
    st.integers(0, 5),
    st.integers(1, 20),
)
def test_snapshots_worth_saving(
    live: set[int], saved: set[int], end: int, most: int, least_gap: int
) -> None:
    chosen = worth_saving(live, saved, end, most, least_gap)
    assert len(chosen) <= most
    assert len(set(chosen)) == len(chosen)
    have = (live & saved) | {0, end}
    for step in chosen:
        assert step in live - saved
        assert 0 < step < end
        assert min(abs(step - other) for other in have) >= least_gap
        have.add(step)


def test_the_first_to_be_saved_halves_the_longest_way() -> None:
    assert worth_saving({0, 100, 200, 300}, set(), 400, 2, 1) == [200, 100]
    assert worth_saving({0, 100, 200, 300}, {200}, 400, 9, 1) == [100, 300]
    assert worth_saving({0, 398, 399}, set(), 400, 9, 5) == []


@given(st.sets(st.integers(1, 300)), st.integers(0, 12))
def test_thinning_keeps_as_many_as_may_be(steps: set[int], most: int) -> None:
    left = thinned(sorted(steps), most)
    assert left == sorted(left)
    assert set(left) <= steps
    assert len(left) == min(most, len(steps))


def test_the_deadline_is_told_by_the_configuration_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "squeue", "echo 10")
    age = time.time() - psutil.Process().create_time()
    left = Deadline(1e6, {"SLURM_JOB_ID": "5"}).seconds_left()
    assert left + age == pytest.approx(1e6, abs=30)
    assert not (tmp_path / "arguments").exists()
    assert Deadline(None, {}).seconds_left() == math.inf


def test_the_deadline_does_not_move_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline(1e6, {})
    before = deadline.seconds_left()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert deadline.seconds_left() == pytest.approx(before, abs=30)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [("59", 59), ("5:00", 300), ("1:02:03", 3723), ("2-01:00:00", 176400), ("UNLIMITED", math.inf)],
)
def test_slurm_is_asked_for_the_time_left(tmp_path, monkeypatch, answer, seconds) -> None:
    stand_in(tmp_path, monkeypatch, "squeue", f"echo {answer}")
    assert ask({"SLURM_JOB_ID": "7"}) == seconds
    assert (tmp_path / "arguments").read_text() == "-h -j 7 -o %L\n"


def test_newer_slurms_leave_the_end_in_the_environment() -> None:
    end = {"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": str(time.time() + 1e6)}
    assert ask(end) == pytest.approx(1e6, abs=30)


@pytest.mark.parametrize("answer", ["", "{}", '{"Jobs": {}}', '{"Jobs": {"1": {}}}'])
def test_an_unclear_answer_of_pbs_is_no_deadline(tmp_path, monkeypatch, answer) -> None:
    stand_in(tmp_path, monkeypatch, "qstat", f"echo '{answer}'")
    with pytest.raises((ValueError, KeyError)):
        ask({"PBS_JOBID": "1.server"})


def test_a_server_that_is_away_at_first_is_asked_again(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(deadlines, "FIRST_RETRY_SECONDS", 0.01)
    job = {"stime": "Sat Nov 21 09:00:00 2099", "Resource_List": {"walltime": "01:02:03"}}
    answer = json.dumps({"Jobs": {"1.server": job}})
    stand_in(
        tmp_path, monkeypatch, "qstat",
        f"echo >>{tmp_path}/asked\n[ $(wc -l <{tmp_path}/asked) -gt 4 ] || exit 111\n"
        f"echo '{answer}'",
    )  # fmt: skip
    deadline = Deadline(None, {"PBS_JOBID": "1.server"})
    assert deadline.seconds_left() == math.inf
    while deadline.seconds_left() == math.inf:
        time.sleep(0.01)
    assert caplog.text.count("cannot find out when this job ends") == 1
    assert "restart.walltime" in caplog.text


JOB_END = time.mktime((2026, 11, 21, 9, 0, 0, 0, 0, -1)) + 3600 + 2 * 60 + 3


def test_pbs_is_asked_for_the_deadline(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"stime": "Sat Nov 21 09:00:00 2026", "Resource_List": {"walltime": "01:02:03"}}
    answer = json.dumps({"Jobs": {"1.server.domain": job}})
    stand_in(tmp_path, monkeypatch, "qstat", f"echo '{answer}'")
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert ask({"PBS_JOBID": "1.server"}) == JOB_END - 1000
    assert (tmp_path / "arguments").read_text() == "-f -F json 1.server\n"


def test_pbs_is_asked_in_text_where_its_json_is_none(tmp_path, monkeypatch) -> None:
    text = "    stime = Sat Nov 21 09:00:00 2026\n    Resource_List.walltime = 01:\n\t02:03\n"
    stand_in(tmp_path, monkeypatch, "qstat", f"echo '{text}'")
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert ask({"PBS_JOBID": "1"}) == JOB_END - 1000


def test_notes_of_a_stop_and_of_what_it_took(tmp_path) -> None:
    assert way_out(tmp_path) is None
    (tmp_path / "way-out").write_text("2.75\n")
    assert way_out(tmp_path) == 2.75
    (tmp_path / "way-out").write_text("soon")
    assert way_out(tmp_path) is None
    note_stop(tmp_path, "SIGTERM")
    why, when = (tmp_path / "stopped").read_text().split()
    assert why == "SIGTERM"
    assert int(when) == pytest.approx(time.time(), abs=30)
    note_stop(tmp_path, None)
    assert not (tmp_path / "stopped").exists()


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "$@" >{folder}/arguments\n{script}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_signals_are_noted_and_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGUSR1"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_interrupt_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert signals.received == "SIGINT"
        now += 5.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_interrupts_that_are_ignored_stay_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGINT)
            assert signals.received is None
    finally:
        signal.signal(signal.SIGINT, before)
