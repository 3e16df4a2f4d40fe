"""What holds numbers as a plain array: the door through which data of every other library come in."""

from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array, ArrayElsewhere

# DLPack's numbers of memory that a CUDA GPU reads: its own, and managed.
_CUDA = (2, 13)


def library(array: Any) -> str:
    """The name of the package that the array's class is from."""
    return type(array).__module__.split(".")[0]


def as_array(given: Any, name: str = "the array") -> Array:
    """A plain array of NumPy, or of CuPy, with the numbers of ``given``; no copy where none is needed.

    Subclasses (np.matrix, memory maps) lose their own meaning of * and @, memory maps stay on disk. A masked array
    without masked entries is plain. The fields of a structured array and the columns of a table become columns; row
    labels do not matter. A tensor of PyTorch is detached; what lies on a CUDA GPU stays there (DLPack). A sparse
    matrix of SciPy is filled with its zeros where the memory suffices. Lists, and whatever speaks ``__array__`` or
    DLPack, are read by NumPy. dtypes stay as they are.
    Raises TypeError / ValueError, with the ``name``, for what is no array of numbers.
    """
    if (type(given) is np.ndarray and given.dtype.names is None) or library(given) == "cupy":
        return given
    if isinstance(given, ArrayElsewhere):
        return given  # type: ignore[return-value]
    reader = next((reader for belongs, reader in _READERS if belongs(given)), _read)
    return reader(given, name)


def _read(given, name: str):
    try:
        return np.asarray(given) if hasattr(given, "__array__") or not _speaks_dlpack(given) else np.from_dlpack(given)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(f"{name} ({type(given).__name__}) cannot be read as an array of numbers: {reason}") from None


def _speaks_dlpack(given) -> bool:
    return hasattr(given, "__dlpack__") and hasattr(given, "__dlpack_device__")


def _on_gpu(given) -> bool:
    return _speaks_dlpack(given) and given.__dlpack_device__()[0] in _CUDA


def _from_gpu(given, name: str):
    from ntkspec.engines import gpu

    return gpu.xp.from_dlpack(given)


def _of_tensor(given, name: str):
    """Of PyTorch: gradients do not flow through."""
    given = given.detach().resolve_neg()
    if str(given.layout) != "torch.strided":
        raise TypeError(f"{name} is a tensor of layout {given.layout}, but a dense one is needed; pass .to_dense()")
    return _from_gpu(given, name) if _on_gpu(given) else _read(given, name)


def _of_masked(given, name: str):
    if np.ma.is_masked(given):
        raise TypeError(f"{name} is a masked array, but every entry counts; pass {name}.filled(...) or drop rows")
    return as_array(np.asarray(given.data), name)


def _of_fields(given, name: str):
    """The fields of a structured array, one after the other, as columns."""
    from numpy.lib.recfunctions import structured_to_unstructured

    for field in given.dtype.names:
        if given.dtype[field].kind not in "fiub":
            raise TypeError(f"{name} has the field {field!r} of dtype {given.dtype[field]}, but numbers are needed")
    return structured_to_unstructured(np.asarray(given))


def _of_table(given, name: str):
    """Of pandas; numbers that are missing become NaN, which is refused where it is met."""
    columns = given.dtypes.items() if given.ndim == 2 else [(None, given.dtype)]
    for column, dtype in columns:
        if dtype.kind not in "fiub":
            what = f"{name} has the column {column!r}" if given.ndim == 2 else f"{name} is a {type(given).__name__}"
            raise TypeError(f"{what} of dtype {dtype}, but numbers are needed; drop or encode it")
    array = given.to_numpy()
    return as_array(array if array.dtype != object else given.to_numpy(np.float64, na_value=np.nan), name)


def _of_sparse(given, name: str):
    from ntkspec.engines import cpu

    needed, free = given.dtype.itemsize * float(np.prod(given.shape)), cpu.free_memory()
    if needed > free:
        raise ValueError(
            f"{name} is a sparse matrix {given.shape} that needs {needed / 1e9:.3g} GB with its zeros, but "
            f"{free / 1e9:.3g} GB are free; take fewer points or columns"
        )
    return np.asarray(given.toarray())


def _of_list(given, name: str):
    """Its members may be arrays of any kind themselves."""
    scalar = (float, int, list, tuple, np.generic)
    return _read([one if isinstance(one, scalar) else as_array(one, name) for one in given], name)


# The first reader whose array it is.
_READERS = (
    (lambda given: isinstance(given, np.ma.MaskedArray), _of_masked),
    (lambda given: isinstance(given, np.ndarray) and given.dtype.names is not None, _of_fields),
    (lambda given: isinstance(given, list | tuple), _of_list),
    (lambda given: library(given) == "pandas" and hasattr(given, "to_numpy"), _of_table),
    (lambda given: library(given) == "torch" and hasattr(given, "detach"), _of_tensor),
    (lambda given: type(given).__module__.startswith("scipy.sparse") and hasattr(given, "toarray"), _of_sparse),
    (_on_gpu, _from_gpu),
)
