"""Random legal problems, far from friendly: does every run end, and is its status true?

    python bench/torture.py --count 1000 --out bench/results/torture.json

Scales 1e-12 to 1e12, conditioning to 1e12, duplicated and nearly dependent samples, features that
are zero, 1 to 500 samples of 1 to 5000 features, depths 2 to 10; factorisations and ReLU networks
likewise. Statuses are checked against losses computed here in extended precision.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kernelrich_fast as krf

STOP_LOSS = 1e-8
# Arithmetic a run may take, as steps times samples^2 times features.
BUDGET = 2e10


def random_samples(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Inputs of conditioning up to 1e12, some samples copies of others, some features empty."""
    X = rng.standard_normal((n, d))
    if rng.random() < 0.5:
        X *= 10.0 ** rng.uniform(-6.0, 6.0, d if rng.random() < 0.5 else (n, 1))
    if n > 1 and rng.random() < 0.3:
        X[rng.integers(n)] = X[rng.integers(n)]
    if n > 1 and rng.random() < 0.3:
        i, j = rng.integers(n, size=2)
        X[i] = X[j] * (1.0 + 10.0 ** rng.uniform(-14.0, -6.0) * rng.standard_normal(d))
    if rng.random() < 0.2:
        X[:, rng.random(d) < 0.5] = 0.0
    return X


def log_size(rng: np.random.Generator, high: int) -> int:
    return int(np.exp(rng.uniform(0.0, np.log(high))))


def true_loss(residual: np.ndarray) -> float:
    return float(np.sum(residual.astype(np.longdouble) ** 2))


def diagonal(rng: np.random.Generator) -> tuple[int, float, float, str]:
    """A flow or a limit of a diagonal network: status, loss claimed, loss true, description."""
    n, d, depth = log_size(rng, 500), log_size(rng, 5000), int(rng.integers(2, 11))
    X = random_samples(rng, n, d)
    y = X @ (rng.standard_normal(d) * (rng.random(d) < 0.3))
    if rng.random() < 0.5:
        y = y + rng.standard_normal(n) * 10.0 ** rng.uniform(-6, 1)
    y *= 10.0 ** rng.uniform(-12.0, 12.0)
    # alpha^D against the predictor's own scale, in a range that no power leaves.
    low = max(-12.0, -140.0 / depth)
    alpha = 10.0 ** rng.uniform(low, 12.0 if depth < 10 else 10.0)
    about = f"n={n} d={d} D={depth} alpha={alpha:.1e} |y|={np.linalg.norm(y):.1e}"
    if rng.random() < 0.5:
        end = krf.limit_diagonal(X, y, alpha=alpha, depth=depth)
        kind = "limit"
    else:
        steps = int(np.clip(BUDGET / (n * n * d), 30, 5000))
        end = krf.flow_diagonal(
            X, y, alpha=alpha, depth=depth, stop_loss=STOP_LOSS, rtol=1e-4, max_steps=steps
        )
        kind = "flow"
    assert np.all(np.isfinite(end.beta)) or end.status == krf.Status.FAILED, about
    residual = X.astype(np.longdouble) @ end.beta - y
    goal = STOP_LOSS * true_loss(y) if kind == "flow" else 1e-20 * true_loss(y) * n
    return int(end.status), goal, true_loss(residual), f"{kind} {about}"


def factorization(rng: np.random.Generator) -> tuple[int, float, float, str]:
    """A matrix completion."""
    d1, d2 = int(rng.integers(1, 13)), int(rng.integers(1, 13))
    count = int(rng.integers(1, d1 * d2 + 1))
    rank = int(rng.integers(1, min(d1, d2) + 1))
    data = krf.datasets.low_rank_completion(d1, d2, rank, count, seed=int(rng.integers(2**30)))
    y = data.y * 10.0 ** rng.uniform(-8.0, 8.0)
    alpha, width = 10.0 ** rng.uniform(-12.0, 6.0), log_size(rng, 10**6)
    about = f"{d1} x {d2}, N={count} k={width} alpha={alpha:.1e} |y|={np.linalg.norm(y):.1e}"
    flow = krf.flow_factorization(
        y, entries=data.entries, dims=(d1, d2), alpha=alpha, width=width, stop_loss=STOP_LOSS,
        rtol=1e-4, max_steps=20_000,
    )  # fmt: skip
    assert np.all(np.isfinite(flow.M)) or flow.status == krf.Status.FAILED, about
    residual = flow.M[data.entries] - y
    return int(flow.status), STOP_LOSS * true_loss(y), true_loss(residual), f"completion {about}"


def network(rng: np.random.Generator) -> tuple[int, float, float, str]:
    """A ReLU network; its output scales like the weights to the power of the depth."""
    n, d, depth = log_size(rng, 30), log_size(rng, 20), int(rng.integers(2, 6))
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2.0, 2.0)
    if n > 1 and rng.random() < 0.3:
        X[rng.integers(n)] = X[rng.integers(n)]
    y = rng.standard_normal(n) * 10.0 ** rng.uniform(-3.0, 3.0)
    width, alpha = log_size(rng, 60), 10.0 ** rng.uniform(-1.5, 1.0)
    options: dict[str, Any] = {"bias": bool(rng.random() < 0.5)}
    options["antisymmetric"] = bool(rng.random() < 0.3)
    about = f"n={n} d={d} D={depth} width={width} alpha={alpha:.1e} {options}"
    flow = krf.flow_mlp(
        X, y, depth=depth, width=width, alpha=alpha, seed=int(rng.integers(2**30)),
        stop_loss=1e-4, rtol=1e-3, max_steps=1500, **options,
    )  # fmt: skip
    finite = all(np.all(np.isfinite(W)) for W in flow.weights)
    assert finite or flow.status == krf.Status.FAILED, about
    return int(flow.status), 1e-4 * true_loss(y), true_loss(flow.predict(X) - y), f"network {about}"


FAMILIES: dict[str, tuple[Callable[..., Any], float]] = {
    "diagonal": (diagonal, 0.7),
    "factorization": (factorization, 0.2),
    "network": (network, 0.1),
}


def torture(count: int, seed: int) -> dict[str, Any]:
    """Statuses by family, and every problem whose status is not true."""
    statuses: dict[str, Counter[str]] = {name: Counter() for name in FAMILIES}
    false, slowest = [], (0.0, "")
    names, shares = list(FAMILIES), [share for _, share in FAMILIES.values()]
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        name = str(rng.choice(names, p=shares))
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", krf.ConvergenceWarning)
            status, goal, loss, about = FAMILIES[name][0](rng)
        slowest = max(slowest, (time.perf_counter() - start, f"{index}: {about}"))
        statuses[name][krf.Status(status).name] += 1
        # Rounding of the residual itself is not the run's fault: 1e-14 of what it is made of.
        if status == krf.Status.CONVERGED and not loss <= goal * (1.0 + 1e-6) + 1e-26 * goal:
            false.append(f"{index}: CONVERGED at loss {loss:.2e}, goal {goal:.2e}: {about}")
    return {
        "seed": seed,
        "count": count,
        "statuses": {name: dict(counts) for name, counts in statuses.items()},
        "false": false,
        "slowest": {"seconds": slowest[0], "problem": slowest[1]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = torture(options.count, options.seed)
    columns = [status.name for status in krf.Status]
    print(f"{'':14s}" + "".join(f"{name:>12s}" for name in columns))
    for name, counts in result["statuses"].items():
        print(f"{name:14s}" + "".join(f"{counts.get(c, 0):12d}" for c in columns))
    print(f"false statuses: {len(result['false'])}")
    print("\n".join(result["false"]))
    print(f"slowest: {result['slowest']['seconds']:.1f} s, {result['slowest']['problem']}")
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    raise SystemExit(bool(result["false"]))


if __name__ == "__main__":
    main()
