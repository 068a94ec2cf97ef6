"""Devito: C code generated from the symbolic equation, one thread. It has no adjoint of its own."""

import os

os.environ.setdefault("DEVITO_LOGGING", "ERROR")
os.environ.setdefault("DEVITO_LANGUAGE", "C")

import devito
import numpy as np

from benchmarks.peers.case import Case, Peer


def make(case: Case, fields: np.ndarray) -> Peer:
    """The peer for this case, which is Euler with central differences."""
    n_rows, n_columns = fields.shape[1:]
    y = devito.SpaceDimension("y", spacing=devito.Constant("h_y", dtype=np.float64, value=case.dy))
    x = devito.SpaceDimension("x", spacing=devito.Constant("h_x", dtype=np.float64, value=case.dx))
    grid = devito.Grid(
        (n_rows, n_columns),
        extent=(case.dy * (n_rows - 1), case.dx * (n_columns - 1)),
        dimensions=(y, x),
        dtype=np.float64,
    )
    u, v = (devito.TimeFunction(name=name, grid=grid, space_order=2, time_order=1) for name in "uv")
    dt = grid.stepping_dim.spacing
    equations = [
        devito.Eq(
            q.forward,
            q + dt * (case.viscosity * q.laplace - u * q.dxc - v * q.dyc),
            subdomain=grid.interior,
        )
        for q in (u, v)
    ]
    operator = devito.Operator(equations)

    def primal() -> np.ndarray:
        for q, field in zip((u, v), fields, strict=True):
            q.data[0] = q.data[1] = field
        operator.apply(time_m=0, time_M=case.n_steps - 1, dt=case.dt)
        last = case.n_steps % 2
        return np.stack([np.asarray(q.data[last]) for q in (u, v)])

    return Peer(f"Devito {devito.__version__}, C", {"": primal}, {})
