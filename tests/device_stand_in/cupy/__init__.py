"""Stands in for CuPy where no GPU is present, for tests: device arrays that are strict about the device.

As with CuPy, an array is never converted to NumPy's in silence, does not mix with NumPy's arrays, and reductions give
arrays of no dimension. Stricter than CuPy: functions of NumPy refuse it. CUDA sources are compiled for the CPU
(cuda_on_host.h). Only what ntkspec uses is here, and test_stand_in.py asks CuPy, where it is installed, for every name.
"""

import sys
import types

import numpy as _np

from cupy import _modules
from cupy._modules import RawModule  # noqa: F401

__version__ = "13.3"
float32, float64, int8, int32, int64, uint64 = _np.float32, _np.float64, _np.int8, _np.int32, _np.int64, _np.uint64
newaxis, nan, inf, pi = _np.newaxis, _np.nan, _np.inf, _np.pi
finfo, result_type, dtype = _np.finfo, _np.result_type, _np.dtype

_OPERATORS = """
    add sub mul truediv floordiv mod pow matmul and or xor lshift rshift radd rsub rmul rtruediv
    rpow rmatmul rand ror rxor rmod lt le gt ge eq ne neg abs pos invert
"""
_IN_PLACE = """
    iadd isub imul itruediv ior iand ixor ilshift irshift
"""
_METHODS = """
    reshape ravel swapaxes transpose diagonal copy all any nonzero argmax argmin view squeeze std
    sum mean cumsum clip fill take repeat dot trace sort argsort
"""
_FUNCTIONS = """
    abs absolute add all any arange arctan2 argmax argmin argsort argwhere array_equal ascontiguousarray
    asfortranarray broadcast_to clip concatenate copysign copyto cos cumsum diff divide dot einsum empty empty_like
    exp expm1 eye flatnonzero frexp full full_like greater greater_equal hstack invert isfinite isnan ldexp less
    less_equal linspace log log1p logaddexp matmul maximum mean minimum moveaxis multiply negative ones ones_like
    outer pad power roll searchsorted sign sin sort split sqrt square stack subtract sum swapaxes tanh tensordot trace
    true_divide triu tril unique vdot vstack where zeros zeros_like
"""
_LINALG = """
    eigh eigvalsh norm qr svd solve cholesky inv
"""
_FFT = """
    fftn ifftn
"""
_POOL = """
    free_all_blocks free_bytes total_bytes used_bytes
"""


class ndarray:
    """An array on the device that is not there."""

    __array_priority__ = 100

    def __init__(self, array):
        _modules.refuse_while_capturing("a new array")
        self._array = array

    # ------------------------------------------------------------------------------------------------ refused crossings
    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_function__(self, function, *rest):
        raise TypeError(f"numpy.{function.__name__} of a device array; call it through the engine's array module")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        # From a NumPy scalar on the left of an operator; anything else was called as a function of NumPy.
        if method == "__call__" and not options and isinstance(inputs[0], _np.generic):
            return _wrapped(ufunc(*_unwrapped(inputs)))
        raise TypeError(f"numpy.{ufunc.__name__} of a device array; call it through the engine's array module")

    # --------------------------------------------------------------------------------------------------- to the host
    def get(self):
        _modules.refuse_while_capturing("a copy to the host")
        return self._array.copy()

    def item(self, *place):
        _modules.refuse_while_capturing("a copy to the host")
        return self._array.item(*place)

    def __float__(self):
        _modules.refuse_while_capturing("a copy to the host")
        return float(self._array)

    def __int__(self):
        _modules.refuse_while_capturing("a copy to the host")
        return int(self._array)

    def __bool__(self):
        _modules.refuse_while_capturing("a copy to the host")
        return bool(self._array)

    def __repr__(self):
        return repr(self._array)

    def __format__(self, how):
        return format(self._array[()], how) if self.ndim == 0 else format(repr(self), how)

    # ----------------------------------------------------------------------------------------------------- as an array
    shape, dtype, ndim, size, strides, itemsize, nbytes, flags = (
        property(lambda self, name=name: getattr(self._array, name))
        for name in ("shape", "dtype", "ndim", "size", "strides", "itemsize", "nbytes", "flags")
    )
    T, real = (property(lambda self, name=name: ndarray(getattr(self._array, name))) for name in ("T", "real"))

    @property
    def data(self):
        return _modules.MemoryPointer(self._array)

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return (_wrapped(part) for part in self._array)

    def __getitem__(self, place):
        return _wrapped(self._array[_place(place)])

    def __setitem__(self, place, value):
        self._array[_place(place)] = _operand(value)

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        return ndarray(self._array.astype(dtype, order=order, copy=copy))

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return 2, 0


def _place(place):
    """An index: arrays in it are the device's."""
    if isinstance(place, tuple):
        return tuple(_place(part) for part in place)
    if isinstance(place, _np.ndarray):
        raise TypeError("a NumPy array as an index of a device array; move it with cupy.asarray")
    return place._array if isinstance(place, ndarray) else place


def _operand(value):
    _modules.refuse_while_capturing("arithmetic of arrays")
    if isinstance(value, _np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value._array if isinstance(value, ndarray) else value


def _unwrapped(values):
    """What functions of arrays take: device arrays, numbers, and lists of them."""
    if isinstance(values, list | tuple):
        return type(values)(_unwrapped(value) for value in values)
    if isinstance(values, types.GeneratorType):
        return [_unwrapped(value) for value in values]
    return _operand(values)


def _wrapped(found):
    if isinstance(found, _np.ndarray):
        return ndarray(found)
    if isinstance(found, _np.generic):
        return ndarray(_np.asarray(found))
    if isinstance(found, tuple):
        return tuple(_wrapped(part) for part in found)
    return [_wrapped(part) for part in found] if isinstance(found, list) else found


def _method(name):
    def method(self, *arguments, **options):
        return _wrapped(
            getattr(self._array, name)(*_unwrapped(arguments), **{k: _unwrapped(v) for k, v in options.items()})
        )

    return method


def _operator(name):
    def operator(self, *others):
        if any(isinstance(other, _np.ndarray) for other in others) or (
            others and not isinstance(others[0], ndarray | int | float | complex | bool | _np.generic | None)
        ):
            if isinstance(others[0], _np.ndarray):
                raise TypeError("Unsupported type <class 'numpy.ndarray'>")
            return NotImplemented
        found = getattr(self._array, name)(*_unwrapped(others))
        return found if found is NotImplemented else _wrapped(found)

    return operator


def _in_place(name):
    def operator(self, other):
        getattr(self._array, name)(_operand(other))
        return self

    return operator


for _name in _OPERATORS.split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in _IN_PLACE.split():
    setattr(ndarray, f"__{_name}__", _in_place(f"__{_name}__"))
for _name in _METHODS.split():
    setattr(ndarray, _name, _method(_name))


def _extremum(name):
    # Without the ``initial`` of NumPy's: CuPy has none.
    def method(self, axis=None, out=None, keepdims=False):
        return _wrapped(getattr(self._array, name)(axis=axis, keepdims=keepdims))

    return method


ndarray.max, ndarray.min = _extremum("max"), _extremum("min")
ndarray.__hash__ = None


# ------------------------------------------------------------------------------------------------------------ functions
def _function(function, kept=()):
    def on_device(*arguments, **options):
        for value in (*arguments, *options.values()):
            if isinstance(value, _np.ndarray):
                raise TypeError(f"{function.__name__}: Unsupported type <class 'numpy.ndarray'>")
        out = options.get("out")
        found = function(*_unwrapped(arguments), **{key: _unwrapped(value) for key, value in options.items()})
        return out if out is not None else _wrapped(found)

    return on_device


for _name in _FUNCTIONS.split():
    globals()[_name] = _function(getattr(_np, _name))  # fmt: skip


def _matmul(A, B, out=None):
    # As in CuPy 13, which loses the missing axis of a vector on the way to ``out``.
    if out is not None and (A.ndim == 1 or B.ndim == 1):
        raise ValueError("axes don't match array")
    return _np.matmul(A, B) if out is None else _np.matmul(A, B, out=out)


matmul = _function(_matmul)


def asarray(given, dtype=None, order=None):
    """A device array; of NumPy's an explicit copy to the device."""
    if isinstance(given, ndarray):
        return ndarray(_np.asarray(given._array, dtype=dtype, order=order))
    given = (
        [_operand(part) if isinstance(part, ndarray) else part for part in given] if isinstance(given, list) else given
    )
    return ndarray(_np.array(given, dtype=dtype, order=order or "K"))


def array(given, dtype=None, copy=True, order="K"):
    """As :func:`asarray`, but copies by default."""
    if isinstance(given, ndarray):
        return ndarray(_np.array(given._array, dtype=dtype, copy=copy, order=order))
    return asarray(given, dtype)


def asnumpy(given):
    """A NumPy array: the explicit copy to the host."""
    return given.get() if isinstance(given, ndarray) else _np.asarray(given)


def from_dlpack(given):
    """A device array that shares the memory of another library's."""
    return ndarray(_np.from_dlpack(given))


def get_default_memory_pool():
    """A pool that keeps and counts nothing."""
    return types.SimpleNamespace(**dict.fromkeys(_POOL.split(), lambda: 0))


linalg = types.ModuleType("cupy.linalg")
for _name in _LINALG.split():
    setattr(linalg, _name, _function(getattr(_np.linalg, _name)))
sys.modules["cupy.linalg"] = linalg
fft = types.ModuleType("cupy.fft")
for _name in _FFT.split():
    setattr(fft, _name, _function(getattr(_np.fft, _name)))
sys.modules["cupy.fft"] = fft
random = types.ModuleType("cupy.random")
random.default_rng = _modules.default_rng
sys.modules["cupy.random"] = random
cuda = _modules.cuda
