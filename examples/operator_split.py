"""A step that is a tree of parts, with checkpoints inside it: an operator-split model.

    u_t + u u_x + v u_y = (D u_x)_x + (D u_y)_y + R(u, v),  D = nu (1 + u^2 + v^2),  the same for v

on a periodic domain. A step is half a reaction, transport, and the other half; transport is upwind
advection, then diffusion in as many sub-steps as are stable, in blocks of some. On any number of
ranks: mpiexec -n 3 python examples/operator_split.py
"""

import argparse
from pathlib import Path

import numpy as np
from mpi4py import MPI

from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.call_tree import Part, Parts, Reversal, TreeModel, TreeState
from burgers_adjoint.checkpointing.call_tree_check import dry_run
from burgers_adjoint.checkpointing.call_tree_choice import Choice, from_toml, to_toml
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.output.inside_picture import draw_inside
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.parallel.reductions import digest, exact_sum, norm
from burgers_adjoint.planning.inside import plan_tree, points
from burgers_adjoint.snapshots.memory import MemoryStore

U = frozenset({"u", "v"})
LARGEST = 1.2  # |u| and |v| that the number of sub-steps is made for
INNER, BEHIND, AHEAD = slice(1, -1), slice(-2), slice(2, None)
HERE, WEST, EAST = (INNER, INNER), (INNER, BEHIND), (INNER, AHEAD)
SOUTH, NORTH = (BEHIND, INNER), (AHEAD, INNER)


class Tile:
    """A rank's own points with a halo of one, and how its neighbours fill that."""

    def __init__(self, grid, comm):
        self.grid, self.tile = grid, Decomposition(comm, grid.shape, periodic=True)
        self.layout = Layout(*self.tile.tile_shape, halo=1)
        frame = Frame(self.layout.rows, self.layout.columns)
        self.halo = Halo(self.tile, frame, 1, n_fields=2, corners=False)
        west = self.layout.west
        self._columns = slice(west - 1, west + self.layout.nx + 1)

    def own(self, fields):
        """u and v of the tile's own points: views."""
        return [self.layout.interior(fields[name]) for name in ("u", "v")]

    def with_halo(self, fields):
        """Copies of u and v, (2, ny + 2, nx + 2), the halo filled."""
        self.halo.exchange(fields["u"][None], fields["v"][None])
        return np.stack([fields[name][:, self._columns] for name in ("u", "v")])


class Advection(Part):
    """u u_x + v u_y by upwind differences, forward Euler."""

    name, reads, writes = "advect", U, U

    def __init__(self, tile, dt):
        self.tile = tile
        ny, nx = tile.tile.tile_shape
        self.tape_bytes = 2 * 8 * (ny + 2) * (nx + 2)
        grid = tile.grid
        self.axes = [(0, WEST, EAST, dt / grid.dx), (1, SOUTH, NORTH, dt / grid.dy)]

    def record(self, state, n):
        q = self.tile.with_halo(state)
        for f, own in enumerate(self.tile.own(state)):
            here = q[f][HERE]
            for axis, behind, ahead, c in self.axes:
                speed = q[axis][HERE]
                own -= c * (
                    np.maximum(speed, 0.0) * (here - q[f][behind])
                    + np.minimum(speed, 0.0) * (q[f][ahead] - here)
                )
        return [q]

    def forward(self, state, n):
        self.record(state, n)

    def adjoint(self, tape, cotangent, n):
        (q,) = tape
        p = self.tile.with_halo(cotangent)
        for f, own in enumerate(self.tile.own(cotangent)):
            for axis, behind, ahead, c in self.axes:
                speed = q[axis]
                # what this point gives as itself, and as the upwind point of its neighbours
                own -= c * (
                    np.abs(speed[HERE]) * p[f][HERE]
                    - np.maximum(speed[ahead], 0.0) * p[f][ahead]
                    + np.minimum(speed[behind], 0.0) * p[f][behind]
                )
                if axis == f:  # what it gives as the speed of both equations
                    for g in range(2):
                        here = q[g][HERE]
                        upwind = np.where(
                            speed[HERE] > 0.0, here - q[g][behind], q[g][ahead] - here
                        )
                        own -= c * upwind * p[g][HERE]


class Diffusion(Part):
    """One sub-step of diffusion, in flux form, forward Euler."""

    name, reads, writes = "substep", U, U

    def __init__(self, tile, dt, nu):
        self.tile, self.nu = tile, nu
        ny, nx = tile.tile.tile_shape
        self.tape_bytes = 2 * 8 * (ny + 2) * (nx + 2)
        first, last = slice(-1), slice(1, None)
        self.axes = [
            ((..., INNER, last), (..., INNER, first), -1, dt / tile.grid.dx**2),
            ((..., last, INNER), (..., first, INNER), -2, dt / tile.grid.dy**2),
        ]

    def diffusivity(self, q):
        return self.nu * (1.0 + q[0] * q[0] + q[1] * q[1])

    def record(self, state, n):
        q = self.tile.with_halo(state)
        d = self.diffusivity(q)
        change = np.zeros_like(q[:, 1:-1, 1:-1])
        for ahead, behind, axis, c in self.axes:
            flux = (0.5 * c) * (d[ahead] + d[behind]) * (q[ahead] - q[behind])
            change += np.diff(flux, axis=axis)
        for own, more in zip(self.tile.own(state), change, strict=True):
            own += more
        return [q]

    def forward(self, state, n):
        self.record(state, n)

    def adjoint(self, tape, cotangent, n):
        (q,) = tape
        p, d = self.tile.with_halo(cotangent), self.diffusivity(q)
        change, on_d = np.zeros_like(q[:, 1:-1, 1:-1]), np.zeros_like(q[0, 1:-1, 1:-1])
        for ahead, behind, axis, c in self.axes:
            step = p[ahead] - p[behind]
            change += np.diff((0.5 * c) * (d[ahead] + d[behind]) * step, axis=axis)
            on_face = (0.5 * c) * ((q[ahead] - q[behind]) * step).sum(axis=0)
            on_d += on_face[self.faces(axis, slice(-1))] + on_face[self.faces(axis, slice(1, None))]
        change -= 2.0 * self.nu * on_d * q[:, 1:-1, 1:-1]
        for own, more in zip(self.tile.own(cotangent), change, strict=True):
            own += more

    @staticmethod
    def faces(axis, which):
        """The faces on one side of the points."""
        return (..., which) if axis == -1 else (which, slice(None))


class Reaction(Part):
    """u' = k (u - u^3 - v), v' = k (u - v) / 2 at each point, backward Euler by Newton's method."""

    reads, writes = U, U
    iterations = 6

    def __init__(self, name, tile, dt, k):
        self.name, self.tile, self.c = name, tile, dt * k
        self.tape_bytes = 8 * tile.layout.ny * tile.layout.nx

    def solve(self, u, right_u, right_v, transposed=False):
        """Solve (I - dt R') x = right, or with the transpose; R' is that at u."""
        a, b, c, d = 1.0 - self.c * (1.0 - 3.0 * u * u), self.c, -0.5 * self.c, 1.0 + 0.5 * self.c
        if transposed:
            b, c = c, b
        determinant = a * d - b * c
        return (
            (d * right_u - b * right_v) / determinant,
            (a * right_v - c * right_u) / determinant,
        )

    def record(self, state, n):
        own_u, own_v = self.tile.own(state)
        u, v = own_u.copy(), own_v.copy()
        for _ in range(self.iterations):
            excess_u = u - own_u - self.c * (u - u * u * u - v)
            excess_v = v - own_v - 0.5 * self.c * (u - v)
            du, dv = self.solve(u, excess_u, excess_v)
            u -= du
            v -= dv
        own_u[...], own_v[...] = u, v
        return [u]

    def forward(self, state, n):
        self.record(state, n)

    def adjoint(self, tape, cotangent, n):
        own_u, own_v = self.tile.own(cotangent)
        own_u[...], own_v[...] = self.solve(*tape, own_u, own_v, transposed=True)


class Split(TreeModel):
    """The model: `value` is J, half the sum of squares at the end, `final` the fields there."""

    def __init__(self, grid, comm, dt=0.02, nu=0.04, rate=2.0, recorded=()):
        tile = self.tile = Tile(grid, comm)
        limit = 0.5 / (nu * (1.0 + 2.0 * LARGEST**2) * (grid.dx**-2 + grid.dy**-2))
        per_block = max(1, round((dt / limit) ** 0.5))
        blocks = int(np.ceil(dt / limit / per_block))
        self.substeps = blocks * per_block
        substep = Diffusion(tile, dt / self.substeps, nu)
        diffuse = Parts("diffuse", [Parts("block", [substep], per_block)], blocks)
        transport = Parts("transport", [Advection(tile, dt), diffuse])
        halves = [Reaction(name, tile, 0.5 * dt, rate) for name in ("react", "react_again")]
        step = Parts("step", [halves[0], transport, halves[1]])
        super().__init__(step, lambda: tile.layout.new_array(2), self._seed_at, recorded)

    def state(self, fields):
        """A state with fields (2, ny, nx) of the tile."""
        array = self.new_snapshot()
        self.tile.layout.interior(array)[...] = fields
        return TreeState(array, {"u": array[0], "v": array[1]})

    def start(self):
        """Waves, u other than v: a state."""
        grid, tile = self.tile.grid, self.tile.tile
        x = 2 * np.pi * (grid.x[tile.columns] - grid.x[0]) / 4.0
        y = 2 * np.pi * (grid.y[tile.rows, None] - grid.y[0]) / 3.0
        return self.state(np.stack([0.8 * waves(x) * waves(2 * y + 1), 0.5 + 0.4 * waves(x + y)]))

    def _seed_at(self, state):
        self.final = np.stack(self.tile.own(state.variables))
        self.value = 0.5 * exact_sum(self.tile.tile.comm, self.final * self.final)
        return self.state(self.final).variables

    def gradient(self, cotangent):
        """dJ/d(initial fields), (2, ny, nx) of the tile."""
        return np.stack(self.tile.own(cotangent))


def waves(x):
    """About sin(x), the same bits on every processor."""
    x = np.mod(x, 2 * np.pi) - np.pi
    return -x * (np.pi - np.abs(x)) * (4 / np.pi**2)


def gradient_of(model, schedule, start=None, store=None):
    """The gradient with a schedule around the step, and the model's choice inside it."""
    store = store or MemoryStore(model.new_snapshot, schedule.slots)
    executor = Executor(model, schedule, store)
    executor.run(start or model.start())
    return model.gradient(executor.cotangent)


def main():
    """Print J and its gradient, the same bits with any choice, on any number of ranks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--choice", help="TOML file of what is recorded in a step")
    parser.add_argument("--plan", metavar="BYTES", type=int, help="choose for so many bytes")
    parser.add_argument("--write", metavar="FILE", help="where the choice of --plan goes")
    parser.add_argument("--draw", metavar="FILE", help="a picture of what --plan tries")
    given = parser.parse_args()
    comm = MPI.COMM_WORLD
    grid = Grid(96, 64, (0.0, 4.0), (0.0, 3.0), periodic=True)
    model = Split(grid, comm)
    paths = [site.path for site in model.step.below()]
    choice = Choice(frozenset(), 8)
    alone = Split(grid, MPI.COMM_SELF)  # what is wrong with a part, every rank finds
    dry_run(alone.step, alone.start(), alone.start().variables)
    if given.choice:
        choice = from_toml(Path(given.choice).read_text(encoding="utf-8"), paths, given.choice)
    if given.plan:
        others = 20 if given.draw else 0
        found = plan_tree(model, model.start, given.steps, given.plan, comm, by_chance=others)
        choice = found.best.profile.choice
        if comm.rank == 0:
            print(found)
            if given.draw:
                draw_inside(
                    given.draw, found.paths, points(found.by_chance), points(found.binomial)
                )
            if given.write:
                text = to_toml(choice, paths, given.steps)
                Path(given.write).write_text(text, encoding="utf-8")
    model.reversal = Reversal(model.step, choice.recorded)
    gradient = gradient_of(model, Binomial(given.steps, choice.snapshots))
    size, bits = norm(comm, gradient), digest(model.tile.tile, [*model.final, *gradient], [])
    if comm.rank == 0:
        print(f"{model.substeps} sub-steps of diffusion, {given.steps} steps")
        print(f"J                {model.value:.15g}")
        print(f"|dJ/d(initial)|  {size:.15g}")
        print(f"digest           {bits}")


if __name__ == "__main__":
    main()
