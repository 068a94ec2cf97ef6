"""The same discretisation by other means, timed side by side on one thread.

    python -m benchmarks.peers [--grid N] [--steps N] [--cases ...] [--peers ...] [--renew]

Every peer runs in a process and, where it needs packages, a virtual environment of its own, which
is made in build/peers with their newest versions. Results are compared before anything is timed;
of a peer's variants the fastest counts. A peer that cannot run here is skipped by name.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import DT, SPACING, VISCOSITY
from benchmarks.measure import describe_machine, options, table, take_turns, timed, write
from benchmarks.peers.case import Case, save_case
from benchmarks.peers.environments import FOLDER, UnavailableError, python_of
from benchmarks.peers.process import Worker

OURS = "ours"
# What each peer is written for.
CENTRAL = ("euler-central", "rk4-central")
CASES = ("euler-central", "euler-upwind", "rk4-central", "rk4-upwind")
PEERS = {
    "numpy_slices": CENTRAL,
    "jax_scan": CASES,
    "petsc_ts": CENTRAL,
    "petsc_assembled": CENTRAL,
    "devito_stencil": CENTRAL[:1],
    "c_loop": CENTRAL[:1],
}
LARGEST_DIFFERENCE = 1e-10
COPY = "copy of the state"
WHATS = ("primal", "gradient")


def bells(n: int) -> np.ndarray:
    """Two bells that differ in u and v, (2, n, n)."""
    x = np.linspace(0.0, 1.0, n)
    bell = np.exp(-(((x[:, None] - 0.55) / 0.15) ** 2) - ((x - 0.45) / 0.17) ** 2)
    return np.stack([bell, 0.8 * bell])


def start(
    names: Sequence[str], case: Case, folder: Path, chosen: Any, stack: ExitStack
) -> dict[str, Worker]:
    """Workers of ours and of the peers that can run this case; others are named as skipped."""
    cpu = max(os.sched_getaffinity(0))
    workers = {}
    for name in (OURS, *names):
        if name != OURS and f"{case.integrator}-{case.advection}" not in PEERS[name]:
            continue
        try:
            python = python_of(name, chosen.environments)
            worker = Worker(name, python, folder, cpu, chosen.clock.__name__)
        except UnavailableError as error:
            if name == OURS:
                raise
            print(f"skipped: {error}")
        else:
            workers[name] = stack.enter_context(worker)
    return workers


def compare(workers: dict[str, Worker]) -> dict[str, float]:
    """Largest difference of each peer's results from ours, over the largest value.

    Raises:
        ValueError: one is larger than 1e-10.
    """
    ours = {**workers[OURS].result("primal", ""), **workers[OURS].result("gradient", "")}
    differences = dict.fromkeys(workers, 0.0)
    for name, worker in workers.items():
        for what in WHATS:
            for variant in worker.variants[what]:
                for part, found in worker.result(what, variant).items():
                    difference = np.abs(found - ours[part]).max() / np.abs(ours[part]).max()
                    if not difference < LARGEST_DIFFERENCE:
                        raise ValueError(
                            f"{worker.name}: {' '.join((variant, part)).strip()} differs from ours "
                            f"by {difference:.3g}"
                        )
                    differences[name] = max(differences[name], float(difference))
    return differences


def choose(worker: Worker, what: str) -> dict[str, float]:
    """Seconds of each variant, the better of two calls, the fastest first; 0 of one alone."""
    variants = worker.variants[what]
    if len(variants) == 1:
        return {variants[0]: 0.0}
    seconds = {
        variant: min(worker.seconds(what, variant) for _ in range(2)) for variant in variants
    }
    return dict(sorted(seconds.items(), key=lambda item: item[1]))


def run_case(case: Case, fields: np.ndarray, chosen: Any) -> dict[str, Any]:
    """Compare and time all peers of a case; returns its part of the results."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        save_case(folder, case, fields)
        workers = start(chosen.peers, case, folder, chosen, stack)
        differences = compare(workers)
        tried = {
            what: {
                n: choose(worker, what) for n, worker in workers.items() if worker.variants[what]
            }
            for what in WHATS
        }
        copy = fields.copy()
        copying = partial(timed, lambda: np.copyto(copy, fields), chosen.clock)
        samples = {}
        for what in WHATS:
            timers = {
                name: partial(workers[name].seconds, what, next(iter(variants)))
                for name, variants in tried[what].items()
            }
            if what == "primal":
                timers = {COPY: copying, **timers}
            samples[what] = take_turns(timers, chosen.rounds)
    per_step = 1e9 / (fields[0].size * case.n_steps)
    rows = []
    for name, worker in workers.items():
        row: dict[str, Any] = {"peer": name, "name": worker.name, "difference": differences[name]}
        for what in WHATS:
            has = name in tried[what]
            row[what] = {
                "variant": next(iter(tried[what][name])) if has else None,
                "ns": samples[what].median(name) * per_step if has else None,
                "over_ours": samples[what].ratio(name, OURS) if has else None,
                "tried_ns": {
                    variant: seconds * per_step
                    for variant, seconds in tried[what].get(name, {}).items()
                    if seconds
                },
            }
        rows.append(row)
    return {
        "integrator": case.integrator,
        "advection": case.advection,
        "copy_ns": samples["primal"].median(COPY) * 1e9 / fields[0].size,
        "peers": rows,
        "spread": float(np.median([samples["primal"].spread(name) for name in workers])),
        "samples": {what: samples[what].as_dict() for what in WHATS},
    }


def report(case: dict[str, Any], grid: int, n_steps: int) -> None:
    """Print the tables of a case."""
    print(
        f"\n{case['integrator']}, {case['advection']}: {grid} x {grid} points, {n_steps} steps, "
        "nanoseconds per point and step, one thread;\ngradients keep all states; a copy of the "
        f"state takes {case['copy_ns']:.3g} ns"
    )
    columns = ["", "primal", "over ours", "gradient", "over ours", "largest difference"]
    rows = [
        [
            one["name"],
            *(one[what][key] for what in WHATS for key in ("ns", "over_ours")),
            f"{one['difference']:.1e}",
        ]
        for one in case["peers"]
    ]
    print(table(columns, rows))
    tried = [
        [one["name"], what, variant, ns, "counts" if place == 0 else ""]
        for one in case["peers"]
        for what in WHATS
        for place, (variant, ns) in enumerate(one[what]["tried_ns"].items())
    ]
    if tried:
        print("\nvariants, the better of two calls; the fastest is the one in the table above")
        print(table(["", "", "variant", "ns", ""], tried))
    spread = f"{case['spread']:.1%} in the middle"
    print(f"spread of the rounds (middle half over median): {spread}", flush=True)


def draw(results: dict[str, Any], figure: Any) -> None:
    """Bars of ns per point and step, a row of panels for each case."""
    panels = figure.subplots(len(results["cases"]), 2, squeeze=False)
    for case, axes in zip(results["cases"], panels, strict=True):
        shown = case["peers"][::-1]
        for axis, what in zip(axes, WHATS, strict=True):
            ns = [one[what]["ns"] for one in shown]
            bars = axis.barh([one["name"] for one in shown], [value or 0.0 for value in ns])
            axis.bar_label(bars, [f"{value:.3g}" if value else "-" for value in ns], padding=2)
            axis.margins(x=0.15)
            axis.set_title(f"{case['integrator']}, {case['advection']}: {what}, ns")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it wrote."""
    parser = options("peers", "The same discretisation by other means, on one thread.")
    parser.add_argument("--grid", type=int, default=1024, metavar="N", help="N x N points")
    parser.add_argument("--steps", type=int, default=16, help="all states of which are kept")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, metavar="CASE")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=tuple(PEERS), metavar="PEER")
    parser.add_argument(
        "--environments", type=Path, default=FOLDER, metavar="DIR", help="folder of all of them"
    )
    parser.add_argument(
        "--renew", action="store_true", help="make environments anew, for newer versions"
    )
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.grid, chosen.steps, chosen.rounds = 40, 5, 2
    if chosen.renew:
        for name in chosen.peers:
            python_of(name, chosen.environments, renew=True)
    print(describe_machine(chosen.clock.__name__), flush=True)
    fields = bells(chosen.grid)
    cases = []
    for name in chosen.cases:
        integrator, advection = name.split("-")
        case = Case(integrator, advection, chosen.steps, SPACING, SPACING, DT, VISCOSITY)
        cases.append(run_case(case, fields, chosen))
        report(cases[-1], chosen.grid, chosen.steps)
    results = {
        "clock": chosen.clock.__name__,
        "grid": chosen.grid,
        "steps": chosen.steps,
        "cases": cases,
    }
    write(chosen.output, "peers", results, lambda figure: draw(results, figure))
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
