"""The sections of a configuration that say how a search for controls goes on."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class Tao(Struct, frozen=True, forbid_unknown_fields=True):
    """How PETSc's TAO minimises.

    Attributes:
        type: a first-order method, or one of Newton's with line search or trust region.
        hessian: what these take for the second derivative: all of it, or its Gauss-Newton part.
        gatol: converged when the gradient norm is below this.
        grtol: converged when the gradient norm is below this share of the objective.
        gttol: converged when the gradient norm is below this share of the first one.
        iterations: at most.
        evaluations: of objective and gradient, at most.
    """

    type: Literal[
        "blmvm", "bqnls", "bncg", "bqnkls", "bqnktr", "bqnktl", "lmvm", "cg", "owlqn",
        "nls", "ntr", "bnls", "bntr",
    ] = "blmvm"  # fmt: skip
    hessian: Literal["full", "gauss_newton"] = "gauss_newton"
    gatol: Annotated[float, Meta(ge=0)] = 1e-8
    grtol: Annotated[float, Meta(ge=0)] = 0.0
    gttol: Annotated[float, Meta(ge=0)] = 1e-3
    iterations: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 100
    evaluations: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1000


class Petsc(Struct, frozen=True, forbid_unknown_fields=True):
    """Options for PETSc.

    Attributes:
        options: as on PETSc's command line: "-tao_ls_type armijo".
    """

    options: str = ""
