"""The learned codec beside SZ3 of the same ratio, and both beside recomputation in the same memory.

    python -m benchmarks.learned [--nx N] [--ny N] [--steps N] [--ratio R] [--epochs N] [-o DIR]
        [--quick]

Flows of rk4 with upwind differences: "smooth", until fronts begin to form, and "steep", until they
have. For each flow `train` makes a linear codec and, where PyTorch is installed, a network, from
runs with other initial fields. Each gradient keeps all states, encoded, and computes none again;
the base is the binomial schedule with as many whole states as the same bytes hold. SZ3 gets the
tolerance with which its mean ratio over the run's states is that of the learned codecs. Errors are
relative Euclidean ones, of states their mean over the run, of the gradient to the initial fields.
"""

import math
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Clock, describe_machine, interleave, options, table, write
from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.commands.train import train
from burgers_adjoint.config import from_dict
from burgers_adjoint.config.registry import CODECS
from burgers_adjoint.config.sections import Snapshots
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.learning.network import torch_or_error
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.parallel.agreement import ALONE
from burgers_adjoint.problem import Problem
from burgers_adjoint.snapshots.codecs.codec import Codec
from burgers_adjoint.snapshots.compressed import bytes_of

FLOWS = {"smooth": 1.0, "steep": 3.0}  # end times
RESIDUAL = 1e-4  # tolerance of the bounded learned codec, a share of the field's size
PAPER = "Wittmer et al.: gradient 1.06 to 1.22 times as fast as checkpointing, error 0.4 to 1.7 %"
COLUMNS = (
    "flow", "snapshots", "ratio", "encode ns/value", "decode ns/value", "error of states",
    "largest", "error of gradient", "seconds", "speed-up",
)  # fmt: skip
Sections = dict[str, dict[str, Any]]


class Kept:
    """Gradients of one way to keep snapshots.

    Args:
        sections: of the flow.
        slots: of a binomial schedule; None to keep all.
        snapshots: keys of the section of this name.
    """

    def __init__(self, sections: Sections, slots: int | None, **snapshots: Any) -> None:
        schedule: dict[str, Any] = {"schedule": "store_all"}
        if slots is not None:
            schedule = {"schedule": "binomial", "snapshots": slots}
        config = from_dict({**sections, "checkpointing": schedule, "snapshots": snapshots})
        self.section = config.snapshots
        self.problem = Problem(config, ALONE)
        self.store = self.problem.checkpointing.store(self.problem.checkpointing.schedule())

    def gradient(self) -> np.ndarray:
        """To the initial fields."""
        schedule = self.problem.checkpointing.schedule()
        found = reverse(self.problem.case, schedule, self.store).gradient["initial"]
        return np.array(found)

    @property
    def codec(self) -> Codec | None:
        """What encodes; None where nothing does."""
        return getattr(self.store, "codec", None)

    def ratio(self) -> float:
        """Bytes of states over bytes of what is kept of them, so far."""
        told = getattr(self.store, "compression", None)
        return told.raw_bytes / told.packed_bytes if told else 1.0

    def errors(self, states: list[np.ndarray]) -> tuple[float, float]:
        """Mean relative error of states, and the largest error of a point over its state's size."""
        if self.codec is None:
            return 0.0, 0.0
        return errors_of(self.codec, self.section, states)

    def nanoseconds(
        self, state: np.ndarray, rounds: int, clock: Clock
    ) -> tuple[float, float] | tuple[None, None]:
        """Per value of a state, to encode and to decode it."""
        codec = self.codec
        if codec is None:
            return None, None
        found, encode = np.empty_like(state), partial(codec.encode, state)
        there_and_back(codec, self.section, state)  # sets tolerances
        view = bytes_of(encode())
        calls: dict[str, Callable[[], object]] = {
            "encode": encode,
            "decode": partial(codec.decode, view, found),
        }
        samples = interleave(calls, rounds, 0.02, clock)
        per = 1e9 / state.size
        return samples.median("encode") * per, samples.median("decode") * per

    def close(self) -> None:
        """Give back what it holds."""
        with closed_at_end(self.store):
            pass
        self.problem.close()


def there_and_back(codec: Codec, section: Snapshots, state: np.ndarray) -> tuple[np.ndarray, int]:
    """A state from its code, and the bytes of that."""
    if codec.bounded:
        assert section.tolerance is not None
        codec.tolerances = section.tolerance * np.abs(state).max(axis=(1, 2))
    found = np.empty_like(state)
    view = bytes_of(codec.encode(state))
    codec.decode(view, found)
    return found, len(view)


def errors_of(codec: Codec, section: Snapshots, states: list[np.ndarray]) -> tuple[float, float]:
    """See `Kept.errors`."""
    relative, largest = [], []
    for state in states:
        error = there_and_back(codec, section, state)[0] - state
        relative.append(np.linalg.norm(error) / np.linalg.norm(state))
        largest.append(np.abs(error).max() / np.abs(state).max())
    return float(np.mean(relative)), float(np.max(largest))


def tolerance_of_ratio(ratio: float, states: list[np.ndarray]) -> float | None:
    """The relative tolerance with which SZ3 has this ratio; None where it is not installed."""
    low, high = math.log10(1e-12), math.log10(0.3)
    try:
        codec = CODECS["bounded"](Snapshots())
    except ConfigError:
        return None
    for _ in range(16):
        middle = (low + high) / 2
        section = Snapshots(tolerance=10**middle)
        sizes = [there_and_back(codec, section, state)[1] for state in states]
        if sum(state.nbytes for state in states) / sum(sizes) < ratio:
            low = middle
        else:
            high = middle
    return float(10**high)


def trained(sections: Sections, kind: str, path: Path) -> dict[str, float]:
    """Train a codec; returns errors of the kinds that were tried on a run that was left out."""
    section = {**sections["train"], "kind": kind}
    config = from_dict({**sections, "train": section, "snapshots": {"learned": str(path)}})
    summary = train(config, ALONE, Progress(shown=True))
    return {name: one.error for name, one in summary.kinds.items()} | summary.seconds


def results_of(
    flow: str, sections: Sections, folder: Path, rounds: int, clock: Clock
) -> list[dict[str, Any]]:
    """What each way to keep the snapshots of a flow comes to."""
    with Problem(from_dict(sections), ALONE) as problem:
        states = [state for _, state in problem.trajectory(every=problem.case.n_steps // 10)]
    kinds = ["linear"]
    try:
        torch_or_error()
        kinds.append("network")
    except ConfigError as error:
        print(error, file=sys.stderr)
    for kind in kinds:
        print(flow, trained(sections, kind, folder / f"{kind}.h5"), file=sys.stderr)
    ratio, steps = sections["train"]["ratio"], sections["time"]["steps"]
    ways = {"all, whole": Kept(sections, None)}
    ways["binomial, same memory"] = Kept(sections, max(1, round(steps / ratio)))
    for kind in kinds:
        ways[kind] = Kept(sections, None, codec="learned", learned=str(folder / f"{kind}.h5"))
    ways[f"{kinds[-1]}, within {RESIDUAL:g}"] = Kept(
        sections, None, codec="learned", learned=str(folder / f"{kinds[-1]}.h5"),
        tolerance=RESIDUAL,
    )  # fmt: skip
    codec = ways["linear"].codec
    assert codec is not None
    of_codec = states[0].nbytes / codec.bound(states[0].shape, states[0].dtype)
    tolerance = tolerance_of_ratio(of_codec, states)
    for name, one in (("same ratio", tolerance), (f"within {RESIDUAL:g}", RESIDUAL)):
        if tolerance is not None:
            ways[f"SZ3, {name}"] = Kept(sections, None, codec="bounded", tolerance=one)
    exact = ways["all, whole"].gradient()
    found = {name: way.gradient() for name, way in ways.items()}
    samples = interleave({name: way.gradient for name, way in ways.items()}, rounds, clock=clock)
    rows = []
    for name, way in ways.items():
        state_error, largest = way.errors(states)
        encode, decode = way.nanoseconds(states[len(states) // 2], rounds, clock)
        rows.append(
            {
                "flow": flow,
                "snapshots": name,
                "ratio": way.ratio(),
                "encode": encode,
                "decode": decode,
                "state_error": state_error,
                "largest": largest,
                "gradient_error": float(
                    np.linalg.norm(found[name] - exact) / np.linalg.norm(exact)
                ),
                "seconds": samples.median(name),
                "speed_up": samples.ratio("binomial, same memory", name),
            }
        )
        way.close()
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = options("learned", str(__doc__).splitlines()[0])
    parser.add_argument("--nx", type=int, default=256)
    parser.add_argument("--ny", type=int, default=192)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--ratio", type=float, default=64.0, help="of learned codecs")
    parser.add_argument("--epochs", type=int, default=20, help="of training")
    parser.set_defaults(rounds=3)
    chosen = parser.parse_args()
    section: dict[str, Any] = {"ratio": chosen.ratio, "epochs": chosen.epochs}
    if chosen.quick:
        chosen.nx, chosen.ny, chosen.steps, chosen.rounds = 40, 33, 16, 1
        section |= {"epochs": 1, "runs": 1, "states": 4, "samples": 600, "patch": 8, "ratio": 16.0}
    print(describe_machine(chosen.clock.__name__))
    print(f"{chosen.nx} x {chosen.ny} points, {chosen.steps} steps; {PAPER}")
    results = []
    for flow, end in FLOWS.items():
        sections: Sections = {
            "grid": {"nx": chosen.nx, "ny": chosen.ny},
            "physics": {"advection": "upwind"},
            "time": {"steps": chosen.steps, "dt": end / chosen.steps, "integrator": "rk4"},
            "gradient": {"controls": ["initial"]},
            "train": section,
        }
        if chosen.quick:
            sections["time"]["allow_unstable"] = True
            sections["time"]["dt"] = 0.01 * end
        with tempfile.TemporaryDirectory() as folder:
            results += results_of(flow, sections, Path(folder), chosen.rounds, chosen.clock)
    print(table(COLUMNS, [[*one.values()] for one in results]))

    def draw(figure: Any) -> None:
        for axis, flow in zip(figure.subplots(1, len(FLOWS)), FLOWS, strict=True):
            for one in results:
                if one["flow"] == flow and one["gradient_error"] > 0:
                    axis.loglog(one["ratio"], one["gradient_error"], "o", label=one["snapshots"])
            axis.set_xlabel("compression ratio")
            axis.set_ylabel("relative error of the gradient")
            axis.set_title(flow)
            axis.legend()

    write(chosen.output, "learned", {"runs": results}, draw)


if __name__ == "__main__":
    main()
