"""Our schedules at work in pyadjoint's tape: `pip install 'burgers_adjoint[pyadjoint]'`."""

from collections.abc import Callable

import pytest

from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.interop import as_checkpoint_schedule
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.online import Online
from burgers_adjoint.checkpointing.periodic import Periodic
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll

pyadjoint = pytest.importorskip("pyadjoint", reason="pyadjoint-ad is not installed")

DT = 0.05


def gradient(n_steps: int, schedule: Schedule | None) -> tuple[float, float, float]:
    """J, dJ/du and dJ/da of a logistic growth, J = u(end)^3, by pyadjoint's tape."""
    tape = pyadjoint.Tape()
    with pyadjoint.set_working_tape(tape):
        pyadjoint.continue_annotation()
        if schedule is not None:
            tape.enable_checkpointing(as_checkpoint_schedule(schedule))
        initial, rate = pyadjoint.AdjFloat(0.3), pyadjoint.AdjFloat(1.7)
        u = initial
        for _ in tape.timestepper(iter(range(n_steps))):
            u = u + DT * rate * u * (1.0 - u * u)
        objective = u**3
        controls = [pyadjoint.Control(initial), pyadjoint.Control(rate)]
        functional = pyadjoint.ReducedFunctional(objective, controls)
        pyadjoint.pause_annotation()
        return float(objective), *map(float, functional.derivative())


def exact(n_steps: int) -> tuple[float, float, float]:
    """The same with the tangent written out."""
    u, rate, by_u, by_rate = 0.3, 1.7, 1.0, 0.0
    for _ in range(n_steps):
        slope = 1.0 + DT * rate * (1.0 - 3 * u * u)
        by_u, by_rate = slope * by_u, slope * by_rate + DT * u * (1.0 - u * u)
        u = u + DT * rate * u * (1.0 - u * u)
    return u**3, 3 * u * u * by_u, 3 * u * u * by_rate


SCHEDULES: list[Callable[[int], Schedule]] = [
    lambda n: Binomial(n, 3),
    lambda n: Binomial(n, 1),
    StoreAll,
    lambda n: Periodic(n, 4),
    lambda n: Multistage(n, 4, 0),
]


@pytest.mark.parametrize("new_schedule", SCHEDULES)
def test_gradients_are_those_of_the_tape_without_a_schedule(
    new_schedule: Callable[[int], Schedule],
) -> None:
    for n_steps in (2, 3, 7, 20):
        found = gradient(n_steps, new_schedule(n_steps))
        assert found == pytest.approx(exact(n_steps), rel=1e-13)
        assert found == gradient(n_steps, None)


def test_freeing_snapshots_on_the_way_is_what_pyadjoint_cannot_do() -> None:
    with pytest.raises(pyadjoint.checkpointing.CheckpointError, match="Unable to process Move"):
        gradient(20, Online(3))
