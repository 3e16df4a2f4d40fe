"""Checks of what a prediction is asked for: the test kernel, and outputs at step 0."""

from typing import Any, TypeAlias

from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from ntkspec import checks
from ntkspec.engines import as_array
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.operators import KernelOperator, as_symmetric, wrap
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.layout import Layout

# Outputs at step 0 on the training points, or on these and on the test points; None is zero.
StartLike: TypeAlias = ArrayLike | tuple[ArrayLike, ArrayLike | None] | None


def checked_test(
    kernel_test: MatrixLike | None, kernel: KernelOperator, *, name: str = "kernel_test"
) -> KernelOperator | None:
    """The test kernel as an operator of shape (n', n), or (n' K, n K) of a kernel with a row for each output."""
    if kernel_test is None:
        return None
    known = isinstance(kernel_test, KernelOperator | LinearOperator) or issparse(kernel_test)
    given: Any = kernel_test if known else as_array(kernel_test, name)
    rows, each = kernel.shape[0], kernel.rows_per_point
    shape, count = given.shape, getattr(given, "rows_per_point", 1)
    if len(shape) != 2 or shape[1] != rows or shape[0] % each or count not in (1, each):
        needed = f"(n', {rows})" if each == 1 else f"({each} n', {rows}), {each} rows for each point,"
        found = "" if count == 1 else f" with {count} rows for each point"
        raise ValueError(f"{name} has shape {shape}{found}, but {needed} is needed: test against training")
    test = wrap(given, symmetric=None if isinstance(given, KernelOperator) else False)
    _require_one_place(test, kernel, name)
    return test


def _require_one_place(test: Any, kernel: Any, name: str) -> None:
    """Raises ValueError where the points of one kernel lie on workers, those of the other here or in other parts."""
    if test.spread != kernel.spread:
        own, other = ("on workers", "here") if test.spread else ("here", "on workers")
        raise ValueError(
            f"{name} {test.shape} lies {own}, but the training points lie {other}; build both with "
            f"ntkspec.cluster.kernel, from the same parts"
        )
    if kernel.spread and test.parts is not kernel.parts:
        raise ValueError(
            f"{name} {test.shape} has other parts than the kernel; build both from the same parts, with one scheduler"
        )


def checked_square(
    kernel_test: MatrixLike | None, cross: KernelOperator, *, name: str, of: str
) -> KernelOperator | None:
    """The symmetric kernel of the test points, which are the rows of the kernel ``cross`` of that name ``of``."""
    if kernel_test is None:
        return None
    test, size = as_symmetric(kernel_test), cross.shape[0]
    if test.shape[0] != size:
        raise ValueError(f"{name} has shape {test.shape}, but {of} has {size} rows: ({size}, {size})")
    return test


def checked_starts(
    start: StartLike,
    kernel: KernelOperator,
    kernel_test: KernelOperator | None,
    layout: Layout,
    *,
    name: str = "start",
) -> tuple[Array | None, Array | None]:
    """Checked outputs, such as those at step 0, on the training and on the test points; None where they are zero."""
    if start is None:
        return None, None
    given: Any = start
    dimensions = len(layout.shape(1))
    paired = isinstance(given, list) and len(given) == 2 and as_array(given[0], name).ndim == dimensions
    pair: tuple[Any, ...] = given if isinstance(given, tuple) or paired else (given, None)
    if len(pair) != 2 or (pair[1] is None) != (kernel_test is None):
        raise ValueError(
            f"{name} needs outputs on the training points and, with kernel_test, those on the test points: "
            f"{name}=(net(X), net(X_test))"
        )
    if dimensions == 1:  # outputs (n, 1) of one function
        pair = tuple(_as_vector(part) for part in pair)
    train = layout.checked(pair[0], name, layout.points).astype(kernel.dtype, copy=False)
    train = checks.on_engine(train, kernel.engine, name)
    if kernel_test is None:
        return train, None
    test = layout.checked(pair[1], f"{name} of the test points", kernel_test.shape[0] // layout.rows_per_point)
    return train, test.astype(kernel_test.dtype, copy=False)


def _as_vector(start: ArrayLike | None) -> Array | None:
    """(n,) from (n, 1); anything else as it is."""
    found = None if start is None else as_array(start, "start")
    return found[:, 0] if found is not None and found.shape[1:] == (1,) else found
