r"""
Linear networks: a start of your own, and infinitely many samples
=================================================================

`flow_linear` takes samples or their second moments. With the moments of a distribution it is
gradient flow on the population loss.
"""

# %%
# From balanced layers that are aligned with the singular vectors of the target, each singular
# value :math:`m` follows :math:`\dot m = 4 m (s - m)`, a logistic curve. ``W1`` and ``W2`` are that
# start.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

s, m0, t = np.array([3.0, 2.0, 1.0]), 1e-4, np.linspace(0.0, 4.0, 161)
root = np.diag(np.full(3, np.sqrt(m0)))
aligned = krf.flow_linear(S=np.eye(3), C=np.diag(s), W1=root, W2=root, t_eval=t)
logistic = s / (1.0 + (s / m0 - 1.0) * np.exp(-4.0 * s * t[:, None]))
ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")[1]
ax.plot(t, np.diagonal(aligned.M, axis1=1, axis2=2), color="0.6")
ax.plot(t[::8], logistic[::8], "ko", markersize=3)
ax.plot([], [], color="0.6", label="flow")
ax.plot([], [], "ko", markersize=3, label="closed form")
ax.set(xlabel="time $t$", ylabel="singular values of $M$")
ax.legend()
plt.show()

# %%
# The distance from the true matrix, for targets with noise. The flow on 40 samples comes
# close to the truth and leaves it again, as it fits the noise; the flow on the population stays.
# With ``y_norm2``, the expectation of :math:`|y|^2`, its loss is the expected squared error, which
# ends at the variance of the noise.

rng, noise = np.random.default_rng(0), 0.5
M_star = np.outer(rng.standard_normal(4), rng.standard_normal(8)) / np.sqrt(8.0)
y_norm2 = np.sum(M_star**2) + 4 * noise**2
options = {"alpha": 1e-2, "width": 20, "M_star": M_star, "progress": False}
t = np.geomspace(0.1, 100.0, 120)
ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")[1]
for n, style in ((12, ":"), (40, "-."), (400, "--")):
    X = rng.standard_normal((n, 8)) / np.sqrt(n)
    Y = X @ M_star.T + noise * rng.standard_normal((n, 4)) / np.sqrt(n)
    samples = krf.sweep_linear(X, Y, **options, t_eval=t)
    ax.plot(t, samples.distance, style, label=f"{n} samples")
whole = krf.sweep_linear(S=np.eye(8), C=M_star, y_norm2=y_norm2, **options, t_eval=t)
ax.plot(t, whole.distance, "k", label="population")
ax.set(xscale="log", xlabel="time $t$", ylabel=r"$\|M-M^\star\|_F$")
ax.legend(fontsize="small")
plt.show()

print("loss of the population at the end:", float(whole.loss[-1]), "variance:", 4 * noise**2)
