"""Jobs of several ranks, started with the environment that this checkout gives to its own."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Open MPI, other MPIs by PMI or PMIx, and Slurm's srun.
LAUNCHERS = ("OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_STEP_ID")


def launched() -> bool:
    """Whether this process is one of the ranks of a job."""
    return any(name in os.environ for name in LAUNCHERS)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a job: what is set here wins over the defaults of the Makefile."""
    text = (ROOT / "tools/mpi-environment.mk").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"^export (\w+) \?= (.*)$", text, re.MULTILINE))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**defaults, **os.environ, "PYTHONPATH": path, **(extra or {})}


@contextmanager
def gradient_arguments(
    points: int, steps: int, keys: Mapping[str, object]
) -> Iterator[tuple[list[str], Path]]:
    """What Python runs a gradient on a square grid with, and a folder for it, removed afterwards.

    The summary goes to summary.json in the folder, all else to run. keys are further ones of the
    configuration, by "section.key".
    """
    disk = Path("output")
    disk.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=disk) as name:
        folder = Path(name)
        every = {
            "grid.nx": points,
            "grid.ny": points,
            "time.steps": steps,
            # far from both limits of stability, on any grid
            "time.dt": 0.02 / points,
            "output.plots": "false",
            **keys,
        }
        arguments = ["-m", "burgers_adjoint", "gradient", "-o", str(folder / "run"), "--quiet"]
        arguments += ["--json", str(folder / "summary.json")]
        for key, value in every.items():
            arguments += ["-s", f"{key}={value}"]
        yield arguments, folder


def mpiexec(
    n_ranks: int,
    arguments: Sequence[str],
    extra: Mapping[str, str] | None = None,
    capture: bool = False,
) -> str:
    """Run Python on so many ranks; returns what they printed when it is captured.

    Raises:
        RuntimeError: the job failed; with what it wrote to standard error.
    """
    command = ["mpiexec", "-n", str(n_ranks), sys.executable, *arguments]
    done = subprocess.run(
        command,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode:
        told = f"{done.stdout or ''}{done.stderr or ''}"
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}\n{told}")
    return done.stdout or ""
