"""How a run ended."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConvergenceWarning

__all__ = ["Status", "StatusArray", "StatusNumber"]


class Status(IntEnum):
    """How a run ended.

    Compare with members, as ``flow.status == krf.Status.CONVERGED``: that holds for results and for
    Datasets. The status of a result may be compared with names too; a Dataset holds plain integers,
    which NumPy takes to differ from every string.

    Examples
    --------
    >>> Status(1).name
    'T_END'
    """

    CONVERGED = 0
    """The loss reached ``stop_loss`` (with ``t_eval`` its default, 1e-12, at the last time), or the
    limit its tolerance."""
    T_END = 1
    """The last requested time was reached, with a loss above ``stop_loss``."""
    STATIONARY = 2
    """The gradient of the objective vanished above ``stop_loss``: at the least-squares solution, at
    a local minimum of a network (or with all its units off), at the minimum of a margin loss on
    classes that are not separable, or, under constant weight decay, at a stationary point."""
    MAX_STEPS = 3
    """The step or iteration budget was used up, or rounding allowed no further progress."""
    FAILED = 4
    """No step could be made, or the problem leaves the floating-point range; or rounding does not
    let the end of a `rich_path` be told."""


_NAMES = {int(each): each.name for each in Status}


def _numbers(other: Any) -> Any:
    """Names of statuses as what they stand for, anything else as it is."""
    if not isinstance(other, str | list | tuple | np.ndarray):
        return other
    array = np.asarray(other)
    if array.dtype.kind != "U":
        return other
    for name in array.ravel():
        if name not in Status.__members__:
            raise ValueError(f"status: expected one of {', '.join(Status.__members__)}, got {name}")
    return np.reshape([int(Status[name]) for name in array.ravel()], array.shape)


def _format(status: Any, spec: str) -> str:
    """The name, or, in formats of integers such as "d", the number."""
    number = int(status)
    text = _NAMES.get(number, str(number))
    return format(number if spec[-1:] in tuple("bcdnoxX") else text, spec)


class StatusNumber(np.int64):
    """One status of a batch, a NumPy integer that shows its name and may be compared with names.

    Examples
    --------
    >>> StatusNumber(0), StatusNumber(0) == "CONVERGED"
    (<Status.CONVERGED: 0>, np.True_)
    >>> print(StatusNumber(1))
    T_END
    """

    @property
    def name(self) -> str:
        """The name, as that of a `Status`."""
        return _NAMES.get(int(self), str(int(self)))

    def __repr__(self) -> str:
        return repr(Status(int(self))) if int(self) in _NAMES else super().__repr__()

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return _format(self, spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return StatusNumber, (int(self),)  # NumPy's would come back as a plain integer

    def __eq__(self, other: Any) -> Any:
        return np.int64(self) == _numbers(other)

    def __ne__(self, other: Any) -> Any:
        return np.int64(self) != _numbers(other)

    __hash__ = np.int64.__hash__


class StatusArray(np.ndarray[Any, np.dtype[np.int64]]):
    """Integers of `Status` that print as names; all arithmetic gives plain arrays.

    Examples
    --------
    >>> import numpy as np
    >>> named(np.array([0, 3]))
    StatusArray([CONVERGED, MAX_STEPS])
    >>> named(np.array([0, 3])) == Status.CONVERGED
    array([ True, False])
    >>> named(np.array([0, 3])) == "MAX_STEPS"
    array([False,  True])
    >>> named(np.array([0, 3])).names
    array(['CONVERGED', 'MAX_STEPS'], dtype='<U9')
    >>> named(np.array(0)).name
    'CONVERGED'
    """

    @property
    def name(self) -> str:
        """The name of a single status; of several, `names` are there."""
        if self.ndim:
            raise AttributeError(
                f"name: expected a single status, got an array of shape {self.shape}; use names"
            )
        return _NAMES.get(int(self), str(int(self)))

    @property
    def names(self) -> NDArray[np.str_]:
        """The name of every status, as an array of the same shape."""
        plain = np.asarray(self)
        texts = [_NAMES.get(number, str(number)) for number in plain.ravel().tolist()]
        return np.array(texts, dtype=np.str_).reshape(plain.shape)

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        return StatusNumber(part) if type(part) is np.int64 else part

    def __eq__(self, other: Any) -> Any:
        return super().__eq__(_numbers(other))

    def __ne__(self, other: Any) -> Any:
        return super().__ne__(_numbers(other))

    __hash__ = None  # like every array

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __repr__(self) -> str:
        return f"StatusArray({self!s})"

    def __str__(self) -> str:
        return np.array2string(
            np.asarray(self), separator=", ",
            formatter={"int": lambda x: _NAMES.get(int(x), str(x))},
        )  # fmt: skip

    def __format__(self, spec: str) -> str:
        return format(str(self), spec) if self.ndim else _format(self, spec)


def named(status: Any) -> Any:
    """The statuses as a `StatusArray`, on the host's memory; those of a device as they are."""
    return status.view(StatusArray) if type(status) is np.ndarray else status


def status_attrs() -> dict[str, Any]:
    """Attributes of a status variable (CF conventions): numbers and what they mean."""
    return {
        "flag_values": np.array(list(Status), dtype=np.int64),
        "flag_meanings": " ".join(each.name for each in Status),
    }


_ADVICE = (
    "For MAX_STEPS a larger max_steps (or max_iter, max_jumps), a larger stop_loss, features of "
    "similar scale or, in gradient descent, a smaller step_size may help."
)
# Per thread, which the filters of the module warnings are not.
_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def without_convergence_warnings() -> Iterator[None]:
    """Leave it to the caller to count what did not converge."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def warn_unless_converged(status: NDArray[np.int64], what: str, frames: int = 1) -> None:
    """Warn once, with counts, if any run ended as MAX_STEPS or FAILED.

    ``frames`` says how far up the public function was called from.
    """
    if _silent.get() or int(status.max()) < int(Status.MAX_STEPS):
        return
    counts = {s.name: int(np.count_nonzero(status == s)) for s in (Status.MAX_STEPS, Status.FAILED)}
    bad = [f"{count} {name}" for name, count in counts.items() if count]
    if bad:
        warnings.warn(
            f"{what}: {' and '.join(bad)} of {status.size} run{'s' * (status.size != 1)}; see the "
            f"field status.{' ' + _ADVICE if counts['MAX_STEPS'] else ''}",
            ConvergenceWarning,
            stacklevel=2 + frames,
        )
