"""Schemes for the advection terms: one choice one file, of weights and their derivative."""
