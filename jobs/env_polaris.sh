# shellcheck shell=bash
# Polaris: modules, Python, node-local disk. Read after common.sh, from the repository's root.
#
# Once, on a login node:
#     module use /soft/modulefiles; module load conda cray-hdf5-parallel; conda activate base
#     python -m venv --system-site-packages .venv
#     HDF5_MPI=ON CC=cc HDF5_DIR=$HDF5_DIR .venv/bin/pip install --no-binary=h5py h5py
#     .venv/bin/pip install .

if [[ -d /soft/modulefiles ]] && type module &>/dev/null; then
    module use /soft/modulefiles
    module load conda cray-hdf5-parallel
fi

NNODES=$(sort -u "$PBS_NODEFILE" | wc -l)
# The SSD of a node, which is wiped between jobs: for snapshots, never for restart data.
LOCAL_SCRATCH=/local/scratch
