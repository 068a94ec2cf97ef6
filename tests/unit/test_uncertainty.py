"""The posterior: against a dense one in closed form, its eigenpairs, and the command."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from test_covariance import laplacian_2d

from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.commands.uncertainty import uncertainty
from burgers_adjoint.config import Config, from_dict
from burgers_adjoint.errors import ConfigError, NumericalError
from burgers_adjoint.inverse.posterior import Posterior
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.problem import Problem
from burgers_adjoint.second_order.posterior import PosteriorSearch

ALONE = MPI.COMM_SELF


def configured(folder: object = "unused", **sections: dict) -> Config:
    data = {
        "grid": {"nx": 12, "ny": 10, "x": [0.0, 3.0], "y": [-1.0, 1.0]},
        "initial": {"center": [1.2, 0.1], "width": 0.7, "amplitude": [0.6, -0.2]},
        "truth": {"twin": True, "center": [1.3, 0.0], "width": 0.8, "amplitude": [0.5, -0.3]},
        "physics": {"viscosity": 0.03},
        "time": {"steps": 10, "dt": 0.02},
        "objective": {"kind": "misfit"},
        "observations": {"count": 2, "kind": "sensors", "sensor_grid": [2, 3], "noise": 0.05},
        "gradient": {"controls": ["initial", "boundary", "viscosity", "viscosity_field"]},
        "controls": {"scale": {"viscosity": 0.02, "viscosity_field": 0.02}},
        "background": {
            "deviation": {"viscosity": 0.02, "boundary": 0.2, "initial": 0.3},
            "smoothness": {"initial": 4.0},
            "viscosity_field": {"kind": "matern", "length": 1.0, "deviation": 0.02},
        },
        "checkpointing": {"snapshots": 4},
        "uncertainty": {"eigenpairs": 24, "oversampling": 4},
        "tao": {"gttol": 1e-2},
        "output": {"directory": str(folder), "plots": False},
    }
    for name, section in sections.items():
        data[name] = {**data.get(name, {}), **section}
    return from_dict(data)


SAMPLES = 200


def found_in(problem: Problem) -> Posterior:
    search = PosteriorSearch(problem.case, problem.config.uncertainty)
    try:
        return search.found(lambda n_products: None)
    finally:
        search.close()


VISCOUS = {
    "gradient": {"controls": ["viscosity_field", "viscosity"]},
    "background": {"deviation": {"viscosity": 0.02}, "smoothness": {}},
}

NONE = {"deviation": {}, "smoothness": {}, "viscosity_field": None}


def flat(values: dict) -> np.ndarray:
    return np.concatenate([np.ravel(values[name]) for name in sorted(values)])


def heat(config: Config, grid) -> np.ndarray:
    """A step of heat conduction, in which points of the boundary keep their values."""
    shape = grid.shape
    change = laplacian_2d(*shape, grid.dy, grid.dx, "mirrored")
    inside = np.zeros(shape, dtype=bool)
    inside[1:-1, 1:-1] = True
    change[~inside.ravel()] = 0.0
    return np.eye(len(change)) - config.time.dt * config.physics.viscosity * change


def test_heat_conduction_has_the_posterior_in_closed_form() -> None:
    noise, length, deviation = 0.05, 0.9, 0.3
    points = [(j, i) for j in (2, 5, 7) for i in (3, 8)]
    tiny = {"amplitude": [1e-10, -2e-10]}
    background = {"initial": {"kind": "matern", "length": length, "deviation": deviation}}
    config = configured(
        initial=tiny, truth=tiny, gradient={"controls": ["initial"]},
        controls={"scale": {"initial": 0.1}},
        background={"deviation": {}, "smoothness": {}, "viscosity_field": None, **background},
        uncertainty={"final_state_samples": SAMPLES},
        observations={
            "times": [0.1, 0.2],
            "sensors": [[3.0 * i / 11, -1.0 + 2.0 * j / 9] for j, i in points],
        },
    )  # fmt: skip
    with Problem(config) as problem:
        grid = problem.case.grid
        posterior = found_in(problem)
        modes = posterior.modes()
        deviations = posterior.deviations(modes)
        weights = np.random.default_rng(3).normal(size=(2, 10, 12))
        spreads = posterior.spread({"initial": weights})
        drawn = [posterior.whitening.noise(2 + n, 1) for n in range(SAMPLES)]
        led_to = [
            np.concatenate([flat(posterior.whitening.departures(one)[0])[None] for one in part])
            for part in (drawn, [posterior.narrowed(one) for one in drawn])
        ]
        search = PosteriorSearch(problem.case, problem.config.uncertainty)
        done: list[int] = []
        final = search.final_state_spread(posterior, done.append)
        assert done[-1] == 2 * SAMPLES
        search.close()
    elliptic = laplacian_2d(10, 12, grid.dy, grid.dx, "mirrored") + 8.0 / length**2 * np.eye(120)
    prior = np.linalg.inv(elliptic @ elliptic)
    prior *= deviation**2 / prior[5 * 12 + 6, 5 * 12 + 6]
    step = heat(config, grid)
    seen = np.concatenate(
        [np.linalg.matrix_power(step, n)[[j * 12 + i for j, i in points]] for n in (5, 10)]
    )
    # in the space of the observations, whose matrix is well conditioned
    gain = prior @ seen.T @ np.linalg.inv(seen @ prior @ seen.T + noise**2 * np.eye(len(seen)))
    expected = prior - gain @ seen @ prior
    values = posterior.pairs.values
    # u and v are alike, so that each eigenvalue comes twice
    alike = np.linalg.eigvalsh(seen @ prior @ seen.T)[::-1] / noise**2
    np.testing.assert_allclose(values, np.repeat(alike, 2), rtol=1e-8)
    assert values.min() < 0.1 < 10.0 < values.max()
    v = np.stack([mode["initial"].ravel() for mode in modes])
    covariance = np.kron(np.eye(2), prior) - (v.T * (values / (1.0 + values))) @ v
    both = np.kron(np.eye(2), expected)
    np.testing.assert_allclose(covariance, both, atol=1e-8 * deviation**2)
    for found, matrix in zip(deviations, (prior, expected), strict=True):
        spread = np.sqrt(np.diag(matrix)).reshape(10, 12)
        np.testing.assert_allclose(found["initial"], [spread, spread], rtol=1e-8)
    of_weights = [
        np.sqrt(weights.ravel() @ np.kron(np.eye(2), matrix) @ weights.ravel())
        for matrix in (prior, expected)
    ]
    np.testing.assert_allclose(spreads, of_weights, rtol=1e-8)
    run = np.kron(np.eye(2), np.linalg.matrix_power(step, 10))
    matrices = np.kron(np.eye(2), prior), np.kron(np.eye(2), expected)
    for found, departures, matrix in zip(final, led_to, matrices, strict=True):
        squares = np.square(departures @ run.T)
        np.testing.assert_allclose(np.ravel(found), np.sqrt(squares.mean(axis=0)), rtol=1e-8)
        exact = np.sqrt(np.diag(run @ matrix @ run.T))
        np.testing.assert_allclose(np.ravel(found), exact, rtol=5.0 / np.sqrt(2 * SAMPLES))
    # variance along an eigenvector
    functional = np.linalg.solve(np.kron(np.eye(2), prior), v.T).T
    along = np.einsum("ni,ij,nj->n", functional, both, functional)
    np.testing.assert_allclose(along, 1.0 / (1.0 + values), rtol=1e-7)
    gained = 0.5 * np.linalg.slogdet(np.linalg.solve(both, np.kron(np.eye(2), prior)))[1]
    assert posterior.log_determinants == pytest.approx(gained, rel=1e-8)
    trace = np.trace(np.linalg.solve(np.kron(np.eye(2), prior), both))
    expected_gain = 0.5 * (trace - 240) + gained
    assert posterior.information_gain(0.0) == pytest.approx(expected_gain, rel=1e-7)


def test_eigenpairs_of_all_controls() -> None:
    with Problem(configured()) as problem:
        posterior = found_in(problem)
        modes, values = posterior.modes(), posterior.pairs.values
        assert len(values) == 24
        assert posterior.whitening.n_values == 240 + 1 + 120
        second = problem.second_order.of(8, full=False)
        images = [
            image
            for first in (0, 8, 16)
            for image in second.of(modes[first : first + 8], prior=False).products
        ]
        covariances = problem.case.prior.covariances()
        inverted = [
            {name: one.applied(mode[name], -1.0) for name, one in covariances.items()}
            for mode in modes
        ]
        v, of_data, of_prior = (
            np.stack([flat(one) for one in part]) for part in (modes, images, inverted)
        )
        np.testing.assert_allclose(v @ of_prior.T, np.eye(24), atol=1e-11)
        size = np.linalg.norm(of_data, axis=1, keepdims=True)
        np.testing.assert_allclose(of_data / size, values[:, None] * of_prior / size, atol=1e-9)
        assert posterior.pairs.residuals.max() < 1e-11 * values[0]
        prior, after = posterior.deviations(modes)
        before, left = flat(prior), flat(after)
        assert (left <= before).all()
        assert (left < before)[before > 0].mean() > 0.9
        # zero where a control has no points
        assert (prior["boundary"][:, 1:-1, 1:-1] == 0).all()
        assert (prior["initial"][:, 0] == 0).all()


def test_samples_have_the_deviations() -> None:
    with Problem(configured(**VISCOUS)) as problem:
        posterior = found_in(problem)
        _, after = posterior.deviations(posterior.modes())
        samples = np.stack([flat(one) for one in posterior.samples(7, 600)])
        other = flat(posterior.samples(8, 1)[0])
    assert not (samples == other).any()
    spread = np.sqrt(np.mean(np.square(samples), axis=0))
    np.testing.assert_allclose(spread, flat(after), rtol=0.15)
    assert np.abs(samples.mean(axis=0) / flat(after)).max() < 0.2


def test_batches_make_no_difference() -> None:
    found = []
    for batch in (3, 8):
        with Problem(configured(uncertainty={"batch": batch})) as problem:
            found.append(found_in(problem).pairs)
    np.testing.assert_array_equal(found[0].values, found[1].values)
    np.testing.assert_array_equal(found[0].vectors, found[1].vectors)


def test_an_objective_that_curves_downwards_has_no_posterior() -> None:
    weights = {"misfit": 1.0, "final_energy": -1e3}
    with (
        Problem(configured(objective={"kind": "weighted_sum", "weights": weights})) as problem,
        pytest.raises(NumericalError, match=r"^the objective curves downwards in a direction"),
    ):
        found_in(problem)


class Listening(Progress):
    def __init__(self) -> None:
        super().__init__(shown=False)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_command_takes_the_controls_of_a_search(tmp_path: Path) -> None:
    pytest.importorskip("petsc4py")
    said = Listening()
    config = configured(tmp_path, **VISCOUS, uncertainty={"final_state_samples": 20})
    asked = {"final_state_samples": 20}
    pictured = configured(tmp_path, **VISCOUS, output={"plots": True}, uncertainty=asked)
    first = uncertainty(pictured, ALONE, said)
    assert first.converged
    assert any(message.startswith("iteration 1:") for message in said.lines)
    said.lines.clear()
    again = uncertainty(config, ALONE, said)
    assert not any("iteration" in message for message in said.lines)
    assert again.digest == first.digest
    assert first.informed == sum(value > 1 for value in first.eigenvalues)
    assert 0 < first.degrees_of_freedom < 24
    assert first.deviation["viscosity_field"].posterior < first.deviation["viscosity_field"].prior
    assert (tmp_path / "uncertainty.png").read_bytes().startswith(b"\x89PNG")
    with h5py.File(tmp_path / "uncertainty.h5") as file, h5py.File(tmp_path / "controls.h5") as at:
        np.testing.assert_array_equal(file["eigenvalues"], first.eigenvalues)
        name = "viscosity_field"
        np.testing.assert_array_equal(file[f"controls/{name}"], at[f"controls/{name}"])
        before, after = (file[f"deviation/{one}/{name}"][()] for one in ("prior", "posterior"))
        assert (after <= before).all()
        # v is a multiple of u, so that half of what sensors see says nothing more
        assert len(file["modes"]) == len(first.eigenvalues) == 12
        assert len(file["samples"]) == 4
        spread = first.deviation["final_state"]
        for group, told in (("prior", spread.prior), ("posterior", spread.posterior)):
            fields = np.stack([file[f"deviation/{group}/final_state/{c}"][()] for c in "uv"])
            assert told == pytest.approx(np.sqrt(np.mean(np.square(fields))), rel=1e-12)
        assert 0 < spread.posterior < spread.prior
        away = file["samples/0003/viscosity"][()] - file["controls/viscosity"][()]
        assert 0 < abs(away) < 0.1
        label = file["deviation/posterior/viscosity_field"].attrs["long_name"]
        assert label == b"standard deviation of the posterior viscosity field"


def test_predictions_have_the_deviations_of_what_samples_lead_to(tmp_path: Path) -> None:
    pytest.importorskip("petsc4py")
    names = ["final_energy", "running_enstrophy"]
    section = {"predict": names, "samples": 150}
    config = configured(tmp_path, **VISCOUS, uncertainty=section)
    summary = uncertainty(config, ALONE, Progress(shown=False))
    assert list(summary.predicted) == names
    with h5py.File(tmp_path / "uncertainty.h5") as file:
        at, samples = file["controls"], list(file["samples"].values())
        for name, said in summary.predicted.items():
            alone = {"kind": name, "weights": {}}
            with Problem(configured(**{**VISCOUS, "background": NONE}, objective=alone)) as problem:
                value, *led_to = (
                    problem.value({name: np.array(one[name]) for name in problem.case.controls})
                    for one in (at, *samples)
                )
            assert said.value == value
            assert np.std(led_to) == pytest.approx(said.posterior, rel=0.2)
            assert said.posterior < said.prior
            assert file[f"predicted/{name}/posterior"][()] == said.posterior


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("misfit", "expected no misfit, which is what the posterior comes from"),
        ("final_energie", "did you mean final_energy?"),
    ],
)
def test_what_cannot_be_predicted_is_told(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"uncertainty\.predict") as error:
        configured(uncertainty={"predict": [name]})
    assert message in str(error.value)


def test_a_final_state_has_no_negative_number_of_samples() -> None:
    with pytest.raises(ConfigError, match=r"uncertainty\.final_state_samples = -1: expected"):
        configured(uncertainty={"final_state_samples": -1})


def test_what_belongs_to_an_older_search_goes_with_it(tmp_path: Path) -> None:
    pytest.importorskip("petsc4py")
    for name in ("uncertainty.h5", "uncertainty.png"):
        (tmp_path / name).touch()
    config = configured(tmp_path, **VISCOUS, tao={"iterations": 1}, uncertainty={"eigenpairs": 2})
    optimize(config, ALONE, Progress(shown=False))
    assert not list(tmp_path.glob("uncertainty.*"))
    said = Listening()
    assert not uncertainty(config, ALONE, said).converged
    message = f"the search has not converged: {tmp_path}/controls.h5 need not be the most probable"
    assert message in said.lines
    assert (tmp_path / "uncertainty.h5").exists()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"objective": {"kind": "final_energy"}},
            "uncertainty is what observations leave of it: expected the misfit to them in "
            "objective.kind or objective.weights, not final_energy alone",
        ),
        (
            {"uncertainty": {"eigenpairs": 362}},
            "uncertainty.eigenpairs = 362: expected at most 361, as many values as initial, "
            "boundary, viscosity, viscosity_field have",
        ),
        (
            {"background": {"deviation": {"viscosity": 1.0, "initial": 1.0}}},
            "nothing is known of boundary before the observations: expected "
            "background.deviation.boundary",
        ),
        (
            {"background": {"deviation": {"viscosity": 1.0, "boundary": 1.0}}},
            "background.smoothness alone leaves the mean of initial open",
        ),
        (
            {"snapshots": {"memory": "20 kB"}},
            "uncertainty.batch = 4: the snapshots need 38400 bytes of memory per rank",
        ),
    ],
    ids=["no-misfit", "pairs", "no-background", "smoothness", "memory"],
)
def test_what_has_no_posterior_is_refused_before_the_search(
    sections: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        uncertainty(configured(tmp_path, **sections), ALONE, Progress(shown=False))
    assert str(error.value).startswith(message)
    assert error.value.agreed
    assert not list(tmp_path.iterdir())
