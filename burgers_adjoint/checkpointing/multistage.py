"""The multistage schedule: the binomial one, with its most used snapshots in memory.

References:
    P. Stumm and A. Walther (2009), MultiStage approaches for optimal offline checkpointing, SIAM
    Journal on Scientific Computing 31(3), 1946-1967.
"""

from __future__ import annotations

from burgers_adjoint.checkpointing.actions import Action, Load, Save
from burgers_adjoint.checkpointing.binomial import Binomial, first_front
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.errors import ConfigError

MOST_SNAPSHOTS = 10_000


class Multistage(Schedule):
    """Takes the forward steps of `Binomial` with all snapshots, wherever they are.

    The live snapshots are a stack, and each place of the stack is in memory or on disk for good:
    the places that are written and read the least are on disk.

    Attributes:
        binomial: the schedule that is followed; its slots are the places of the stack.
        places: slot of each place.
    """

    name = "multistage"
    n_steps: int

    def __init__(self, n_steps: int, snapshots: int, snapshots_on_disk: int) -> None:
        """Plan `n_steps` steps, with the state at the start of step 0 in hand.

        Args:
            n_steps: steps to reverse.
            snapshots: those that may be alive in memory.
            snapshots_on_disk: those that may be alive on disk.

        Raises:
            ConfigError: `n_steps` or the sum of both kinds is below 1, or one kind below 0, or
                there would be more snapshots than `MOST_SNAPSHOTS`.
        """
        if min(snapshots, snapshots_on_disk) < 0:
            raise ConfigError(
                f"snapshots in memory and on disk must be at least 0, not {snapshots} and "
                f"{snapshots_on_disk}"
            )
        self.binomial = Binomial(n_steps, snapshots + snapshots_on_disk)
        self.n_steps = n_steps
        self.snapshots = snapshots
        self.snapshots_on_disk = snapshots_on_disk
        self.slots = self.binomial.slots
        if self.slots > MOST_SNAPSHOTS:
            raise ConfigError(
                f"the multistage schedule weighs every snapshot: at most {MOST_SNAPSHOTS} of "
                f"{n_steps} steps, not {self.slots}"
            )
        uses = uses_of_places(n_steps, snapshots + snapshots_on_disk)
        # Among places that are used alike the upper ones hold their snapshots for a shorter time.
        order = sorted(range(self.slots), key=lambda place: (-uses[place], -place))
        self.places = [0] * self.slots
        for slot, place in enumerate(order):
            self.places[place] = slot

    @property
    def memory_slots(self) -> int:
        """Slots in memory, the first ones."""
        return min(self.snapshots, self.slots)

    @property
    def predicted_forward_steps(self) -> int:
        """p(n_steps, all snapshots) + 1."""
        return self.binomial.predicted_forward_steps

    def next_action(self) -> Action | None:
        """Return the next action, or None when every step is reversed."""
        action = self.binomial.next_action()
        if isinstance(action, Save):
            return Save(action.step, self.places[action.slot])
        if isinstance(action, Load):
            return Load(action.step, self.places[action.slot], action.free)
        return action


def uses_of_places(n_steps: int, snapshots: int) -> list[int]:
    """Return how often each place of a binomial schedule's stack is written or read.

    A range is split into a front and a part behind it with one slot less, so that only a few
    different ranges occur, however many steps there are; each of them is counted once.
    """
    counted: dict[tuple[int, int], list[int]] = {}
    pending = [(n_steps, snapshots)]
    while pending:
        n, s = pending[-1]
        if n == 1 or s == 1 or (n, s) in counted:
            if (n, s) not in counted:
                counted[n, s] = [n - 1]  # one slot: it is read before every step but the last
            pending.pop()
            continue
        front = first_front(n, s)
        parts = [(front, s)] + [(n - front, s - 1)] * (n - front > 1)
        missing = [part for part in parts if part not in counted]
        if missing:
            pending += missing
            continue
        uses = [1]
        _add(uses, counted[parts[0]], 0)
        if len(parts) > 1:
            _add(uses, [1], 1)
            _add(uses, counted[parts[1]], 1)
        counted[n, s] = uses
        pending.pop()
    uses = list(counted[n_steps, snapshots])
    uses[0] += 1
    return uses


def _add(uses: list[int], more: list[int], place: int) -> None:
    uses += [0] * (place + len(more) - len(uses))
    for index, count in enumerate(more, place):
        uses[index] += count
