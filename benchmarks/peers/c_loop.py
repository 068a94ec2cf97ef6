"""C: the same sums written as one plain loop, by the C compiler that is there (`CC`, else cc)."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peers.case import Case, Peer

OPTIONS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")
SOURCE = """
static void step(const double *restrict a, double *restrict b, long ny, long nx,
         double cx, double cy, double kx, double ky)
{
    const double *u = a, *v = a + ny * nx;
    double centre = 1 - 2 * (kx + ky);
    for (long j = 1; j < ny - 1; j++)
        for (long i = j * nx + 1; i < (j + 1) * nx - 1; i++) {
            double e = kx - cx * u[i], w = kx + cx * u[i];
            double n = ky - cy * v[i], s = ky + cy * v[i];
            b[i] = centre * u[i] + e * u[i + 1] + w * u[i - 1] + n * u[i + nx] + s * u[i - nx];
            b[i + ny * nx] =
                centre * v[i] + e * v[i + 1] + w * v[i - 1] + n * v[i + nx] + s * v[i - nx];
        }
}

void run(double *a, double *b, long steps, long ny, long nx,
         double cx, double cy, double kx, double ky)
{
    for (long n = 0; n < steps; n++) {
        step(a, b, ny, nx, cx, cy, kx, ky);
        double *before = a;
        a = b;
        b = before;
    }
}
"""


def make(case: Case, fields: np.ndarray) -> Peer:
    """The peer for this case, which is Euler with central differences.

    Raises:
        FileNotFoundError: there is no C compiler.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise FileNotFoundError("there is no C compiler")
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "loop.c"), Path(folder, "loop.so")
        source.write_text(SOURCE, encoding="utf-8")
        subprocess.run([compiler, *OPTIONS, "-o", library, source], check=True)
        loop = ctypes.CDLL(str(library))
    pointer, number = ctypes.POINTER(ctypes.c_double), ctypes.c_double
    loop.run.argtypes = [pointer, pointer, *[ctypes.c_long] * 3, *[number] * 4]
    loop.run.restype = None
    _, n_rows, n_columns = fields.shape
    weights = (
        case.dt / (2 * case.dx),
        case.dt / (2 * case.dy),
        case.viscosity * case.dt / case.dx**2,
        case.viscosity * case.dt / case.dy**2,
    )
    states = [fields.copy(), fields.copy()]

    def primal() -> np.ndarray:
        for state in states:
            np.copyto(state, fields)
        places = [state.ctypes.data_as(pointer) for state in states]
        loop.run(*places, case.n_steps, n_rows, n_columns, *weights)
        return states[case.n_steps % 2]

    return Peer("C, plain loop", {"": primal}, {})
