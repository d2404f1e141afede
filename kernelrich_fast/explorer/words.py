"""What views, curves and axes are called, for each model."""

from __future__ import annotations

__all__ = ["CURVES", "OVER_ALPHA", "OVER_TIME", "TITLES", "VIEWS", "X_LABELS", "Y_LABELS"]

OVER_TIME = ("paths", "loss", "norms", "kernel")
OVER_ALPHA = ("error_alpha", "norms_alpha", "kernel_alpha")
VIEWS = (*OVER_TIME, "function", *OVER_ALPHA, "phase")

TITLES = {
    "diagonal": {
        "paths": "Coefficients along the flow",
        "loss": "Loss along the flow",
        "norms": "Norms, and their minima (flat)",
        "kernel": "Movement of the tangent kernel",
        "error_alpha": "Error at the end, over the scale",
        "norms_alpha": "Norms at the end, over their minima",
        "kernel_alpha": "Kernel movement, over the scale",
        "phase": "Phase diagram",
    },
    "factorization": {
        "paths": "Singular values along the flow",
        "loss": "Loss along the flow",
        "norms": "Norms, and those of the truth (flat)",
        "kernel": "Movement of the tangent kernel",
        "error_alpha": "Error at the end, over the scale",
        "norms_alpha": "Norms at the end, over the truth's",
        "kernel_alpha": "Kernel movement, over the scale",
        "phase": "Phase diagram",
    },
    "network": {
        "paths": "Strength of the hidden units",
        "loss": "Loss along the flow",
        "norms": "Norm of the weights along the flow",
        "kernel": "Movement of the tangent features",
        "function": "The function at the end",
        "error_alpha": "Error at the end, over the scale",
        "norms_alpha": "Growth of the weights, over the scale",
        "kernel_alpha": "Feature movement, over the scale",
        "phase": "Phase diagram",
    },
}

CURVES: dict[str, dict[str, tuple[str, ...]]] = {
    "diagonal": {
        "paths": ("true support", "other features"),
        "loss": ("loss",),
        "norms": ("‖β‖₁", "its min.", "‖β‖₂", "its min."),
        "kernel": ("1 − cos(K₀, K)",),
        "error_alpha": ("error",),
        "norms_alpha": ("‖β‖₁ / its min.", "‖β‖₂ / its min."),
        "kernel_alpha": ("1 − cos(K₀, K)",),
    },
    "factorization": {
        "paths": ("as many as the rank", "others"),
        "loss": ("loss",),
        "norms": ("‖M‖∗", "truth's", "‖M‖F", "truth's"),
        "kernel": ("1 − cos(K₀, K)",),
        "error_alpha": ("RMS, unobserved entries",),
        "norms_alpha": ("‖M‖∗ / truth", "‖M‖F / truth"),
        "kernel_alpha": ("1 − cos(K₀, K)",),
    },
    "network": {
        "paths": ("six strongest units", "others"),
        "loss": ("loss",),
        "norms": ("‖w‖",),
        "kernel": ("1 − cos(Φ₀, Φ)",),
        "function": ("target", "prediction"),
        "error_alpha": ("test RMSE",),
        "norms_alpha": ("‖w‖ / ‖w(0)‖",),
        "kernel_alpha": ("1 − cos(Φ₀, Φ)",),
    },
}

Y_LABELS: dict[str, dict[str, str]] = {
    "diagonal": {
        "paths": "β", "loss": "L", "norms": "norm", "kernel": "distance", "error_alpha": "error",
        "norms_alpha": "ratio", "kernel_alpha": "distance",
    },
    "factorization": {
        "paths": "singular value", "loss": "L", "norms": "norm", "kernel": "distance",
        "error_alpha": "RMSE", "norms_alpha": "ratio", "kernel_alpha": "distance",
    },
    "network": {
        "paths": "strength", "loss": "L", "norms": "norm", "kernel": "distance", "function": "f(x)",
        "error_alpha": "RMSE", "norms_alpha": "ratio", "kernel_alpha": "distance",
    },
    "over": {"samples": "samples N", "depth": "depth D", "width": "width k"},
}  # fmt: skip

X_LABELS = {"function": "angle (degrees), or test sample"}
