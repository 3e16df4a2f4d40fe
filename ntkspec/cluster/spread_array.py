"""Arrays with a row for each point, whose rows lie on workers."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkspec.engines import engine_of, moved
from ntkspec.engines.arrays import Array, ArrayElsewhere, DTypeLike

if TYPE_CHECKING:
    from ntkspec.cluster.parts import Parts


class SpreadArray(np.lib.mixins.NDArrayOperatorsMixin, ArrayElsewhere):
    r"""An array one axis of which goes over the points of a kernel, whose part of each lies on a worker.

    Arithmetic, functions of entries, products that add up over the points, sums, transposes and what indexes the other
    axes are computed there. :meth:`gather` brings all of it here; :func:`ntkspec.save_result` takes the array, or a
    result that holds it, and writes one part after the other into a file.

    Attributes
    ----------
    parts : Parts
        What divides the points over the workers.
    pieces : list of futures
        The part of each.
    shape : tuple of int
        Of the whole array.
    dtype : numpy.dtype
        Of its entries.
    axis : int
        The one that goes over the points.

    Examples
    --------
    >>> import ntkspec as ns
    >>> spectrum = ns.eigsh(kernel, 10)  # doctest: +SKIP
    >>> vectors = spectrum.vectors.gather()  # doctest: +SKIP
    """

    __array_priority__ = 100.0

    def __init__(self, parts: "Parts", pieces: Sequence[Any], shape: Sequence[int], dtype: DTypeLike, axis: int):
        self.parts, self.pieces = parts, list(pieces)
        self.shape, self.dtype, self.axis = tuple(map(int, shape)), np.dtype(dtype), axis

    def __reduce__(self) -> Any:
        raise TypeError(
            "an array on a cluster is not pickled; ntkspec.save_result writes it to a file, and gather() brings it here"
        )

    def __deepcopy__(self, memo: dict) -> "SpreadArray":
        return self.copy()

    def __repr__(self) -> str:
        where = f"{len(self.parts)} parts of axis {self.axis} on {len(set(self.parts.homes))} workers"
        return f"SpreadArray(shape={self.shape}, dtype={self.dtype}): {where}"

    @property
    def engine(self) -> "Parts":
        """What computes with it."""
        return self.parts

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all entries."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    @property
    def sizes(self) -> list[int]:  # type: ignore[override]
        """How long each part is along the axis over the points."""
        return [size * (self.shape[self.axis] // self.parts.n) for size in self.parts.sizes]

    def gather(self) -> np.ndarray:
        """All of it, as an array of NumPy."""
        found = self.parts.workers.answers(self.parts.map(_on_host, self.pieces))
        return np.concatenate(found, axis=self.axis)

    def parts_here(self) -> Iterator[np.ndarray]:
        """The part of each worker as an array of NumPy, one after the other: each comes when it is asked for."""
        for piece, home in zip(self.pieces, self.parts.homes, strict=True):
            yield self.parts.workers.answers([self.parts.workers.submit(_on_host, piece, home=home)])[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return self.gather().astype(dtype or self.dtype, copy=False)

    def _mapped(self, function: Callable, *arguments: Any, shape=None, dtype=None, axis=None) -> "SpreadArray":
        """The function of each piece and the same further arguments."""
        pieces = self.parts.map(function, self.pieces, *(self.parts.same(one) for one in arguments))
        return SpreadArray(
            *(self.parts, pieces, self.shape if shape is None else shape, dtype or self.dtype),
            self.axis if axis is None else axis,
        )

    # ---------------------------------------------------------------------------------------------- form
    @property
    def T(self) -> "SpreadArray":
        """The transpose."""
        return self.transpose()

    def transpose(self, *axes: int) -> "SpreadArray":
        """Axes in another order, reversed unless it is given."""
        order = [axis % self.ndim for axis in axes] if axes else list(range(self.ndim))[::-1]
        shape = [self.shape[axis] for axis in order]
        return self._mapped(_transposed, order, shape=shape, axis=order.index(self.axis))

    def astype(self, dtype: DTypeLike, copy: bool = True) -> "SpreadArray":
        """In another dtype."""
        return self if np.dtype(dtype) == self.dtype else self._mapped(_typed, np.dtype(dtype), dtype=dtype)

    def copy(self) -> "SpreadArray":
        """Itself: what is computed with it makes a new one, and += another in its place."""
        return SpreadArray(self.parts, self.pieces, self.shape, self.dtype, self.axis)

    def reshape(self, *shape: Any) -> "SpreadArray":
        """Another shape in which one axis goes over the points, after as many entries as now."""
        wanted = [int(size) for size in (shape[0] if len(shape) == 1 and np.iterable(shape[0]) else shape)]
        if -1 in wanted:
            wanted[wanted.index(-1)] = self.size // -math.prod(wanted)
        before = math.prod(self.shape[: self.axis])
        fitting = [
            axis
            for axis, size in enumerate(wanted)
            if math.prod(wanted[:axis]) == before and size and size % self.parts.n == 0
        ]
        if math.prod(wanted) != self.size or not fitting:
            raise ValueError(f"an array of shape {self.shape} over points cannot have the shape {tuple(wanted)}")
        axis, times = fitting[-1], wanted[fitting[-1]] // self.parts.n
        shapes = [(*wanted[:axis], times * size, *wanted[axis + 1 :]) for size in self.parts.sizes]
        pieces = self.parts.map(_shaped, self.pieces, shapes)
        return SpreadArray(self.parts, pieces, wanted, self.dtype, axis)

    def ravel(self) -> "SpreadArray":
        """One axis."""
        return self.reshape(-1)

    def _keys(self, key: Any) -> list:
        """One for each axis, and None for each new one."""
        keys = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in [one for one in keys if one is Ellipsis]:
            place = next(k for k, one in enumerate(keys) if one is Ellipsis)
            keys[place : place + 1] = [slice(None)] * (self.ndim - sum(one is not None for one in keys) + 1)
        return keys + [slice(None)] * (self.ndim - sum(one is not None for one in keys))

    def __getitem__(self, key: Any) -> Any:
        keys = self._keys(key)
        if not _is_whole(keys[self._place(keys)]):
            return self._taken_out(keys)
        shape, axis = self._layout(keys)
        return self._mapped(_indexed, tuple(keys), shape=shape, axis=axis)

    def _place(self, keys: list) -> int:
        """Where the key of the points is."""
        return [k for k, one in enumerate(keys) if one is not None][self.axis]

    def _layout(self, keys: list) -> tuple[list[int], int]:
        """The shape of what the keys name, and its axis over the points, of which they leave out none."""
        shape: list[int] = []
        axis, sizes, place = 0, iter(self.shape), self._place(keys)
        for k, one in enumerate(keys):
            if k == place:
                axis = len(shape)
            size = 1 if one is None else next(sizes)
            if one is None or isinstance(one, slice):
                shape.append(size if one is None else len(range(*one.indices(size))))
            elif not isinstance(one, int | np.integer):
                shape.append(len(np.arange(size)[one]))
        return shape, axis

    def _taken_out(self, keys: list) -> np.ndarray:
        """Some rows, here: those of a number or a slice, from the parts that have them."""
        place = self._place(keys)
        rows = np.arange(self.shape[self.axis])[keys[place]]
        owner, inside = self._owners(np.atleast_1d(rows))
        tasks = [
            self.parts.workers.submit(
                *(_rows_on_host, self.pieces[part], inside[owner == part], self.axis), home=self.parts.homes[part]
            )
            for part in np.unique(owner)
        ]
        found = np.concatenate(self.parts.workers.answers(tasks), axis=self.axis) if tasks else self.gather()
        behind = np.argsort(np.argsort(owner, kind="stable"), kind="stable")
        found = found.take(behind, axis=self.axis)
        keys[place] = 0 if np.ndim(rows) == 0 else slice(None)
        return found[tuple(keys)]

    def _owners(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of each row, and its number there."""
        ends = np.cumsum([0, *self.sizes])
        owner = np.searchsorted(ends, rows, side="right") - 1
        return owner, rows - ends[owner]

    def __setitem__(self, key: Any, value: Any) -> None:
        """Other numbers where the key goes beside the points, or is of some rows."""
        keys, parts = self._keys(key), self.parts
        rows, keys[self._place(keys)] = keys[self._place(keys)], slice(None)
        if _is_whole(rows):
            shape, axis = self._layout(keys)
            if not isinstance(value, SpreadArray):
                value = parts.placed(np.broadcast_to(np.asarray(value, self.dtype), shape), axis)
            self.pieces = parts.map(_replaced, self.pieces, parts.same(tuple(keys)), value.pieces)
            return
        if not all(map(_is_whole, keys)):
            raise TypeError("rows that lie on workers are replaced as a whole, or an index beside the points is")
        chosen = np.arange(self.shape[self.axis])[rows]
        value = np.asarray(value, self.dtype)
        value = value if np.ndim(chosen) or not value.ndim else np.expand_dims(value, self.axis)
        owner, inside = self._owners(np.atleast_1d(chosen))
        value = np.broadcast_to(value, [*self.shape[: self.axis], len(owner), *self.shape[self.axis + 1 :]])
        pieces = list(self.pieces)
        for part in np.unique(owner):
            keys[self.axis] = inside[owner == part]
            own = value.compress(owner == part, axis=self.axis)
            pieces[part] = parts.workers.submit(_replaced, pieces[part], tuple(keys), own, home=parts.homes[part])
        self.pieces = pieces

    # ---------------------------------------------------------------------------------------------- numbers of entries
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        if ufunc is np.matmul:
            return _matmul(*inputs)
        found = _of_entries(self.parts, ufunc, inputs)
        if out is None:
            return found
        target = out[0]
        target.pieces, target.shape, target.dtype, target.axis = found.pieces, found.shape, found.dtype, found.axis
        return target

    def __array_function__(self, function: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        own = _FUNCTIONS.get(function)
        return NotImplemented if own is None else own(*args, **kwargs)

    def _reduced(self, name: str, axis: int | None, across: Callable, keepdims: bool = False) -> Any:
        """``name`` of the method of an array; ``across`` puts the results of the parts together."""
        if axis is not None and axis % self.ndim != self.axis:
            axis %= self.ndim
            kept = [1] if keepdims else []
            shape = [*self.shape[:axis], *kept, *self.shape[axis + 1 :]]
            moved = self.axis - (axis < self.axis and not keepdims)
            dtype = getattr(np.empty((1, 1), self.dtype), name)(axis=0).dtype
            return self._mapped(_reduced_piece, name, axis, keepdims, shape=shape, dtype=dtype, axis=moved)
        same = self.parts.same
        found = self.parts.map(_reduced_on_host, self.pieces, same(name), same(axis), same(keepdims))
        return across(self.parts.workers.answers(found))

    def sum(self, axis: int | None = None, keepdims: bool = False, **_: Any) -> Any:
        """The sum, of all parts in their order."""
        return self._reduced("sum", axis, sum, keepdims)

    def mean(self, axis: int | None = None, keepdims: bool = False, **_: Any) -> Any:
        """The mean."""
        count = self.size if axis is None else self.shape[axis]
        return self.sum(axis, keepdims) / count

    def max(self, axis: int | None = None, keepdims: bool = False, **_: Any) -> Any:
        """The largest entry."""
        return self._reduced("max", axis, lambda found: np.maximum.reduce(found), keepdims)

    def min(self, axis: int | None = None, keepdims: bool = False, **_: Any) -> Any:
        """The smallest entry."""
        return self._reduced("min", axis, lambda found: np.minimum.reduce(found), keepdims)

    def any(self, axis: int | None = None, **_: Any) -> Any:
        """Whether an entry is true."""
        return self._reduced("any", axis, lambda found: np.logical_or.reduce(found))

    def all(self, axis: int | None = None, **_: Any) -> Any:
        """Whether all entries are true."""
        return self._reduced("all", axis, lambda found: np.logical_and.reduce(found))


def _is_whole(key: Any) -> bool:
    return isinstance(key, slice) and key == slice(None)


def _of_entries(parts: "Parts", ufunc: np.ufunc, inputs: Sequence[Any]) -> SpreadArray:
    """A function of entries, of arrays here too: those with a side of all points are cut like the others."""
    spread = [one for one in inputs if isinstance(one, SpreadArray)]
    ndim = max(np.ndim(one) if not isinstance(one, SpreadArray) else one.ndim for one in inputs)
    axes = {one.axis - one.ndim + ndim for one in spread}
    if len(axes) > 1 or any(one.parts is not parts for one in spread):
        raise ValueError(f"arrays of shapes {[one.shape for one in spread]} do not go over the same points")
    shape = np.broadcast_shapes(*(one.shape if isinstance(one, SpreadArray) else np.shape(one) for one in inputs))
    (axis,), columns = axes, []
    for one in inputs:
        own = axis - ndim + np.ndim(one) if isinstance(one, np.ndarray) else -1
        if isinstance(one, np.ndarray) and own >= 0 and one.shape[own] not in (1,):
            one = parts.placed(one, own)
        columns.append(one.pieces if isinstance(one, SpreadArray) else parts.same(one))
    samples = [np.ones(1, one.dtype) if hasattr(one, "dtype") else one for one in inputs]
    with np.errstate(all="ignore"):
        dtype = ufunc(*samples).dtype
    return SpreadArray(parts, parts.map(_entries_of, parts.same(ufunc.__name__), *columns), shape, dtype, axis)


def _matmul(A: Any, B: Any) -> Any:
    """Over the points, which gives a small array, or beside them."""
    parts = next(one for one in (A, B) if isinstance(one, SpreadArray)).parts
    rows = max(0, np.ndim(B) - 2) if not isinstance(B, SpreadArray) else max(0, B.ndim - 2)
    over_a = isinstance(A, SpreadArray) and A.axis == A.ndim - 1
    over_b = isinstance(B, SpreadArray) and B.axis == rows
    if over_a or over_b:
        A = A if over_a else parts.placed(np.asarray(A), np.ndim(A) - 1)
        B = B if over_b else parts.placed(np.asarray(B), rows)
        if A.shape[-1] != B.shape[rows]:
            raise ValueError(f"arrays of shapes {A.shape} and {B.shape} cannot be multiplied")
        return parts.total(_contracted, A.pieces, B.pieces)
    if isinstance(A, SpreadArray) and isinstance(B, SpreadArray):
        raise ValueError(f"arrays of shapes {A.shape} and {B.shape} have no product over the points")
    shape, dtype = (*A.shape[:-1], *B.shape[1:]), np.result_type(A.dtype, B.dtype)
    if isinstance(A, SpreadArray):
        return A._mapped(_times, np.asarray(B), shape=shape, dtype=dtype)
    pieces = parts.map(_times, parts.same(np.asarray(A)), B.pieces)
    return SpreadArray(parts, pieces, shape, dtype, B.axis + A.ndim - 2)


def _norm(array: SpreadArray, ord: None = None, axis: int | None = None) -> Any:
    """The norm of all entries, or along one axis."""
    return np.sqrt(np.square(array).sum(axis=axis))


def _stacked(arrays: Sequence[Any], axis: int = 0) -> SpreadArray:
    """Arrays of one shape behind one another, along a new first axis."""
    if axis:
        raise ValueError(f"{axis=}, but arrays whose rows lie on workers are stacked along a new first axis")
    return _joined([array[None] for array in arrays])


def _joined(arrays: Sequence[Any], axis: int = 0) -> SpreadArray:
    """Arrays behind one another along an axis beside the points."""
    first = next(array for array in arrays if isinstance(array, SpreadArray))
    if axis % first.ndim == first.axis:
        raise ValueError("arrays whose rows lie on workers are not put together along these rows")
    arrays = [first.parts.placed(array, first.axis) for array in arrays]
    shape = list(first.shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    pieces = first.parts.map(
        _joined_pieces,
        [list(own) for own in zip(*(array.pieces for array in arrays), strict=True)],
        first.parts.same(axis),
    )
    return SpreadArray(first.parts, pieces, shape, np.result_type(*(array.dtype for array in arrays)), first.axis)


_FUNCTIONS: dict[Callable, Callable] = {
    np.linalg.norm: _norm,
    np.stack: _stacked,
    np.concatenate: _joined,
    np.zeros_like: lambda array, dtype=None: (0 * array).astype(dtype or array.dtype),
    np.clip: lambda array, low, high: np.minimum(np.maximum(array, low), high),
    np.sum: lambda array, axis=None, **_: array.sum(axis=axis),
    np.max: lambda array, axis=None, **_: array.max(axis=axis),
    np.argwhere: lambda array: np.argwhere(array.gather()),
    np.shape: lambda array: array.shape,
    np.ndim: lambda array: array.ndim,
}


class Arrays:
    """NumPy's functions, where it would bring the rows here."""

    @staticmethod
    def asarray(array: Any, dtype: DTypeLike | None = None) -> Any:
        """Itself, in a dtype."""
        if not isinstance(array, SpreadArray):
            return np.asarray(array, dtype)
        return array if dtype is None else array.astype(dtype)

    ascontiguousarray = asarray

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


# ----------------------------------------------------------------------------------------------------- on a worker
def _on_host(piece: Array) -> np.ndarray:
    return engine_of(piece).to_host(piece)


def _rows_on_host(piece: Array, rows: np.ndarray, axis: int) -> np.ndarray:
    return engine_of(piece).to_host(piece).take(rows, axis=axis)


# Pieces are contiguous: what is sent arrives so, and products of other layouts have other roundings.
def contiguous(piece: Array) -> Array:
    """In the order of its axes."""
    return engine_of(piece).xp.ascontiguousarray(piece) if piece.ndim else piece


def _transposed(piece: Array, order: list[int]) -> Array:
    return contiguous(piece.transpose(order))


def _typed(piece: Array, dtype: np.dtype) -> Array:
    return contiguous(piece.astype(dtype))


def _shaped(piece: Array, shape: tuple[int, ...]) -> Array:
    return piece.reshape(shape)


def _indexed(piece: Array, keys: tuple) -> Array:
    return contiguous(piece[_keys_on(engine_of(piece), keys)])


def _replaced(piece: Array, keys: tuple, value: Array) -> Array:
    engine = engine_of(piece)
    found = engine.xp.array(piece)
    found[_keys_on(engine, keys)] = moved(value, engine)
    return found


def _keys_on(engine: Any, keys: tuple) -> tuple:
    """Those that are arrays or lists on the device."""
    return tuple(moved(np.asarray(one), engine) if isinstance(one, list | np.ndarray) else one for one in keys)


def _entries_of(name: str, *inputs: Any) -> Array:
    """Of pieces, and small arrays of NumPy that go to their device."""
    engine = engine_of(*(one for one in inputs if _belongs(one)))
    there = [moved(one, engine) if isinstance(one, np.ndarray) else one for one in inputs]
    with np.errstate(all="ignore"):
        return contiguous(getattr(engine.xp, name)(*there))


def _belongs(one: Any) -> bool:
    """To the device: an array of more than numbers, or of no NumPy."""
    return hasattr(one, "shape") and not isinstance(one, np.ndarray | np.generic)


def _reduced_piece(piece: Array, name: str, axis: int | None, keepdims: bool) -> Array:
    options = {"keepdims": True} if keepdims else {}
    return getattr(piece, name)(axis=axis, **options)


def _reduced_on_host(piece: Array, name: str, axis: int | None, keepdims: bool) -> Any:
    found = _reduced_piece(piece, name, axis, keepdims)
    return engine_of(piece).to_host(found) if getattr(found, "ndim", 0) else found.item()


def _contracted(A: Array, B: Array) -> Any:
    found = A @ B
    return engine_of(A).to_host(found) if found.ndim else float(found)


def _times(A: Array, B: Array) -> Array:
    engine = engine_of(*[one for one in (A, B) if _belongs(one)])
    return moved(A, engine) @ moved(B, engine)


def _joined_pieces(pieces: list[Array], axis: int) -> Array:
    return engine_of(*pieces).xp.concatenate(pieces, axis=axis)
