"""What the reader of the page chose, as a value that the address of the page holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from .controls import CONTROLS, MODELS, OVER, Control

__all__ = ["GENERATED", "State", "default_state", "parse_state", "to_query"]

GENERATED = "generated"


@dataclass(frozen=True)
class State:
    """A model, its data, and a value for each control; those of other models are ignored.

    ``data`` is "generated" or the name under which the server keeps a data set of the user's.
    """

    model: str = "diagonal"
    data: str = GENERATED
    over: str = "samples"
    alpha: float = 0.1
    depth: float = 2.0
    shape: float = 0.0
    width: int = 30
    samples: int = 40
    features: int = 200
    sparsity: int = 5
    noise: float = 0.1
    held_out: float = 0.2
    seed: int = 0

    @property
    def generated(self) -> bool:
        """Whether the data are drawn, not the user's."""
        return self.data == GENERATED

    def controls(self) -> tuple[Control, ...]:
        """The controls that mean something for this model and these data."""
        return tuple(
            c
            for c in CONTROLS[self.model]
            if (self.generated or not c.generated) and not (self.generated and c.name == "held_out")
        )


def default_state(model: str = "diagonal", data: str = GENERATED) -> State:
    """A state of that model with every control at its default.

    Examples
    --------
    >>> from kernelrich_fast.explorer.state import default_state
    >>> default_state("network").alpha
    0.3
    """
    values: dict[str, Any] = {c.name: _number(c, c.default) for c in CONTROLS[model]}
    return replace(State(model, data, next(iter(OVER[model]))), **values)


def parse_state(query: Mapping[str, str]) -> tuple[State, list[str]]:
    """The state that an address describes, and what is wrong with the address, in words.

    Parameters
    ----------
    query : mapping of str to str
        Names and values; what is missing takes its default.

    Returns
    -------
    State
        Always a legal one: a bad value is replaced by the default.
    list of str
        A message for each value that was replaced or ignored.

    Examples
    --------
    >>> from kernelrich_fast.explorer.state import parse_state
    >>> state, messages = parse_state({"alpha": "0.01", "depth": "99"})
    >>> state.alpha, state.depth
    (0.01, 2.0)
    >>> messages
    ['depth: expected a number from 2 to 6, got 99; 2 is used instead']
    """
    messages = []
    model = query.get("model", "diagonal")
    if model not in MODELS:
        messages.append(_replaced("model", f"one of {', '.join(MODELS)}", model, "diagonal"))
        model = "diagonal"
    state = default_state(model, query.get("data", GENERATED))
    over = query.get("over", state.over)
    if over not in OVER[model]:
        messages.append(_replaced("over", f"one of {', '.join(OVER[model])}", over, state.over))
        over = state.over
    values: dict[str, Any] = {}
    known = {"model", "data", "over"}
    for control in CONTROLS[model]:
        known.add(control.name)
        if control.name in query:
            value = _parsed(control, query[control.name])
            if value is None:
                what = "a whole number" if control.whole else "a number"
                wanted = f"{what} from {control.low:g} to {control.high:g}"
                used = f"{control.default:g}"
                messages.append(_replaced(control.name, wanted, query[control.name], used))
            else:
                values[control.name] = value
    messages += [f"{name[:40]}: no such setting, ignored" for name in query if name not in known]
    state = replace(state, over=over, **values)
    if state.sparsity > state.features and model != "network":
        state = replace(state, sparsity=state.features)
    return state, messages


def to_query(state: State) -> str:
    """The state as the query of an address; `parse_state` reads it back without a difference.

    Examples
    --------
    >>> from kernelrich_fast.explorer.state import default_state, to_query
    >>> to_query(default_state("factorization"))[:40]
    'model=factorization&data=generated&over='
    """
    pairs = {"model": state.model, "data": state.data, "over": state.over}
    pairs |= {c.name: f"{getattr(state, c.name):.12g}" for c in state.controls()}
    return urlencode(pairs)


def _replaced(name: str, wanted: str, got: str, used: str) -> str:
    return f"{name}: expected {wanted}, got {got[:40]}; {used} is used instead"


def _number(control: Control, value: float) -> float | int:
    return int(value) if control.whole else float(value)


def _parsed(control: Control, text: str) -> float | int | None:
    """The value of a control, or None if the text is not one of its values."""
    try:
        value = float(text)
    except ValueError:
        return None
    slack = 1e-9 * abs(control.high)
    if not math.isfinite(value) or not control.low - slack <= value <= control.high + slack:
        return None
    if control.whole and value != int(value):
        return None
    return _number(control, min(max(value, control.low), control.high))
