"""Scalar functions of a run: one term one file, any of them weighed and added up."""
