"""The door for programs on many ranks: the same numbers on all of them, and errors on all."""

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import burgers_adjoint as ba
from burgers_adjoint.parallel.reductions import norm

COMM, ALONE = MPI.COMM_WORLD, MPI.COMM_SELF
SECTIONS: dict[str, dict[str, Any]] = {
    "grid": {"nx": 23, "ny": 19, "x": [-1, 2], "y": [-1.5, 3], "boundary": "periodic"},
    "physics": {"viscosity": 0.05},
    "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
    "time": {"dt": 0.02, "steps": 13},
    "gradient": {"controls": ["initial", "viscosity", "forcing"]},
    "checkpointing": {"snapshots": 3},
}


@pytest.fixture
def problem():
    with ba.Problem(SECTIONS) as one:
        yield one


def elsewhere(one: ba.Problem, shape: tuple[int, ...]) -> np.ndarray:
    """A field that is no symmetric one, the same on any number of ranks."""
    rows, columns = one.case.decomposition.rows, one.case.decomposition.columns
    whole = np.random.default_rng(5).normal(size=shape)
    return np.ascontiguousarray(whole[..., rows, columns])


def test_gradients_have_the_bits_of_one_rank(problem: ba.Problem) -> None:
    def found(one: ba.Problem) -> tuple[Any, ...]:
        m = one.controls()
        m["initial"] += 0.1 * elsewhere(one, (2, 19, 23))
        m["forcing"] = elsewhere(one, (2, 19, 23))
        m["viscosity"] *= 1.1
        J, g = one.value_and_gradient(m)
        assert one.value(m) == J
        return J, g["viscosity"], one.gather(g["initial"]), one.gather(g["forcing"])

    J, viscosity, initial, forcing = found(problem)
    with ba.Problem(SECTIONS, ALONE) as alone:
        expected = found(alone)
    assert (J, viscosity) == expected[:2]
    if COMM.rank:
        assert initial is None
        assert forcing is None
    else:
        np.testing.assert_array_equal(initial, expected[2])
        np.testing.assert_array_equal(forcing, expected[3])


def test_scatter_is_the_inverse_of_gather(problem: ba.Problem) -> None:
    tile = elsewhere(problem, (3, 2, 19, 23))
    whole = problem.gather(tile)
    np.testing.assert_array_equal(problem.scatter(whole), tile)


def test_trajectories_are_the_runs_states(problem: ba.Problem) -> None:
    seen = list(problem.trajectory(every=5))
    assert [n for n, _ in seen] == [0, 5, 10, 13]
    np.testing.assert_array_equal(seen[0][1], problem.controls()["initial"])
    problem.value()
    np.testing.assert_array_equal(seen[-1][1], problem.case.model.final)
    with ba.Problem(SECTIONS, ALONE) as alone:
        whole = problem.gather(seen[2][1])
        if COMM.rank == 0:
            np.testing.assert_array_equal(whole, list(alone.trajectory(every=5))[2][1])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda m: m.update(initial=np.zeros((2, 3, 3))),
            r"initial has values of the shape .*3, 3",
        ),
        (lambda m: m.update(viscosity=np.nan), r"viscosity .* has the value nan"),
        (lambda m: m["initial"].__setitem__((1, -1, 0), np.inf), r"has the value inf at \[1, "),
        (lambda m: m.update(initial=m["initial"] * 1j), r"initial has real numbers .* complex128"),
        (lambda m: m.update(vicosity=1.0), r"no control 'vicosity', did you mean viscosity"),
    ],
)
def test_what_does_not_fit_on_one_rank_is_refused_on_all(
    problem: ba.Problem, spoil: Any, message: str
) -> None:
    m = problem.controls()
    if COMM.rank == COMM.size - 1:
        spoil(m)
    with pytest.raises(ba.ConfigError, match=message) as error:
        problem.value_and_gradient(m)
    assert error.value.agreed
    J, g = problem.value_and_gradient()
    assert J > 0
    assert norm(COMM, g["initial"]) > 0


def test_tiles_of_another_shape_are_not_gathered(problem: ba.Problem) -> None:
    wrong = np.zeros(
        (2, 1, 1) if COMM.rank == COMM.size - 1 else problem.controls()["initial"].shape
    )
    with pytest.raises(ba.ConfigError, match=r"the tile has the shape \(\.\.\., \d+, \d+\), not"):
        problem.gather(wrong)
    with pytest.raises(ba.ConfigError, match=r"the whole grid has the shape \(\.\.\., 19, 23\)"):
        problem.scatter(np.zeros((23, 19)) if COMM.rank == 0 else None)


def test_runs_that_fail_leave_the_problem_as_it_was(problem: ba.Problem) -> None:
    J = problem.value()
    wild = {"initial": 1e150 * elsewhere(problem, (2, 19, 23))}
    with pytest.raises(ba.NumericalError, match="step"):
        problem.value_and_gradient(wild)
    assert problem.value_and_gradient()[0] == J


def test_a_freed_communicator_is_refused() -> None:
    own = COMM.Dup()
    one = ba.Problem(SECTIONS, own)
    J = one.value()
    own.Free()
    with pytest.raises(ba.BurgersAdjointError, match="communicator of this problem was freed"):
        one.value()
    with pytest.raises(ba.ConfigError, match="was freed"):
        ba.Problem(SECTIONS, own)
    assert J > 0


def test_checks_pass_away_from_the_background() -> None:
    background = {"deviation": {"initial": 0.5, "viscosity": 0.1}, "smoothness": {"forcing": 2.0}}
    sections = SECTIONS | {"background": background, "check": {"second_order": True}}
    with ba.Problem(sections) as one:
        m = one.controls()
        m["initial"] += 0.1 * elsewhere(one, (2, 19, 23))
        m["forcing"] += 0.1 * elsewhere(one, (2, 19, 23))
        m["viscosity"] *= 1.2
        found = one.check(m)
    assert [check.name for check in found.checks if not check.passed] == []
    assert (f"products on one rank against {COMM.size}" in [c.name for c in found.checks]) == (
        COMM.size > 1
    )
