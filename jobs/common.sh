# shellcheck shell=bash
# What all job scripts share; they read it from the repository's root.

python=${PYTHON:-$PWD/.venv/bin/python}
[[ -x $python ]] || python=$(command -v python3)

# A rank is one thread, whatever the batch system sets.
export OMP_NUM_THREADS=1
# A long path there breaks Open MPI's sockets.
export TMPDIR=/tmp

child=''
# The first signal asks the ranks to save and stop; the shell must outlive them.
trap '[[ -z $child ]] || kill -TERM "$child" 2>/dev/null' TERM
trap '[[ -z $child ]] || kill -USR1 "$child" 2>/dev/null' USR1

# run COMMAND...: in the background, so that signals are answered at once; returns its exit status.
run() {
    local status
    "$@" &
    child=$!
    # wait ends early when a trap has run
    until wait "$child" || ! kill -0 "$child" 2>/dev/null; do :; done
    wait "$child" && status=0 || status=$?
    child=''
    return "$status"
}

# launch RANKS RANKS_PER_NODE COMMAND...: COMMAND on that many ranks of the job's nodes.
launch() {
    local ranks=$1 per_node=$2 version
    shift 2
    version=$(mpiexec --version 2>&1) || true
    if [[ $version == *'Open MPI'* || $version == *OpenRTE* ]]; then
        local name value
        # The defaults of this repository for Open MPI, where the environment has none.
        while read -r _ name _ value; do
            [[ -n ${!name-} ]] || export "$name=$value"
        done < <(grep '^export ' tools/mpi-environment.mk)
        run mpiexec -n "$ranks" --hostfile "$PBS_NODEFILE" \
            --map-by "ppr:$per_node:node:OVERSUBSCRIBE" "$@"
    else
        run mpiexec -n "$ranks" --ppn "$per_node" --depth="${DEPTH:-1}" --cpu-bind depth \
            --env OMP_NUM_THREADS=1 "$@"
    fi
}

# steps_done OUTPUT: forward and reverse steps that a run has noted.
steps_done() {
    local folder steps=0
    folder=$("$python" -c '
import sys, tomllib
with open(sys.argv[1] + "/config.toml", "rb") as file:
    print(tomllib.load(file).get("restart", {}).get("directory", ""))
' "$1" 2>/dev/null) || folder=''
    folder=${folder:-$1/restart}
    [[ ! -r $folder/progress ]] || read -r _ steps <"$folder/progress" || true
    echo "$steps"
}

# resources_of_job: qsub's options for a job like this one, as the server knows it. The queue is the
# one that it was submitted to, which may have passed it on to another that takes no jobs itself.
resources_of_job() {
    "$python" -c '
import json, os, re, subprocess, sys
def ask(*options):
    return subprocess.run(["qstat", "-f", *options, sys.argv[1]], capture_output=True, text=True).stdout
try:
    (job,) = json.loads(ask("-F", "json"))["Jobs"].values()
    job |= {f"Resource_List.{name}": value for name, value in job["Resource_List"].items()}
except (ValueError, KeyError):
    # Some values of the environment are not quoted as JSON wants it. Long lines go on behind a tab.
    lines = re.sub(r"\n\t", "", ask()).splitlines()
    job = dict(line.strip().split(" = ", 1) for line in lines if " = " in line)
for name in ("select", "place", "walltime", "filesystems"):
    if f"Resource_List.{name}" in job:
        value = job[f"Resource_List.{name}"]
        print(f"-l\n{name}={value}")
queue = os.environ.get("PBS_O_QUEUE") or job.get("queue")
if queue:
    print("-q\n" + queue)
account = job.get("Account_Name") or job.get("project", "_pbs_project_default")
if account != "_pbs_project_default":
    print("-A\n" + account)
' "$PBS_JOBID" || true
}
