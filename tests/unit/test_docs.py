"""The documentation: what pages run, what they point at, and what they say of themselves."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from burgers_adjoint.config.sections import Config

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(one for one in (ROOT / "docs").rglob("*.md") if "build" not in one.parts),
    ]
)
# Pages with what their commands begin with; the others take long, and `make docs` runs them.
TUTORIALS = {"gradient": "", "inverse-problem": "", "schedules": "python", "equation": "python"}


def extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/extensions/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorials_run(name: str, tmp_path: Path) -> None:
    if name == "inverse-problem":
        pytest.importorskip("scipy")
        pytest.importorskip("petsc4py")
    console = extension("console")
    page = ROOT / f"docs/tutorials/{name}.md"
    commands = [one for one in console.commands_of(page) if one.line.startswith(TUTORIALS[name])]
    assert commands
    for command in commands:
        console.output_of(command, page, tmp_path)


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    console = extension("console")
    page = tmp_path / "page.md"
    page.write_text(
        "```{executed} python\nprint('seen')\nraise SystemExit(3)\n```\n\n"
        "```{executed} exit 2\n:exit: 2\n```\n",
        encoding="utf-8",
    )
    fails, expected = console.commands_of(page)
    assert console.output_of(expected, page, tmp_path / "run") == ""
    with pytest.raises(RuntimeError, match=r"python: exit code 3\nseen"):
        console.output_of(fails, page, tmp_path / "run")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def script_of_the_readme() -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = readme.partition("## From Python\n\n")[2].partition("\nOn one rank")[0]
    return textwrap.dedent(script)


def test_first_scripts_have_at_most_12_lines() -> None:
    """The gradient by a field of one's own, L-BFGS-B, and a gradient through JAX."""
    pages = [ROOT / "docs/getting-started.md", ROOT / "docs/howto/other-packages.md"]
    commands = [one for page in pages for one in extension("console").commands_of(page)]
    scripts = [script_of_the_readme()]
    for calls in (".value_and_gradient({", "minimize(", "jax.value_and_grad("):
        scripts += [next(one.standard_input for one in commands if calls in one.standard_input)]
    for script in scripts:
        lines = [one for one in script.splitlines() if one.strip() and one.lstrip()[0] != "#"]
        assert len(lines) <= 12, script


def test_the_script_of_the_readme_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", script_of_the_readme()]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, timeout=50, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert len([float(word) for word in done.stdout.split()]) == 2


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_readme_names_every_command() -> None:
    from burgers_adjoint.commands.line import commands

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(\w+)[ `\]]", readme, re.MULTILINE))
    assert set(commands.commands) <= told


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project['version']}\nlicense: {project['license']}\n" in citation


def test_reference_has_every_key() -> None:
    pytest.importorskip("sphinx")
    page = "\n".join(extension("generated").configuration())
    sections = Config()
    for section in Config.__struct_fields__:
        for key in getattr(sections, section).__struct_fields__:
            row = rf"^\| `{section}\.{key}` \| (`.+`|not set) \| \S.* \| \S.* \|$"
            assert re.search(row, page, re.MULTILINE), f"{section}.{key}"


@pytest.mark.parametrize("there", [True, False])
def test_a_group_is_installed_where_a_module_is_missing(there: bool, tmp_path: Path) -> None:
    for folder in ("tools", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "tools/add-group", tmp_path / "tools")
    stand_in = tmp_path / ".venv/bin/python"
    stand_in.write_text(
        f'#!/bin/bash\nif [[ $1 == -c ]]; then exec {sys.executable} "$@"; fi\necho "$*" >>pip\n'
    )
    stand_in.chmod(0o755)
    modules = ["json"] if there else ["json", "surely_missing"]
    subprocess.run([tmp_path / "tools/add-group", "docs", *modules], check=True, timeout=50)
    calls = (tmp_path / "pip").read_text().split("\n")[:-1] if (tmp_path / "pip").exists() else []
    assert len(calls) == (0 if there else 1)
    assert all("--constraint .venv/constraints.txt --editable .[docs]" in call for call in calls)


def test_containers_copy_what_the_set_up_needs() -> None:
    docker = (ROOT / "containers/Dockerfile").read_text(encoding="utf-8")
    apptainer = (ROOT / "containers/burgers_adjoint.def").read_text(encoding="utf-8")
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", docker, re.MULTILINE)
              for word in line.split()}  # fmt: skip
    assert copied == set(re.findall(r"^    (\S+) /opt/burgers_adjoint/$", apptainer, re.MULTILINE))
    assert {"LICENSE", "README.md", "burgers_adjoint", "pyproject.toml", "tools"} <= copied
    assert all((ROOT / one).exists() for one in copied)
