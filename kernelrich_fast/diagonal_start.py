"""The initial weights of a diagonal network: from a scale and a profile, or from a result.

Three models have the flow of one, w_plus^D - w_minus^D, at depth 2:

    difference     beta = w_plus^D - w_minus^D      w_plus(0), w_minus(0) = alpha w0
    product        beta = u v                       u(0), v(0) = alpha w0 sqrt(1 +- balance)
    two_products   beta = u_plus v_plus - u_minus v_minus, both pairs from there

With w_plus = |u + v| / 2 and w_minus = |u - v| / 2 a product u v is w_plus^2 - w_minus^2, and
|u|^2 + |v|^2 is 2 (|w_plus|^2 + |w_minus|^2); so its time is twice as long, as it is for two
products, whose w_plus^2 is (u_plus + v_plus)^2 / 4 + (u_minus - v_minus)^2 / 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _validate as check
from ._device import namespace, to_host
from ._types import FloatArray
from .backends import DiagonalBatch, make_batch
from .diagonal_results import DiagonalFlow, DiagonalLimit
from .equations.diagonal import predictor
from .schedules import Schedule

__all__ = [
    "MODELS", "Start", "check_weight_range", "checked_model", "checked_scale", "continued",
    "diagonal_batch", "expect_both_signs", "layer_fields", "new_start", "start_of",
    "start_profiles",
]  # fmt: skip

MODELS = ("difference", "product", "two_products")

# Base-10 logarithms between which powers of the initial weights must lie. Slopes carry a factor of
# 4 D^2 on top, hence the lower upper end.
_LOG_RANGE = (-304.0, 296.0)
# How far w_plus^D - w_minus^D of a result may be from its beta: it tells of another depth.
_SAME = 1e-6


def expect_both_signs(minus: FloatArray) -> None:
    """A limit is found from both weights; without w_minus there may be none that fits."""
    if float(to_host(minus.min())) == 0.0:
        raise ValueError(
            "w_minus0: expected positive values for a limit, got 0; a weight of zero stays zero, "
            "and beta = w_plus^D >= 0 may fit no data: integrate by flow_diagonal"
        )


@dataclass(frozen=True)
class Start:
    """Checked model, and weights at the start: ``plus`` and ``minus`` times ``alpha``."""

    model: str
    alpha: FloatArray
    depth: FloatArray
    plus: FloatArray
    minus: FloatArray
    balance: FloatArray | None  # where it is that of the layers
    layer_sign: FloatArray | None  # of (u + v) (u - v), where it is known

    def time_factor(self, loss_scale: float) -> float:
        """Time of the flow that is integrated over that of the model."""
        return loss_scale if self.model == "difference" else 0.5 * loss_scale


def checked_model(model: Any, start: Any) -> str:
    """The model that is asked for, or that of the result to start from."""
    if start is not None and not isinstance(start, DiagonalFlow | DiagonalLimit):
        raise TypeError(
            "start: expected a result of flow_diagonal or limit_diagonal, got "
            f"{type(start).__name__}"
        )
    if model is None:
        return "difference" if start is None else str(start.model)
    check.choice("model", model, MODELS)
    if start is not None and start.model != model:
        raise ValueError(f"model: expected that of start, {start.model!r}, got {model!r}")
    return str(model)


def start_profiles(
    d: int, w0: Any, w_plus0: Any, w_minus0: Any, *, device: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Checked profiles of w_plus and w_minus; w0, or ones, where they are not given."""
    common = check.profile("w0", 1.0 if w0 is None else w0, d, device=device)
    plus = common if w_plus0 is None else check.profile("w_plus0", w_plus0, d, device=device)
    if w_minus0 is None:
        return plus, common
    minus = check.profile("w_minus0", w_minus0, d, device=device, zero=True)
    if w0 is not None and w_plus0 is not None and not _equal(common, plus, minus):
        raise ValueError(
            "w0: expected none beside w_plus0 and w_minus0, which are the whole start, got all "
            "three; w0 is the profile of what is not given of the two"
        )
    return plus, minus


def _equal(first: FloatArray, *others: FloatArray) -> bool:
    """Whether profiles have the same values, however their leading axes broadcast."""
    one = to_host(first)
    try:
        return all(bool(np.all(one == to_host(other))) for other in others)
    except ValueError:  # shapes that do not
        return False


def new_start(
    d: int, alpha: Any, depth: Any, w0: Any, w_plus0: Any, w_minus0: Any, model: str, balance: Any
) -> Start:
    """From a scale and a profile."""
    if alpha is None:
        raise TypeError("alpha: expected the scale of the initial weights, or start=, got neither")
    scale = check.positive_array("alpha", alpha)
    layers = check.depth_array("depth", depth)
    if model == "difference":
        if balance is not None:
            raise ValueError("balance: expected none for model='difference', which has no layers")
        plus, minus = start_profiles(d, w0, w_plus0, w_minus0, device=True)
        return Start(model, scale, layers, plus, minus, None, None)
    for name, given in (("w_plus0", w_plus0), ("w_minus0", w_minus0)):
        if given is not None:
            raise ValueError(f"{name}: expected w0 and balance for model={model!r}, got {name}")
    _expect_depth_two(layers, model)
    common, _ = start_profiles(d, w0, None, None, device=True)
    xp = namespace(common)
    if model == "two_products":
        b = _balance(0.0 if balance is None else balance)
        common = common * xp.ones((*b.shape, 1))  # runs may differ in their balance alone
        return Start(model, scale, layers, common, common, b, None)
    b = _balance(1.0 if balance is None else balance)
    if np.any(b == 0.0):
        raise ValueError(
            "balance: expected values other than 0 for model='product', where u = v stays so and "
            "beta = u v cannot be negative; got 0"
        )
    # (u + v)^2 = 2 (1 + root) and (u - v)^2 = 2 (1 - root) = 2 b^2 / (1 + root), in units of alpha
    root = 1.0 + np.sqrt(1.0 - b**2)
    half_sum, half_gap = np.sqrt(0.5 * root), np.abs(b) / np.sqrt(2.0 * root)
    plus, minus = (xp.asarray(half[..., None]) * common for half in (half_sum, half_gap))
    return Start(model, scale, layers, plus, minus, b, np.sign(b)[..., None])


def continued(
    start: Any, d: int, given: dict[str, Any], depth: Any, model: str, layers: Any
) -> Start:
    """From the last weights of a result, whose layers are multiplied by ``layers`` = (a, b)."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name}: expected none together with start, whose weights are taken")
    plus, minus, beta = (_last(start, name) for name in ("w_plus", "w_minus", "beta"))
    if plus.shape[-1] != d:
        raise ValueError(f"start: expected a result of {d} features, got {plus.shape[-1]}")
    D = check.depth_array("depth", depth)
    _expect_depth_of(start, D, plus, minus, beta)
    balance, sign = start.balance, start.layer_sign
    if layers is not None:
        plus, minus, sign = _rescaled(start, plus, minus, layers, model)
        balance = None
    if not bool((plus > 0.0).all()):
        raise ValueError(
            "start: expected positive weights w_plus, got zeros; a weight of zero stays zero, so "
            "start from weights that are small instead (weight decay lets weights fall below the "
            "smallest double: end the flow earlier)"
        )
    if model != "difference":
        _expect_depth_two(D, model)
    check_weight_range(np.array(1.0), D, plus, minus, "start: expected weights")
    return Start(model, np.array(1.0), D, plus, minus, balance, sign)


def _expect_depth_of(
    start: Any, D: FloatArray, plus: FloatArray, minus: FloatArray, beta: FloatArray
) -> None:
    """Raise unless w_plus^D - w_minus^D is the beta of the result, and D its depth.

    Where beta is zero, the weights do not tell it.
    """
    xp = namespace(plus)
    known = start.depth
    try:
        np.broadcast_shapes(D.shape, plus.shape[:-1], () if known is None else known.shape)
    except ValueError:
        raise ValueError(
            f"depth: expected a shape that broadcasts with that of start, {plus.shape[:-1]}, got "
            f"{D.shape}"
        ) from None
    off = xp.linalg.norm(predictor(plus, minus, xp.asarray(D)[..., None]) - beta, axis=-1)
    other = bool((off > _SAME * xp.linalg.norm(beta, axis=-1)).any())
    if known is not None:
        other = other or bool((np.abs(D - known) > _SAME * known).any())
    if not other:
        return
    own = _listed(known) if known is not None else _depth_from(plus, minus, beta)
    got = _listed(D) + (", the default" if D.shape == () and D == 2.0 else "")
    raise ValueError(
        f"depth: expected the depth of start, {own}, got {got}"
        + (f"; pass depth={own}" if known is not None and known.shape == () else "")
    )


def _listed(depth: FloatArray) -> str:
    return ", ".join(f"{each:.10g}" for each in np.unique(depth)[:5])


def _depth_from(plus: FloatArray, minus: FloatArray, beta: FloatArray) -> str:
    """The depth of a result in words, if it is one of the usual numbers."""
    size = float(abs(beta).max())
    for depth in np.arange(2.0, 32.0, 0.25):
        if float(abs(predictor(plus, minus, float(depth)) - beta).max()) <= _SAME * size:
            return f"{depth:g}"
    return "which its weights have"


def _last(start: Any, name: str) -> Any:
    """The weights at the last time, (..., n_features)."""
    array = getattr(start, name)
    return array[..., -1, :] if start._timed else array


def _rescaled(
    start: Any, plus: FloatArray, minus: FloatArray, layers: Any, model: str
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Weights after u -> a u and v -> b v."""
    if model == "difference":
        raise ValueError("rescale_layers: expected a model of products, got model='difference'")
    pair = check.pair("rescale_layers", layers, "(a, b) of factors of u and v")
    a, b = (check.scalar("rescale_layers", each, low=0.0) for each in pair)
    half_sum, half_gap = 0.5 * (a + b), 0.5 * (a - b)
    xp = namespace(plus)
    if model == "product":
        sign = xp.asarray(start.layer_sign)
        # u + v = 2 w_plus and u - v = 2 sign w_minus, up to a sign of both
        total = half_sum * plus + half_gap * sign * minus
        gap = half_gap * plus + half_sum * sign * minus
        return abs(total), abs(gap), xp.sign(total) * xp.sign(gap)
    if start.balance is None:
        raise ValueError(
            "rescale_layers: expected once for model='two_products', whose layers after that are "
            "not those of a balance; got it again"
        )
    balance = xp.asarray(start.balance)[..., None]
    share = 0.5 * (1.0 + xp.sqrt(1.0 - balance**2))  # of w_plus^2 that is (u_plus + v_plus)^2 / 4
    near, far = xp.sqrt(share), xp.sign(balance) * xp.sqrt(1.0 - share)
    sums = (
        half_sum * near * plus + half_gap * far * minus,  # (u_plus + v_plus) / 2
        half_sum * far * plus + half_gap * near * minus,  # (u_minus - v_minus) / 2
    )
    gaps = (
        half_sum * far * minus + half_gap * near * plus,  # (u_plus - v_plus) / 2
        half_sum * near * minus + half_gap * far * plus,  # (u_minus + v_minus) / 2
    )
    return xp.hypot(*sums), xp.hypot(*gaps), None


def _expect_depth_two(depth: FloatArray, model: str) -> None:
    if np.any(depth != 2.0):
        raise ValueError(f"depth: expected 2 for model={model!r}, got {float(depth.max()):g}")


def _balance(value: Any) -> FloatArray:
    array = check.real_array("balance", value)
    if np.abs(array).max() > 1.0:
        raise ValueError(f"balance: expected values in [-1, 1], got {array}")
    return array


def diagonal_batch(
    X: Any, y: Any, start: Start, options: dict[str, tuple[int, ...]], decay: Schedule | None
) -> DiagonalBatch:
    """The batch of checked data and start."""
    check_weight_range(start.alpha, start.depth, start.plus, start.minus)
    return make_batch(
        X, y, start.alpha, start.depth, start.plus, start.minus, options, decay,
        sweep="sweep_diagonal",
    )  # fmt: skip


def check_weight_range(
    alpha: FloatArray, depth: FloatArray, plus: FloatArray, minus: FloatArray,
    what: str = "alpha: expected weights alpha * w0",
) -> None:  # fmt: skip
    """w^(2D-2) at the start must be a floating-point number (w^2 at depth 2).

    Examples
    --------
    >>> import numpy as np
    >>> check_weight_range(np.array(1e-3), np.array(2.0), np.ones(3), np.ones(3))
    """
    least = float(to_host(minus.min()))
    if least == 0.0:  # weights that are not there
        least = float(to_host(minus[minus > 0.0].min())) if bool((minus > 0.0).any()) else np.inf
    low = np.log10(min(float(to_host(plus.min())), least))
    high = np.log10(max(float(to_host(plus.max())), float(to_host(minus.max()))))
    log_alpha = np.log10(alpha)
    ends = float(log_alpha.min() + low), float(log_alpha.max() + high)
    for deep in {float(depth.min()), float(depth.max())}:
        power = 2.0 * deep - 2.0
        for log in ends:
            if not _LOG_RANGE[0] <= log * power <= _LOG_RANGE[1]:
                # Rounded to three digits the ends are still allowed.
                least, most = _LOG_RANGE[0] / power + 0.003, _LOG_RANGE[1] / power - 0.003
                scale = max(least - low, -307.0), min(most - high, 308.0)
                # Weights that leave no double for alpha are at fault themselves.
                if "alpha" in what and scale[0] <= scale[1]:
                    of, (least, most) = "alpha", scale
                else:
                    of = "weights"
                raise ValueError(
                    f"{what} whose power {power:g} (depth {deep:g}) is a floating-point number, "
                    f"{of} from {_power_of_ten(least)} to {_power_of_ten(most)}, got a weight of "
                    f"{_power_of_ten(log)}"
                )


def _power_of_ten(log: float) -> str:
    """10^log to three digits, also beyond the doubles."""
    exponent = math.floor(log)
    if -4 <= exponent < 3:
        return f"{10.0**log:.3g}"
    return f"{10.0 ** (log - exponent):.3g}e{exponent:+d}"


def checked_scale(loss_scale: Any) -> float:
    """The argument ``loss_scale``."""
    if type(loss_scale) is float and loss_scale == 1.0:  # most calls
        return 1.0
    # Beyond, the times would leave the doubles.
    return check.scalar("loss_scale", loss_scale, low=1e-150, high=1e150, open_low=False)


def start_of(
    X: Any, alpha: Any, depth: Any, w0: Any, w_plus0: Any, w_minus0: Any, model: Any, balance: Any,
    start: Any, rescale_layers: Any,
) -> Start:  # fmt: skip
    """The checked weights at the start."""
    chosen = checked_model(model, start)
    if start is None:
        if rescale_layers is not None:
            raise ValueError("rescale_layers: expected start=, whose layers are multiplied")
        return new_start(X.shape[-1], alpha, depth, w0, w_plus0, w_minus0, chosen, balance)
    given = {
        "alpha": alpha, "w0": w0, "w_plus0": w_plus0, "w_minus0": w_minus0, "balance": balance,
    }  # fmt: skip
    return continued(start, X.shape[-1], given, depth, chosen, rescale_layers)


def layer_fields(start: Start, shape: tuple[int, ...], d: int) -> dict[str, Any]:
    """What a result says of its model."""
    balance, sign = start.balance, start.layer_sign
    return {
        "model": start.model,
        "depth": np.broadcast_to(start.depth, shape).copy(),
        "balance": None if balance is None else np.broadcast_to(balance, shape).copy(),
        "layer_sign": None if sign is None else np.broadcast_to(to_host(sign), (*shape, d)).copy(),
    }
