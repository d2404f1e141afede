r"""
The same flow in another paper's conventions
============================================

Papers on diagonal networks differ in the model, in the balance of its layers and in the factor
before the loss. `flow_diagonal` takes a paper's own choice, and ``theory.convert`` gives the scale
and the time at which another paper's flow has the same predictor.
"""

# %%
# Even et al. (2023) write :math:`\beta = u \odot v` with :math:`v(0) = 0`, which is a balance of 1,
# and divide the loss by :math:`2n`. The dots are the default model at the converted scale and
# times.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

n = 30
X, y, _ = krf.datasets.sparse_regression(n, 60, 3)
theirs = {"alpha": 0.02, "model": "product", "balance": 1.0, "loss_scale": 1 / (2 * n)}
t = np.linspace(0.0, 150.0, 301)
flow = krf.flow_diagonal(X, y, **theirs, t_eval=t)
ours = krf.theory.convert(0.02, t, from_="even2023", to="woodworth2020", n_samples=n)
same = krf.flow_diagonal(X, y, alpha=ours.alpha, t_eval=ours.t)

ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")[1]
ax.plot(t, flow.beta[:, 3:], color="0.75", linewidth=0.6)
for feature, colour in enumerate(("#0072B2", "#D55E00", "#009E73")):
    ax.plot(t, flow.beta[:, feature], color=colour)
    ax.plot(t[::20], same.beta[::20, feature], "o", color=colour, markersize=4)
ax.plot([], [], color="0.2", label="product $u v$")
ax.plot([], [], "o", color="0.2", markersize=4, label="converted to $w_+^2 - w_-^2$")
ax.set(xlabel="time in the product's convention", ylabel=r"$\beta_i$")
ax.legend(fontsize="small", loc="center right")
plt.show()

# %%
# Azulay et al. (2021) have a scale a and a shape s for :math:`u_+ v_+ - u_- v_-`. The shape is
# :math:`(u - v) / (u + v)` at the start, so that layers of equal size have s = 0. At a fixed a the
# start is the richer, the more equal the layers are, which the converted scale shows.

shape = 1.0 - np.geomspace(1e-6, 1.0, 60)
ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")[1]
for a, text, style in ((1e-8, "10^{-8}", "-"), (1e-4, "10^{-4}", "--"), (1.0, "1", "-.")):
    alpha = [krf.theory.convert(a, from_="azulay2021", shape=s).alpha for s in shape]
    end = krf.limit_diagonal(X, y, alpha=alpha)
    ax.plot(1.0 - shape, np.abs(end.beta).sum(axis=-1), style, label=f"scale $a={text}$")
for name, least in (("l1", krf.theory.min_l1(X, y)), ("l2", krf.theory.min_l2(X, y))):
    ax.axhline(np.abs(least).sum(), color="0.5", linestyle=":")
    ax.text(1.0, np.abs(least).sum(), f"least {name} norm ", ha="right", va="bottom")
ax.set(xscale="log", xlabel="$1 - s$", ylabel=r"$\|\beta\|_1$ at the end")
ax.margins(y=0.12)
ax.legend(fontsize="small")
plt.show()
