"""Equations, one folder each."""
