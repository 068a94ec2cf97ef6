"""Carries out a schedule's actions on a model and a store, and counts them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from time import perf_counter
from typing import Any, Generic, TypeVar

from burgers_adjoint.checkpointing.actions import (
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
from burgers_adjoint.checkpointing.counts import Counts, Observer
from burgers_adjoint.checkpointing.fusion import LONGEST_ADVANCE, LONGEST_REVERSAL, Fusion
from burgers_adjoint.checkpointing.recovery import recompute
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.working_state import WorkingState, working_state
from burgers_adjoint.errors import ScheduleError, SnapshotError
from burgers_adjoint.protocols import AdjointModel, SnapshotStore

State = TypeVar("State")
Cotangent = TypeVar("Cotangent")
Snapshot = TypeVar("Snapshot")

Handler = Callable[["Executor[Any, Any, Any]", Any], FusedAction]
"""Carries out an action of its kind; returns what was done, which may be the first part alone."""


class Executor(Generic[State, Cotangent, Snapshot]):
    """One gradient: the forward sweep and the reverse sweep of one schedule.

    A snapshot that is damaged or missing is computed anew from an earlier one, and the run goes on.

    All that a run needs to go on where its observer has ended it, after any action, is the
    schedule, the working state, what the store holds, and the attributes `counts`, `position`,
    `cotangent` and `held`; an executor made with these, given to it as arguments, carries on.

    Attributes:
        counts: what has been done so far.
        position: step at whose start the working state is.
        cotangent: dJ/d(state) at the start of step `n_steps - counts.reverse_steps`; None before
            the turn; after the run, dJ/d(initial state).
        held: slot to the step whose start it holds.
        damages: what was wrong with each snapshot that was computed anew.
    """

    def __init__(
        self,
        model: AdjointModel[State, Cotangent, Snapshot],
        schedule: Schedule,
        store: SnapshotStore[Snapshot],
        observer: Observer | None = None,
        *,
        counts: Counts | None = None,
        position: int = 0,
        cotangent: Cotangent | None = None,
        held: dict[int, int] | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            model: what the actions are carried out on.
            schedule: source of the actions, at its start or anywhere in the middle.
            store: holds the snapshots; it can serve one run after the other. Where it exchanges
                states, runs of actions are carried out at once; see `fusion`.
            observer: called after every action, fused ones as one, with the action and the counts,
                which it must not change; what it raises ends the run in a state that can be carried
                on from.
            counts: what has been done before, when a run is carried on; counted up in place.
            position: step at whose start the working state is.
            cotangent: the cotangent, when the run that is carried on had seeded it.
            held: slot to the step whose start the store holds there, when a run is carried on.
        """
        self.model = model
        self.schedule = schedule
        self.store = store
        self.counts = Counts() if counts is None else counts
        self.position = position
        self.cotangent = cotangent
        self.held = {} if held is None else dict(held)
        self.damages: list[str] = []
        self._observer = observer
        self._actions = Fusion(schedule, store.fills if store.exchanges else None)
        self._began = False
        self._working: WorkingState[Any, Any, Any]

    @property
    def state(self) -> State | None:
        """The working state, to be read in an observer; None before the run."""
        return self._working.readable if self._began else None

    @property
    def n_steps(self) -> int | None:
        """Steps of the run, None as long as nobody knows."""
        return self.schedule.n_steps

    @property
    def live(self) -> dict[int, int]:
        """Step to slot of the snapshots that are in the store."""
        return {step: slot for slot, step in self.held.items()}

    @property
    def turned(self) -> bool:
        """Whether the cotangent has been seeded."""
        return self.cotangent is not None

    @property
    def swept_to(self) -> int:
        """Step at whose start the working state is, or, once it is seeded, the cotangent."""
        return (self.n_steps or 0) - self.counts.reverse_steps if self.turned else self.position

    @property
    def complete(self) -> bool:
        """Whether a sweep is at its end: all is reversed, or the cotangent about to be seeded."""
        return self.swept_to == (0 if self.turned else self.n_steps)

    def counted(self) -> dict[str, int | float]:
        """The counts by their names."""
        return asdict(self.counts)

    def steps_left(self) -> tuple[float, float]:
        """Forward and reverse steps to go; infinite as long as nobody knows."""
        if self.n_steps is None:
            return math.inf, math.inf
        forward = self.schedule.predicted_forward_steps - self.counts.forward_steps
        return forward, self.n_steps - self.counts.reverse_steps

    def limit_runs(self, steps: int) -> None:
        """Let no action that follows take or reverse more steps, so that the observer is called.

        An observer may do this; where ranks share a run, to the same number on all of them.
        """
        self._actions.limits.advance = min(steps, LONGEST_ADVANCE)
        self._actions.limits.reversal = min(steps, LONGEST_REVERSAL)

    def run(self, state: State) -> Counts:
        """Carry out the schedule's actions, all that are left, and return the counts.

        Args:
            state: the working state at the start of step `position`, stepped in place. A store
                that exchanges states keeps it in the reverse sweep, and gives others for it.

        Raises:
            ScheduleError: an action does not fit what is there, the forward or reverse steps are
                not as many as the schedule promised, or `run` is called a second time.
            SnapshotError: the store does not hold what it is asked for, or it is damaged and there
                is no earlier snapshot to compute it from.
            StorageError: the store cannot save.
        """
        if self._began:
            raise ScheduleError("this executor has run: make a new one for every gradient")
        self._working = working_state(self.model, self.store, state)
        self._began = True
        observer, counts = self._observer, self.counts
        try:
            for action in self._actions:
                done = HANDLERS[type(action)](self, action)
                if observer is not None:
                    observer(done, counts)
        finally:
            self._actions.rewind()
        self._require_totals()
        return counts

    def _advance(self, action: Advance) -> FusedAction:
        start = perf_counter()
        if self.position != action.step0:
            raise self._misplaced(action)
        if action.step1 <= action.step0:
            raise ScheduleError(f"cannot {action}: that is no step forward")
        if self.schedule.n_steps is None:
            action = self._explore(action)
        else:
            self._working.advance(action.step0, action.step1)
        return self._advanced(action, 0, start)

    def _advance_saving(self, action: AdvanceSaving) -> FusedAction:
        start = perf_counter()
        if self.position != action.step0:
            raise self._misplaced(action)
        if not self.held.keys().isdisjoint(action.slots):
            # the working state may be in one of these: what comes first alone settles it
            first, *rest = action.parts()
            self._actions.put_back(*rest)
            return HANDLERS[type(first)](self, first)
        self._working.advance_saving(action)
        self.held.update(zip(action.slots, range(action.first_saved, action.step1), strict=True))
        return self._advanced(action, len(action.slots), start)

    def _advanced(
        self, action: Advance | AdvanceSaving, saves: int, start: float
    ) -> Advance | AdvanceSaving:
        counts = self.counts
        counts.forward_steps += action.step1 - action.step0
        counts.saves += saves
        self.position = action.step1
        counts.seconds_forward += perf_counter() - start
        return action

    def _explore(self, action: Advance) -> Advance:
        """Take steps for the first time, and tell the schedule when the model knows the end.

        Returns:
            The steps that were taken; those of a long action that are left come again, unless the
            end is near.
        """
        model, schedule = self.model, self.schedule
        if not model.explores:
            raise ScheduleError(
                f"the {schedule.name} schedule needs a model that knows when it ends: "
                f"{type(model).__name__} does not (protocols.AdjointModel.explores)"
            )
        stop = min(action.step0 + self._actions.limits.advance, action.step1)
        reached = model.explore(self._working.settled(), action.step0, stop)
        if model.n_steps is not None:
            schedule.end(model.n_steps, reached)
        elif reached != stop:
            raise ScheduleError(f"cannot {action}: the model stopped at step {reached} of no end")
        elif stop < action.step1:
            self._actions.put_back(Advance(stop, action.step1))
        return Advance(action.step0, reached)

    def _keep(self, step: int, start: float) -> float:
        """Prepare a snapshot that keeps part of its step, begun at `start`; returns the time."""
        self.model.keep(self._working.state, step)
        now = perf_counter()
        self.counts.seconds_forward += now - start
        return now

    def _save(self, action: Save) -> Save:
        start = perf_counter()
        if self.position != action.step:
            raise self._misplaced(action)
        if self.model.keeps and not self._working.exchanged:
            start = self._keep(action.step, start)
        self._working.save(action.slot, action.step)
        self.held[action.slot] = action.step
        self.counts.saves += 1
        self.counts.seconds_snapshots += perf_counter() - start
        return action

    def _load(self, action: Load) -> Load:
        start = perf_counter()
        counts = self.counts
        try:
            self._working.load(action.slot, action.step, action.free)
        except SnapshotError as error:
            step = recompute(self._working, action, self.held, error)
            counts.damaged += 1
            counts.recomputed_steps += action.step - step
            self.damages.append(f"{error}; computed anew from step {step}")
        if action.free:
            self.held.pop(action.slot, None)
        self.position = action.step
        counts.loads += 1
        counts.seconds_snapshots += perf_counter() - start
        return action

    def _fetch(self, action: Fetch) -> Fetch:
        start = perf_counter()
        self.store.fetch(action.slot, action.step)
        self.counts.seconds_snapshots += perf_counter() - start
        return action

    def _free(self, action: Free) -> Free:
        start = perf_counter()
        self._working.settled()
        self.store.free(action.slot)
        self.held.pop(action.slot, None)
        self.counts.seconds_snapshots += perf_counter() - start
        return action

    def _seed(self, action: Seed) -> Seed:
        start = perf_counter()
        if self.position != action.step:
            raise self._misplaced(action)
        self._require_end(action, action.step)
        self.cotangent = self.model.seed(self._working.settled())
        self.counts.seconds_adjoint += perf_counter() - start
        return action

    def _turn(self, action: Turn) -> Turn:
        """Take the last step aside: the working state is put back after it, bit for bit."""
        model, counts, step = self.model, self.counts, action.step
        if self.position != step:
            raise self._misplaced(action)
        self._require_end(action, step + 1)
        state, started = self._working.settled(), perf_counter()
        if model.keeps:
            started = self._keep(step, started)
        spare = model.new_snapshot()
        model.snapshot(state, spare)
        copied = perf_counter()
        model.advance(state, step, step + 1)
        stepped = perf_counter()
        self.cotangent = model.seed(state)
        seeded = perf_counter()
        model.restore(spare, state)
        counts.seconds_snapshots += copied - started + perf_counter() - seeded
        counts.seconds_forward += stepped - copied
        counts.seconds_adjoint += seeded - stepped
        counts.forward_steps += 1
        return action

    def _reverse(self, action: Reverse) -> Reverse:
        start = perf_counter()
        cotangent, counts = self._reversible(action, action.step), self.counts
        state = self._working.settled()
        if self.model.keeps:
            counts.kept_steps += self.model.kept
        self.model.adjoint_step(cotangent, state, action.step)
        counts.reverse_steps += 1
        counts.seconds_adjoint += perf_counter() - start
        return action

    def _reverse_loading(self, action: ReverseLoading) -> FusedAction:
        """Reverse as many of the steps as the store can lend states of at once."""
        start = perf_counter()
        cotangent, counts = self._reversible(action, action.step), self.counts
        try:
            loads = self._working.reverse_loading(action, cotangent)
        except SnapshotError:
            # a damaged one is for the load itself to find, and to compute anew
            _, *rest = action.split(1)
            self._actions.put_back(*rest)
            return self._reverse(Reverse(action.step))
        if loads < len(action.slots):
            _, *rest = action.split(1 + loads)
            self._actions.put_back(*rest)
            action = ReverseLoading(action.step, action.slots[:loads])
        for slot in action.slots:
            self.held.pop(slot, None)
        self.position = action.last
        counts.reverse_steps += 1 + loads
        counts.loads += loads
        counts.seconds_adjoint += perf_counter() - start
        return action

    def _reversible(self, action: Reverse | ReverseLoading, step: int) -> Cotangent:
        """Return the cotangent at the end of the step to reverse."""
        if self.position != step:
            raise self._misplaced(action)
        if self.cotangent is None:
            raise ScheduleError(f"cannot {action}: the cotangent has not been seeded")
        at = (self.schedule.n_steps or 0) - self.counts.reverse_steps
        if step != at - 1:
            raise ScheduleError(f"cannot {action}: the cotangent is at the start of step {at}")
        return self.cotangent

    def _require_end(self, action: Turn | Seed, step: int) -> None:
        if step != self.schedule.n_steps:
            raise ScheduleError(f"cannot {action}: there are {self.schedule.n_steps} steps")
        if self.cotangent is not None:
            raise ScheduleError(f"cannot {action}: the cotangent is seeded already")

    def _misplaced(self, action: FusedAction) -> ScheduleError:
        return ScheduleError(
            f"cannot {action}: the working state is at the start of step {self.position}"
        )

    def _require_totals(self) -> None:
        schedule, counts = self.schedule, self.counts
        if counts.reverse_steps != schedule.n_steps:
            raise ScheduleError(
                f"the {schedule.name} schedule reversed {counts.reverse_steps} steps "
                f"of {schedule.n_steps}"
            )
        if counts.forward_steps != schedule.predicted_forward_steps:
            raise ScheduleError(
                f"the {schedule.name} schedule took {counts.forward_steps} forward steps, "
                f"not {schedule.predicted_forward_steps} as its formula says"
            )


# Not bound to an executor, which would hold itself then, and fields until cycles are looked for.
HANDLERS: dict[type[FusedAction], Handler] = {
    Advance: Executor._advance,
    AdvanceSaving: Executor._advance_saving,
    Save: Executor._save,
    Load: Executor._load,
    Fetch: Executor._fetch,
    Free: Executor._free,
    Turn: Executor._turn,
    Seed: Executor._seed,
    Reverse: Executor._reverse,
    ReverseLoading: Executor._reverse_loading,
}
