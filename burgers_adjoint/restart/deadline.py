"""When the job that this process belongs to ends, as its batch system knows."""

import json
import logging
import os
import re
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import psutil

logger = logging.getLogger(__name__)

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
    except (
        OSError,
        subprocess.SubprocessError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        logger.warning(
            "cannot find out when this job ends, so that the run will not stop before (%s: %s): "
            "give the seconds that it may take as restart.walltime",
            type(error).__name__,
            error,
        )
    return None


def _pbs_end(job: str) -> float:
    try:
        jobs: dict[str, Any] = json.loads(_qstat("-F", "json", job))["Jobs"]
        # The server may complete the name that it was asked for.
        (found,) = jobs.values()
        stime, walltime = found["stime"], found["Resource_List"]["walltime"]
    except (ValueError, KeyError, TypeError, AttributeError):
        # Some values of the job's environment are not quoted as JSON wants it. Long lines go on
        # behind a tab.
        lines = re.sub(r"\n\t", "", _qstat(job)).splitlines()
        found = dict(line.strip().split(" = ", 1) for line in lines if " = " in line)
        stime, walltime = found["stime"], found["Resource_List.walltime"]
    hours, minutes, seconds = map(int, walltime.split(":"))
    started = time.mktime(time.strptime(stime))
    return started + 3600 * hours + 60 * minutes + seconds


def _qstat(*arguments: str) -> str:
    answer = subprocess.run(
        ["qstat", "-f", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=QSTAT_SECONDS,
        text=True,
    )
    return answer.stdout
