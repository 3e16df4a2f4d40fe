"""The kernels of an analysis at initialization: how far the NTK is from a linear one."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigvalsh

from ntkspec.dynamics import stable_rate
from ntkspec.experiments.devices import on_host
from ntkspec.experiments.forecast import NORMS, PREDICTION
from ntkspec.experiments.linear_models import LinearModel, NearestLinear
from ntkspec.experiments.models import Model
from ntkspec.experiments.stages import Stages
from ntkspec.kernels import nearest_linear_kernel
from ntkspec.operators import KernelOperator, planning
from ntkspec.spectra.eigenpairs import eigsh
from ntkspec.spectra.norms import frobenius_norm, spectral_norm
from ntkspec.spectra.results import Estimate


@dataclass(frozen=True, repr=False)
class KernelGap:
    """Norms of Theta, Theta^lin and their difference at initialization, and the leading eigenvalues of both.

    Unequal learning rates weight the layers: Theta = (eta1 Theta_1 + eta2 Theta_2) / max(eta1, eta2), and Theta^lin
    likewise. Of a network of the user's own Theta^lin is the linear kernel that is nearest to Theta. full : the norm of
    the kernel of all outputs, where it predicts the training and Theta is their mean.
    """

    theta: Estimate
    theta_lin: Estimate
    gap: Estimate
    gap_frobenius: Estimate
    theta_lin_frobenius: Estimate
    largest_stable_rate: float
    eigenvalues: np.ndarray
    eigenvalues_lin: np.ndarray
    full: Estimate | None = None

    @property
    def predicting(self) -> Estimate:
        """The norm of the kernel that predicts the training."""
        return self.theta if self.full is None else self.full

    def __repr__(self) -> str:
        return (
            f"||Theta|| = {self.theta.value:.5g}, ||Theta^lin|| = {self.theta_lin.value:.5g}, ||Theta - Theta^lin|| = "
            f"{self.gap.value:.5g}"
        )


@dataclass(frozen=True)
class MeasuredKernels:
    """Theta, ready for products, the linear model beside it, and what was measured of both.

    full : the kernel of all outputs, where it predicts the training. nearest : None where Theta lies on workers.
    """

    theta: KernelOperator
    full: KernelOperator | None
    linear: LinearModel
    gap: KernelGap
    nearest: NearestLinear | None

    @property
    def predicting(self) -> KernelOperator:
        """The kernel that predicts the training."""
        return self.theta if self.full is None else self.full


def measured_kernels(
    model: Model, theta: KernelOperator, full: KernelOperator | None, stages: Stages, *, predicting: int = PREDICTION
) -> MeasuredKernels:
    """Those of a model whose NTK is ready for products; the kernel of all outputs becomes so here.

    predicting : products of the prediction.
    """
    method, known = model.task.method, model.theory
    if full is not None:
        full, _ = stages("kernel of all outputs", planning.prepare, full, NORMS + predicting, method=method)
    linear = stages("linear model", model.nearest, theta) if known is None else known
    gap = stages("norms", _gap, theta, linear, full, seed=model.task.seed, method=method)
    nearest = None if theta.spread else stages("nearest linear kernel", _nearest, model, theta, linear, gap)
    return MeasuredKernels(theta, full, linear, gap, nearest)


def _gap(
    theta: KernelOperator, linear: LinearModel, full: KernelOperator | None, *, seed: int, method: str | None
) -> KernelGap:
    n, psi = theta.shape[0], linear.kernel.low_rank_factors()[0].astype(np.float64, copy=False)
    norm, gap, d = spectral_norm(theta, seed=seed), theta - linear.compared, psi.shape[1]
    of_all = None if full is None else spectral_norm(full, seed=seed)
    eigenvalues_lin = eigvalsh(on_host(psi.T @ psi if psi.shape[1] < n else psi @ psi.T))[::-1]
    return KernelGap(
        theta=norm,
        theta_lin=spectral_norm(linear.compared, seed=seed),
        gap=spectral_norm(gap, seed=seed, method=method),
        gap_frobenius=frobenius_norm(gap),
        theta_lin_frobenius=frobenius_norm(linear.compared),
        largest_stable_rate=stable_rate(float(norm if of_all is None else of_all), n),
        eigenvalues=eigsh(theta, min(n, max(20, min(d + 10, 80))), which="LA", rtol=1e-3, seed=seed).values,
        eigenvalues_lin=eigenvalues_lin + linear.identity,
        full=of_all,
    )


def _nearest(model: Model, theta: KernelOperator, linear: LinearModel, gap: KernelGap) -> NearestLinear:
    """That of Theta; it is the linear model itself where no theory says another one."""
    if linear.fit is not None:
        return NearestLinear.of(linear.fit, gap.gap_frobenius)
    return NearestLinear.of(nearest_linear_kernel(theta, model.dataset.X))
