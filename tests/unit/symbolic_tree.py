"""Parts of a step without numbers: what they read tells what they write, and runs are counted."""

from collections import Counter
from itertools import chain, combinations

from burgers_adjoint.checkpointing.call_tree import Part, Parts, Tape, Variables


class Symbol:
    """A variable that holds one integer, and says to be of some size."""

    def __init__(self, value: int, nbytes: int) -> None:
        self.value, self.nbytes = value, nbytes

    def copy(self) -> "Symbol":
        return Symbol(self.value, self.nbytes)

    def __setitem__(self, where: object, value: object) -> None:
        self.value = value.value if isinstance(value, Symbol) else hash(value)

    def tobytes(self) -> bytes:
        return str(self.value).encode()


class SymbolicPart(Part):
    """Writes a hash of what it reads; its adjoint wants exactly what it has read."""

    def __init__(self, name: str, reads: str, writes: str, tape_bytes: int) -> None:
        self.name, self.tape_bytes = name, tape_bytes
        self.reads, self.writes = frozenset(reads), frozenset(writes)
        self.runs: Counter[str] = Counter()

    def read(self, state: Variables) -> tuple[int, ...]:
        return tuple(state[name].value for name in sorted(self.reads))

    def write(self, state: Variables, values: tuple[int, ...], n: int) -> None:
        for name in sorted(self.writes):
            state[name][...] = (self.name, name, n, values)

    def forward(self, state: Variables, n: int) -> None:
        self.runs["forward"] += 1
        self.write(state, self.read(state), n)

    def record(self, state: Variables, n: int) -> Tape:
        self.runs["record"] += 1
        values = self.read(state)
        self.write(state, values, n)
        return [Symbol(hash(values), self.tape_bytes)]

    def adjoint(self, tape: Tape, cotangent: Variables, n: int) -> None:
        self.runs["adjoint"] += 1
        (taped,) = tape
        values = tuple(cotangent[name].value for name in sorted(self.reads | self.writes))
        for name in sorted(self.reads | self.writes):
            cotangent[name][...] = (self.name, name, n, taped.value, values)


def variables(sizes: dict[str, int]) -> dict[str, Symbol]:
    return {name: Symbol(number, size) for number, (name, size) in enumerate(sizes.items())}


SIZES = {"u": 100, "v": 40, "w": 7}


def small_tree() -> Parts:
    """Seven sites, three levels, and tapes that are smaller and larger than what is read."""
    substep = SymbolicPart("substep", "uv", "u", 90)
    mix = SymbolicPart("mix", "vw", "v", 400)
    block = Parts("block", [substep, mix], times=2)
    return Parts(
        "step",
        [
            SymbolicPart("advect", "uv", "uv", 30),
            Parts("diffuse", [block], times=3),
            SymbolicPart("react", "uw", "u", 250),
        ],
    )


def flat_tree() -> Parts:
    """Two parts in a row, no deeper."""
    return Parts("step", [SymbolicPart("a", "uv", "u", 50), SymbolicPart("b", "v", "v", 60)])


def choices(paths: list[str]) -> list[frozenset[str]]:
    """All of them."""
    every = chain.from_iterable(combinations(paths, k) for k in range(len(paths) + 1))
    return [frozenset(one) for one in every]
