"""Steps and gradients on a graphics processor, over a copy of the state on the same device.

    python -m benchmarks.device [--points N] [--steps N] [--jax] [--rounds N] [-o DIR] [--quick]

Everything is timed in turn, in one process; what is printed is the median over the rounds of the
seconds of a step over those of a copy of the state in the same round. The device's work is waited
for at the end of every sample. Then digests: each gradient on the device and on the processor. With
--jax the gradient of JAX on the same device follows, in a process of its own, of the same steps
with states kept at every so many of them, and computed anew in between.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from mpi4py import MPI
from msgspec import structs

from benchmarks.measure import Samples, describe_machine, options, table, take_turns, write
from benchmarks.reversals import problem_of
from burgers_adjoint.assembly.backends import backend_of
from burgers_adjoint.assembly.model import recipe_of
from burgers_adjoint.assembly.pinned import PinnedStore
from burgers_adjoint.assembly.stores import StoreMaker, closed_at_end
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.parallel.reductions import digest, norm
from burgers_adjoint.problem import Problem
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.snapshots.write_behind import LEAST_BUFFERS, WriteBehindStore

SNAPSHOTS = 50
NEAR = 32  # of them on the device, where the others are on the host
SEGMENT = 25  # steps between the states that JAX keeps
INITIAL = "gradient, by the initial state alone"
DIGESTS: dict[str, list[str]] = {
    "default": [],
    "rk4, upwind": ["-s", "time.integrator=rk4", "-s", "physics.advection=upwind"],
    "misfit at sensors": ["configs/twin_initial.toml", "-s", "observations.kind=sensors"],
}


class Steps:
    """The steps of a recipe on the device, and its gradient; methods time so many calls.

    Args:
        problem: whose points, fields and steps they are.
        backend: of the device, in place of the problem's.
        changes: of the problem's recipe.
    """

    def __init__(self, problem: Problem, backend: Any, **changes: Any) -> None:
        case = self._case = problem.case
        recipe = replace(recipe_of(case.config, case.comm), backend=backend, **changes)
        # a schedule counts steps, and nobody else does
        self.n_steps = case.n_steps
        self.model = recipe.model(case.grid, case.decomposition, case.setting.time_steps)
        self.stepper, self.synchronize = self.model.stepper, backend.device.synchronize
        self.state = self.model.state_of(case.fields)
        self.fields: Any = self.model.layout.interior(self.state).copy()  # on the device

    def timed(self, call: Callable[[], object], repeats: int) -> float:
        """Seconds of so many calls, and of all that they let the device do."""
        self.synchronize()
        start = perf_counter()
        for _ in range(repeats):
            call()
        self.synchronize()
        return perf_counter() - start

    def copies(self, repeats: int) -> float:
        """Copies of the state's memory."""
        target = self.model.new_state()
        return self.timed(partial(target.__setitem__, ..., self.state), repeats)

    def asides(self, repeats: int) -> float:
        """What steps wait for when restart data are saved: copies of the state's own points."""
        return self.timed(self.fields.set_aside, repeats)

    def downloads(self, repeats: int) -> float:
        """What they wait for where the device has no room: the way to the host."""
        return self.timed(partial(np.asarray, self.fields), repeats)

    def digests(self, repeats: int) -> float:
        """Digests of the state."""
        return self.timed(partial(digest, self.model.decomposition, self.fields, []), repeats)

    def norms(self, repeats: int) -> float:
        """Euclidean norms of the state, for which its largest magnitude is found first."""
        return self.timed(partial(norm, self.model.comm, self.fields), repeats)

    def wraps(self, repeats: int) -> float:
        """Halos, as deep as that of a state, of a periodic grid that is not cut."""
        layout = self.model.layout
        alone = Decomposition(MPI.COMM_SELF, (layout.ny, layout.nx), periodic=True)
        frame = Frame(layout.rows, layout.columns)
        halo = Halo(alone, frame, layout.halo, self.model.stepper.n_fields, corners=True)
        return self.timed(partial(halo.exchange, self.state), repeats)

    def steps(self, repeats: int) -> float:
        """Steps of the primal, 96 at a time and per call."""
        advance = partial(self.stepper.advance, self.state, self.state, 0, 96)
        return self.timed(advance, repeats) / 96

    def adjoint(self, repeats: int) -> float:
        """Steps of the adjoint, whose states are all kept."""
        states, cotangent = [self.state] * 24, self.model.new_cotangent()
        cotangent.field[...] = self.state
        return self.timed(lambda: self.stepper.adjoint(cotangent, states, 23), repeats) / 24

    def gradient(self, store: Any, repeats: int, schedule: Schedule | None = None) -> float:
        """Steps of gradients, by their schedule; nothing but J leaves the device."""
        actions = schedule or Binomial(self.n_steps, SNAPSHOTS)

        def one() -> None:
            state = self.model.initial_state(self.fields)
            Executor(self.model, deepcopy(actions), store).run(state)

        return self.timed(one, repeats) / self.n_steps

    def in_memory(self) -> Callable[[int], float]:
        """Its gradient with all snapshots on the device."""
        store = MemoryStore(self.model.new_state, SNAPSHOTS, exchanges=True)
        return partial(self.gradient, store)

    def on_the_host(self, near: int) -> Callable[[int], float]:
        """Its gradient with all snapshots but so many in the host's memory."""
        new_state = self.model.new_state
        # the state is one of a device, which NumPy's type of it does not tell
        slow = PinnedStore(self.state.device, SNAPSHOTS, self.state.nbytes)  # type: ignore[attr-defined]
        return partial(
            self.gradient,
            WriteBehindStore(slow, new_state, SNAPSHOTS, near, threaded=True, exchanges=True),
        )

    def in_tiers(self, folder: str, opened: ExitStack) -> Callable[[int], float]:
        """Its gradient with as many snapshots on the device, and the others half in a file."""
        model, near = self.model, NEAR - 2 * LEAST_BUFFERS
        schedule = Multistage(self.n_steps, near, SNAPSHOTS - near)
        on_host = (SNAPSHOTS - near) // 2 * self.state.nbytes
        changes = {"store": "tiered", "buffers": LEAST_BUFFERS, "host_memory": f"{on_host} B"}
        config, case = self._case.config, self._case
        snapshots = structs.replace(config.snapshots, directory=folder, **changes)
        config = structs.replace(config, snapshots=snapshots)
        places = model.new_snapshot, model.new_state, model.own_points
        store = StoreMaker(config, case.decomposition, *places).make(schedule)
        opened.enter_context(closed_at_end(store))
        return partial(self.gradient, store, schedule=schedule)


def measured(problem: Problem, backend: Any, rounds: int) -> Samples:
    """Seconds per copy and step."""
    with TemporaryDirectory() as folder, ExitStack() as opened:
        return take_turns(timers_of(problem, backend, folder, opened), rounds, 0.01)


def timers_of(
    problem: Problem, backend: Any, folder: str, opened: ExitStack
) -> dict[str, Callable[[int], float]]:
    """What times each row; files are in the folder, and stores in what is open meanwhile."""
    euler, initial = Steps(problem, backend), Steps(problem, backend, controls=("initial",))
    return {
        "copy": euler.copies,
        "Euler, one step per launch": Steps(problem, backend, steps_per_exchange=1).steps,
        "Euler, several steps per launch": euler.steps,
        "rk4, all stages in one launch": Steps(problem, backend, integrator="rk4").steps,
        "adjoint, by the initial state alone": initial.adjoint,
        "adjoint, by the viscosity too": euler.adjoint,
        "gradient, snapshots on the device": euler.in_memory(),
        f"the same, but {SNAPSHOTS - NEAR} on the host": euler.on_the_host(NEAR),
        "the same, half of those in a file": euler.in_tiers(folder, opened),
        INITIAL: initial.in_memory(),
        "restart data, copied on the device": euler.asides,
        "the same, brought to the host": euler.downloads,
        "periodic halos of one rank": euler.wraps,
        "norm of a state": euler.norms,
        "digest of a state": euler.digests,
    }


def digest_of(device: str, arguments: list[str]) -> str:
    """The digest of a gradient on a device."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "summary.json"
        command = [sys.executable, "-m", "burgers_adjoint", "gradient", *arguments]
        command += ["-s", f"parallel.device={device}", "-s", "output.plots=false"]
        command += ["-o", folder, "--json", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return str(json.loads(path.read_text(encoding="utf-8"))["digest"])


def jax_step(n_points: int, n_steps: int, rounds: int) -> dict[str, Any]:
    """Seconds of JAX per step of a gradient on the device."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from benchmarks.peers import jax_scan
    from benchmarks.peers.case import Case

    jax.config.update("jax_platforms", "cuda")
    spacing = 2 * np.pi / (n_points - 1)
    case = Case("euler", "central", n_steps, spacing, spacing, 1e-5, 0.01)
    body = partial(jax_scan.step, case, jax_scan.padded, False)

    def objective(body: Any, state: Any) -> Any:
        def segment(state: Any, _: None) -> Any:
            return jax.lax.scan(body, state, None, length=SEGMENT)

        final, _ = jax.lax.scan(jax.checkpoint(segment), state, None, length=n_steps // SEGMENT)
        return sum(jnp.sum(q[1:-1, 1:-1] ** 2) for q in final) / final[0].size

    x = jnp.linspace(0, 1, n_points)
    state = jnp.sin(7 * x)[None, :] * jnp.cos(3 * x)[:, None], jnp.cos(2 * x)[None, :] + x[:, None]
    seconds = []
    # what the reverse sweep of a segment reads is stored, or computed anew step by step
    for kept in (body, jax.checkpoint(body)):
        gradient = jax.jit(jax.value_and_grad(partial(objective, kept)))
        jax.block_until_ready(gradient(state))
        turns = []
        for _ in range(rounds):
            start = perf_counter()
            jax.block_until_ready(gradient(state))
            turns.append((perf_counter() - start) / n_steps)
        seconds.append(float(np.median(turns)))
    return {"version": jax.__version__, "seconds": min(seconds), "ways": seconds}


def jax_in_a_process(chosen: argparse.Namespace) -> dict[str, Any]:
    """What `jax_step` finds, where no memory is taken for anything else."""
    command = [sys.executable, "-m", "benchmarks.device", "--only-jax"]
    command += ["--points", str(chosen.points), "--steps", str(chosen.steps)]
    done = subprocess.run(
        [*command, "--rounds", str(chosen.rounds)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run the benchmark."""
    parser = options("device", str(__doc__).splitlines()[0])
    parser.add_argument("--points", type=int, default=4096, help="along x and along y")
    parser.add_argument("--steps", type=int, default=500, help="of the gradient")
    parser.add_argument("--jax", action="store_true", help="time JAX, too")
    parser.add_argument("--only-jax", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only_jax:
        print(json.dumps(jax_step(chosen.points, chosen.steps, chosen.rounds)))
        return
    if chosen.quick:
        chosen.points, chosen.steps, chosen.rounds = 256, 100, 2
    backend: Any = backend_of("cuda", MPI.COMM_WORLD)
    print(f"{backend.device.name}, {chosen.points} x {chosen.points} points")
    samples = measured(problem_of(chosen.points, chosen.steps), backend, chosen.rounds)
    copy = samples.median("copy")
    rows: list[list[object]] = [
        [name, samples.ratio(name, "copy"), 1e6 * samples.median(name)] for name in samples.seconds
    ]
    found: dict[str, Any] = {"device": backend.device.name, "seconds": samples.as_dict()}
    if chosen.jax:
        found["jax"] = peer = jax_in_a_process(chosen)
        if "seconds" in peer:
            ours = samples.median(INITIAL)
            rows.append([f"{INITIAL}, JAX {peer['version']}", peer["seconds"] / copy,
                         1e6 * peer["seconds"]])  # fmt: skip
            print(f"JAX takes {peer['seconds'] / ours:.1f} times as long")
        else:
            print(f"JAX: {peer['error']}")
    print(table(["what", "copies per step", "us per step"], rows))
    steps = ["-s", "time.steps=60"] if chosen.quick else []
    digests = {
        name: {device: digest_of(device, [*arguments, *steps]) for device in ("cpu", "cuda")}
        for name, arguments in DIGESTS.items()
    }
    print(
        table(["digest", "cpu", "cuda"], [[name, *two.values()] for name, two in digests.items()])
    )
    assert all(two["cpu"] == two["cuda"] for two in digests.values()), "the bits differ"
    found |= {"machine": describe_machine(), "digests": digests, "points": chosen.points}
    write(chosen.output, "device", found)


if __name__ == "__main__":
    main()
