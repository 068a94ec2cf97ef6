"""What is known of the controls before any observation, as a part of the objective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.controls import Control, Inputs
from burgers_adjoint.equations.burgers.objectives.objective import Objective
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.stepper import Value

if TYPE_CHECKING:
    from burgers_adjoint.inverse.covariance import Covariance


class Prior:
    """The background term that [background] describes, if it does; all methods are collective.

    Args:
        config: whose section it is.
        grid, decomposition, layout: of the fields.
        controls: those that the gradient is taken to.
        inputs: the values of all controls; those at the start are the background.
        objective: J without the term, whose value goes to its `parts`.
    """

    def __init__(
        self,
        config: Config,
        grid: Grid,
        decomposition: Decomposition,
        layout: Layout,
        controls: Mapping[str, Control],
        inputs: Inputs,
        objective: Objective,
    ) -> None:
        self._controls, self._inputs, self._objective = controls, inputs, objective
        self._background = None
        self._section, self._grid, self._decomposition = config.background, grid, decomposition
        section = config.background
        names = [*section.deviation, *section.smoothness, *section.covariances]
        if names:
            from burgers_adjoint.inverse.background import Background
            from burgers_adjoint.inverse.informed import informed_directions

            informed = []
            if section.informed:
                path, above = section.informed, section.informed_above
                informed = informed_directions(path, above, controls, decomposition)
            self._background = Background(
                decomposition,
                layout,
                {name: inputs.value(name) for name in names},
                section.deviation,
                section.smoothness,
                {name: self._covariance(name) for name in section.covariances},
                informed,
            )

    def covariances(self) -> dict[str, Covariance]:
        """The covariance of every control, whose inverses the term is made of.

        Raises:
            ConfigError: on all ranks: a control has none.
        """
        return {name: self._covariance(name) for name in self._controls}

    def what_is_known(self, name: str) -> Covariance:
        """The covariance of a control; with infinite variances of what the term leaves open."""
        from burgers_adjoint.inverse.covariance import Independent, rectangle_of, tikhonov

        section, control = self._section, self._controls[name]
        if name in section.covariances or name in section.deviation:
            return self._covariance(name)
        if not control.shape or name == "boundary":
            return Independent(math.inf, control.points)
        rectangle = rectangle_of(self._decomposition, control.points, name)
        smoothness = section.smoothness.get(name, 0.0)
        return tikhonov(self._decomposition, self._grid, rectangle, math.inf, smoothness)

    def _covariance(self, name: str) -> Covariance:
        from burgers_adjoint.inverse.covariance import (
            Independent,
            matern,
            rectangle_of,
            tikhonov,
        )

        section, control = self._section, self._controls[name]
        described, deviation = section.covariances.get(name), section.deviation.get(name)
        if described is None and deviation is None:
            raise agreed_error(ConfigError(_no_covariance(name, section.smoothness)))
        smoothness = section.smoothness.get(name)
        if described is None and smoothness is None:
            assert deviation is not None
            return Independent(deviation, control.points)
        rectangle = rectangle_of(self._decomposition, control.points, name)
        if described is not None:
            length, deviation = described.length, described.deviation
            return matern(self._decomposition, self._grid, rectangle, length, deviation)
        assert deviation is not None
        assert smoothness is not None
        return tikhonov(self._decomposition, self._grid, rectangle, deviation, smoothness)

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

    def slope(self, direction: Mapping[str, Value], fields: np.ndarray) -> float:
        """The term's derivative along a direction of some controls, at these initial fields."""
        every = {name: control.zeros() for name, control in self._controls.items()}
        self.added_to(0.0, fields, every)
        return sum(self._controls[name].dot(every[name], one) for name, one in direction.items())

    def add_product(self, direction: Mapping[str, Value], product: dict[str, Value]) -> None:
        """Add the term's second derivative times a direction of the controls to a product."""
        if self._background is None:
            return
        masked = {name: one.masked(direction[name]) for name, one in self._controls.items()}
        for name, part in self._background.product(masked).items():
            product[name] = product[name] + self._controls[name].masked(part)


def _no_covariance(name: str, smoothness: Mapping[str, float]) -> str:
    if name in smoothness:
        return (
            f"background.smoothness alone leaves the mean of {name} open, which has no variance "
            f"then: add background.deviation.{name}, or take [background.{name}] kind = "
            '"matern"'
        )
    return (
        f"nothing is known of {name} before the observations: expected background.deviation.{name}"
        ", or, of a field, [background." + name + '] kind = "matern"'
    )
