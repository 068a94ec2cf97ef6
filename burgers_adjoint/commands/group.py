"""The commands of the command line together: what is said of them all, and of none of them."""

import click

from burgers_adjoint.errors import closest


class Commands(click.Group):
    """A group that names its commands on an unknown one, and the options that they share."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which ones there are."""
        if args[0] not in self.commands:
            names = list(self.commands)
            raise click.UsageError(
                f"unknown command {args[0]!r}{closest(args[0], names)}; there are "
                f"{', '.join(names)} "
                "(a configuration file is named with a dot or a slash in it)",
                context,
            )
        return super().resolve_command(context, args)

    def list_commands(self, context: click.Context) -> list[str]:
        """Name the commands in the order in which they were made, the default first."""
        return list(self.commands)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and the options, those of the commands among them."""
        super().format_options(context, formatter)
        records = [
            record
            for option in self.commands["gradient"].params
            if isinstance(option, click.Option) and (record := option.get_help_record(context))
        ]
        with formatter.section("Options of every command"):
            formatter.write_dl(records)
