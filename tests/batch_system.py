"""A small stand-in for PBS and Slurm, in which job scripts run as they are."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, _environment, output_of

JOBS = ROOT / "jobs"
CONFIG = """
[grid]
nx = 31
ny = 22
[initial]
amplitude = [1.0, 0.6]
[time]
steps = 400
[checkpointing]
snapshots = 5
[output]
plots = false
"""
# Takes PALS's options for those of the mpiexec that is here; `stop` holds the numbers of steps at
# which the next runs are asked to stop, as `qsig -s SIGUSR1` would.
MPIEXEC = """#!/bin/bash
[[ $1 != --version ]] || { echo "mpiexec version of a stand-in for PALS"; exit; }
(printf mpiexec; printf ' %q' "$@"; echo) >>"$STAND_INS/calls"
while (($#)); do
    case $1 in
        -n) ranks=$2; shift 2 ;;
        --ppn | --cpu-bind | --env) shift 2 ;;
        --depth=*) shift ;;
        *) break ;;
    esac
done
read -r first rest <"$STAND_INS/stop"
echo "$rest" >"$STAND_INS/stop"
signal=${first#*:}
[[ $first == *:* ]] || signal=usr1
before=()
[[ $1 != bash ]] || { before=("$1" "$2"); shift 2; } # a script that starts the command
[[ -z $first ]] || set -- "$1" "$DRIVER" "*:steps:${first%%:*}:$signal" -- "${@:4}"
[[ -z ${JOB_SIGNAL-} ]] || { sleep 1; kill -"$JOB_SIGNAL" "$PPID"; } &
unset PBS_NODEFILE # MPICH's would look for the nodes
@MPIEXEC@ -n "$ranks" "${before[@]}" "$@"
status=$?
exit "${MPIEXEC_STATUS:-$status}"
"""
SRUN = """#!/bin/bash
exec mpiexec -n 2 "$@"
"""
RECORD = """#!/bin/bash
(printf '%s' "${0##*/}"; printf ' %q' "$@"; echo) >>"$STAND_INS/calls"
[[ ! -e $STAND_INS/server-away ]] || { echo "qsub: cannot connect to server" >&2; exit 111; }
# a variable without a value is sent with the one that it has here
while (($#)); do
    [[ $1 == -v ]] && env -0 | grep -zE "^(${2//,/|})=" >"$STAND_INS/sent"
    shift
done
echo 2.server
"""
SQUEUE = """#!/bin/bash
echo "${TIME_LEFT:-30:00}"
"""
QSTAT = """#!/bin/bash
[[ $1 == -f ]] || { grep -qx "$1" "$STAND_INS/queue"; exit; }
[[ "$*" != *"-F json"* ]] || exec cat "$STAND_INS/job.json"
cat "$STAND_INS/job.txt"
"""
JOB = {
    "queue": "backfill-large",
    "project": "_pbs_project_default",
    "Account_Name": "MyProject",
    "stime": "Sat Nov 21 09:00:00 2099",
    "Resource_List": {"select": "2:system=polaris", "place": "scatter", "walltime": "00:30:00"},
}


class Cluster:
    """Stand-ins for the programs of a batch system, and the environment that it gives to a job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.stop = folder / "stop"
        self.stop.write_text("\n")
        (folder / "nodes").write_text("node1\nnode2\n")
        (folder / "config.toml").write_text(CONFIG)
        (folder / "job.json").write_text(json.dumps({"Jobs": {"1.server": JOB}}))
        mpiexec = shutil.which("mpiexec")
        assert mpiexec is not None
        programs = {"mpiexec": MPIEXEC.replace("@MPIEXEC@", mpiexec), "srun": SRUN, "qstat": QSTAT}
        programs |= {"qsub": RECORD, "scontrol": RECORD, "squeue": SQUEUE}
        (folder / "queue").write_text("")
        for name, text in programs.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.variables = {
            "STAND_INS": str(folder),
            "DRIVER": str(ROOT / "tests/faults/driver.py"),
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "PBS_NODEFILE": str(folder / "nodes"),
            "PBS_O_WORKDIR": str(ROOT),
            "PBS_JOBID": "1.server",
            "PBS_O_QUEUE": "prod",
            "RETRY_SECONDS": "0",
            "CONFIG": str(folder / "config.toml"),
            "OUTPUT": str(folder / "run"),
            "RANKS_PER_NODE": "1",
        }

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a job script; what it called is in `calls` afterwards."""
        self.calls.write_text("")
        job = {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "7"} if "slurm" in script else {}
        command = ["bash", str(JOBS / script)]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=_environment({**self.variables, **job, **variables}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stdout, stderr = output_of(process, script, timeout=120)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def called(self, program: str) -> list[list[str]]:
        """Words of all calls of a program."""
        lines = self.calls.read_text().splitlines()
        return [shlex.split(line)[1:] for line in lines if line.startswith(f"{program} ")]

    def sent(self) -> dict[str, str]:
        """Variables that the last submitted job gets."""
        items = (self.folder / "sent").read_text().split("\0")
        return dict(item.split("=", 1) for item in items if item)

    def summary(self, name: str = "run/summary.json") -> dict:
        return json.loads((self.folder / name).read_text())


def words_after(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == option]
