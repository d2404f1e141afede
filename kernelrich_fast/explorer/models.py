"""The models of the page by name: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

from . import diagonal, factorization, network
from .files import UserData
from .state import State
from .tables import Now, Partial

__all__ = ["Model", "model_of"]


class Model(Protocol):
    """What each model's module has."""

    def problem(self, state: State, user: UserData | None) -> Any:
        """Data of the state."""

    def now(self, state: State, data: Any) -> Now:
        """The flow at the present scale."""

    def over_alpha(self, state: State, data: Any) -> Iterator[Partial]:
        """Where flows end at every scale."""

    def phase(self, state: State, data: Any, user: UserData | None) -> Iterator[Partial]:
        """The error over the scale and a second quantity."""


_MODELS = {"diagonal": diagonal, "factorization": factorization, "network": network}


def model_of(state: State) -> Model:
    """The module of a state's model.

    Examples
    --------
    >>> from kernelrich_fast.explorer.models import model_of
    >>> from kernelrich_fast.explorer.state import default_state
    >>> state = default_state("network")
    >>> model_of(state).problem(state, None).X.shape
    (10, 2)
    """
    return cast(Model, _MODELS[state.model])
