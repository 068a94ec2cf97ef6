"""All that talks MPI: who owns what, halos, reductions, failures."""
