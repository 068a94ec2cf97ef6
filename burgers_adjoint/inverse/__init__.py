"""Inverse problems: observations, and PETSc that recovers controls from them."""
