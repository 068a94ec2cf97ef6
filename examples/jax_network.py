"""A small network that proposes initial fields, trained through the solver: JAX on both sides.

It learns which initial fields end in given states. python examples/jax_network.py
"""

import jax
import jax.numpy as jnp
import numpy as np

import burgers_adjoint as ba
from burgers_adjoint.bridges.jax import final_state

jax.config.update("jax_enable_x64", True)
SECTIONS = {"grid": {"nx": 20, "ny": 16}, "time": {"dt": 0.01, "steps": 60}}
SHAPE, MODES, ROUNDS, RATE = (2, 16, 20), 4, 60, 1.0


def propose(weights, wanted):
    """An initial field for a wanted final state: the state itself, and what two layers add."""
    hidden = jnp.tanh(weights["in"] @ wanted.reshape(-1))
    return wanted + (weights["out"] @ hidden).reshape(SHAPE)


def main() -> None:
    """Train, and print the loss now and then."""
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    size = int(np.prod(SHAPE))
    weights = {
        "in": jax.random.normal(keys[0], (MODES, size)) / size**0.5,
        "out": 0.01 * jax.random.normal(keys[1], (size, MODES)),
    }
    with ba.Problem(SECTIONS) as problem:
        run = final_state(problem.final_state())
        base = problem.controls()["initial"]
        wanted = [run({"initial": factor * base}) for factor in (0.6, 0.8, 1.0)]

        def loss(weights, wanted):
            reached = run({"initial": propose(weights, wanted)})
            return jnp.sum((reached - wanted) ** 2) / jnp.sum(wanted**2)

        step = jax.jit(jax.value_and_grad(loss))
        for number in range(ROUNDS):
            total = 0.0
            for one in wanted:
                value, gradient = step(weights, one)
                total += float(value)
                weights = jax.tree.map(lambda w, g: w - RATE * g, weights, gradient)
            if number % 10 == 0 or number == ROUNDS - 1:
                print(f"round {number:2}: loss {total / len(wanted):.3g}")


if __name__ == "__main__":
    main()
