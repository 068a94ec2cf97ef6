"""Our gradients against JAX's, for each integrator, advection scheme, boundary and control.

    python -m benchmarks.against_ad

JAX differentiates the discrete equations, written anew in `by_jax`, in the environment of the
benchmark `peers`; both sides start from the same bits. Ends with 1 when a derivative differs by
more than 1e-12 of the largest one of its control, or the objective of its own value.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

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
from benchmarks.ours import Ours
from benchmarks.peers.environments import FOLDER, ROOT, UnavailableError, python_of

LARGEST_DIFFERENCE = 1e-12


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
    """Our "objective", and gradient by control."""
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
    solver = Ours(sections, values)
    objective_value, gradient = solver.gradient()
    # parts may be views of what the solver releases
    found = {name: np.array(part) for name, part in gradient.items()}
    solver.close()
    return {"objective": objective_value, **found}


def differences(
    setup: Setup, found: dict[str, Any], reference: dict[str, np.ndarray], place: int
) -> dict[str, float]:
    """Largest differences of the objective and by control, over the largest values."""
    result = {}
    for name in ("objective", *setup.controls):
        theirs = reference[name][place]
        scale = np.abs(theirs).max() or 1.0
        result[name] = float(np.abs(found[name] - theirs).max() / scale)
    return result


def report(rows: Sequence[dict[str, Any]]) -> float:
    """Print the table and what it says; returns the largest difference, nan when one is."""
    columns = ["objective", *OF_THE_STATE, *OF_FIELDS]
    print("largest differences of ours from JAX's, over the largest value")
    cells = [
        [
            *(row[key] for key in ("integrator", "advection", "boundary", "of")),
            *(f"{row['differences'][c]:.1e}" if c in row["differences"] else "" for c in columns),
        ]
        for row in rows
    ]
    print(table(["", "", "", "objective", "J", *columns[1:]], cells))
    largest = float(np.max([value for row in rows for value in row["differences"].values()]))
    verdict = "all agree" if largest <= LARGEST_DIFFERENCE else "NOT all agree"
    print(f"{verdict} to {LARGEST_DIFFERENCE:.0e}: the largest difference is {largest:.2e}")
    return largest


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
    largest = report(rows)
    write(chosen.output, "against_ad", {"rows": rows, "largest": largest})
    return 0 if largest <= LARGEST_DIFFERENCE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
