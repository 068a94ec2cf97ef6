"""Compiled kernels are there before anything is timed."""

from burgers_adjoint.parallel.agreement import ALONE, ranks_of_node
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import patient_barrier
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.halo import prepare_exchange
from burgers_adjoint.stepping.model import Model


def prepare_kernels(model: Model, reverse: bool = True, tangent: bool = False) -> None:
    """Compile the kernels that a model calls, or load them from the cache. Collective.

    One rank of each node goes first and leaves the compiled code in the cache for the others.

    Args:
        model: of the runs to come.
        reverse: whether they have a reverse sweep.
        tangent: whether they have tangents.
    """
    with ranks_of_node(model.comm) as node:
        for turn in (True, False):
            if turn == (node.rank == 0):
                _call_kernels(model, reverse, tangent)
            if turn:
                patient_barrier(node)


def _call_kernels(model: Model, reverse: bool, tangent: bool) -> None:
    """Do once with few points, on this rank alone, what the model will do."""
    periodic = model.decomposition.periodic
    grid = Grid(5, 6, (0.0, 1.0), (0.0, 1.0), periodic)
    small = model.like(grid, Decomposition(ALONE, grid.shape, periodic))
    if model.decomposition.size > 1 or periodic:
        prepare_exchange()
    state = small.initial_state(small.new_snapshot().state)
    # as many as a sweep takes, and one that is left over
    small.advance(state, 0, small.steps_per_sweep)
    small.advance(state, 0, 1)
    if reverse:
        small.advance_from(state, small.new_state(), 0, 1)
        cotangent = small.seed(state)
        small.adjoint_step(cotangent, state, 0)
        small.gradient(cotangent)
    else:
        small.evaluate(state)
    if tangent:
        small.tangent_step(state.copy(), state, {}, 0)
    small.close()
