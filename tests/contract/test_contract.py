"""What every flow of every family does on every backend."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from families import FAMILIES

import kernelrich_fast as krf
from kernelrich_fast import Status

TIMES = [0.0, 0.01, 0.1]


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def same(first, second, name):
    """Whether a field, or all of its layers, has the same bits."""
    pair = getattr(first, name), getattr(second, name)
    lists = [each if isinstance(each, list) else [each] for each in pair]
    return all(np.array_equal(a, b) for a, b in zip(*lists, strict=True))


def test_shapes_and_ends(family, backend):
    flow = family.batch(backend=backend, t_eval=TIMES)
    assert flow.loss.shape == flow.t.shape == (2, 3, 3)
    assert family.predict(flow).shape[:3] == (2, 3, 3)
    for name in ("status", "n_steps", "n_rhs", "n_flops"):
        assert getattr(flow, name).shape == (2, 3), name
    assert np.array_equal(flow.t, np.broadcast_to(TIMES, (2, 3, 3)))
    reached = flow.loss[..., -1] <= 1e-12 * family.zero_loss
    assert np.array_equal(flow.converged, reached)
    assert np.all(reached | (flow.status == Status.T_END))
    assert flow.backend == backend
    assert np.allclose(flow.loss, family.loss(family.predict(flow)), rtol=1e-9, atol=1e-13)
    assert np.all(np.diff(flow.loss, axis=-1) <= 1e-9 * flow.loss[..., :-1])
    one = family.single((0, 1), backend=backend)
    assert one.loss.shape == one.status.shape == ()
    assert one.converged
    assert one.loss <= 1e-12 * family.zero_loss * 1.000001


def test_batch_equals_single_runs_bit_for_bit(family, backend):
    options = dict(backend=backend, t_eval=TIMES)
    batch = family.batch(num_threads=2, **options)
    for index in np.ndindex(2, 3):
        one = family.single(index, num_threads=1, **options)
        for name in (*family.arrays, "loss", "t", "status", "n_steps", "n_rhs", "n_flops"):
            assert same(one, batch[index], name), (name, index)


def test_options_broadcast_like_alpha(family, backend):
    flow = family.batch(
        backend=backend, stop_loss=[1e-1, 1e-2, 1e-3], t_max=[[np.inf], [1e-4]], rtol=1e-4
    )
    assert np.all(flow.status[0] == Status.CONVERGED)
    assert np.all(flow.loss[0] <= family.zero_loss * np.array([1e-1, 1e-2, 1e-3]) * 1.000001)
    ended = flow.status[1] == Status.T_END
    assert np.all(flow.t[1][ended] == 1e-4)
    assert np.all(ended | (flow.status[1] == Status.CONVERGED))
    for name, values in (("rtol", [1e-3, 1e-6, 1e-3]), ("t_max", [1e-3, 1e-2, 1e-3])):
        batch = family.batch(backend=backend, **{"t_max": 1e-2} | {name: values})
        for j, value in enumerate(values):
            one = family.single((1, j), backend=backend, **{"t_max": 1e-2} | {name: value})
            assert one.loss == batch.loss[1, j], name


def test_budget_warns_once_with_counts(family, backend):
    with pytest.warns(krf.ConvergenceWarning, match="6 MAX_STEPS of 6 runs") as record:
        flow = family.batch(backend=backend, max_steps=1)
    assert len(record) == 1
    assert record[0].filename.endswith("families.py")  # where the flow was called
    assert np.all(flow.status == Status.MAX_STEPS)
    assert np.all(np.isfinite(family.predict(flow)))


def test_inputs_are_not_changed_and_layouts_do_not_matter(family, backend):
    before = copy.deepcopy((family.data, family.given))
    expected = family.started(backend=backend, t_eval=TIMES)

    def laid_out(value):
        if isinstance(value, np.ndarray) and value.dtype == np.float64:
            return np.asfortranarray(value) if value.ndim > 1 else np.repeat(value, 2)[::2]
        return [laid_out(v) for v in value] if isinstance(value, list) else value

    for change in (laid_out, lambda v: v.tolist() if isinstance(v, np.ndarray) else v):
        data, given = ({k: change(v) for k, v in each.items()} for each in before)
        other = family.flow(**data, **given, **family.quick, backend=backend, t_eval=TIMES)
        for name in (*family.arrays, "loss", "n_steps"):
            assert same(other, expected, name)
    for now, then in zip((family.data, family.given), before, strict=True):
        for name, value in now.items():
            pairs = zip(value, then[name], strict=True) if isinstance(value, list) else [
                (value, then[name])
            ]  # fmt: skip
            assert all(np.array_equal(a, b) for a, b in pairs), name


def test_the_start_is_what_was_given(family, backend):
    flow = family.started(backend=backend, t_eval=[0.0])
    again = family.started(backend=backend, t_eval=[0.0, 1e-3])
    for name in family.arrays:
        for a, b in zip(*(
            getattr(f, name) if isinstance(getattr(f, name), list) else [getattr(f, name)]
            for f in (flow, again)
        ), strict=True):  # fmt: skip
            assert np.array_equal(a[0], b[0]), name


def test_progress_is_heard(family, compiled):
    heard = []
    family.batch(backend="cpu", progress=heard.append)
    assert heard[-1] == 6
    assert heard == sorted(heard)


def test_what_is_wrong_is_named(family):
    for bad, error in (
        (dict(method="euler"), ValueError), (dict(backend="gpu"), ValueError),
        (dict(rtol=1.0), ValueError), (dict(rtol=0.0), ValueError), (dict(atol=-1.0), ValueError),
        (dict(t_max=-1.0), ValueError), (dict(t_eval=[1.0, 0.5]), ValueError),
        (dict(t_eval=[]), ValueError), (dict(max_steps=0), ValueError),
        (dict(max_steps=True), TypeError), (dict(stop_loss=np.nan), ValueError),
        (dict(num_threads=0), ValueError), (dict(progress="yes"), TypeError),
    ):  # fmt: skip
        (name,) = bad
        for _ in range(2):  # also where the same was asked before
            with pytest.raises(error, match=f"^{name}"):
                family.batch(**bad)
    for given in (1e-3, 1e-12):  # also where it is the default
        with pytest.raises(ValueError, match=r"^stop_loss: expected none together with t_eval"):
            family.batch(t_eval=[1.0], stop_loss=given)
    with pytest.raises(ValueError, match=r"^rtol: expected leading axes that broadcast"):
        family.batch(rtol=[1e-3] * 4)


def test_options_that_were_right_before_are_checked_again(family):
    """Options are remembered by value and type: 1 is a number of steps, True is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        family.single((0, 0), max_steps=1)
    with pytest.raises(TypeError, match=r"^max_steps"):
        family.single((0, 0), max_steps=True)


def test_a_device_gives_what_the_cpu_gives(family, stand_in):
    stand_in(most_runs=4)
    options = dict(t_eval=TIMES, rtol=1e-4)
    got = family.batch(backend="cuda", **options)
    expected = family.batch(backend="cpu", **options)
    assert got.backend == "cuda"
    for name in (*family.arrays, "loss", "t", "status", "n_steps", "n_rhs"):
        assert same(got, expected, name)
