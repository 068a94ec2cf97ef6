"""JAX: J, and the final state, as functions that JAX can differentiate."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from burgers_adjoint.bridges.differentiable import Differentiable
from burgers_adjoint.bridges.final_state import FinalState
from burgers_adjoint.errors import ConfigError


def value(problem: Differentiable) -> Callable[[Mapping[str, Any]], Any]:
    """J as a function of controls by name, for `jax.grad`, `jax.jit` and what is around it.

    On many ranks each rank's JAX sees its tile: all ranks call the same functions in the same
    order, and J is differentiated by the tile's own values.

    Args:
        problem: whose J it is; open as long as the function is in use.

    Returns:
        A function of a dict of arrays: those that are left out are as configured.

    Raises:
        ConfigError: JAX is not installed, or computes in 32 bits.
    """
    jax = _jax()

    @jax.custom_vjp
    def objective(controls: Mapping[str, Any]) -> Any:
        return forwards(controls)[0]

    def forwards(controls: Mapping[str, Any]) -> tuple[Any, Any]:
        like = _like(jax, controls)
        number = jax.ShapeDtypeStruct((), np.float64)

        def evaluate(given: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            J, gradient = problem.value_and_gradient(_arrays(given))
            return np.asarray(J), {name: np.asarray(gradient[name]) for name in given}

        return jax.pure_callback(evaluate, (number, like), dict(controls))

    def backwards(gradient: Mapping[str, Any], cotangent: Any) -> tuple[Any]:
        return ({name: cotangent * part for name, part in gradient.items()},)

    objective.defvjp(forwards, backwards)
    function: Callable[[Mapping[str, Any]], Any] = objective
    return function


def final_state(problem: FinalState) -> Callable[[Mapping[str, Any]], Any]:
    """The final state (2, ny, nx) as a function of controls by name, for `jax.vjp` and `jax.grad`.

    Each pull-back is a reversal of its own. See `value` for many ranks.

    Args:
        problem: whose final state it is.

    Returns:
        A function of a dict of arrays: those that are left out are as configured.

    Raises:
        ConfigError: JAX is not installed, or computes in 32 bits.
    """
    jax = _jax()
    shape = jax.ShapeDtypeStruct(problem.shape, np.float64)

    @jax.custom_vjp
    def final(controls: Mapping[str, Any]) -> Any:
        return jax.pure_callback(lambda m: problem.state(_arrays(m)), shape, dict(controls))

    def forwards(controls: Mapping[str, Any]) -> tuple[Any, Any]:
        return final(controls), dict(controls)

    def backwards(controls: dict[str, Any], cotangent: Any) -> tuple[Any]:
        def pull_back(given: Mapping[str, Any], weights: Any) -> dict[str, np.ndarray]:
            gradient = problem.pull_back(_arrays(given), np.asarray(weights))
            return {name: np.asarray(gradient[name]) for name in given}

        return (jax.pure_callback(pull_back, _like(jax, controls), controls, cotangent),)

    final.defvjp(forwards, backwards)
    function: Callable[[Mapping[str, Any]], Any] = final
    return function


def _jax() -> Any:
    try:
        import jax
    except ImportError:
        raise ConfigError("this needs JAX: install burgers_adjoint[jax]") from None
    if not jax.config.jax_enable_x64:
        raise ConfigError(
            'JAX computes in 32 bits: call jax.config.update("jax_enable_x64", True) first'
        )
    return jax


def _like(jax: Any, controls: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: jax.ShapeDtypeStruct(np.shape(value), np.float64) for name, value in controls.items()
    }


def _arrays(controls: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in controls.items()}
