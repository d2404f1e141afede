"""The code behind the pictures of diagonal networks."""

from __future__ import annotations

import math

from .code_lines import ALONG_TIME, GOOD, grid_line, phase_lines, plot_lines, times_line, user_lines
from .diagonal import phase_rows
from .files import UserData
from .state import State
from .tables import Now

__all__ = ["diagonal_lines"]


def diagonal_lines(state: State, view: str, now: Now, user: UserData | None) -> list[str]:
    known = user is None or user.beta_star is not None
    draw = (
        f"krf.datasets.sparse_regression({{n}}, {state.features}, {state.sparsity}, "
        f"noise_variance={state.noise!r}**2, seed={state.seed})"
    )
    if user is None:
        lines = [f"X, y, beta_star = {draw.format(n=state.samples)}"]
    else:
        lines = user_lines(state, user, known)
    half = state.shape / 2.0
    lines.append(f"w0 = np.logspace({half!r}, {-half!r}, X.shape[1])")
    star = ", beta_star=beta_star" if known else ""
    if view in ALONG_TIME:
        call = f"X, y, alpha={state.alpha!r}, depth={state.depth!r}, w0=w0, t_eval=t"
        lines += [times_line(now), f"run = krf.flow_diagonal({call})"]
        return lines + _along_diagonal(state, view, now, known)
    error = (
        "ends.population_error.values"
        if known
        else "np.mean((ends.beta.values @ X_test.T - y_test) ** 2, axis=-1)"
    )
    keep = '("norms", "beta")' if view != "phase" else '("beta",)'
    call = f"alpha=alpha, depth={{depth}}, w0=w0, limit=True{star}, keep={keep}, progress=False"
    lines.append(grid_line("diagonal", view))
    if view == "phase":
        return lines + _phase_diagonal(state, user, draw, call, error)
    lines.append(f"ends = krf.sweep_diagonal(\n    X, y, {call.format(depth=repr(state.depth))}\n)")
    lines.append(GOOD)
    if view == "error_alpha":
        return [*lines, f"error = {error}", *plot_lines("alpha", "error", log=True)]
    if view == "kernel_alpha":
        lines.append("kernel_distance = ends.kernel_distance.values")
        return [*lines, *plot_lines("alpha", "kernel_distance", log=True)]
    for norm in ("l1", "l2"):
        name = f"ends.{norm}_norm"
        lines.append(f"{norm} = ({name} / ({name} - ends.excess_{norm})).values")
    return lines + plot_lines("alpha", "l1", "l2")


def _along_diagonal(state: State, view: str, now: Now, known: bool) -> list[str]:
    if view == "paths":
        largest = "np.sort(np.argsort(np.abs(beta[-1]))[::-1][:6])"
        return [
            "beta = run.beta  # (time, feature)",
            f"chosen = {'np.flatnonzero(beta_star)' if known else largest}",
            "support, others = beta[:, chosen], np.delete(beta, chosen, axis=1)",
            'plt.semilogx(t, others, color="0.75", linewidth=0.6)',
            "plt.semilogx(t, support)",
            'plt.xlabel("t")',
        ]
    if view == "loss":
        return ["loss = run.loss", *plot_lines("t", "loss", log=True)]
    if view == "kernel":
        alpha, depth = repr(state.alpha), repr(state.depth)
        return [
            f"start = krf.theory.tangent_kernel(X, w0, w0, {depth})  # in units of alpha",
            "along = krf.theory.tangent_kernel(\n"
            f"    X, run.w_plus / {alpha}, run.w_minus / {alpha}, {depth}\n)",
            "kernel_distance = krf.theory.kernel_distance(start, along)",
            *plot_lines("t", "kernel_distance"),
        ]
    exist = math.isfinite(now.tables["norms"]["least_l2"][0])
    least = [
        "least_l1 = np.full(t.size, np.abs(krf.theory.min_l1(X, y)).sum())",
        "least_l2 = np.full(t.size, np.linalg.norm(krf.theory.min_l2(X, y)))",
    ]
    none = ["least_l1 = least_l2 = np.full(t.size, np.nan)  # no coefficients fit all samples"]
    return [
        "l1_norm, l2_norm = np.abs(run.beta).sum(axis=-1), np.linalg.norm(run.beta, axis=-1)",
        *(least if exist else none),
        *plot_lines("t", "l1_norm", "least_l1", "l2_norm", "least_l2"),
    ]


def _phase_diagonal(
    state: State, user: UserData | None, draw: str, call: str, error: str
) -> list[str]:
    rows = phase_rows(state, user)
    whole = [int(row) if state.over == "samples" else float(row) for row in rows]
    body = []
    if state.over == "depth":
        body.append(
            f"    ends = krf.sweep_diagonal(\n        X, y, {call.format(depth='row')}\n    )"
        )
    else:
        if user is None:
            body.append(f"    own = {draw.format(n='row')}")
            data = "own.X, own.y"
        else:
            data = "X[:row], y[:row]"
        depth = repr(state.depth)
        body.append(
            f"    ends = krf.sweep_diagonal(\n        {data}, {call.format(depth=depth)}\n    )"
        )
    return phase_lines(whole, body, error, state.over)
