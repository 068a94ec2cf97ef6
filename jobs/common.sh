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
    local steps=0
    [[ ! -r $1/restart/progress ]] || read -r _ steps <"$1/restart/progress" || true
    echo "$steps"
}

# resources_of_job: qsub's options for a job like this one, as the server knows it.
resources_of_job() {
    qstat -f -F json "$PBS_JOBID" 2>/dev/null | "$python" -c '
import json, sys
(job,) = json.load(sys.stdin)["Jobs"].values()
wanted = job["Resource_List"]
for name in ("select", "place", "walltime", "filesystems"):
    if name in wanted:
        print(f"-l\n{name}={wanted[name]}")
print("-q\n" + job["queue"])
if "project" in job or "Account_Name" in job:
    print("-A\n" + job.get("Account_Name", job.get("project")))
' 2>/dev/null || true
}
