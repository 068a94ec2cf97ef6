"""The posterior at the same controls has the same bits on all ranks as on one."""

import shutil

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.commands.uncertainty import uncertainty
from burgers_adjoint.config import Config, from_dict
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.parallel.failure import patient_barrier
from burgers_adjoint.problem import Problem

pytest.importorskip("petsc4py")
COMM = MPI.COMM_WORLD


def configured(folder: object, informed: object = "", **section: object) -> Config:
    return from_dict(
        {
            "grid": {"nx": 13, "ny": 11, "x": [-1, 2], "y": [-1.5, 3]},
            "physics": {"viscosity": 0.05},
            "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
            "truth": {"twin": True, "viscosity": 0.06, "amplitude": [0.8, -0.3]},
            "time": {"dt": 0.02, "steps": 9},
            "objective": {"kind": "misfit"},
            "observations": {"count": 3, "kind": "sensors", "sensor_grid": [3, 2], "noise": 0.1},
            "gradient": {"controls": ["initial", "viscosity", "viscosity_field", "boundary"]},
            "controls": {"scale": {"viscosity": 0.02, "viscosity_field": 0.01}},
            "background": {
                "deviation": {"viscosity": 0.02, "boundary": 0.3},
                "initial": {"kind": "matern", "length": 1.5, "deviation": 0.5},
                "viscosity_field": {"kind": "matern", "length": 2.0, "deviation": 0.01},
                "informed": str(informed),
                "informed_above": 0.01,
            },
            "uncertainty": {
                "eigenpairs": 11,
                "oversampling": 4,
                "samples": 2,
                "predict": ["final_energy"],
                "final_state_samples": 11,
                **section,
            },
            "tao": {"gttol": 0.1},
            "output": {"directory": str(folder), "plots": False},
        }
    )


def test_bits_are_those_of_one_rank(tmp_path_factory) -> None:
    base = COMM.bcast(tmp_path_factory.mktemp("posterior") if COMM.rank == 0 else None, root=0)
    optimize(configured(base / "all"), COMM, Progress(shown=False))
    if COMM.rank == 0:
        shutil.copytree(base / "all", base / "alone")
    patient_barrier(COMM)
    summary = uncertainty(configured(base / "all"), COMM, Progress(shown=False))
    assert summary.converged
    assert summary.ranks == COMM.size
    if COMM.rank == 0:
        alone = uncertainty(configured(base / "alone"), MPI.COMM_SELF, Progress(shown=False))
        assert summary.digest == alone.digest
        assert summary.eigenvalues == alone.eigenvalues
        assert summary.deviation == alone.deviation
        assert summary.predicted == alone.predicted
        found: list[dict[str, np.ndarray]] = []
        for name in ("all", "alone"):
            with h5py.File(base / name / "uncertainty.h5") as file:
                values: dict[str, np.ndarray] = {}
                file.visititems(
                    lambda path, item, values=values: (
                        values.update({path: item[()]}) if isinstance(item, h5py.Dataset) else None
                    )
                )
                found.append(values)
        assert found[0].keys() == found[1].keys()
        assert len(found[0]) > 60
        for path, values_of_all in found[0].items():
            np.testing.assert_array_equal(values_of_all, found[1][path], err_msg=path)
    patient_barrier(COMM)
    left_out = configured(base / "some", informed=base / "all" / "uncertainty.h5")
    gradients = []
    for comm in (COMM, MPI.COMM_SELF):
        with Problem(left_out, comm) as problem:
            away = {"viscosity": 0.07, "initial": 1.5 * problem.controls()["initial"]}
            objective, gradient = problem.value_and_gradient(away)
            background = problem.case.objective.parts["background"]
            assert background > 0.0
            gradients.append((objective, background, problem.case.digest(np.zeros(0), gradient)))
    assert gradients[0] == gradients[1]


def test_what_has_no_posterior_is_refused_on_all_ranks(tmp_path_factory) -> None:
    base = COMM.bcast(tmp_path_factory.mktemp("refused") if COMM.rank == 0 else None, root=0)
    with pytest.raises(ConfigError, match=r"^uncertainty.eigenpairs = 1000: expected at most 430"):
        uncertainty(configured(base, eigenpairs=1000), COMM, Progress(shown=False))
    assert not list(base.iterdir())
