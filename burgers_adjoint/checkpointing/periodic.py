"""The periodic schedule: a snapshot every so many steps, and all of one period after that."""

from __future__ import annotations

from burgers_adjoint.checkpointing.actions import Action, Advance, Load, Reverse, Save, Turn
from burgers_adjoint.checkpointing.schedule import Schedule, at_least_one
from burgers_adjoint.errors import ConfigError


class Periodic(Schedule):
    """Takes every step at most twice: N + (m - 1)(k - 1) forward steps, m = ceil(N / k) periods.

    The first sweep saves the start of every period, and of every step of the last one, which may be
    shorter. To reverse another period, its steps are taken once more and saved. The start of step n
    is in slot n // k + n % k.

    Attributes:
        period: k.
        position: step at whose start the working state is.
        saved: the last step whose start is alive, -1 when none is.
        to_reverse: steps that are still to be reversed, which is where the cotangent is.
        turned: whether the last step has been taken and the cotangent seeded.
    """

    name = "periodic"
    n_steps: int

    def __init__(self, n_steps: int, period: int) -> None:
        """Plan `n_steps` steps, with the state at the start of step 0 in hand.

        Raises:
            ConfigError: `n_steps` or `period` is below 1.
        """
        self.n_steps = at_least_one("n_steps", n_steps)
        self.period = at_least_one("period", period)
        self.slots = slots_needed(n_steps, period)
        self.snapshots = max(1, self.slots)
        self.position = 0
        self.saved = -1
        self.to_reverse = n_steps
        self.turned = False

    @property
    def predicted_forward_steps(self) -> int:
        """N + (m - 1)(k - 1)."""
        return self.n_steps + (-(-self.n_steps // self.period) - 1) * (self.period - 1)

    def next_action(self) -> Action | None:
        """Return the next action, or None when every step is reversed."""
        k, step, last = self.period, self.position, self.to_reverse - 1
        if step > last:
            return self._load(last) if last >= 0 else None
        if step == last:
            if not self.turned:
                self.turned = True
                return Turn(last)
            self.to_reverse = last
            return Reverse(last)
        if self.saved < step:
            self.saved = step
            return Save(step, step // k + step % k)
        self.position = step + (k if step < last - last % k else 1)
        return Advance(step, self.position)

    def _load(self, last: int) -> Action:
        k, step = self.period, self.saved
        self.position = step
        if step == last:
            self.saved = step - (k if step % k == 0 else 1)
        return Load(step, step // k + step % k, step == last)


def slots_needed(n_steps: int, period: int) -> int:
    """Return the slots of a periodic schedule: the starts of periods, and the inside of one."""
    periods = -(-n_steps // period)
    in_the_last = n_steps - (periods - 1) * period
    return max(periods + in_the_last - 2, periods + period - 3 if periods > 1 else 0)


def shortest_period(n_steps: int, snapshots: int) -> int:
    """Return the shortest period, hence the fewest forward steps, that needs no more snapshots.

    Raises:
        ConfigError: an argument is below 1, or no period needs so few.
    """
    n, s = at_least_one("n_steps", n_steps), at_least_one("snapshots", snapshots)
    # Below n / s there would be too many periods; above s + 2 one would be too long.
    for period in range(max(1, -(-n // (s + 2))), min(n, s + 2) + 1):
        if slots_needed(n, period) <= s:
            return period
    fewest = min(slots_needed(n, period) for period in range(1, 2 * int(n**0.5) + 3))
    raise ConfigError(
        f"a periodic schedule of {n} steps needs at least {fewest} snapshots, not {s}"
    )
