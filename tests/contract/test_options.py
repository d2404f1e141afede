"""Options that no other test looks at, and that every option is documented."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import kernelrich_fast as krf

DOCS = Path(__file__).resolve().parents[2] / "docs"
FAMILIES = ("flow_", "limit_", "margin_", "rich_", "sweep_")
FUNCTIONS = [getattr(krf, name) for name in krf.__all__ if name.startswith(FAMILIES)]
OPTIONS = sorted(
    {
        argument.name
        for function in FUNCTIONS
        for argument in inspect.signature(function).parameters.values()
        if argument.kind is not argument.VAR_KEYWORD
    }
    - {"X", "Y", "Y_star", "y"}  # the data
)


@pytest.mark.parametrize("method", ["dopri5", "radau5"])
def test_atol_saves_steps_and_costs_no_more_than_it(small, method):
    X, y, _ = small
    options = {"alpha": 1.0, "t_eval": np.geomspace(1e-3, 1.0, 9), "method": method}
    exact = krf.flow_diagonal(X, y, rtol=1e-11, **options).beta
    steps = []
    for atol in (0.0, 1e-8, 1e-4):
        flow = krf.flow_diagonal(X, y, rtol=1e-10, atol=atol, **options)
        error = np.linalg.norm(flow.beta - exact, axis=-1)
        assert np.all(error <= 10 * (1e-10 * np.linalg.norm(exact, axis=-1) + atol))
        steps.append(int(flow.n_steps))
    assert steps[0] > steps[1] >= steps[2]


@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-12])
def test_limits_fit_to_tol(small, backend, tol):
    X, y, _ = small
    limit = krf.limit_diagonal(X, y, alpha=1e-3, tol=tol, max_iter=100, backend=backend)
    assert limit.status == krf.Status.CONVERGED
    assert np.linalg.norm(X @ limit.beta - y) <= tol * np.linalg.norm(y)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_has_an_example_and_a_promise(option):
    pages = "\n".join(page.read_text() for page in DOCS.glob("*.md"))
    code = re.findall(r"```.*?\n(.*?)```", pages, flags=re.DOTALL)
    code += [script.read_text() for script in DOCS.glob("gallery/*.py")]
    used = re.compile(rf'\b{option}=|"{option}": ')
    assert any(used.search(each) for each in code), "neither in the gallery nor on a page"
    promises = (DOCS / "promises.md").read_text().splitlines()
    assert any(row.startswith("| ") and f"`{option}`" in row for row in promises)
