"""What schedules cost for 1000 steps: they are gone through without taking a step."""

from burgers_adjoint.checkpointing.actions import Load, Save
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.periodic import Periodic
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel


def costs(schedule: Schedule) -> tuple[int, int, int]:
    """Go through a schedule's actions; return forward steps, writes and reads of snapshots."""
    actions = list(schedule)
    saves = sum(isinstance(one, Save) for one in actions)
    loads = sum(isinstance(one, Load) for one in actions)
    return schedule.predicted_forward_steps, saves, loads


def main() -> None:
    """Print a line for each schedule."""
    print("schedule      slots  forward steps  writes  reads")
    for schedule in (
        StoreAll(1000),
        Binomial(1000, 30),
        Periodic(1000, 28),
        Multistage(1000, 15, 15),
        TwoLevel(1000, 15, 15),
        Binomial(1000, 10),
        Binomial(1000, 3),
    ):
        steps, saves, loads = costs(schedule)
        print(f"{schedule.name:12}  {schedule.slots:5}  {steps:13}  {saves:6}  {loads:5}")


if __name__ == "__main__":
    main()
