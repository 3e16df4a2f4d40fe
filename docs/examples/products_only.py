"""
A matrix of which only products are known
=========================================

Norms, eigenpairs and densities take anything that multiplies. Here it is a smoothing on a grid of 90,000 points,
whose matrix would need 65 gigabytes, done by fast Fourier transforms. The largest eigenvalues are found with a bound on
all that were not.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.fft import dctn, idctn

import ntkspec as ns

side = 300
waves = np.arange(side)
response = 1 / (1 + 0.05 * (waves[:, None] ** 2 + waves**2))


def smooth(image):
    """Damp each cosine wave by the square of its frequency."""
    return idctn(response * dctn(image.reshape(side, side), norm="ortho"), norm="ortho").ravel()


kernel = ns.operators.wrap(smooth, side**2)
spectrum = ns.eigsh(kernel, 12, which="LA")

# %%
# The truth is known here: the eigenvalues are the responses.

figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
axes.plot(np.sort(response.ravel())[::-1][:20], "k_", markersize=14, label="truth")
axes.errorbar(np.arange(12), spectrum.values, spectrum.residuals, fmt="o", label="found")
axes.axhspan(0, spectrum.others[1], alpha=0.2, label="all others lie here")
axes.xaxis.get_major_locator().set_params(integer=True)
axes.set(xlabel="number", ylabel="eigenvalue")
axes.legend()
plt.show()

# %%
# How many products that took:

print(f"{spectrum.products} products with vectors of {side**2:,} entries")
