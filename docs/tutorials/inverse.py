"""Recovers initial fields from noisy observations by SciPy's L-BFGS-B, on any number of ranks."""

import h5py
import numpy as np
from scipy.optimize import minimize

import burgers_adjoint as ba


def main() -> None:
    """Print J, the steps of the search, and the errors of the first guess and of the last."""
    with ba.Problem(ba.load("inverse.toml")) as problem:
        fields = problem.as_scipy()  # J and its gradient as functions of one vector
        before = problem.value()
        found = fields.drive(
            lambda f: minimize(f.fun, f.x0, jac=f.jac, method="L-BFGS-B", options={"gtol": 1.0})
        )
        guess = problem.gather(problem.controls()["initial"])
        recovered = problem.gather(fields.values(found.x)["initial"])
    if recovered is not None:  # on rank 0
        with h5py.File("seen.h5") as file:
            truth = np.stack([file["truth/initial/u"], file["truth/initial/v"]])
        print(f"J            {before:.6g} to {found.fun:.6g} in {found.nit} iterations")
        for name, field in (("first guess", guess), ("recovered", recovered)):
            print(f"{name:11}  error {np.linalg.norm(field - truth) / np.linalg.norm(truth):.3g}")


if __name__ == "__main__":
    main()
