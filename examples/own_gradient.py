"""The gradient of the final energy by your own initial field: arrays in, arrays out.

python examples/own_gradient.py, or mpiexec -n 4 python examples/own_gradient.py
"""

import numpy as np

import burgers_adjoint as ba

with ba.Problem({"grid": {"nx": 60, "ny": 50}, "time": {"steps": 100}}) as problem:
    x, y = problem.x, problem.y
    field = np.stack([np.exp(-(x**2) - (y / 2) ** 2), 0.5 * np.exp(-((x - 1) ** 2) - y**2)])
    m, h = {"initial": field, "viscosity": 0.02}, 1e-6
    J, g = problem.value_and_gradient(m)
    J1 = problem.value({name: value + h * value for name, value in m.items()})
    whole, direction = problem.gather(g["initial"]), problem.gather(field)
    if whole is not None:
        print(f"J = {J:.15g}, dJ/dnu = {g['viscosity']:.15g}, dJ/du0 of shape {whole[0].shape}")
        slope = np.sum(whole * direction) + 0.02 * g["viscosity"]
        print(f"all controls scaled: dJ = {slope:.9g}, by a difference {(J1 - J) / h:.9g}")
