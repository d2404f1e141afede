"""Attributes of the variables and coordinates of sweeps, after the CF conventions."""

from __future__ import annotations

from typing import Any

from ..status import status_attrs

__all__ = ["variable_attrs"]

# What variables and coordinates are, and their units; those of the data where there are none here.
_LONG_NAMES = {
    "M": ("predictor", None), "M_star": ("the true predictor", None),
    "alpha": ("scale of the initial weights", "1"),
    "beta": ("coefficients of the predictor", None),
    "beta_mean": ("mean of the coefficients over time", None),
    "beta_star": ("coefficients of the truth", None),
    "column": ("column of the matrix", "1"), "depth": ("number of layers", "1"),
    "excess_l1": ("l1 norm less that of the minimum-l1 interpolant", None),
    "excess_l2": ("l2 norm less that of the minimum-l2 interpolant", None),
    "distance": ("Frobenius distance of M from M_star", None),
    "effective_rank": ("effective rank of M", "1"),
    "excess_nuclear_norm": ("nuclear norm less that of Y_star", None),
    "feature": ("feature", "1"),
    "first_jump": ("time of the first jump, in units of T0(alpha)", "1"),
    "feature_distance": ("cosine distance of the tangent features from the start", "1"),
    "jump": ("number of the jump", "1"),
    "jump_time": ("time of the jump, in units of T0(alpha)", "1"),
    "kernel_distance": ("cosine distance of the tangent kernels from the start", "1"),
    "input": ("input", "1"), "mode": ("number of the singular value", "1"),
    "kernel_error": ("test error of the kernel predictor", "1"),
    "kernel_rmse": ("test RMSE of the kernel predictor", None),
    "l1_norm": ("l1 norm of beta", None),
    "l2_norm": ("l2 norm of beta", None),
    "last_jump": ("time of the last jump, in units of T0(alpha)", "1"),
    "last_layer_error": ("test error when the last layer alone is trained", "1"),
    "last_layer_rmse": ("test RMSE when the last layer alone is trained", None),
    "loss": ("training loss", None),
    "critical_loss": ("ln L from which on the l1 norm of the direction is near the least", "1"),
    "log_loss": ("logarithm of the training loss", "1"),
    "log_t": ("logarithm of the gradient-flow time", "1"),
    "margin": ("least margin", "1"),
    "reached_log_loss": ("logarithm of the loss of the state", "1"),
    "reached_log_t": ("logarithm of the time of the state", "1"),
    "direction_nuclear_norm": ("nuclear norm of M over the least margin", "1"),
    "n_active": ("coefficients other than zero", "1"), "n_jumps": ("jumps", "1"),
    "n_pivots": ("least-squares fits", "1"), "n_steps": ("steps or iterations", "1"),
    "nuclear_norm": ("nuclear norm of M", None),
    "population_error": ("squared distance of beta from the truth", None),
    "observed": ("whether the entry was observed", "1"),
    "output": ("output", "1"), "penalty": ("squared norm of the weights", None),
    "prediction": ("prediction at the test inputs", None), "problem": ("problem", "1"),
    "profile": ("profile of the initial weights", "1"), "row": ("row of the matrix", "1"),
    "rtol": ("relative accuracy", "1"), "scale": ("scale of the initial weights", "1"),
    "saddle_error": ("population error after the jump", None),
    "saddle_l1_norm": ("l1 norm of beta after the jump", None),
    "saddle_loss": ("training loss after the jump", None),
    "seed": ("seed", "1"), "singular_values": ("singular values of M", None),
    "status": ("how the run ended", "1"),
    "stop_log_loss": ("logarithm of the loss at which a run ends", "1"),
    "stop_loss": ("loss at which a run ends, relative to that of the zero predictor", "1"),
    "t": ("gradient-flow time of the state", "gradient-flow time"),
    "t_max": ("time at which a run ends", "gradient-flow time"),
    "test_error": ("share of wrong classes on what was not trained on", "1"),
    "test_rmse": ("root mean square error on what was not trained on", None),
    "time": ("gradient-flow time asked for", "gradient-flow time"),
    "unique": ("whether beta is the only minimiser", "1"),
    "unobserved_movement": ("Frobenius norm of the change of unobserved entries", None),
    "unobserved_rms": ("root mean square of the change of unobserved entries", None),
    "w0": ("initial weights in units of alpha", "1"), "weight_norm": ("norm of all weights", "1"),
    "weight_decay": ("weight decay", None), "width": ("width", "1"),
}  # fmt: skip

# Where a margin loss gives a name another meaning.
_OF_MARGINS = {
    "excess_l1": ("l1 norm of the direction over the least with margins of 1, less 1", "1"),
    "excess_l2": ("l2 norm of the direction over the least with margins of 1, less 1", "1"),
    "l1_norm": ("l1 norm of the direction, beta over the least margin", None),
    "l2_norm": ("l2 norm of the direction, beta over the least margin", None),
    "population_error": ("squared distance of beta / |beta| from the truth", "1"),
}


def variable_attrs(name: str, of_margins: bool = False) -> dict[str, Any]:
    """long_name, units, and for the status what its numbers mean."""
    long_name, units = _LONG_NAMES.get(name, (name.replace("_", " "), None))
    if of_margins:
        long_name, units = _OF_MARGINS.get(name, (long_name, units))
    attrs: dict[str, Any] = {"long_name": long_name, "units": units or "units of the data"}
    return attrs | (status_attrs() if name == "status" else {})
