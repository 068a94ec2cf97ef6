"""What goes wrong for users: one readable message, the right exit code, nothing half written."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.config import load
from burgers_adjoint.problem import Problem
from burgers_adjoint.stepping.guards import STEPS_BETWEEN_CHECKS

ROOT = Path(__file__).parents[2]
Start = Callable[..., subprocess.CompletedProcess[str]]
OUTPUT = "output"

# A small oblong problem, so that runs that do start are short.
SMALL = [
    "-sgrid.nx=23", "-sgrid.ny=17", "-sgrid.x=[-1.0, 2.0]", "-sgrid.y=[-1.5, 3.0]",
    "-sphysics.viscosity=0.05", "-sinitial.center=[0.3, 0.9]", "-sinitial.width=[0.8, 1.1]",
    "-sinitial.amplitude=[1.0, 0.5]", "-stime.dt=0.01", "-stime.steps=20", "-soutput.plots=false",
]  # fmt: skip


@pytest.fixture
def start(mpiexec: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Start:
    """Run the command on some ranks with tmp_path/output as its output folder."""

    def run(n_ranks: int, *args: str) -> subprocess.CompletedProcess[str]:
        command = ["-m", "burgers_adjoint", *args, "-o", str(tmp_path / OUTPUT)]
        if n_ranks > 1:
            return mpiexec(n_ranks, *command, cwd=ROOT)
        return subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
        )

    return run


def message_of(result: subprocess.CompletedProcess[str], exit_code: int, folder: Path) -> str:
    """The one message of a run that failed as it should, without `error: `."""
    everything = result.stdout + result.stderr
    assert result.returncode == exit_code, everything
    assert "Traceback" not in everything
    messages = re.findall(r"^error: (.*)", result.stderr, re.MULTILINE)
    assert len(messages) == 1, everything
    assert "error: " not in result.stdout
    if folder.exists():
        # what a run writes before it computes is its configuration
        assert set(os.listdir(folder)) <= {"config.toml"}
    return messages[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grid.nz=3", "unknown key grid.nz = 3; allowed in [grid]: nx, ny, x, y, boundary"),
        ("time.step=3", "unknown key time.step = 3, did you mean steps?; allowed in [time]: dt, "),
        ("grid.nx=many", 'grid.nx = "many": expected a whole number >= 3 and <= 2147483647'),
        ("grid.ny=2", "grid.ny = 2: expected a whole number >= 3"),
        ("physics.viscosity=nan", "physics.viscosity = nan: expected a finite number"),
        ("time.steps=-5", "time.steps = -5: expected a whole number >= 1"),
        ("checkpointing.snapshots=0", "checkpointing.snapshots = 0: expected a whole number >= 1"),
    ],
)
def test_wrong_value(start: Start, tmp_path: Path, override: str, message: str) -> None:
    result = start(1, "-s", override)
    assert message_of(result, 2, tmp_path / OUTPUT).startswith(message)
    assert not (tmp_path / OUTPUT).exists()


@pytest.mark.parametrize("command", ["gradient", "check"])
def test_wrong_value_on_several_ranks(start: Start, tmp_path: Path, command: str) -> None:
    result = start(3, command, "-s", "checkpointing.snapshots=0")
    message = message_of(result, 2, tmp_path / OUTPUT)
    assert message == (
        "checkpointing.snapshots = 0: expected a whole number >= 1 and <= 9007199254740992, "
        'or "as many as fit"'
    )


@pytest.mark.parametrize("n_ranks", [1, 3])
def test_unknown_command(start: Start, tmp_path: Path, n_ranks: int) -> None:
    message = message_of(start(n_ranks, "gradeint"), 2, tmp_path / OUTPUT)
    assert message.startswith(
        "unknown command 'gradeint', did you mean gradient?; there are gradient, forward, plan, "
    )


def test_missing_configuration(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    message = message_of(start(1, str(path)), 2, tmp_path / OUTPUT)
    assert message == f"cannot read the configuration {path}: No such file or directory"


def test_error_in_a_configuration_file_names_the_file(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[time]\nsteps = -5\n", encoding="utf-8")
    message = message_of(start(1, str(path)), 2, tmp_path / OUTPUT)
    assert message.startswith(f"{path}: time.steps = -5: expected a whole number >= 1")
    path.write_text("[time\nsteps = 5\n", encoding="utf-8")
    message = message_of(start(1, str(path)), 2, tmp_path / OUTPUT)
    assert message.startswith(f"{path} is not TOML: ")
    assert "line 1" in message


def write_initial(path: Path, u: np.ndarray, v: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["u"], file["v"] = u, v


@pytest.fixture
def initial(tmp_path: Path) -> tuple[Path, list[str]]:
    """Where an initial file is to be, and the options that read it."""
    path = tmp_path / "initial.h5"
    kept = [option for option in SMALL if not option.startswith("-sinitial.")]
    return path, [*kept, "-sinitial.kind=file", f"-sinitial.path={path}"]


def test_initial_file_is_missing(
    start: Start, tmp_path: Path, initial: tuple[Path, list[str]]
) -> None:
    path, options = initial
    message = message_of(start(3, *options), 2, tmp_path / OUTPUT)
    assert message == f"initial.path = {path}: there is no such file"


def test_initial_file_is_no_hdf5(
    start: Start, tmp_path: Path, initial: tuple[Path, list[str]]
) -> None:
    path, options = initial
    path.write_text("u v\n", encoding="utf-8")
    message = message_of(start(3, *options), 2, tmp_path / OUTPUT)
    assert message.startswith(f"initial.path = {path}: cannot be read as HDF5: ")


def test_initial_file_has_the_wrong_shape(
    start: Start, tmp_path: Path, initial: tuple[Path, list[str]]
) -> None:
    path, options = initial
    write_initial(path, np.zeros((17, 23)), np.zeros((23, 17)))
    message = message_of(start(1, *options), 2, tmp_path / OUTPUT)
    assert message == (
        f"initial.path = {path}: /v has the shape (23, 17), the grid is (ny, nx) = (17, 23)"
    )


@pytest.mark.parametrize("n_ranks", [1, 3])
def test_initial_file_holds_a_nan_in_the_tile_of_one_rank(
    start: Start, tmp_path: Path, initial: tuple[Path, list[str]], n_ranks: int
) -> None:
    path, options = initial
    v = np.zeros((17, 23))
    v[16, 20] = math.nan
    write_initial(path, np.zeros((17, 23)), v)
    message = message_of(start(n_ranks, *options), 2, tmp_path / OUTPUT)
    assert message == f"initial.path = {path}: /v is nan at point [16, 20]"


def test_good_initial_file_is_used(
    start: Start, tmp_path: Path, initial: tuple[Path, list[str]]
) -> None:
    path, options = initial
    u, v = 0.1 * np.random.default_rng(1).normal(size=(2, 17, 23))
    write_initial(path, u, v)
    result = start(3, *options)
    assert result.returncode == 0, result.stderr
    with h5py.File(tmp_path / OUTPUT / "results.h5") as file:
        np.testing.assert_array_equal(file["state/initial/u"], u)
        np.testing.assert_array_equal(file["state/initial/v"], v)
        assert (file["state/final/u"][1:-1, 1:-1] != u[1:-1, 1:-1]).all()


def limits(viscosity: float = 0.05) -> tuple[float, float]:
    """The diffusive and the advective limit of dt of the small problem."""
    dx, dy = 3 / 22, 4.5 / 16
    x, y = np.linspace(-1, 2, 23), np.linspace(-1.5, 3, 17)[:, None]
    bell = np.exp(-(((x - 0.3) / 0.8) ** 2) - ((y - 0.9) / 1.1) ** 2)
    squares = (1.0**2 + 0.5**2) * (bell**2).max()
    return 0.5 / (viscosity * (1 / dx**2 + 1 / dy**2)), 2 * viscosity / squares


@pytest.mark.parametrize("n_ranks", [1, 3])
def test_unstable_time_step_names_the_limits_it_exceeds(
    start: Start, tmp_path: Path, n_ranks: int
) -> None:
    diffusive, advective = limits()
    diffusive_text = f"the diffusive limit 1 / (2 nu (1/dx^2 + 1/dy^2)) = {diffusive:.6g}"
    advective_text = f"the advective limit 2 nu / max(u^2 + v^2) = {advective:.6g}"
    hint = "; -s time.allow_unstable=true goes on all the same"

    assert advective < diffusive
    between = 0.5 * (advective + diffusive)
    message = message_of(start(n_ranks, *SMALL, f"-stime.dt={between}"), 3, tmp_path / OUTPUT)
    assert message.startswith(f"time.dt = {between:.6g} is unstable: it exceeds {advective_text} (")
    assert message.endswith(hint)
    if n_ranks > 1:
        return  # the limits are those of one rank

    above = 1.01 * diffusive
    message = message_of(start(n_ranks, *SMALL, f"-stime.dt={above}"), 3, tmp_path / OUTPUT)
    assert f"it exceeds {diffusive_text} and {advective_text} (" in message

    slow = [*SMALL, "-sinitial.amplitude=[0.01, 0.02]", f"-stime.dt={above}"]
    message = message_of(start(n_ranks, *slow), 3, tmp_path / OUTPUT)
    assert f"it exceeds {diffusive_text} (" in message


def test_time_step_just_below_the_limit_is_stable(start: Start) -> None:
    result = start(1, *SMALL, f"-stime.dt={0.999 * limits()[1]}")
    assert result.returncode == 0, result.stderr


def test_unstable_time_step_is_taken_when_allowed(start: Start, tmp_path: Path) -> None:
    options = [*SMALL, f"-stime.dt={1.01 * limits()[0]}", "-stime.steps=3"]
    result = start(1, *options, "-stime.allow_unstable=true")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / OUTPUT / "results.h5").exists()


def first_not_finite(options: list[str]) -> tuple[int, str, int, int]:
    """Step, field, row and column, found by looking at the state after every single step."""
    config = load(None, [option.removeprefix("-s") for option in options])
    problem = Problem(config, MPI.COMM_SELF)
    model = problem.case.model
    state = model.initial_state(problem.case.fields)
    for n in range(config.time.steps):
        model.advance(state, n, n + 1)
        bad = np.argwhere(~np.isfinite(model.layout.interior(state)))
        if len(bad):
            field, row, column = bad[0]
            return n + 1, "uv"[field], row, column
    raise AssertionError("the state stays finite")


@pytest.mark.parametrize(
    ("command", "n_ranks", "late"),
    [("gradient", 1, False), ("forward", 3, True), ("gradient", 3, True)],
)
def test_state_that_turns_not_finite_in_mid_run(
    start: Start, tmp_path: Path, command: str, n_ranks: int, late: bool
) -> None:
    options = [*SMALL, "-stime.allow_unstable=true", "-stime.steps=2000"]
    if late:
        # no viscosity: the steps grow slowly at first
        options += ["-sgrid.boundary=periodic", "-sphysics.viscosity=0.0", "-stime.dt=0.02"]
    else:
        options += ["-stime.dt=0.6"]
    step, field, row, column = first_not_finite(options)
    assert (step > STEPS_BETWEEN_CHECKS) == late
    message = message_of(start(n_ranks, command, *options), 3, tmp_path / OUTPUT)
    found = re.fullmatch(
        r"the state is no longer finite after step (\d+) \(t = (\S+)\): ([uv]) at point "
        r"\[(\d+), (\d+)\], x = (\S+), y = (\S+), on rank (\d+) of (\d+); a smaller time\.dt "
        r"may help",
        message,
    )
    assert found is not None, message
    assert found.group(1, 3, 4, 5) == (str(step), field, str(row), str(column))
    dt = 0.02 if late else 0.6
    assert float(found[2]) == pytest.approx(step * dt, rel=1e-5)
    spacing = (3 / 23, 4.5 / 17) if late else (3 / 22, 4.5 / 16)
    assert float(found[6]) == pytest.approx(-1 + column * spacing[0], abs=1e-5)
    assert float(found[7]) == pytest.approx(-1.5 + row * spacing[1], abs=1e-5)
    # three ranks share the columns: 8, 8 and 7
    owner = min(column // 8, 2) if n_ranks == 3 else 0
    assert (int(found[8]), int(found[9])) == (owner, n_ranks)


def test_more_ranks_than_the_grid_has_room_for(start: Start, tmp_path: Path) -> None:
    message = message_of(start(5, *SMALL, "-sgrid.nx=4", "-sgrid.ny=3"), 2, tmp_path / OUTPUT)
    assert message == (
        "5 ranks cannot each own a rectangle of the 3 x 4 (ny x nx) grid points: "
        "use a number of ranks py * px with py <= 3 and px <= 4"
    )


def test_process_grid_for_another_number_of_ranks(start: Start, tmp_path: Path) -> None:
    options = [*SMALL, "-sparallel.process_grid=[2, 2]"]
    message = message_of(start(3, *options), 2, tmp_path / OUTPUT)
    assert message == "parallel.process_grid = [2, 2] needs 4 ranks, but there are 3"


@pytest.mark.parametrize("weight", [1e200, 1e-200])
def test_gradient_of_a_magnitude_whose_square_is_no_number(
    start: Start, tmp_path: Path, weight: float
) -> None:
    result = start(
        1, *SMALL, "-s", "objective.kind=weighted_sum",
        "-s", f"objective.weights={{final_energy={weight}}}", "--json", str(tmp_path / "big.json"),
    )  # fmt: skip
    assert (result.returncode, result.stderr.count("Warning")) == (0, 0)
    assert start(1, *SMALL, "--json", str(tmp_path / "one.json")).returncode == 0
    big, one = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("big", "one"))
    for name, norm in one["gradient_norm"].items():
        assert big["gradient_norm"][name] == pytest.approx(weight * norm, rel=1e-12)


def test_failed_run_leaves_earlier_results_as_they_are(start: Start, tmp_path: Path) -> None:
    assert start(1, *SMALL).returncode == 0
    before = (tmp_path / OUTPUT / "results.h5").read_bytes()
    result = start(1, *SMALL, "-stime.dt=0.6", "-stime.allow_unstable=true")
    assert result.returncode == 3
    assert (tmp_path / OUTPUT / "results.h5").read_bytes() == before
    assert sorted(os.listdir(tmp_path / OUTPUT)) == ["config.toml", "results.h5", "results.xdmf"]


def test_debug_shows_the_traceback(start: Start) -> None:
    result = start(1, *SMALL, "-stime.dt=0.6", "--debug")
    assert result.returncode == 3
    assert "Traceback" in result.stderr
    assert "error: time.dt = 0.6 is unstable" in result.stderr
