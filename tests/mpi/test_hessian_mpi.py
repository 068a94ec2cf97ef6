"""`hessian`: the same bits over ranks, schedules, stores, batches, stops and what goes on after."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.commands.hessian import hessian
from burgers_adjoint.config import Config, load
from burgers_adjoint.errors import ConfigError, InterruptedRunError, RestartError
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import RunSummary
from burgers_adjoint.parallel.failure import patient_barrier
from burgers_adjoint.problem import Problem
from tests.interruptions import At, stopping

COMM = MPI.COMM_WORLD
PROBLEM = [
    *("grid.nx=19", "grid.ny=23", "grid.x=[-4.0, 3.0]", "initial.amplitude=[1.0, 0.6]"),
    *("time.steps=60", "checkpointing.snapshots=5", "output.plots=false"),
    *("objective.kind=weighted_sum", "physics.advection=upwind", "time.integrator=ssprk3"),
    "objective.weights={ final_energy = 1.0, running_enstrophy = 0.3 }",
    "gradient.controls=['initial', 'viscosity', 'forcing_in_time']",
    *("controls.knots=[0.01, 0.05]", "background.deviation={ initial = 2.0, viscosity = 0.1 }"),
    *("hessian.count=2", "restart.overhead=1.0"),
]
DURABLE = "restart.enabled=true"
STORES = {
    "memory": [],
    "hdf5": ["snapshots.store=hdf5"],
    "tiered": [
        *("snapshots.store=tiered", "checkpointing.snapshots=2"),
        *("checkpointing.schedule=two_level", "checkpointing.snapshots_on_disk=3"),
    ],
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all ranks share."""
    name = tempfile.mkdtemp() if COMM.rank == 0 else None
    path = Path(COMM.bcast(name, root=0))
    yield path
    patient_barrier(COMM)
    if COMM.rank == 0:
        shutil.rmtree(path)


def configured(folder: Path, *overrides: str) -> Config:
    return load(None, [*PROBLEM, f"snapshots.directory={folder}", *overrides], str(folder))


def multiplied(config: Config, comm: MPI.Comm = COMM, stop: int = 10**9) -> RunSummary | None:
    """Products on some ranks; None where they were stopped, by the last rank alone."""
    progress = At(stop if comm.rank == comm.size - 1 else 10**9)
    try:
        return hessian(config, comm, progress, "auto")  # type: ignore[arg-type]
    except InterruptedRunError:
        assert stop < 10**9
        return None


def alone(folder: Path, *overrides: str) -> RunSummary:
    """The uninterrupted products on one rank, as all ranks see them."""
    found = None
    if COMM.rank == 0:
        config = configured(folder / "alone", *overrides, "restart.enabled=false")
        found = hessian(config, MPI.COMM_SELF, Progress(False))
    return COMM.bcast(found, root=0)


@pytest.mark.parametrize(
    ("kind", "products"), [*((kind, "full") for kind in STORES), ("memory", "gauss_newton")]
)
def test_what_was_stopped_goes_on_with_the_same_bits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, products: str
) -> None:
    stopping(monkeypatch)
    overrides = [DURABLE, f"hessian.kind={products}", *STORES[kind]]
    config = configured(folder / "run", *overrides)
    assert multiplied(config, stop=40) is None
    columns = configured(folder / "run", *overrides, f"parallel.process_grid=[1, {COMM.size}]")
    assert multiplied(columns, stop=170) is None
    summary = multiplied(config)
    assert summary is not None
    assert summary.restart.resumed == 2
    assert summary.restart.lost_steps == 0
    expected = alone(folder, f"hessian.kind={products}")
    assert summary.digest == expected.digest
    assert summary.product_norms == expected.product_norms
    # the same command again has nothing left to do
    again = multiplied(config)
    assert again is not None
    assert again.digest == expected.digest


def test_products_are_those_of_the_library_one_by_one(folder: Path) -> None:
    config = configured(folder)
    summary = hessian(config, COMM, Progress(False))
    assert len(summary.product_norms) == 2
    with h5py.File(folder / "results.h5") as file, Problem(config, COMM) as problem:
        tile = problem.case.decomposition
        rows, columns = tile.rows, tile.columns
        for n in range(2):
            given, found = file[f"directions/{n:04d}"], file[f"products/{n:04d}"]
            direction = {
                "initial": np.stack([given[f"initial/{name}"][rows, columns] for name in "uv"]),
                "viscosity": float(given["viscosity"][()]),
                "forcing_in_time": np.array(
                    [
                        [given[f"forcing_in_time/{knot}/{name}"][rows, columns] for name in "uv"]
                        for knot in ("0000", "0001")
                    ]
                ),
            }
            product = problem.hessian_product(None, direction)
            assert product["viscosity"] == found["viscosity"][()]
            for f, name in enumerate("uv"):
                np.testing.assert_array_equal(
                    product["initial"][f], found[f"initial/{name}"][rows, columns]
                )
                np.testing.assert_array_equal(
                    product["forcing_in_time"][1, f],
                    found[f"forcing_in_time/0001/{name}"][rows, columns],
                )


def test_other_directions_do_not_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping(monkeypatch)
    assert multiplied(configured(folder, DURABLE), stop=40) is None
    other = configured(folder, DURABLE, "hessian.seed=4")
    with pytest.raises(RestartError, match=r"another run: hessian\.directions = "):
        multiplied(other)


def test_a_file_without_directions_is_refused_on_all_ranks(folder: Path) -> None:
    if COMM.rank == 0:
        with h5py.File(folder / "some.h5", "w") as file:
            file["directions/0000/forcing"] = 1.0
    patient_barrier(COMM)
    path = f"hessian.directions={folder / 'some.h5'}"
    with pytest.raises(ConfigError, match="/directions/0000 has none of the controls initial, "):
        hessian(configured(folder / "out", path), COMM, Progress(False))
    with pytest.raises(ConfigError, match=r"there is no /modes/0000, as hessian.group = 'modes'"):
        hessian(configured(folder / "out", path, "hessian.group=modes"), COMM, Progress(False))
    assert not (folder / "out" / "results.h5").exists()
