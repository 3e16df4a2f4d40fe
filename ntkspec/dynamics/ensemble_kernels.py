"""The kernels of an ensemble, checked against each other."""

from dataclasses import dataclass

import numpy as np

from ntkspec.dynamics.arguments import checked_square, checked_test
from ntkspec.engines import Engine
from ntkspec.operators import KernelOperator, as_symmetric
from ntkspec.operators.adapters import MatrixLike, require_here


@dataclass(frozen=True)
class Kernels:
    """training, cross : Theta and Theta_*, or K and K_* where the last layer alone is trained.

    prior, prior_cross, test : K, K_* and K_**.
    """

    training: KernelOperator
    cross: KernelOperator | None
    prior: KernelOperator
    prior_cross: KernelOperator | None
    test: KernelOperator | None

    @property
    def engine(self) -> Engine:
        return self.training.engine

    @property
    def readout(self) -> bool:
        """Whether the last layer alone is trained."""
        return self.training is self.prior

    @property
    def dtype(self) -> np.dtype:
        """Of all of them together."""
        given = (self.training, self.cross, self.prior, self.prior_cross, self.test)
        return np.result_type(*(kernel.dtype for kernel in given if kernel is not None))


def checked_kernels(
    ntk: MatrixLike | None,
    nngp: MatrixLike,
    *,
    ntk_cross: MatrixLike | None,
    nngp_cross: MatrixLike | None,
    nngp_test: MatrixLike | None,
) -> Kernels:
    """The kernels, checked against each other."""
    if ntk is None and ntk_cross is not None:
        raise ValueError("ntk_cross came without ntk; pass ntk, or nngp_cross alone where the last layer is trained")
    if nngp_test is not None and nngp_cross is None:
        raise ValueError("nngp_test came without nngp_cross, the kernel K_* of test against training points")
    if ntk is not None and ntk_cross is None and nngp_cross is not None:
        raise ValueError("nngp_cross came without ntk_cross, the kernel Theta_* of test against training points")
    needs = "an ensemble takes all eigenpairs of its kernel"
    prior = require_here(as_symmetric(nngp), needs)
    training = prior if ntk is None else require_here(as_symmetric(ntk), needs)
    if prior.shape != training.shape:
        raise ValueError(f"nngp has shape {prior.shape}, but ntk {training.shape}: both are of the training points")
    prior_cross = checked_test(nngp_cross, prior, name="nngp_cross")
    cross = prior_cross if ntk is None else checked_test(ntk_cross, training, name="ntk_cross")
    if cross is not None and prior_cross is not None and cross.shape != prior_cross.shape:
        raise ValueError(f"nngp_cross has shape {prior_cross.shape}, but ntk_cross {cross.shape}: one row for each")
    test = None if prior_cross is None else checked_square(nngp_test, prior_cross, name="nngp_test", of="nngp_cross")
    kernels = Kernels(training, cross, prior, prior_cross, test)
    for kernel in (prior, cross, prior_cross, test):
        if kernel is not None and kernel.engine is not training.engine:
            raise TypeError(f"a kernel lies on the {kernel.engine.name}, another on the {training.engine.name}")
    return kernels
