"""When the job that this process belongs to ends, as its batch system knows."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import psutil

QSTAT_SECONDS = 20


def deadline(walltime: float | None, environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds since 1970 at which the run must have stopped; None when nothing says so.

    Args:
        walltime: seconds from the start of this process, which goes before all else.
        environment: of the process. Slurm tells the end; PBS is asked for it with qstat, as it
            leaves neither the start nor the walltime there.
    """
    if walltime is not None:
        return psutil.Process().create_time() + walltime
    try:
        if "SLURM_JOB_END_TIME" in environment:
            return float(environment["SLURM_JOB_END_TIME"])
        if "PBS_JOBID" in environment:
            return _pbs_end(environment["PBS_JOBID"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    return None


def _pbs_end(job: str) -> float:
    answer = subprocess.run(
        ["qstat", "-f", "-F", "json", job],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=QSTAT_SECONDS,
    )
    jobs: dict[str, Any] = json.loads(answer.stdout)["Jobs"]
    # The server may complete the name that it was asked for.
    (found,) = jobs.values()
    started = time.mktime(time.strptime(found["stime"]))
    hours, minutes, seconds = map(int, found["Resource_List"]["walltime"].split(":"))
    return started + 3600 * hours + 60 * minutes + seconds
