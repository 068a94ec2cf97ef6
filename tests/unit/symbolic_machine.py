"""A machine without a PDE that carries out any schedule and says why an action cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from burgers_adjoint.checkpointing.actions import (
    Action,
    Advance,
    AdvanceSaving,
    Fetch,
    Free,
    FusedAction,
    Load,
    Reverse,
    ReverseLoading,
    Save,
    Seed,
    Turn,
)
from burgers_adjoint.checkpointing.schedule import Schedule


class MachineError(AssertionError):
    """An action that does not fit the machine's state, or an end that is none."""


@dataclass
class SymbolicMachine:
    """States are known by their step alone; `position` is None when no state is in hand.

    `n_steps` is the number that is found out on the way when the schedule does not know it; `told`
    says whether the schedule knows. Slots from `memory_slots` on are on disk.
    """

    n_steps: int
    snapshots: int
    slots: int
    memory_slots: int = -1
    snapshots_on_disk: int = 0
    told: bool = True
    position: int | None = 0
    turned: bool = False
    to_reverse: int = -1
    held: dict[int, int] = field(default_factory=dict)
    fetched: set[int] = field(default_factory=set)
    forward_steps: int = 0
    saves: int = 0
    loads: int = 0
    frees: int = 0
    fetches: int = 0
    most_live: int = 0
    most_on_disk: int = 0
    disk_saves: int = 0
    disk_loads: int = 0
    disk_loads_not_fetched: int = 0

    def __post_init__(self) -> None:
        if self.to_reverse < 0:
            self.to_reverse = self.n_steps
        if self.memory_slots < 0:
            self.memory_slots = self.slots

    def perform(self, action: FusedAction) -> None:
        match action:
            case AdvanceSaving() | ReverseLoading():
                for part in action.parts():
                    self.perform(part)
            case Advance(step0, step1):
                self._require(self.position == step0, action, f"the state is at {self.position}")
                self._require(step0 < step1, action, "it is no step forward")
                self._require(
                    step1 < self.to_reverse or not self.told,
                    action,
                    f"step {self.to_reverse - 1} is to be reversed",
                )
                self.position = step1
                self.forward_steps += step1 - step0
            case Save(step, slot):
                self._require(self.position == step, action, f"the state is at {self.position}")
                self._require(0 <= slot < self.slots, action, f"there are {self.slots} slots")
                self._require(
                    slot not in self.held, action, f"the slot holds {self.held.get(slot)}"
                )
                same_tier = {
                    at
                    for other, at in self.held.items()
                    if (other < self.memory_slots) == (slot < self.memory_slots)
                }
                self._require(step not in same_tier, action, "it is saved already")
                self.held[slot] = step
                self.saves += 1
                on_disk = sum(held >= self.memory_slots for held in self.held)
                in_memory = len(self.held) - on_disk
                self.disk_saves += slot >= self.memory_slots
                self.most_live = max(self.most_live, in_memory)
                self.most_on_disk = max(self.most_on_disk, on_disk)
                self._require(in_memory <= self.snapshots, action, f"{in_memory} are alive")
                self._require(
                    on_disk <= self.snapshots_on_disk, action, f"{on_disk} are alive on disk"
                )
            case Load(step, slot, free):
                self._require_held(action, step, slot)
                self._require(self.position != step, action, "that state is in hand")
                self._require(
                    step < self.to_reverse, action, f"only {self.to_reverse} steps are left"
                )
                self.position = step
                self.loads += 1
                self.disk_loads += slot >= self.memory_slots
                self.disk_loads_not_fetched += slot >= self.memory_slots and (
                    slot not in self.fetched
                )
                self.fetched.discard(slot)
                if free:
                    del self.held[slot]
            case Fetch(step, slot):
                self._require_held(action, step, slot)
                self._require(slot >= self.memory_slots, action, "it is in memory")
                self._require(slot not in self.fetched, action, "it is on its way")
                self.fetched.add(slot)
                self.fetches += 1
            case Free(step, slot):
                self._require_held(action, step, slot)
                self._require(slot not in self.fetched, action, "it is on its way")
                del self.held[slot]
                self.frees += 1
            case Turn(step):
                self._require_end(action, step + 1)
                self._require(self.position == step, action, f"the state is at {self.position}")
                self.turned = True
                self.forward_steps += 1
            case Seed(step):
                self._require_end(action, step)
                self._require(self.position == step, action, f"the state is at {self.position}")
                self.turned = True
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
        if self.fetched:
            raise MachineError(f"fetched and not loaded: slots {sorted(self.fetched)}")
        if self.forward_steps != schedule.predicted_forward_steps:
            raise MachineError(
                f"{self.forward_steps} forward steps, not {schedule.predicted_forward_steps}"
            )
        if schedule.next_action() is not None:
            raise MachineError("the schedule goes on after its end")

    def _require_held(self, action: Action, step: int, slot: int) -> None:
        self._require(slot in self.held, action, "the slot is empty")
        self._require(self.held[slot] == step, action, f"it holds {self.held[slot]}")

    def _require_end(self, action: Action, step: int) -> None:
        self._require(self.told, action, "nobody knows the end")
        self._require(not self.turned, action, "it has been taken")
        self._require(step == self.n_steps, action, f"there are {self.n_steps} steps")

    @staticmethod
    def _require(condition: bool, action: Action, reason: str) -> None:
        if not condition:
            raise MachineError(f"cannot {action}: {reason}")


def machine_for(schedule: Schedule, n_steps: int | None = None) -> SymbolicMachine:
    known = schedule.n_steps
    steps = n_steps if known is None else known
    assert steps is not None
    return SymbolicMachine(
        steps,
        schedule.snapshots,
        schedule.slots,
        schedule.memory_slots,
        schedule.snapshots_on_disk,
        told=known is not None,
    )


def run(
    schedule: Schedule,
    held: Mapping[int, int] | None = None,
    to_reverse: int | None = None,
    position: int | None = None,
) -> SymbolicMachine:
    """Carry out a whole schedule, or, from `held` (slot to step) on, the rest of a reversal."""
    machine = machine_for(schedule)
    if held is not None:
        machine.position, machine.held = position, dict(held)
    if to_reverse is not None:
        machine.to_reverse, machine.turned = to_reverse, True
    for action in schedule:
        machine.perform(action)
    machine.finish(schedule)
    return machine


def run_online(schedule: Schedule, n_steps: int, ahead: bool) -> SymbolicMachine:
    """Carry out a schedule that is told the end on the way.

    It is told when the end is reached, or, with `ahead`, at the start of the last step.
    """
    machine = machine_for(schedule, n_steps)
    known_at = n_steps - 1 if ahead else n_steps
    for action in schedule:
        if isinstance(action, Advance) and not machine.told:
            reached = min(action.step1, known_at)
            if reached > action.step0:
                machine.perform(Advance(action.step0, reached))
            if reached == known_at:
                machine.told = True
                schedule.end(n_steps, reached)
        else:
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
