"""A peer seen from the benchmark: a process that is asked for results and timings in turn."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.peers.case import load_result
from benchmarks.peers.environments import ROOT, UnavailableError

# The traces of an MPI job that this process is part of; a worker is a job of its own.
OF_A_JOB = ("OMPI_COMM_", "OMPI_FILE_", "OMPI_MCA_ess", "OMPI_MCA_orte", "PMIX_", "PMI_")


class Worker:
    """One peer's process, on one processor.

    Args:
        module: of the peer.
        python: interpreter that runs it.
        folder: where the case is, as `case.save_case` has left it; results go there too.
        cpu: the number of the processor.
        clock: a function of `time`.

    Attributes:
        name: with the version.
        variants: by "primal" and "gradient".

    Raises:
        UnavailableError: the process ends before the peer is made.
    """

    def __init__(
        self, module: str, python: Path, folder: Path, cpu: int, clock: str = "perf_counter"
    ) -> None:
        self._module, self._folder = module, folder
        # stays open as long as the process; `close` closes it
        self._errors = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_JOB)}
        kept.pop("PYTHONPATH", None)
        command = [
            str(python),
            "-m",
            "benchmarks.peers.worker",
            module,
            str(folder),
            str(cpu),
            clock,
        ]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=kept,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            answer = self._answer()
        except BaseException:
            self.close()
            raise
        self.name: str = answer["name"]
        self.variants: dict[str, list[str]] = answer["variants"]

    def result(self, what: str, variant: str) -> dict[str, np.ndarray]:
        """Compute once; returns what `case.load_result` finds."""
        path = self._folder / f"{self._module}.npz"
        self._ask(what=what, variant=variant, file=str(path))
        return load_result(path)

    def seconds(self, what: str, variant: str, repeats: int = 1) -> float:
        """Seconds that so many calls take together."""
        return float(self._ask(what=what, variant=variant, repeats=repeats)["seconds"])

    def _ask(self, **content: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer that does not come says why
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()[-1:]
            raise UnavailableError(f"{self._module}: ended with status {status}: {''.join(said)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
