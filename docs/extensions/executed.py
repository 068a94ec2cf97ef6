"""The directive `executed`: runs a command while the site is built, and shows what it printed.

    ```{executed} mpiexec -n 2 burgers-adjoint forward -s time.steps=100
    ```

    ```{executed} python
    print("a script on standard input")
    ```

The commands of a page run in one scratch folder, in which the scripts beside the page, configs/ and
examples/ are found by their names. The option `exit` names an exit code that is expected in place
of 0. A command that fails is a warning, and `make docs` takes warnings for errors; `-D execute=0`
runs none.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from console import ROOT, Command, output_of
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

SCRATCH = ROOT / "docs/build/executed"


class Executed(SphinxDirective):
    """Shows a command and its output."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"exit": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        """Run the command, and return blocks of text: a script, and the console."""
        script = "\n".join(self.content)
        command = Command(self.arguments[0], script, self.options.get("exit", 0))
        page = Path(self.env.doc2path(self.env.docname))
        for word in command.line.split():
            if (page.parent / word).is_file():
                self.env.note_dependency(str(page.parent / word))
        text = "(not run)"
        if self.config.execute:
            try:
                text = output_of(command, page, SCRATCH / self.env.docname)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                raise self.error(str(error)) from None
        if script:
            return [self._block(script, "python"), self._block(text, "text")]
        return [self._block(f"$ {command.line}\n{text}", "console")]

    def _block(self, text: str, language: str) -> nodes.Element:
        block = nodes.literal_block(text, text, language=language)
        self.set_source_info(block)
        return block


def _begin(app: Any, env: Any, docname: str) -> None:
    """Let a page that is read anew begin with an empty folder."""
    if app.config.execute:
        shutil.rmtree(SCRATCH / docname, ignore_errors=True)


def setup(app: Any) -> dict[str, bool]:
    """Register the directive, and the value that a look at the pages alone sets to 0."""
    app.add_config_value("execute", True, "env", bool)
    app.add_directive("executed", Executed)
    app.connect("env-purge-doc", _begin)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
