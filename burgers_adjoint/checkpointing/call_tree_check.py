"""A dry run of one step that finds parts which do not do what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from burgers_adjoint.checkpointing.call_tree import Part, Site, Tape, TreeState, Variables
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.protocols import bytes_of


class Watched(Mapping[str, Any]):
    """Variables that remember which of them were asked for."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def dry_run(step: Site, state: TreeState, cotangent: Variables | None = None, n: int = 0) -> None:
    """Take one step part by part, forwards and recording, and compare with what parts say.

    Every part runs twice from the same state, the second time from no more than what it says it
    reads: all else that the step writes is spoilt before.

    Args:
        step: site of the whole step.
        state: at the start of step n; used up.
        cotangent: of the state, used up: adjoints are then tried, too.
        n: number of the step.

    Raises:
        ConfigError: a part, named by its path, reads or writes what it does not say, or takes a
            larger tape; or its forward run and the one that records disagree.
    """
    _run(step, state.variables, cotangent, step.part.writes, n)


def _run(
    site: Site, state: Variables, cotangent: Variables | None, written: frozenset[str], n: int
) -> None:
    if isinstance(site.part, Part):
        tape = _compare(site.path, site.part, state, written, n)
        if cotangent is not None:
            watched = Watched(cotangent)
            site.part.adjoint(tape, watched, n)
            _require_known(site.path, "adjoint", watched.asked.intersection(state), site.part)
        return
    for time in range(site.part.times):
        for inner in site.inner:
            try:
                _run(inner, state, cotangent, written, n)
            except ConfigError as error:
                if site.part.times == 1 or "(run " in str(error):
                    raise
                raise ConfigError(f"{error} (run {time + 1} of {site.part.times})") from None


def _compare(path: str, part: Part, state: Variables, written: frozenset[str], n: int) -> Tape:
    """Run one part twice, leave the state behind it, and return its tape."""
    known = part.reads | part.writes
    if unknown := sorted(known.difference(state)):
        verb = "reads" if unknown[0] in part.reads else "writes"
        raise ConfigError(f"{path} {verb} {unknown[0]}: the state has {', '.join(sorted(state))}")
    before = {name: value.copy() for name, value in state.items()}
    watched = Watched(state)
    part.forward(watched, n)
    _require_known(path, "forward run", watched.asked, part)
    changed = {name for name, value in before.items() if value.tobytes() != state[name].tobytes()}
    if silent := sorted(changed - part.writes):
        raise ConfigError(f"{path} changes {silent[0]}: it says to write {_listed(part.writes)}")
    after = {name: value.copy() for name, value in state.items()}
    for name, value in before.items():
        state[name][...] = float("nan") if name in written - part.reads else value
    watched = Watched(state)
    tape = part.record(watched, n)
    _require_known(path, "recording", watched.asked, part)
    _require_size(path, part, tape)
    differing = [
        name for name in sorted(part.writes) if state[name].tobytes() != after[name].tobytes()
    ]
    if differing:
        raise ConfigError(
            f"{path} leaves another {differing[0]} when it records than when it does not, or it "
            f"depends on more than the {_listed(part.reads)} that it says to read"
        )
    for name, value in after.items():
        state[name][...] = value
    return tape


def _require_known(path: str, run: str, asked: set[str], part: Part) -> None:
    if more := sorted(asked - part.reads - part.writes):
        raise ConfigError(
            f"the {run} of {path} asks for {more[0]}: it says to read {_listed(part.reads)} and to "
            f"write {_listed(part.writes)}"
        )


def _require_size(path: str, part: Part, tape: Tape) -> None:
    size = bytes_of(tape)
    if size > part.tape_bytes:
        raise ConfigError(
            f"the tape of {path} takes {size} bytes, more than the {part.tape_bytes} that it says"
        )


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
