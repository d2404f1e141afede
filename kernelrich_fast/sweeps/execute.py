"""Running a sweep's blocks: here or on a cluster, into memory or into a store."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr

from .. import _validate as check
from .._bars import interactive, tqdm
from .._blas import one_blas_thread
from .._runs import flow_options, thread_count
from .._spelling import nearest, unknown_option
from .._types import Progress
from ..backends import BACKENDS, cuda_pays, get_backend
from ..status import warn_unless_converged, without_convergence_warnings
from .plan import Block, SweepPlan, Variables, block_shape, cut, runs_in, shifted

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["MOST_BYTES", "compute_block", "run_sweep", "sweep_options"]

# Memory of one block, unless one run (here, two for each thread) takes more.
MOST_BYTES = 128 * 2**20
# A block that is stored takes about so long: what a kill can lose, and long against the
# milliseconds that writing takes. One that is sent to a worker takes five times as long.
_BLOCK_SECONDS = 2.0
_SENT = 5.0
# Options that the results do not depend on.
_OUTSIDE = ("num_threads", "progress")
# Options that are checked for the whole sweep before any run; the others are the same for all runs.
_RULES = ("rtol", "t_max", "stop_loss", "t_eval", "atol", "max_steps")


class Computer(Protocol):
    """Where blocks are computed."""

    most_seconds: float
    least_blocks: int
    least_runs: int

    def backend(self, asked: str, plan: SweepPlan) -> str: ...

    def compute(
        self, plan: SweepPlan, blocks: list[Block], advance: Progress
    ) -> Generator[tuple[Block, Variables]]: ...


class Results(Protocol):
    """Where results go."""

    def has(self, block: Block) -> bool: ...

    def write(self, block: Block, variables: Variables) -> None: ...

    def dataset(self) -> xr.Dataset: ...


def run_sweep(
    plan: SweepPlan,
    *,
    num_threads: int | None = None,
    progress: bool | None = None,
    store: str | os.PathLike[str] | None = None,
    client: Client | None = None,
) -> xr.Dataset:
    """Run what of a sweep is not stored yet and return all of it; warns once, with counts."""
    if not (progress is None or isinstance(progress, bool | np.bool_)):
        raise TypeError(f"progress: expected True, False or None, got {progress!r}")
    plan.check_options()
    with ExitStack() as stack:
        results: Results
        backend, shape = plan.options["backend"], None
        if store is not None:
            from .store import SweepStore

            stored = SweepStore(store, plan)
            if stored.complete:
                return _finished(stored.dataset(), plan)
            results = stack.enter_context(stored)
            if stored.manifest is not None:
                backend, shape = stored.manifest["backend"], stored.block_shape
        computer: Computer
        if client is None:
            computer = _ThisMachine(num_threads, stored=store is not None)
        else:
            from .cluster import Cluster

            computer = Cluster(client, num_threads, _SENT * _BLOCK_SECONDS)
        plan = plan.on(computer.backend(backend, plan))
        if shape is None:
            shape = block_shape(
                plan,
                most_bytes=MOST_BYTES,
                most_seconds=computer.most_seconds,
                least_blocks=computer.least_blocks,
                least_runs=computer.least_runs,
            )
        if store is None:
            results = _Memory(plan)
        else:
            stored.plan_blocks(plan, shape)
        blocks = [block for block in cut(plan.shape, shape) if not results.has(block)]
        done = plan.n_runs - sum(map(runs_in, blocks))
        show = interactive() if progress is None else bool(progress)
        bar = stack.enter_context(
            tqdm(total=plan.n_runs, initial=done, desc=plan.function, unit="run", disable=not show)
        )

        def advance(finished: int) -> None:
            bar.update(done + finished - bar.n)

        finished = stack.enter_context(closing(computer.compute(plan, blocks, advance)))
        for block, variables in finished:
            results.write(block, variables)
        ds = results.dataset()
    return _finished(ds, plan)


def sweep_options(
    sweep: Callable[..., Any],
    flow: Callable[..., Any],
    given: dict[str, Any],
    own: tuple[str, ...],
) -> tuple[dict[str, Any], int | None]:
    """The flow's options, given ones over its defaults, and the number of threads.

    ``own`` are the arguments of the flow that ``sweep`` sets itself.
    """
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(flow).parameters.items()
        if parameter.default is not parameter.empty and name not in own
    }
    for name in given:
        if name not in defaults:
            raise TypeError(_not_an_option(name, sweep, flow, [*defaults]))
    check.choice("backend", given.get("backend", "auto"), ("auto", *BACKENDS))
    threads = given.get("num_threads")
    if threads is not None:
        thread_count(threads)
    options = {k: v for k, v in (defaults | given).items() if k not in _OUTSIDE}
    if "rtol" in options:
        rules: dict[str, Any] = {name: options.get(name) for name in _RULES}
        flow_options(**rules, num_threads=None, method="auto")
    return options, threads


def _not_an_option(
    name: str, sweep: Callable[..., Any], flow: Callable[..., Any], options: list[str]
) -> str:
    """What to say of it: the name that was meant, or those that there are."""
    ours = inspect.signature(sweep).parameters
    names = [k for k, v in ours.items() if v.kind is not v.VAR_KEYWORD]
    names += [k for k in options if k not in names]
    if name in inspect.signature(flow).parameters and nearest(name, names) is None:
        return f"{name}: not an option of a sweep; {flow.__name__} alone takes it"
    return unknown_option(name, sweep.__name__, names)


def compute_block(
    plan: SweepPlan, block: Block, num_threads: int | None, progress: Progress
) -> Variables:
    """One block; what did not converge is counted once for the whole sweep.

    Its arrays are plain NumPy arrays: a `StatusArray`, which compares with names, would be lost
    where blocks are joined, sent or stored, and one comparison would then have two results.
    """
    with without_convergence_warnings(), one_blas_thread():
        variables = plan.compute(block, num_threads, progress)
    return {name: (extra, np.asarray(values)) for name, (extra, values) in variables.items()}


def _finished(ds: xr.Dataset, plan: SweepPlan) -> xr.Dataset:
    # Where runs are asked for at times, t says what time does unless some ended earlier; likewise
    # for values of the two clocks of a margin loss.
    if "time" in ds.dims and "t" in ds and bool((ds["t"] == ds["time"]).all()):
        ds = ds.drop_vars("t")
    for name in ("log_loss", "log_t"):
        reached = f"reached_{name}"
        if reached in ds and np.allclose(ds[reached], ds[name], rtol=1e-8, atol=1e-6):
            ds = ds.drop_vars(reached)
    # The caller of the public function is three frames up.
    warn_unless_converged(ds["status"].values, plan.function, frames=3)
    return ds


class _ThisMachine:
    """Blocks one after the other, each on all threads."""

    least_blocks = 1

    def __init__(self, num_threads: int | None, stored: bool) -> None:
        threads = thread_count(num_threads)
        self.num_threads = num_threads
        self.most_seconds = _BLOCK_SECONDS * threads if stored else np.inf
        self.least_runs = 2 * threads  # so that no thread is idle for long

    def backend(self, asked: str, plan: SweepPlan) -> str:
        threads = thread_count(self.num_threads)
        return get_backend(asked, many=cuda_pays(plan.n_runs, plan.crossover(), threads)).name

    def compute(
        self, plan: SweepPlan, blocks: list[Block], advance: Progress
    ) -> Generator[tuple[Block, Variables]]:
        before = 0
        for block in blocks:
            yield block, compute_block(plan, block, self.num_threads, shifted(advance, before))
            before += runs_in(block)
            advance(before)


class _Memory:
    """Results as arrays, filled block by block."""

    def __init__(self, plan: SweepPlan) -> None:
        self.plan = plan
        self.variables: Variables = {}

    def has(self, block: Block) -> bool:
        return False

    def write(self, block: Block, variables: Variables) -> None:
        if runs_in(block) == self.plan.n_runs:  # all there is: no copy
            self.variables = variables
            return
        for name, (extra, values) in variables.items():
            if name not in self.variables:
                inner = values.shape[len(self.plan.shape) :]
                self.variables[name] = (extra, np.empty(self.plan.shape + inner, values.dtype))
            self.variables[name][1][block] = values

    def dataset(self) -> xr.Dataset:
        return self.plan.dataset(self.variables)
