"""How labels and outputs of several functions lie in the vectors that a kernel multiplies."""

from dataclasses import dataclass

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.operators.base import KernelOperator


@dataclass(frozen=True)
class Layout:
    """Arrays (n,) or (n, K) of n points and K outputs, and the vectors of a kernel that stand for them.

    outputs : K, or None of arrays (n,). stacked : the kernel has a row for each point and output, point-major, and one
    vector holds all outputs. Otherwise each output is a vector of its own, and the kernel stands for K ⊗ I.
    """

    points: int
    outputs: int | None
    stacked: bool

    @property
    def rows_per_point(self) -> int:
        """K where the kernel has a row for each output."""
        return self.outputs if self.stacked and self.outputs is not None else 1

    def shape(self, points: int) -> tuple[int, ...]:
        """Of an array of so many points."""
        return (points,) if self.outputs is None else (points, self.outputs)

    def checked(self, array: ArrayLike, name: str, points: int) -> Array:
        """A finite array of so many points, of the form of the labels."""
        if self.outputs is None:
            return checks.as_vector(array, name, points)
        array, shape = checks.as_floats(array, name), self.shape(points)
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, but {shape} is needed, as y has {self.outputs} columns")
        return checks.as_matrix(array, name)

    def vectors(self, array: Array) -> Array:
        """An array (n,) or (n, K) as vectors: rows of (1, n), (K, n) or, where they are stacked, (1, n K)."""
        if self.stacked or self.outputs is None:
            return array.reshape(1, -1)
        return engine_of(array).xp.ascontiguousarray(array.T)

    def arrays(self, vectors: Array) -> Array:
        """Of each step an array: (steps, n) or (steps, n, K), from vectors (1 or K, steps, rows)."""
        if self.outputs is None:
            return vectors[0]
        if self.stacked:
            return vectors[0].reshape(len(vectors[0]), -1, self.outputs)
        return engine_of(vectors).xp.ascontiguousarray(vectors.transpose(1, 2, 0))


def labels_of(y: ArrayLike, kernel: KernelOperator) -> tuple[Array, Layout]:
    """Finite labels (n,) or (n, K) of a kernel's points, on its device, and how they lie in vectors.

    Raises ValueError, with the shapes that fit, for others; TypeError for those on another device.
    """
    y, layout = labels_for(y, kernel.shape[0], kernel.rows_per_point)
    return checks.on_engine(y, kernel.engine, "y"), layout


def labels_for(y: ArrayLike, rows: int, rows_per_point: int) -> tuple[Array, Layout]:
    """:func:`labels_of` for a kernel of so many rows, on any device."""
    y, n = checks.as_floats(y, "y"), rows // rows_per_point
    if rows_per_point > 1:
        if y.shape != (n, rows_per_point):
            raise ValueError(
                f"y has shape {y.shape}, but ({n}, {rows_per_point}) is needed: a row for each data point, and a "
                f"column for each output of this kernel of {rows} rows"
            )
        return checks.as_matrix(y, "y"), Layout(n, rows_per_point, True)
    if y.ndim == 2 and len(y) == n and y.size:
        return checks.as_matrix(y, "y"), Layout(n, y.shape[1], False)
    if y.ndim == 2 and len(y) > 1:
        advice = ""
        if y.size == n:
            advice = (
                f"; where the kernel has a row for each point and output, pass ntkspec.operators.wrap(kernel, "
                f"rows_per_point={y.shape[1]})"
            )
        raise ValueError(
            f"y has shape {y.shape}, but ({n},) is needed, or ({n}, K) for K outputs: one row for each data point"
            f"{advice}"
        )
    return checks.as_vector(y, "y", n), Layout(n, None, False)


def whole_points(shape: tuple[int, ...], rows_per_point: int) -> int:
    """Rows of each point, which divide the rows and the columns."""
    count = checks.whole_number(rows_per_point, "rows_per_point", 1)
    if any(size % count for size in shape):
        raise ValueError(f"a kernel of shape {shape} cannot have {rows_per_point=}, which has to divide both sizes")
    return count
