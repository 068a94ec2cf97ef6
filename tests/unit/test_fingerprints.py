"""What a run has read is known again by whoever goes on with it."""

import shutil
from pathlib import Path

import pytest
from mpi4py import MPI

from burgers_adjoint.commands.forward import forward
from burgers_adjoint.commands.gradient import gradient
from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.config import Config, from_dict
from burgers_adjoint.errors import RestartError
from burgers_adjoint.files.hdf5 import attributes
from burgers_adjoint.output.progress import Progress

ALONE = MPI.COMM_SELF
QUIET = Progress(False)


def configured(folder: Path, **sections: dict) -> Config:
    data: dict = {
        "grid": {"nx": 14, "ny": 11, "x": [0.0, 3.0], "y": [-1.0, 1.0]},
        "initial": {"center": [1.2, 0.1], "width": 0.7, "amplitude": [0.6, -0.2]},
        "physics": {"viscosity": 0.03},
        "time": {"steps": 400, "dt": 0.005},
        "checkpointing": {"snapshots": 4},
        "output": {"directory": str(folder), "plots": False},
    }
    for name, section in sections.items():
        data[name] = {**data.get(name, {}), **section}
    return from_dict(data)


@pytest.fixture
def observed(tmp_path: Path) -> Path:
    """Observations A and B, and a copy of A that runs read."""
    for name, amplitude in (("A", [0.6, -0.2]), ("B", [0.5, 0.5])):
        config = configured(
            tmp_path / "made", initial={"amplitude": amplitude}, observations={"count": 5}
        )
        forward(config, ALONE, QUIET, observe=str(tmp_path / f"{name}.h5"))
    shutil.copy(tmp_path / "A.h5", tmp_path / "seen.h5")
    return tmp_path / "seen.h5"


def misfit(folder: Path, observed: Path, **sections: dict) -> Config:
    return configured(
        folder,
        objective={"kind": "misfit"},
        observations={"path": str(observed), "count": 5},
        **sections,
    )


def test_a_finished_run_is_not_told_again_with_other_observations(observed: Path) -> None:
    config = misfit(observed.parent / "run", observed, restart={"enabled": True})
    first = gradient(config, ALONE, QUIET)
    assert gradient(config, ALONE, QUIET, "auto").digest == first.digest
    shutil.copy(observed.parent / "B.h5", observed)
    message = rf"observations.path = {observed} has changed .*: put that file back, or begin anew"
    with pytest.raises(RestartError, match=message) as error:
        gradient(config, ALONE, QUIET, "auto")
    assert error.value.exit_code == 4
    assert gradient(config, ALONE, QUIET, "never").digest != first.digest
    assert '"observations.path":"' in attributes(observed.parent / "run" / "results.h5")["files"]


def test_an_unfinished_search_does_not_go_on_with_other_observations(observed: Path) -> None:
    pytest.importorskip("petsc4py")
    folder = observed.parent / "search"
    wrong = {"amplitude": [0.5, -0.1]}
    optimize(misfit(folder, observed, initial=wrong, tao={"iterations": 2}), ALONE, QUIET)
    whole = misfit(folder, observed, initial=wrong, tao={"iterations": 40})
    shutil.copy(observed.parent / "B.h5", observed)
    with pytest.raises(RestartError, match=rf"controls.h5 is .* observations.path = {observed}"):
        optimize(whole, ALONE, QUIET)
    shutil.copy(observed.parent / "A.h5", observed)
    done = optimize(whole, ALONE, QUIET).optimize
    assert done
    assert done.iterations > 2


def test_an_unfinished_search_does_not_go_on_from_another_first_guess(observed: Path) -> None:
    pytest.importorskip("petsc4py")
    parent = observed.parent
    first = parent / "made" / "results.h5"  # of B
    guess = parent / "guess.h5"
    shutil.copy(first, guess)
    initial = {"kind": "file", "path": str(guess)}
    config = misfit(parent / "search", observed, initial=initial, tao={"iterations": 1})
    optimize(config, ALONE, QUIET)
    forward(configured(parent / "made"), ALONE, QUIET)
    shutil.copy(first, guess)
    with pytest.raises(RestartError, match=rf"initial.path = {guess} has changed"):
        optimize(config, ALONE, QUIET)


def test_nobody_goes_on_with_the_observations_of_another_truth(tmp_path: Path) -> None:
    pytest.importorskip("petsc4py")
    for name, amplitude in (("A", [0.6, -0.2]), ("B", [0.5, 0.5])):
        forward(configured(tmp_path / name, initial={"amplitude": amplitude}), ALONE, QUIET)
    truth = tmp_path / "truth.h5"
    shutil.copy(tmp_path / "A" / "results.h5", truth)

    def twin(folder: str, **sections: dict) -> Config:
        return configured(
            tmp_path / folder,
            objective={"kind": "misfit"},
            observations={"count": 5},
            truth={"twin": True, "kind": "file", "path": str(truth)},
            **sections,
        )

    optimize(twin("search", tao={"iterations": 2}), ALONE, QUIET)
    run = twin("run", restart={"enabled": True})
    first = gradient(run, ALONE, QUIET)
    shutil.copy(tmp_path / "B" / "results.h5", truth)
    message = rf"truth.path = {truth} has changed"
    with pytest.raises(RestartError, match=message):
        optimize(twin("search", tao={"iterations": 40}), ALONE, QUIET)
    with pytest.raises(RestartError, match=message):
        gradient(run, ALONE, QUIET, "auto")
    assert gradient(run, ALONE, QUIET, "never").digest != first.digest
