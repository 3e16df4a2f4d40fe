"""
The eigenvalues of a kernel, with error bars
============================================

Lanczos with a few random vectors estimates how many eigenvalues lie where, without computing them. The intervals hold
for every spectrum: they contain the truth, which is computed here as well because the kernel is small.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkspec as ns

data = ns.datasets.gaussian(1600, 20, seed=0)
net = ns.TwoLayer.symmetric(20, 300, "relu", seed=0)
theta = ns.ntk(net, data.X)
density = ns.spectral_density(theta, probes=4, steps=60, seed=0)

# %%
# The fraction of the eigenvalues below each value, its interval, and the truth.

x = np.geomspace(1e-2, 200, 200)
share, lower, upper = density.cumulative(x)
eigenvalues = np.linalg.eigvalsh(theta.to_dense())

figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
axes.fill_between(x, lower, upper, alpha=0.3, label="95 % interval")
axes.semilogx(x, share, label="from 4 random vectors")
axes.semilogx(eigenvalues, (np.arange(len(eigenvalues)) + 1) / len(eigenvalues), "k:", label="all eigenvalues")
axes.set(xlabel="x", ylabel="fraction of the eigenvalues below x", xlim=(x[0], x[-1]))
axes.legend()
plt.show()
