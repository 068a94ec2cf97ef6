"""Durable state of a run: written while it goes on, read by the run that takes over."""
