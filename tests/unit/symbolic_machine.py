"""A machine without a PDE that carries out any schedule and says why an action cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from burgers_adjoint.checkpointing.actions import Action, Advance, Load, Reverse, Save, Turn
from burgers_adjoint.checkpointing.schedule import Schedule


class MachineError(AssertionError):
    """An action that does not fit the machine's state, or an end that is none."""


@dataclass
class SymbolicMachine:
    """States are known by their step alone; `position` is None when no state is in hand."""

    n_steps: int
    snapshots: int
    slots: int
    position: int | None = 0
    turned: bool = False
    to_reverse: int = -1
    held: dict[int, int] = field(default_factory=dict)
    forward_steps: int = 0
    saves: int = 0
    loads: int = 0
    most_live: int = 0

    def __post_init__(self) -> None:
        if self.to_reverse < 0:
            self.to_reverse = self.n_steps

    def perform(self, action: Action) -> None:
        match action:
            case Advance(step0, step1):
                self._require(self.position == step0, action, f"the state is at {self.position}")
                self._require(step0 < step1, action, "it is no step forward")
                self._require(
                    step1 < self.to_reverse, action, f"step {self.to_reverse - 1} is to be reversed"
                )
                self.position = step1
                self.forward_steps += step1 - step0
            case Save(step, slot):
                self._require(self.position == step, action, f"the state is at {self.position}")
                self._require(0 <= slot < self.slots, action, f"there are {self.slots} slots")
                self._require(
                    slot not in self.held, action, f"the slot holds {self.held.get(slot)}"
                )
                self._require(step not in self.held.values(), action, "it is saved already")
                self.held[slot] = step
                self.saves += 1
                self.most_live = max(self.most_live, len(self.held))
                self._require(
                    len(self.held) <= self.snapshots, action, f"{len(self.held)} are alive"
                )
            case Load(step, slot, free):
                self._require(slot in self.held, action, "the slot is empty")
                self._require(self.held[slot] == step, action, f"it holds {self.held[slot]}")
                self._require(self.position != step, action, "that state is in hand")
                self._require(
                    step < self.to_reverse, action, f"only {self.to_reverse} steps are left"
                )
                self.position = step
                self.loads += 1
                if free:
                    del self.held[slot]
            case Turn(step):
                self._require(not self.turned, action, "it has been taken")
                self._require(step == self.n_steps - 1, action, f"there are {self.n_steps} steps")
                self._require(self.position == step, action, f"the state is at {self.position}")
                self.turned = True
                self.forward_steps += 1
            case Reverse(step):
                self._require(self.turned, action, "there is no cotangent")
                self._require(
                    step == self.to_reverse - 1, action, f"the cotangent is at {self.to_reverse}"
                )
                self._require(self.position == step, action, f"the state is at {self.position}")
                self.to_reverse = step

    def finish(self, schedule: Schedule) -> None:
        if self.to_reverse != 0:
            raise MachineError(f"{self.to_reverse} steps are not reversed")
        if self.held:
            raise MachineError(f"slots are left alive: {self.held}")
        if self.forward_steps != schedule.predicted_forward_steps:
            raise MachineError(
                f"{self.forward_steps} forward steps, not {schedule.predicted_forward_steps}"
            )
        if schedule.next_action() is not None:
            raise MachineError("the schedule goes on after its end")

    @staticmethod
    def _require(condition: bool, action: Action, reason: str) -> None:
        if not condition:
            raise MachineError(f"cannot {action}: {reason}")


def run(
    schedule: Schedule,
    held: Mapping[int, int] | None = None,
    to_reverse: int | None = None,
    position: int | None = None,
) -> SymbolicMachine:
    """Carry out a whole schedule, or, from `held` (slot to step) on, the rest of a reversal."""
    machine = SymbolicMachine(schedule.n_steps, schedule.snapshots, schedule.slots)
    if held is not None:
        machine.position, machine.held = position, dict(held)
    if to_reverse is not None:
        machine.to_reverse, machine.turned = to_reverse, True
    for action in schedule:
        machine.perform(action)
    machine.finish(schedule)
    return machine


class Recorded(Schedule):
    """Plays a list of actions, right or wrong."""

    name = "recorded"

    def __init__(self, actions: list[Action], like: Schedule) -> None:
        self.n_steps, self.snapshots, self.slots = like.n_steps, like.snapshots, like.slots
        self.actions = list(actions)
        self.promised = like.predicted_forward_steps

    @property
    def predicted_forward_steps(self) -> int:
        return self.promised

    def next_action(self) -> Action | None:
        return self.actions.pop(0) if self.actions else None
