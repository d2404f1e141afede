"""Small ReLU networks on the CPU: figure 6, general solvers, gradient descent, and width.

    python bench/mlp.py [--quick] [--limit 10] [--repeats 3] [--out FILE.json]

figure6     All 480 runs of `reproduce fig6` (3 depths x 16 scales x 10 seeds), without pictures.
nets        Single nets of figure 6 to a relative loss of 1e-9, at the time T this takes: SciPy and
            diffrax on dw/dt = -grad L, explicit and stiff methods, and gradient descent with the
            paper's step 0.01 in PyTorch (torch.func, vmap over all nets of a depth, its time shared
            among them). Errors are those of test predictions, relative to the root mean square of
            the targets, against this package at rtol 1e-9, which tests/test_mlp_accuracy.py holds
            against small-step gradient descent. The factor compares a peer with our fastest setting
            that is at least as accurate. One thread and float64 on all sides; compilation is not
            timed; a peer that needs more than --limit seconds, or says it failed, or returns what
            is not finite, did not finish.
width       One univariate net of figure 7 (panel a) as its width grows to 16,384.

torch and diffrax are optional: what is not installed is left out and said so.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import time
from queue import Empty

# Settings for one machine's BLAS would make the comparison unfair.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
from scipy.integrate import solve_ivp  # noqa: E402

import kernelrich_fast as krf  # noqa: E402
from kernelrich_fast.experiments import fig6, fig7  # noqa: E402

STOP = 1e-9
STEP = 0.01
NETS = ((2, 0.1), (2, 1.0), (3, 0.1), (3, 3.0), (5, 0.5), (5, 2.5))
OUR_RTOLS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
SCIPY = (("RK45", 1e-3), ("RK45", 1e-5), ("LSODA", 1e-5), ("BDF", 1e-4))
DIFFRAX = (("Tsit5", 1e-4), ("Kvaerno5", 1e-3))
STARTUP = 25.0  # seconds a process may take to import and compile, beyond the limit


class OutOfTimeError(Exception):
    pass


class Net:
    """One net of figure 6: data, start, the end of its flow."""

    def __init__(self, depth, alpha, seed=0):
        self.depth, self.alpha = depth, alpha
        self.X, self.y, self.X_test, self.y_test = fig6.scaled_teacher(seed)
        flow = self.ours(1e-9, t_max=np.inf, stop_loss=STOP)
        assert flow.status == krf.Status.CONVERGED
        self.end = float(flow.t)
        self.layers = flow.weights0
        self.reference = flow.predict(self.X_test)
        self.scale = np.sqrt(np.mean(self.y_test**2))

    def ours(self, rtol, **end):
        return krf.flow_mlp(
            self.X, self.y, depth=self.depth, width=fig6.WIDTH, alpha=self.alpha,
            layer_scales=fig6.LAYER_SCALE, rtol=rtol, num_threads=1, backend="cpu",
            max_steps=10**7, **end,
        )  # fmt: skip

    def error(self, prediction):
        if not np.all(np.isfinite(prediction)):
            return float("nan")
        return float(np.sqrt(np.mean((prediction - self.reference) ** 2)) / self.scale)

    @property
    def start(self):
        return np.concatenate([W.ravel() for W in self.layers])

    def unpack(self, flat):
        cuts = np.cumsum([W.size for W in self.layers])[:-1]
        return [
            part.reshape(W.shape) for part, W in zip(np.split(flat, cuts), self.layers, strict=True)
        ]

    def field(self, flat):
        layers = self.unpack(flat)
        values = [self.X]
        for W in layers[:-1]:
            values.append(np.maximum(values[-1] @ W.T, 0.0))
        delta = 2.0 * (values[-1] @ layers[-1].T - self.y[:, None])
        out = []
        for i in reversed(range(len(layers))):
            out.insert(0, -(delta.T @ values[i]).ravel())
            if i:
                delta = (delta @ layers[i]) * (values[i] > 0)
        return np.concatenate(out)

    def predict(self, flat):
        return krf.theory.mlp_predict(self.unpack(np.asarray(flat)), self.X_test)


def scipy_run(net, method, rtol, limit):
    stop = time.perf_counter() + limit

    def field(_, w):
        if time.perf_counter() > stop:
            raise OutOfTimeError
        return net.field(w)

    out = solve_ivp(field, (0.0, net.end), net.start, method=method, rtol=rtol, atol=rtol * 1e-3)
    if not out.success:
        raise OutOfTimeError
    return out.y[:, -1]


def diffrax_run(net, kind, rtol, limit):
    """diffrax, jitted."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    X, y = jnp.asarray(net.X), jnp.asarray(net.y)
    start = [jnp.asarray(W) for W in net.layers]

    def loss(layers):
        a = X
        for W in layers[:-1]:
            a = jax.nn.relu(a @ W.T)
        return jnp.sum((a @ layers[-1].T - y[:, None]) ** 2)

    def field(t, w, args):
        return jax.tree.map(jnp.negative, jax.grad(loss)(w))

    solver = getattr(diffrax, kind)()
    control = diffrax.PIDController(rtol=rtol, atol=rtol * 1e-3)

    @jax.jit
    def solve(begin, end, w):
        out = diffrax.diffeqsolve(
            diffrax.ODETerm(field), solver, begin, end, None, w, stepsize_controller=control,
            max_steps=10**6, throw=False, saveat=diffrax.SaveAt(t1=True),
        )  # fmt: skip
        return [W[-1] for W in out.ys], out.result == diffrax.RESULTS.successful

    # In stretches, so that the limit can be held; the first one compiles.
    times = np.concatenate([[0.0], np.geomspace(1e-5, 1.0, 60)]) * net.end
    w, _ = solve(0.0, times[1], start)
    w[0].block_until_ready()
    w, began = start, time.perf_counter()
    for begin, end in itertools.pairwise(times):
        w, fine = solve(begin, end, w)
        if not fine or time.perf_counter() - began > limit:
            raise OutOfTimeError
    return np.concatenate([np.asarray(W).ravel() for W in w]), time.perf_counter() - began


def in_process(net, kind, rtol, limit):
    """A compiled loop cannot be interrupted: it runs in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    job = context.Process(
        target=diffrax_job, args=(net.depth, net.alpha, kind, rtol, limit, queue), daemon=True
    )
    job.start()
    try:
        found = queue.get(timeout=limit + STARTUP)
    except Empty:
        found = None
    job.kill()
    job.join()
    if found is None:
        raise OutOfTimeError
    return found


def diffrax_job(depth, alpha, kind, rtol, limit, queue):
    try:
        queue.put(diffrax_run(Net(depth, alpha), kind, rtol, limit))
    except (OutOfTimeError, ImportError):
        queue.put(None)


def torch_runs(nets, limit):
    """Gradient descent on all nets at once: predictions (or None), and seconds a net."""
    import torch
    from torch.func import grad, vmap

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    X = torch.tensor(np.stack([net.X for net in nets]))
    y = torch.tensor(np.stack([net.y for net in nets]))
    layers = tuple(
        torch.tensor(np.stack([net.layers[i] for net in nets])) for i in range(nets[0].depth)
    )

    def loss(w, x, target):
        a = x
        for W in w[:-1]:
            a = torch.relu(a @ W.T)
        return torch.sum((a @ w[-1].T - target[:, None]) ** 2)

    step, value = vmap(grad(loss)), vmap(loss)
    goal = STOP * torch.sum(y**2, dim=1)
    ended = [None] * len(nets)
    began, k = time.perf_counter(), 0
    while time.perf_counter() - began < limit * len(nets) and None in ended:
        for _ in range(200):
            g = step(layers, X, y)
            layers = tuple(W - STEP * G for W, G in zip(layers, g, strict=True))
        k += 200
        for i, done in enumerate((value(layers, X, y) <= goal).tolist()):
            if done and ended[i] is None:
                flat = np.concatenate([W[i].numpy().ravel() for W in layers])
                ended[i] = (flat, (time.perf_counter() - began) / len(nets), k)
    return ended


def timed(call):
    began = time.perf_counter()
    out = call()
    return out, time.perf_counter() - began


def measure_figure6(quick):
    seeds = (0, 1) if quick else tuple(range(10))
    ds, seconds = timed(lambda: fig6.circle_data(slice(None), seeds, "cpu", False))
    counts = {s.name: int(np.sum(ds.status == s)) for s in krf.Status}
    print(f"figure6: {ds.status.size} runs in {seconds:.1f} s, {counts}", flush=True)
    return {"runs": ds.status.size, "seconds": seconds, "status": counts}


def measure_nets(quick, limit, repeats):
    rows = []
    for depth in (2,) if quick else (2, 3, 5):
        nets = [Net(D, a) for D, a in NETS if depth == D]
        try:
            descents = torch_runs(nets, limit)
        except ImportError:
            print("torch is not installed: left out")
            descents = None
        for i, net in enumerate(nets):
            ours = []
            for rtol in OUR_RTOLS:
                runs = [timed(lambda r=rtol: net.ours(r, t_max=net.end, stop_loss=0.0))  # noqa: B023
                        for _ in range(repeats)]  # fmt: skip
                flow = runs[0][0]
                ours.append(
                    {"rtol": rtol, "seconds": float(np.median([t for _, t in runs])),
                     "error": net.error(flow.predict(net.X_test)), "n_steps": int(flow.n_steps)}
                )  # fmt: skip
            row = {"depth": depth, "alpha": net.alpha, "end": net.end, "ours": ours, "peers": []}
            jobs = [
                (f"SciPy {m}", r, lambda m=m, r=r: timed(lambda: scipy_run(net, m, r, limit)))  # noqa: B023
                for m, r in SCIPY
            ]
            jobs += [
                (f"diffrax {m}", r, lambda m=m, r=r: in_process(net, m, r, limit))  # noqa: B023
                for m, r in DIFFRAX
            ]
            for label, rtol, job in jobs:
                peer = {"peer": label, "rtol": rtol, "seconds": None, "error": None}
                try:
                    flat, peer["seconds"] = job()
                    peer["error"] = net.error(net.predict(flat))
                except (OutOfTimeError, ImportError) as reason:
                    peer["reason"] = type(reason).__name__
                row["peers"].append(peer)
            if descents is not None:
                peer = {"peer": "torch GD 0.01", "rtol": None, "seconds": None, "error": None}
                if descents[i] is not None:
                    flat, peer["seconds"], peer["steps"] = descents[i]
                    peer["error"] = net.error(net.predict(flat))
                row["peers"].append(peer)
            for peer in row["peers"]:
                if peer["error"] is None or not np.isfinite(peer["error"]):
                    peer["factor"] = None
                    continue
                good = [o["seconds"] for o in ours if o["error"] <= peer["error"]]
                peer["factor"] = peer["seconds"] / min(good) if good else None
            report(row)
            rows.append(row)
    return rows


def report(row):
    print(f"D={row['depth']} alpha={row['alpha']} T={row['end']:.3g}")
    for o in row["ours"]:
        print(f"  ours rtol {o['rtol']:.0e}  {o['seconds']:.5f} s  error {o['error']:.1e}")
    for p in row["peers"]:
        if p["seconds"] is None or p["error"] is None:
            print(f"  {p['peer']:16} {p['rtol'] or '':8} did not finish")
        else:
            factor = f"{p['factor']:.0f}x" if p["factor"] else "-"
            print(
                f"  {p['peer']:16} {p['rtol'] or '':8} {p['seconds']:.3f} s  "
                f"error {p['error']:.1e}  {factor}",
                flush=True,
            )


def measure_width(quick):
    rows = []
    for width in (100, 1000) if quick else (100, 1000, 10_000, 16_384):
        rng = np.random.default_rng(0)
        w1, b1 = rng.standard_normal((width, 1)), rng.standard_normal(width)
        w2 = np.sqrt(2.0 / width) * rng.standard_normal((1, width))
        for alpha in (0.1, 1.0):
            flow, seconds = timed(
                lambda w1=w1, w2=w2, b1=b1, alpha=alpha: krf.flow_mlp(
                    fig7.X[:, None], fig7.Y, weights0=[w1, w2], biases0=[b1, np.zeros(1)],
                    bias=True, antisymmetric=True, alpha=alpha, rtol=1e-3, stop_loss=1e-8,
                    num_threads=1, backend="cpu",
                )
            )  # fmt: skip
            rows.append(
                {"width": width, "alpha": alpha, "seconds": seconds, "n_steps": int(flow.n_steps),
                 "status": int(flow.status)}
            )  # fmt: skip
            print(f"width {width} alpha {alpha}: {seconds:.2f} s, {flow.n_steps} steps", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--limit", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out")
    options = parser.parse_args()
    result = {
        "machine": {"processor": platform.machine(), "python": platform.python_version()},
        "version": krf.__version__,
        "figure6": measure_figure6(options.quick),
        "nets": measure_nets(options.quick, options.limit, options.repeats),
        "width": measure_width(options.quick),
    }
    peers = [p for row in result["nets"] for p in row["peers"]]
    unfinished = sum(p["error"] is None for p in peers)
    best = []
    for row in result["nets"]:
        factors = [p["factor"] for p in row["peers"] if p.get("factor")]
        if factors:
            best.append(min(factors))
    print(
        f"{unfinished} of {len(peers)} peer runs did not finish; best peer {min(best):.0f}x behind"
    )
    if options.out:
        with open(options.out, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
