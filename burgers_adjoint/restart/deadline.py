"""When the job that this process belongs to ends, as its batch system knows."""

import json
import logging
import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

logger = logging.getLogger(__name__)

QUERY_SECONDS = 20
# A batch system that does not answer is asked again, later and later; one that has answered now and
# then, as limits may be changed.
FIRST_RETRY_SECONDS = 5.0
RETRY_SECONDS = 300.0
REFRESH_SECONDS = 900.0
NO_LIMIT = ("UNLIMITED", "NOT_SET", "INVALID")
FAILURES = (
    OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, AttributeError,
)  # fmt: skip


class Deadline:
    """The end of the job. Time goes by a clock that nobody sets.

    Args:
        walltime: seconds from the start of this process, which goes before all else.
        environment: of the process; see `ask`. Asking goes on in a thread, as it may last.
    """

    def __init__(self, walltime: float | None, environment: Mapping[str, str] = os.environ) -> None:
        self._end = float("inf")
        if walltime is not None:
            self._end = time.monotonic() + walltime - _age()
        elif in_a_job(environment):
            asked = partial(self._keep_asking, environment)
            threading.Thread(target=asked, name="deadline", daemon=True).start()

    def seconds_left(self) -> float:
        """Seconds to the end; infinite as long as nothing says so."""
        return self._end - time.monotonic()

    def _keep_asking(self, environment: Mapping[str, str]) -> None:
        pause, told = FIRST_RETRY_SECONDS, False
        while True:
            try:
                left = ask(environment)
            except FAILURES as error:
                if not told and self._end == float("inf"):
                    logger.warning(
                        "cannot find out when this job ends, so that the run will not stop before "
                        "(%s: %s): asking again now and then; restart.walltime takes the seconds "
                        "that the run may take",
                        type(error).__name__,
                        error,
                    )
                told = True
                time.sleep(pause)
                pause = min(2 * pause, RETRY_SECONDS)
            else:
                self._end = time.monotonic() + left
                time.sleep(REFRESH_SECONDS)


def in_a_job(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a batch system has started this process."""
    return any(name in environment for name in ("SLURM_JOB_ID", "PBS_JOBID"))


def ask(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds to the end of the job by its batch system; infinite where it has no limit.

    Slurm is asked with squeue, since only newer versions leave the end in the environment; PBS with
    qstat, as it leaves neither the start nor the walltime there.

    Raises:
        OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, AttributeError: the
            batch system does not answer, or not as expected.
    """
    if "SLURM_JOB_ID" in environment:
        if "SLURM_JOB_END_TIME" in environment:
            return float(environment["SLURM_JOB_END_TIME"]) - time.time()
        return _slurm_left(environment["SLURM_JOB_ID"])
    return _pbs_end(environment["PBS_JOBID"]) - time.time()


def _age() -> float:
    """Seconds since the start of this process."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])  # from boot to the start
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _slurm_left(job: str) -> float:
    answer = _query("squeue", "-h", "-j", job, "-o", "%L").strip()
    if answer in NO_LIMIT:
        return float("inf")
    days, _, clock = answer.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return 86400 * int(days or 0) + seconds


def _pbs_end(job: str) -> float:
    try:
        jobs: dict[str, Any] = json.loads(_query("qstat", "-f", "-F", "json", job))["Jobs"]
        # The server may complete the name that it was asked for.
        (found,) = jobs.values()
        stime, walltime = found["stime"], found["Resource_List"]["walltime"]
    except (ValueError, KeyError, TypeError, AttributeError):
        # Some values of the job's environment are not quoted as JSON wants it. Long lines go on
        # behind a tab.
        lines = re.sub(r"\n\t", "", _query("qstat", "-f", job)).splitlines()
        found = dict(line.strip().split(" = ", 1) for line in lines if " = " in line)
        stime, walltime = found["stime"], found["Resource_List.walltime"]
    hours, minutes, seconds = map(int, walltime.split(":"))
    started = time.mktime(time.strptime(stime))
    return started + 3600 * hours + 60 * minutes + seconds


def _query(*command: str) -> str:
    answer = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=QUERY_SECONDS,
        text=True,
    )
    return answer.stdout
