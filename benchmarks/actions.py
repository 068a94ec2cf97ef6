"""What the engine costs per action: schedules alone, and with a model whose steps do nothing."""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.measure import describe_machine, interleave, options, table, write
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.online import Online
from burgers_adjoint.checkpointing.periodic import Periodic
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.protocols import AdjointModel
from burgers_adjoint.snapshots.memory import MemoryStore

COLUMNS = ["schedule", "actions", "us, schedule alone", "us, with executor and store"]


class Idle(AdjointModel[None, bool, None]):
    """A model of which every call does nothing; it is told in advance when to find its end."""

    explores = True
    n_steps: int | None = None

    def __init__(self, end: int) -> None:
        self.end = end

    def advance(self, state: None, n0: int, n1: int) -> None:
        """Take no time."""

    def explore(self, state: None, n0: int, n1: int) -> int:
        """Find the end at the start of the last step."""
        if n1 >= self.end - 1:
            self.n_steps = self.end
            return self.end - 1
        return n1

    def seed(self, state: None) -> bool:
        """Return something that is not None."""
        return True

    def adjoint_step(self, cotangent: bool, state: None, n: int) -> None:
        """Take no time."""

    def new_snapshot(self) -> None:
        """Return no buffer."""

    def snapshot(self, state: None, out: None) -> None:
        """Copy nothing."""

    def restore(self, snapshot: None, state: None) -> None:
        """Copy nothing."""


def schedules(n_steps: int, snapshots: int) -> dict[str, Callable[[], Schedule]]:
    """Makers of every schedule with as many snapshots in all."""
    half = snapshots // 2
    return {
        "binomial": lambda: Binomial(n_steps, snapshots),
        "store_all": lambda: StoreAll(n_steps),
        "periodic": lambda: Periodic(n_steps, round(n_steps**0.5)),
        "online": lambda: Online(snapshots),
        "multistage": lambda: Multistage(n_steps, half, snapshots - half),
        "two_level": lambda: TwoLevel(n_steps, half, snapshots - half),
    }


def execute(make: Callable[[], Schedule], n_steps: int) -> int:
    """Run an executor with the idle model; returns the number of actions."""
    schedule, actions = make(), 0

    def count(action: object, counts: object) -> None:
        nonlocal actions
        actions += 1

    store = MemoryStore(lambda: None, schedule.slots)
    Executor(Idle(n_steps), schedule, store, count).run(None)
    return actions


def plan(make: Callable[[], Schedule], n_steps: int) -> None:
    """Go through the actions alone."""
    schedule = make()
    while (action := schedule.next_action()) is not None:
        if schedule.n_steps is None and getattr(action, "step1", 0) >= n_steps - 1:
            schedule.end(n_steps, n_steps - 1)


def main() -> None:
    """Print microseconds per action, and write them."""
    parser = options("actions", __doc__ or "")
    parser.add_argument("--steps", type=int, default=20_000, help="steps of the run")
    parser.add_argument("--snapshots", type=int, default=100, help="snapshots in all")
    arguments = parser.parse_args()
    n_steps, rounds = arguments.steps, arguments.rounds
    if arguments.quick:
        n_steps, rounds = min(n_steps, 2000), min(rounds, 3)
    makers = schedules(n_steps, arguments.snapshots)
    print(describe_machine(arguments.clock.__name__))
    print(f"{n_steps} steps, {arguments.snapshots} snapshots")
    competitors: dict[str, Callable[[], object]] = {}
    for name, make in makers.items():
        competitors[name] = partial(execute, make, n_steps)
        competitors[f"{name}, alone"] = partial(plan, make, n_steps)
    samples = interleave(competitors, rounds, clock=arguments.clock)
    rows: list[list[str | int | float]] = []
    for name, make in makers.items():
        actions = execute(make, n_steps)
        micro = 1e6 / actions
        schedule = samples.median(f"{name}, alone") * micro
        rows.append([name, actions, schedule, samples.median(name) * micro])
    print(table(COLUMNS, rows))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        places = range(len(rows))
        axes.barh(places, [row[3] for row in rows], label="schedule, executor and store")
        axes.barh(places, [row[2] for row in rows], label="schedule alone")
        axes.set_yticks(places, [str(row[0]) for row in rows])
        axes.set_xlabel("microseconds per action")
        axes.legend()

    results = {"n_steps": n_steps, "snapshots": arguments.snapshots, "columns": COLUMNS}
    write(arguments.output, "actions", {**results, "rows": rows}, draw)


if __name__ == "__main__":
    main()
