# shellcheck shell=bash
# What all job scripts share; they read it from the repository's root.

python=${PYTHON:-$PWD/.venv/bin/python}
[[ -x $python ]] || python=$(command -v python3)

# A rank is one thread, whatever the batch system sets.
export OMP_NUM_THREADS=1
# A long path there breaks Open MPI's sockets.
export TMPDIR=/tmp

child=''
signalled_at=''
# PBS and Slurm signal launcher and ranks themselves, and a second signal makes mpiexec give up: the
# shell only outlives it, and remembers that the job was cancelled, or that its time was over.
trap 'signalled_at=${signalled_at:-$EPOCHSECONDS}' TERM INT
# Slurm's --signal=B:USR1@... asks this shell alone.
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

# restart_folder OUTPUT: where a run keeps its restart data.
restart_folder() {
    local folder
    folder=$("$python" -c '
import sys, tomllib
with open(sys.argv[1] + "/config.toml", "rb") as file:
    print(tomllib.load(file).get("restart", {}).get("directory", ""))
' "$1" 2>/dev/null) || folder=''
    echo "${folder:-$1/restart}"
}

# steps_saved FOLDER: forward and reverse steps that the newest whole generation of restart data has.
steps_saved() {
    "$python" -c '
import json, pathlib, sys
steps = 0
for path in sorted(pathlib.Path(sys.argv[1]).glob("generation-*.json")):
    try:
        counts = json.loads(path.read_bytes())["manifest"]["counts"]
        steps = int(counts["forward_steps"] + counts["reverse_steps"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
print(steps)
' "$1" 2>/dev/null || echo 0
}

# finished FOLDER: whether restart data there is of a run whose results are written.
finished() {
    "$python" -c '
import json, pathlib, sys
newest = max(pathlib.Path(sys.argv[1]).glob("generation-*.json"))
sys.exit(json.loads(newest.read_bytes())["manifest"]["phase"] != "done")
' "$1" 2>/dev/null
}

# seconds_left: to the end of the job, as its batch system says; nothing when it does not answer.
seconds_left() {
    PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} "$python" -c '
from burgers_adjoint.restart.deadline import ask
left = ask()
if left < 1e9:
    print(int(left))
' 2>/dev/null || true
}

# chain_begins OUTPUT: to be called before the run.
chain_begins() {
    mkdir -p "$1"
    output=$1 began=$EPOCHSECONDS
    before=$(steps_saved "$(restart_folder "$1")")
    local left
    left=$(seconds_left)
    job_end=${left:+$((EPOCHSECONDS + left))}
}

# goes_on STATUS WHO: whether the chain goes on after a run that ended so; leaves the status that the
# script should end with in `verdict`, and says why where the run is not done.
goes_on() {
    local status=$1 folder after stopped='' stopped_at='' ended=$EPOCHSECONDS
    folder=$(restart_folder "$output")
    [[ ! -r $folder/stopped ]] || read -r stopped stopped_at <"$folder/stopped" || true
    if ((${stopped_at:-0} < began)); then
        stopped=''  # of an earlier run
    else
        # The next run leaves so much time to the launcher's way out.
        local taken=$((ended - stopped_at + 1)) most=0
        [[ ! -r $folder/way-out ]] || read -r most <"$folder/way-out" || true
        ((taken <= most)) || echo "$taken" >"$folder/way-out" || true
    fi
    after=$(steps_saved "$folder")
    # srun returns 0 when a launch was aborted, other launchers when they were signalled.
    if ((status == 0)) && ! { finished "$folder" && [[ -s $output/results.h5 ]]; }; then
        status=75
        if [[ -z $stopped ]]; then
            echo "the launcher returned 0, but $output has no results of a finished run" >&2
            status=1
        fi
    fi
    echo "$2: exit status $status, steps $before to $after"
    # shellcheck disable=SC2034  # the scripts use it
    verdict=$status
    case $status in 0 | 2 | 3 | 4) return 1 ;; esac
    # A clock that shows a few seconds less than the server's must not make a cancelled job of one
    # that was killed at the end of its time.
    local over=''
    [[ -z $job_end ]] || ((${signalled_at:-$ended} < job_end - 5)) || over=1
    if [[ -z $over && (-n $signalled_at || $stopped == SIGTERM || $stopped == SIGINT) ]]; then
        echo "the chain ends: this job was cancelled${stopped:+, with everything saved}" \
            "(one that was requeued starts again by itself)" >&2
        return 1
    elif ((status != 75)) && [[ -z $over ]]; then
        return 1
    elif ((after <= before)); then
        echo "the chain ends: the run did not advance" >&2
        # shellcheck disable=SC2034  # the scripts use it
        verdict=1
        return 1
    fi
    ((status == 75)) || echo "the job was killed at the end of its time; what was saved goes on"
}

# usable_on_every_node FOLDER: whether each of the job's nodes can write to a folder of its own.
usable_on_every_node() {
    # shellcheck disable=SC2016  # each node's shell is to read them
    launch "$NNODES" 1 sh -c '
        file=$1/.usable-$$
        { mkdir -p "$1" && : >"$file" && rm -f "$file"; } 2>/dev/null && exit
        echo "$1 cannot be written to on node $(hostname)" >&2
        exit 1' usable "$1"
}

# resources_of_job: qsub's options for a job like this one, as the server knows it. The queue is the
# one that it was submitted to, which may have passed it on to another that takes no jobs itself.
# Variables go by their names alone: qsub takes the values from here, whatever is in them.
resources_of_job() {
    "$python" -c '
import json, os, re, subprocess, sys
def ask(*options):
    try:
        return subprocess.run(["qstat", "-f", *options, sys.argv[1]], capture_output=True, text=True).stdout
    except OSError:
        return ""
try:
    (job,) = json.loads(ask("-F", "json"))["Jobs"].values()
    job |= {f"Resource_List.{name}": value for name, value in job["Resource_List"].items()}
    given = list(job.get("Variable_List", {}))
except (ValueError, KeyError):
    # Some values of the environment are not quoted as JSON wants it. Long lines go on behind a tab.
    lines = re.sub(r"\n\t", "", ask()).splitlines()
    job = dict(line.strip().split(" = ", 1) for line in lines if " = " in line)
    given = re.findall(r"(?:^|,)(\w+)=", job.get("Variable_List", ""))
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
if "Job_Name" in job:
    print("-N\n" + job["Job_Name"])
names = dict.fromkeys([*sys.argv[2:], *(name for name in given if not name.startswith("PBS_"))])
print("-v\n" + ",".join(name for name in names if name in os.environ))
' "$PBS_JOBID" "$@" || true
}

# submit_next SCRIPT NAME...: puts the next job of a PBS chain into the queue, with the variables so
# named; not where an earlier run of this very job has done so.
submit_next() {
    local script=$1 note=$output/successor next='' job='' resources attempt
    shift
    [[ ! -r $note ]] || read -r job next <"$note" || true
    if [[ $job == "$PBS_JOBID" && -n $next ]] && qstat "$next" &>/dev/null; then
        echo "not submitted again: $next is in the queue already and goes on"
        return 0
    fi
    mapfile -t resources < <(resources_of_job "$@")
    for attempt in 1 2 3; do
        if next=$(qsub "${resources[@]}" -W "depend=afterany:$PBS_JOBID" "$script"); then
            echo "$PBS_JOBID $next" >"$note"
            echo "$next"
            return 0
        fi
        ((attempt == 3)) || sleep "${RETRY_SECONDS:-2}"
    done
    echo "the next job could not be submitted; everything is saved, and it goes on with:" >&2
    echo "    cd $PWD && qsub$(printf ' %q' "${resources[@]}") $script" \
        "   # or: burgers-adjoint resume $output" >&2
    return 75
}
