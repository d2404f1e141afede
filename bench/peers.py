"""Peers on the same problem: depth 2, w0 = 1, several scales, given end times.

Each peer is a function (X, y, alphas, times, rtol) -> beta (len(alphas), d); the first call of a
compiled peer is made outside the timing.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.integrate import solve_ivp


def _weights_problem(X, y):
    d = X.shape[1]

    def field(_, w):
        g = 4.0 * (X.T @ (y - X @ (w[:d] ** 2 - w[d:] ** 2)))
        return np.concatenate([g, -g]) * w

    return field, lambda w: w[:d] ** 2 - w[d:] ** 2


def scipy_weights(method):
    """SciPy on the weights, dw/dt = -grad L."""

    def run(X, y, alphas, times, rtol):
        field, predictor = _weights_problem(X, y)
        rows = []
        for alpha, t in zip(alphas, times, strict=True):
            start = np.full(2 * X.shape[1], alpha)
            out = solve_ivp(
                field, (0, t), start, method=method, rtol=rtol, atol=rtol * 1e-3 * alpha
            )
            rows.append(predictor(out.y[:, -1]) if out.success else np.full(X.shape[1], np.nan))
        return np.stack(rows)

    return run


def scipy_dual(method):
    """SciPy on our own dual equation, with its analytic Jacobian.

    8 z is clipped at 60, above anything these scales reach: a trial step that overflows sinh would
    otherwise end some methods in NaN with the status "success".
    """

    def run(X, y, alphas, times, rtol):
        rows = []
        for alpha, t in zip(alphas, times, strict=True):
            kappa = 2.0 * alpha**2

            def field(_, nu, kappa=kappa):
                return y - X @ (kappa * np.sinh(np.clip(8.0 * (nu @ X), -60, 60)))

            def jacobian(_, nu, kappa=kappa):
                slope = 8.0 * kappa * np.cosh(np.clip(8.0 * (nu @ X), -60, 60))
                return -(X * slope) @ X.T

            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                out = solve_ivp(
                    field, (0, t), np.zeros(len(y)), method=method, rtol=rtol,
                    atol=rtol * 1e-2, jac=jacobian,
                    # A naive first step overflows sinh (and "succeeds" with NaN).
                    first_step=min(t, 0.1 / (8 * np.abs(X.T @ y).max())),
                )  # fmt: skip
            nu = out.y[:, -1]
            rows.append(
                kappa * np.sinh(8.0 * (nu @ X)) if out.success else np.full(X.shape[1], np.nan)
            )
        return np.stack(rows)

    return run


def diffrax_weights(X, y, alphas, times, rtol, cache={}):  # noqa: B006
    """Diffrax Tsit5 on the weights, vmapped over scales, jitted, float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import diffrax
    import jax.numpy as jnp

    key = (X.shape, rtol)
    if key not in cache:
        Xj, yj = jnp.asarray(X), jnp.asarray(y)
        d = X.shape[1]

        def field(_, w, __):
            g = 4.0 * (Xj.T @ (yj - Xj @ (w[:d] ** 2 - w[d:] ** 2)))
            return jnp.concatenate([g, -g]) * w

        def one(alpha, t):
            out = diffrax.diffeqsolve(
                diffrax.ODETerm(field), diffrax.Tsit5(), 0.0, t, None, jnp.full(2 * d, alpha),
                stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol * 1e-3 * 1e-6),
                saveat=diffrax.SaveAt(t1=True), max_steps=10_000_000, throw=False,
            )  # fmt: skip
            w = out.ys[0]
            return w[:d] ** 2 - w[d:] ** 2

        cache[key] = jax.jit(jax.vmap(one))
    return np.asarray(cache[key](jnp.asarray(alphas), jnp.asarray(times)))


def clarabel_limit(X, y, alpha):
    """CVXPY + Clarabel on the relative-entropy form of argmin Q."""
    import cvxpy as cp

    half = alpha**2
    plus, minus = cp.Variable(X.shape[1]), cp.Variable(X.shape[1])
    ones = np.full(X.shape[1], half)
    objective = cp.sum(cp.kl_div(plus, ones) + cp.kl_div(minus, ones)) / half
    problem = cp.Problem(cp.Minimize(objective), [X @ (plus - minus) == y])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem.solve(solver=cp.CLARABEL)
        return plus.value - minus.value
    except (cp.SolverError, TypeError):
        return np.full(X.shape[1], np.nan)
