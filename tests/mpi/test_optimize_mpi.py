"""An optimisation takes the same path on all ranks as on one."""

from pathlib import Path

import pytest
from mpi4py import MPI

from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.output.progress import Progress

pytest.importorskip("petsc4py")
COMM = MPI.COMM_WORLD


@pytest.mark.parametrize("too_long", [False, True], ids=["plain", "failing-trials"])
def test_the_path_is_that_of_one_rank(too_long: bool, tmp_path_factory) -> None:
    folder = COMM.bcast(tmp_path_factory.mktemp("best") if COMM.rank == 0 else None, root=0)
    paths, failed = [], []
    for comm, name in ((COMM, "all"), (MPI.COMM_SELF, f"alone-{COMM.rank}")):
        data = {
            "grid": {"nx": 17, "ny": 13, "x": [-1, 2], "y": [-1.5, 3]},
            "physics": {"viscosity": 0.05},
            "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
            "truth": {"twin": True, "viscosity": 0.06, "amplitude": [0.8, -0.3]},
            "time": {"dt": 0.02, "steps": 9},
            "objective": {"kind": "misfit"},
            "observations": {"count": 3, "kind": "sensors"},
            "gradient": {"controls": ["initial", "viscosity", "forcing", "boundary"]},
            "controls": {"scale": {"viscosity": 0.01}, "lower": {"viscosity": 0.01}},
            "background": {"smoothness": {"initial": 3.0}, "deviation": {"forcing": 0.5}},
            "tao": {"iterations": 10},
            "output": {"directory": str(folder / name), "plots": False},
        }
        if too_long:  # by the scale, so that trials blow up
            data["controls"]["scale"] |= {"initial": 1000.0}
            data["time"]["steps"] = 30
        summary = optimize(from_dict(data), comm, Progress(shown=False))
        paths.append(summary.optimize.objective)
        failed.append(summary.optimize.failed_trials)
    assert len(paths[0]) == 11
    assert failed[0] == failed[1]
    assert (failed[0] > 0) is too_long
    assert paths[0] == pytest.approx(paths[1], rel=1e-10)


class InTheWay(Progress):
    """Somebody puts a folder where results.h5 is to be written, while the search goes on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(shown=False)
        self.path = folder / "results.h5.partial"

    def say(self, message: str) -> None:
        if message.startswith("iteration 1:") and COMM.rank == 0:
            self.path.unlink()
            self.path.mkdir()


def test_what_all_ranks_have_found_is_written_later(tmp_path_factory) -> None:
    folder = COMM.bcast(tmp_path_factory.mktemp("later") if COMM.rank == 0 else None, root=0)

    def search(name: str, progress: Progress):
        data = {
            "grid": {"nx": 17, "ny": 13, "x": [-1, 2], "y": [-1.5, 3]},
            "physics": {"viscosity": 0.05},
            "truth": {"twin": True, "amplitude": [0.8, -0.3]},
            "time": {"dt": 0.02, "steps": 9},
            "objective": {"kind": "misfit"},
            "observations": {"count": 3},
            "gradient": {"controls": ["initial", "viscosity"]},
            "controls": {"scale": {"viscosity": 0.03}},
            "tao": {"iterations": 3, "gttol": 0.0},
            "output": {"directory": str(folder / name), "plots": False},
        }
        return optimize(from_dict(data), COMM, progress)

    expected = search("whole", Progress(shown=False))
    blocked = InTheWay(folder / "blocked")
    with pytest.raises(BurgersAdjointError, match="what the search found is saved in") as error:
        search("blocked", blocked)
    assert error.value.agreed
    COMM.Barrier()
    if COMM.rank == 0:
        blocked.path.rmdir()
    COMM.Barrier()
    done = search("blocked", Progress(shown=False))
    assert (done.digest, done.objective) == (expected.digest, expected.objective)
    assert done.optimize.objective == expected.optimize.objective
    assert done.optimize.evaluations == expected.optimize.evaluations
