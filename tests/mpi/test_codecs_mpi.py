"""Gradients with encoded snapshots, in every store, on all ranks."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.problem import Problem

COMM = MPI.COMM_WORLD
PROBLEM: dict[str, dict[str, Any]] = {
    "grid": {"nx": 31, "ny": 23, "x": [-1, 2], "y": [-1.5, 3]},
    "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
    "time": {"dt": 0.002, "steps": 40},
    "checkpointing": {"snapshots": 6},
}
STORES = {
    "memory": {},
    "hdf5": {"store": "hdf5"},
    "hdf5_shared": {"store": "hdf5_shared"},
    "tiered": {"store": "tiered", "memory": "64 KiB", "buffers": 2},
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all ranks share."""
    made = tempfile.TemporaryDirectory() if COMM.rank == 0 else None
    yield Path(COMM.bcast(made and made.name, root=0))
    COMM.Barrier()
    if made is not None:
        made.cleanup()


def reversed_by(
    comm: MPI.Comm, snapshots: dict[str, Any], **sections: dict[str, Any]
) -> tuple[str, np.ndarray | None]:
    """Digest, and the whole gradient on rank 0."""
    with Problem({**PROBLEM, **sections, "snapshots": snapshots}, comm) as problem:
        _, gradient = problem.value_and_gradient()
        digest = problem.case.digest(problem.case.model.final, gradient)
        return digest, problem.gather(gradient["initial"])


@cache
def exact(integrator: str = "euler", stages: str = "recompute") -> tuple[str, np.ndarray]:
    """Digest and gradient of one rank without a codec."""
    time = {**PROBLEM["time"], "integrator": integrator, "stages": stages}
    digest, gradient = reversed_by(MPI.COMM_SELF, {}, time=time)
    assert gradient is not None
    return digest, gradient


@pytest.mark.parametrize("store", STORES)
def test_a_lossless_codec_keeps_all_bits(folder: Path, store: str) -> None:
    section = {"codec": "lossless", "directory": str(folder), **STORES[store]}
    assert reversed_by(COMM, section)[0] == exact()[0]


def test_a_lossless_codec_keeps_the_bits_of_stages(folder: Path) -> None:
    time = {**PROBLEM["time"], "integrator": "rk4", "stages": "keep"}
    found = reversed_by(COMM, {"codec": "lossless"}, time=time)[0]
    assert found == exact("rk4", "keep")[0] == exact("rk4")[0]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    ("codec", "most"),
    [
        ({"codec": "float32"}, 1e-7),
        ({"codec": "bounded", "tolerance": 1e-6}, 1e-5),
        ({"codec": "bounded", "tolerance": 1e-6, "tolerance_kind": "absolute"}, 1e-5),
        ({"codec": "quantised", "tolerance": 1e-6}, 1e-5),
    ],
    ids=str,
)
def test_a_lossy_codec_changes_the_gradient_a_little(
    folder: Path, store: str, codec: dict[str, Any], most: float
) -> None:
    section = {**codec, "directory": str(folder), **STORES[store]}
    digest, gradient = reversed_by(COMM, section)
    assert digest != exact()[0]
    if gradient is not None:
        norm = np.linalg.norm
        assert 0 < norm(gradient - exact()[1]) < most * norm(gradient)


@pytest.mark.parametrize(
    "section",
    [
        {"codec": "float32"},
        {"codec": "quantised", "tolerance": 1e-5},
        # of the next one steps are as small as round-off: one tile's are off, and all are exact
        {"codec": "quantised", "tolerance": 1e-13},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [{}, {"nx": 6, "ny": 5}], ids=["", "tiny"])
def test_what_rounds_each_value_by_itself_is_the_same_on_any_ranks(
    section: dict[str, Any], shape: dict[str, int]
) -> None:
    grid = {"grid": {**PROBLEM["grid"], **shape}}
    assert reversed_by(COMM, section, **grid)[0] == reversed_by(MPI.COMM_SELF, section, **grid)[0]


def test_products_of_the_hessian_have_encoded_snapshots() -> None:
    found = []
    for snapshots in ({}, {"codec": "lossless"}, {"codec": "bounded", "tolerance": 1e-7}):
        with Problem({**PROBLEM, "snapshots": snapshots}, COMM) as problem:
            direction = {"viscosity": 0.01, "initial": problem.controls()["initial"]}
            products = [
                problem.hessian_product(None, direction),
                problem.gauss_newton_product(None, direction),
            ]
            found.append([problem.gather(one["initial"]) for one in products])
    if COMM.rank == 0:
        for plain, lossless, bounded in zip(*found, strict=True):
            np.testing.assert_array_equal(plain, lossless)
            assert 0 <= np.linalg.norm(bounded - plain) < 1e-6 * np.linalg.norm(plain)


def test_what_is_found_for_a_wanted_error_is_the_same_on_all_ranks() -> None:
    snapshots = {"codec": "bounded", "gradient_error": 1e-5, "memory": "40 kB"}
    checkpointing = {"snapshots": "as many as fit"}
    with Problem({**PROBLEM, "checkpointing": checkpointing, "snapshots": snapshots}, COMM) as one:
        _, gradient = one.value_and_gradient()
        encoding = one.checkpointing.stores.encoding
        assert encoding is not None
        found = (one.checkpointing.snapshots, encoding.tolerance)
        assert COMM.bcast(found, root=0) == found
        whole = one.gather(gradient["initial"])
    if whole is not None:
        error = np.linalg.norm(whole - exact()[1]) / np.linalg.norm(whole)
        assert 1e-8 < error < 1e-5


def test_the_far_tier_alone_is_encoded() -> None:
    checkpointing = {"schedule": "two_level", "snapshots": 2, "snapshots_on_disk": 4}
    digest, _ = reversed_by(COMM, {"codec": "lossless"}, checkpointing=checkpointing)
    assert digest == exact()[0]
