"""The linear model beside a network: of theory, or the nearest one to its kernel."""

from dataclasses import dataclass

import numpy as np

from ntkspec.kernels import LinearFit
from ntkspec.operators import KernelOperator
from ntkspec.spectra.norms import frobenius_norm
from ntkspec.spectra.results import Estimate

# The relative width of the interval of a distance that is shown beside another one.
GAP_RTOL = 0.02


@dataclass(frozen=True)
class LinearModel:
    """A linear model on a data set.

    kernel, kernel_test : F Fᵀ on the training points, and with test points, where there are any. compared : what Theta
    is compared with, ``kernel`` + ``identity`` I. data_coefficient : that of X Xᵀ/d. fit : where it is the nearest one.
    """

    kernel: KernelOperator
    kernel_test: KernelOperator | None
    compared: KernelOperator
    data_coefficient: float
    identity: float = 0.0
    fit: LinearFit | None = None


@dataclass(frozen=True)
class NearestLinear:
    """The linear kernel L that is nearest to Theta in Frobenius norm, in numbers.

    data, constant, identity : the coefficients of X Xᵀ/d, 1 1ᵀ and I. norms : (k, 3), of the norm features
    (:class:`ntkspec.kernels.LinearCoefficients`). gap_frobenius : of Theta - L.
    """

    data: float
    constant: float
    identity: float
    norms: np.ndarray
    gap_frobenius: Estimate

    @classmethod
    def of(cls, fit: LinearFit, gap_frobenius: Estimate | None = None) -> "NearestLinear":
        """Of a fit; the distance is measured where it is not given."""
        own = fit.coefficients
        gap = frobenius_norm(fit.theta - fit.operator, rtol=GAP_RTOL) if gap_frobenius is None else gap_frobenius
        return cls(own.data, own.constant, own.identity, own.norms, gap)
