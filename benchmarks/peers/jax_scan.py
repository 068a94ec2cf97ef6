"""JAX: jit of a scan whose step is rematerialised, and reverse-mode differentiation of it."""

import os

# One thread, like all the others; read when JAX starts.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false "
    "intra_op_parallelism_threads=1"
)

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.peer import Case, Gradient, Peer

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")


def make(case: Case) -> Peer:
    """The peer for this case."""
    cx, cy = case.dt / (2 * case.dx), case.dt / (2 * case.dy)
    kx, ky = case.viscosity * case.dt / case.dx**2, case.viscosity * case.dt / case.dy**2

    @jax.checkpoint
    def step(state: jax.Array, _: None) -> tuple[jax.Array, None]:
        here, east, west = state[:, 1:-1, 1:-1], state[:, 1:-1, 2:], state[:, 1:-1, :-2]
        north, south = state[:, 2:, 1:-1], state[:, :-2, 1:-1]
        change = (
            kx * (east - 2 * here + west)
            + ky * (north - 2 * here + south)
            - cx * here[0] * (east - west)
            - cy * here[1] * (north - south)
        )
        return state.at[:, 1:-1, 1:-1].add(change), None

    def run(state: jax.Array) -> jax.Array:
        return jax.lax.scan(step, state, None, length=case.n_steps)[0]

    def objective(state: jax.Array) -> jax.Array:
        final = run(state)
        return jnp.sum(final[:, 1:-1, 1:-1] ** 2) / final[0].size

    fields = jnp.asarray(case.fields)
    primal, gradient = jax.jit(run), jax.jit(jax.value_and_grad(objective))

    def gradient_of_fields() -> Gradient:
        value, derivative = gradient(fields)
        return float(value), np.asarray(derivative)

    return Peer(
        f"JAX {jax.__version__}, jit and scan",
        lambda: np.asarray(primal(fields)),
        gradient_of_fields,
    )
