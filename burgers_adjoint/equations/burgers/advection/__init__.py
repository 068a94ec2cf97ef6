"""Schemes for the advection terms: one choice one file, with its primal, tangent and adjoint."""
