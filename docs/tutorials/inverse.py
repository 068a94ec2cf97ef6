"""Recovers initial fields from noisy observations by SciPy's L-BFGS-B, on one rank."""

import h5py
import numpy as np
from scipy.optimize import minimize

import burgers_adjoint as ba


def main() -> None:
    """Print J, the steps of the search, and the errors of the first guess and of the last."""
    with ba.Problem(ba.load("inverse.toml")) as problem:
        guess = problem.controls()["initial"]

        def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
            J, g = problem.value_and_gradient({"initial": x.reshape(guess.shape)})
            return J, g["initial"].ravel()

        before, _ = fun(guess.ravel())
        found = minimize(fun, guess.ravel(), jac=True, method="L-BFGS-B", options={"gtol": 1.0})

    with h5py.File("seen.h5") as file:
        truth = np.stack([file["truth/initial/u"], file["truth/initial/v"]])
    print(f"J            {before:.6g} to {found.fun:.6g} in {found.nit} iterations")
    for name, field in (("first guess", guess), ("recovered", found.x.reshape(guess.shape))):
        print(f"{name:11}  error {np.linalg.norm(field - truth) / np.linalg.norm(truth):.3g}")


if __name__ == "__main__":
    main()
