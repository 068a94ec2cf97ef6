"""Which snapshots of a slow store are in a few fast buffers, and what moves when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Move(Enum):
    """A transfer between a buffer and the slow store."""

    WRITE = "write"
    READ = "read"


@dataclass(slots=True)
class Held:
    """A live snapshot.

    Attributes:
        step: whose start it is.
        buffer: where it is, None when it is in the slow store alone.
        stored: whether the slow store has it, or is about to.
    """

    step: int
    buffer: int | None
    stored: bool


Order = tuple[Move, int, int]
"""A move, the slot and the buffer."""


class Residency:
    """The rules of a store that writes behind and fetches ahead.

    A reversal uses the snapshot of the highest step first and that of the lowest last. So the
    lowest ones are written, ahead of time so that a buffer is always clean, and leave first; those
    that are freed before it comes to that are never written. The next one to be used is fetched as
    soon as there is a free buffer. All of it is a function of the calls, and of `ahead`: a planner
    can count the moves without making them.

    Attributes:
        buffers: number of buffers, at least 2.
        ahead: whether moves are made before they are needed. Where they are not, fewer snapshots
            are written: more of them are freed before their turn comes.
        lent: buffers that the caller is reading and that stay as they are, fewer than all.
        held: slot to what it holds.
        writes: moves to the slow store so far.
        reads: moves from it so far, those of `reads_waited` among them.
        reads_waited: reads that nobody saw coming.
    """

    def __init__(self, buffers: int, ahead: bool = True) -> None:
        self.buffers = buffers
        self.ahead = ahead
        self.lent: set[int] = set()
        self.held: dict[int, Held] = {}
        self.writes = self.reads = self.reads_waited = 0
        self._free = list(range(buffers))
        self._in: dict[int, int] = {}

    def save(self, slot: int, step: int) -> tuple[int, list[Order]]:
        """The buffer for a new snapshot, and the orders to give before it is filled."""
        if slot in self.held:
            self.free(slot)
        orders: list[Order] = []
        buffer = self._take(orders)
        self._put(slot, Held(step, buffer, False))
        return buffer, orders

    def load(self, slot: int) -> tuple[int, list[Order]]:
        """The buffer in which the snapshot is once the orders are carried out."""
        held = self.held[slot]
        if held.buffer is not None:
            return held.buffer, []
        self.reads_waited += 1
        orders: list[Order] = []
        return self._read(slot, held, orders), orders

    def fetch(self, slot: int) -> list[Order]:
        """Bring a snapshot near, where it is worth more than what it would replace."""
        held = self.held.get(slot)
        if held is None or held.buffer is not None or not self.ahead:
            return []
        if not self._free:
            victim = self.held[self._lowest()]
            if victim.step > held.step or not victim.stored:
                return []
        orders: list[Order] = []
        self._read(slot, held, orders)
        return orders

    def free(self, slot: int) -> None:
        """Forget a snapshot."""
        held = self.held.pop(slot)
        if held.buffer is not None:
            self._leave(held)

    def settle(self) -> list[Order]:
        """After every call: write ahead of need, so that a buffer is clean; fetch what is next."""
        orders: list[Order] = []
        if not self.ahead:
            return orders
        if not self._free and self._in:
            lowest = self._lowest()
            if not self.held[lowest].stored:
                self._write(lowest, orders)
        if self._free and len(self.held) > len(self._in):
            highest = max(self.held, key=lambda slot: self.held[slot].step)
            held = self.held[highest]
            if held.buffer is None:
                self._read(highest, held, orders)
        return orders

    def flush(self) -> list[Order]:
        """Write what the slow store does not have."""
        orders: list[Order] = []
        for slot in sorted(self.held):
            if not self.held[slot].stored:
                self._write(slot, orders)
        return orders

    def _lowest(self) -> int:
        """The slot whose buffer is the next to be used for something else."""
        slots = [slot for buffer, slot in self._in.items() if buffer not in self.lent]
        return min(slots, key=lambda slot: self.held[slot].step)

    def _take(self, orders: list[Order]) -> int:
        if not self._free:
            lowest = self._lowest()
            if not self.held[lowest].stored:
                self._write(lowest, orders)
            self._leave(self.held[lowest])
        return self._free.pop(0)

    def _put(self, slot: int, held: Held) -> None:
        assert held.buffer is not None
        self.held[slot] = held
        self._in[held.buffer] = slot

    def _leave(self, held: Held) -> None:
        assert held.buffer is not None
        del self._in[held.buffer]
        self._free.append(held.buffer)
        held.buffer = None

    def _write(self, slot: int, orders: list[Order]) -> None:
        held = self.held[slot]
        assert held.buffer is not None
        held.stored = True
        self.writes += 1
        orders.append((Move.WRITE, slot, held.buffer))

    def _read(self, slot: int, held: Held, orders: list[Order]) -> int:
        held.buffer = self._take(orders)
        self._put(slot, held)
        self.reads += 1
        orders.append((Move.READ, slot, held.buffer))
        return held.buffer
