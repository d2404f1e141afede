"""How many features of a diagonal flow could be left out of a step's corrections.

    python bench/dormant.py

A Newton correction of a Radau step of length h may leave features out if the sum of their
slope |x|^2 stays below eps gamma / h: then the field is wrong by the share eps of what it moved.
Printed: the mean share of such features along the path of one run (N = 100, d = 1000, depth 2), for
eps = 1e-3 with the mean step at rtol 1e-2, and for eps = 1e-6 with that at rtol 1e-6.
"""

from __future__ import annotations

import numpy as np

import kernelrich_fast as krf

GAMMA = 3.64


def main():
    X, y, _ = krf.datasets.sparse_regression(100, 1000, 5)
    square = (X**2).sum(axis=0)
    for alpha in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        path = None
        shares = []
        for rtol, eps in ((1e-2, 1e-3), (1e-6, 1e-6)):
            end = krf.flow_diagonal(X, y, alpha=alpha, rtol=rtol, backend="cpu")
            if path is None:
                times = np.linspace(0.0, float(end.t), 41)[1:]
                path = krf.flow_diagonal(X, y, alpha=alpha, rtol=1e-8, t_eval=times, backend="cpu")
                weight = np.cumsum(
                    np.sort(8.0 * (path.w_plus**2 + path.w_minus**2) * square, axis=1), axis=1
                )
            step = float(end.t) / int(end.n_steps)
            shares.append(float(np.mean(weight <= eps * GAMMA / step)))
        print(f"alpha = {alpha:g}: {shares[0]:.0%} at rtol 1e-2, {shares[1]:.0%} at rtol 1e-6")


if __name__ == "__main__":
    main()
