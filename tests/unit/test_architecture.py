"""Imports point one way: the two halves meet in the modules that compose a run, nowhere else."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "burgers_adjoint"

# For each folder, and each module of the top level, the others that it may import: the ones above
# it in this table, by way of which all imports point one way.
ALLOWED = {
    "errors": set(),
    "protocols": set(),
    "config": {"errors"},
    "checkpointing": {"errors", "protocols"},
    "snapshots": {"errors", "protocols", "checkpointing"},
    "kernels": {"errors"},
    "parallel": {"errors", "protocols", "config", "kernels"},
    "stepping": {"errors", "protocols", "kernels", "parallel"},
    "observing": {"errors", "kernels", "parallel", "stepping"},
    "equations": {"errors", "protocols", "kernels", "parallel", "stepping", "observing"},
    "verification": {"errors", "protocols"},
    "output": {"errors", "config", "checkpointing", "kernels", "parallel"},
    "inverse": {"errors", "kernels", "parallel", "equations", "observing", "output"},
    "restart": {"errors", "protocols", "config", "parallel"},
    "assembly": {
        "errors", "protocols", "config", "checkpointing", "snapshots", "kernels", "parallel",
        "stepping", "observing", "equations", "output", "inverse",
    },
    "planning": {
        "errors", "protocols", "checkpointing", "snapshots", "parallel", "stepping", "equations",
        "assembly",
    },
    "problem": {
        "errors", "protocols", "config", "checkpointing", "kernels", "parallel", "stepping",
        "observing", "equations", "output", "inverse", "assembly", "planning",
    },
    "__init__": set(),
    "__main__": {"commands"},
}  # fmt: skip
# What composes a run may import everything that lies below it.
COMPOSING = {"commands"}
# What knows no PDE and no MPI, and what knows no schedule and no store.
HALVES = ({"checkpointing", "snapshots"}, {"kernels", "parallel", "stepping", "equations"})

# For each foreign package the parts or modules that may import it, all others may not.
USERS = {
    "numba": {"kernels", "output.system"},
    "mpi4py": {
        "parallel", "inverse", "equations", "observing", "problem", "assembly", "planning",
        "commands", "output.system", "restart",
    },
    "h5py": {
        "equations.burgers.initial", "inverse", "commands", "snapshots.file_layout",
        "snapshots.hdf5_places", "output",
    },
    "petsc4py": {"output.system", "inverse.tao"},
    "matplotlib": {"output"},
    "rich": {"output"},
    "xxhash": {"snapshots"},
    "click": {"commands.line"},
    "msgspec": {"config", "output", "assembly", "commands", "restart"},
    "checkpoint_schedules": {"checkpointing.interop"},
    "psutil": {"parallel.memory", "output.system"},
}  # fmt: skip
# These cost a second to import, or may be absent: only where and when they are used.
LAZY = {"checkpoint_schedules", "matplotlib", "petsc4py", "rich"}
# Of another PDE's users, who have neither MPI nor Burgers, and of those who ask for help alone.
STANDARD_LIBRARY_ONLY = {"errors", "protocols", "checkpointing", "snapshots"}
FILES = {
    "snapshots.file_layout", "snapshots.file", "snapshots.shared", "snapshots.hdf5_places",
}  # fmt: skip
TOP_LEVEL = 6  # modules: the public door


@dataclass(frozen=True)
class Import:
    """One import: by module `source` (dotted, in the package), of module `target` (dotted)."""

    source: str
    target: str
    at_once: bool  # when the source is imported, not in a call

    @property
    def inside(self) -> str | None:
        """The target's name within the package."""
        name = self.target.removeprefix(f"{PACKAGE}.")
        return name if name != self.target else None


def modules() -> dict[str, Path]:
    folder = ROOT / PACKAGE
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path
        for path in folder.rglob("*.py")
    }


def imports() -> Iterator[Import]:
    known = modules()
    for source, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        late = {
            child
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
            for child in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    here = [PACKAGE, *source.split(".")][: -node.level]
                    base = ".".join([*here, *filter(None, [base])])
                # `from package import module` imports the module
                targets = [
                    f"{base}.{alias.name}"
                    if f"{base}.{alias.name}".removeprefix(f"{PACKAGE}.") in known
                    else base
                    for alias in node.names
                ]
            else:
                continue
            for target in targets:
                yield Import(source, target, node not in late)


IMPORTS = list(imports())


def part(module: str) -> str:
    return module.split(".")[0]


def test_walk_finds_what_is_there() -> None:
    assert Import("problem", "burgers_adjoint.equations.burgers.controls", True) in IMPORTS
    assert Import("config.reader", "burgers_adjoint.errors", True) in IMPORTS
    assert Import("equations.burgers.initial", "h5py", False) in IMPORTS
    assert any(one.target == "matplotlib.figure" and not one.at_once for one in IMPORTS)


def test_every_part_has_its_place() -> None:
    assert {part(module) for module in modules()} <= ALLOWED.keys() | COMPOSING
    top = [module for module, path in modules().items() if path.parent == ROOT / PACKAGE]
    assert len(top) <= TOP_LEVEL


def test_directions_are_in_order() -> None:
    order = list(ALLOWED)
    for place, (name, allowed) in enumerate(ALLOWED.items()):
        assert allowed <= {*order[:place]} or name == "__main__"


def test_parts_import_what_lies_below_them_only() -> None:
    wrong = [
        one
        for one in IMPORTS
        if one.inside
        and part(one.source) in ALLOWED
        and part(one.inside) not in ALLOWED[part(one.source)] | {part(one.source)}
    ]
    assert wrong == []


def test_halves_meet_only_in_modules_that_compose_a_run() -> None:
    seen: dict[str, set[str]] = {}
    for one in IMPORTS:
        if one.inside:
            seen.setdefault(one.source, set()).add(part(one.inside))
    both = {source for source, parts in seen.items() if all(parts & half for half in HALVES)}
    assert {part(source) for source in both} <= {"assembly", "planning", "problem", "commands"}
    assert "problem" in both


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {}
    for one in IMPORTS:
        if one.inside:
            graph.setdefault(one.source, set()).add(one.inside)
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("errors") < order.index("problem") < order.index("commands.line")


def test_picture_shows_these_imports() -> None:
    command = [sys.executable, "tools/draw_architecture.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert result.returncode == 0, result.stdout + result.stderr


def defined(body: list[ast.stmt], name: str) -> list[ast.stmt] | None:
    """The body of what is defined by this name, empty for a value; None where nothing is."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node.body
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(one, ast.Name) and one.id == name for one in targets):
            return []
    return None


def test_page_names_what_is_there() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rooms = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert rooms == {part(module) for module in modules()} - {"__init__"}
    places = set(re.findall(r"`([\w/]+\.py):([\w.]+)`", page))
    assert len(places) > 50
    for path, names in places:
        folder = ROOT if path.startswith("tests/") else ROOT / PACKAGE
        body: list[ast.stmt] | None = ast.parse((folder / path).read_text(encoding="utf-8")).body
        for name in names.split("."):
            assert body is not None
            body = defined(body, name)
        assert body is not None, f"{path} has no {names}"


def test_foreign_packages_stay_where_they_belong() -> None:
    wrong = [
        one
        for one in IMPORTS
        if (users := USERS.get(part(one.target))) is not None
        and not users & {one.source, part(one.source)}
    ]
    assert wrong == []


def test_checkpointing_half_needs_the_standard_library_only() -> None:
    wrong = [
        one
        for one in IMPORTS
        if part(one.source) in STANDARD_LIBRARY_ONLY
        and one.source not in FILES
        and part(one.target) not in sys.stdlib_module_names | {PACKAGE}
        and one.source not in USERS.get(part(one.target), ())
    ]
    assert wrong == []


def test_what_is_slow_or_optional_is_imported_when_used() -> None:
    assert [one for one in IMPORTS if one.at_once and part(one.target) in LAZY] == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("checkpointing.executor", {"numpy", "mpi4py", "h5py", "numba", "click", "msgspec"}),
        ("snapshots.memory", {"numpy", "mpi4py", "h5py", "numba", "click", "msgspec"}),
        ("commands.line", {"numpy", "mpi4py", "h5py", "numba", "matplotlib", "rich", "petsc4py"}),
        ("commands.run", {"matplotlib", "rich", "petsc4py"}),
    ],
)
def test_import_does_not_bring_along(module: str, absent: set[str]) -> None:
    code = f"import sys, {PACKAGE}.{module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert f"{PACKAGE}.{module}" in loaded
    assert loaded & absent == set()
