"""The gradient of the final energy by a field of your own, on any number of ranks."""

import numpy as np

import burgers_adjoint as ba

SECTIONS = {
    "grid": {"nx": 96, "ny": 64, "x": [0.0, 3.0], "y": [0.0, 2.0]},
    "physics": {"viscosity": 0.02},
    "time": {"dt": 2e-3, "steps": 400},
    "checkpointing": {"snapshots": 12},
}


def two_vortices() -> np.ndarray:
    """Return (u, v) of two vortices on the whole grid, (2, ny, nx)."""
    x, y = np.linspace(0.0, 3.0, 96), np.linspace(0.0, 2.0, 64)[:, None]
    fields = np.zeros((2, 64, 96))
    for x0, y0, strength in ((1.0, 0.9, 1.0), (2.1, 1.2, -0.6)):
        bump = strength * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 0.1)
        fields += np.stack([-(y - y0) * bump, (x - x0) * bump])
    return fields


def main() -> None:
    """Print J, the gradient's norms, and a difference beside the gradient."""
    with ba.Problem(SECTIONS) as problem:
        m = problem.controls()
        m["initial"] = problem.scatter(two_vortices())
        J, g = problem.value_and_gradient(m)
        J1 = problem.value({**m, "viscosity": 0.02 + 1e-6})
        whole = problem.gather(g["initial"])  # on rank 0, None on the others
        if whole is not None:
            print(f"J                 {J:.15g}")
            print(f"dJ/d(viscosity)   {g['viscosity']:.15g}")
            print(f"by a difference   {(J1 - J) / 1e-6:.15g}")
            print(f"|dJ/d(initial)|   {np.sqrt(np.sum(whole**2)):.15g}, of shape {whole.shape}")
            j, i = np.unravel_index(np.abs(whole[0]).argmax(), whole[0].shape)
            print(f"largest dJ/du at  row {j}, column {i}: {whole[0, j, i]:.15g}")


if __name__ == "__main__":
    main()
