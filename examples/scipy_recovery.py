"""L-BFGS-B of SciPy finds the initial field that ends in a given state.

python examples/scipy_recovery.py, or mpiexec -n 4 python examples/scipy_recovery.py
"""

import numpy as np
from scipy.optimize import minimize

import burgers_adjoint as ba

SECTIONS = {
    "grid": {"nx": 30, "ny": 24},
    "time": {"steps": 200},
    "gradient": {"controls": ["initial"]},
}


class Misfit:
    """J = half the sum of the squares of what the final state differs from a wanted one."""

    def __init__(self, wanted):
        self.wanted = wanted

    def value(self, state, step):
        return 0.5 * (state - self.wanted) ** 2

    def derivative(self, state, step):
        return state - self.wanted


with ba.Problem(SECTIONS) as truth:
    start = truth.controls()["initial"]
    _, wanted = list(truth.trajectory(every=10**6))[-1]

with ba.Problem(SECTIONS, objective=Misfit(wanted)) as problem:
    scipy_problem = problem.as_scipy()
    guess = 0.5 * scipy_problem.x0
    found = scipy_problem.drive(
        lambda f: minimize(f.fun, guess, jac=f.jac, method="L-BFGS-B", options={"maxiter": 40})
    )
    initial = problem.gather(scipy_problem.values(found.x)["initial"])
    whole = problem.gather(start)
    if initial is not None:
        before, after = (np.linalg.norm(field - whole) / np.linalg.norm(whole)
                         for field in (0.5 * whole, initial))  # fmt: skip
        print(f"{found.nit} iterations: J = {found.fun:.3g}, error {before:.3g} -> {after:.3g}")
