"""Pinned results: the bits, J and the whole gradient of each of `pin_cases.CASES`, on any ranks.

    .venv/bin/python -m tests.mpi.pins                 compares with `pins.json`, under mpiexec too
    .venv/bin/python -m tests.mpi.pins --write         makes `pins.json` anew

Both print the cases whose bits have changed, and by how much relative to the norm of the gradient.
`pins.json` has for each case the digest of final state and gradient, J, the number of steps, and
each control's gradient: a number, or the bytes of the global field (little-endian doubles, C order)
in base64.
"""

import json
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.config import from_dict
from burgers_adjoint.problem import Problem
from tests.mpi.pin_cases import CASES, NX, NY, VALUES, Case, configuration, write_inputs

COMM = MPI.COMM_WORLD
FILE = Path(__file__).with_suffix(".json")


class Found(NamedTuple):
    """What a run has come to; the gradient is a number or a global field per control."""

    digest: str
    objective: float
    steps: int
    gradient: dict[str, Any]


def solve(case: Case, folder: Path, **changed: Any) -> Found:
    """Run a case on all ranks, at other values of some controls when these are given.

    All that the pins know of the package's interface is in here.
    """
    problem = Problem(from_dict(configuration(case, folder)), COMM)
    here = (..., problem.case.decomposition.rows, problem.case.decomposition.columns)
    for name in problem.config.gradient.controls:
        value = changed.get(name, VALUES[name])
        problem.case.inputs.set(name, value[here] if np.ndim(value) else value)
    schedule = problem.checkpointing.schedule()
    store = problem.checkpointing.store(schedule)
    result = reverse(problem.case, schedule, store)
    store.close()
    gradient: dict[str, Any] = dict(result.gradient)
    for name, part in result.gradient.items():
        if isinstance(part, np.ndarray):
            gradient[name] = np.zeros((*part.shape[:-2], NY, NX))
            gradient[name][here] = part
            COMM.Allreduce(MPI.IN_PLACE, gradient[name])
    digest = problem.case.digest(result.final, result.gradient)
    problem.close()
    return Found(digest, result.objective, problem.case.n_steps, gradient)


def read() -> dict[str, Found]:
    """The pinned results by the names of their cases."""
    pins = {name: Found(**pin) for name, pin in json.loads(FILE.read_text()).items()}
    for pin in pins.values():
        for control, part in pin.gradient.items():
            if isinstance(part, str):
                field = np.frombuffer(b64decode(part), "<f8")
                pin.gradient[control] = field.reshape(VALUES[control].shape)
    return pins


def write(pins: dict[str, Found]) -> None:
    """Pin these results."""
    texts = {}
    for name, pin in pins.items():
        gradient = {
            control: b64encode(part.astype("<f8").tobytes()).decode() if np.ndim(part) else part
            for control, part in pin.gradient.items()
        }
        texts[name] = pin._replace(gradient=gradient)._asdict()
    FILE.write_text(json.dumps(texts, indent=1) + "\n")


def differences(pinned: Found, found: Found) -> dict[str, float]:
    """Relative differences of J and of each control's gradient, of the latter by its norm."""
    assert found.gradient.keys() == pinned.gradient.keys()
    before = {"J": pinned.objective, **pinned.gradient}
    after = {"J": found.objective, **found.gradient}
    relative = {}
    for name, value in before.items():
        change, size = np.linalg.norm(after[name] - value), np.linalg.norm(value)
        relative[name] = float(change / size if size else change)
    return relative


@contextmanager
def inputs() -> Iterator[Path]:
    """A folder of all ranks with the files that cases read."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(COMM.bcast(made, root=0))
        if COMM.rank == 0:
            write_inputs(folder)
        COMM.Barrier()
        yield folder
        COMM.Barrier()


def report(before: dict[str, Found], after: dict[str, Found]) -> None:
    """Print which cases are new, gone or changed, and by how much."""
    largest = [0.0]
    for name in {**before, **after}:
        if name not in after or name not in before:
            print(f"{'new' if name in after else 'gone'}: {name}")
        elif after[name][:3] != before[name][:3]:
            relative = differences(before[name], after[name])
            largest.append(max(relative.values()))
            print(f"{name}: " + ", ".join(f"{key} {x:.1e}" for key, x in relative.items()))
    print(
        f"{len(after)} cases on {COMM.size} ranks: {len(largest) - 1} with other bits, the largest "
        f"relative difference is {max(largest):.1e}"
    )


def main() -> None:
    """Compare all cases with their pins, and pin them anew when asked to. Collective."""
    with inputs() as folder:
        found = {str(case): solve(case, folder) for case in CASES}
    if COMM.rank == 0:
        report(read() if FILE.exists() else {}, found)
        if "--write" in sys.argv[1:]:
            write(found)


if __name__ == "__main__":
    main()
