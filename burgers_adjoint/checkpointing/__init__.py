"""Decides what to store and what to recompute; knows no model, no file and no other process."""
