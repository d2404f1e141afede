"""The code behind the pictures of ReLU networks."""

from __future__ import annotations

from .code_lines import (
    ALONG_TIME,
    GOOD,
    grid_line,
    phase_lines,
    plot_lines,
    times_line,
    user_lines,
)
from .controls import OVER
from .files import UserData
from .network import MAX_STEPS, N_TEST, RTOL, STOP_LOSS
from .state import State
from .tables import Now

__all__ = ["network_lines"]


def network_lines(state: State, view: str, now: Now, user: UserData | None) -> list[str]:
    if user is None:
        noise = f"{state.noise!r} * np.random.default_rng({state.seed})"
        lines = [
            "X, y, X_test, y_test = krf.datasets.circle_teacher("
            f"{state.samples}, {state.sparsity}, {N_TEST}, seed={state.seed})",
            f"y = y + {noise}.standard_normal({state.samples})",
        ]
    else:
        lines = user_lines(state, user, False)
    half = state.shape / 2.0
    depth = int(state.depth)

    def options(depth: int | str) -> str:
        return (
            f"depth={depth}, layer_scales=np.logspace({half!r}, {-half!r}, {depth}),\n"
            f"    rtol={RTOL!r}, max_steps={MAX_STEPS}, antisymmetric=True"
        )

    if view in ALONG_TIME:
        lines += [
            times_line(now),
            f"run = krf.flow_mlp(\n    X, y, alpha={state.alpha!r}, width={state.width}, "
            f"seed={state.seed}, {options(depth)}, t_eval=t\n)",
        ]
        return lines + _along_network(view)
    keep = '("norms",)' if view != "phase" else "()"
    call = (
        "X, y, alpha=alpha, width={width}, "
        f"seeds={state.seed}, X_test=X_test, y_test=y_test,\n    "
        f"stop_loss={STOP_LOSS!r}, keep={keep}, progress=False, {{options}}"
    )
    lines.append(grid_line("network", view))
    if view == "phase":
        rows = [int(row) for row in OVER["network"][state.over]]
        width = "row" if state.over == "width" else str(state.width)
        shape = options("row" if state.over == "depth" else depth)
        body = [f"    ends = krf.sweep_mlp(\n    {call.format(width=width, options=shape)}\n    )"]
        return lines + phase_lines(rows, body, "ends.test_rmse.values", state.over)
    call = call.format(width=state.width, options=options(depth))
    lines.append(f"ends = krf.sweep_mlp(\n    {call}\n)")
    lines.append(GOOD)
    if view == "error_alpha":
        return [*lines, "error = ends.test_rmse.values", *plot_lines("alpha", "error", log=True)]
    if view == "kernel_alpha":
        lines.append("feature_distance = ends.feature_distance.values")
        return [*lines, *plot_lines("alpha", "feature_distance", log=True)]
    return [
        *lines,
        f"start = krf.flow_mlp(\n    X, y, alpha=1.0, width={state.width}, seed={state.seed}, "
        f"t_eval=[1e-300], {options(depth)}\n)",
        "norm = np.sqrt(sum(np.sum(layer**2) for layer in start.weights0))",
        "growth = ends.weight_norm.values / (norm * alpha)",
        *plot_lines("alpha", "growth", log=True),
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
        return ["loss = run.loss", *plot_lines("t", "loss", log=True)]
    if view == "kernel":
        return [
            "feature_distance = krf.theory.mlp_feature_distance(\n"
            "    run.weights0, run.weights, X, antisymmetric=True\n)",
            *plot_lines("t", "feature_distance"),
        ]
    if view == "norms":
        return [
            "squares = sum(np.sum(layer**2, axis=(-3, -2, -1)) for layer in run.weights)",
            "weight_norm = np.sqrt(squares)",
            *plot_lines("t", "weight_norm", log=True),
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
