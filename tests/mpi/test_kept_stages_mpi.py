"""Stage states that snapshots keep: the bits are those of stages computed anew, with less work."""

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.problem import Problem

COMM = MPI.COMM_WORLD
STEPS = 9
STAGES = {"euler": 1, "ssprk3": 3, "rk4": 4}


def problem(comm: MPI.Comm, integrator: str, stages: str, **sections: Any) -> Problem:
    time = {"dt": 0.02, "steps": STEPS, "integrator": integrator, "stages": stages}
    data: dict[str, Any] = {
        "grid": {"nx": 14, "ny": 13, "x": [-1, 2], "y": [-1.5, 3]},
        "physics": {"viscosity": 0.05, "advection": "upwind", "smooth_speed": 0.1},
        "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
        "objective": {"kind": "running_energy"},
        "gradient": {"controls": ["initial", "viscosity", "forcing_in_time", "boundary"]},
        "controls": {"knots": [0.0, 0.05, 0.12]},
        **sections,
        "time": time | sections.get("time", {}),
    }
    return Problem(from_dict(data), comm)


def reversed_by(one: Problem) -> tuple[str, Any]:
    """Digest and counts."""
    planned = one.checkpointing.schedule()
    with closed_at_end(one.checkpointing.store(planned)) as store:
        result = reverse(one.case, planned, store)
    return one.case.digest(result.final, result.gradient), result.counts


@pytest.mark.parametrize(
    ("integrator", "schedule", "store"),
    [
        ("euler", {"schedule": "binomial", "snapshots": 3}, "memory"),
        ("rk4", {"schedule": "store_all"}, "memory"),
        ("rk4", {"schedule": "binomial", "snapshots": 3}, "memory"),
        ("ssprk3", {"schedule": "binomial", "snapshots": 3}, "hdf5"),
        ("rk4", {"schedule": "two_level", "snapshots": 2, "snapshots_on_disk": 3}, "tiered"),
        ("ssprk3", {"schedule": "online", "snapshots": 3}, "memory"),
    ],
    ids=lambda value: value["schedule"] if isinstance(value, dict) else value,
)
def test_kept_stages_give_the_bits_of_those_computed_anew(
    integrator: str, schedule: dict[str, Any], store: str, tmp_path_factory
) -> None:
    folder = COMM.bcast(tmp_path_factory.mktemp("kept") if COMM.rank == 0 else None, root=0)
    time = {"cfl": 0.4, "until": 0.2} if schedule["schedule"] == "online" else {}
    objective = {"kind": "final_energy" if time else "running_energy"}
    snapshots = {"store": store, "directory": str(folder)}
    sections = {"checkpointing": schedule, "snapshots": snapshots, "time": time}
    sections["objective"] = objective
    kept = problem(COMM, integrator, "keep", **sections)
    anew = problem(MPI.COMM_SELF, integrator, "recompute", time=time, objective=objective,
                   checkpointing={"schedule": "online" if time else "store_all"})  # fmt: skip
    found, counts = reversed_by(kept)
    expected, counts_anew = reversed_by(anew)
    assert found == expected
    n_stages = STAGES[integrator]
    assert counts_anew.kept_steps == 0
    assert kept.case.model.new_snapshot().nbytes == n_stages * kept.case.model.final.nbytes
    anew_steps = counts.reverse_steps - counts.kept_steps
    if n_stages == 1:
        assert counts.kept_steps == 0
    elif schedule["schedule"] == "store_all":
        assert anew_steps == 0
    else:
        assert 0 < anew_steps < counts.reverse_steps
    kept.close()
    anew.close()


def test_a_damaged_snapshot_is_computed_anew_with_its_stages() -> None:
    one = problem(COMM, "rk4", "keep", checkpointing={"schedule": "binomial", "snapshots": 3})
    expected, _ = reversed_by(one)
    planned = one.checkpointing.schedule()
    with closed_at_end(one.checkpointing.store(planned)) as store:
        load, damaged = store.load, []

        def damaging(slot: int, step: int, read: Any) -> None:
            if step and step not in damaged:
                damaged.append(step)
                raise SnapshotError(f"damaged: step {step}")
            load(slot, step, read)

        store.load = damaging  # type: ignore[method-assign]
        result = reverse(one.case, planned, store)
    assert 0 < result.counts.damaged <= len(damaged)
    assert one.case.digest(result.final, result.gradient) == expected
    one.close()


def test_what_is_at_hand_is_forgotten_when_anything_changes() -> None:
    """Another state, a new viscosity and other steps leave nothing stale."""
    one = problem(COMM, "ssprk3", "keep")
    model, fields = one.case.model, one.case.fields
    state = model.initial_state(fields)
    with pytest.raises(ValueError, match="needs a `keep` of its step before"):
        model.snapshot(state, model.new_snapshot())
    model.keep(state, 0)
    with_stages = model.new_snapshot()
    model.snapshot(state, with_stages)
    expected = model.new_state()
    model.advance_from(state, expected, 0, 1)
    for change in (
        lambda: model.restart(state, fields),
        lambda: one.case.inputs.set("viscosity", 0.05),
        lambda: model.advance_from(state, model.new_state(), 0, 1),
        lambda: one.case.inputs.set("forcing_in_time", one.case.inputs.value("forcing_in_time")),
    ):
        model.restore(with_stages, state)
        assert model.kept
        change()
        assert not model.kept
        model.advance(state, 0, 1)
        np.testing.assert_array_equal(model.layout.interior(state), model.layout.interior(expected))
        model.restart(state, fields)
    one.close()
