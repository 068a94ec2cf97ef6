"""What peers compute, what they offer, and the files by which processes exchange both.

Peers run in environments of their own: nothing but NumPy and the standard library is imported.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

# (u, v), each (ny, nx)
Fields = np.ndarray | Sequence[np.ndarray]
Gradient = tuple[float, Fields]

# Stage i starts at the state plus a[i] dt times the rate of the stage before it, and enters the
# step with b[i] dt.
STAGES = {
    "euler": ((0.0,), (1.0,)),
    "rk4": ((0.0, 0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


@dataclass(frozen=True)
class Case:
    """Steps of Burgers' equation whose boundary points are kept; J is the final energy.

    J = sum over the points that are not on the boundary of u^2 + v^2, over nx ny.

    Attributes:
        integrator: "euler" or "rk4".
        advection: "central" or "upwind".
        n_steps: number of steps.
        dx, dy: spacing [length].
        dt: time step [time].
        viscosity: nu [length^2/time].
        smooth_speed: what upwinding rounds |speed| off with [length/time].
    """

    integrator: str
    advection: str
    n_steps: int
    dx: float
    dy: float
    dt: float
    viscosity: float
    smooth_speed: float = 0.01

    @property
    def a(self) -> tuple[float, ...]:
        """See `STAGES`."""
        return STAGES[self.integrator][0]

    @property
    def b(self) -> tuple[float, ...]:
        """See `STAGES`."""
        return STAGES[self.integrator][1]


@dataclass(frozen=True)
class Peer:
    """One way to compute it, or several ways of the same means.

    Attributes:
        name: with its version.
        primal: by variant; each returns the final state.
        gradient: by variant; each returns J and dJ/d(initial state), with all states kept.
    """

    name: str
    primal: Mapping[str, Callable[[], Fields]]
    gradient: Mapping[str, Callable[[], Gradient]]


def save_case(folder: Path, case: Case, fields: np.ndarray) -> None:
    """Write a case and its initial fields (2, ny, nx) to a folder."""
    (folder / "case.json").write_text(json.dumps(asdict(case)), encoding="utf-8")
    np.save(folder / "fields.npy", fields)


def load_case(folder: Path) -> tuple[Case, np.ndarray]:
    """Read what `save_case` has written."""
    numbers = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    return Case(**numbers), np.load(folder / "fields.npy")


def save_result(path: Path, result: Fields | Gradient) -> None:
    """Write what a peer has returned to an .npz file."""
    if isinstance(result, tuple) and isinstance(result[0], float):
        value, derivative = result
        np.savez(path, objective=value, gradient=np.stack([*derivative]))
    else:
        np.savez(path, primal=np.stack([*result]))


def load_result(path: Path) -> dict[str, np.ndarray]:
    """Read what `save_result` has written: "primal", or "objective" and "gradient"."""
    with np.load(path) as file:
        return dict(file)
