"""The exact path as alpha -> 0 against other ways to its end, interleaved on one core.

    python bench/rich_path.py --reps 5

For each size: HiGHS (SciPy's linprog) and `theory.min_l1` for the interpolant of minimum l1 norm,
LARS-lasso (scikit-learn) for the path of the lasso, which the averaged path is as long as no
coefficient shrinks and whose end is the same, and this package's own flow and limit at
alpha = 1e-150. Times are medians over the repeats; ratios to `rich_path` are geometric means with
their standard errors; errors are distances from the end of `rich_path`, relative. The certificate
is the largest |x_i^T s| - 1, the gap the relative difference of |beta|_1 and y^T s.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.optimize
from threadpoolctl import threadpool_limits

import kernelrich_fast as krf

SIZES = ((40, 100), (100, 1000), (200, 5000))


def problem(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Five features of equal weight, and noise of a tenth."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X[:, :5] @ np.full(5, 5.0**-0.5) + 0.1 * rng.standard_normal(n)


def highs(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    d = X.shape[1]
    program = scipy.optimize.linprog(
        np.ones(2 * d), A_eq=np.hstack([X, -X]), b_eq=y, method="highs-ds"
    )
    assert program.status == 0
    return program.x[:d] - program.x[d:]


def lars(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import lars_path

    return np.asarray(lars_path(X, y, method="lasso")[2][:, -1])


def ways() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Each gives the coefficients at the end."""
    return {
        "rich_path": lambda X, y: krf.rich_path(X, y, num_threads=1).beta[-1],
        "theory.min_l1": krf.theory.min_l1,
        "HiGHS": highs,
        "LARS-lasso": lars,
        "limit at 1e-150": lambda X, y: (
            krf.limit_diagonal(X, y, alpha=1e-150, num_threads=1, backend="cpu").beta
        ),
        "flow at 1e-150": lambda X, y: (
            krf.flow_diagonal(X, y, alpha=1e-150, num_threads=1, backend="cpu").beta
        ),
    }


def measure(n: int, d: int, reps: int) -> dict[str, object]:
    """Rows of one size."""
    own = ways()
    for way in own.values():
        way(*problem(10, 20, 0))  # what it imports and sets up
    seconds: dict[str, list[float]] = {name: [] for name in own}
    errors: dict[str, list[float]] = {name: [] for name in own}
    for seed in range(reps):  # a new problem each
        X, y = problem(n, d, seed)
        end = krf.rich_path(X, y).beta[-1]
        for name, way in own.items():
            start = time.perf_counter()
            beta = way(X, y)
            seconds[name].append(time.perf_counter() - start)
            errors[name].append(float(np.linalg.norm(beta - end) / np.linalg.norm(end)))
    path = krf.rich_path(X, y)
    logs = {name: np.log(np.array(own) / seconds["rich_path"]) for name, own in seconds.items()}
    return {
        "n_samples": n,
        "n_features": d,
        "jumps": int(path.n_jumps),
        "pivots": int(path.n_pivots),
        "certificate": float(np.abs(X.T @ path.dual).max() - 1.0),
        "gap": float(1.0 - y @ path.dual / np.abs(path.beta[-1]).sum()),
        "rows": [
            {
                "way": name,
                "milliseconds": 1e3 * float(np.median(seconds[name])),
                "ratio": float(np.exp(logs[name].mean())),
                "ratio_error": float(
                    np.exp(logs[name].mean()) * logs[name].std(ddof=1) / np.sqrt(reps)
                ),
                "error": max(errors[name]),
            }
            for name in own
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=5, help="problems of each size, 2 or more")
    parser.add_argument("--out", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    results = []
    warnings.simplefilter("ignore")  # LARS on degenerate steps; errors are in the table
    with threadpool_limits(1):
        for n, d in SIZES:
            result = measure(n, d, arguments.reps)
            results.append(result)
            print(
                f"N = {n}, d = {d}: {result['jumps']} jumps, {result['pivots']} fits, certificate "
                f"{result['certificate']:.0e}, gap {result['gap']:.0e}"
            )
            for row in result["rows"]:
                print(
                    f"  {row['way']:16} {row['milliseconds']:9.1f} ms  "
                    f"{row['ratio']:7.2f} +- {row['ratio_error']:.2f} of rich_path  "
                    f"error {row['error']:.0e}",
                    flush=True,
                )
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
