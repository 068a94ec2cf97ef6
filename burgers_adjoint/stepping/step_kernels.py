"""The compiled sweeps of an equation's steps: one for each direction, made when it is needed."""

from burgers_adjoint.kernels.programs import Buffer, Kind, Level, kinds_of
from burgers_adjoint.kernels.wavefront import Kernel, kernel_of
from burgers_adjoint.stepping.runge_kutta import StepKinds
from burgers_adjoint.stepping.step_levels import StepLevels


class StepKernels:
    """Kernels by role: "forward", "adjoint" and "tangent".

    Args:
        kinds: of the steps.
        forward, backward: make their levels.
    """

    def __init__(self, kinds: StepKinds, forward: StepLevels, backward: StepLevels) -> None:
        self._kinds, self._forward, self._backward = kinds, forward, backward
        self._made: dict[str, tuple[list[Kind], Kernel]] = {}

    def of(self, role: str) -> tuple[list[Kind], Kernel]:
        """The kinds that a role's sweeps are made of, and their kernel."""
        if role not in self._made:
            kinds = kinds_of(self._all_levels(role))
            self._made[role] = kinds, kernel_of(kinds)
        return self._made[role]

    def _all_levels(self, role: str) -> list[Level]:
        """Levels of all kinds that a role's sweeps can have."""
        arrays = [Buffer(self._kinds.n_fields, n) for n in range(3)]
        if role == "adjoint":
            return self._backward.adjoint(arrays[0], arrays[1:])
        if role == "tangent":
            return self._backward.tangent(*arrays)
        between = Buffer(self._kinds.n_fields)
        levels = self._forward.forward(arrays, ahead=True)
        levels += self._forward.forward([arrays[0], between, arrays[1]])
        if self._kinds.n_stages == 1:
            levels += self._forward.aside(*arrays[:2])
        return levels
