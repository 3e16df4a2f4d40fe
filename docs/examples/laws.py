"""
Gradient descent, its flow, and momentum
========================================

A kernel model is known in closed form at any step, for three laws of training. The heavy ball with momentum 0.9 is
about ten times as fast; fractions of steps make sense for the flow only.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkspec as ns

data = ns.datasets.gaussian(1500, 20, seed=0)
theta = ns.ntk(ns.TwoLayer.symmetric(20, 200, "relu", seed=0), data.X)
rate = ns.largest_stable_rate(theta)
print(f"gradient descent is stable up to eta = {rate}")

# %%
# From the first step to the hundred-thousandth, none of which is computed one by one.

steps = np.unique(np.geomspace(1, 1e5, 60).astype(int))
figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
for name, law in (("gradient descent", "gd"), ("gradient flow", "flow"), ("heavy ball, 0.9", ns.HeavyBall(0.9))):
    run = ns.predict_gd(theta, data.y, eta=0.1 * float(rate), steps=steps, law=law)
    axes.loglog(steps, np.mean((run.train - data.y) ** 2, axis=1) / 2, label=name)
axes.set(xlabel="step", ylabel="training loss")
axes.legend()
plt.show()
