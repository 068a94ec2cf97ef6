"""Schedules of the package checkpoint_schedules for our executor, and ours for its consumers.

There an action moves data between working memory, RAM and disk, and tells what a forward step
leaves behind: data to restart from, or data for its adjoint step. Here both are the state at the
start of a step. The package is imported when it is used.

References:
    D. I. Dolci, J. R. Maddison, D. A. Ham, G. Pallez and J. Herrmann (2024), checkpoint_schedules:
    schedules for incremental checkpointing of adjoint simulations, Journal of Open Source Software
    9(95), 6148.
"""

from __future__ import annotations

import contextlib
import inspect
import io
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from burgers_adjoint.checkpointing.actions import (
    Action,
    Advance,
    Fetch,
    Free,
    Load,
    Reverse,
    Save,
    Seed,
    Turn,
)
from burgers_adjoint.checkpointing.schedule import Schedule, at_least_one
from burgers_adjoint.errors import ConfigError, ScheduleError, closest

PACKAGE = "checkpoint_schedules"
MEMORY, DISK = 0, 1


def _package() -> Any:
    try:
        import checkpoint_schedules
    except ImportError:
        raise ConfigError(
            f"{PACKAGE} is not installed: pip install 'burgers_adjoint[interop]' brings it along"
        ) from None
    return checkpoint_schedules


class Foreign(Schedule):
    """A schedule of checkpoint_schedules, by the name of its class.

    The actions are gone through once at the start, to know the slots and the forward steps. A
    pickled one is its arguments and how many actions it has given; the copy goes through these.

    Attributes:
        class_name: name of the class in the package.
        arguments: keyword arguments of the class, without the number of steps.
    """

    name = PACKAGE
    n_steps: int

    def __init__(self, n_steps: int, class_name: str, arguments: Mapping[str, Any]) -> None:
        """Plan `n_steps` steps, with the state at the start of step 0 in hand.

        Args:
            n_steps: steps to reverse; passed on as `max_n` where the class takes it.
            class_name: such as "HRevolve".
            arguments: of the class; "RAM" and "DISK" stand for the storage types.

        Raises:
            ConfigError: there is no such class, it refuses the arguments, or its schedule does not
                reverse every step; or the package is not installed.
        """
        self.n_steps = at_least_one("n_steps", n_steps)
        self.class_name = class_name
        self.arguments = dict(arguments)
        self._translation = _Translation(n_steps, self._make())
        with self._refusals():
            for _ in self._translation.actions():
                pass
        self._tiers = tuple(len(tier) for tier in self._translation.most)
        self.snapshots, self.snapshots_on_disk = max(1, self._tiers[MEMORY]), self._tiers[DISK]
        self.slots = sum(self._tiers)
        self._forward_steps = self._translation.forward_steps
        self._begin()

    def _begin(self) -> None:
        self._given = 0
        self._actions = _Translation(self.n_steps, self._make()).actions()

    @property
    def memory_slots(self) -> int:
        """Slots in memory, the first ones."""
        return self._tiers[MEMORY]

    @property
    def predicted_forward_steps(self) -> int:
        """As many as its actions say."""
        return self._forward_steps

    def next_action(self) -> Action | None:
        """Return the next action, or None when every step is reversed."""
        action = next(self._actions, None)
        if action is None:
            return None
        self._given += 1
        if isinstance(action, Save | Load | Free):
            tier, index = divmod(action.slot, self.n_steps)
            slot = index + (self._tiers[MEMORY] if tier == DISK else 0)
            if isinstance(action, Load):
                return Load(action.step, slot, action.free)
            return type(action)(action.step, slot)
        return action

    def _make(self) -> Any:
        package = _package()
        kind: Any = getattr(package, self.class_name, None)
        base = package.CheckpointSchedule
        known = [
            name
            for name, value in vars(package).items()
            if isinstance(value, type) and issubclass(value, base) and not inspect.isabstract(value)
        ]
        if self.class_name not in known:
            raise ConfigError(
                f"{PACKAGE} has no schedule {self.class_name}{closest(self.class_name, known)}; "
                f"it has {', '.join(sorted(known))}"
            )
        arguments = {
            key: package.StorageType[value] if value in ("RAM", "DISK") else value
            for key, value in self.arguments.items()
        }
        if "max_n" in inspect.signature(kind).parameters:
            arguments["max_n"] = self.n_steps
        with self._refusals(), contextlib.redirect_stdout(io.StringIO()):
            return kind(**arguments)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Say what the class takes when it refuses its arguments, at once or on its way."""
        try:
            yield
        except (TypeError, ValueError, AssertionError, IndexError, RuntimeError) as error:
            kind = getattr(_package(), self.class_name)
            asked = ", ".join(str(p) for p in inspect.signature(kind).parameters.values())
            raise ConfigError(
                f"{PACKAGE}.{self.class_name} refuses its arguments {dict(self.arguments)} "
                f"({error or type(error).__name__}); it takes {asked}"
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        """All but the iterator, which does not pickle."""
        state = self.__dict__.copy()
        del state["_actions"]
        state.pop("_translation", None)  # a copy has none
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        given = self._given
        self._begin()
        for _ in range(given):
            next(self._actions)
        self._given = given


class _Translation:
    """Our actions for those of one schedule.

    Slots are numbered tier by tier, those on disk from n_steps on.
    """

    def __init__(self, n_steps: int, theirs: Any) -> None:
        self.n_steps = n_steps
        self.forward_steps = 0
        self.most: tuple[set[int], set[int]] = set(), set()
        self._theirs = theirs
        self._storage = _package().StorageType
        self._position = 0
        self._to_reverse = n_steps
        self._turned = False
        self._held: tuple[dict[int, int], dict[int, int]] = {}, {}
        self._free: tuple[deque[int], deque[int]] = deque(), deque()

    def actions(self) -> Iterator[Action]:
        """Go through them."""
        for theirs in self._theirs:
            kind = type(theirs).__name__
            if kind == "Forward":
                yield from self._forward(theirs)
                if self._theirs.max_n is None and theirs.n1 >= self.n_steps:
                    self._theirs.finalize(self.n_steps)
            elif kind == "Reverse":
                for step in range(theirs.n1 - 1, theirs.n0 - 1, -1):
                    yield from self._bring(step, MEMORY)
                    yield Reverse(step)
                    self._to_reverse = step
                    yield from self._drop_above(step)
            elif kind in ("Copy", "Move"):
                yield from self._transfer(theirs, kind == "Move")
            elif kind == "EndReverse":
                break
        if self._to_reverse > 0:
            raise ConfigError(
                f"{PACKAGE}.{type(self._theirs).__name__} leaves {self._to_reverse} of "
                f"{self.n_steps} steps that are not reversed"
            )

    def _forward(self, theirs: Any) -> Iterator[Action]:
        stop = min(theirs.n1, self._to_reverse)
        tier = {self._storage.RAM: MEMORY, self._storage.DISK: DISK}.get(theirs.storage)
        if theirs.write_adj_deps:
            # Where the data stays in working memory, that of the last step is the state in hand.
            in_hand = tier is None
            for step in range(theirs.n0, stop):
                last = step == stop - 1
                if not (in_hand and last):
                    yield from self._save(step, MEMORY if tier is None else tier)
                if not last or (not in_hand and step < self._to_reverse - 1):
                    yield from self._advance(step + 1)
        else:
            if theirs.write_ics and tier is not None:
                yield from self._save(theirs.n0, tier)
            yield from self._advance(min(stop, self._to_reverse - 1))
        if not self._turned and theirs.n1 >= self.n_steps:
            yield from self._advance(self.n_steps - 1)
            self._turned = True
            self.forward_steps += 1
            yield Turn(self.n_steps - 1)

    def _advance(self, step: int) -> Iterator[Action]:
        if step > self._position:
            yield Advance(self._position, step)
            self.forward_steps += step - self._position
            self._position = step

    def _save(self, step: int, tier: int) -> Iterator[Action]:
        # The last step is reversed with the state in hand.
        if step in self._held[tier] or (not self._turned and step == self.n_steps - 1):
            return
        if self._free[tier]:
            index = self._free[tier].pop()
        else:
            index = len(self.most[tier])
            self.most[tier].add(index)
        self._held[tier][step] = index
        yield Save(step, tier * self.n_steps + index)

    def _transfer(self, theirs: Any, move: bool) -> Iterator[Action]:
        tier = DISK if theirs.from_storage == self._storage.DISK else MEMORY
        step = theirs.n
        if theirs.to_storage == self._storage.NONE:
            yield from self._drop(step, tier)
            return
        if step != self.n_steps - 1 or step in self._held[tier]:
            yield from self._bring(step, tier)
        if theirs.to_storage in (self._storage.RAM, self._storage.DISK):
            yield from self._save(step, MEMORY if tier == DISK else DISK)
        if move:
            yield from self._drop(step, tier)

    def _bring(self, step: int, tier: int) -> Iterator[Action]:
        if self._position == step:
            return
        if step not in self._held[tier]:
            raise ScheduleError(f"{PACKAGE}: the start of step {step} is not where it should be")
        yield Load(step, tier * self.n_steps + self._held[tier][step], False)
        self._position = step

    def _drop(self, step: int, tier: int) -> Iterator[Action]:
        if step in self._held[tier]:
            index = self._held[tier].pop(step)
            self._free[tier].append(index)
            yield Free(step, tier * self.n_steps + index)

    def _drop_above(self, step: int) -> Iterator[Action]:
        """Forget what is of no more use: several of these schedules leave it where it is."""
        for tier in (MEMORY, DISK):
            for old in [held for held in self._held[tier] if held >= step]:
                yield from self._drop(old, tier)


def as_checkpoint_schedule(schedule: Schedule) -> Any:
    """Return one of our schedules as a `checkpoint_schedules.CheckpointSchedule`.

    It is for one reversal. An `Online` one is told its end by `finalize`, as theirs are; it frees
    snapshots on its way to the end, which pyadjoint does not support.

    Raises:
        ConfigError: the package is not installed.
    """
    package = _package()
    storage_type = package.StorageType

    base: Any = package.CheckpointSchedule

    class Adapted(base):
        """Our schedule, action by action."""

        def __init__(self) -> None:
            super().__init__(schedule.n_steps)
            self._exhausted = False

        @property
        def is_exhausted(self) -> bool:
            return self._exhausted

        @property
        def is_running(self) -> bool:
            return hasattr(self, "iter")

        def uses_storage_type(self, kind: Any) -> bool:
            in_memory = schedule.memory_slots
            return bool(
                kind == storage_type.WORK
                or (kind == storage_type.RAM and in_memory > 0)
                or (kind == storage_type.DISK and schedule.slots > in_memory)
            )

        def _iterator(self) -> Iterator[Any]:
            return _their_actions(self, schedule, package)

    return Adapted()


def _their_actions(theirs: Any, schedule: Schedule, package: Any) -> Iterator[Any]:
    """Go through one of our schedules for one of theirs that gives its actions."""
    storage_type = package.StorageType

    def where(slot: int) -> Any:
        return storage_type.RAM if slot < schedule.memory_slots else storage_type.DISK

    saved: Any = None
    linearised = -1
    for action in schedule:
        if isinstance(action, Save):
            saved = where(action.slot)
        elif isinstance(action, Advance):
            theirs._n = action.step1
            yield package.Forward(
                action.step0, action.step1, saved is not None, False,
                storage_type.WORK if saved is None else saved,
            )  # fmt: skip
            saved = None
            if schedule.n_steps is None and theirs._max_n is not None:
                schedule.end(theirs._max_n, theirs._max_n)
        elif isinstance(action, Load | Free):
            theirs._n = action.step
            kind, target = package.Move, storage_type.NONE
            if isinstance(action, Load):
                kind = package.Move if action.free else package.Copy
                target = storage_type.WORK
            yield kind(action.step, where(action.slot), target)
        elif isinstance(action, Turn):
            theirs._n = linearised = action.step + 1
            yield package.Forward(action.step, action.step + 1, False, True, storage_type.WORK)
            yield package.EndForward()
        elif isinstance(action, Seed):
            yield package.EndForward()
        elif isinstance(action, Reverse):
            if linearised != action.step + 1:
                theirs._n = action.step + 1
                yield package.Forward(action.step, action.step + 1, False, True, storage_type.WORK)
            theirs._r += 1
            yield package.Reverse(action.step + 1, action.step, True)
        elif not isinstance(action, Fetch):
            raise ScheduleError(f"{PACKAGE} has no action for {action}")
    theirs._exhausted = True
    yield package.EndReverse()
