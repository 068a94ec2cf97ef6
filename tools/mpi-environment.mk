# Defaults of every mpiexec that this checkout starts; what is already set in the environment wins.
# The Makefile includes this file, tests/conftest.py reads it: keep to lines `export NAME ?= value`.

# Open MPI refuses to run as root (the usual user of a container) and to start more ranks than cores.
export OMPI_ALLOW_RUN_AS_ROOT ?= 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM ?= 1
export OMPI_MCA_rmaps_base_oversubscribe ?= 1
# The same for Open MPI 5, whose launcher is PRRTE.
export PRTE_MCA_rmaps_default_mapping_policy ?= :oversubscribe
# Ranks that share a core must give it up while they wait, and two jobs must not pin the same core.
export OMPI_MCA_mpi_yield_when_idle ?= 1
export OMPI_MCA_hwloc_base_binding_policy ?= none
export PRTE_MCA_hwloc_default_binding_policy ?= none
# Many containers forbid reading another process's memory.
export OMPI_MCA_btl_vader_single_copy_mechanism ?= none
# Virtual machines and containers may lack the routes that it asks the kernel for unless told.
export OMPI_MCA_reachable ?= weighted
# A rank is one thread.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export NUMBA_NUM_THREADS ?= 1
# Packages in the home folder would come before Debian's, which fit each other.
export PYTHONNOUSERSITE ?= 1
