"""Hand the native module wrong arguments, over and over: exceptions are fine, crashes are not.

    python tests/fuzz_bindings.py --seconds 600
    python tests/fuzz_bindings.py --seed 0 --only 4711      # one call of that series again

Legal calls of every entry point are recorded, then a few of their arguments are replaced: other
shapes, types, strides and byte orders, read-only, overlapping and empty arrays, indices out of
range, values that no one would give. Best run on a build with KRF_SANITIZE=address,undefined.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

import kernelrich_fast as krf
from kernelrich_fast.backends import get_backend
from kernelrich_fast.status import Status

# What a legal argument may become where the native code would otherwise run for long.
LIMITS = {"max_steps": 60, "max_iterations": 60, "max_jumps": 60}


# The entry point that is called, its arguments, and its options.
Entry = tuple[str, dict[str, Any], dict[str, Any]]


class Recorder:
    """Stands in for the native module and writes down what it is called with."""

    def __init__(self, native: Any) -> None:
        self.native = native
        self.calls: list[Entry] = []

    def run(self, family: str, arguments: dict[str, Any], **options: Any) -> Any:
        self.calls.append((family, dict(arguments), dict(options)))
        return self.native.run(family, arguments, **options)

    def RichPathBatch(self, **fields: Any) -> Any:
        return fields

    def rich_path(self, fields: dict[str, Any], **options: Any) -> Any:
        self.calls.append(("rich_path", dict(fields), dict(options)))
        return perform(self.native, "rich_path", fields, options)


def perform(
    native: Any, name: str, arguments: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    """Call an entry point: a family, or "rich_path"."""
    found: dict[str, Any] = (
        native.rich_path(native.RichPathBatch(**arguments), **options)
        if name == "rich_path"
        else native.run(name, arguments, **options)
    )
    return found


def legal_calls() -> tuple[Any, list[Entry]]:
    """The native module, and one small legal call or more of each of its entry points."""
    backend: Any = get_backend("cpu")
    native = backend.core
    recorder = Recorder(native)
    backend.core = recorder
    try:
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((2, 3, 5)), rng.standard_normal((2, 3))
        common: dict[str, Any] = {"backend": "cpu", "num_threads": 2}
        krf.flow_diagonal(X, y, alpha=[[1.0], [0.1]], depth=2, t_eval=[0.0, 0.1], **common)
        krf.flow_diagonal(X, y, alpha=[1.0, 0.1], depth=[2.5, 3], **common)
        krf.flow_diagonal(
            X, y, alpha=[1.0, 0.1], depth=[2, 3], t_eval=[0.1, 0.3], averaged=True,
            weight_decay=[(0.0, 0.5), (0.2, 0.1)], **common,
        )  # fmt: skip
        krf.limit_diagonal(X, y, alpha=[1.0, 0.1], depth=3, **common)
        labels = np.sign(y)
        krf.flow_diagonal(
            X, labels, alpha=[1.0, 0.1], depth=[2, 3], loss="exponential",
            log_loss_eval=[0.0, -50.0, -2000.0], **common,
        )  # fmt: skip
        krf.flow_diagonal(
            X, labels, alpha=[[1.0], [0.1]], depth=2.5, loss="logistic", t_eval=[0.0, 0.1], **common
        )
        krf.flow_diagonal(
            X, labels, alpha=[1.0, 0.1], depth=[2, 2.5], loss="exponential", t_eval=[0.1, 0.3],
            weight_decay=[(0.0, 0.5), (0.2, 0.0)], **common,
        )  # fmt: skip
        krf.rich_path(X, y, depth=[[2], [3]], w0=[1.0, 2.0, 1.0, 3.0, 1.0], **common)
        data = krf.datasets.low_rank_completion(3, 4, 1, 8)
        krf.flow_factorization(
            data.y, entries=data.entries, dims=(3, 4), alpha=[0.1, 1.0], width=[[3], [90]], **common
        )
        A = rng.standard_normal((3, 2, 2))
        krf.flow_factorization(y[0], measurements=A, alpha=0.5, width=2, **common)
        krf.flow_factorization(
            np.sign(y[0]), measurements=A, alpha=0.5, width=2, loss="logistic", t_eval=[0.0, 0.1],
            **common,
        )  # fmt: skip
        krf.flow_factorization(
            np.sign(data.y), entries=data.entries, dims=(3, 4), alpha=[0.1, 1.0], width=3,
            loss="exponential", log_loss_eval=[0.0, -50.0, -2000.0], **common,
        )  # fmt: skip
        krf.flow_linear(
            X, X[..., :2], alpha=[[0.1], [1.0]], width=[[[3]], [[90]]], t_eval=[0.0, 0.1], **common
        )
        krf.flow_mlp(X[0], y[0], width=4, alpha=[0.5, 1.0], seed=[[0], [1]], rtol=1e-3, **common)
        krf.flow_mlp(
            X[0], [0, 1, 1], depth=3, width=3, loss="cross_entropy", bias=True, stop_loss=0.5,
            antisymmetric=True, rtol=1e-2, **common,
        )  # fmt: skip
    finally:
        backend.core = native
    missing = set(native.families()) - {name for name, _, _ in recorder.calls}
    assert not missing, f"no legal call of {missing}"
    return native, recorder.calls


class OnDevice:
    """Says that its memory is a device's."""

    def __init__(self, a: np.ndarray) -> None:
        here = a.__array_interface__
        self.__cuda_array_interface__ = {
            "shape": a.shape, "typestr": here["typestr"], "data": here["data"], "version": 3,
            "strides": a.strides, "owner": a,
        }  # fmt: skip


def array_like(rng: np.random.Generator, a: np.ndarray) -> Any:
    """Something in place of an array."""
    changes: list[Callable[[], Any]] = [
        lambda: a[..., ::-1],
        lambda: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
        lambda: a.T,
        lambda: a.astype(a.dtype.newbyteorder()),
        lambda: a.astype(rng.choice(["f4", "f8", "i1", "i4", "i8", "u8", "c16", "O", "U8", "?"])),
        lambda: a[:0],
        lambda: a[..., :0] if a.ndim else a,
        lambda: np.concatenate([a, a]) if a.ndim else a,
        lambda: a[:-1] if a.ndim else a,
        lambda: a[..., :-1] if a.ndim else a,
        lambda: a[None],
        lambda: a.ravel(),
        lambda: np.lib.stride_tricks.as_strided(a, a.shape, (0,) * a.ndim),
        lambda: a * rng.choice([0.0, -1.0, 1e300, np.nan, np.inf]) if a.dtype.kind == "f" else -a,
        lambda: a + a.dtype.type(rng.choice([1, 7, 2**30])) if a.dtype.kind == "i" else a + 1e200,
        lambda: np.full_like(a, np.iinfo(a.dtype).max) if a.dtype.kind == "i" else 1e-300 * a,
        lambda: np.where(rng.random(a.shape) < 0.3, -a, a),
        lambda: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),  # read-only
        lambda: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),  # unaligned
        lambda: a.tolist(),
        lambda: OnDevice(a),
        lambda: None,
        lambda: "nonsense",
    ]
    with np.errstate(all="ignore"):
        return changes[rng.integers(len(changes))]()


def scalar_like(rng: np.random.Generator, name: str, value: Any) -> Any:
    """Something in place of a number, a list or None."""
    if name in LIMITS:
        return int(rng.choice([-1, 0, 1, LIMITS[name]]))
    if name == "threads":
        return int(rng.choice([-1, 0, 1, 3]))
    if isinstance(value, list):
        return [int(rng.choice([-1, 0, 1, 3, 2**20, 2**30])) for _ in range(rng.integers(0, 5))]
    return rng.choice(
        np.array([-1, 0, 1, 2, 7, 2**31, -(2**40), 1e-300, 1e300, np.nan, None, "x"], dtype=object)
    )


def truthful(found: dict[str, np.ndarray]) -> bool:
    """Statuses that there are, and none but FAILED where a loss is not a number."""
    failed = found["status"] == Status.FAILED
    known = (found["status"] >= 0) & (found["status"] <= 4)
    return bool(np.all(known) and np.all(np.isfinite(found["loss"]).T | failed.T))


def attempt(native: Any, calls: list[Any], rng: np.random.Generator) -> str:
    """One wrong call; returns how it ended."""
    name, fields, options = calls[rng.integers(len(calls))]
    fields, options = dict(fields), dict(options)
    for limited, most in LIMITS.items():
        for given in (fields, options):
            if limited in given:
                given[limited] = most
    for _ in range(int(rng.integers(1, 4))):
        target = fields if rng.random() < 0.9 else options
        key = str(rng.choice(list(target)))
        value = target[key]
        if target is fields and rng.random() < 0.03:
            del target[key]
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fi":
            target[key] = array_like(rng, value)
        elif not isinstance(value, np.ndarray):
            target[key] = scalar_like(rng, key, value)
    try:
        found = perform(native, name, fields, options)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        return type(error).__name__
    return "accepted" if truthful(found) else f"{name} accepted and wrong"


def fuzz(
    seconds: float, seed: int, trace: Callable[[int], None] = lambda index: None
) -> Counter[str]:
    """Wrong calls for so long; returns how they ended."""
    native, calls = legal_calls()
    ends: Counter[str] = Counter()
    start = time.monotonic()
    for index in itertools.count():
        if time.monotonic() > start + seconds:
            return ends
        trace(index)
        ends[attempt(native, calls, np.random.default_rng([seed, index]))] += 1


def trace(index: int) -> None:
    """Says which call is under way, and ends the process if it takes a minute."""
    sys.stderr.write(f"{index}\r")
    faulthandler.dump_traceback_later(60, exit=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    arguments = parser.parse_args()
    if arguments.only is not None:
        print(attempt(*legal_calls(), np.random.default_rng([arguments.seed, arguments.only])))
    else:
        print(dict(fuzz(arguments.seconds, arguments.seed, trace)), flush=True)
