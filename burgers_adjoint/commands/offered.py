"""The commands that the command line offers, with their arguments, options and help."""

from typing import Any

import click

from burgers_adjoint.commands.group import Commands
from burgers_adjoint.commands.request import Request

NAME = "burgers-adjoint"


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from burgers_adjoint.output.system import package_version

        click.echo(f"{NAME}, version {package_version()}")
        context.exit()


HELP = {"help_option_names": ["-h", "--help"]}


@click.group(
    cls=Commands,
    context_settings=HELP,
    options_metavar="",
    subcommand_metavar="[COMMAND] [CONFIG.toml] [OPTIONS]",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def commands() -> None:
    """Adjoint gradients of the 2D Burgers equation on any number of MPI ranks.

    Without a command it computes the gradient, without a configuration that of the published
    problem of Burgers.jl. Ranks come from the launcher: mpiexec -n 4 burgers-adjoint
    """


def _command(
    name: str, help_text: str, argument: str = "[CONFIG.toml]", of_a_file: bool = False
) -> None:
    required = not argument.startswith("[")
    resume = click.option(
        "--resume",
        type=click.Choice(["auto", "never"]),
        help="Go on with an interrupted run if there is one (auto), or discard it (never).",
    )

    wait = click.option(
        "--wait",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="SECONDS",
        help="Wait so long for another run to leave the output folder.",
    )
    overrides = click.option(
        "-s",
        "overrides",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Override one key of the configuration; a TOML value or a bare word. Repeatable.",
    )
    into_folder = click.option(
        "-o", "directory", metavar="DIR", help="Output folder, for output.directory."
    )
    into_file = click.option(
        "-o", "directory", metavar="FILE", help="What to write, in place of report.html in DIR."
    )
    runs = name in ("gradient", "forward", "check", "optimize", "uncertainty", "hessian", "resume")

    @commands.command(name, help=help_text, context_settings=HELP)
    @click.argument("config", required=required, metavar=argument)
    @(resume if name in ("gradient", "forward", "hessian") else lambda command: command)
    @(wait if runs else lambda command: command)
    @(overrides if not of_a_file else lambda command: command)
    @(into_folder if not of_a_file else into_file)
    @click.option("--json", metavar="FILE", help="Write the summary as JSON; - is standard output.")
    @click.option("--quiet", is_flag=True, help="Print errors only.")
    @click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
    def parsed(**arguments: Any) -> Request:
        if "DIR" not in argument and arguments["config"] in commands.commands:
            raise click.UsageError(
                f"the command comes first: {NAME} {arguments['config']} [CONFIG.toml] [OPTIONS]"
            )
        return Request(name, **{"overrides": (), **arguments})


_command("gradient", "Forward sweep, reverse sweep and gradient (the default).")
_command("forward", "The forward sweep alone.")
commands.commands["forward"].params.append(
    click.Option(
        ["--observe"],
        metavar="FILE",
        help="Observe the run, with noise, as [observations] says, into an HDF5 file.",
    )
)
_command("plan", "Predict steps, memory and time of all schedules and stores, without the run.")
commands.commands["plan"].params += [
    click.Option(["--draw"], metavar="FILE", help="Draw the schedule into a picture (.png, .pdf)."),
    click.Option(["--inside"], is_flag=True, help="Choose, by runs, what to keep of a step, too."),
    click.Option(["--write"], metavar="FILE", help="Write the configuration that --inside finds."),
]
_command("check", "Test the gradient; ends with 1 when a test fails.")
_command("resume", "Go on with the interrupted run of an output folder.", "DIR")
_command("optimize", "Recover controls from observations; ends with 1 when not converged.")
_command("uncertainty", "Tell how well observations determine the controls that a search finds.")
_command("hessian", "Multiply directions with the second derivative of the objective.")
_command("train", "Train the codec of snapshots.learned on runs like this one.")
_command("report", "Write a page of a run, finished or not: one HTML file.", "DIR", of_a_file=True)
_command("info", "Versions and the machine; with DIR, what that output folder holds.", "[DIR]")
commands.commands["info"].params.append(
    click.Option(
        ["--keys"],
        is_flag=True,
        help="All keys of a configuration: values, meanings, what is allowed; a TOML file.",
    )
)

_command("watch", "A live page of the run in an output folder, through kills and resumes.", "DIR")
_watched = commands.commands["watch"]
_watched.params = [one for one in _watched.params if one.name in ("config", "quiet", "debug")]
_watched.params += [
    click.Option(
        ["--port"],
        type=click.IntRange(0, 65535),
        metavar="PORT",
        help="Of 127.0.0.1, where the page is served; 8600 when not given, 0 for any free one.",
    ),
    click.Option(
        ["--socket"],
        metavar="PATH",
        help="Serve on a Unix socket instead, which is its owner's alone.",
    ),
]
