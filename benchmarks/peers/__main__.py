"""The same discretisation by other means, timed side by side on one thread.

    python -m benchmarks.peers [--grid N] [--steps N] [-o DIR] [--quick]

Results are compared before anything is timed. A peer that is not installed is skipped by name;
`pip install .[peers]` installs those that are on PyPI.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cases import fields_of, grid_of, model_on
from benchmarks.measure import describe_machine, interleave, options, table, write
from benchmarks.peers.peer import Case, Peer

OURS = "ours"
PEERS = ("numpy_slices", "jax_scan", "petsc_ts", "petsc_assembled", "devito_stencil", "c_loop")
NEEDS = {
    "jax_scan": "jax",
    "petsc_ts": "petsc4py",
    "petsc_assembled": "petsc4py",
    "devito_stencil": "devito",
    "c_loop": "cc",
}
LARGEST_DIFFERENCE = 1e-10
COPY = "copy of the state"


def make_peers(case: Case, names: Sequence[str]) -> dict[str, Peer]:
    """The peers that are installed, ours first; the others are named as skipped."""
    peers = {}
    for name in (OURS, *names):
        try:
            peers[name] = importlib.import_module(f"benchmarks.peers.{name}").make(case)
        except ModuleNotFoundError as error:
            if name not in NEEDS or (error.name or "").split(".")[0] != NEEDS[name]:
                raise
            print(f"skipped: {NEEDS[name]} is not installed")
    return peers


def compare(peers: dict[str, Peer]) -> dict[str, dict[str, float]]:
    """Largest differences from ours, over the largest value.

    Raises:
        ValueError: one is larger than 1e-10.
    """
    differences: dict[str, dict[str, float]] = {}
    ours = peers[OURS]
    assert ours.gradient is not None
    final = ours.primal().copy()
    value, derivative = ours.gradient()
    derivative = derivative.copy()
    for name, peer in peers.items():
        found = {"primal": float(np.abs(peer.primal() - final).max() / np.abs(final).max())}
        if peer.gradient is not None:
            its_value, its_derivative = peer.gradient()
            largest = np.abs(derivative).max()
            found["objective"] = abs(its_value - value) / abs(value)
            found["gradient"] = float(np.abs(its_derivative - derivative).max() / largest)
        for what, difference in found.items():
            if not difference < LARGEST_DIFFERENCE:
                raise ValueError(f"{peer.name}: {what} differs from ours by {difference:.3g}")
        differences[name] = found
    return differences


def report(results: dict[str, Any]) -> None:
    """Print the table."""
    n, n_steps = results["grid"], results["steps"]
    print(describe_machine(results["clock"]))
    print(f"\n{n} x {n} points, {n_steps} steps, nanoseconds per point and step, one thread")
    rows = []
    for one in results["peers"]:
        rows.append(
            [
                one["name"],
                one["primal_ns"],
                one["primal_over_ours"],
                one["gradient_ns"],
                one["gradient_over_ours"],
                f"{max(one['differences'].values()):.1e}" if one["differences"] else None,
            ]
        )
    columns = ["", "primal", "over ours", "gradient", "over ours", "largest difference"]
    print(table(columns, rows))
    print(f"spread of the rounds (middle half over median): {results['spread']:.1%} in the middle")


def draw(results: dict[str, Any], figure: Any) -> None:
    """Bars of ns per point and step."""
    shown = results["peers"][::-1]
    for axis, what in zip(figure.subplots(1, 2, sharey=True), ("primal", "gradient"), strict=True):
        bars = axis.barh(
            [one["name"] for one in shown], [one[f"{what}_ns"] or 0.0 for one in shown]
        )
        told = [f"{one[f'{what}_ns']:.3g}" if one[f"{what}_ns"] else "-" for one in shown]
        axis.bar_label(bars, told, padding=2)
        axis.margins(x=0.15)
        axis.set_title(what)
        axis.set_xlabel("ns per point and step")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it wrote."""
    parser = options("peers", "The same discretisation by other means, on one thread.")
    parser.add_argument("--grid", type=int, default=2048, metavar="N", help="N x N points")
    parser.add_argument("--steps", type=int, default=32, help="all states of which are kept")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    chosen = parser.parse_args(arguments)
    # read by the peers' libraries when they are imported
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    if chosen.quick:
        chosen.grid, chosen.steps, chosen.rounds = 40, 5, 2
    grid = grid_of(chosen.grid, chosen.grid)
    fields = fields_of(grid, model_on(grid).decomposition)
    peers = make_peers(Case(fields, chosen.steps), chosen.peers)
    differences = compare(peers)
    copy = fields.copy()
    primals = {name: peer.primal for name, peer in peers.items()}
    gradients = {name: peer.gradient for name, peer in peers.items() if peer.gradient}
    copies = {COPY: lambda: np.copyto(copy, fields)}
    primal = interleave({**copies, **primals}, chosen.rounds, clock=chosen.clock)
    gradient = interleave(gradients, chosen.rounds, clock=chosen.clock)
    per_point = 1e9 / fields[0].size
    per_step = per_point / chosen.steps
    rows = [
        {
            "name": COPY,
            "primal_ns": primal.median(COPY) * per_point,
            "primal_over_ours": primal.ratio(COPY, OURS) * chosen.steps,
            "gradient_ns": None,
            "gradient_over_ours": None,
            "differences": {},
        }
    ]
    for name, peer in peers.items():
        rows.append(
            {
                "name": peer.name,
                "primal_ns": primal.median(name) * per_step,
                "primal_over_ours": primal.ratio(name, OURS),
                "gradient_ns": gradient.median(name) * per_step if name in gradients else None,
                "gradient_over_ours": gradient.ratio(name, OURS) if name in gradients else None,
                "differences": differences[name],
            }
        )
    results = {
        "clock": chosen.clock.__name__,
        "grid": chosen.grid,
        "steps": chosen.steps,
        "peers": rows,
        "spread": float(np.median([primal.spread(name) for name in primals])),
        "samples": {"primal": primal.as_dict(), "gradient": gradient.as_dict()},
    }
    report(results)
    write(chosen.output, "peers", results, lambda figure: draw(results, figure))
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
