"""PETSc with an assembled Jacobian; see `petsc_ts`."""

from benchmarks.peers.petsc_ts import make_assembled as make

__all__ = ["make"]
