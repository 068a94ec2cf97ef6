"""A background term that leaves those directions alone that observations determine."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from test_uncertainty import VISCOUS
from test_uncertainty import configured as configured_with

from burgers_adjoint.commands.check import check
from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.commands.uncertainty import uncertainty
from burgers_adjoint.config import Config
from burgers_adjoint.errors import ConfigError, RestartError
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.problem import Problem

pytest.importorskip("petsc4py")

ALONE = MPI.COMM_SELF
PRECISE = {
    "truth": {
        "center": [1.2, 0.1], "width": 0.7, "amplitude": [0.6, -0.2],
        "viscosity": 0.05, "viscosity_bump": 0.02, "bump_center": [1.0, 0.2],
    },
    "observations": {"count": 3, "kind": "sensors", "sensor_grid": [2, 3], "noise": 2e-3},
    "tao": {"type": "nls", "gttol": 1e-6},
}  # fmt: skip


def configured(folder: object = "unused", **sections: dict) -> Config:
    return configured_with(folder, **{**PRECISE, **sections})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """uncertainty.h5 of a viscosity and a viscosity field."""
    folder = tmp_path_factory.mktemp("found")
    uncertainty(configured(folder, **VISCOUS), ALONE, Progress(shown=False))
    return folder / "uncertainty.h5"


def left_out(
    found: Path, folder: object = "unused", above: float = 1.0, **sections: dict
) -> Config:
    background = {**VISCOUS["background"], "informed": str(found), "informed_above": above}
    return configured(folder, **{**VISCOUS, **sections, "background": background})


def mode(found: Path, n: int) -> dict:
    with h5py.File(found) as file:
        group = file[f"modes/{n:04d}"]
        return {name: np.array(group[name]) for name in group}


def test_the_term_is_flat_along_what_is_informed_and_as_it_was_across(found: Path) -> None:
    with h5py.File(found) as file:
        values = file["eigenvalues"][()]
    above = float(np.sqrt(values[2] * values[3]))
    with Problem(left_out(found, above=above)) as some, Problem(configured(**VISCOUS)) as whole:
        for n in range(6):
            direction = mode(found, n)
            pair = []
            for problem in (some, whole):
                product = {name: one.zeros() for name, one in problem.case.controls.items()}
                problem.case.prior.add_product(direction, product)
                along = sum(np.vdot(product[name], direction[name]) for name in product)
                pair.append((along, product))
            (left, flat), (kept, full) = pair
            assert kept == pytest.approx(1.0, abs=1e-9)
            if n < 3:
                assert abs(left) < 1e-9
            else:
                assert left == pytest.approx(kept, abs=1e-9)
                for name, part in flat.items():
                    size = np.abs(full[name]).max()
                    np.testing.assert_allclose(part, full[name], rtol=0.0, atol=1e-9 * size)


def test_its_gradient_and_its_products_pass_every_check(found: Path, tmp_path: Path) -> None:
    config = left_out(found, tmp_path, check={"second_order": True})
    assert check(config, ALONE, Progress(shown=False)).passed


def test_a_search_fits_observations_that_a_wrong_first_guess_holds_back(
    found: Path, tmp_path: Path
) -> None:
    whole = optimize(configured(tmp_path / "whole", **VISCOUS), ALONE, Progress(shown=False))
    some = optimize(left_out(found, tmp_path / "some"), ALONE, Progress(shown=False))
    assert some.optimize is not None
    assert whole.optimize is not None
    assert some.optimize.converged
    assert some.optimize.parts[-1]["misfit"] < whole.optimize.parts[-1]["misfit"]
    assert some.objective < whole.objective


def test_what_does_not_fit_is_told(found: Path, tmp_path: Path) -> None:
    said = Progress(shown=False)
    for config, message in (
        (left_out(tmp_path / "nosuch.h5"), "background.informed = .*nosuch.h5: No such file"),
        (left_out(found, above=1e9), r"has no eigenvalue above informed_above = 1e\+09: the larg"),
        (
            configured(**{**VISCOUS, "background": {
                **VISCOUS["background"], "informed": str(found), "deviation": {"viscosity": 0.03},
            }}),
            "directions of background.informed are of another background term: exp",
        ),
        (
            configured(background={"informed": str(found)}),
            "is of other controls: initial is missing",
        ),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            Problem(config).close()
    with pytest.raises(ConfigError, match="uncertainty wants the whole background term"):
        uncertainty(left_out(found, tmp_path), ALONE, said)
    empty = {"deviation": {}, "smoothness": {}, "viscosity_field": None, "informed": "x.h5"}
    with pytest.raises(ConfigError, match="expected a background term that directions are left"):
        configured(**{**VISCOUS, "background": empty})


def test_a_search_does_not_go_on_with_other_directions(found: Path, tmp_path: Path) -> None:
    copy = tmp_path / "directions.h5"
    copy.write_bytes(found.read_bytes())
    config = left_out(copy, tmp_path, tao={"iterations": 1, "gttol": 1e-9})
    optimize(config, ALONE, Progress(shown=False))
    with h5py.File(copy, "r+") as file:
        file.attrs["summary"] = "another"
    message = re.escape(f"background.informed = {copy} has changed since then")
    with pytest.raises(RestartError, match=message):
        optimize(config, ALONE, Progress(shown=False))
