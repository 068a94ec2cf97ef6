"""The directive `executed`: runs a command while the site is built, and shows what it printed.

    ```{executed} mpiexec -n 2 burgers-adjoint forward -s time.steps=100
    ```

Commands of all pages run in one scratch folder, docs/build/executed, so that one can read what an
earlier one of its page has written. A command that fails is a warning, and `make docs` takes
warnings for errors; `-D execute=0` runs none. The option `exit` names another code that is
expected. A script that the command names is found in the folder of its page and in examples/.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
SCRATCH = ROOT / "docs/build/executed"
SECONDS = 300


def output_of(command: str, expected: int = 0, page: Path = ROOT / "docs") -> str:
    """Run a command line and return what it printed, standard error included.

    Args:
        command: for bash.
        expected: the exit code.
        page: folder of the page; its scripts can be named as they are.

    Raises:
        RuntimeError: another exit code, or no end; with the output.
    """
    SCRATCH.mkdir(parents=True, exist_ok=True)
    for name in ("examples", "configs", "jobs"):
        link = SCRATCH / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    for script in page.glob("*.py"):
        link = SCRATCH / script.name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(script)
    environment = os.environ | {
        "COLUMNS": "96",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=SCRATCH, env=environment, timeout=SECONDS, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != expected:
        raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout.rstrip()


class Executed(SphinxDirective):
    """Shows a command and its output."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {"exit": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        """Run the command, and return one block of console text."""
        command = self.arguments[0]
        page = Path(self.env.doc2path(self.env.docname)).parent
        for script in page.glob("*.py"):
            self.env.note_dependency(str(script))
        try:
            expected = self.options.get("exit", 0)
            text = output_of(command, expected, page) if self.config.execute else "(not run)"
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            raise self.error(str(error)) from None
        shown = f"$ {command}\n{text}"
        block = nodes.literal_block(shown, shown, language="console")
        self.set_source_info(block)
        return [block]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive, and the value that a look at the pages alone sets to 0."""
    app.add_config_value("execute", True, "env", bool)
    app.add_directive("executed", Executed)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
