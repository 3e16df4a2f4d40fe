"""
Which modes are learned, and when
=================================

Gradient descent on a kernel fits the labels along each eigenvector at its own speed. The linear model of d inputs has
d modes; what the labels carry outside of them it never learns.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkspec as ns

variances = np.geomspace(3, 0.1, 30)
data = ns.datasets.gaussian(2000, 30, covariance=variances * 30 / variances.sum(), seed=0)
modes = ns.learning_modes(ns.linear_kernel("erf", data.X), data.y, eta=0.3)

figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
axes.scatter(modes.e_folds, modes.energies, s=25)
axes.set(xscale="log", yscale="log", ylim=(1e-5, 1))
axes.set(xlabel="steps to shrink the residual by e", ylabel=r"part of $|y|^2$ in the mode")
plt.show()

# %%
# All modes together, and the step at which 99 % of that is learned:

learned = modes.steps_to_learn(0.99)
print(f"{modes.energies.sum():.1%} of the labels is linear; 99 % of it is learned by step {learned:.0f}")
