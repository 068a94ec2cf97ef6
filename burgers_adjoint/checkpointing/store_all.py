"""The store-all schedule: no step is taken twice, for as many snapshots as there are steps."""

from __future__ import annotations

from collections.abc import Callable

from burgers_adjoint.checkpointing.actions import Action, Advance, Load, Reverse, Save, Turn
from burgers_adjoint.checkpointing.schedule import Schedule, at_least_one


class StoreAll(Schedule):
    """Saves the start of every step but the last, whose start is in hand at the turn.

    The start of step n is in slot n. O(1) per action and O(1) memory for the schedule itself.

    Attributes:
        position: step at whose start the working state is.
        saved: snapshots that are alive, those of the steps below.
        to_reverse: steps that are still to be reversed, which is where the cotangent is.
        turned: whether the last step has been taken and the cotangent seeded.
    """

    name = "store_all"
    n_steps: int

    def __init__(self, n_steps: int) -> None:
        """Plan `n_steps` steps, with the state at the start of step 0 in hand.

        Raises:
            ConfigError: `n_steps` is below 1.
        """
        self.n_steps = at_least_one("n_steps", n_steps)
        self.snapshots = n_steps
        self.slots = n_steps - 1
        self.position = 0
        self.saved = 0
        self.to_reverse = n_steps
        self.turned = False

    @property
    def predicted_forward_steps(self) -> int:
        """As many as there are steps."""
        return self.n_steps

    def next_action(self) -> Action | None:
        """Return the next action, or None when every step is reversed."""
        step, last = self.position, self.to_reverse - 1
        if step > last:
            if last < 0:
                return None
            self.position = self.saved = last
            return Load(last, last, True)
        if step == last:
            if not self.turned:
                self.turned = True
                return Turn(last)
            self.to_reverse = last
            return Reverse(last)
        if self.saved == step:
            self.saved = step + 1
            return Save(step, step)
        self.position = step + 1
        return Advance(step, step + 1)

    def take_saves(
        self, step: int, slots: dict[int, None], most: int, fits: Callable[[int], bool]
    ) -> None:
        """See `Schedule`: every step is saved."""
        if self._put_back:
            super().take_saves(step, slots, most, fits)
            return
        while len(slots) < most and step < self.n_steps - 1 and fits(step):
            slots[step] = None
            step += 1
        self.position = self.saved = step

    def take_loads(self, step: int, most: int) -> list[int]:
        """See `Schedule`: every step is loaded once."""
        if self._put_back:
            return super().take_loads(step, most)
        last = max(0, step - most)
        self.position = self.saved = self.to_reverse = last
        return list(range(step - 1, last - 1, -1))
