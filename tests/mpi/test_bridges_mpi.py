"""Bridges on many ranks: the same bits as on one, and errors that reach all."""

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import burgers_adjoint as ba
from burgers_adjoint.bridges.parameters import Parameters
from burgers_adjoint.bridges.tao import TaoObjective

COMM, ALONE = MPI.COMM_WORLD, MPI.COMM_SELF
SECTIONS: dict[str, dict[str, Any]] = {
    "grid": {"nx": 23, "ny": 19, "x": [-1, 2], "y": [-1.5, 3]},
    "physics": {"viscosity": 0.05},
    "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
    "time": {"dt": 0.02, "steps": 9},
    "gradient": {"controls": ["initial", "boundary", "viscosity"]},
    "controls": {"scale": {"viscosity": 0.1, "initial": 2.0}, "lower": {"viscosity": 1e-3}},
}


class Early:
    """J = a sum over two states of a run of what no symmetry hides."""

    steps = (3, 9)

    def value(self, state: np.ndarray, step: int) -> np.ndarray:
        u, v = state
        return step * u**2 * v + np.cos(v)

    def derivative(self, state: np.ndarray, step: int) -> np.ndarray:
        u, v = state
        return np.stack([2 * step * u * v, step * u**2 - np.sin(v)])


def test_scipy_sees_the_same_vector_on_any_ranks() -> None:
    def asked(problem: ba.Problem) -> tuple[Any, ...]:
        f = problem.as_scipy()
        assert (f.x0.size > 0) == (problem.comm.rank == 0)

        def program(f: Any) -> tuple[Any, ...]:
            noise = np.random.default_rng(3).normal(size=f.x0.size)
            x = f.x0 + 0.01 * noise
            J, g = f.fun(x), f.jac(x)
            size = 1e-6
            slope = (f.fun(x + size * noise) - f.fun(x - size * noise)) / (2 * size)
            assert g @ noise == pytest.approx(slope, rel=1e-6)
            assert f.bounds[-1] == (1e-2, None)
            assert f.bounds[0] == (None, None)
            return J, g.tobytes(), len(f.bounds)

        found = f.drive(program)
        assert found[2] == 2 * 19 * 23 + 1  # a point is the initial control's or the boundary's
        return found

    with ba.Problem(SECTIONS) as problem, ba.Problem(SECTIONS, ALONE) as alone:
        assert asked(problem) == asked(alone)


def test_errors_while_scipy_drives_reach_all_ranks() -> None:
    def wild(f: Any) -> None:
        with pytest.raises(ba.NumericalError):
            f.fun(1e200 * f.x0)
        assert f.fun(f.x0) > 0
        raise ValueError("enough")

    with ba.Problem(SECTIONS) as problem:
        f = problem.as_scipy()
        kind = ValueError if COMM.size == 1 else ba.BurgersAdjointError
        with pytest.raises(kind, match="enough"):
            f.drive(wild)
        if COMM.size > 1 and COMM.rank == 0:
            with pytest.raises(ba.BurgersAdjointError, match="let `drive` call it"):
                f.fun(2 * f.x0)


def test_an_objective_of_ones_own_has_the_bits_of_one_rank() -> None:
    def found(problem: ba.Problem) -> tuple[Any, ...]:
        J, g = problem.value_and_gradient()
        assert problem.value() == J
        return J, g["viscosity"], problem.gather(g["initial"] + g["boundary"])

    with ba.Problem(SECTIONS, objective=Early()) as problem:
        J, viscosity, initial = found(problem)
        assert problem.check().passed
    with ba.Problem(SECTIONS, ALONE, objective=Early()) as alone:
        expected = found(alone)
    assert (J, viscosity) == expected[:2]
    assert COMM.rank or initial.tobytes() == expected[2].tobytes()


def test_an_objective_that_fails_on_one_rank_fails_on_all() -> None:
    class Failing(Early):
        def value(self, state: np.ndarray, step: int) -> np.ndarray:
            if COMM.rank == COMM.size - 1:
                raise ValueError("not today")
            return super().value(state, step)

    class Misshapen(Early):
        def derivative(self, state: np.ndarray, step: int) -> np.ndarray:
            return state[0]

    said = "derivative after step 9 has the shape"
    with (
        ba.Problem(SECTIONS, objective=Failing()) as one,
        ba.Problem(SECTIONS, objective=Misshapen()) as other,
    ):
        with pytest.raises(ba.BurgersAdjointError, match="ValueError: not today"):
            one.value()
        with pytest.raises(ba.ConfigError, match=said):
            other.value_and_gradient()


def test_final_states_pull_back_what_any_objective_gives() -> None:
    with ba.Problem(SECTIONS) as problem:
        final = problem.final_state()
        m = problem.controls()
        m["viscosity"] *= 1.1
        state = final.state(m)
        g = problem.value_and_gradient(m)[1]
        np.testing.assert_array_equal(state, problem.case.model.final)
        ny, nx = problem.case.grid.shape
        weights = 2 * state / (ny * nx)
        for fields, span, n in ((-2, problem.case.decomposition.rows, ny),
                                (-1, problem.case.decomposition.columns, nx)):  # fmt: skip
            index: list[Any] = [slice(None)] * 3
            for edge in (0, n - 1):
                if span.start <= edge < span.stop:
                    index[fields] = edge - span.start
                    weights[tuple(index)] = 0.0
        pulled = final.pull_back(m, weights)
        np.testing.assert_allclose(pulled["initial"], g["initial"], rtol=1e-12, atol=1e-18)
        assert pulled["viscosity"] == pytest.approx(g["viscosity"], rel=1e-12)
        with pytest.raises(ba.ConfigError, match="weights of a final state"):
            final.pull_back(m, np.zeros(3))
    with pytest.raises(ba.BurgersAdjointError, match="closed"):
        final.state(m)


def test_few_numbers_have_the_bits_of_one_rank() -> None:
    def found(problem: ba.Problem) -> tuple[float, list[float]]:
        x, y = problem.x, problem.y

        def bump(p: np.ndarray) -> dict[str, np.ndarray]:
            shape = p[0] * np.exp(-((x - p[1]) ** 2) - y**2)
            return {"initial": np.stack([shape, 0.5 * shape])}

        def pull_back(p: np.ndarray, g: Any) -> np.ndarray:
            shape = np.exp(-((x - p[1]) ** 2) - y**2)
            seen = g["initial"][0] + 0.5 * g["initial"][1]
            return np.stack([seen * shape, seen * p[0] * shape * 2 * (x - p[1])])

        one = Parameters(problem, bump, pull_back)
        p = np.array([0.8, 0.3])
        J, g = one.value_and_gradient(p)
        for k in range(2):
            d = 1e-6 * np.eye(2)[k]
            slope = (one.value(p + d) - one.value(p - d)) / 2e-6
            assert g[k] == pytest.approx(slope, rel=1e-6)
        with pytest.raises(ba.ConfigError, match=r"the pull-back of 2 numbers has the shape"):
            Parameters(problem, bump, lambda p, g: np.zeros(3)).value_and_gradient(p)
        return J, g.tolist()

    sections = SECTIONS | {"gradient": {"controls": ["initial"]}, "controls": {}}
    with ba.Problem(sections) as problem, ba.Problem(sections, ALONE) as alone:
        assert found(problem) == found(alone)


def test_tao_lowers_j_with_the_callback() -> None:
    PETSc = pytest.importorskip("petsc4py.PETSc")
    with ba.Problem(SECTIONS) as problem:
        objective = TaoObjective(problem)
        x = PETSc.Vec().createMPI((objective.size, None), comm=problem.comm)
        objective.put_controls(x)
        tao = PETSc.TAO().create(problem.comm)
        tao.setType("lmvm")
        tao.setObjectiveGradient(objective, x.duplicate())
        tao.setMaximumIterations(3)
        tao.solve(x)
        found = objective.controls(x)
        assert problem.value(found) < 0.5 * problem.value()
        tao.destroy()
        x.destroy()


class CurvedEarly(Early):
    """`Early` with its second derivative."""

    def second_derivative(self, state: np.ndarray, direction: np.ndarray, step: int) -> np.ndarray:
        (u, v), (du, dv) = state, direction
        return np.stack([2 * step * (du * v + u * dv), 2 * step * u * du - np.cos(v) * dv])


def test_scipy_sees_the_hessian_on_any_ranks() -> None:
    def asked(problem: ba.Problem) -> tuple[bytes, ...]:
        def program(f: Any) -> tuple[bytes, ...]:
            x, p = f.x0, np.random.default_rng(3).normal(size=f.x0.size)
            product, step = f.hessp(x, p), 1e-5
            slope = (f.jac(x + step * p) - f.jac(x - step * p)) / (2 * step)
            assert np.abs(product - slope).max() < 1e-7 * np.abs(product).max()
            assert np.array_equal(f.hessian(x) @ p, product)
            convex = f.hessian(x, gauss_newton=True) @ p
            assert not np.array_equal(convex, product)
            return product.tobytes(), convex.tobytes()

        return problem.as_scipy().drive(program)

    with (
        ba.Problem(SECTIONS, objective=CurvedEarly()) as problem,
        ba.Problem(SECTIONS, ALONE, CurvedEarly()) as alone,
    ):
        assert asked(problem) == asked(alone)


def test_petsc_multiplies_with_the_hessian() -> None:
    PETSc = pytest.importorskip("petsc4py.PETSc")
    with ba.Problem(SECTIONS, objective=CurvedEarly()) as problem:
        objective = TaoObjective(problem)
        matrix = objective.hessian(PETSc)
        x, y, p, slope, other = (matrix.createVecLeft() for _ in range(5))
        objective.put_controls(x)
        x.array[...] *= 1.01
        objective.at(None, x, matrix, matrix)
        p.array[...] = np.random.default_rng(COMM.rank).normal(size=objective.size)
        matrix.mult(p, y)
        step = 1e-5
        objective(None, x + step * p, slope)
        objective(None, x - step * p, other)
        slope = (slope - other) / (2 * step)
        assert (slope - y).norm() < 1e-7 * y.norm()
        # what Newton's methods of TAO do where the Hessian is not positive
        matrix.shift(2.0)
        matrix.mult(p, other)
        assert (other - y - 2.0 * p).norm() < 1e-14 * other.norm()
