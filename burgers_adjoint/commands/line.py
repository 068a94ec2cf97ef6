"""The command line: what was asked for, and who prints.

The arguments are parsed before MPI is started, so that help is fast; all ranks parse the same ones
and come to the same result. MPI and everything that computes is imported when it is used.
"""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import click

from burgers_adjoint.commands.ending import end, failed, print_on
from burgers_adjoint.commands.interrupts import Interrupts
from burgers_adjoint.commands.launcher import launched, world
from burgers_adjoint.commands.offered import NAME, commands
from burgers_adjoint.commands.request import (
    Request,
    alone,
    prepare,
    report,
    require_there,
    require_writable,
)
from burgers_adjoint.errors import ConfigError, agreed_error


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0, or the code that belongs to the error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever has started this
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w")))
    request, message, code = parse(sys.argv[1:] if arguments is None else arguments)
    if request is not None:
        end(*_run(request))
    # Every rank has the same to say about its arguments. A rank alone need not start MPI for it.
    comm = world() if launched() else None
    if comm is None or comm.rank == 0:
        print_on(message, sys.stderr if code else sys.stdout)
    end(comm, code)


def parse(arguments: Sequence[str]) -> tuple[Request | None, str, int]:
    """Parse arguments into a request, or into a text to print and the exit code.

    With no command, or where the first argument is an option or names a file, it is `gradient`.
    """
    arguments = list(arguments)
    first = arguments[0] if arguments else "-"
    if first not in ("-h", "--help", "--version") and (
        first.startswith("-") or "." in first or "/" in first
    ):
        arguments.insert(0, "gradient")
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            result = commands.main(arguments, NAME, standalone_mode=False)
    except click.ClickException as error:
        hint = f"\n{NAME} -h shows commands and options" if error.exit_code == 2 else ""
        return None, f"error: {error.format_message()}{hint}", error.exit_code
    return (result, "", 0) if isinstance(result, Request) else (None, text.getvalue().rstrip(), 0)


@contextlib.contextmanager
def _errors_only(quiet: bool) -> Iterator[None]:
    """Log nothing below an error, until the end: what calls `main` has its own logging after it."""
    before = logging.root.manager.disable
    if quiet:
        logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _run(request: Request) -> tuple[Any, int]:
    """Carry out a request; returns the communicator and the exit code that all ranks agree on."""
    comm = world()
    with _errors_only(request.quiet), Interrupts() as interrupts:
        try:
            return comm, _COMMANDS[request.command](request, comm)
        except BaseException as error:
            interrupts.settle()
            cause = KeyboardInterrupt() if interrupts.came else error
            return comm, failed(comm, cause, request.debug)


def _sweep(request: Request, comm: Any) -> int:
    config = prepare(request, comm)
    with alone(request, comm, config):
        return _sweep_alone(request, comm, config)


def _sweep_alone(request: Request, comm: Any, config: Any) -> int:
    from burgers_adjoint.output.progress import Progress
    from burgers_adjoint.output.tables import print_summary

    if request.resume is not None and not config.restart.enabled:
        raise agreed_error(
            ConfigError("--resume needs restart data: set restart.enabled = true from the start")
        )
    resume: Any = request.resume or "refuse"
    with Progress(comm.rank == 0 and not request.quiet) as progress:
        if request.command == "forward":
            from burgers_adjoint.commands.forward import forward

            summary = forward(config, comm, progress, request.observe, resume)
        elif request.command == "hessian":
            from burgers_adjoint.commands.hessian import hessian

            summary = hessian(config, comm, progress, resume)
        else:
            from burgers_adjoint.commands.gradient import gradient

            summary = gradient(config, comm, progress, resume)
    report(request, comm, summary, print_summary)
    return 1 if summary.dumps and summary.dumps.lost else 0


def _resume(request: Request, comm: Any) -> int:
    """Go on with the command that has left restart data, or controls, in the folder."""
    from burgers_adjoint.parallel.agreement import from_rank

    folder = os.path.expanduser(request.config or "")
    configuration = os.path.join(folder, "config.toml")
    require_there(comm, folder, "not the output folder of a run")
    if not from_rank(comm, os.path.isfile(configuration)):
        raise agreed_error(
            ConfigError(f"{folder} is not the output folder of a run: it has no config.toml")
        )
    request = replace(request, config=configuration, directory=request.directory or folder)
    config = prepare(request, comm)
    with alone(request, comm, config):
        return _resume_alone(request, comm, config)


def _resume_alone(request: Request, comm: Any, config: Any) -> int:
    from burgers_adjoint.commands.best import controls_are_of
    from burgers_adjoint.commands.identity import folder_of
    from burgers_adjoint.output.results import BEST
    from burgers_adjoint.restart.reader import shared_manifests

    manifests, _ = shared_manifests(comm, folder_of(config)) if config.restart.enabled else ([], [])
    if not manifests and controls_are_of(config, comm):
        return _optimize_alone(request, comm, config, resumed=True)
    if not config.restart.enabled:
        raise agreed_error(
            ConfigError(
                f"the run in {config.output.directory} kept no restart data: restart.enabled = "
                f"false; nor is there a {BEST} of an optimize"
            )
        )
    command = manifests[0].command if manifests else "gradient"
    return _sweep_alone(replace(request, command=command, resume="must"), comm, config)


def _plan(request: Request, comm: Any) -> int:
    from burgers_adjoint.commands.plan import plan
    from burgers_adjoint.output.tables import print_plan

    config = prepare(request, comm)
    if request.write and not request.inside:
        raise agreed_error(ConfigError("--write needs --inside: it writes what that finds"))
    require_writable(request, comm)
    if request.inside:
        from burgers_adjoint.commands.plan_inside import plan_inside

        found, text = plan_inside(config, comm, request.draw, request.write)
        report(request, comm, found, lambda _, stream, terminal: print(text, file=stream))
    else:
        report(request, comm, plan(config, comm, request.draw), print_plan)
    return 0


def _check(request: Request, comm: Any) -> int:
    from burgers_adjoint.commands.check import check
    from burgers_adjoint.output.tables import print_checks

    config = prepare(request, comm)
    with alone(request, comm, config):
        summary = _shown(request, comm, config, check)
        report(request, comm, summary, print_checks)
    return 0 if summary.passed else 1


def _shown(request: Request, comm: Any, config: Any, command: Callable[..., Any]) -> Any:
    """What a command that writes no dumps has found, its progress shown meanwhile."""
    from burgers_adjoint.output.progress import Progress

    with Progress(comm.rank == 0 and not request.quiet) as progress:
        if every := config.output.every:
            progress.say(
                f"output.every = {every}: {request.command} writes no dumps, gradient and forward "
                "do"
            )
        return command(config, comm, progress)


def _optimize(request: Request, comm: Any) -> int:
    config = prepare(request, comm)
    with alone(request, comm, config):
        return _optimize_alone(request, comm, config)


def _optimize_alone(request: Request, comm: Any, config: Any, resumed: bool = False) -> int:
    from burgers_adjoint.commands.best import summary_when_converged
    from burgers_adjoint.commands.optimize import optimize
    from burgers_adjoint.output.tables import print_summary

    summary = summary_when_converged(config, comm) if resumed else None
    if summary is None:
        summary = _shown(request, comm, config, optimize)
    report(request, comm, summary, print_summary)
    return 0 if summary.optimize and summary.optimize.converged else 1


def _uncertainty(request: Request, comm: Any) -> int:
    from burgers_adjoint.commands.uncertainty import uncertainty
    from burgers_adjoint.output.tables import print_uncertainty

    config = prepare(request, comm)
    with alone(request, comm, config):
        summary = _shown(request, comm, config, uncertainty)
        report(request, comm, summary, print_uncertainty)
    return 0 if summary.converged else 1


def _train(request: Request, comm: Any) -> int:
    from burgers_adjoint.commands.train import train
    from burgers_adjoint.output.tables import print_training

    require_writable(request, comm)
    report(request, comm, _shown(request, comm, prepare(request, comm), train), print_training)
    return 0


def _info(request: Request, comm: Any) -> int:
    from burgers_adjoint.commands.info import info

    return info(request, comm)


def _watch(request: Request, comm: Any) -> int:
    from burgers_adjoint.commands.watch import watch

    return watch(request, comm)


def _report(request: Request, comm: Any) -> int:
    from burgers_adjoint.output.tables import print_page
    from burgers_adjoint.parallel.agreement import from_rank
    from burgers_adjoint.parallel.failure import agreed

    require_writable(request, comm)
    made = None
    with agreed(comm):
        if comm.rank == 0:
            from burgers_adjoint.commands.report import write_report

            folder = os.path.expanduser(request.config or "")
            made = write_report(folder, request.directory)
    report(request, comm, from_rank(comm, made), print_page)
    return 0


_COMMANDS: dict[str, Callable[[Request, Any], int]] = {
    "gradient": _sweep,
    "forward": _sweep,
    "plan": _plan,
    "check": _check,
    "optimize": _optimize,
    "uncertainty": _uncertainty,
    "hessian": _sweep,
    "train": _train,
    "resume": _resume,
    "report": _report,
    "info": _info,
    "watch": _watch,
}
