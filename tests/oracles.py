"""Independent direct codes: weight-space integration, and the theorems' equations in mpmath."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import mpmath
import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import expit, logsumexp


def weight_space_flow(X, y, w_plus, w_minus, depth, times):
    """Beta at ``times`` by DOP853 on dw/dt = -grad L, knowing nothing of the dual."""
    d = X.shape[1]

    def field(_, w):
        plus, minus = np.maximum(w, 0.0).reshape(2, d)  # a trial step may leave the domain
        g = 2.0 * depth * (X.T @ (y - X @ (plus**depth - minus**depth)))
        return np.concatenate([g * plus ** (depth - 1), -g * minus ** (depth - 1)])

    out = solve_ivp(
        field,
        (0.0, times[-1]),
        np.concatenate([w_plus, w_minus]),
        method="DOP853",
        t_eval=times,
        rtol=1e-12,
        atol=1e-14 * min(w_plus.min(), w_minus.min()),
    )
    assert out.success
    assert np.all(np.isfinite(out.y))
    return out.y[:d].T ** depth - out.y[d:].T ** depth


@lru_cache
def single_coordinate_flow(depth, alpha, times):
    """Beta of X = y = 1 at ``times``, depth >= 3, w0 = 1, by quadrature of dt = dz / (1 - beta).

    In 20 digits; u = w_plus^(2-D) is linear in z, and its distance from the end is log-spaced.
    """
    mpmath.mp.dps = 20
    D, a = mpmath.mpf(depth), mpmath.mpf(alpha)
    p, u0, speed = D / (D - 2), a ** (2 - D), 2 * D * (D - 2)

    def beta(u):
        return u**-p - (2 * u0 - u) ** -p

    low, end = mpmath.mpf("0.3"), mpmath.mpf(1)
    for _ in range(100):
        middle = (low + end) / 2
        low, end = (middle, end) if beta(middle) > 1 else (low, middle)
    top = mpmath.log(u0 - end)

    def time_at(x):  # at u = end + e^x
        pieces = max(2, int((top - x) / 2) + 1)
        nodes = [x + (top - x) * k / pieces for k in range(pieces + 1)]
        return (
            mpmath.quad(
                lambda v: mpmath.exp(v) / (1 - beta(end + mpmath.exp(v))),
                nodes,
                method="gauss-legendre",
            )
            / speed
        )

    def too_late(x, t):
        return float(time_at(mpmath.mpf(x)) - float(t))

    found = []
    for t in times:
        x = brentq(too_late, -30.0, float(top), args=(t,), xtol=1e-14, rtol=1e-15)
        found.append(float(beta(end + mpmath.exp(x))))
    return np.array(found)


def dual_coordinates(beta, alpha, depth):
    """Grad Q (up to a factor common to all coordinates) at 50 digits, from beta alone (w0 = 1)."""
    mpmath.mp.dps = 50
    scale = mpmath.mpf(alpha) ** depth
    result = []
    for b in beta:
        z = abs(mpmath.mpf(float(b))) / scale
        if depth == 2:
            s = mpmath.asinh(z / 2)
        elif z == 0:
            s = mpmath.mpf(0)
        else:
            p = mpmath.mpf(depth) / (depth - 2)
            # Bisection in log(1 - s) of the increasing function h.
            low, high = mpmath.mpf(-200), mpmath.mpf(0)
            for _ in range(180):
                middle = (low + high) / 2
                gap = mpmath.e**middle
                if gap**-p - (2 - gap) ** -p > z:
                    low = middle
                else:
                    high = middle
            s = 1 - mpmath.e**low
        result.append(s if b >= 0 else -s)
    return result


def kkt_violation(X, beta, alpha, depth):
    """Distance of grad Q(beta) from the row space of X, relative to its norm."""
    s = np.array([float(v) for v in dual_coordinates(beta, alpha, depth)])
    nu, *_ = np.linalg.lstsq(X.T, s, rcond=None)
    return float(np.linalg.norm(s - X.T @ nu) / np.linalg.norm(s))


def factor_space_flow(observe, adjoint, y, U0, V0, times):
    """U and V at ``times`` by DOP853 on the weights themselves, all k columns of them.

    ``observe`` maps M to predictions, ``adjoint`` a residual to sum_i r_i X_i; V0 is None for the
    symmetric model, whose V is returned as None too.
    """
    (d1, k), symmetric = U0.shape, V0 is None
    start = U0 if symmetric else np.concatenate([U0, V0])

    def field(_, w):
        W = w.reshape(-1, k)
        U, V = (W, W) if symmetric else (W[:d1], W[d1:])
        R = adjoint(observe(U @ V.T) - y)
        if symmetric:
            return -2.0 * ((R + R.T) @ W).ravel()
        return -2.0 * np.concatenate([R @ V, R.T @ U]).ravel()

    out = solve_ivp(
        field,
        (0.0, times[-1]),
        start.ravel(),
        method="DOP853",
        t_eval=times,
        rtol=1e-11,
        atol=1e-13 * np.abs(start).max(),
    )
    assert out.success
    assert np.all(np.isfinite(out.y))
    W = out.y.T.reshape(len(times), -1, k)
    return (W, None) if symmetric else (W[:, :d1], W[:, d1:])


def weight_decay_flow(X, y, w0, depth, decay, breaks, times, one_sign=False, loss="squared"):
    """Beta, w_plus and w_minus at ``times`` > 0 by DOP853 on dw/dt = -grad L - 2 decay(t) w.

    With ``one_sign`` w_minus is zero; ``loss`` may be one of margins.
    """

    def pull(f):  # half of minus dL/df
        if loss == "squared":
            return y - f
        m = y * f
        return 0.5 * y * (np.exp(-m) if loss == "exponential" else expit(-m))

    d, w = X.shape[1], np.concatenate([w0, 0.0 * w0 if one_sign else w0])

    def field(t, w):
        # A trial step may leave the domain.
        plus, minus = np.clip(w, 0.0, 1e6).reshape(2, d)
        g = 2.0 * depth * (X.T @ pull(X @ (plus**depth - minus**depth)))
        slope = np.concatenate([g * plus ** (depth - 1), -g * minus ** (depth - 1)])
        return slope - 2.0 * decay(t) * w

    found = []
    edges = [0.0, *breaks, times[-1]]
    for start, end in pairwise(edges):
        asked = [t for t in times if start < t <= end]
        middle = 0.5 * (start + end)

        def piece(t, w, start=start, end=end, middle=middle):
            # At the ends of a piece, its own value of what jumps there.
            return field(t if start < t < end else middle if breaks else t, w)

        out = solve_ivp(
            piece, (start, end), w, method="DOP853", rtol=1e-12, atol=1e-16,
            t_eval=sorted({*asked, end}),
        )  # fmt: skip
        assert out.success
        w = out.y[:, -1]
        found += [out.y[:, i] for i, t in enumerate(out.t) if t in asked]
    plus, minus = np.array(found).reshape(len(times), 2, d).swapaxes(0, 1)
    return plus**depth - minus**depth, plus, minus


def margin_weight_flow(X, y, plus, minus, depth, loss, levels, real_time=False):
    """Beta, and times, at values of ln L, from the weights themselves by SciPy.

    In real time, or in the integral of half the sum of -l' over time, in which the gradient is
    divided by that sum, so that its logarithms alone are needed.
    """
    Z, d = y[:, None] * X, X.shape[1]

    def slopes(m):
        return -m if loss == "exponential" else -np.logaddexp(0.0, m)

    def log_loss(w):
        m = Z @ (w[:d] ** depth - w[d:] ** depth)
        if loss == "exponential":
            return logsumexp(-m)
        small = np.log(np.logaddexp(0.0, -np.minimum(m, 40.0)))
        return logsumexp(np.where(m > 40.0, -m, small))

    def field(_, w):
        logs = slopes(Z @ (w[:d] ** depth - w[d:] ** depth))
        shares = np.exp(logs) if real_time else 2.0 * np.exp(logs - logsumexp(logs))
        pull = depth * (Z.T @ shares)
        return np.r_[pull * w[:d] ** (depth - 1), -pull * w[d:] ** (depth - 1)]

    def passes(level):
        def event(_, w):
            return log_loss(w) - level

        event.terminal = level == levels[-1]
        return event

    found = solve_ivp(
        field, (0.0, 1e9), np.r_[plus, minus], method="DOP853" if real_time else "LSODA",
        rtol=1e-11, atol=1e-14, events=[passes(level) for level in levels],
    )  # fmt: skip
    ends = [w[0] for w in found.y_events]
    beta = np.array([w[:d] ** depth - w[d:] ** depth for w in ends])
    return beta, np.array([t[0] for t in found.t_events])


def factor_margin_flow(X, y, U0, V0, loss, levels):
    """M and ln t at values of ln L, from the weights by SciPy; M = U0 U0^T where V0 is None.

    In the integral of the sum of -l' over time, with ln t beside the weights, from t = 1e-14 on.
    """
    split = U0.size

    def factors(state):
        U = state[:split].reshape(U0.shape)
        return U, U if V0 is None else state[split:-1].reshape(V0.shape)

    def margins(state):
        U, V = factors(state)
        return y * np.einsum("nij,ij->n", X, U @ V.T)

    def slopes(m):
        return -m if loss == "exponential" else -np.logaddexp(0.0, m)

    def log_loss(state):
        m = margins(state)
        small = np.log(np.logaddexp(0.0, -np.minimum(m, 40.0)))
        return logsumexp(-m if loss == "exponential" else np.where(m > 40.0, -m, small))

    def field(_, state):
        logs = slopes(margins(state))
        total = logsumexp(logs)
        pull = np.einsum("n,nij->ij", y * np.exp(logs - total), X)
        U, V = factors(state)
        moved = [pull @ U + pull.T @ U] if V0 is None else [pull @ V, pull.T @ U]
        return np.concatenate([*(each.ravel() for each in moved), [np.exp(-total - state[-1])]])

    def passes(level):
        def event(_, state):
            return log_loss(state) - level

        event.terminal = level == levels[-1]
        return event

    start = [U0.ravel(), [] if V0 is None else V0.ravel(), [np.log(1e-14)]]
    found = solve_ivp(
        field, (0.0, 1e9), np.concatenate(start), method="LSODA", rtol=1e-12,
        atol=1e-14 * min(1.0, np.abs(U0).max()), events=[passes(level) for level in levels],
    )  # fmt: skip
    ends = [states[0] for states in found.y_events]
    M = np.array([np.matmul(factors(state)[0], factors(state)[1].T) for state in ends])
    return M, np.array([state[-1] for state in ends])


def piecewise_log_weights(X, y, w0, depth, pairs, times, loss="squared"):
    """Beta at ``times`` where decay is piecewise constant, by LSODA on log w_minus and the log of
    w_plus / w_minus, which keep the digits of a predictor that dies away.
    """
    d, found, state = X.shape[1], {}, np.r_[np.log(w0), np.zeros(len(w0))]
    ends = [*(start for start, _ in pairs[1:] if start < times[-1]), times[-1]]

    def beta_of(state):
        minus, ratio = state[:d], state[d:]
        largest = np.exp(depth * (minus + np.maximum(ratio, 0.0)))
        return np.sign(ratio) * largest * -np.expm1(-depth * np.abs(ratio))

    def field(_, state, lam):
        f = X @ beta_of(state)
        if loss == "squared":
            pull = 2.0 * (y - f)
        else:
            pull = y * (np.exp(-y * f) if loss == "exponential" else expit(-y * f))
        g = depth * (X.T @ pull)
        minus = -g * np.exp((depth - 2.0) * state[:d])
        plus = g * np.exp((depth - 2.0) * (state[:d] + state[d:]))
        return np.r_[minus - 2.0 * lam, plus - minus]

    begin = 0.0
    for (_, lam), end in zip(pairs, ends, strict=False):
        out = solve_ivp(
            field, (begin, end), state, method="LSODA", rtol=1e-12,
            atol=np.r_[np.full(d, 1e-12), np.full(d, 1e-60)], args=(lam,),
            t_eval=sorted({*(t for t in times if begin < t <= end), end}),
        )  # fmt: skip
        assert out.success
        found |= {t: beta_of(out.y[:, i]) for i, t in enumerate(out.t)}
        begin, state = end, out.y[:, -1]
    return np.array([found[t] for t in times])
