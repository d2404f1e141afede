"""Random problems of the kinds in which silent errors were found: is any left?

    python bench/hunt.py [--count 200] [--seed 0] [--kind NAME ...] [--out bench/results/hunt.json]

Every problem has a reference that uses none of the package: the weights by SciPy at tight
tolerance, least squares, quadrature, closed forms, small-step descent, HiGHS on the well-scaled
problem. A silent error is a result off by more than is promised whose status (or whose silence)
says that it is one; an honest one ended as MAX_STEPS, FAILED or with a warning.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize

import kernelrich_fast as krf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from oracles import (
    factor_space_flow,
    margin_weight_flow,
    piecewise_log_weights,
    weight_space_flow,
)

Found = tuple[float, bool, str]  # error in units of what is promised, whether claimed, problem


def claimed(status: Any) -> bool:
    return int(status) < int(krf.Status.MAX_STEPS)


def distance(found: np.ndarray, exact: np.ndarray) -> float:
    """The worst of the relative errors of all times."""
    axes = tuple(range(1, exact.ndim))
    norm = np.sqrt(np.sum(exact**2, axis=axes))
    return float(np.max(np.sqrt(np.sum((found - exact) ** 2, axis=axes)) / norm))


def tall(rng: np.random.Generator) -> Found:
    """Categories beside an intercept, repeated rows and columns: least squares at the end."""
    n, d, depth = int(rng.integers(3, 30)), int(rng.integers(1, 5)), int(rng.integers(2, 5))
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2.0, 2.0, d)
    groups = int(rng.integers(2, 5))
    X = np.hstack([np.ones((n, 1)), np.eye(groups)[rng.integers(0, groups, n)], X])
    if rng.random() < 0.3:
        X[-1] = X[0]
    if rng.random() < 0.3:
        X = np.hstack([X, X[:, -1:]])
    y = rng.standard_normal(n)
    fitted = X @ np.linalg.lstsq(X, y, rcond=None)[0]
    alpha = 10.0 ** rng.uniform(-1.0, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        ends = [f(X, y, alpha=alpha, depth=depth) for f in (krf.limit_diagonal, krf.flow_diagonal)]
    errors = [0.0]
    for end in ends:
        if claimed(end.status):
            # What tol and stop_loss leave; and no coefficient can be large.
            errors.append(np.linalg.norm(X @ end.beta - fitted) / (1e-5 * np.linalg.norm(y)))
            errors.append(np.abs(end.beta).max() / 1e6)
    return max(errors), len(errors) > 1, f"n={n} d={X.shape[1]} D={depth}"


def near_duplicates(rng: np.random.Generator) -> Found:
    """Nearly equal rows, consistent by their rank: STATIONARY would be false."""
    n, d = int(rng.integers(2, 5)), int(rng.integers(5, 9))
    X = rng.standard_normal((n, d))
    apart = 10.0 ** rng.uniform(-9.0, -3.0)
    X[1] = X[0] + apart * rng.standard_normal(d)
    y = rng.standard_normal(n)
    y[1] = y[0] + 1e-4 * rng.standard_normal()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        flow = krf.flow_diagonal(X, y, alpha=1.0)
    loss = float(np.sum((X @ flow.beta - y) ** 2)) / float(y @ y)
    return loss / 1.1e-12, claimed(flow.status), f"rows {apart:.0e} apart"


def starts(rng: np.random.Generator) -> Found:
    """Profiles over eight orders of magnitude, biased, at depth 2 and 3."""
    n, d, depth = int(rng.integers(1, 5)), int(rng.integers(2, 8)), int(rng.integers(2, 4))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    spread = 4.0 if depth == 2 else 1.0
    plus, minus = 10.0 ** rng.uniform(-spread, 0.0, (2, d))
    times = np.array([0.05, 0.3, 1.0, 3.0])
    exact = weight_space_flow(X, y, plus, minus, depth, times)
    rtol = 10.0 ** -float(rng.integers(3, 8))
    options = {"w_plus0": plus, "w_minus0": minus, "depth": depth, "t_eval": times, "rtol": rtol}
    flow = krf.flow_diagonal(X, y, alpha=1.0, **options)
    error = distance(flow.beta, exact) / (10 * rtol)
    if error > 1.0:  # where beta is far smaller than at both ends of a step, they are the scale
        ends = [0.0]
        while ends[-1] < times[-1] and len(ends) < 1000:
            run = krf.flow_diagonal(X, y, alpha=1.0, max_steps=len(ends), **options)
            ends.append(float(run.t[-1]))
        ends = np.unique(ends)
        after = np.clip(np.searchsorted(ends, times), 1, len(ends) - 1)
        around = weight_space_flow(X, y, plus, minus, depth, ends)
        norms = np.linalg.norm(around, axis=1)
        scale = np.maximum(norms[after - 1], norms[after])
        error = np.max(np.linalg.norm(flow.beta - exact, axis=1) / scale) / (10 * rtol)
    return float(error), claimed(flow.status), f"{n} x {d}, D={depth}"


def activation(rng: np.random.Generator) -> Found:
    """Times close about the activation after a plateau; quadrature of dt = du / (c (1 - beta))."""
    depth = int(rng.integers(3, 9))
    alpha = 10.0 ** (-rng.uniform(1.0, 6.0) / (depth - 2))  # u from 10 to 1e6
    rtol = 10.0 ** -float(rng.integers(3, 7))
    p, u0, speed = depth / (depth - 2), alpha ** (2.0 - depth), 2.0 * depth * (depth - 2)

    def beta(u: Any) -> Any:
        return u**-p - (2.0 * u0 - u) ** -p

    end = scipy.optimize.brentq(lambda u: beta(u) - 1.0, 0.3, 1.0, xtol=1e-15)
    # From the largest distance u - end down: time adds up without cancellation.
    x = np.linspace(np.log(u0 - end), np.log(1e-7), 4001)
    node, weight = np.polynomial.legendre.leggauss(8)
    half = 0.5 * (x[0] - x[1])
    v = np.exp(0.5 * (x[:-1] + x[1:])[:, None] - half * node)
    t = np.concatenate([[0.0], np.cumsum((v / (1.0 - beta(end + v))) @ weight * half)]) / speed
    chosen = np.sort(rng.choice(np.flatnonzero((t > 0.5 * t[-1]) & (np.exp(x) > 1e-4)), 6))
    times, exact = t[chosen], beta(end + np.exp(x[chosen]))
    keep = np.concatenate([[True], np.diff(times) > 0.0])
    times, exact = times[keep], exact[keep]
    flow = krf.flow_diagonal([[1.0]], [1.0], alpha=alpha, depth=depth, t_eval=times, rtol=rtol)
    # Rounding of the times here and there, as beta feels it.
    doubt = 20.0 * np.spacing(times) * 2.0 * depth**2 * np.maximum(exact, 0.0) ** (1.0 + 1.0 / p)
    error = np.max(np.abs(flow.beta[:, 0] - exact) / (10 * rtol * exact + doubt))
    return float(error), claimed(flow.status), f"D={depth} alpha={alpha:.1e} rtol={rtol:.0e}"


def rows(rng: np.random.Generator) -> Found:
    """Completions from starts whose rows differ by up to six orders, while they grow in turn."""
    d1, d2, k = int(rng.integers(2, 5)), int(rng.integers(2, 5)), int(rng.integers(1, 3))
    mask = np.eye(d1, d2, dtype=bool) | (rng.random((d1, d2)) < 0.3)
    entries = np.nonzero(mask)
    y = 10.0 ** rng.uniform(-1.0, 1.0, len(entries[0]))
    alpha = 10.0 ** rng.uniform(-5.0, -1.0)
    U0, V0 = (
        alpha * rng.standard_normal((d, k)) * 10.0 ** rng.uniform(-3.0, 0.0, (d, 1))
        for d in (d1, d2)
    )

    def adjoint(r: np.ndarray) -> np.ndarray:
        R = np.zeros((d1, d2))
        R[entries] = r
        return R

    # The entries grow like exp(4 y t) from the size of their start.
    wake = -np.log(alpha**2) / (4.0 * np.sort(y)[::-1][: min(d1, d2)])
    times = np.unique(np.concatenate([0.8 * wake, wake, 1.3 * wake]))
    U, V = factor_space_flow(lambda M: M[entries], adjoint, y, U0, V0, times)
    rtol = 10.0 ** -float(rng.integers(3, 8))
    flow = krf.flow_factorization(y, entries=entries, U0=U0, V0=V0, t_eval=times, rtol=rtol)
    error = distance(flow.M, U @ np.swapaxes(V, 1, 2)) / (10 * rtol)
    return error, claimed(flow.status), f"{d1} x {d2}, k={k}, alpha={alpha:.0e}"


def units(rng: np.random.Generator) -> Found:
    """A unit for each sample, of sizes over six orders: f_n' = 4 f_n (y_n - f_n) in closed form."""
    n = int(rng.integers(2, 7))
    y, size = rng.uniform(0.5, 3.0, n), 10.0 ** rng.uniform(-6.0, 0.0, n)
    times = np.sort(rng.uniform(0.3, 1.3, 6)) * np.max(-np.log(size**2 / y) / (4.0 * y))
    times = times[times > 0.0]
    if not len(times):
        return 0.0, False, "left out"
    # Logistic, in the odds f / (y - f).
    odds = np.log(size**2 / np.abs(y - size**2)) + 4.0 * y * times[:, None]
    exact = y / (1.0 + np.sign(y - size**2) * np.exp(-odds))
    rtol = 10.0 ** -float(rng.integers(3, 7))
    flow = krf.flow_mlp(np.eye(n), y, weights0=[np.diag(size), size[None]], t_eval=times, rtol=rtol)
    error = np.max(np.linalg.norm(flow.predict(np.eye(n)) - exact, axis=1)) / np.linalg.norm(y)
    return float(error / (10 * rtol)), claimed(flow.status), f"n={n} rtol={rtol:.0e}"


def revived(rng: np.random.Generator) -> Found:
    """Narrow networks of depth 3 to 5, whose samples die and wake: small-step descent."""
    depth, n, d = int(rng.integers(3, 6)), int(rng.integers(2, 6)), int(rng.integers(1, 4))
    k = int(rng.integers(1, 5))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    return against_descent(rng, X, y, depth, k, scale=1.0, end=0.5)


def networks(rng: np.random.Generator) -> Found:
    """Networks of depth 2 to 5, many of whose units switch: small-step descent."""
    depth, n, d = int(rng.integers(2, 6)), int(rng.integers(2, 11)), int(rng.integers(1, 4))
    k, scale = int(rng.integers(2, 21)), float(rng.choice([0.3, 0.7, 1.0]))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    return against_descent(rng, X, y, depth, k, scale=scale, end=float(rng.choice([0.5, 2.0])))


def against_descent(
    rng: np.random.Generator,
    X: np.ndarray,
    y: np.ndarray,
    depth: int,
    k: int,
    *,
    scale: float,
    end: float,
) -> Found:
    """A network of width k at the time `end`, by a method and tolerance that are drawn."""
    n, d = X.shape
    shapes = [(k, d), *[(k, k)] * (depth - 2), (1, k)]
    layers = [scale * rng.uniform(-1.0, 1.0, s) * np.sqrt(6.0 / s[1]) for s in shapes]

    def forward(W: list[np.ndarray]) -> list[np.ndarray]:
        values = [X]
        for each in W[:-1]:
            values.append(np.maximum(values[-1] @ each.T, 0.0))
        return [*values, values[-1] @ W[-1].T]

    def descent(steps: int) -> np.ndarray:
        W = [w.copy() for w in layers]
        for _ in range(steps):
            values = forward(W)
            delta = 2.0 * (values[-1] - y[:, None])
            gradients: list[np.ndarray] = []
            for i in reversed(range(depth)):
                gradients.insert(0, delta.T @ values[i])
                if i:
                    delta = (delta @ W[i]) * (values[i] > 0)
            for w, g in zip(W, gradients, strict=True):
                w -= end / steps * g
        return forward(W)[-1][:, 0]

    rtol, norm = 10.0 ** -float(rng.uniform(3.0, 6.0)), float(np.linalg.norm(y))
    method = str(rng.choice(["auto", "dopri5", "exponential"]))
    flow = krf.flow_mlp(X, y, weights0=layers, t_eval=[end], rtol=rtol, method=method)
    error, coarse = np.inf, descent(4000)
    for steps in (8000, 500_000):  # where two kinks slide together the first may not be enough
        fine = descent(steps)
        doubt = 3.0 * float(np.linalg.norm(fine - coarse)) / norm
        error = float(np.linalg.norm(flow.predict(X)[0] - fine)) / norm / (10 * rtol + doubt)
        if error <= 1.0 and doubt < 3e-3:
            break
        coarse = descent(steps // 2)
    return error, claimed(flow.status), f"D={depth} n={n} k={k} rtol={rtol:.1e} {method}"


def silent(call: Callable[[], np.ndarray]) -> np.ndarray | None:
    """The result; None where a warning or an error says that it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return call()
        except (ValueError, krf.ConvergenceWarning):
            return None


def programs(rng: np.random.Generator) -> Found:
    """Minimum l1 norm with rows and columns in units of their own: HiGHS without them."""
    n, d = int(rng.integers(2, 8)), int(rng.integers(8, 20))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    program = scipy.optimize.linprog(
        np.ones(2 * d), A_eq=np.hstack([X, -X]), b_eq=y, method="highs-ds"
    )
    exact = program.x[:d] - program.x[d:]
    row, column = 10.0 ** rng.uniform(-9.0, 9.0, n), 10.0 ** rng.uniform(-9.0, 9.0, d)
    beta = silent(lambda: krf.theory.min_l1(row[:, None] * X * column, row * y, 1.0 * column))
    if beta is None:
        return np.inf, False, f"{n} x {d}"
    return distance((beta * column)[None], exact[None]) / 1e-6, True, f"{n} x {d}"


def completions(rng: np.random.Generator) -> Found:
    """The first row of a positive semidefinite matrix: M_ij = M_1i M_1j / M_11 has least trace."""
    d = int(rng.integers(2, 7))
    v = rng.choice([-1.0, 1.0], d) * 10.0 ** rng.uniform(-3.0, 3.0, d)
    where = {"entries": (np.zeros(d, dtype=int), np.arange(d)), "dims": (d, d)}
    exact = np.outer(v, v)
    M = silent(lambda: krf.theory.min_nuclear_norm(exact[0], symmetric=True, tol=1e-7, **where))
    if M is None:
        return np.inf, False, f"d={d}"
    # M exceeds it by a positive semidefinite matrix, whose trace is within tol of the minimum's.
    return float(np.max(np.abs(M - exact)) / (1e-6 * np.trace(exact))), True, f"d={d}"


def margins(rng: np.random.Generator) -> Found:
    """Separable classes under a margin loss, rows and columns of different size: the weights."""
    first = -np.inf
    while not -2.0 < first < 30.0:  # ln L at the start: above the first level, and no huge margins
        n, d = int(rng.integers(1, 12)), int(rng.integers(2, 25))
        X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-1.0, 1.0, rng.choice([1, d]))
        if rng.random() < 0.3:
            X *= 10.0 ** rng.uniform(-1.0, 1.0, n)[:, None]
        y = np.where(X @ rng.standard_normal(d) >= 0.0, 1.0, -1.0)
        depth = float(rng.choice([2.0, 2.5, 3.0, 4.0, 6.0]))
        start = 10.0 ** rng.uniform(-1.0, 0.3) * np.exp(0.3 * rng.standard_normal((2, d)))
        m = y * (X @ (start[0] ** depth - start[1] ** depth))
        first = float(np.log(np.sum(np.exp(-np.clip(m, -700.0, 700.0)))))
    loss = str(rng.choice(["exponential", "logistic"]))
    levels = np.array([-3.0, -30.0, -(10.0 ** rng.uniform(1.6, 2.5))])
    exact, _ = margin_weight_flow(X, y, *start, depth, loss, levels)
    rtol = 10.0 ** rng.uniform(-7.0, -4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        flow = krf.flow_diagonal(
            X, y, alpha=1.0, w_plus0=start[0], w_minus0=start[1], depth=depth, loss=loss,
            log_loss_eval=levels, rtol=rtol,
        )  # fmt: skip
    about = f"n={n} d={d} depth={depth:g} {loss}"
    return distance(flow.beta, exact) / (10.0 * rtol), claimed(flow.status), about


def decays(rng: np.random.Generator) -> Found:
    """Weight decay in pieces under every loss: the logarithms of the weights."""
    n, d, count = int(rng.integers(1, 6)), int(rng.integers(1, 6)), int(rng.integers(0, 4))
    X, y = rng.standard_normal((n, d)), np.where(rng.random(n) < 0.5, -1.0, 1.0)
    loss = str(rng.choice(["squared", "exponential", "logistic"]))
    depth, w0 = float(rng.choice([2.0, 2.4, 3.0, 5.0])), rng.uniform(0.1, 1.0, d)
    starts = np.r_[0.0, np.cumsum(10.0 ** rng.uniform(-1.5, 1.3, count))]
    values = np.where(rng.random(count + 1) < 0.25, 0.0, 10.0 ** rng.uniform(-2.0, 0.7, count + 1))
    pairs = list(zip(starts.tolist(), values.tolist(), strict=True))
    times, rtol = np.sort(10.0 ** rng.uniform(-2.0, 1.8, 6)), 10.0 ** rng.uniform(-6.0, -2.0)
    exact = piecewise_log_weights(X, y, w0, depth, pairs, times, loss)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        flow = krf.flow_diagonal(
            X, y, alpha=1.0, w0=w0, depth=depth, loss=loss, weight_decay=pairs, t_eval=times,
            rtol=rtol,
        )  # fmt: skip
    # What is promised of a predictor that decay lets die away.
    size = np.linalg.norm(exact, axis=-1)
    left = size / np.maximum.accumulate(size)
    promised = np.where(left > 0.01, 10.0, 30.0)[left > 1e-10] * rtol
    errors = np.linalg.norm(flow.beta - exact, axis=-1)[left > 1e-10] / size[left > 1e-10]
    about = f"n={n} d={d} depth={depth:g} {loss} {pairs} t={times.tolist()}"
    return float(np.max(errors / promised)), claimed(flow.status), about


KINDS: dict[str, Callable[[np.random.Generator], Found]] = {
    "tall": tall, "near_duplicates": near_duplicates, "starts": starts, "activation": activation,
    "rows": rows, "units": units, "revived": revived, "programs": programs,
    "completions": completions,
    "margins": margins, "decays": decays, "networks": networks,
}  # fmt: skip


def hunt(kind: str, count: int, seed: int) -> dict[str, Any]:
    """How many of a kind were claimed, and every one of these that is wrong."""
    right, honest, wrong = 0, 0, []
    began = time.perf_counter()
    for index in range(count):
        rng = np.random.default_rng([seed, list(KINDS).index(kind), index])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", krf.ConvergenceWarning)
            error, said, about = KINDS[kind](rng)
        if not said:
            honest += 1
        elif error <= 1.0:
            right += 1
        else:
            wrong.append(f"{index}: {error:.2g} times what is promised: {about}")
    seconds = round(time.perf_counter() - began, 1)
    return {"right": right, "honest": honest, "wrong": wrong, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=list(KINDS), nargs="+", default=list(KINDS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = {}
    for kind in options.kind:
        found[kind] = row = hunt(kind, options.count, options.seed)
        print(f"{kind:16s} right {row['right']:4d}  honest {row['honest']:4d}  silent errors "
              f"{len(row['wrong']):4d}  {row['seconds']} s", flush=True)  # fmt: skip
        print("\n".join(f"    {each}" for each in row["wrong"][:10]), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps({"seed": options.seed, **found}, indent=1) + "\n")
    raise SystemExit(any(row["wrong"] for row in found.values()))


if __name__ == "__main__":
    main()
