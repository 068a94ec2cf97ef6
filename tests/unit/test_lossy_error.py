"""The estimate of a lossy gradient's error, against the error."""

import itertools
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.lossy_error import LossyError
from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.assembly.variants import exactly
from burgers_adjoint.checking.checked import checked
from burgers_adjoint.commands import gradient
from burgers_adjoint.config import from_dict
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.tables import lossy_rows, summary_rows
from burgers_adjoint.planning import checkpointing
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.problem import Problem
from burgers_adjoint.snapshots.codecs import codec

PROBLEMS: dict[str, dict[str, dict[str, Any]]] = {
    "euler": {
        "grid": {"nx": 44, "ny": 31, "x": [-1, 2], "y": [-1.5, 3]},
        "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
        "time": {"dt": 0.002, "steps": 160},
    },
    "rk4, upwind, steep": {
        "grid": {"nx": 48, "ny": 37, "x": [-1, 2], "y": [-1.5, 1]},
        "physics": {"viscosity": 0.002, "advection": "upwind"},
        "initial": {"center": [0.2, -0.1], "width": [0.5, 0.4], "amplitude": [0.9, -0.7]},
        "time": {"dt": 0.008, "steps": 96, "integrator": "rk4"},
    },
    "periodic, integral": {
        "grid": {"nx": 30, "ny": 41, "x": [0, 4], "y": [0, 5], "boundary": "periodic"},
        "physics": {"viscosity": 0.03},
        "initial": {"kind": "sines", "amplitude": [1.0, 0.6]},
        "objective": {"kind": "running_energy"},
        "time": {"dt": 0.006, "steps": 120},
    },
}
CODECS: tuple[dict[str, Any], ...] = (
    {"codec": "bounded", "tolerance": 1e-4},
    {"codec": "bounded", "tolerance": 1e-7},
    {"codec": "quantised", "tolerance": 1e-4},
    {"codec": "quantised", "tolerance": 1e-7},
    {"codec": "float32"},
)
SCHEDULES: tuple[dict[str, Any], ...] = (
    {"schedule": "store_all"},
    {"schedule": "binomial", "snapshots": 12},
)


def test_the_estimate_is_within_a_factor_of_three_nine_times_in_ten() -> None:
    ratios = []
    for sections in PROBLEMS.values():
        with Problem(sections, MPI.COMM_SELF) as problem:
            exact = problem.value_and_gradient()[1]["initial"]
        for snapshots, schedule_keys in itertools.product(CODECS, SCHEDULES):
            config = {**sections, "snapshots": snapshots, "checkpointing": schedule_keys}
            with Problem(config, MPI.COMM_SELF) as problem:
                schedule = problem.checkpointing.schedule()
                watch = LossyError(problem.case, lambda action, counts: None)
                with closed_at_end(problem.checkpointing.store(schedule)) as store:
                    found = reverse(problem.case, schedule, store, watch, watch.follow)
                before = found.gradient["initial"].copy()
                estimate = watch.estimate()
                np.testing.assert_array_equal(found.gradient["initial"], before)
            assert estimate is not None
            error = np.linalg.norm(before - exact) / np.linalg.norm(exact)
            ratios.append(estimate / error)
    good = [1 / 3 < ratio < 3 for ratio in ratios]
    assert np.mean(good) >= 0.9, sorted(ratios)


def test_there_is_no_error_where_all_is_stored_losslessly() -> None:
    snapshots = {"codec": "bounded", "tolerance": 1e-30, "tolerance_kind": "absolute"}
    with Problem({**PROBLEMS["euler"], "snapshots": snapshots}, MPI.COMM_SELF) as problem:
        schedule = problem.checkpointing.schedule()
        watch = LossyError(problem.case, lambda action, counts: None)
        with closed_at_end(problem.checkpointing.store(schedule)) as store:
            reverse(problem.case, schedule, store, watch, watch.follow)
        assert watch.estimate() == 0.0


def test_the_summary_says_what_is_lossy(tmp_path: Any) -> None:
    sections = {
        **PROBLEMS["euler"],
        "output": {"directory": str(tmp_path), "plots": False},
        "snapshots": {"codec": "bounded", "tolerance": 1e-5, "tolerance_kind": "absolute"},
    }
    summary = gradient.gradient(from_dict(sections), MPI.COMM_SELF, Progress(False))
    packed = summary.compression
    assert packed
    assert packed.ratio == packed.raw_bytes / packed.packed_bytes > 3
    assert (packed.codec, packed.lossless, packed.instead) == ("bounded", False, [])
    assert packed.gradient_error is not None
    assert summary.schedule is not None
    assert packed.snapshots == summary.schedule.snapshots_written
    words = dict(summary_rows(summary))
    assert "errors up to 1e-05;" in words["codec"]
    assert words["bits"].startswith("of the gradient: of these ranks, this schedule and store")
    assert "of its norm, estimated" in words["gradient error"]


def test_snapshots_that_a_codec_cannot_take_are_in_the_summary(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "LEAST", 1e-3)
    sections = {
        **PROBLEMS["euler"],
        "time": {"dt": 0.002, "steps": 12},
        "checkpointing": {"schedule": "store_all"},
        "output": {"directory": str(tmp_path), "plots": False},
        "snapshots": {"codec": "bounded", "tolerance": 1e-4, "tolerance_kind": "absolute"},
    }
    summary = gradient.gradient(from_dict(sections), MPI.COMM_SELF, Progress(False))
    assert summary.compression
    assert len(summary.compression.instead) == 11
    words = dict(summary_rows(summary))
    assert words["stored losslessly"].startswith(
        "11 steps instead; step 0: no error can be bounded by 0.0001"
    )
    sections["snapshots"] = {}
    plain = gradient.gradient(from_dict(sections), MPI.COMM_SELF, Progress(False))
    assert plain.digest == summary.digest
    assert not plain.compression


@pytest.mark.parametrize("snapshots", [CODECS[0], CODECS[2], CODECS[4]], ids=str)
def test_check_compares_the_lossy_gradient_with_the_exact_one(snapshots: dict[str, Any]) -> None:
    sections = {
        **PROBLEMS["euler"],
        "time": {"dt": 0.002, "steps": 24},
        "checkpointing": {"snapshots": 8},
        "snapshots": snapshots,
    }
    with Problem(sections, MPI.COMM_SELF) as problem:
        found, _ = checked(problem.case, problem.checkpointing, Progress(False))
        plain = Checkpointing(exactly(problem.case))
        assert plain.stores.encoding is None
    assert found.passed
    assert any("the same bits" in reason for reason in found.left_out)
    exact, *lossy = found.lossy
    assert (exact.codec, exact.gradient_error, exact.ratio) == ("none", 0.0, 1.0)
    errors = [row.gradient_error for row in lossy]
    if "tolerance" in snapshots:
        assert [row.tolerance for row in lossy] == pytest.approx([1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
        assert errors == sorted(errors, reverse=True)
        names = [check.name for check in found.checks]
        assert "order of the gradient's error, lossy" in names
    else:
        assert [row.tolerance for row in lossy] == [None]
        assert 0 < errors[0] < 1e-7
    assert all(row.memory_bytes < exact.memory_bytes for row in lossy)
    assert next(iter(lossy_rows(found.lossy)))[:2] == ("none", "")


def gradients(sections: dict[str, Any], wanted: float) -> tuple[float, float]:
    """The error of a gradient that is to be within one, and the tolerance that was found."""
    with Problem(sections, MPI.COMM_SELF) as problem:
        exact = problem.value_and_gradient()[1]["initial"]
    snapshots = {"codec": "bounded", "gradient_error": wanted}
    lossy = {**sections, "snapshots": snapshots, "checkpointing": {"snapshots": 7}}
    with Problem(lossy, MPI.COMM_SELF) as problem:
        found = problem.value_and_gradient()[1]["initial"]
        encoding = problem.checkpointing.stores.encoding
        assert encoding is not None
        assert encoding.tolerance is not None
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact)), encoding.tolerance


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("wanted", [1e-3, 1e-7])
def test_a_wanted_gradient_error_finds_the_tolerance(name: str, wanted: float) -> None:
    error, tolerance = gradients(PROBLEMS[name], wanted)
    # within it, and no more careful than the estimate makes one
    assert wanted / 50 < error < wanted
    assert 0.01 * wanted < tolerance < 100 * wanted


def test_a_gradient_beyond_the_wanted_error_is_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def careless(case: Any, encoding: Any, wanted: float, snapshots: int) -> None:
        encoding.tolerance = 100 * wanted

    monkeypatch.setattr(checkpointing, "piloted", careless)
    error, tolerance = gradients(PROBLEMS["euler"], 1e-5)
    assert 1e-7 < error < 1e-5
    assert tolerance < 1e-4


def test_a_search_finds_the_same_misfit_in_a_quarter_of_the_memory() -> None:
    pytest.importorskip("petsc4py")
    twin: dict[str, dict[str, Any]] = {
        "grid": {"nx": 40, "ny": 34, "x": [-4.95, 4.95], "y": [-4.95, 4.95]},
        "physics": {"viscosity": 0.02},
        "initial": {"center": [0.4, -0.3], "width": [1.9, 1.5], "amplitude": [0.7, 0.8]},
        "truth": {
            "twin": True, "center": [0, 0.2], "width": [1.5, 1.2], "amplitude": [1, -0.6],
            "viscosity": 0.02,
        },
        "time": {"dt": 0.02, "steps": 80},
        "objective": {"kind": "misfit"},
        "observations": {"count": 6},
        "gradient": {"controls": ["initial"]},
        "background": {"smoothness": {"initial": 1e4}},
        "checkpointing": {"snapshots": 20},
    }  # fmt: skip
    found = []
    for snapshots in ({}, {"codec": "bounded", "tolerance": 1e-4}):
        with Problem({**twin, "snapshots": snapshots}, MPI.COMM_SELF) as problem:
            optimum = problem.optimize()
            assert optimum.converged
            found.append((optimum.objective, problem._store.nbytes))
    (exact, whole), (lossy, packed) = found
    assert abs(lossy - exact) < 0.01 * exact
    assert packed < whole / 4
