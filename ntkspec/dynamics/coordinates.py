"""A kernel model in coordinates c of its own: outputs u = u_0 + A c, and what a gradient in the outputs is in c.

Training of a model that is linear in its weights stays in the span of the gradients of its outputs. For a kernel K =
J Jᵀ the coordinates are those of the points, w = w_0 + Jᵀ c, so that A = K and a gradient r in the outputs is r itself;
for K = F Fᵀ of few features they are the k weights of the features, A = F and r becomes Fᵀ r. A law whose moves are
linear in what it is given takes the same steps there as in the weights.
"""

from typing import Protocol

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.operators import KernelOperator
from ntkspec.operators.layout import Layout


class Coordinates(Protocol):
    """How outputs, arrays (n,) or (n, K), hang on coordinates, float64 arrays like ``zero``."""

    @property
    def zero(self) -> Array: ...

    @property
    def size(self) -> int:
        """How many columns A has."""

    @property
    def center(self) -> Array | float:
        """Where weight decay leads to: 0 is the start."""

    @property
    def description(self) -> str: ...

    def outputs(self, c: Array) -> Array:
        """A c on the training points, in float64."""

    def outputs_on_test(self, many: list[Array]) -> Array:
        """The same on the test points, (steps, n') or (steps, n', K), of coordinates at so many steps."""

    def gradient(self, slope: Array) -> Array:
        """Aᵀ r for a kernel of features, r for one of points."""

    def matrices(self) -> tuple[Array, Array | None]:
        """A on the training points and on the test points, in float64."""

    def gradients(self, columns: Array) -> Array:
        """G applied to each column, G r being the gradient of r in coordinates."""

    def of_blocks(self, blocks: Array) -> Array:
        """G B Gᵀ of a matrix B with a block for each point, (n, rows of a point, the same), and else zero."""


class Points:
    """One coordinate for each row of the kernel."""

    center = 0.0

    def __init__(self, kernel: KernelOperator, kernel_test: KernelOperator | None, layout: Layout):
        self._kernel, self._test, self._layout, self.products = kernel, kernel_test, layout, 0

    @property
    def size(self) -> int:
        """One for each row of the kernel."""
        return self._kernel.shape[0]

    @property
    def zero(self) -> Array:
        """Of the shape of the labels."""
        return self._kernel.engine.xp.zeros(self._layout.shape(self._layout.points))

    @property
    def description(self) -> str:
        """With the products that it took."""
        return f"in function space ({self.products} products)"

    def outputs(self, c: Array) -> Array:
        """K c."""
        self.products += 1 if self._layout.stacked else self._layout.outputs or 1
        given = c.reshape(-1) if self._layout.stacked else c
        found = self._kernel @ given.astype(self._kernel.dtype)
        return found.astype(np.float64).reshape(c.shape)

    def outputs_on_test(self, many: list[Array]) -> Array:
        """K_* c for each."""
        assert self._test is not None
        return _on_test(self._test, many, self._layout)

    def gradient(self, slope: Array) -> Array:
        """The slope itself."""
        return slope

    def matrices(self) -> tuple[Array, Array | None]:
        """The kernels."""
        test = None if self._test is None else self._test.to_dense(np.float64)
        return self._kernel.to_dense(np.float64), test

    def gradients(self, columns: Array) -> Array:
        """The columns themselves."""
        return columns

    def of_blocks(self, blocks: Array) -> Array:
        """B itself."""
        n, rows, _ = blocks.shape
        xp = engine_of(blocks).xp
        whole, places = xp.zeros((n, rows, n, rows)), xp.arange(n)
        whole[places, :, places] = blocks
        return whole.reshape(n * rows, n * rows)


class Features:
    """One coordinate for each feature, and of a kernel of points for each output."""

    center = 0.0

    def __init__(self, F: Array, F_test: Array | None, layout: Layout):
        self._F, self._layout = F.astype(np.float64, copy=False), layout
        self._test = None if F_test is None else F_test.astype(np.float64, copy=False)

    @property
    def size(self) -> int:
        """k."""
        return self._F.shape[1]

    @property
    def zero(self) -> Array:
        """(k,), or (k, K)."""
        shape = (self._F.shape[1],) if self._layout.stacked else self._layout.shape(self._F.shape[1])
        return engine_of(self._F).xp.zeros(shape)

    @property
    def description(self) -> str:
        """With their number."""
        return f"in features ({self._F.shape[1]})"

    def outputs(self, c: Array) -> Array:
        """F c."""
        return (self._F @ c).reshape(self._layout.shape(self._layout.points))

    def outputs_on_test(self, many: list[Array]) -> Array:
        """F_* c for each."""
        assert self._test is not None
        return _on_test(self._test, many, self._layout)

    def gradient(self, slope: Array) -> Array:
        """Fᵀ r."""
        return self._F.T @ (slope.reshape(-1) if self._layout.stacked else slope)

    def matrices(self) -> tuple[Array, Array | None]:
        """The features."""
        return self._F, self._test

    def gradients(self, columns: Array) -> Array:
        """Fᵀ r of each."""
        return self._F.T @ columns

    def of_blocks(self, blocks: Array) -> Array:
        """A sum over points of Fᵀ B F."""
        parts = self._F.reshape(len(blocks), -1, self._F.shape[1])
        return self._F.T @ (blocks @ parts).reshape(self._F.shape)


class Pulled:
    """Those of a model that decays to weights elsewhere: two rows, c, and at each of its places s.

    w = w_0 + Jᵀ c + s (w_0 - w_*) for a center w_*, and ``way``, ``way_test`` are J (w_0 - w_*): outputs at the start
    less those at the center. s is one number, the part of the way there back.
    """

    def __init__(self, inner: Coordinates, way: Array, way_test: Array | None):
        self._inner, self._way, self._way_test = inner, way, way_test

    @property
    def size(self) -> int:
        """Of the others."""
        return self._inner.size

    @property
    def zero(self) -> Array:
        """Of both rows."""
        return _rows(self._inner.zero, 0.0)

    @property
    def center(self) -> Array:
        """s = -1."""
        return _rows(self._inner.zero, -1.0)

    @property
    def description(self) -> str:
        """Of the others."""
        return self._inner.description

    def outputs(self, c: Array) -> Array:
        """A c + s J (w_0 - w_*)."""
        return self._inner.outputs(c[0]) + float(c[1].max()) * self._way

    def outputs_on_test(self, many: list[Array]) -> Array:
        """The same on the test points."""
        assert self._way_test is not None
        found = self._inner.outputs_on_test([c[0] for c in many])
        for outputs, c in zip(found, many, strict=True):
            outputs += (float(c[1].max()) * self._way_test).astype(outputs.dtype)
        return found

    def gradient(self, slope: Array) -> Array:
        """No loss moves s."""
        return _rows(self._inner.gradient(slope), 0.0)

    def matrices(self) -> tuple[Array, Array | None]:
        """Of the others, which alone are random."""
        return self._inner.matrices()

    def gradients(self, columns: Array) -> Array:
        """Of the others."""
        return self._inner.gradients(columns)

    def of_blocks(self, blocks: Array) -> Array:
        """Of the others."""
        return self._inner.of_blocks(blocks)


def _rows(c: Array, s: float) -> Array:
    """Coordinates, and a number at each place of them."""
    return engine_of(c).xp.stack([c, 0 * c + s])


def _on_test(matrix: KernelOperator | Array, many: list[Array], layout: Layout) -> Array:
    """(steps, n') or (steps, n', K), by one product of all steps together."""
    xp, rows = engine_of(many[0]).xp, matrix.shape[0]
    columns = xp.concatenate([c.reshape(matrix.shape[1], -1) for c in many], axis=1)
    found = (matrix @ columns.astype(matrix.dtype)).reshape(rows, len(many), -1).transpose(1, 0, 2)
    return xp.ascontiguousarray(found).reshape(len(many), *layout.shape(rows // layout.rows_per_point))
