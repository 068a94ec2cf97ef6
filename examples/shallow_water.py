"""Your own equation: shallow water on a C grid, in a periodic domain or in a closed basin.

    h' = -(u h)_x - (v h)_y,    u' = -g h_x - r u,    v' = -g h_y - r v

h is the depth of a cell, u stands on its east face and v on its north one. The outer cells of a
basin are land. On any number of ranks: mpiexec -n 3 python examples/shallow_water.py
"""

import argparse

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.composition import coordinates, gradient_of, model_of, print_gradient
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.config.registry import INTEGRATORS
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.equation_base import EquationBase

G = 9.81  # acceleration of gravity


class ShallowWater(EquationBase):
    """Formulas at one point; c is 1 / (2 dx), 1 / (2 dy), g / dx, g / dy, r."""

    fields, n_numbers = ("h", "u", "v"), 5

    def __init__(self, grid, friction=0.05):
        super().__init__({} if grid.periodic else {"x_open": "x", "y_open": "y"}, friction=friction)
        self.grid = grid

    def numbers(self, time, dt):
        dx, dy = self.grid.dx, self.grid.dy
        return 0.5 / dx, 0.5 / dy, G / dx, G / dy, self.parameters["friction"]

    def profile(self, name, index):
        n_cells = self.grid.nx if name == "x_open" else self.grid.ny
        return np.where((index >= 1) & (index <= n_cells - 3), 1.0, 0.0)

    def at_open(self, s, x, y, k=1):
        """Values of the x and the y face, 0 unless it lies between two cells of water."""
        return (s["x_open"][k] * x, s["y_open"][k] * y) if self.profiles else (x, y)

    def outflow(self, c, h, u, v):
        """What leaves a cell: linear in h, and in (u, v)."""
        x = u.here * (h.here + h.east) - u.west * (h.west + h.here)
        return c[0] * x + c[1] * (v.here * (h.here + h.north) - v.south * (h.south + h.here))

    def force(self, c, h, u, v):
        """Pressure gradient and friction on both faces: linear."""
        return c[2] * (h.here - h.east) - c[4] * u.here, c[3] * (h.here - h.north) - c[4] * v.here

    def rate(self, c, q, s):
        return -self.outflow(c, *q), *self.at_open(s, *self.force(c, *q))

    def tangent(self, c, q, dq, s, ds):
        (h, u, v), (dh, du, dv), (dr,) = q, dq, ds["friction"]
        x, y = self.force(c, dh, du, dv)
        moved = self.outflow(c, h, du, dv) + self.outflow(c, dh, u, v)
        return -moved, *self.at_open(s, x - dr * u.here, y - dr * v.here)

    def adjoint(self, c, q, p, s):
        (h, u, v), (p, x, y) = q, p
        east, west = p.east - p.here, p.here - p.west
        north, south = p.north - p.here, p.here - p.south
        (x1, y1), (x0, y0) = self.at_open(s, x.here, y.here), self.at_open(s, x.west, y.south, k=0)
        flow = c[0] * (u.here * east + u.west * west) + c[1] * (v.here * north + v.south * south)
        pressure = c[2] * (x1 - x0) + c[3] * (y1 - y0)
        on_u = c[0] * (h.here + h.east) * east - c[4] * x1
        on_v = c[1] * (h.here + h.north) * north - c[4] * y1
        return flow + pressure, on_u, on_v

    def sensitivities(self, c, q, p, s):
        x, y = self.at_open(s, *p[1:])
        return {"friction": [-(q[1].here * x + q[2].here * y)]}


def energy(fields):
    """Energy of each cell, and its derivative by h, u and v; J is the sum at the end."""
    h, u, v = fields
    return h * (G * h + u * u + v * v) / 2, np.stack([G * h + (u * u + v * v) / 2, h * u, h * v])


def main():
    """Print J and its gradient, the same bits on any number of ranks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--integrator", choices=INTEGRATORS.names, default="rk4")
    parser.add_argument("--closed", action="store_true", help="a basin with shores")
    chosen = parser.parse_args()
    grid = Grid(96, 64, (0.0, 4.8), (0.0, 3.0), periodic=not chosen.closed)
    model = model_of(ShallowWater, grid, MPI.COMM_WORLD, chosen.integrator, 0.002, 200, energy)
    x, y = coordinates(model)
    hill = 0.3 / (1.0 + 4.0 * (x - 1.6) ** 2 + 6.0 * (y - 1.2) ** 2)
    initial = np.stack([1.0 + hill, 0.0 * hill, 0.0 * hill])
    print_gradient(model, gradient_of(model, Binomial(200, 10), initial))
    model.close()


if __name__ == "__main__":
    main()
