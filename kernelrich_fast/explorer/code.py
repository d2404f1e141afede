"""The exact Python call behind each picture; its variables are the columns that are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable

from . import diagonal, factorization, network
from .controls import OVER
from .files import UserData
from .problems import MAX_STEPS, fitted_samples
from .state import State
from .tables import N_ALPHAS, N_PHASE_ALPHAS, Now, alphas

__all__ = ["ALONG_TIME", "code"]

# Views of the present flow; the others are over alpha.
ALONG_TIME = ("paths", "loss", "norms", "kernel", "function")

_HEAD = "import matplotlib.pyplot as plt\nimport numpy as np\nimport kernelrich_fast as krf\n"
# Runs that did not end as they should are left blank.
_ERROR = "ends.test_rmse.where(ends.status < krf.Status.MAX_STEPS).values"


def code(state: State, view: str, present: Now, user: UserData | None = None) -> str:
    """A program that computes and draws what a view shows.

    Parameters
    ----------
    state : State
        What the reader chose.
    view : str
        "paths", "loss", "norms", "kernel", "function", "error_alpha", "norms_alpha",
        "kernel_alpha" or "phase".
    present : Now
        What was computed for the state; the times of the code are taken from it.
    user : UserData, optional
        The user's data, if the state refers to some.

    Returns
    -------
    str
        Python code. Run, it has a variable for each column of the view's table, of the same values.

    Examples
    --------
    >>> from kernelrich_fast.explorer import diagonal
    >>> from kernelrich_fast.explorer.code import code
    >>> from kernelrich_fast.explorer.state import default_state
    >>> state = default_state()
    >>> now = diagonal.now(state, diagonal.problem(state, None))
    >>> print(code(state, "loss", now).splitlines()[4])
    X, y, beta_star = krf.datasets.sparse_regression(40, 200, 5, noise_variance=0.1**2, seed=0)
    """
    write: dict[str, Callable[..., list[str]]] = {
        "diagonal": _diagonal, "factorization": _factorization, "network": _network
    }  # fmt: skip
    lines = write[state.model](state, view, present, user)
    return "\n".join([_HEAD, *lines, "plt.show()", ""])


def _times(now: Now) -> str:
    first, last = float(now.times[0]), float(now.times[-1])
    return f"t = np.geomspace({first!r}, {last!r}, {now.times.size})"


def _grid(model: str, view: str) -> str:
    count = N_PHASE_ALPHAS if view == "phase" else N_ALPHAS
    grid = alphas(model, count)
    return f"alpha = np.geomspace({float(grid[0])!r}, {float(grid[-1])!r}, {count})"


def _users(state: State, user: UserData, known: bool) -> list[str]:
    """Lines that read the user's data, and hold samples out unless the truth is known."""
    name = user.name
    if user.from_file and name.lower().endswith(".npz"):
        lines = [f"file = np.load({name!r})", 'X, y = file["X"], file["y"]']
        lines += ['beta_star = file["beta_star"]'] if known else []
    elif user.from_file:
        lines = [f"table = np.loadtxt({name!r}, delimiter={user.delimiter!r}, "
                 f"skiprows={user.header_lines}, ndmin=2, encoding='utf-8-sig')",
                 "X, y = table[:, :-1], table[:, -1]"]  # fmt: skip
    else:
        lines = ["# X and y are the arrays that krf.explore(X, y) was called with."]
    if known:
        return lines
    n = len(user.y)
    fitted = fitted_samples(n, state.held_out)
    return [
        *lines,
        f"order = np.random.default_rng({state.seed}).permutation({n})",
        f"X_test, y_test = X[order[{fitted}:]], y[order[{fitted}:]]",
        f"X, y = X[order[:{fitted}]], y[order[:{fitted}]]",
    ]


def _plot(x: str, *names: str, log: bool = False) -> list[str]:
    draw = "loglog" if log else "semilogx"
    return [f"plt.{draw}({x}, {name}, label={name!r})" for name in names] + [
        f"plt.xlabel({x!r})",
        "plt.legend()",
    ]


def _diagonal(state: State, view: str, now: Now, user: UserData | None) -> list[str]:
    known = user is None or user.beta_star is not None
    draw = (
        f"krf.datasets.sparse_regression({{n}}, {state.features}, {state.sparsity}, "
        f"noise_variance={state.noise!r}**2, seed={state.seed})"
    )
    if user is None:
        lines = [f"X, y, beta_star = {draw.format(n=state.samples)}"]
    else:
        lines = _users(state, user, known)
    half = state.shape / 2.0
    lines.append(f"w0 = np.logspace({half!r}, {-half!r}, X.shape[1])")
    star = ", beta_star=beta_star" if known else ""
    if view in ALONG_TIME:
        call = f"X, y, alpha={state.alpha!r}, depth={state.depth!r}, w0=w0, t_eval=t"
        lines += [_times(now), f"run = krf.flow_diagonal({call})"]
        return lines + _along_diagonal(state, view, now, known)
    error = (
        "ends.population_error.values"
        if known
        else "np.mean((ends.beta.values @ X_test.T - y_test) ** 2, axis=-1)"
    )
    keep = '("norms", "beta")' if view != "phase" else '("beta",)'
    call = f"alpha=alpha, depth={{depth}}, w0=w0, limit=True{star}, keep={keep}, progress=False"
    lines.append(_grid("diagonal", view))
    if view == "phase":
        return lines + _phase_diagonal(state, user, draw, call, error)
    lines.append(f"ends = krf.sweep_diagonal(\n    X, y, {call.format(depth=repr(state.depth))}\n)")
    if view == "error_alpha":
        return [*lines, f"error = {error}", *_plot("alpha", "error", log=True)]
    if view == "kernel_alpha":
        lines.append("kernel_distance = ends.kernel_distance.values")
        return [*lines, *_plot("alpha", "kernel_distance", log=True)]
    for norm in ("l1", "l2"):
        name = f"ends.{norm}_norm"
        lines.append(f"{norm} = ({name} / ({name} - ends.excess_{norm})).values")
    return lines + _plot("alpha", "l1", "l2")


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
        return ["loss = run.loss", *_plot("t", "loss", log=True)]
    if view == "kernel":
        alpha, depth = repr(state.alpha), repr(state.depth)
        return [
            f"start = krf.theory.tangent_kernel(X, w0, w0, {depth})  # in units of alpha",
            "along = krf.theory.tangent_kernel(\n"
            f"    X, run.w_plus / {alpha}, run.w_minus / {alpha}, {depth}\n)",
            "kernel_distance = krf.theory.kernel_distance(start, along)",
            *_plot("t", "kernel_distance"),
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
        *_plot("t", "l1_norm", "least_l1", "l2_norm", "least_l2"),
    ]


def _phase_diagonal(
    state: State, user: UserData | None, draw: str, call: str, error: str
) -> list[str]:
    rows = diagonal.phase_rows(state, user)
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
    return _phase(whole, body, error, state.over)


def _phase(rows: list[int] | list[float], body: list[str], error: str, over: str) -> list[str]:
    return [
        f"rows = {rows!r}",
        "error = []",
        "for row in rows:",
        *body,
        f"    error.append({error})",
        "error = np.transpose(error)  # (alpha, row)",
        "plt.pcolormesh(alpha, range(len(rows)), np.log10(error.T))",
        "plt.yticks(range(len(rows)), rows)",
        'plt.xscale("log")',
        f'plt.xlabel("alpha")\nplt.ylabel({over!r})\nplt.colorbar(label="log10 of the error")',
    ]


def _factorization(state: State, view: str, now: Now, user: UserData | None) -> list[str]:
    d, r = state.features, min(state.sparsity, state.features)
    data = f"krf.datasets.low_rank_completion({d}, {d}, {r}, {{n}}, seed={state.seed})"
    noise = f"{state.noise!r} * np.random.default_rng({state.seed}).standard_normal(({d}, {d}))"
    lines = [
        f"data = {data.format(n=factorization.observed(state))}",
        f"Y = data.Y_star + {noise}",
    ]
    seeds = f"seeds={state.seed}"
    if view in ALONG_TIME:
        lines += [
            _times(now),
            "run = krf.sweep_factorization(\n"
            f"    Y, entries=data.entries, alpha={state.alpha!r}, width={state.width}, {seeds},\n"
            f'    t_eval=t, keep=("norms", "M"), max_steps={MAX_STEPS}, progress=False\n)',
            "M = run.M.values  # (time, row, column)",
        ]
        return lines + _along_factorization(view, r)
    keep = '("norms", "M")' if view != "phase" else "()"
    call = (
        f"alpha=alpha, width={{width}}, {seeds},\n    keep={keep}, "
        f"stop_loss={factorization.STOP_LOSS!r}, rtol={factorization.RTOL!r},\n    "
        f"max_steps={MAX_STEPS}, progress=False"
    )
    lines.append(_grid("factorization", view))
    if view == "phase":
        rows = [int(row) for row in OVER["factorization"][state.over]]
        width = "row" if state.over == "width" else str(state.width)
        body = []
        if state.over == "samples":
            body.append(f"    data = {data.format(n=f'max(1, round(row * {d * d} / 100))')}")
        body.append(
            "    ends = krf.sweep_factorization(\n    Y, entries=data.entries, "
            f"{call.format(width=width)}\n    )"
        )
        return lines + _phase(rows, body, _ERROR, state.over)
    lines.append(
        "ends = krf.sweep_factorization(\n    Y, entries=data.entries, "
        f"{call.format(width=state.width)}\n)"
    )
    if view == "error_alpha":
        return [*lines, f"error = {_ERROR}", *_plot("alpha", "error", log=True)]
    if view == "kernel_alpha":
        lines.append("kernel_distance = ends.kernel_distance.values")
        return [*lines, *_plot("alpha", "kernel_distance", log=True)]
    name = "ends.nuclear_norm"
    return [
        *lines,
        f"nuclear = ({name} / ({name} - ends.excess_nuclear_norm)).values",
        "frobenius = np.linalg.norm(ends.M.values, axis=(1, 2)) / np.linalg.norm(Y)",
        *_plot("alpha", "nuclear", "frobenius", log=True),
    ]


def _along_factorization(view: str, rank: int) -> list[str]:
    if view == "paths":
        return [
            "singular = np.linalg.svd(M, compute_uv=False)",
            f"support, others = singular[:, :{rank}], singular[:, {rank}:]",
            'plt.semilogx(t, others, color="0.75", linewidth=0.6)',
            "plt.semilogx(t, support)",
            'plt.xlabel("t")',
        ]
    if view == "loss":
        return ["loss = run.loss.values", *_plot("t", "loss", log=True)]
    if view == "kernel":
        return ["kernel_distance = run.kernel_distance.values", *_plot("t", "kernel_distance")]
    names = ("nuclear_norm", "nuclear_norm_of_truth", "frobenius_norm", "frobenius_norm_of_truth")
    return [
        "nuclear_norm, frobenius_norm = run.nuclear_norm.values, np.linalg.norm(M, axis=(1, 2))",
        "nuclear_norm_of_truth = np.full(t.size, krf.theory.nuclear_norm(Y))",
        "frobenius_norm_of_truth = np.full(t.size, np.linalg.norm(Y))",
        *_plot("t", *names),
    ]


def _network(state: State, view: str, now: Now, user: UserData | None) -> list[str]:
    if user is None:
        noise = f"{state.noise!r} * np.random.default_rng({state.seed})"
        lines = [
            "X, y, X_test, y_test = krf.datasets.circle_teacher("
            f"{state.samples}, {state.sparsity}, {network.N_TEST}, seed={state.seed})",
            f"y = y + {noise}.standard_normal({state.samples})",
        ]
    else:
        lines = _users(state, user, False)
    half = state.shape / 2.0
    depth = int(state.depth)

    def options(depth: int | str) -> str:
        return (
            f"depth={depth}, layer_scales=np.logspace({half!r}, {-half!r}, {depth}),\n"
            f"    rtol={network.RTOL!r}, max_steps={network.MAX_STEPS}, antisymmetric=True"
        )

    if view in ALONG_TIME:
        lines += [
            _times(now),
            f"run = krf.flow_mlp(\n    X, y, alpha={state.alpha!r}, width={state.width}, "
            f"seed={state.seed}, {options(depth)}, t_eval=t\n)",
        ]
        return lines + _along_network(view)
    keep = '("norms",)' if view != "phase" else "()"
    call = (
        "X, y, alpha=alpha, width={width}, "
        f"seeds={state.seed}, X_test=X_test, y_test=y_test,\n    "
        f"stop_loss={network.STOP_LOSS!r}, keep={keep}, progress=False, {{options}}"
    )
    lines.append(_grid("network", view))
    if view == "phase":
        rows = [int(row) for row in OVER["network"][state.over]]
        width = "row" if state.over == "width" else str(state.width)
        shape = options("row" if state.over == "depth" else depth)
        body = [f"    ends = krf.sweep_mlp(\n    {call.format(width=width, options=shape)}\n    )"]
        return lines + _phase(rows, body, _ERROR, state.over)
    call = call.format(width=state.width, options=options(depth))
    lines.append(f"ends = krf.sweep_mlp(\n    {call}\n)")
    if view == "error_alpha":
        return [*lines, f"error = {_ERROR}", *_plot("alpha", "error", log=True)]
    if view == "kernel_alpha":
        lines.append("feature_distance = ends.feature_distance.values")
        return [*lines, *_plot("alpha", "feature_distance", log=True)]
    return [
        *lines,
        f"start = krf.flow_mlp(\n    X, y, alpha=1.0, width={state.width}, seed={state.seed}, "
        f"t_eval=[1e-300], {options(depth)}\n)",
        "norm = np.sqrt(sum(np.sum(layer**2) for layer in start.weights0))",
        "growth = ends.weight_norm.values / (norm * alpha)",
        *_plot("alpha", "growth", log=True),
    ]


def _along_network(view: str) -> list[str]:
    if view == "paths":
        return [
            "into, out = run.weights[0], run.weights[1]  # (time, copy, fan_out, fan_in)",
            "strength = np.linalg.norm(into, axis=-1) * np.linalg.norm(out, axis=-2)",
            "strength = strength.reshape(t.size, -1)",
            "chosen = np.sort(np.argsort(strength[-1])[::-1][:6])",
            "support, others = strength[:, chosen], np.delete(strength, chosen, axis=1)",
            'plt.semilogx(t, others, color="0.75", linewidth=0.6)',
            "plt.semilogx(t, support)",
            'plt.xlabel("t")',
        ]
    if view == "loss":
        return ["loss = run.loss", *_plot("t", "loss", log=True)]
    if view == "kernel":
        return [
            "feature_distance = krf.theory.mlp_feature_distance(\n"
            "    run.weights0, run.weights, X, antisymmetric=True\n)",
            *_plot("t", "feature_distance"),
        ]
    if view == "norms":
        return [
            "squares = sum(np.sum(layer**2, axis=(-3, -2, -1)) for layer in run.weights)",
            "weight_norm = np.sqrt(squares)",
            *_plot("t", "weight_norm", log=True),
        ]
    return [
        "angle = np.degrees(np.arctan2(X_test[:, 1], X_test[:, 0])) % 360.0",
        "position = angle if X_test.shape[1] == 2 else np.arange(len(X_test), dtype=float)",
        "order = np.argsort(position)",
        "position, target = position[order], y_test[order]",
        "prediction = run.predict(X_test)[-1][order]",
        'plt.plot(position, target, "--", label="target")',
        'plt.plot(position, prediction, label="prediction")',
        "plt.legend()",
    ]
