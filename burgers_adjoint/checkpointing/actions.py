"""What a schedule can ask for: frozen values that compare, hash, pickle and read as a sentence.

Schedules give an `Action` at a time; `fusion.fused` makes runs of them one `FusedAction` each.

The working state is the one state that is stepped; `Save` and `Load` copy it to and from slots.
The start of step n is the state at n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Advance:
    """Take the working state from the start of `step0` to the start of `step1`."""

    step0: int
    step1: int

    def split(self, steps: int) -> tuple[FusedAction, ...]:
        """The action of so many of the steps, fewer than all, and those of the others."""
        stop = self.step0 + steps
        return Advance(self.step0, stop), Advance(stop, self.step1)

    def __str__(self) -> str:
        return f"advance from the start of step {self.step0} to the start of step {self.step1}"


@dataclass(frozen=True, slots=True)
class Save:
    """Copy the working state, at the start of `step`, to `slot`."""

    step: int
    slot: int

    def __str__(self) -> str:
        return f"save the start of step {self.step} to slot {self.slot}"


@dataclass(frozen=True, slots=True)
class Load:
    """Copy `slot`, which holds the start of `step`, to the working state.

    `free` says that this is the last use of the snapshot: the slot is empty afterwards.
    """

    step: int
    slot: int
    free: bool

    def __str__(self) -> str:
        ending = " and free the slot" if self.free else ""
        return f"load the start of step {self.step} from slot {self.slot}{ending}"


@dataclass(frozen=True, slots=True)
class Fetch:
    """Begin to bring `slot`, which holds the start of `step`, into memory: a `Load` of it is near.

    It changes nothing that a later action needs: a store may leave it undone.
    """

    step: int
    slot: int

    def __str__(self) -> str:
        return f"fetch the start of step {self.step} ahead from slot {self.slot}"


@dataclass(frozen=True, slots=True)
class Free:
    """Forget the start of `step` in `slot`: a snapshot that is of no more use."""

    step: int
    slot: int

    def __str__(self) -> str:
        return f"forget the start of step {self.step} in slot {self.slot}"


@dataclass(frozen=True, slots=True)
class Turn:
    """Take the last step, `step`, in a spare buffer and seed the cotangent at the final state.

    The working state stays at the start of `step`, where the first `Reverse` needs it.
    """

    step: int

    def __str__(self) -> str:
        return f"turn: take the last step, {self.step}, aside and seed the cotangent at its end"


@dataclass(frozen=True, slots=True)
class Seed:
    """Seed the cotangent at the working state, the start of `step`, which is the final one.

    In place of `Turn` where nobody knew that the last step was the last one before it was taken.
    """

    step: int

    def __str__(self) -> str:
        return f"seed the cotangent at the start of step {self.step}, the end"


@dataclass(frozen=True, slots=True)
class Reverse:
    """Take the cotangent from the end of `step` to its start, with the working state there."""

    step: int

    def __str__(self) -> str:
        return f"reverse step {self.step}"


@dataclass(frozen=True, slots=True)
class AdvanceSaving:
    """Take single steps from the start of `step0` to the start of `step1`, with saves between them.

    The starts of the last of these steps are saved to `slots`, one after the other, at least one:
    those of all steps, or of all but the first.
    """

    step0: int
    step1: int
    slots: tuple[int, ...]

    @property
    def first_saved(self) -> int:
        """The first step whose start is saved: `step0` or the one after it."""
        return self.step1 - len(self.slots)

    def parts(self) -> Iterator[Action]:
        """The actions that this is a run of."""
        if self.first_saved > self.step0:
            yield Advance(self.step0, self.first_saved)
        for step, slot in enumerate(self.slots, start=self.first_saved):
            yield Save(step, slot)
            yield Advance(step, step + 1)

    def split(self, steps: int) -> tuple[FusedAction, ...]:
        """The action of so many of the steps, fewer than all, and those of the others."""
        stop = self.step0 + steps
        first, rest = self.slots[: stop - self.first_saved], self.slots[stop - self.first_saved :]
        front = AdvanceSaving(self.step0, stop, first) if first else Advance(self.step0, stop)
        return front, AdvanceSaving(stop, self.step1, rest)

    def __str__(self) -> str:
        return (
            f"advance from the start of step {self.step0} to the start of step {self.step1}, "
            f"saving the starts from step {self.first_saved} on to slots {_listed(self.slots)}"
        )


@dataclass(frozen=True, slots=True)
class ReverseLoading:
    """Reverse `step` and the ones before it, each with the last load of its start.

    Their starts are in `slots`, at least one, the one of `step` - 1 first.
    """

    step: int
    slots: tuple[int, ...]

    @property
    def last(self) -> int:
        """The last step that is reversed, the lowest."""
        return self.step - len(self.slots)

    def parts(self) -> Iterator[Action]:
        """The actions that this is a run of."""
        yield Reverse(self.step)
        for back, slot in enumerate(self.slots, start=1):
            yield Load(self.step - back, slot, True)
            yield Reverse(self.step - back)

    def split(self, steps: int) -> tuple[FusedAction, ...]:
        """The action of so many of the steps, fewer than all, and those of the others."""
        first, (slot, *rest), step = self.slots[: steps - 1], self.slots[steps - 1 :], self.step
        return (
            ReverseLoading(step, first) if first else Reverse(step),
            Load(step - steps, slot, True),
            ReverseLoading(step - steps, tuple(rest)) if rest else Reverse(step - steps),
        )

    def __str__(self) -> str:
        return (
            f"reverse the steps from {self.step} down to {self.last}, "
            f"loading their starts from slots {_listed(self.slots)} and freeing these"
        )


def _listed(slots: tuple[int, ...]) -> str:
    return ", ".join(map(str, slots))


Action: TypeAlias = Advance | Save | Load | Fetch | Free | Turn | Seed | Reverse
FusedAction: TypeAlias = Action | AdvanceSaving | ReverseLoading


def parts_of(action: FusedAction) -> Iterator[Action]:
    """The actions that a fused one is a run of; of any other one itself."""
    if isinstance(action, AdvanceSaving | ReverseLoading):
        yield from action.parts()
    else:
        yield action


def shifted(action: Action, steps: int) -> Action:
    """Return the action that many steps later."""
    if isinstance(action, Reverse):
        return Reverse(action.step + steps)
    if isinstance(action, Advance):
        return Advance(action.step0 + steps, action.step1 + steps)
    if isinstance(action, Load):
        return Load(action.step + steps, action.slot, action.free)
    if isinstance(action, Save | Fetch | Free):
        return type(action)(action.step + steps, action.slot)
    return type(action)(action.step + steps)
