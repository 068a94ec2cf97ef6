"""This package."""

from typing import Any

import numpy as np

from benchmarks.ours import Ours
from benchmarks.peers.case import Case, Gradient, Peer


def make(case: Case, fields: np.ndarray) -> Peer:
    """The peer for this case."""
    ny, nx = fields.shape[1:]
    sections: dict[str, dict[str, Any]] = {
        "grid": {
            "nx": nx,
            "ny": ny,
            "x": [0.0, case.dx * (nx - 1)],
            "y": [0.0, case.dy * (ny - 1)],
        },
        "physics": {
            "viscosity": case.viscosity,
            "advection": case.advection,
            "smooth_speed": case.smooth_speed,
        },
        "time": {"dt": case.dt, "steps": case.n_steps, "integrator": case.integrator},
        "gradient": {"controls": ["initial"]},
    }
    ours = Ours(sections, {"initial": fields})

    def gradient() -> Gradient:
        value, parts = ours.gradient()
        return value, np.asarray(parts["initial"])

    return Peer("burgers_adjoint", {"": ours.primal}, {"": gradient})
