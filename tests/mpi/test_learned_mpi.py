"""The learned codec on all ranks: trained on any number of them, used in every store."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly.learned import read
from burgers_adjoint.commands.train import train
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.output.progress import Progress
from tests.mpi.test_codecs_mpi import COMM, PROBLEM, STORES, exact, folder, reversed_by

__all__ = ["folder"]  # a fixture

TRAIN = {"kind": "linear", "patch": 4, "ratio": 8, "runs": 2, "states": 8, "samples": 800}


def trained(comm: MPI.Comm, path: Path) -> Path:
    config = from_dict({**PROBLEM, "train": TRAIN, "snapshots": {"learned": str(path)}})
    summary = train(config, comm, Progress(shown=False))
    assert summary.ranks == comm.size
    return path


def test_training_is_the_same_on_any_ranks(folder: Path) -> None:
    of_all = read(trained(COMM, folder / "all.h5"), "all")
    alone = read(trained(MPI.COMM_SELF, folder / f"alone{COMM.rank}.h5"), "alone")
    assert (of_all.analysis == alone.analysis).all()


@pytest.mark.parametrize("store", STORES)
def test_all_states_encoded_and_none_computed_again(folder: Path, store: str) -> None:
    path = str(trained(COMM, folder / "codec.h5"))
    section: dict[str, Any] = {"codec": "learned", "learned": path, "directory": str(folder)}
    section |= STORES[store]
    schedule = {"checkpointing": {"schedule": "store_all"}}
    errors = []
    for more in ({}, {"tolerance": 1e-6}):
        gradient = reversed_by(COMM, {**section, **more}, **schedule)[1]
        if gradient is not None:
            error = np.linalg.norm(gradient - exact()[1]) / np.linalg.norm(exact()[1])
            errors.append(error)
    if errors:
        assert 0 < errors[1] < errors[0] < 1e-3
        assert errors[1] < 1e-5


def test_a_missing_file_is_said_on_all_ranks(folder: Path) -> None:
    section = {"codec": "learned", "learned": str(folder / "none.h5")}
    with pytest.raises(ConfigError, match=r"snapshots.learned = .*none.h5: there is no such file"):
        reversed_by(COMM, section)
