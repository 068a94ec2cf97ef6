#!/bin/bash
# Shows each rank of a node the card that is its own, then becomes the command:
# mpiexec ... jobs/gpu_affinity.sh COMMAND...
#
# GPUS_PER_NODE: cards of a node (those that are visible, or that nvidia-smi lists, when not set).
# RANKS_PER_NODE: where there are more ranks than cards, neighbours share one.
# GPU_ORDER=reversed: the first rank takes the last card. On Polaris card 3 is next to the NUMA
# domain of the first cores, card 0 to that of the last ones (ALCF's user guide, device affinity).
set -uo pipefail

# Slurm's comes last: a batch script has it too, and so has an mpiexec that this script starts.
rank=${PALS_LOCAL_RANKID:-${PMI_LOCAL_RANK:-${OMPI_COMM_WORLD_LOCAL_RANK:-}}}
rank=${rank:-${MPI_LOCALRANKID:-${SLURM_LOCALID:-}}}
if [[ ! $rank =~ ^[0-9]+$ ]]; then
    echo "${0##*/}: no launcher says which rank of its node this is (PALS_LOCAL_RANKID," \
        "PMI_LOCAL_RANK, OMPI_COMM_WORLD_LOCAL_RANK, MPI_LOCALRANKID, SLURM_LOCALID):" \
        "start it by mpiexec or srun" >&2
    exit 2
fi

if [[ -n ${CUDA_VISIBLE_DEVICES-} ]]; then
    IFS=, read -ra cards <<<"$CUDA_VISIBLE_DEVICES"
else
    number=${GPUS_PER_NODE:-$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU ')}
    mapfile -t cards < <(seq 0 $((number - 1)))
fi
# Where there are none, the command says so in its own words.
if ((${#cards[@]} > 0)); then
    ranks=${RANKS_PER_NODE:-0}
    ((ranks > ${#cards[@]})) || ranks=${#cards[@]}
    place=$((rank % ranks * ${#cards[@]} / ranks))
    [[ ${GPU_ORDER-} != reversed ]] || place=$((${#cards[@]} - 1 - place))
    export CUDA_VISIBLE_DEVICES=${cards[place]}
fi
exec "$@"
