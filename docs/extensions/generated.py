"""Directives that write reference pages from the program: `configuration` and `command-line`."""

from typing import Any

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from burgers_adjoint.commands.line import NAME, commands
from burgers_adjoint.config.keys import EXAMPLE, keys
from burgers_adjoint.config.messages import show
from burgers_adjoint.config.sections import Config


def configuration() -> list[str]:
    """All sections and keys as lines of Markdown: a table each."""
    lines = []
    for section, table in keys(Config()).items():
        about = (type(getattr(Config(), section)).__doc__ or "").partition("\n")[0]
        lines += [f"## {section}", "", about, ""]
        lines += ["| key | default | meaning | allowed |", "| --- | --- | --- | --- |"]
        for key, told in table.items():
            meaning, _, example = told["meaning"].partition(EXAMPLE)
            default = told["default"]
            shown = "not set" if default is None else f"`{show(default)}`"
            if example:
                meaning += f"; for example `{example}`"
            cells = (f"`{section}.{key}`", shown, _cell(meaning), _cell(told["allowed"]))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return lines


def _cell(text: str) -> str:
    for special in "\\|*<[{":
        text = text.replace(special, f"\\{special}")
    return text


def command_line() -> list[str]:
    """The help of all commands as lines of Markdown."""
    context = click.Context(commands, info_name=NAME, max_content_width=96, terminal_width=96)
    lines = ["```text", *context.get_help().splitlines(), "```", ""]
    for name, command in commands.commands.items():
        own = click.Context(
            command, parent=context, info_name=name, max_content_width=96, terminal_width=96
        )
        lines += [f"## {name}", "", "```text", *own.get_help().splitlines(), "```", ""]
    return lines


class Written(SphinxDirective):
    """Parses lines of Markdown that `write` makes where the directive stands."""

    @staticmethod
    def write() -> list[str]:
        """Return the lines."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse them with their headings."""
        lines = StringList(self.write(), source=self.name)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class Configuration(Written):
    """Every key of a configuration."""

    write = staticmethod(configuration)


class CommandLine(Written):
    """Every command and option."""

    write = staticmethod(command_line)


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("configuration", Configuration)
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
