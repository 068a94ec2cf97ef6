# shellcheck shell=bash
# Polaris: modules, Python, node-local disk. Read after common.sh, from the repository's root.
#
# Once, on a login node:
#     module use /soft/modulefiles; module load conda cray-hdf5-parallel; conda activate base
#     python -m venv --system-site-packages .venv
#     .venv/bin/pip install .
# Any h5py will do; one on the parallel HDF5 of the module comes by
#     HDF5_MPI=ON CC=cc HDF5_DIR=$HDF5_DIR .venv/bin/pip install --no-binary=h5py h5py

if [[ -d /soft/modulefiles ]] && type module &>/dev/null; then
    module use /soft/modulefiles
    module load conda cray-hdf5-parallel
fi

# shellcheck disable=SC2034  # the scripts use it
NNODES=$(sort -u "$PBS_NODEFILE" | wc -l)
# Working snapshots go to the SSD of each node, which is wiped between jobs; restart data does not.
# shellcheck disable=SC2034  # the scripts use it
SNAPSHOTS=()
if [[ -d /local/scratch ]] && usable_on_every_node /local/scratch; then
    # shellcheck disable=SC2034  # the scripts use it
    SNAPSHOTS=(-s snapshots.store=hdf5 -s snapshots.directory=/local/scratch)
fi
