"""How often the truth lies where `uncertainty` says: a viscosity field, over seeds of the noise.

    python -m benchmarks.uncertainty [--seeds N] [--truth bump|drawn] [--viscosity NU] [--length L]
        [--deviation D] [--eigenpairs N] [-o DIR] [--quick]

The problem is that of configs/twin_viscosity.toml at half its resolution and twice its viscosity,
with the covariance of a smooth random field for a background. Each seed has noise of its own. The
truth is the bump of that configuration, always the same; or a field drawn from the background, for
each seed another, for which the viscosity has to be higher yet. Of a normal posterior, 95.4 % of
the latter lie within two standard deviations; what is smoother than the background expects is found
closer than that.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.measure import describe_machine, options, table, write
from burgers_adjoint.assembly.runs import new_recorder, sweep
from burgers_adjoint.commands.uncertainty import uncertainty
from burgers_adjoint.config import Config, load
from burgers_adjoint.inverse import observation_file
from burgers_adjoint.inverse.posterior import Whitening
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.parallel.agreement import ALONE
from burgers_adjoint.problem import Problem

CONFIG = Path(__file__).parents[1] / "configs/twin_viscosity.toml"
NAME = "viscosity_field"
SMALL = {
    "grid.nx": 40,
    "grid.ny": 32,
    "time.dt": 0.04,
    "time.steps": 75,
    "observations.sensor_grid": [12, 15],
    "observations.count": 15,
    "background.deviation": {},
    "background.smoothness": {},
    "controls.lower": {},
    "controls.upper": {},
    "tao.iterations": 500,
    "uncertainty.passes": 2,
    "uncertainty.samples": 0,
    "output.plots": False,
}
WITHIN = 2.0  # standard deviations


def drawn_from_background(config: Config, seed: int, path: Path) -> None:
    """Write observations of a flow whose viscosity is drawn from the background, and that."""
    with Problem(config, ALONE) as problem:
        case = problem.case
        whitening = Whitening(ALONE, case.controls, case.prior.covariances())
        (drawn,) = whitening.departures(whitening.noise(seed, 1))
        case.inputs.set(NAME, drawn[NAME])
        recorder = new_recorder(case)
        sweep(case, recorder=recorder)
        observation_file.write(
            path, recorder.observations, case.grid, case.decomposition, case.all_controls, drawn, {}
        )


def scaled_error(config: Config) -> tuple[np.ndarray, Any]:
    """Found less true viscosity over the posterior's deviation, (ny, nx), and the summary."""
    summary = uncertainty(config, ALONE, Progress(shown=False))
    folder = Path(config.output.directory)
    with h5py.File(folder / "uncertainty.h5") as file, h5py.File(folder / "results.h5") as results:
        apart = file[f"controls/{NAME}"][()] - results[f"truth/{NAME}"][()]
        return apart / file[f"deviation/posterior/{NAME}"][()], summary


def share_within(keys: dict[str, Any], drawn: bool, seed: int) -> dict[str, float]:
    """What a run with this seed has to do with its truth."""
    with tempfile.TemporaryDirectory() as folder:
        keys = keys | {"observations.seed": seed}
        if drawn:
            seen = Path(folder) / "seen.h5"
            blind = {"truth.twin": False, "objective.kind": "final_energy"}
            drawn_from_background(load(CONFIG, keys | blind), 1000 + seed, seen)
            keys |= {"truth.twin": False, "observations.path": str(seen)}
        scaled, summary = scaled_error(load(CONFIG, keys, folder))
    within = float(np.mean(np.abs(scaled) < WITHIN))
    name = "drawn" if drawn else "bump"
    print(f"{name}, seed {seed}: {within:.2%} of the points", file=sys.stderr, flush=True)
    return {
        "within": within,
        "root mean square": float(np.sqrt(np.mean(np.square(scaled)))),
        "informed": summary.informed,
        "last eigenvalue": summary.eigenvalues[-1],
        "converged": summary.converged,
        "prior": summary.deviation[NAME].prior,
        "posterior": summary.deviation[NAME].posterior,
    }


def main() -> None:
    """Run the benchmark."""
    parser = options("uncertainty", str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="of the noise")
    parser.add_argument("--truth", choices=("bump", "drawn"), default="bump")
    parser.add_argument("--viscosity", type=float, default=0.08, help="beside the field")
    parser.add_argument("--length", type=float, default=12.0, help="of the background's field")
    parser.add_argument("--deviation", type=float, default=0.02, help="likewise")
    parser.add_argument("--eigenpairs", type=int, default=72)
    chosen = parser.parse_args()
    matern = {"kind": "matern", "length": chosen.length, "deviation": chosen.deviation}
    keys: dict[str, Any] = SMALL | {
        "physics.viscosity": chosen.viscosity,
        "truth.viscosity": chosen.viscosity,
        f"background.{NAME}": matern,
        "uncertainty.eigenpairs": chosen.eigenpairs,
    }
    seeds = chosen.seeds
    if chosen.quick:
        seeds = 1
        keys |= {"time.steps": 8, "observations.count": 2}
        keys |= {"uncertainty.eigenpairs": 4, "uncertainty.batch": 2}
    print(describe_machine())
    print(f"{WITHIN:g} standard deviations, viscosity {chosen.viscosity:g}, background {matern}")
    runs = [share_within(keys, chosen.truth == "drawn", seed) for seed in range(seeds)]
    within = 100 * np.array([run["within"] for run in runs])
    means = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
    columns = (
        "truth", "seeds", "within %", "least %", "most %", "error / deviation", "informed",
        "last eigenvalue", "deviation before", "after", "converged",
    )  # fmt: skip
    row = [
        chosen.truth, seeds, float(within.mean()), float(within.min()), float(within.max()),
        means["root mean square"], means["informed"], means["last eigenvalue"],
        f"{means['prior']:.4f}", f"{means['posterior']:.4f}", int(seeds * means["converged"]),
    ]  # fmt: skip
    print(table(columns, [row]))

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        axis.plot(within, marker="o", linestyle="")
        axis.axhline(95.4, color="black", linewidth=0.8, linestyle="--")
        axis.set_xlabel("seed of the noise")
        axis.set_ylabel(f"points within {WITHIN:g} standard deviations [%]")

    write(chosen.output, "uncertainty", {"truth": chosen.truth, "runs": runs}, draw)


if __name__ == "__main__":
    main()
