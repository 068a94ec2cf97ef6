"""The table of the campaign: rows that several runs of it fill together."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

COLUMNS = {
    "fault": "fault",
    "phase": "phase",
    "trials": "trials",
    "resumed": "resumed, same bits",
    "refused": "refused clearly",
    "fell_back": "fell back",
    "wrong": "silently wrong or lost",
    "hung": "hung",
    "most_lost": "most steps lost at once",
    "most_repeated": "most steps repeated in a run",
    "seconds": "s to resume",
}


@dataclass
class Row:
    """What became of one fault in one phase.

    Attributes:
        most_lost: steps, forward and reverse, done since the last save when it struck; the most.
        most_repeated: forward steps of a run beyond those of its schedule, after all that struck
            it; the most.
        seconds: the longest time to resume, reading included.
        notes: what was seen of trials that must not be.
        missed: trials whose fault never struck, as the run did not come by; not among `trials`.
    """

    fault: str
    phase: str
    trials: int = 0
    resumed: int = 0
    refused: int = 0
    fell_back: int = 0
    wrong: int = 0
    hung: int = 0
    most_lost: int = 0
    most_repeated: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    missed: int = 0

    @property
    def bad(self) -> int:
        """Trials that must not be."""
        return self.wrong + self.hung

    @property
    def control(self) -> bool:
        """Whether the writer was broken: bad trials have to be."""
        return self.fault.startswith("negative control")

    def add(self, other: "Row") -> None:
        """Take in the trials of another row of the same fault and phase."""
        for name in ("trials", "resumed", "refused", "fell_back", "wrong", "hung", "missed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("most_lost", "most_repeated", "seconds"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        self.notes += other.notes


def read(path: Path) -> list[Row]:
    """Rows of a file that `write` has left; none when it is not there."""
    if not path.exists():
        return []
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


def merged(rows: Iterable[Row]) -> list[Row]:
    """One row per fault and phase."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = row.fault, row.phase
        found.setdefault(key, Row(*key)).add(row)
    return list(found.values())


def markdown(rows: Iterable[Row]) -> Iterator[str]:
    """The table's lines; it ends with what needs a word more."""
    rows = list(rows)
    yield f"| {' | '.join(COLUMNS.values())} |"
    yield "| --- " * len(COLUMNS) + "|"
    for row in rows:
        cells = [getattr(row, name) for name in COLUMNS]
        texts = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells]
        yield f"| {' | '.join(texts)} |"
    for row in rows:
        if row.missed:
            yield f"\n{row.fault}, {row.phase}: {row.missed} more whose fault never struck"
        for note in row.notes[:3] if row.bad and not row.control else []:
            yield f"\n{row.fault}, {row.phase}: {note}"
