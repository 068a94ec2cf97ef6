"""`check`: the tests of the configured problem's gradient, with a picture of the differences."""

from burgers_adjoint.checking.checked import checked
from burgers_adjoint.config import Config
from burgers_adjoint.output.check_file import write_checks
from burgers_adjoint.output.folder import prepare_directory
from burgers_adjoint.output.lossy_plot import plot_lossy
from burgers_adjoint.output.plots import plot_differences
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import CheckSummary
from burgers_adjoint.parallel.agreement import Comm
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.problem import Problem


def check(config: Config, comm: Comm, progress: Progress) -> CheckSummary:
    """Test the gradient of the configured problem; returns the summary on all ranks. Collective.

    What was found and the picture of the finite differences go to the output folder.
    """
    directory = prepare_directory(config, comm)
    with Problem(config, comm) as problem:
        found, curves = checked(problem.case, problem.checkpointing, progress)
    with agreed(comm):
        if comm.rank == 0:
            write_checks(directory, config.to_toml(), found, curves)
            if config.output.plots:
                plot_differences(directory / "differences.png", curves)
                if found.lossy:
                    plot_lossy(directory / "compression.png", found.lossy)
    return found
