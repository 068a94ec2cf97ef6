"""A dense layer of a network."""

import numpy as np

from burgers_adjoint.kernels.compilation import compiled


@compiled
def dense(x: np.ndarray, weights: np.ndarray, positive: bool, out: np.ndarray) -> None:
    """Compute x @ weights, and of that the positive part where `positive` says so.

    A BLAS adds up in an order that depends on shapes, threads and machine;
    here a patch has the same bits wherever it lies.
    """
    n, m = weights.shape
    for p in range(x.shape[0]):
        row = out[p]
        for j in range(m):
            row[j] = 0.0
        whole = n - n % 4
        for k in range(0, whole, 4):
            a, b, c, d = x[p, k], x[p, k + 1], x[p, k + 2], x[p, k + 3]
            wa, wb, wc, wd = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
            for j in range(m):
                row[j] = (((row[j] + a * wa[j]) + b * wb[j]) + c * wc[j]) + d * wd[j]
        for k in range(whole, n):
            for j in range(m):
                row[j] += x[p, k] * weights[k, j]
        if positive:
            for j in range(m):
                row[j] = max(row[j], np.float32(0.0))
