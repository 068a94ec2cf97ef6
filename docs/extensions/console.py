"""Runs the commands that pages of the site show."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SECONDS = 300


class Command(NamedTuple):
    """What a page runs.

    Attributes:
        line: for bash.
        standard_input: a script that it reads.
        exit_code: that is expected.
    """

    line: str
    standard_input: str = ""
    exit_code: int = 0


def commands_of(page: Path) -> Iterator[Command]:
    """All commands of a page, in order."""
    block = r"^```\{executed\} (.+)\n(?::exit: (\d+)\n)?((?:(?!```).*\n)*)```$"
    for match in re.finditer(block, page.read_text(encoding="utf-8"), re.MULTILINE):
        yield Command(match[1], match[3].strip(), int(match[2] or 0))


def output_of(command: Command, page: Path, scratch: Path) -> str:
    """Run a command and return what it printed, standard error included.

    Args:
        command: one of the page's.
        page: its scripts are found by their names, as are the folders configs and examples.
        scratch: the folder to run in, of all commands of the page.

    Raises:
        RuntimeError: another exit code, with the output.
        TimeoutExpired: no end.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    beside = [path for path in page.parent.iterdir() if path.suffix in (".py", ".toml")]
    for path in (ROOT / "configs", ROOT / "examples", *beside):
        link = scratch / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    environment = os.environ | {
        "COLUMNS": "96",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "-c", command.line],
        cwd=scratch, env=environment, timeout=SECONDS, text=True, input=command.standard_input,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode != command.exit_code:
        raise RuntimeError(f"{command.line}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout.rstrip()
