"""Our gradients and products with the Hessian against JAX's.

For each integrator, advection scheme, boundary, control and objective.

    python -m benchmarks.against_ad

JAX differentiates the discrete equations, written anew in `by_jax`, in the environment of the
benchmark `peers`; both sides start from the same bits. Ends with 1 when a derivative differs by
more than 1e-12 of the largest one of its control, or the objective of its own value; a product
with the Hessian, by more than 1e-11.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import burgers_adjoint as ba
from benchmarks.against_ad.setup import (
    INTEGRATORS,
    OBJECTIVES,
    OF_FIELDS,
    OF_THE_STATE,
    Setup,
    arrays_of,
    save,
    setups,
)
from benchmarks.measure import options, table, write
from benchmarks.peers.environments import FOLDER, ROOT, UnavailableError, python_of

LARGEST_DIFFERENCE, LARGEST_OF_PRODUCTS = 1e-12, 1e-11


def write_observations(
    path: Path, setup: Setup, arrays: dict[str, np.ndarray], sensors: bool
) -> None:
    """Write what a misfit compares with, of fields or at sensors, as the package reads it."""
    with h5py.File(path, "w") as file:
        file["times"] = np.array(setup.observed) * setup.dt
        file["noise"] = setup.noise
        for f, name in enumerate("uv"):
            if sensors:
                file[f"sensors/{'xy'[f]}"] = arrays["positions"][:, f]
                file[f"sensors/{name}"] = arrays["sensors"][:, f]
                continue
            for number, fields in enumerate(arrays["fields"]):
                file[f"fields/{number:04d}/{name}"] = fields[f]


def ours(
    setup: Setup, arrays: dict[str, np.ndarray], objective: str, folder: Path
) -> dict[str, Any]:
    """Our "objective", gradient by control, and product with the Hessian."""
    kind, _, seen = objective.partition(" of ")
    sections: dict[str, dict[str, Any]] = {
        "grid": {
            "nx": setup.nx, "ny": setup.ny, "x": setup.x, "y": setup.y, "boundary": setup.boundary,
        },
        "physics": {
            "viscosity": setup.viscosity,
            "advection": setup.advection,
            "smooth_speed": setup.smooth_speed,
        },
        # forward Euler with central differences is not stable at this viscosity, for so few steps
        # it is good enough
        "time": {
            "dt": setup.dt, "steps": setup.n_steps, "integrator": setup.integrator,
            "allow_unstable": True,
        },
        "objective": {"kind": kind},
        "gradient": {"controls": setup.controls},
    }  # fmt: skip
    if seen:
        path = folder / f"{seen}.h5"
        write_observations(path, setup, arrays, seen == "sensors")
        sections["observations"] = {"path": str(path)}
    if "forcing_in_time" in setup.controls:
        sections["controls"] = {"knots": setup.knots}
    values = {name: arrays[name] for name in setup.controls if name in arrays}
    if "boundary" in setup.controls:
        values["boundary"] = arrays["initial"]
    with ba.Problem(sections) as problem:
        value, gradient = problem.value_and_gradient(values)
        along = {name: arrays[f"along {name}"] for name in setup.controls}
        product = problem.hessian_product(values, along)
    assert isinstance(product, dict)
    products = {f"product {name}": part for name, part in product.items()}
    return {"objective": value, **gradient, **products}


def differences(
    setup: Setup, found: dict[str, Any], reference: dict[str, np.ndarray], place: int
) -> dict[str, float]:
    """Largest differences of the objective and by control, over the largest values."""
    result = {}
    for name in ("objective", *setup.controls, *(f"product {name}" for name in setup.controls)):
        theirs = reference[name][place]
        scale = np.abs(theirs).max() or 1.0
        result[name] = float(np.abs(found[name] - theirs).max() / scale)
    return result


def report(rows: Sequence[dict[str, Any]]) -> float:
    """Print tables and what they say; returns the largest share of a limit, nan when one is."""
    names = [*OF_THE_STATE, *OF_FIELDS]
    report_of("gradients", ["objective", *names], rows)
    report_of("products with the Hessian", [f"product {name}" for name in names], rows)
    limits = {True: LARGEST_OF_PRODUCTS, False: LARGEST_DIFFERENCE}
    worst = 0.0
    for products, limit in limits.items():
        differences = [
            value
            for row in rows
            for name, value in row["differences"].items()
            if name.startswith("product") == products
        ]
        largest = float(np.max(differences))
        verdict = "all agree" if largest <= limit else "NOT all agree"
        what = "products" if products else "gradients"
        print(f"{what}: {verdict} to {limit:.0e}: the largest difference is {largest:.2e}")
        worst = float(np.maximum(worst, largest / limit))
    return worst


def report_of(what: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Print a table."""
    print(f"largest differences of our {what} from JAX's, over the largest value")
    cells = [
        [
            *(row[key] for key in ("integrator", "advection", "boundary", "of")),
            *(f"{row['differences'][c]:.1e}" if c in row["differences"] else "" for c in columns),
        ]
        for row in rows
    ]
    heads = ["J" if name == "objective" else name.removeprefix("product ") for name in columns]
    print(table(["", "", "", "objective", *heads], cells))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; returns the exit status."""
    parser = options("against_ad", "Our gradients against JAX's.")
    parser.add_argument(
        "--integrators", nargs="+", choices=INTEGRATORS, default=INTEGRATORS, metavar="NAME"
    )
    parser.add_argument("--environments", type=Path, default=FOLDER, metavar="DIR")
    chosen = parser.parse_args(arguments)
    integrators = ("euler",) if chosen.quick else tuple(chosen.integrators)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folders = {setup: Path(name, setup.name) for setup in setups(integrators)}
        arrays = {setup: arrays_of(setup) for setup in folders}
        for setup, folder in folders.items():
            save(folder, setup, arrays[setup])
        try:
            python = python_of("jax_scan", chosen.environments)
        except UnavailableError as error:
            print(error, file=sys.stderr)
            return 1
        command = [str(python), "-m", "benchmarks.against_ad.by_jax", *map(str, folders.values())]
        if (status := subprocess.run(command, cwd=ROOT).returncode) != 0:
            print(f"JAX's side ended with status {status}", file=sys.stderr)
            return 1
        for setup, folder in folders.items():
            with np.load(folder / "reference.npz") as file:
                reference = dict(file)
            for place, objective in enumerate(OBJECTIVES):
                found = ours(setup, arrays[setup], objective, folder)
                rows.append(
                    {
                        "integrator": setup.integrator,
                        "advection": setup.advection,
                        "boundary": setup.boundary,
                        "of": objective,
                        "differences": differences(setup, found, reference, place),
                    }
                )
    worst = report(rows)
    write(chosen.output, "against_ad", {"rows": rows, "largest_over_limit": worst})
    return 0 if worst <= 1.0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
