"""More snapshots in the memory that a codec frees; "auto" with codecs; stores encoded in part."""

from pathlib import Path
from typing import Any

import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.encoding import encoded_part
from burgers_adjoint.assembly.learned import write
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.planning import checkpointing
from burgers_adjoint.planning.encoded import Encoded, encoded_options
from burgers_adjoint.planning.plan import Plan
from burgers_adjoint.problem import Problem
from tests.unit.learned_cases import autoencoder
from tests.unit.test_planner import COSTS

PROBLEM: dict[str, dict[str, Any]] = {
    "grid": {"nx": 44, "ny": 31, "x": [-1, 2], "y": [-1.5, 3]},
    "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
    "time": {"dt": 0.002, "steps": 200},
}
ONE = 2 * 44 * 31 * 8


def digest(problem: Problem) -> str:
    _, gradient = problem.value_and_gradient()
    return problem.case.digest(problem.case.model.final, gradient)


def test_what_a_codec_frees_goes_to_more_snapshots() -> None:
    numbers, digests = {}, set()
    for snapshots in ({}, {"codec": "lossless"}, {"codec": "bounded", "tolerance": 1e-6}):
        sections = {
            **PROBLEM,
            "checkpointing": {"snapshots": "as many as fit"},
            "snapshots": {**snapshots, "memory": f"{12 * ONE} B"},
        }
        with Problem(sections, MPI.COMM_SELF) as problem:
            found = digest(problem)
            schedule = problem.checkpointing.schedule()
            name = str(snapshots.get("codec", "none"))
            numbers[name] = schedule.snapshots
            if name != "bounded":
                digests.add(found)
            assert problem._store.nbytes <= 12 * ONE * 1.4
    assert len(digests) == 1
    assert 5 <= numbers["none"] <= 12
    assert numbers["lossless"] >= 8  # on so coarse a grid it packs little
    assert numbers["bounded"] > 2.5 * numbers["none"]


@pytest.mark.parametrize("codec", ["none", "lossless"])
def test_memory_for_no_snapshot_is_said(codec: str) -> None:
    sections = {
        **PROBLEM,
        "checkpointing": {"snapshots": "as many as fit"},
        "snapshots": {"memory": "9 kB", "codec": codec},
    }
    with (
        Problem(sections, MPI.COMM_SELF) as problem,
        pytest.raises(ConfigError, match=r"= '9 kB' is 9000 bytes per rank: one snapshot takes"),
    ):
        problem.value_and_gradient()


def test_as_many_as_fit_is_for_memory() -> None:
    with pytest.raises(ConfigError, match=r'"as many as fit": expected a number, as snap.*"hdf5"'):
        from_dict(
            {"checkpointing": {"snapshots": "as many as fit"}, "snapshots": {"store": "hdf5"}}
        )


@pytest.mark.parametrize("schedule", ["two_level", "multistage"])
def test_snapshots_of_the_far_tier_alone_are_encoded(schedule: str) -> None:
    digests = set()
    for codec in ("none", "lossless"):
        section = {"schedule": schedule, "snapshots": 3, "snapshots_on_disk": 7}
        sections = {**PROBLEM, "checkpointing": section, "snapshots": {"codec": codec}}
        with Problem(sections, MPI.COMM_SELF) as problem:
            digests.add(digest(problem))
            part = encoded_part(problem._store)
            assert (part is None) == (codec == "none")
    assert len(digests) == 1
    assert part is not None
    assert 7 <= part.compression.saves < problem.checkpointing.schedule().snapshots_on_disk * 20


def planned(encode: float, ratio: float, memory_slots: int = 6, n_steps: int = 400) -> Any:
    plan = Plan([], COSTS, 1000, memory_slots, 0, "")
    taken = Encoded(ratio, int(1000 / ratio), encode, encode / 4)
    return encoded_options(plan, taken, n_steps, "lossless")


def test_options_keep_to_the_memory_and_are_ordered() -> None:
    options = planned(encode=COSTS.of_advance(1), ratio=10)
    assert {one.candidate.schedule.name for one in options} == {
        "binomial", "multistage", "two_level",
    }  # fmt: skip
    assert all(one.memory_bytes <= 6000 for one in options)
    assert all(one.candidate.codec == "lossless" for one in options)
    seconds = [one.prediction.seconds for one in options]
    assert seconds == sorted(seconds)


def test_a_slow_codec_is_used_for_few_snapshots() -> None:
    quick, slow = (
        planned(encode=share * COSTS.of_advance(1), ratio=20)[0] for share in (0.01, 300)
    )
    assert slow.prediction.saves < quick.prediction.saves or slow.candidate.near_slots > 0
    assert slow.prediction.seconds > quick.prediction.seconds


@pytest.mark.parametrize(("seconds", "codec"), [(0.0, "lossless"), (10.0, "none")])
def test_auto_takes_a_codec_where_it_is_worth_it(
    seconds: float, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As fast, or as slow, as said; what it takes is real."""
    taken = Encoded(1.2, int(ONE / 1.2), seconds, seconds)
    monkeypatch.setattr(checkpointing, "encoded", lambda *args, **more: taken)
    sections = {
        **PROBLEM,
        "checkpointing": {"schedule": "auto"},
        "snapshots": {"memory": f"{9 * ONE} B", "directory": "/proc"},
    }
    with Problem(sections, MPI.COMM_SELF) as problem:
        plan = problem.checkpointing.plan
        assert plan.best.candidate.codec == codec
        assert [one.candidate.codec for one in plan.options].count("none") > 0
        found = digest(problem)
        assert (encoded_part(problem._store) is None) == (codec == "none")
    with Problem(PROBLEM, MPI.COMM_SELF) as problem:
        assert digest(problem) == found


def test_auto_takes_no_lossy_codec_unless_it_may(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    learned = str(tmp_path / "codec.h5")
    write(learned, autoencoder(), {})
    taken = Encoded(50.0, ONE // 50, 0.0, 0.0)
    monkeypatch.setattr(checkpointing, "encoded", lambda *args, **more: taken)
    codecs = []
    wanted: dict[str, Any]
    for wanted in (
        {}, {"gradient_error": 1e-4}, {"gradient_error": 1e-4, "learned": learned},
        {"learned": learned},
    ):  # fmt: skip
        sections = {
            **PROBLEM,
            "checkpointing": {"schedule": "auto"},
            "snapshots": {"memory": f"{9 * ONE} B", "directory": "/proc", **wanted},
        }
        with Problem(sections, MPI.COMM_SELF) as problem:
            options = problem.checkpointing.plan.options
            codecs.append({one.candidate.codec for one in options})
    lossy = {"none", "lossless", "quantised", "bounded"}
    assert codecs == [{"none", "lossless"}, lossy, lossy | {"learned"}, {"none", "lossless"}]


def test_a_learned_codec_that_is_not_there_is_said_by_auto(tmp_path: Path) -> None:
    sections: dict[str, Any] = {
        **PROBLEM,
        "checkpointing": {"schedule": "auto"},
        "snapshots": {
            "memory": f"{9 * ONE} B", "gradient_error": 1e-4, "learned": str(tmp_path / "none.h5"),
        },
    }  # fmt: skip
    with (
        Problem(sections, MPI.COMM_SELF) as problem,
        pytest.raises(ConfigError, match=r"snapshots\.learned = .*none\.h5"),
    ):
        problem.value_and_gradient()
