"""Observations: noise, interpolation at sensors, files, and what is wrong with them."""

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from reference import oblong_grid

from burgers_adjoint.assembly.objective import recorder
from burgers_adjoint.assembly.runs import evaluate, sweep
from burgers_adjoint.commands.forward import forward
from burgers_adjoint.config import Config, from_dict
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.inverse import observation_file
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.observing.observations import steps_of
from burgers_adjoint.observing.sensors import Sensors
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import normal_numbers
from burgers_adjoint.problem import Problem
from burgers_adjoint.stepping.time_steps import TimeSteps

ALONE = MPI.COMM_SELF
BOUNDARIES = pytest.mark.parametrize("periodic", [False, True], ids=["dirichlet", "periodic"])


DESCRIBED = {
    "grid": {"nx": 11, "ny": 8, "x": [0.0, 3.0], "y": [-1.0, 1.0]},
    "initial": {"center": [1.2, 0.1], "amplitude": [1.0, -0.6]},
    "physics": {"viscosity": 0.03},
}


def configured(**observations: object) -> Config:
    time = {"steps": 8, "dt": 0.02}
    return from_dict({**DESCRIBED, "time": time, "observations": observations})


def observe(path: object, **section: object) -> Problem:
    one = Problem(configured(**section), ALONE)
    seen = recorder(one.case.setting)
    sweep(one.case, recorder=seen)
    observation_file.write(
        path, seen.observations, one.case.grid, one.case.decomposition, {}, {}, {}
    )
    return one


def fitted(path: object, **observations: object) -> Problem:
    config = configured(path=str(path), **observations)
    data = {"objective": {"kind": "misfit"}}
    for name in ("grid", "initial", "physics", "time", "observations"):
        section = getattr(config, name)
        data[name] = {key: getattr(section, key) for key in section.__struct_fields__}
    return Problem(from_dict(data), ALONE)


def test_noise_is_normal_enough_and_depends_on_key_and_seed_alone() -> None:
    keys = np.arange(200_000, dtype=np.uint64).reshape(200, 1000)
    noise = normal_numbers(keys, 7)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs(np.mean(np.abs(noise) < 1) - 0.6827) < 0.01
    np.testing.assert_array_equal(normal_numbers(keys[50:60, 7:], 7), noise[50:60, 7:])
    assert not np.any(normal_numbers(keys, 8) == noise)


@BOUNDARIES
def test_sensors_interpolate_bilinear_functions_exactly_and_transpose(periodic: bool) -> None:
    grid = oblong_grid(9, 7, periodic)
    decomposition = Decomposition(ALONE, grid.shape, periodic)
    layout = Layout(*decomposition.tile_shape, halo=1)
    (x0, x1), (y0, y1) = grid.x_range, grid.y_range
    random = np.random.default_rng(4)
    inside = 1 - 2 / 7 if periodic else 1.0  # beyond the last point the function does not wrap
    positions = np.stack(
        [
            x0 + random.uniform(0, inside, 20) * (x1 - x0),
            y0 + random.uniform(0, inside, 20) * (y1 - y0),
        ],
        axis=1,
    )
    sensors = Sensors(grid, decomposition, layout, positions)
    state = layout.new_array(2)
    x, y = grid.x[None, :], grid.y[:, None]
    layout.interior(state)[...] = [1 + 2 * x - 3 * y + 0.5 * x * y, x * y - 4 * x]
    values = sensors.interpolate(state)
    px, py = positions[sensors.numbers].T
    expected = np.array([1 + 2 * px - 3 * py + 0.5 * px * py, px * py - 4 * px])
    np.testing.assert_allclose(
        values[:, sensors.owned], expected[:, sensors.owned], rtol=1e-13, atol=1e-13
    )
    assert sorted(sensors.numbers[sensors.owned]) == list(range(20))
    weights = random.normal(size=(2, 20))
    out = layout.new_array(2)
    sensors.transpose(weights[:, sensors.numbers], out)
    owned = sensors.owned
    left = np.sum(values[:, owned] * weights[:, sensors.numbers[owned]])
    assert left == pytest.approx(np.sum(out * state), rel=1e-12)
    sensors.close()


def test_a_periodic_domain_wraps_between_its_last_and_first_points() -> None:
    grid = oblong_grid(9, 7, periodic=True)
    decomposition = Decomposition(ALONE, grid.shape, True)
    layout = Layout(7, 9, halo=1)
    corner = np.array([[grid.x_range[1] - 0.5 * grid.dx, grid.y_range[1] - 0.25 * grid.dy]])
    sensors = Sensors(grid, decomposition, layout, corner)
    state = layout.new_array(2)
    field = np.random.default_rng(2).normal(size=(2, 7, 9))
    layout.interior(state)[...] = field
    expected = (
        0.25 * (field[:, -1, -1] + field[:, -1, 0]) / 2
        + 0.75 * (field[:, 0, -1] + field[:, 0, 0]) / 2
    )
    np.testing.assert_allclose(
        sensors.interpolate(state)[:, sensors.owned][:, 0], expected, rtol=1e-14
    )
    sensors.close()


@pytest.mark.parametrize("kind", ["fields", "sensors"])
def test_misfit_to_own_observations_is_that_of_the_noise(kind: str, tmp_path) -> None:
    path = tmp_path / "seen.h5"
    observe(path, kind=kind, count=4, noise=0.1, sensor_grid=(5, 6)).close()
    one = fitted(path)
    (term,) = one.case.objective.terms
    assert term.steps == [2, 4, 6, 8]
    value = evaluate(one.case)
    count = term.observations.count(one.case.decomposition)
    assert count == 4 * 2 * (88 if kind == "fields" else 30)
    assert 2 * value / count == pytest.approx(1.0, abs=0.2)
    one.close()


def test_a_file_that_no_objective_reads_need_not_be_there(tmp_path) -> None:
    Problem(configured(path=str(tmp_path / "not-made-yet.h5")), ALONE).close()


def test_times_belong_to_steps() -> None:
    assert steps_of([0.3, 0.1, 0.1 + 1e-9, 0.0], TimeSteps(0.1, 3), nearest=False) == {
        3: [0],
        1: [1, 2],
        0: [3],
    }
    assert steps_of([0.14, 0.16], TimeSteps(0.1, 3), nearest=True) == {1: [0], 2: [1]}


RUNS = [
    ({"until": 0.15}, {"count": 3}, [0.06, 0.1, 0.15]),
    ({"until": 0.3}, {"times": [0.28, 0.3]}, [0.28, 0.3]),
    ({"cfl": 0.1}, {"count": 2}, None),
    ({"until": 0.1, "cfl": 0.1}, {"count": 3}, None),
    ({"steady": 1e3, "steps": 40}, {"count": 2}, [0.1, 0.2]),
]


@pytest.mark.parametrize(("time", "section", "times"), RUNS)
def test_observations_are_of_the_states_at_their_times(
    time: dict[str, float], section: dict[str, object], times: list[float] | None, tmp_path
) -> None:
    path = tmp_path / "seen.h5"
    schedule = "store_all" if {*time} == {"until"} else "online"
    config = from_dict(
        {
            **DESCRIBED,
            "time": {"dt": 0.02, "steps": 8} | time,
            "observations": {"noise": 1e-12} | section,
            "checkpointing": {"schedule": schedule},
            "output": {"directory": str(tmp_path / "output"), "plots": False},
        }
    )
    summary = forward(config, ALONE, Progress(False), observe=str(path))
    seen = observation_file.read(path, Decomposition(ALONE, (8, 11), periodic=False))
    assert seen.times[-1] == pytest.approx(summary.time, rel=1e-12)
    if times is not None:
        assert seen.times == pytest.approx(times)
    with Problem(config, ALONE) as one:
        sweep(one.case)  # finds out how long its steps are
        steps = one.case.model.time_steps
        for number, fields in zip(seen.times, seen.fields, strict=True):
            state = one.case.model.initial_state(one.case.fields, replay=True)
            n = next(n for n in range(one.case.n_steps + 1) if abs(steps.time(n) - number) < 1e-9)
            one.case.model.advance(state, 0, n)
            np.testing.assert_allclose(one.case.model.layout.interior(state), fields, atol=1e-10)


WRONG = [
    ({"times": [0.05]}, r"observation 0 is at t = 0.05, between the steps 2 and 3 of dt = 0.02"),
    ({"times": [0.02, 0.18]}, r"observation 1 is at t = 0.18, outside of the run, .* 0 to 0.16"),
    (
        {"count": 2, "kind": "sensors", "sensors": [[0.1, 0.1], [0.5, 1.5]]},
        r"sensor 1 is at y = 1.5, outside of the domain \[-1, 1\]",
    ),
    ({"count": 9}, r"observations.count = 9: expected at most 8, the number of steps"),
]


@pytest.mark.parametrize(("section", "message"), WRONG)
def test_what_cannot_be_observed_is_said_before_the_run(section, message: str) -> None:
    one = Problem(configured(**section), ALONE)
    with pytest.raises(ConfigError, match=message) as error:
        recorder(one.case.setting)
    assert error.value.agreed
    one.close()


def drop(file: h5py.File) -> None:
    del file["times"]


def shrink(file: h5py.File) -> None:
    del file["fields/0001/v"]
    file["fields/0001/v"] = np.zeros((11, 8))


def spoil(file: h5py.File) -> None:
    file["fields/0001/v"][3, 4] = np.nan


def silence(file: h5py.File) -> None:
    file["noise"][...] = 0.0


def whisper(file: h5py.File) -> None:
    file["noise"][...] = 1e-170


def shout(file: h5py.File) -> None:
    file["fields/0001/v"][3, 4] = -1e200


def see_nothing(file: h5py.File) -> None:
    for name, shape in {"x": (0,), "y": (0,), "u": (2, 0), "v": (2, 0)}.items():
        file[f"sensors/{name}"] = np.zeros(shape)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, "there is no dataset /times"),
        (shrink, r"/fields/0001/v has the shape \(11, 8\), the grid is \(ny, nx\) = \(8, 11\)"),
        (spoil, r"/fields/0001/v is nan at point \[3, 4\]"),
        (silence, r"/noise is 0.0, expected a number from 1e-50 to 1e\+50"),
        (whisper, r"/noise is 1e-170, expected a number from 1e-50 to 1e\+50"),
        (shout, r"/fields/0001/v holds 1e\+200, expected magnitudes up to 1e\+50"),
        (see_nothing, "/sensors/x is empty: expected a sensor at least"),
    ],
)
def test_wrong_files_are_said(damage, message: str, tmp_path) -> None:
    path = tmp_path / "seen.h5"
    observe(path, count=2).close()
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(ConfigError, match=f"observations.path = {path}: {message}"):
        fitted(path)
    with pytest.raises(ConfigError, match="there is no such file"):
        fitted(tmp_path / "missing.h5")
