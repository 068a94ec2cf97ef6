"""Carries out a schedule's actions on a model and a store, and counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Generic, TypeVar, cast

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
from burgers_adjoint.checkpointing.counts import Counts, Observer
from burgers_adjoint.checkpointing.runs import loads_after, saves_after
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.errors import ScheduleError, SnapshotError
from burgers_adjoint.protocols import (
    AdjointModel,
    ExchangingModel,
    ExchangingStore,
    KeepingModel,
    OnlineModel,
    SnapshotStore,
)

State = TypeVar("State")
Cotangent = TypeVar("Cotangent")
Snapshot = TypeVar("Snapshot")


LONGEST_ADVANCE = 256
LONGEST_REVERSAL = 64


class Executor(Generic[State, Cotangent, Snapshot]):
    """One gradient: the forward sweep and the reverse sweep of one schedule.

    A snapshot that is damaged or missing is computed anew from an earlier one, and the run goes on.

    All that a run needs to go on after any action is the schedule, the working state, what the
    store holds, and the attributes `counts`, `position`, `cotangent` and `held`; an executor made
    with these, given to it as arguments, carries on where another one stopped (with a schedule made
    anew where that was in the middle of a long `Advance`).

    Attributes:
        counts: what has been done so far.
        position: step at whose start the working state is.
        cotangent: dJ/d(state) at the start of step `n_steps - counts.reverse_steps`; None before
            the turn; after the run, dJ/d(initial state).
        held: slot to the step whose start it holds.
        damages: what was wrong with each snapshot that was computed anew.
        longest_advance: steps after which a longer `Advance` pauses for the observer; an observer
            may set it, to the same number wherever the run is shared.
        longest_reversal: steps that are reversed at once at most; may be set likewise.
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
            store: holds the snapshots; it can serve one run after the other.
            observer: called after every action, and after every piece of a long `Advance`, with
                the action or piece and the counts, which it must not change; what it raises ends
                the run in a state that can be carried on from. Of single steps that are taken at
                once, with the saves or loads between them, it is told the last one.
            counts: what has been done before, when a run is carried on; counted up in place.
            position: step at whose start the working state is.
            cotangent: the cotangent, when the run that is carried on had seeded it.
            held: slot to the step whose start the store holds there, when a run is carried on.
        """
        self.model = model
        self.schedule = schedule
        self.store = store
        self.observer = observer
        self.counts = Counts() if counts is None else counts
        self.position = position
        self.cotangent = cotangent
        self.held = {} if held is None else dict(held)
        self.damages: list[str] = []
        self.longest_advance = LONGEST_ADVANCE
        self.longest_reversal = LONGEST_REVERSAL
        self._keeping = (
            cast(KeepingModel[State, Cotangent, Snapshot], model)
            if hasattr(model, "keep")
            else None
        )
        self._ran = False
        self._state: State | None = None
        self._source: State | None = None  # where the working state is, if not in its own memory

    @property
    def state(self) -> State | None:
        """The working state, to be read in an observer; None before the run."""
        return self._state if self._source is None else self._source

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
        if self._ran:
            raise ScheduleError("this executor has run: make a new one for every gradient")
        self._ran = True
        self._state = state
        model, store, counts, observer = self.model, self.store, self.counts, self.observer

        exchanging = None
        if getattr(store, "exchanges", False):
            for method in ("advance_from", "advance_along", "adjoint_steps"):
                if not hasattr(model, method):
                    raise ScheduleError(
                        "a store that exchanges states needs a model that steps from one to "
                        f"another: {type(model).__name__} has no `{method}` "
                        "(protocols.ExchangingModel)"
                    )
            exchanging = cast(ExchangingStore[State], store)

        def fill(snapshot: Snapshot) -> None:
            model.snapshot(state, snapshot)

        def read(snapshot: Snapshot) -> None:
            model.restore(snapshot, state)

        for action in self.schedule:
            start = perf_counter()
            if isinstance(action, Reverse):
                if self._source is not None:
                    self._settle(state)
                action, state = self._reverse(action, state, exchanging)
                counts.seconds_adjoint += perf_counter() - start
            elif isinstance(action, Advance):
                self._advance(action, state)
                continue
            elif isinstance(action, Load):
                self._source = None
                if exchanging is None:
                    self._load(action, state, fill, read)
                else:
                    try:
                        if action.free:
                            # the last use: the slot gets the working state's memory in return
                            state = exchanging.take_over(action.slot, action.step, state)
                            self._state = state
                            self.held.pop(action.slot, None)
                        else:
                            (self._source,) = exchanging.lend([(action.slot, action.step)])
                    except SnapshotError as error:
                        self._recompute(action, error, state, fill, read)
                counts.seconds_snapshots += perf_counter() - start
                counts.loads += 1
                self.position = action.step
            elif isinstance(action, Save):
                self._require_position(action, action.step)
                if exchanging is not None:
                    # an advance is next, as a rule: it reads the snapshot and writes elsewhere
                    self._settle(state)
                    self._source = state
                    state = self._state = exchanging.hand_over(action.slot, action.step, state)
                else:
                    start = self._keep(state, action.step, start)
                    store.save(action.slot, action.step, fill)
                self.held[action.slot] = action.step
                counts.seconds_snapshots += perf_counter() - start
                counts.saves += 1
            elif isinstance(action, Fetch):
                store.fetch(action.slot, action.step)
                counts.seconds_snapshots += perf_counter() - start
            elif isinstance(action, Free):
                self._settle(state)
                store.free(action.slot)
                self.held.pop(action.slot, None)
                counts.seconds_snapshots += perf_counter() - start
            elif isinstance(action, Seed):
                self._settle(state)
                self._seed(action, state)
                counts.seconds_adjoint += perf_counter() - start
            else:
                self._settle(state)
                self._turn(action, state)
            if observer is not None:
                observer(action, counts)
        self._require_totals()
        return counts

    def _advance(self, action: Advance, state: State) -> None:
        """Advance in pieces, so that the observer is never far away."""
        self._require_position(action, action.step0)
        if action.step1 <= action.step0:
            raise ScheduleError(f"cannot {action}: that is no step forward")
        exploring = self.schedule.n_steps is None
        if self._source is not None and action.step1 == action.step0 + 1 and not exploring:
            self._advance_along(action, self._source, state)
            return
        while self.position < action.step1:
            stop = min(self.position + self.longest_advance, action.step1)
            whole = self.position == action.step0 and stop == action.step1
            piece = action if whole else Advance(self.position, stop)
            start = perf_counter()
            if exploring:
                self._settle(state)
                piece = self._explore(piece, state)
            elif self._source is not None:
                model = cast(ExchangingModel[State, Cotangent, Snapshot], self.model)
                model.advance_from(self._source, state, piece.step0, piece.step1)
                self._source = None
            else:
                self.model.advance(state, piece.step0, piece.step1)
            self.counts.seconds_forward += perf_counter() - start
            self.counts.forward_steps += piece.step1 - piece.step0
            self.position = piece.step1
            if self.observer is not None:
                self.observer(piece, self.counts)
            if exploring and self.schedule.n_steps is not None:
                break

    def _keep(self, state: State, step: int, start: float) -> float:
        """Prepare a snapshot that keeps part of its step, begun at `start`; returns the time."""
        if self._keeping is None:
            return start
        self._keeping.keep(state, step)
        now = perf_counter()
        self.counts.seconds_forward += now - start
        return now

    def _advance_along(self, action: Advance, source: State, state: State) -> None:
        """Take a single step, and those after it between which states are saved, in one go."""
        begin = perf_counter()
        store = cast(ExchangingStore[State], self.store)
        model = cast(ExchangingModel[State, Cotangent, Snapshot], self.model)

        def fits(slot: int) -> bool:
            # the source may be in a slot that is held
            return slot not in self.held and store.fills(slot)

        saves = saves_after(self.schedule, action.step1, self.longest_advance - 1, fits)
        lent = store.lend_to_fill([(save.slot, save.step) for save in saves]) if saves else []
        model.advance_along([source, *lent, state], action.step0)
        self._source = None
        self.held |= {save.slot: save.step for save in saves}
        self.position = action.step1 + len(saves)
        self.counts.saves += len(saves)
        self.counts.forward_steps += 1 + len(saves)
        self.counts.seconds_forward += perf_counter() - begin
        if self.observer is not None:
            self.observer(Advance(self.position - 1, self.position), self.counts)

    def _settle(self, state: State) -> None:
        """Copy the state that the store has lent, or been handed, to the working state's memory."""
        if self._source is not None:
            self.model.restore(cast(Snapshot, self._source), state)
            self._source = None

    def _load(
        self,
        action: Load,
        state: State,
        fill: Callable[[Snapshot], None],
        read: Callable[[Snapshot], None],
    ) -> None:
        """Load a snapshot, or compute it anew where it cannot be loaded."""
        try:
            self.store.load(action.slot, action.step, read)
        except SnapshotError as error:
            self._recompute(action, error, state, fill, read)
        else:
            if action.free:
                self.store.free(action.slot)
                self.held.pop(action.slot, None)

    def _recompute(
        self,
        action: Load,
        error: SnapshotError,
        state: State,
        fill: Callable[[Snapshot], None],
        read: Callable[[Snapshot], None],
    ) -> None:
        """Compute a snapshot that cannot be loaded from the nearest earlier one that can.

        Raises:
            SnapshotError: there is none; or the schedule, not the store, is wrong.
        """
        if self.held.get(action.slot) != action.step:
            raise error
        for slot, step in sorted(self.held.items(), key=lambda item: -item[1]):
            if step < action.step:
                try:
                    self.store.load(slot, step, read)
                except SnapshotError:
                    continue
                break
        else:
            final = SnapshotError(f"{error}; no earlier snapshot is left to compute it from")
            final.agreed = error.agreed
            raise final from error
        self.model.advance(state, step, action.step)
        self.counts.damaged += 1
        self.counts.recomputed_steps += action.step - step
        self.damages.append(f"{error}; computed anew from step {step}")
        if action.free:
            self.store.free(action.slot)
            self.held.pop(action.slot, None)
        else:
            self._keep(state, action.step, perf_counter())
            self.store.save(action.slot, action.step, fill)

    def _explore(self, piece: Advance, state: State) -> Advance:
        """Take steps for the first time, and tell the schedule when the model knows the end.

        Returns:
            The steps that were taken, fewer than the piece has where the end is near.
        """
        schedule = self.schedule
        model = cast(OnlineModel[State, Cotangent, Snapshot], self.model)
        if not hasattr(model, "explore"):
            raise ScheduleError(
                f"the {schedule.name} schedule needs a model that knows when it ends: "
                f"{type(model).__name__} has no `explore` and `n_steps` (protocols.OnlineModel)"
            )
        reached = model.explore(state, piece.step0, piece.step1)
        if model.n_steps is not None:
            schedule.end(model.n_steps, reached)
        elif reached != piece.step1:
            raise ScheduleError(f"cannot {piece}: the model stopped at step {reached} of no end")
        return Advance(piece.step0, reached)

    def _seed(self, action: Seed, state: State) -> None:
        self._require_position(action, action.step)
        self._require_end(action, action.step)
        self.cotangent = self.model.seed(state)

    def _require_end(self, action: Action, step: int) -> None:
        if step != self.schedule.n_steps:
            raise ScheduleError(f"cannot {action}: there are {self.schedule.n_steps} steps")
        if self.cotangent is not None:
            raise ScheduleError(f"cannot {action}: the cotangent is seeded already")

    def _turn(self, action: Turn, state: State) -> None:
        """Take the last step aside: the working state is put back after it, bit for bit."""
        model, counts, step = self.model, self.counts, action.step
        self._require_position(action, step)
        self._require_end(action, step + 1)
        started = self._keep(state, step, perf_counter())
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

    def _reverse(
        self, action: Reverse, state: State, exchanging: ExchangingStore[State] | None
    ) -> tuple[Reverse, State]:
        """Reverse a step, and those before it whose states are in memory one after the other.

        Returns:
            The last reversal, and the working state at its step's start.
        """
        cotangent = self._reversible(action)
        loads: list[Load] = []
        if exchanging is not None:
            loads = loads_after(self.schedule, action.step, self.longest_reversal - 1)
        lent = self._lent(loads, exchanging) if exchanging is not None and loads else []
        if exchanging is None or not lent:
            if self._keeping is not None:
                self.counts.kept_steps += self._keeping.kept
            self.model.adjoint_step(cotangent, state, action.step)
            self.counts.reverse_steps += 1
            return action, state
        model = cast(ExchangingModel[State, Cotangent, Snapshot], self.model)
        model.adjoint_steps(cotangent, [state, *lent], action.step)
        self.counts.reverse_steps += 1 + len(lent)
        self.counts.loads += len(lent)
        *passed, last = loads[: len(lent)]
        for load in passed:
            exchanging.free(load.slot)
            self.held.pop(load.slot)
        self._state = exchanging.take_over(last.slot, last.step, state)
        self.held.pop(last.slot)
        self.position = last.step
        return Reverse(last.step), self._state

    def _lent(self, loads: Sequence[Load], exchanging: ExchangingStore[State]) -> list[State]:
        """The states of the first loads; the others, and their reversals, are for later."""
        lent: list[State] = []
        # A damaged one is for the load itself to find, and to compute anew.
        with suppress(SnapshotError):
            lent = exchanging.lend([(load.slot, load.step) for load in loads])
        for load in reversed(loads[len(lent) :]):
            self.schedule.put_back(load, Reverse(load.step))
        return lent

    def _reversible(self, action: Reverse) -> Cotangent:
        """Return the cotangent at the end of the step to reverse."""
        self._require_position(action, action.step)
        if self.cotangent is None:
            raise ScheduleError(f"cannot {action}: the cotangent has not been seeded")
        at = (self.schedule.n_steps or 0) - self.counts.reverse_steps
        if action.step != at - 1:
            raise ScheduleError(f"cannot {action}: the cotangent is at the start of step {at}")
        return self.cotangent

    def _require_position(self, action: Action, step: int) -> None:
        if self.position != step:
            raise ScheduleError(
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
