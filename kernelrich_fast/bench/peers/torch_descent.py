"""Gradient descent in PyTorch, all runs at once, each with the largest stable step (within two)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..formulation import Formulation, Outcome
from . import PeerError

__all__ = ["prepare"]

CHECK = 100  # steps between two looks at the loss
MOST = 10**8


def prepare(method: str, form: Formulation, rtol: float | None) -> Callable[[], Outcome]:
    import torch

    torch.set_num_threads(1)
    if form.loss is None or form.goal is None:
        raise PeerError("nothing to descend")
    shared = tuple(torch.as_tensor(each) for each in form.shared)
    own = tuple(torch.as_tensor(each) for each in form.own)
    field = torch.func.vmap(lambda w, own: form.field(torch, w, shared, own))
    loss: Callable[[Any, Any, Any, Any], Any] = form.loss
    value = torch.func.vmap(lambda w, own: loss(torch, w, shared, own))
    start, goal = torch.as_tensor(form.start), torch.as_tensor(form.goal)

    def descend(step: Any, rows: Any) -> tuple[Any, Any, Any]:
        """Weights and steps at the goal; rows that blow up or never get there are marked."""
        w, done = start.clone(), torch.zeros(len(start), dtype=torch.int64)
        bad = torch.zeros(len(start), dtype=torch.bool)
        first = value(start, own)
        count = 0
        while len(rows) and count < MOST:
            part, sub, h = w[rows], tuple(each[rows] for each in own), step[rows, None]
            for _ in range(CHECK):
                part = part + h * field(part, sub)
            count += CHECK
            w[rows] = part
            now = value(part, sub)
            wild = ~torch.isfinite(now) | (now > 4.0 * first[rows])
            # A step that is too large may also circle: it has had a hundred times the flow's time.
            wild |= count * h[:, 0] > 100.0 * torch.as_tensor(form.times)[rows]
            jumped = now < form.least * goal[rows]
            over = (now <= goal[rows]) & ~jumped
            done[rows[over]] = count
            lost = (wild | jumped) & ~over
            bad[rows[lost]] = True
            rows = rows[~(over | lost)]
        return w, done, bad

    with torch.no_grad():
        # From far too large a step down by factors of two: what is too large blows up at once.
        pace = torch.linalg.vector_norm(field(start, own), dim=1)
        size = torch.linalg.vector_norm(start, dim=1)
        step = torch.minimum(torch.as_tensor(form.times) / CHECK, 1e6 * size / pace)
        rows = torch.arange(len(start))
        while len(rows):
            bad = descend(step, rows)[2]
            step[bad] *= 0.5
            rows = torch.nonzero(bad).ravel()

    def run() -> Outcome:
        with torch.no_grad():
            w, done, _ = descend(step, torch.arange(len(start)))
        count = int(done.sum())
        return Outcome(form.read(np.asarray(w.numpy())), count, count)

    return run
