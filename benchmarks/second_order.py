"""What products with the Hessian cost over a gradient, and Newton's method over first-order ones.

    python -m benchmarks.second_order [--grid N] [--steps N] [--twins]

Gradients and products in turn, under the same schedule, with forward Euler and central differences
and with rk4 upwind: of the Hessian, of its Gauss-Newton part, and per direction in a batch of 8.
With --twins the twin experiments of configs/ are searched by TAO's blmvm and bnls.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import burgers_adjoint as ba
from benchmarks.measure import interleave, options, table, write
from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.parallel.agreement import ALONE
from burgers_adjoint.second_order.products import LatestProducts

METHODS = {"euler": "central", "rk4": "upwind"}
BATCH = 8
TWINS = ("twin_initial", "twin_viscosity", "twin_forcing")
CONFIGS = Path(__file__).parents[1] / "configs"


def products(integrator: str, chosen: Any) -> dict[str, float]:
    """Times over that of a gradient, per direction, by name."""
    sections: dict[str, dict[str, Any]] = {
        "grid": {"nx": chosen.grid, "ny": chosen.grid},
        "time": {"dt": 1e-5, "steps": chosen.steps, "integrator": integrator},
        "physics": {"advection": METHODS[integrator]},
        "checkpointing": {"snapshots": 10},
        "gradient": {"controls": ["initial"]},
    }
    with ba.Problem(sections) as problem:
        m, draw = problem.controls(), np.random.default_rng(1)
        batch = [{"initial": draw.normal(size=np.shape(m["initial"]))} for _ in range(BATCH)]
        competitors: dict[str, Callable[[], object]] = {
            "gradient": partial(problem.value_and_gradient, m)
        }
        with ExitStack() as kept:
            for n in (1, BATCH):
                latest = kept.enter_context(closing(LatestProducts(problem.case)))
                for name, full in (("Hessian", True), ("Gauss-Newton", False)):
                    competitors[f"{name}{f', batch of {n}' if n > 1 else ''}"] = partial(
                        latest.products, batch[:n], full
                    )
            samples = interleave(competitors, chosen.rounds, clock=chosen.clock)
    return {
        name: samples.ratio(name, "gradient") / (BATCH if "batch" in name else 1)
        for name in competitors
        if name != "gradient"
    }


def searches(quick: bool) -> list[dict[str, Any]]:
    """What blmvm and bnls take for each twin."""
    rows = []
    for twin in TWINS:
        for method in ("blmvm", "bnls"):
            with tempfile.TemporaryDirectory() as folder:
                changes: dict[str, Any] = {
                    "tao.type": method,
                    "output.directory": folder,
                    "output.plots": False,
                }
                if quick:
                    changes |= {"grid.nx": 20, "grid.ny": 16, "tao.iterations": 3}
                config = ba.load(str(CONFIGS / f"{twin}.toml"), changes)
                done = optimize(config, ALONE, Progress(shown=False))
            found = done.optimize
            assert found
            rows.append(
                {
                    "twin": twin,
                    "method": method,
                    "iterations": found.iterations,
                    "gradients": found.evaluations,
                    "products": found.products,
                    "converged": found.converged,
                    "seconds": done.seconds["sweeps"],
                    "error": {name: one["recovered"] for name, one in found.control_error.items()},
                }
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = options("second_order", "Products with the Hessian over a gradient.")
    parser.add_argument("--grid", type=int, default=256, help="points along x and along y")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--twins", action="store_true", help="search the twin experiments, too")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.grid, chosen.steps, chosen.rounds = 24, 12, 1
    found = {name: products(name, chosen) for name in METHODS}
    print("time over that of a gradient, per direction")
    names = [*found["euler"]]
    rows = [[f"{one} {METHODS[one]}", *(f"{found[one][n]:.2f}" for n in names)] for one in METHODS]
    print(table([f"{chosen.grid} squared, {chosen.steps} steps", *names], rows))
    result: dict[str, Any] = {"products": found}
    if chosen.twins:
        result["searches"] = searched = searches(chosen.quick)
        columns = ["twin", "method", "iterations", "gradients", "products", "converged", "seconds"]
        print(table(columns, [[row[column] for column in columns] for row in searched]))
    write(chosen.output, "second_order", result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
