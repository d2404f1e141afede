"""The native module takes any argument, or refuses it, without a crash; what fuzzing found."""

from __future__ import annotations

import numpy as np
import pytest
from fuzz_bindings import fuzz, legal_calls

import kernelrich_fast as krf
from kernelrich_fast.backends import available_backends

pytestmark = pytest.mark.skipif(
    available_backends()["cpu"] is not None, reason=str(available_backends()["cpu"])
)


def call_of(name):
    native, calls = legal_calls()
    return native, *next(call for call in calls if call[0] == name)


def test_wrong_calls_end_in_exceptions():
    """A few seconds of what `python tests/fuzz_bindings.py` does for as long as it is told."""
    ends = fuzz(5.0, 0)
    assert ends.keys() == {"ValueError", "TypeError", "accepted"}
    assert min(ends.values()) > 50


# What fuzzing and the sanitizers found, one line each: read past an array, overflowed an offset,
# cast to a method that there is not, handed back what memory held.
@pytest.mark.parametrize(
    ("function", "name", "bad"),
    [
        ("flow_diagonal", "t_eval", np.zeros((2, 2))),
        ("flow_diagonal", "method", 99),
        ("flow_mlp", "method", -1),
        ("limit_diagonal", "threads", 0),
        ("flow_factorization", "start_offset", np.array([2**62, 0])),
    ],
)
def test_found_and_refused(function, name, bad):
    native, _, kind, fields, options = call_of(function)
    (fields if name in fields else options)[name] = bad
    with pytest.raises(ValueError, match="internal shape error"):
        getattr(native, function)(getattr(native, kind)(**fields), **options)


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e300])
def test_found_endless(bad):
    """The limit continued towards infinite targets, at full strides, for ever."""
    native, name, kind, fields, options = call_of("limit_diagonal")
    fields["y"] = np.full_like(fields["y"], bad)
    found = getattr(native, name)(getattr(native, kind)(**fields), **options)
    assert (found["status"] == krf.Status.FAILED).all()


def test_arrays_at_odd_addresses_are_copied():
    """Bytes that arrive over a wire, say: the same bits come out."""
    native, name, kind, fields, options = call_of("limit_diagonal")
    run = getattr(native, name)
    expected = run(getattr(native, kind)(**fields), **options)
    odd = {
        key: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)
        for key, a in fields.items()
    }
    assert not odd["X"].flags.aligned
    found = run(getattr(native, kind)(**odd), **options)
    assert all(np.array_equal(found[key], value) for key, value in expected.items())
