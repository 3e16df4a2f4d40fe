"""What the networks of this package have in common: one output, and points that are rows of a matrix."""

import numpy as np

from ntkspec import checks
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.networks.saving import Savable


class BuiltIn(Savable):
    """A network of points of ``dim`` numbers, with parameters of one dtype."""

    @property
    def dtype(self) -> np.dtype:
        """dtype of the parameters, float32 or float64."""
        raise NotImplementedError

    @property
    def dim(self) -> int:
        """d, the number of entries of an input."""
        raise NotImplementedError

    @property
    def n_outputs(self) -> None:
        """None: outputs have shape (n,)."""
        return None

    def as_points(self, points: ArrayLike, name: str = "X") -> Array:
        """Points as a finite (n, d) array, in the dtype of the outputs.

        Parameters
        ----------
        points : (n, d) array
            Points, float32 or float64.
        name : str, default "X"
            What a message calls them.

        Returns
        -------
        (n, d) array
            In the dtype of the points and the weights together.

        Raises
        ------
        ValueError
            Where they do not have d columns, or entries are not finite.
        """
        X = checks.as_inputs(points, self.dim, name)
        return X.astype(np.result_type(X.dtype, self.dtype), copy=False)
