"""Adjoint gradients of the 2D viscous Burgers equation on MPI ranks, in bounded memory."""
