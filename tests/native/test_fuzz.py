"""The native module takes any argument, or refuses it, without a crash; what fuzzing found."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from fuzz_bindings import OnDevice, fuzz, legal_calls, perform

import kernelrich_fast as krf
from kernelrich_fast import backends
from kernelrich_fast.backends import available_backends
from kernelrich_fast.backends.base import LimitOptions

pytestmark = pytest.mark.skipif(
    available_backends()["cpu"] is not None, reason=str(available_backends()["cpu"])
)


FAMILIES = (
    "diagonal_flow", "diagonal_limit", "margin_flow", "factorization_flow",
    "factorization_margin_flow", "linear_flow", "mlp_flow",
)  # fmt: skip


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
    ("family", "name", "bad"),
    [
        ("diagonal_flow", "t_eval", np.zeros((2, 2))),
        ("diagonal_flow", "method", 99),
        ("mlp_flow", "method", -1),
        ("diagonal_limit", "threads", 0),
        ("factorization_flow", "rank", np.array([2**62, 0])),
    ],
)
def test_found_and_refused(family, name, bad):
    native, _, fields, options = call_of(family)
    (fields if name in fields else options)[name] = bad
    with pytest.raises(ValueError, match=f"{name}"):
        perform(native, family, fields, options)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_family_lists_is_checked(family):
    """Type, order, rank, extents, indices and place of every array, by its name; no name more."""
    native, _, fields, options = call_of(family)
    listed, rows = native.families()[family]
    assert set(fields) == {name for name, *_ in listed if name in fields}
    named = Counter(axis for *_, axes in listed for axis in axes)
    for name, kind, dtype, axes in listed:
        value = fields.get(name)
        if value is None or kind in ("number", "integer", "list"):
            continue
        assert value.dtype == dtype
        assert value.ndim == len(axes)
        odd = [value.astype("f4"), value[None], value[..., None], value.tolist(), OnDevice(value)]
        odd += [value.astype(value.dtype.newbyteorder())]
        if value.size > 1:
            odd.append(np.repeat(value, 2, axis=-1)[..., ::2])
        if kind in ("index", "integers"):
            odd += [value - 2**40, value + 2**40]
        for bad in odd:
            with pytest.raises(ValueError, match=f"^{name}: expected"):
                perform(native, family, fields | {name: bad}, options)
        for axis in (i for i, each in enumerate(axes) if named[each] > 1):
            longer = np.concatenate([value, value], axis=axis)
            with pytest.raises(ValueError, match="expected axes"):
                perform(native, family, fields | {name: longer}, options)
        if kind != "optional" and name != "entry_index":
            with pytest.raises(ValueError, match=f"{name}: expected, got none"):
                perform(native, family, {k: v for k, v in fields.items() if k != name}, options)
    with pytest.raises(ValueError, match="an argument that it does not know"):
        perform(native, family, fields | {"surplus": 1}, options)
    assert set(perform(native, family, fields, options)) == {name for name, *_ in rows}


def test_no_such_family():
    native, *_ = call_of("diagonal_flow")
    with pytest.raises(ValueError, match="family: expected one of"):
        native.run("nonsense", {}, threads=1, progress=None)


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e300])
def test_found_endless(bad):
    """The limit continued towards infinite targets, at full strides, for ever."""
    native, name, fields, options = call_of("diagonal_limit")
    fields["y"] = np.full_like(fields["y"], bad)
    found = perform(native, name, fields, options)
    assert (found["status"] == krf.Status.FAILED).all()


def test_arrays_at_odd_addresses_are_copied(monkeypatch):
    """Bytes that arrive over a wire, say: the same bits come out."""
    backend = backends.get_backend("cpu")
    rng = np.random.default_rng(0)
    batch = backends.make_batch(
        rng.standard_normal((3, 5)), rng.standard_normal(3), np.array([0.5, 1.0]), np.array(2.0),
        np.ones(5), np.ones(5),
    )  # fmt: skip
    options = LimitOptions(1e-10, 50, 1, None)
    expected = backend.solve("diagonal_limit", batch, options)
    odd = {
        key: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)
        if isinstance(a, np.ndarray)
        else a
        for key, a in batch.arguments().items()
    }
    assert not odd["X"].flags.aligned
    monkeypatch.setattr(type(batch), "arguments", lambda batch: odd)
    found = backend.solve("diagonal_limit", batch, options)
    assert all(np.array_equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_arrays_of_a_device_are_checked_alike(family):
    """What is asked of arrays on the host is asked of those that say that a device has them."""
    testing = pytest.importorskip("kernelrich_fast._testing", reason="without KRF_TESTING=ON")
    native, _, fields, _ = call_of(family)
    there = {k: OnDevice(v) if isinstance(v, np.ndarray) else v for k, v in fields.items()}
    extents = testing.check_call(family, there, "device")
    assert extents == testing.check_call(family, fields, "host")
    # At plan time numbers per run are on the host, where indices are checked.
    mixed = {k: v if np.shape(v)[:1] == (extents["runs"],) else there[k] for k, v in fields.items()}
    assert testing.check_call(family, mixed, "planning") == extents
    for name, kind, _, axes in native.families()[family][0]:
        value = fields.get(name)
        if not axes or value is None:
            continue
        with pytest.raises(ValueError, match=f"^{name}: expected an array on the device"):
            testing.check_call(family, there | {name: value}, "device")
        with pytest.raises(ValueError, match=f"^{name}: expected an array on the host"):
            testing.check_call(family, fields | {name: there[name]}, "host")
        odd = [value.astype("f4"), value[None], value.astype(value.dtype.newbyteorder())]
        if value.size > 1:
            odd.append(np.repeat(value, 2, axis=-1)[..., ::2])
        for bad in odd:
            with pytest.raises(ValueError, match=f"^{name}: expected"):
                testing.check_call(family, there | {name: OnDevice(bad)}, "device")
        if axes[0] == "runs":
            with pytest.raises(ValueError, match=f"^{name}: expected an array on the host"):
                testing.check_call(family, mixed | {name: there[name]}, "planning")
        if kind in ("index", "integers"):
            with pytest.raises(ValueError, match=f"^{name}: expected integers from"):
                testing.check_call(family, mixed | {name: value + 2**40}, "planning")
