"""The gradient of the final energy by your own initial field: arrays in, arrays out.

python examples/own_gradient.py, or mpiexec -n 4 python examples/own_gradient.py
"""

import numpy as np

import burgers_adjoint as ba

with ba.Problem({"grid": {"nx": 60, "ny": 50}, "time": {"steps": 100}}) as problem:
    x, y = problem.x, problem.y
    field = np.stack([np.exp(-(x**2) - (y / 2) ** 2), 0.5 * np.exp(-((x - 1) ** 2) - y**2)])
    J, g = problem.value_and_gradient({"initial": field, "viscosity": 0.02})
    whole = problem.gather(g["initial"])
    if whole is not None:
        print(f"J = {J:.15g}, dJ/dnu = {g['viscosity']:.15g}, dJ/du0 of shape {whole[0].shape}")
