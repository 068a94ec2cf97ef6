"""`plan --inside` on ranks: all try the same and find the same."""

from typing import Any

import pytest
from mpi4py import MPI

from burgers_adjoint.commands.plan_inside import plan_inside
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import ConfigError

COMM = MPI.COMM_WORLD


def config_with(memory: str) -> Any:
    return from_dict(
        {
            "grid": {"nx": 19, "ny": 14},
            "time": {"steps": 9, "integrator": "ssprk3"},
            "snapshots": {"memory": memory},
        }
    )


def test_all_ranks_find_the_same() -> None:
    summary, text = plan_inside(config_with("40 kB"), COMM)
    everywhere = COMM.allgather((summary, text))
    assert everywhere.count(everywhere[0]) == COMM.size
    sites = sorted(row["site"] for row in summary.sites if "/" in row["site"])
    assert sites == ["snapshots/lossless", "step/stages"]
    assert all(one["bytes"] <= 40_000 for one in summary.tried)


def test_too_little_memory_is_refused_on_all_ranks() -> None:
    with pytest.raises(ConfigError, match="100 bytes do not hold one snapshot") as caught:
        plan_inside(config_with("100 B"), COMM)
    assert caught.value.agreed
