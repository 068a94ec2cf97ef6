"""Draws the rooms of the package and the arrows of its imports: docs/architecture.svg.

    python tools/draw_architecture.py [--check]

The arrows are the imports that the walk of tests/unit/test_architecture.py finds. One that others
lead to as well is left out: who can go from A to B by way of C gets no arrow from A to B. With
--check nothing is written; the exit code is 1 where the picture is not that of the imports.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/architecture.svg"
sys.path.insert(0, str(ROOT / "tests/unit"))

from test_architecture import HALVES, IMPORTS, part  # noqa: E402

# Where a room stands from west to east; how high follows from what it imports.
PLACES = {
    "__main__": 1.0, "commands": 1.0, "problem": 1.0, "checking": 1.0, "bridges": 2.0,
    "planning": 1.0, "assembly": 1.0, "inverse": 1.0, "equations": 1.0, "observing": 1.0,
    "restart": 1.9, "stepping": 1.0, "output": 2.8, "parallel": 0.72, "snapshots": 3.5,
    "config": 0.3, "checkpointing": 3.2, "errors": 0.3, "files": 2.5, "kernels": 1.2,
    "protocols": 2.1, "verification": 4.2, "learning": 3.7, "devices": 0.72,
}  # fmt: skip
COLOURS = ("#f6dfb8", "#cfe0f2", "#ececec")  # the two halves, and what belongs to neither
COLUMN, ROW, WIDTH, HEIGHT, MARGIN = 215, 58, 138, 30, 20
SIDEWAYS = 5  # from floors above this one far arrows leave a room by its side

Graph = dict[str, set[str]]


def arrows() -> Graph:
    """For each room those that it imports."""
    found: Graph = {name: set() for name in PLACES}
    for one in IMPORTS:
        if {part(one.source), part(one.inside or one.source)} <= PLACES.keys():
            found[part(one.source)].add(part(one.inside or one.source))
    return {room: others - {room} for room, others in found.items()}


def below(room: str, graph: Graph) -> set[str]:
    """All rooms that lie under this one."""
    return graph[room].union(*(below(other, graph) for other in graph[room]))


def direct(graph: Graph) -> Graph:
    """The arrows that no others stand for."""
    return {
        room: {other for other in targets if not any(other in below(o, graph) for o in targets)}
        for room, targets in graph.items()
    }


def level(room: str, graph: Graph) -> int:
    """Floor of a room: 0 where it imports none."""
    return max((level(other, graph) + 1 for other in graph[room]), default=0)


def picture() -> str:
    """The text of the picture."""
    graph = arrows()
    top = max(level(room, graph) for room in graph)
    centres = {
        room: (
            round(MARGIN + WIDTH / 2 + COLUMN * x),
            round(MARGIN + HEIGHT / 2 + ROW * (top - level(room, graph))),
        )
        for room, x in PLACES.items()
    }
    width = max(x for x, _ in centres.values()) + WIDTH // 2 + MARGIN
    height = max(y for _, y in centres.values()) + HEIGHT // 2 + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="15">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#444"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    reduced = direct(graph)
    for room in PLACES:
        targets = sorted(reduced[room], key=lambda other: centres[other][0])
        for number, target in enumerate(targets):
            (x0, y0), (x1, y1) = centres[room], centres[target]
            sideways = level(room, graph) > SIDEWAYS and abs(x1 - x0) > WIDTH / 2
            sources = sorted((r for r in PLACES if target in reduced[r]),
                             key=lambda other: centres[other][0])  # fmt: skip
            x1 += round(WIDTH * 0.7 * ((sources.index(room) + 0.5) / len(sources) - 0.5))
            y1 -= HEIGHT // 2 + 1
            bend = round((y1 - y0) * 0.45)
            if sideways:
                x0 += WIDTH // 2
                start = f"M{x0},{y0} C{x1},{y0}"
            else:
                x0 += round(WIDTH * 0.7 * ((number + 0.5) / len(targets) - 0.5))
                y0 += HEIGHT // 2
                start = f"M{x0},{y0} C{x0},{y0 + bend}"
            lines.append(
                f'<path d="{start} {x1},{y1 - bend} {x1},{y1}" '
                'fill="none" stroke="#444" stroke-width="1.3" marker-end="url(#head)"/>'
            )
    for room, (x, y) in centres.items():
        half = next((k for k, rooms in enumerate(HALVES) if room in rooms), 2)
        lines.append(
            f'<rect x="{x - WIDTH // 2}" y="{y - HEIGHT // 2}" width="{WIDTH}" height="{HEIGHT}" '
            f'rx="5" fill="{COLOURS[half]}" stroke="#444"/>'
        )
        lines.append(f'<text x="{x}" y="{y + 5}" text-anchor="middle">{room}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    """Write the picture, or see whether it is right."""
    if sys.argv[1:] == ["--check"]:
        if PICTURE.read_text(encoding="utf-8") == picture():
            return 0
        print("docs/architecture.svg is not of these imports: python tools/draw_architecture.py")
        return 1
    PICTURE.write_text(picture(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
