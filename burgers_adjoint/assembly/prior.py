"""What is known of the controls before any observation, as a part of the objective."""

from collections.abc import Mapping

import numpy as np

from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.controls import Control, Inputs
from burgers_adjoint.equations.burgers.objectives.objective import Objective
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.stepping.stepper import Value


class Prior:
    """The background term that [background] describes, if it does; all methods are collective.

    Args:
        config: whose section it is.
        decomposition, layout: of the fields.
        controls: those that the gradient is taken to.
        inputs: the values of all controls; those at the start are the background.
        objective: J without the term, whose value goes to its `parts`.
    """

    def __init__(
        self,
        config: Config,
        decomposition: Decomposition,
        layout: Layout,
        controls: Mapping[str, Control],
        inputs: Inputs,
        objective: Objective,
    ) -> None:
        self._controls, self._inputs, self._objective = controls, inputs, objective
        self._background = None
        section = config.background
        names = [*section.deviation, *section.smoothness]
        if names:
            from burgers_adjoint.inverse.background import Background

            self._background = Background(
                decomposition,
                layout,
                {name: inputs.value(name) for name in names},
                section.deviation,
                section.smoothness,
            )

    def close(self) -> None:
        """Release what the term holds."""
        if self._background is not None:
            self._background.close()

    def added_to(
        self, objective: float, fields: np.ndarray, gradient: dict[str, Value] | None = None
    ) -> float:
        """J with the term, at these initial fields; its gradient is added to the given one."""
        if self._background is None:
            return objective
        values = {name: self._inputs.value(name, fields) for name in self._controls}
        value, parts = self._background.value_and_gradient(values)
        if gradient is not None:
            for name, part in parts.items():
                gradient[name] = gradient[name] + self._controls[name].masked(part)
        self._objective.parts["background"] = value
        return objective + value

    def add_product(self, direction: Mapping[str, Value], product: dict[str, Value]) -> None:
        """Add the term's second derivative times a direction of the controls to a product."""
        if self._background is None:
            return
        masked = {name: one.masked(direction[name]) for name, one in self._controls.items()}
        for name, part in self._background.product(masked).items():
            product[name] = product[name] + self._controls[name].masked(part)
