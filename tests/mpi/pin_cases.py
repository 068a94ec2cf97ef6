"""The cases of `pins`: small runs with every choice there is, and inputs that no library rounds.

Integrators, advection schemes, boundaries and controls come in full; schedules, stores, objectives
and kept stages in pairs with each other and with these. Inputs are integers over powers of two.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from mpi4py import MPI

NY, NX = 7, 11
DT = 1 / 64
KNOTS = [3 / 64, 7 / 64]  # a run of 9 steps begins before the first and ends after the last

INTEGRATORS = ("euler", "ssprk3", "rk4")
ADVECTION = ("central", "upwind")
CONTROLS = {
    "initial": ["initial"],
    "viscosity": ["viscosity"],
    "viscosity_field": ["viscosity_field"],
    "forcing": ["forcing"],
    "forcing_in_time": ["forcing_in_time"],
    "initial+viscosity": ["initial", "viscosity"],
    "all": ["initial", "viscosity", "viscosity_field", "forcing", "forcing_in_time"],
}
BOUNDARIES = {
    "dirichlet": {
        **CONTROLS,
        "all": [*CONTROLS["all"], "boundary"],
        "boundary": ["boundary"],
        "initial+boundary+viscosity": ["initial", "boundary", "viscosity"],
    },
    "periodic": CONTROLS,
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "binomial": {"snapshots": 3},
    "store_all": {"snapshots": 3},
    "periodic": {"period": 4, "snapshots": 2},
    "online": {"snapshots": 3},
    "multistage": {"snapshots": 2, "snapshots_on_disk": 2},
    "two_level": {"snapshots": 2, "snapshots_on_disk": 2},
    "checkpoint_schedules:HRevolve": {"arguments": {"snapshots_in_ram": 2, "snapshots_on_disk": 1}},
}
STORES: dict[str, dict[str, Any]] = {
    "memory": {"store": "memory"},
    "hdf5": {"store": "hdf5", "asynchronous": False},
    "hdf5_asynchronous": {"store": "hdf5", "asynchronous": True, "buffers": 2},
    "hdf5_shared": {"store": "hdf5_shared"},
    "tiered": {"store": "tiered", "buffers": 2},
}
WEIGHTS = {"final_energy": 0.5, "running_energy": 2.0, "running_enstrophy": 0.25, "misfit": 0.125}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "final_energy": {"kind": "final_energy"},
    "running_energy": {"kind": "running_energy"},
    "running_enstrophy": {"kind": "running_enstrophy"},
    "misfit_to_fields": {"kind": "misfit"},
    "misfit_to_sensors": {"kind": "misfit"},
    "weighted_sum": {"kind": "weighted_sum", "weights": WEIGHTS},
}
OBSERVATIONS = {
    "misfit_to_fields": "fields.h5",
    "misfit_to_sensors": "sensors.h5",
    "weighted_sum": "fields.h5",
}
STAGES = ("recompute", "keep")

# What only some cases have: an end or lengths of steps that are found on the way, a last step that
# is short, a background, and other ways to exchange halos.
DEVIATION = {"initial": 0.5, "boundary": 0.25, "viscosity": 0.125, "forcing": 2.0}
SMOOTHNESS = {"initial": 4.0, "viscosity_field": 8.0, "forcing_in_time": 0.25}
MORE: dict[str, dict[str, Any]] = {
    "": {},
    "until": {"time": {"until": 0.15}},
    "cfl": {"time": {"cfl": 0.25, "dt": 0.25}},
    "cfl+until": {"time": {"cfl": 0.25, "dt": 0.25, "until": 0.5}},
    "steady": {"time": {"steady": 0.3, "steps": 500}},
    "steady+until": {"time": {"steady": 0.3, "until": 8.0}},
    "background": {"background": {"deviation": DEVIATION, "smoothness": SMOOTHNESS}},
    "two_steps_per_exchange": {"parallel": {"steps_per_exchange": 2}},
    "overlap": {"parallel": {"process_grid": [MPI.COMM_WORLD.size, 1], "overlap": True}},
}


class Case(NamedTuple):
    """A run by the names of its choices."""

    integrator: str
    advection: str
    boundary: str
    controls: str
    schedule: str
    store: str
    objective: str
    stages: str
    more: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, self))


def dealt() -> list[Case]:
    """Every integrator, scheme, boundary and control, each with what it has least been with.

    Schedule, store, objective and stages are chosen one after the other.
    """
    cases: list[Case] = []
    seen: Counter[tuple[int, str, int, str]] = Counter()
    for integrator, advection, boundary in product(INTEGRATORS, ADVECTION, BOUNDARIES):
        for controls in BOUNDARIES[boundary]:
            row: tuple[str, ...] = (integrator, advection, boundary, controls)
            for names in (SCHEDULES, STORES, OBJECTIVES, STAGES):
                longer = [(*row, name) for name in names]
                row = max(longer, key=lambda one: rarity(one, seen))
                seen.update(pair for pair in pairs(row) if pair[2] == len(row) - 1)
            cases.append(Case(*row))
    return cases


def rarity(row: Sequence[str], seen: Counter[tuple[int, str, int, str]]) -> tuple[int, float]:
    """How many pairs of a row are new, and how little the others have been seen."""
    counts = [seen[pair] for pair in pairs(row)]
    return counts.count(0), sum(0.5**count for count in counts)


def pairs(row: Sequence[str]) -> list[tuple[int, str, int, str]]:
    """Each two names of a row, with their places."""
    return [(i, row[i], j, row[j]) for i, j in combinations(range(len(row)), 2)]


def further(start: str, schedule: str, objective: str, more: str, stages: str = STAGES[0]) -> Case:
    """A case; start has its first four names, schedule may have that of a store after its own."""
    schedule, _, store = schedule.partition(" ")
    return Case(*start.split(), schedule, store or "memory", objective, stages, more)


# New choices come here: a longer list above deals all the other cases anew.
FURTHER = [
    # Steps that follow the flow, with what forward Euler's limits alone bound.
    further("euler central dirichlet initial+viscosity", "binomial", "final_energy", "cfl"),
    further("euler central periodic all", "store_all", "final_energy", "cfl"),
    further("euler central dirichlet all", "online hdf5", "final_energy", "cfl+until"),
    further("euler central periodic initial", "online tiered", "final_energy", "cfl+until"),
    further("euler central periodic initial+viscosity", "binomial", "final_energy", "until"),
    further("ssprk3 upwind dirichlet all", "two_level tiered", "final_energy", "until", "keep"),
    further("rk4 central periodic forcing_in_time", "periodic hdf5", "final_energy", "until"),
    further("euler central dirichlet initial+viscosity", "online", "running_energy", "steady"),
    further("euler upwind dirichlet viscosity_field", "online hdf5_shared", "running_enstrophy",
            "steady"),
    further("ssprk3 central periodic initial", "online hdf5_asynchronous", "final_energy",
            "steady", "keep"),
    further("rk4 upwind dirichlet initial+boundary+viscosity", "online tiered", "running_energy",
            "steady"),
    further("rk4 central dirichlet viscosity", "online", "final_energy", "steady+until", "keep"),
    further("euler central dirichlet initial+viscosity", "binomial", "final_energy", "background"),
    further("euler central dirichlet all", "store_all", "weighted_sum", "background"),
    further("rk4 upwind periodic all", "binomial", "misfit_to_sensors", "background", "keep"),
    further("euler central dirichlet initial+viscosity", "binomial", "final_energy",
            "two_steps_per_exchange"),
    further("euler central periodic initial+viscosity", "store_all", "running_energy",
            "two_steps_per_exchange"),
    further("euler central dirichlet initial+boundary+viscosity", "binomial", "final_energy",
            "overlap"),
    further("euler central dirichlet boundary", "store_all", "running_energy", "overlap"),
]  # fmt: skip
CASES = [*dealt(), *FURTHER]


def numbers(seed: int, *leading: int) -> np.ndarray:
    """Global fields (*leading, ny, nx), all different: hills with roughness, exact in binary."""
    j, i = np.indices((NY, NX))
    hills = i * (NX - i) * j * (NY - j)
    fields = [
        (-1) ** k * (3 + k % 3) * hills + (37 * i + 101 * j + 13 * i * j + 29 * k * i) % 128 - 64
        for k in range(seed, seed + math.prod(leading))
    ]
    return np.stack(fields).reshape(*leading, NY, NX) / 2048


START = numbers(0, 2)
# At which controls the gradient is computed; a background departs from what is configured.
VALUES: dict[str, Any] = {
    "initial": START + numbers(2, 2) / 8,
    "boundary": START + numbers(4, 2) / 4,
    "viscosity": 5 / 64,
    "viscosity_field": numbers(6) / 32,
    "forcing": numbers(7, 2) * 2,
    "forcing_in_time": numbers(9, len(KNOTS), 2) * 4,
}


def write_inputs(folder: Path) -> None:
    """Write the initial fields, and observations of fields and of sensors."""
    with h5py.File(folder / "start.h5", "w") as file:
        file["u"], file["v"] = START
    times, fields = [0.0, 3 / 64, 9 / 64], numbers(20, 3, 2)
    with h5py.File(folder / "fields.h5", "w") as file:
        file["times"], file["noise"] = times, 0.25
        for k in range(len(times)):
            file[f"fields/{k:04d}/u"], file[f"fields/{k:04d}/v"] = fields[k]
    with h5py.File(folder / "sensors.h5", "w") as file:
        file["times"], file["noise"] = times, 0.25
        # on points, between them, and where tiles meet
        file["sensors/x"] = [-1.0, -0.625, 0.0, 0.5, 0.6875, 0.875, 1.25, 1.625]
        file["sensors/y"] = [-1.5, 1.0, 0.6875, 0.75, 2.125, -1.0, 0.875, 2.0]
        file["sensors/u"], file["sensors/v"] = fields[:, 0, 3, :8], fields[:, 1, 4, :8]


def configuration(case: Case, folder: Path) -> dict[str, Any]:
    """Sections and keys of a case, whose files are in the folder."""
    controls = BOUNDARIES[case.boundary][case.controls]
    sections: dict[str, dict[str, Any]] = {
        "grid": {"nx": NX, "ny": NY, "x": [-1, 2], "y": [-1.5, 3], "boundary": case.boundary},
        "physics": {"viscosity": 1 / 16, "advection": case.advection, "smooth_speed": 0.125},
        "initial": {"kind": "file", "path": str(folder / "start.h5")},
        "time": {"dt": DT, "steps": 9, "integrator": case.integrator, "stages": case.stages},
        "objective": OBJECTIVES[case.objective],
        "gradient": {"controls": controls},
        "controls": {"knots": KNOTS},
        "checkpointing": {"schedule": case.schedule, **SCHEDULES[case.schedule]},
        "snapshots": {"directory": str(folder / "snapshots"), **STORES[case.store]},
    }
    if case.objective in OBSERVATIONS:
        sections["observations"] = {"path": str(folder / OBSERVATIONS[case.objective])}
    for section, keys in MORE[case.more].items():
        sections[section] = sections.get(section, {}) | keys
    for key, table in sections.get("background", {}).items():
        sections["background"][key] = {name: table[name] for name in controls if name in table}
    return sections
