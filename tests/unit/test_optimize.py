"""Optimisation with PETSc TAO: what it recovers, how it goes on, and what it refuses."""

import json
from typing import get_args, get_type_hints

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.commands.influence import require_influence
from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.config import Config, from_dict
from burgers_adjoint.config.registry import CONTROLS
from burgers_adjoint.config.sections import Tao
from burgers_adjoint.equations.burgers.controls import Traits, make_controls
from burgers_adjoint.errors import ConfigError, NumericalError, StorageError, agreed_error
from burgers_adjoint.inverse import tao
from burgers_adjoint.inverse.vector import ControlVector
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import to_mapping
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.problem import Problem
from burgers_adjoint.second_order.entries import EntryProducts

pytest.importorskip("petsc4py")
ALONE = MPI.COMM_SELF


def configured(folder: object = "unused", **sections: dict) -> Config:
    data = {
        "grid": {"nx": 14, "ny": 11, "x": [0.0, 3.0], "y": [-1.0, 1.0]},
        "initial": {"center": [1.2, 0.1], "width": 0.7, "amplitude": [0.6, -0.2]},
        "truth": {"twin": True, "center": [1.4, 0.0], "width": 0.8, "amplitude": [0.5, -0.4]},
        "physics": {"viscosity": 0.03},
        "time": {"steps": 12, "dt": 0.02},
        "objective": {"kind": "misfit"},
        "observations": {"count": 4},
        "gradient": {"controls": ["initial"]},
        "checkpointing": {"snapshots": 4},
        "output": {"directory": str(folder), "plots": False},
    }
    for name, section in sections.items():
        data[name] = {**data.get(name, {}), **section}
    return from_dict(data)


def run(config: Config) -> dict:
    return to_mapping(optimize(config, ALONE, Progress(shown=False)))


@pytest.mark.parametrize("method", ["blmvm", "bqnls", "bncg", "lmvm", "nls", "ntr", "bnls"])
def test_initial_fields_are_recovered(method: str, tmp_path) -> None:
    done = run(configured(tmp_path, tao={"type": method, "gttol": 1e-5}))["optimize"]
    assert done["converged"]
    assert done["reason"] == "the gradient norm over the first one is below tao.gttol"
    assert len(done["objective"]) == done["iterations"] + 1
    assert done["objective"] == sorted(done["objective"], reverse=True)
    error = done["control_error"]["initial"]
    assert error["recovered"] < error["prior"] / 5
    assert (done["products"] > 0) == (method in tao.NEWTON)
    # as many numbers were fitted as an eighth of the observations
    assert done["chi_square"] == pytest.approx(0.8, abs=0.15)
    with h5py.File(tmp_path / "results.h5") as file:
        recovered, truth = (file[f"{group}/initial/u"][()] for group in ("controls", "truth"))
        assert np.abs(recovered - truth).max() < 0.05
        np.testing.assert_array_equal(file["state/initial/u"], recovered)
    with h5py.File(tmp_path / "controls.h5") as file:
        np.testing.assert_array_equal(file["controls/initial/u"], recovered)


def test_several_controls_scaled_and_within_bounds(tmp_path) -> None:
    config = configured(
        tmp_path,
        truth={"viscosity": 0.05, "forcing_bump": [0.5, -0.8], "bump_center": [1.5, 0.0]},
        gradient={"controls": ["viscosity", "forcing", "boundary"]},
        controls={
            "scale": {"viscosity": 0.01},
            "upper": {"viscosity": 0.1},
            "lower": {"viscosity": 0.035},
        },
        background={"deviation": {"boundary": 0.2, "viscosity": 0.1, "forcing": 1.0}},
        initial={"center": [1.4, 0.0], "width": 0.8, "amplitude": [0.5, -0.4]},
        tao={"gttol": 1e-4, "iterations": 200},
    )
    done = run(config)["optimize"]
    assert done["converged"]
    with h5py.File(tmp_path / "results.h5") as file:
        assert file["controls/viscosity"][()] == pytest.approx(0.035, abs=1e-12)
        assert file["truth/viscosity"][()] == 0.05
    errors = done["control_error"]
    assert errors["forcing"]["recovered"] < errors["forcing"]["prior"] / 2
    assert set(done["parts"][-1]) == {"misfit", "background"}


def test_an_unfinished_run_goes_on_from_its_best_controls(tmp_path, capsys) -> None:
    first = run(configured(tmp_path, tao={"iterations": 3}))["optimize"]
    assert not first["converged"]
    assert first["reason"] == "tao.iterations are used up"
    config = configured(tmp_path, tao={"iterations": 50})
    second = to_mapping(optimize(config, ALONE, Progress()))["optimize"]
    said = capsys.readouterr().err
    assert f"going on from {tmp_path}/controls.h5" in said
    assert second["objective"][:3] == first["objective"][:3]
    assert second["objective"][3] == pytest.approx(first["objective"][3], rel=1e-12)
    assert second["converged"]
    third = to_mapping(optimize(config, ALONE, Progress()))["optimize"]
    assert "going on" not in capsys.readouterr().err
    assert third["objective"][0] == first["objective"][0]


def test_an_interrupted_search_ends_at_the_same_norm(tmp_path) -> None:
    """The first norm of the gradient is that of the whole search, not of its last job."""
    settings = {"gttol": 1e-3, "iterations": 60}
    whole = run(configured(tmp_path / "whole", tao=settings))["optimize"]
    run(configured(tmp_path / "parts", tao=settings | {"iterations": 4}))
    parts = run(configured(tmp_path / "parts", tao=settings))["optimize"]
    assert whole["converged"]
    assert parts["converged"]
    limit = 1e-3 * whole["gradient_norm"][0]
    for done in (whole, parts):
        # the first one below the limit is the last one
        below = [norm <= limit for norm in done["gradient_norm"]]
        assert below == [False] * (len(below) - 1) + [True]
    assert parts["gradient_norm"][4] < 0.5 * parts["gradient_norm"][0]


def test_a_trial_that_blows_up_fails_and_the_search_goes_on(tmp_path) -> None:
    petsc = tao.load_petsc("")
    visited = []

    def evaluate(entries: np.ndarray, gradient: np.ndarray) -> float:
        visited.append(entries[0])
        if entries[0] < -1.0:  # beyond the wall
            raise agreed_error(NumericalError("the state is no longer finite"))
        gradient[:] = [2 * (entries[0] + 0.9), 40 * (entries[1] - 2)]
        return (entries[0] + 0.9) ** 2 + 20 * (entries[1] - 2) ** 2

    settings = tao.Settings("blmvm", 1e-9, 0.0, 0.0, 50, 500)
    functions, start = tao.Functions(evaluate), np.array([1e3, 1.0])
    points: list[tao.Iteration] = []
    outcome = tao.minimize(petsc, ALONE, functions, start, None, settings, points.append)
    assert min(visited) < -1.0
    assert outcome.failed_trials > 0
    assert outcome.converged
    np.testing.assert_allclose(outcome.entries, [-0.9, 2.0], atol=1e-6)
    with pytest.raises(NumericalError, match="no longer finite"):
        tao.minimize(petsc, ALONE, functions, np.array([-2.0, 0.0]), None, settings, points.append)


@pytest.mark.parametrize(
    "method", ["blmvm", "bqnls", "bncg", "bqnkls", "bqnktr", "bqnktl", "lmvm", "cg", "owlqn"]
)
def test_no_method_takes_a_failed_trial_for_success(method: str) -> None:
    """All points but the first blow up: there is nothing that a search could converge to."""
    petsc = tao.load_petsc("")

    def evaluate(entries: np.ndarray, gradient: np.ndarray) -> float:
        if entries[0] != 3.0:
            raise agreed_error(NumericalError("the state is no longer finite"))
        gradient[:] = [4.0, -2.0]
        return 7.0

    points: list[tao.Iteration] = []
    settings = tao.Settings(method, 1e-3, 1e-6, 1e-6, 50, 200)
    outcome = tao.minimize(
        petsc, ALONE, tao.Functions(evaluate), np.array([3.0, 1.0]), None, settings, points.append
    )
    assert not outcome.converged
    assert outcome.failed_trials > 0
    assert {point.objective for point in points} == {7.0}


def test_a_run_that_blows_up_is_a_failed_trial(tmp_path) -> None:
    """A first step that is far too long, by the scale, leads to states that are not finite."""
    config = configured(
        tmp_path,
        controls={"scale": {"initial": 100.0}},
        time={"steps": 40},
        tao={"gttol": 1e-4},
    )
    done = run(config)["optimize"]
    assert done["failed_trials"] > 0
    assert done["converged"]
    assert done["control_error"]["initial"]["recovered"] < 0.1
    assert done["objective"] == sorted(done["objective"], reverse=True)


def refusal_of(method: str) -> ConfigError:
    """What is said of a method that PETSc's own options ask for."""
    petsc = tao.load_petsc("")
    options = petsc.Options()
    options["tao_type"] = method
    settings = tao.Settings("blmvm", 1e-9, 0.0, 0.0, 5, 5)
    try:
        with pytest.raises(ConfigError) as error:
            tao.minimize(
                petsc, ALONE, tao.Functions(lambda *_: 0.0), np.zeros(2), None, settings, print
            )
    finally:
        options.delValue("tao_type")
    return error.value


def test_a_method_that_petsc_does_not_know_is_said() -> None:
    error = refusal_of("nosuch")
    assert str(error).startswith("petsc.options: PETSc says: Unable to find requested Tao")
    assert error.agreed


@pytest.mark.parametrize("method", ["ntr", "nls", "tron", "pounders"])
def test_a_method_that_takes_more_than_a_gradient_is_refused(method: str) -> None:
    error = refusal_of(method)
    assert str(error).startswith(f"petsc.options: -tao_type {method} takes more than the obj")
    assert str(error).endswith("expected one of " + ", ".join(tao.FIRST_ORDER))
    assert error.agreed


def test_the_methods_of_a_configuration_are_those_of_the_search() -> None:
    assert get_args(get_type_hints(Tao)["type"]) == tao.METHODS


def test_a_gradient_whose_square_overflows_in_petsc_is_said(tmp_path) -> None:
    weights = {"kind": "weighted_sum", "weights": {"misfit": 1e200}}
    with pytest.raises(NumericalError, match=r"is not finite: smaller objective\.weights") as error:
        run(configured(tmp_path, objective=weights))
    assert error.value.agreed


def test_controls_that_do_not_matter_at_the_first_guess_are_said(tmp_path, capsys) -> None:
    rest = {"amplitude": [0.0, 0.0]}
    config = configured(
        tmp_path,
        initial=rest,
        gradient={"controls": ["initial", "viscosity"]},
        tao={"iterations": 1},
    )
    optimize(config, ALONE, Progress())
    said = capsys.readouterr().err
    assert "the objective does not depend on viscosity at the first guess" in said
    config = configured(tmp_path, initial=rest, gradient={"controls": ["viscosity"]})
    with pytest.raises(ConfigError, match="with respect to viscosity vanishes at the first guess"):
        run(config)


def test_what_is_wrong_with_the_truth_is_said_of_it() -> None:
    with pytest.raises(NumericalError, match=r"the truth of the twin experiment: time.dt = 0.02"):
        Problem(configured(truth={"viscosity": 5.0}), ALONE)
    with pytest.raises(ConfigError, match=r"the truth of the twin experiment: .*no such file"):
        Problem(configured(truth={"kind": "file", "path": "nowhere.h5"}), ALONE)


def test_a_bump_that_makes_the_truth_unstable_is_refused_before_it_runs() -> None:
    sections = {"truth": {"viscosity_bump": 0.6}, "gradient": {"controls": ["viscosity_field"]}}
    with pytest.raises(
        NumericalError, match=r"the truth of the twin experiment: time.dt = 0.02 .*\(nu = 0.6"
    ) as error:
        Problem(configured(**sections), ALONE)
    assert error.value.agreed


def test_a_misfit_knows_the_steps_of_a_run_to_a_time() -> None:
    one = Problem(configured(time={"until": 0.25}, observations={"count": 2}), ALONE)
    (misfit,) = one.case.objective.terms
    assert one.case.n_steps == 13
    assert misfit.steps == [6, 13]
    assert misfit.observations.times.tolist() == [0.12, 0.25]
    one.close()


def test_a_smooth_initial_state_leaves_the_boundary_to_its_own_control() -> None:
    sections = {
        "gradient": {"controls": ["initial", "boundary"]},
        "background": {"smoothness": {"initial": 20.0}},
    }
    with Problem(configured(**sections), ALONE) as one:
        prior = one.case.fields
        x = np.linspace(0.0, 1.0, prior.size).reshape(prior.shape)
        one.case.inputs.fields = prior + np.sin(9 * x)
        schedule = one.checkpointing.schedule()
        gradient = reverse(one.case, schedule, one.checkpointing.store(schedule)).gradient
        edge = one.case.controls["boundary"].points
        assert np.any(gradient["boundary"][:, edge])
        assert np.any(gradient["initial"][:, ~edge])
        assert not np.any(gradient["initial"][:, edge])
        assert not np.any(gradient["boundary"][:, ~edge])


def test_vectors_hold_views_of_fields_and_scaled_numbers() -> None:
    names = ("forcing", "viscosity", "boundary", "initial")
    whole = Decomposition(ALONE, (3, 4), periodic=False)
    traits = Traits({"viscosity": 0.1, "boundary": 2.0}, lower={"viscosity": 0.2})
    kinds = {name: CONTROLS[name] for name in names}
    controls = make_controls(kinds, whole, Layout(3, 4, 1), traits, names)
    values = {
        "forcing": np.arange(24.0).reshape(2, 3, 4),
        "viscosity": 0.5,
        "boundary": controls["boundary"].masked(np.full((2, 3, 4), 7.0)),
        "initial": controls["initial"].masked(np.full((2, 3, 4), 3.0)),
    }
    vector = ControlVector(ALONE, controls)
    entries = np.zeros(vector.size)
    vector.put_values(values, entries)
    assert vector.size == 24 + 1 + 20 + 4
    assert entries[24] == 5.0
    assert entries[45:].tolist() == [3.0] * 4
    back = vector.values(entries)
    for name, value in values.items():
        np.testing.assert_array_equal(back[name], value)
    assert np.shares_memory(back["forcing"], entries)
    vector.put_gradient(values, entries)
    assert entries[24] == 0.05
    assert entries[25] == 14.0
    lower, upper = np.zeros((2, vector.size))
    vector.put_bounds(9.0, lower, upper)
    assert lower[23:26].tolist() == [-9.0, 2.0, -9.0]
    assert upper.tolist() == [9.0] * vector.size


@pytest.mark.parametrize(("scalar", "kind"), [(np.complex128, "complex"), (np.float32, "other")])
def test_other_petsc_scalars_are_refused(scalar: type, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"this PETSc is built for {kind} scalars"):
        tao.require_doubles(np.dtype(scalar))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"observations": {"times": [0.0]}, "gradient": {"controls": ["viscosity"]}},
            "the objective looks at the initial state alone: it does not depend on viscosity",
        ),
        (
            {
                "gradient": {"controls": ["forcing_in_time"]},
                "controls": {"knots": [0.0, 0.3, 0.5]},
            },
            r"controls.knots\[2\] = 0.5: the objective does not depend on it, as it looks at times "
            "from 0 to 0.24",
        ),
        (
            {"objective": {"kind": "weighted_sum", "weights": {"misfit": 0.0}}},
            "objective.weights are all 0",
        ),
    ],
)
def test_a_control_without_influence_is_said(sections: dict, message: str) -> None:
    one = Problem(configured(**sections), ALONE)
    with pytest.raises(ConfigError, match=message) as error:
        require_influence(one.case)
    assert error.value.agreed
    one.close()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"controls": {"lower": {"initial": 1.0}, "upper": {"initial": 0.5}}},
            'controls.lower = {"initial": 1.0} and controls.upper = {"initial": 0.5} cross: '
            "expected lower.initial <= upper.initial",
        ),
        (
            {"controls": {"scale": {"viscosity": 1.0}}},
            'controls.scale = {"viscosity": 1.0}: viscosity is not in gradient.controls = '
            '["initial"]',
        ),
        (
            {"background": {"deviation": {"initial": 0.0}}},
            'background.deviation = {"initial": 0.0}: expected numbers > 0',
        ),
        (
            {"tao": {"type": "lmvm"}, "controls": {"lower": {"initial": -1.0}}},
            'tao.type = "lmvm": expected one that keeps to bounds, as there are controls.lower or '
            "controls.upper: any but lmvm, cg, owlqn, nls, ntr",
        ),
        (
            {"time": {"steady": 0.2}, "checkpointing": {"schedule": "online"}},
            "time.steady = 0.2: expected no such key with the objective misfit, which "
            "compares states at times that are known before the run",
        ),
        (
            {"truth": {"kind": "file"}},
            'truth.path = "": expected the path of an HDF5 file, as truth.kind = "file"',
        ),
        (
            {"truth": {"path": "true.h5"}},
            'truth.path = "true.h5": expected no path, as truth.kind = "gaussian"; '
            'set truth.kind = "file" to read it',
        ),
        (
            {"truth": {"width": [1.0, 0.0]}},
            "truth.width = [1.0, 0.0]: expected a number > 0, or a list of 2, each > 0",
        ),
        (
            {"truth": {"bump_width": [1.0, -1.0]}},
            "truth.bump_width = [1.0, -1.0]: expected a list of 2, each > 0",
        ),
        (
            {"tao": {"type": "newton"}},
            'tao.type = "newton": expected one of "blmvm", "bncg", "bnls", "bntr", '
            '"bqnkls", "bqnktl", "bqnktr", "bqnls", "cg", "lmvm", "nls", "ntr", "owlqn"',
        ),
        (
            {"truth": {"twin": False}},
            'observations.path = "": expected the path of an HDF5 file, as the objective has a '
            "misfit; `forward --observe FILE` makes one, truth.twin = true does without",
        ),
        (
            {"grid": {"boundary": "periodic"}, "gradient": {"controls": ["boundary"]}},
            'gradient.controls = ["boundary"]: a periodic domain has no boundary to control',
        ),
    ],
)
def test_wrong_configurations_are_said(sections: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        configured(**sections)
    assert str(error.value) == message


def test_the_summary_is_json(tmp_path) -> None:
    summary = run(configured(tmp_path, tao={"iterations": 1}))
    assert json.loads(json.dumps(summary))["optimize"]["converged"] is False


def test_the_seconds_of_a_search_are_those_of_its_parts(tmp_path) -> None:
    summary = run(configured(tmp_path, tao={"iterations": 5}))
    seconds = summary["seconds"]
    parts = seconds["evaluations"] + seconds["saving"] + seconds["tao"]
    assert parts == pytest.approx(seconds["sweeps"], rel=1e-9)
    assert min(seconds["evaluations"], seconds["saving"], seconds["tao"]) > 0
    assert summary["optimize"]["tao_share"] == seconds["tao"] / seconds["sweeps"]


@pytest.mark.parametrize("hessian", ["full", "gauss_newton"])
@pytest.mark.parametrize("method", tao.NEWTON)
def test_newton_finds_the_minimum(method: str, hessian: str, tmp_path) -> None:
    controls = {"scale": {"viscosity": 0.02, "initial": 0.5}}
    problem = {
        "gradient": {"controls": ["initial", "viscosity"]},
        "background": {"deviation": {"initial": 0.5, "viscosity": 0.02}},
        "controls": controls,
    }
    found = []
    for name, chosen in (("first", "blmvm"), ("second", method)):
        section = {"type": chosen, "hessian": hessian, "gttol": 1e-4}
        found.append(run(configured(tmp_path / name, tao=section, **problem)))
        assert found[-1]["optimize"]["converged"]
    first, second = (one["optimize"] for one in found)
    assert found[1]["objective"] == pytest.approx(found[0]["objective"], rel=1e-4)
    if hessian == "gauss_newton" and method.endswith("nls"):
        assert second["iterations"] < first["iterations"]


def test_newton_keeps_to_bounds(tmp_path) -> None:
    controls = {"lower": {"viscosity": 0.01}, "upper": {"viscosity": 0.02}}
    section = {"type": "bnls", "gttol": 1e-5}
    config = configured(
        tmp_path,
        tao=section,
        controls=controls,
        physics={"viscosity": 0.015},
        gradient={"controls": ["viscosity"]},
    )
    assert run(config)["optimize"]["converged"]
    with h5py.File(tmp_path / "results.h5") as file:
        assert float(file["controls/viscosity"][()]) == 0.02


def test_a_products_failure_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    def fail(self: EntryProducts, *_: object) -> None:
        raise agreed_error(StorageError("no room for snapshots of tangents"))

    monkeypatch.setattr(EntryProducts, "multiply", fail)
    with pytest.raises(StorageError, match="no room for snapshots of tangents"):
        run(configured(tmp_path, tao={"type": "nls"}))


@pytest.mark.parametrize("method", ["blmvm", "bnls"])
def test_a_program_finds_what_the_command_finds(method: str, tmp_path) -> None:
    config = configured(tmp_path, tao={"type": method, "gttol": 1e-4})
    done = run(config)
    with Problem(config, ALONE) as problem:
        found = problem.optimize()
        assert problem.value(found.controls) == found.objective == done["objective"]
        assert (found.converged, found.reason) == (True, done["optimize"]["reason"])
        assert found.iterations == done["optimize"]["iterations"]
        again = problem.optimize(found.controls)
        assert again.objective <= found.objective
    with h5py.File(tmp_path / "controls.h5") as file:
        np.testing.assert_array_equal(found.controls["initial"][0], file["controls/initial/u"])


def test_a_program_is_told_what_a_search_cannot_do() -> None:
    ended = configured(
        time={"steady": 1e-3},
        objective={"kind": "final_energy"},
        checkpointing={"schedule": "online"},
    )
    none = pytest.raises(ConfigError, match="optimize needs a number of steps that is known")
    with Problem(ended, ALONE) as problem, none:
        problem.optimize()
