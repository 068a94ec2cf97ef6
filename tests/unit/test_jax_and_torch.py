"""Gradients that go through the solver in JAX and in PyTorch; each is left out where it is not."""

import importlib
from typing import Any

import numpy as np
import pytest

import burgers_adjoint as ba

SECTIONS: dict[str, dict[str, Any]] = {
    "grid": {"nx": 13, "ny": 9, "x": [-1, 2]},
    "time": {"steps": 11},
}


@pytest.fixture
def jax():
    found = pytest.importorskip("jax")
    before = found.config.jax_enable_x64
    found.config.update("jax_enable_x64", True)
    yield found
    found.config.update("jax_enable_x64", before)


def test_jax_differentiates_j(jax) -> None:
    from burgers_adjoint.bridges.jax import value

    with ba.Problem(SECTIONS) as problem:
        m = problem.controls()
        expected, g = problem.value_and_gradient({**m, "initial": 0.9 * m["initial"]})
        J = value(problem)

        def scaled(factor: Any, nu: Any) -> Any:
            return 3.0 * J({"initial": factor * m["initial"], "viscosity": nu})

        for kind in (lambda f: f, jax.jit):
            found, (by_factor, by_nu) = kind(jax.value_and_grad(scaled, (0, 1)))(0.9, 0.01)
            assert float(found) == pytest.approx(3 * expected, rel=1e-15)
            assert float(by_nu) == pytest.approx(3 * g["viscosity"], rel=1e-14)
            slope = 3 * np.sum(g["initial"] * m["initial"])
            assert float(by_factor) == pytest.approx(slope, rel=1e-13)


def test_jax_differentiates_the_final_state(jax) -> None:
    from burgers_adjoint.bridges.jax import final_state

    with ba.Problem(SECTIONS) as problem:
        m = problem.controls()
        run = final_state(problem.final_state())
        energy = lambda initial: (run({"initial": initial})[:, 1:-1, 1:-1] ** 2).sum() / (13 * 9)  # noqa: E731
        J, g = problem.value_and_gradient(m)
        found, gradient = jax.value_and_grad(energy)(m["initial"])
        assert float(found) == pytest.approx(J, rel=1e-14)
        np.testing.assert_allclose(gradient, g["initial"], rtol=1e-12, atol=1e-18)


def test_jax_of_32_bits_is_refused(jax) -> None:
    from burgers_adjoint.bridges.jax import value

    jax.config.update("jax_enable_x64", False)
    said = r'jax\.config\.update\("jax_enable_x64", True\)'
    with ba.Problem(SECTIONS) as problem, pytest.raises(ba.ConfigError, match=said):
        value(problem)


def test_torch_differentiates_both() -> None:
    torch = pytest.importorskip("torch")
    from burgers_adjoint.bridges.torch import final_state, value

    with ba.Problem(SECTIONS) as problem:
        m = problem.controls()
        J, g = problem.value_and_gradient(m)
        initial = torch.tensor(m["initial"], requires_grad=True)
        nu = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
        found = value(problem)({"initial": initial, "viscosity": nu})
        (2 * found).backward()
        assert found.item() == J
        assert nu.grad.item() == pytest.approx(2 * g["viscosity"], rel=1e-15)
        np.testing.assert_array_equal(initial.grad.numpy(), 2 * g["initial"])
        initial.grad = None
        reached = final_state(problem.final_state())({"initial": initial})
        ((reached[:, 1:-1, 1:-1] ** 2).sum() / (13 * 9)).backward()
        np.testing.assert_allclose(initial.grad.numpy(), g["initial"], rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize(("name", "word"), [("jax", "JAX"), ("torch", "PyTorch")])
def test_a_missing_package_is_named(name: str, word: str, monkeypatch) -> None:
    bridge = importlib.import_module(f"burgers_adjoint.bridges.{name}")
    monkeypatch.setitem(__import__("sys").modules, name, None)
    said = f"needs {word}: install"
    with ba.Problem(SECTIONS) as problem, pytest.raises(ba.ConfigError, match=said):
        bridge.value(problem)
