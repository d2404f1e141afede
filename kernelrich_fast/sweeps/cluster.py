"""Blocks on the workers of a Dask cluster."""

from __future__ import annotations

import functools
import pickle
import uuid
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import dask
import distributed
import numpy as np

from .._types import Progress
from ..backends import cuda_pays, get_backend
from .execute import compute_block
from .plan import Block, SweepPlan, Variables, runs_in

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Cluster"]

# Blocks a worker's thread is given ahead, so that it need not wait for the next one.
_AHEAD = 2
# A cluster that is still starting is trusted to have about so many threads.
_FIRST_SLOTS = 16
# So many blocks a thread even out what the expected costs get wrong.
_BLOCKS_PER_SLOT = 4


class Cluster:
    """Every thread of a worker computes one block at a time, on one thread unless told otherwise.

    Blocks of lost workers are computed again by the scheduler. Results are fetched as they come,
    so that workers and scheduler hold a few blocks a thread, however long the sweep is.
    """

    least_runs = 1

    def __init__(self, client: Client, num_threads: int | None, block_seconds: float) -> None:
        if not isinstance(client, distributed.Client):
            raise TypeError(f"client: expected a dask.distributed.Client, got {client!r}")
        if client.asynchronous:
            raise TypeError("client: expected a synchronous client, got an asynchronous one")
        if client.status in ("closing", "closed"):
            raise ValueError(
                f"client: expected one that is connected, got one that is {client.status}; make a "
                "new one, or leave client out"
            )
        self.client = client
        self.num_threads = 1 if num_threads is None else num_threads
        self.most_seconds = block_seconds
        self.least_blocks = _BLOCKS_PER_SLOT * self._slots()

    def _slots(self) -> int:
        return sum(self.client.nthreads().values()) or _FIRST_SLOTS

    def backend(self, asked: str, plan: SweepPlan) -> str:
        """What ``asked`` means on a worker, which may have a GPU where this process has none."""
        in_block = plan.n_runs // self.least_blocks
        many = cuda_pays(in_block, plan.crossover(), self.num_threads)
        return str(self.client.submit(_backend_name, asked, many, pure=False).result())

    def compute(
        self, plan: SweepPlan, blocks: list[Block], advance: Progress
    ) -> Generator[tuple[Block, Variables]]:
        seconds = np.broadcast_to(plan.seconds(), plan.shape)
        # Longest first: the last ones to finish are short.
        waiting = sorted(range(len(blocks)), key=lambda i: float(seconds[blocks[i]].sum()))
        name = f"{plan.function}-{uuid.uuid4().hex}"
        running: dict[Any, Block] = {}
        arriving = distributed.as_completed()
        # The plan is a task, not data put on some worker: it can be made again when that one dies.
        # And it is bytes: arrays that travel by themselves arrive at odd addresses, and are then
        # multiplied in another order.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
            shared = self.client.submit(_same, _Pickled(plan), key=f"{name}-plan")

        def start_some() -> None:
            room = _AHEAD * self._slots() - len(running)
            for _ in range(min(room, len(waiting))):
                index = waiting.pop()
                future = self.client.submit(
                    _run, shared, blocks[index], self.num_threads, key=f"{name}-{index}"
                )
                running[future] = blocks[index]
                arriving.add(future)

        done, used = 0, ""
        try:
            start_some()
            for future in arriving:
                instruction_set, variables = future.result()
                used = used or instruction_set
                if instruction_set != used:
                    raise ValueError(
                        f"client: expected workers of one instruction set, got {used} and "
                        f"{instruction_set}, whose results differ in rounding; set KRF_ISA for all"
                    )
                block = running.pop(future)
                start_some()
                yield block, variables
                done += runs_in(block)
                advance(done)
        finally:
            self.client.cancel([*running, shared])


def _backend_name(asked: str, many: bool) -> str:
    return get_backend(asked, many=many).name


class _Pickled:
    """A plan as bytes, unpickled once per process."""

    def __init__(self, plan: SweepPlan) -> None:
        self.name = uuid.uuid4().hex
        self.content = pickle.dumps(plan)

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pickled) and self.name == other.name


def _same(plan: _Pickled) -> _Pickled:
    return plan


@functools.lru_cache(maxsize=1)
def _unpickled(plan: _Pickled) -> SweepPlan:
    whole: SweepPlan = pickle.loads(plan.content)
    return whole


def _run(plan: _Pickled, block: Block, num_threads: int) -> tuple[str, Variables]:
    whole = _unpickled(plan)
    return _instruction_set(whole), compute_block(whole, block, num_threads, _nobody)


def _instruction_set(plan: SweepPlan) -> str:
    return str(getattr(get_backend(plan.options["backend"]), "instruction_set", ""))


def _nobody(done: int) -> Any:
    """Progress is shown where the sweep was called."""
