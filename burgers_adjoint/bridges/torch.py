"""PyTorch: J, and the final state, as functions that autograd goes through."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from burgers_adjoint.bridges.differentiable import Differentiable
from burgers_adjoint.bridges.final_state import FinalState
from burgers_adjoint.errors import ConfigError


def value(problem: Differentiable) -> Callable[[Mapping[str, Any]], Any]:
    """J as a function of tensors by the names of controls, for `backward()`.

    On many ranks each rank's autograd sees its tile: all ranks call it in the same order.

    Args:
        problem: whose J it is; open as long as the function is in use.

    Returns:
        A function of a dict of tensors, of any real type, on the CPU; J is of 64 bits.

    Raises:
        ConfigError: PyTorch is not installed.
    """

    def run(controls: dict[str, np.ndarray]) -> tuple[Any, Callable[[Any], Mapping[str, Any]]]:
        J, gradient = problem.value_and_gradient(controls)
        return J, lambda weight: {name: weight * part for name, part in gradient.items()}

    return _function(run)


def final_state(problem: FinalState) -> Callable[[Mapping[str, Any]], Any]:
    """The final state (2, ny, nx) as a function of tensors by the names of controls.

    Each backward pass is a reversal of its own. See `value`.
    """

    def run(controls: dict[str, np.ndarray]) -> tuple[Any, Callable[[Any], Mapping[str, Any]]]:
        return problem.state(controls), lambda weights: problem.pull_back(controls, weights)

    return _function(run)


Run = Callable[[dict[str, np.ndarray]], tuple[Any, Callable[[Any], Mapping[str, Any]]]]


def _function(run: Run) -> Callable[[Mapping[str, Any]], Any]:
    try:
        import torch
    except ImportError:
        raise ConfigError("this needs PyTorch: install burgers_adjoint[torch]") from None

    class Bridge(torch.autograd.Function):
        """A run forwards, its pull-back backwards."""

        @staticmethod
        def forward(context: Any, names: tuple[str, ...], *tensors: Any) -> Any:
            controls = {
                name: tensor.detach().numpy() for name, tensor in zip(names, tensors, strict=True)
            }
            found, context.pull_back = run(controls)
            context.names, context.types = names, [tensor.dtype for tensor in tensors]
            return torch.as_tensor(np.asarray(found))

        @staticmethod
        def backward(context: Any, *weights: Any) -> tuple[Any, ...]:
            gradient = context.pull_back(weights[0].numpy())
            parts = zip(context.names, context.types, strict=True)
            return None, *(
                torch.as_tensor(np.asarray(gradient[name])).to(kind) for name, kind in parts
            )

    return lambda controls: Bridge.apply(tuple(controls), *controls.values())
