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
from mpi4py import MPI

ROOT = Path(__file__).parents[2]
PACKAGE = "burgers_adjoint"

# For each folder, and each module of the top level, the others that it may import: the ones above
# it in this table, by way of which all imports point one way.
ALLOWED = {
    "errors": set(),
    "protocols": set(),
    "files": {"errors"},
    "config": {"errors"},
    "checkpointing": {"errors", "protocols"},
    "snapshots": {"errors", "protocols", "checkpointing"},
    "learning": {"errors", "snapshots"},
    "kernels": {"errors", "files"},
    "parallel": {"errors", "protocols", "config", "kernels"},
    "devices": {"errors", "parallel"},
    "stepping": {"errors", "protocols", "kernels", "parallel", "devices"},
    "observing": {"errors", "kernels", "parallel", "stepping"},
    "equations": {
        "errors", "protocols", "files", "kernels", "parallel", "stepping", "observing",
    },
    "verification": {"errors", "protocols"},
    "output": {"errors", "files", "config", "checkpointing", "kernels", "parallel"},
    "inverse": {"errors", "files", "kernels", "parallel", "equations", "observing", "output"},
    "restart": {"errors", "protocols", "files", "config", "parallel"},
    "assembly": {
        "errors", "protocols", "files", "config", "checkpointing", "snapshots", "kernels",
        "parallel", "devices", "stepping", "observing", "equations", "output", "inverse",
    },
    "planning": {
        "errors", "protocols", "checkpointing", "snapshots", "parallel", "stepping", "equations",
        "assembly",
    },
    "second_order": {
        "errors", "config", "checkpointing", "snapshots", "parallel", "stepping", "observing",
        "equations", "inverse", "assembly", "planning",
    },
    "checking": {
        "errors", "protocols", "verification", "parallel", "stepping", "equations", "output",
        "assembly", "planning", "second_order",
    },
    "bridges": {"errors", "parallel", "stepping", "inverse", "assembly"},
    "problem": {
        "errors", "config", "parallel", "stepping", "equations", "output", "assembly", "planning",
        "second_order", "checking", "bridges",
    },
    "__init__": {"errors", "config", "problem"},
    "__main__": {"commands"},
}  # fmt: skip
# What composes a run may import everything that lies below it.
COMPOSING = {"commands"}
# What knows no PDE and no MPI, and what knows no schedule and no store.
HALVES = (
    {"checkpointing", "snapshots"},
    {"kernels", "parallel", "devices", "stepping", "equations"},
)

# For each foreign package the parts or modules that may import it, all others may not.
USERS = {
    "numba": {"kernels", "output.system"},
    "mpi4py": {"parallel"},
    "h5py": {"files.hdf5", "snapshots.file_layout", "snapshots.hdf5_places"},
    "petsc4py": {"output.system", "inverse.tao"},
    "jinja2": {"output.page"},
    "matplotlib": {"output"},
    "rich": {"output"},
    "xxhash": {"snapshots"},
    "click": {"commands.line", "commands.offered", "commands.group"},
    "msgspec": {"config", "output", "assembly", "commands", "restart"},
    "checkpoint_schedules": {"checkpointing.interop"},
    "jax": {"bridges.jax"},
    "torch": {"bridges.torch", "learning.network"},
    "psutil": {"parallel.memory", "output.system"},
    "cupy": {"devices.cuda"},
}  # fmt: skip
# These cost a second to import, or may be absent: only where and when they are used.
LAZY = {"checkpoint_schedules", "cupy", "jax", "jinja2", "matplotlib", "petsc4py", "rich", "torch"}
# Of another PDE's users, who have neither MPI nor Burgers, and of those who ask for help alone.
STANDARD_LIBRARY_ONLY = {"errors", "protocols", "checkpointing", "snapshots"}
FILES = {
    "snapshots.file_layout", "snapshots.file", "snapshots.shared", "snapshots.hdf5_places",
    "snapshots.block", "snapshots.block_file", "snapshots.compressed",
}  # fmt: skip
CODECS = "snapshots.codecs."  # of arrays
# Methods of communicators by which ranks talk, and what communicators are called.
TALK = r"i?(all)?(reduce|gather|scatter|toall)(v|_block)?|i?(bcast|barrier|(ex)?scan)|split.*|dup.*"
TALK += r"|i?(s|r|b)?(send|recv)(_init)?|sendrecv.*|abort|m?i?probe"
COMMUNICATORS = r"comm|node$|writers|world|MPI"
LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines
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
    assert Import("problem", "burgers_adjoint.assembly.twin", True) in IMPORTS
    assert Import("config.reader", "burgers_adjoint.errors", True) in IMPORTS
    assert Import("output.system", "psutil", False) in IMPORTS
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
    assert {part(source) for source in both} <= {
        "assembly", "planning", "second_order", "checking", "commands",
    }  # fmt: skip
    assert "assembly.runs" in both


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


def test_ranks_talk_to_each_other_in_one_folder() -> None:
    """Elsewhere a name says what is agreed; see parallel/agreement.py."""
    talk = {
        name
        for kind in (MPI.Comm, MPI.Intracomm)
        for name in vars(kind)
        if re.fullmatch(TALK, name, re.IGNORECASE)
    }
    assert {"bcast", "Allreduce", "Barrier", "Split_type", "Send", "Abort"} <= talk
    found = [
        f"{module}:{node.lineno}: {node.func.attr}"
        for module, path in modules().items()
        if part(module) != "parallel"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in talk
        and re.search(COMMUNICATORS, ast.unparse(node.func.value))
    ]
    assert not found


def test_files_are_renamed_in_one_place() -> None:
    renames = [
        module
        for module, path in modules().items()
        if re.search(r"os\.(replace|rename)\(|\.rename\(", path.read_text(encoding="utf-8"))
    ]
    # a lock is taken over by its own protocol
    assert renames == ["files.disk", "output.lock"]


def test_files_and_functions_are_short() -> None:
    long = []
    for module, path in modules().items():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > LONGEST_FILE:
            long.append(module)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                    long.append(f"{module}:{node.name}")
    assert not long


def test_checkpointing_half_needs_the_standard_library_only() -> None:
    wrong = [
        one
        for one in IMPORTS
        if part(one.source) in STANDARD_LIBRARY_ONLY
        and one.source not in FILES
        and not one.source.startswith(CODECS)
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
        ("commands.gradient", {"matplotlib", "rich", "petsc4py"}),
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
