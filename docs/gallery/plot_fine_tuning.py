r"""
Pre-training and fine-tuning
============================

A second task starts from the final weights of the first. Multiplying the two layers by a and 1/a
in between does not change the predictor, but it changes the regime in which the second task is
learned.
"""

# %%
# The two tasks share three of their five features. Each call trains one of them to the end.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

rng = np.random.default_rng(0)
first_task, second_task = np.zeros(100), np.zeros(100)
first_task[[0, 1, 2, 3, 4]] = [1.0, -1.0, 0.7, 0.5, -0.5]
second_task[[0, 1, 2, 5, 6]] = [0.8, -1.0, 0.7, 0.6, -0.4]
X1, X2 = rng.standard_normal((60, 100)), rng.standard_normal((25, 100))
first = krf.limit_diagonal(X1, X1 @ first_task, alpha=1e-3, model="product")

factors = np.geomspace(1.0, 1e3, 25)
errors = [
    np.sum((krf.limit_diagonal(
        X2, X2 @ second_task, start=first, rescale_layers=(a, 1.0 / a)
    ).beta - second_task) ** 2)
    for a in factors
]  # fmt: skip
alone = krf.limit_diagonal(X2, X2 @ second_task, alpha=1e-3, model="product").beta

# %%
# A small factor keeps the second task rich: it reuses features and adds few. A large one makes it a
# kernel method around what the first task has learned.

ax = plt.subplots(figsize=(5, 3.5), layout="constrained")[1]
ax.plot(factors, errors, label="fine-tuned")
error_alone = np.sum((alone - second_task) ** 2)
ax.axhline(error_alone, color="0.5", linestyle="--", label="second task alone")
ax.set(
    xscale="log", yscale="log", xlabel="factor $a$ of the layers $(a, 1/a)$",
    ylabel="error on the second task",
)  # fmt: skip
ax.legend()
plt.show()
