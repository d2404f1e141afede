"""Fixtures: every test that takes ``backend`` runs on every backend."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Of `pytest -n logical` every process has a core: threads of BLAS would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest

# "python -m pytest" puts the source tree first, which has no compiled module: test what is
# installed.
ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

from device_fault import pytest_runtest_logreport  # noqa: E402, F401
from fallback_cases import on_the_fallback, pytest_pycollect_makeitem  # noqa: E402, F401
from stand_in_device import StandIn, fake_cupy, refusing  # noqa: E402

import kernelrich_fast as krf  # noqa: E402
from kernelrich_fast import backends  # noqa: E402
from kernelrich_fast.backends import BACKENDS, available_backends  # noqa: E402


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Compare figures with their images wherever pytest-mpl is there to do it."""
    if hasattr(config.option, "mpl"):
        config.option.mpl = True


# The only tests that take the fallback through averages, schedules and saddles.
ALONE = ("test_averaged.py", "test_decay_schedules.py", "test_rich_path.py", "test_weight_decay.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Coverage leaves out numerical loops in Python, which take up to twice the time under it.

    Those of how many digits the fallback has run the lines of its contract tests again, and those
    of the compiled module few of ours.
    """
    if not config.pluginmanager.hasplugin("_cov"):
        return
    for item in items:
        parameters = getattr(item, "callspec", None)
        fallback = parameters is not None and on_the_fallback(parameters.params)
        topic = item.path.parent.name
        if topic == "native" or (topic == "accuracy" and fallback and item.path.name not in ALONE):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True, scope="session")
def poisoned_memory() -> None:
    """What the executors allocate is full of NaN: no result may depend on what memory held."""
    if available_backends()["cpu"] is None:
        from kernelrich_fast import _core

        if hasattr(_core, "poison_memory"):  # it is built with KRF_TESTING=ON
            _core.poison_memory(True)


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Pyplot keeps the figures of `krf.plot` until they are closed."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def _works(name: str) -> str:
    reason = available_backends()[name]
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    return name


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return _works(request.param)


@pytest.fixture
def compiled() -> None:
    """Tests of the CPU backend alone."""
    _works("cpu")


@pytest.fixture(params=[name for name in BACKENDS if name != "cuda"])
def host(request: pytest.FixtureRequest) -> str:
    """The backends that follow paths as alpha -> 0."""
    return _works(request.param)


METHODS = ("auto", "radau5", "dopri5")


# What the fallback makes of the other methods is in test_reference.py.
@pytest.fixture(
    params=[(b, m) for b in BACKENDS for m in METHODS if b != "numpy" or m == "auto"],
    ids="-".join,
)
def backend_and_method(request: pytest.FixtureRequest) -> tuple[str, str]:
    name, method = request.param
    return _works(name), method


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also in a background job, which is started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def small() -> krf.datasets.SparseRegression:
    """A problem small enough for slow oracles."""
    return krf.datasets.sparse_regression(6, 15, 2, seed=3)


@pytest.fixture(scope="session")
def medium() -> krf.datasets.SparseRegression:
    return krf.datasets.sparse_regression(20, 60, 3, seed=1)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps in blocks of few runs."""
    from kernelrich_fast.sweeps import execute

    monkeypatch.setattr(execute, "_BLOCK_SECONDS", 1e-4)
    monkeypatch.setattr(execute, "MOST_BYTES", 4000)


@pytest.fixture
def unfinished(tmp_path, small_blocks, monkeypatch):
    """A store with four of thirty blocks or more."""
    from test_store import diagonal, stop_after

    path = tmp_path / "sweep.zarr"
    with monkeypatch.context() as patch:
        stop_after(4, patch)
        with pytest.raises(KeyboardInterrupt):
            diagonal(store=path)
    return path


def relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distance of rows of a from rows of b, relative to b."""
    return np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., StandIn]]:
    """Installs a stand-in for CuPy and the CUDA module; see `stand_in_device`."""
    _works("cpu")

    def install(**options):
        device = StandIn(**options)
        monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
        monkeypatch.setitem(sys.modules, "kernelrich_fast._cuda", device)
        monkeypatch.setattr(krf, "_cuda", device, raising=False)
        for name in ("asarray", "array"):
            monkeypatch.setattr(np, name, refusing(getattr(np, name)))
        backends._load.cache_clear()
        return device

    yield install
    backends._load.cache_clear()
