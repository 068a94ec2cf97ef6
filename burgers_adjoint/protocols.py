"""All that the two halves share: what a model offers and what a snapshot store offers.

Both are to be derived from. What a model or a store can do beyond the least is declared by its
attributes, and their defaults say that it cannot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Generic, Protocol, TypeVar, runtime_checkable

State = TypeVar("State")
Cotangent = TypeVar("Cotangent")
Snapshot = TypeVar("Snapshot")


class AdjointModel(ABC, Generic[State, Cotangent, Snapshot]):
    """A time stepper with its adjoint; step n leads from the state at n to the state at n + 1.

    Attributes:
        exchanges: whether its snapshots can be states, and it steps from one state to another, by
            `advance_from`: stores may exchange memory with it.
        keeps: whether its snapshots keep, beside a state, what the adjoint of its step wants, by
            `keep` and `kept`.
        explores: whether it finds out on its way after how many steps a run ends, by `explore` and
            `n_steps`.
    """

    exchanges: bool = False
    keeps: bool = False
    explores: bool = False

    @abstractmethod
    def advance(self, state: State, n0: int, n1: int) -> None:
        """Take the steps n0 .. n1 - 1 in place, as one call: a range can run faster than steps."""

    @abstractmethod
    def seed(self, state: State) -> Cotangent:
        """Return dJ/d(state) at `state`, the state after the last step.

        It is called once in a gradient, and is the one call that sees the final state: a model
        that wants the objective, or a copy of the final state, takes it here.
        """

    @abstractmethod
    def adjoint_step(self, cotangent: Cotangent, state: State, n: int) -> None:
        """Take the cotangent from n + 1 to n in place, with `state` at the START of step n."""

    @abstractmethod
    def new_snapshot(self) -> Snapshot:
        """Return a new buffer for `snapshot` to fill; one with `nbytes` can be accounted for."""

    @abstractmethod
    def snapshot(self, state: State, out: Snapshot) -> None:
        """Copy into `out` all that `restore` needs to make the same state, bit for bit."""

    @abstractmethod
    def restore(self, snapshot: Snapshot, state: State) -> None:
        """Make `state` the one that `snapshot` was taken of; the snapshot stays as it is."""

    def advance_from(self, source: State, state: State, n0: int, n1: int) -> None:
        """Take the steps n0 .. n1-1, at least one, from `source`, which stays, to `state`."""
        raise NotImplementedError(f"{type(self).__name__} does not exchange states")

    def advance_along(self, states: Sequence[State], n0: int) -> None:
        """Take a step from each state to the next one, the first of them step n0."""
        for n, (source, state) in enumerate(pairwise(states), start=n0):
            self.advance_from(source, state, n, n + 1)

    def adjoint_steps(self, cotangent: Cotangent, states: Sequence[State], n: int) -> None:
        """Take the cotangent from n + 1 to n + 1 - len(states) in place.

        `states` are those at the STARTS of the steps n, n - 1, ...; the result is the one of as
        many calls of `adjoint_step`, bit for bit.
        """
        for back, state in enumerate(states):
            self.adjoint_step(cotangent, state, n - back)

    def keep(self, state: State, n: int) -> None:
        """Prepare a `snapshot` of `state`, which is at the start of step n.

        It is called right before the snapshot, and does work of step n, which an `advance` right
        after it spares.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps nothing of a step")

    @property
    def kept(self) -> bool:
        """Whether a snapshot has brought all that the adjoint of the next step wants."""
        return False

    @property
    def n_steps(self) -> int | None:
        """Steps of the run, once they are known: before the last step or right after it."""
        return None

    def explore(self, state: State, n0: int, n1: int) -> int:
        """Take the steps from n0 on, for the first time, in place, and return the step reached.

        That is n1, or an earlier one as soon as `n_steps` is known; never one behind `n_steps`.
        Whatever was decided on the way, such as the length of a step, `advance` repeats.
        """
        raise NotImplementedError(f"{type(self).__name__} does not find its end")


class SnapshotStore(ABC, Generic[Snapshot]):
    """Numbered slots, each of them empty or holding the snapshot of one step.

    Its life: it is made, with all that it needs; it is filled, and `flush` may bring what is alive
    to where it stays; `close` ends it, or, after a failure of this process alone, `abandon`. Where
    ranks share a run, a call raises on all of them or on none, but for `abandon`, which waits for
    nobody.

    A store owns its buffers and never aliases those of its caller: `fill` and `read` get a buffer
    that is valid during the call alone.

    Attributes:
        exchanges: whether its snapshots are states that change hands, so that no bytes are copied:
            `hand_over`, `lend`, `lend_to_fill` and `take_over`. The model has to exchange them too.
            Of a state that is lent, or was handed over, the caller may write what `restore` does
            not need, such as a halo.
        lossy: whether a snapshot that is loaded may differ from the one that was saved.
    """

    exchanges: bool = False
    lossy: bool = False

    @abstractmethod
    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        """Let `fill` write the snapshot of `step` to `slot`, in place of what the slot holds.

        The slot counts as empty when this fails.

        Raises:
            SnapshotError: there is no such slot.
            StorageError: a snapshot, this one or an earlier one, cannot be written.
        """

    @abstractmethod
    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        """Let `read` read the snapshot of `step` from `slot`, which keeps it.

        Raises:
            SnapshotError: the slot does not hold `step`, or what it holds is damaged.
            StorageError: an earlier snapshot could not be written.
        """

    def fetch(self, slot: int, step: int) -> None:  # the default is to do nothing
        """Begin to bring `slot`, which holds `step`, near, as a `load` of it comes soon.

        Where there is nothing to gain by it, it does nothing. Errors are left to the `load`.
        """

    @abstractmethod
    def free(self, slot: int) -> None:
        """Forget what `slot` holds.

        Raises:
            SnapshotError: the slot is empty, or there is no such slot.
        """

    def flush(self) -> None:
        """Bring all that is alive to where it stays when the store is closed.

        Raises:
            StorageError: a snapshot cannot be written.
        """

    def abandon(self) -> None:
        """Remove what would be left behind, without waiting for anybody."""

    @abstractmethod
    def close(self) -> None:
        """Give back all that the store holds; it cannot be used afterwards.

        Raises:
            StorageError: a snapshot could not be written, and no call has said so yet.
        """

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that the store holds in memory for snapshots, in this process."""

    def hand_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        """Keep `state` itself as the snapshot of `step`, and give another state for it.

        The caller may go on reading `state` as if it had been lent.

        Raises:
            SnapshotError, StorageError: as for `save`.
        """
        raise self._does_not_exchange()

    def lend(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        """Let the caller read the snapshots in slots of the store themselves.

        They stay as they are until the caller saves, hands over, takes over or frees a snapshot, or
        is lent others.

        Args:
            places: slots and their steps, at least one.

        Returns:
            The snapshots, or the first ones if the store cannot lend as many at once.

        Raises:
            SnapshotError, StorageError: as for `load`.
        """
        raise self._does_not_exchange()

    def fills(self, slot: int) -> bool:
        """Whether `lend_to_fill` can lend the slot."""
        return False

    def lend_to_fill(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        """Let the caller make snapshots in the memory of slots, before any other call.

        Args:
            places: slots that the store `fills`, and the steps that they hold from now on.
        """
        raise self._does_not_exchange()

    def take_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        """Give the snapshot of `step` itself, and keep the memory of `state`; free the slot.

        Raises:
            SnapshotError: as for `load`; then the slot is not freed.
        """
        raise self._does_not_exchange()

    def _does_not_exchange(self) -> Exception:
        return NotImplementedError(f"{type(self).__name__} does not exchange states")


@runtime_checkable
class Sized(Protocol):
    """A buffer that knows its size."""

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        ...


def bytes_of(buffers: Sequence[object]) -> int:
    """Bytes of all buffers that know their sizes."""
    return sum(buffer.nbytes for buffer in buffers if isinstance(buffer, Sized))
