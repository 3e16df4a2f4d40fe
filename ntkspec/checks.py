"""Checks of input: each says what came, what is allowed and what to do, before any long computation."""

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Any, Protocol, TypeVar

import numpy as np

from ntkspec.engines import as_array, engine_of
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.objects.words import counted

LAYERS = ("first", "second", "both")
# No computation of more seconds than a year holds is begun; a step of anything takes this long at least, and no machine
# does more floating-point operations in a second.
YEAR, STEP_SECONDS, FASTEST = 3.2e7, 1e-7, 1e15

Choice = TypeVar("Choice")


class Device(Protocol):
    """What the checks ask an engine."""

    name: str

    def free_memory(self) -> float:
        """Bytes that can be taken now."""


def as_floats(array: ArrayLike, name: str) -> Array:
    """A plain array of float32 or float64 in the machine's byte order, on the device where it lies.

    Arrays of any kind are taken (:func:`ntkspec.engines.containers.as_array`). float32 and float64 stay, of another
    byte order they are turned; integers, booleans and float16 become float64. Anything else is a TypeError.
    """
    array = as_array(array, name)
    if array.dtype in (np.float32, np.float64):
        return array
    native = array.dtype.newbyteorder("=")
    if native in (np.float32, np.float64):
        return array.astype(native)
    if native.kind in "iub" or native == np.float16:
        return array.astype(np.float64)
    raise TypeError(f"{name} has dtype {array.dtype}, but float32 or float64 is needed; convert it with .astype(float)")


def as_matrix(
    X: ArrayLike,
    name: str = "X",
    columns: int | None = None,
    *,
    needed: str = "(n, d) is needed: one row for each data point",
    fits: str = "the other input",
) -> Array:
    """X as a finite (n, d) array with n, d >= 1, and with d = ``columns`` where that is given.

    needed, fits : what a message says of the shape, and of what has as many columns.
    """
    X = as_floats(X, name)
    if X.ndim != 2:
        raise ValueError(f"{name} has shape {X.shape}, but a matrix {needed}")
    if X.size == 0:
        raise ValueError(f"{name} has shape {X.shape} and holds no data; at least one row and one column are needed")
    if columns is not None and X.shape[1] != columns:
        raise ValueError(f"{name} has {X.shape[1]} columns, but {columns} are needed to fit {fits}")
    all_finite(X, name)
    return X


def as_inputs(X: ArrayLike, d: int, name: str = "X") -> Array:
    """Inputs of a network that takes points of d numbers, as a finite (n, d) array."""
    return as_matrix(X, name, columns=d, fits="the network")


def as_sides(X: ArrayLike, X2: ArrayLike | None) -> list[Array]:
    """The points of both sides of a kernel: [X] where X2 is None, else [X, X2] with as many columns."""
    X = as_matrix(X)
    return [X] if X2 is None else [X, as_matrix(X2, "X2", columns=X.shape[1])]


def as_vector(y: ArrayLike, name: str, length: int, *, each: str = "data point") -> Array:
    """y as a finite vector of the given length; each : what a message says that there is a number for."""
    y = as_floats(y, name)
    if y.shape != (length,):
        advice = f"; pass numpy.ravel({name})" if y.shape in ((length, 1), (1, length)) else ""
        raise ValueError(f"{name} has shape {y.shape}, but ({length},) is needed: one number for each {each}{advice}")
    all_finite(y, name)
    return y


def on_engine(array: Array, engine: Device, name: str) -> Array:
    """The array itself, where it lies on the engine's device; TypeError where it does not.

    One of NumPy is handed to an engine whose arrays lie elsewhere.
    """
    own = engine_of(array)
    if own is not engine and hasattr(engine, "placed") and isinstance(array, np.ndarray):
        return engine.placed(array)
    if own is not engine:
        raise TypeError(
            f"{name} lies on the {own.name}, but the kernel on the {engine.name}; move one of them with "
            f"cupy.asarray(array) or cupy.asnumpy(array)"
        )
    return array


def all_finite(array: Array, name: str) -> None:
    """Raises ValueError, which names the first one, where entries are NaN or infinite."""
    xp = engine_of(array).xp
    finite = xp.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in xp.argwhere(~finite)[0])
        raise not_finite(name, array.size - int(finite.sum()), where=where, first=float(array[where]))


def not_finite(name: str, count: int, *, where: tuple[int, ...], first: float) -> ValueError:
    """The error for so many entries that are NaN or infinite, the ``first`` of them at the indices ``where``."""
    bad = counted(count, "entry that is", "entries that are")
    place = "in " + ", ".join(f"{what} {k}" for what, k in zip(("row", "column"), where, strict=False))
    return ValueError(
        f"{name} holds {bad} NaN or infinite, the first one ({first}) {place if len(where) <= 2 else f'at {where}'} "
        f"(counted from 0); remove or replace them"
    )


def finite_sum(numbers: Iterable[float]) -> float:
    """The sum in float64 of diagonal or squared entries. Raises ValueError where it is NaN or infinite."""
    try:
        total = math.fsum(numbers)
    except (OverflowError, ValueError):
        total = math.nan
    if not math.isfinite(total):
        raise ValueError(
            "the kernel holds NaN or infinity, or entries whose squares float64 does not hold; look at the data and at "
            "the network's parameters"
        )
    return total


def float_dtype(dtype: DTypeLike | None) -> np.dtype:
    """float32 or float64; TypeError for anything else, before numbers are rounded to it."""
    try:
        found = None if dtype is None else np.dtype(dtype)  # NumPy takes None for float64
    except TypeError:
        found = None
    if found is None or found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype={shown(dtype)}, but float32 or float64 is needed")
    return found


def as_steps(steps: ArrayLike) -> np.ndarray:
    """The recorded steps as int64, in the order given."""
    given = np.atleast_1d(as_array(steps, "steps"))
    long = given.dtype.kind == "O" and all(isinstance(step, int) for step in given.ravel())
    with np.errstate(invalid="ignore"):  # NaN is below nothing
        beyond = (long or given.dtype.kind in "fu") and not (np.abs(given.astype(object)) < 2**62).all()
    if beyond:
        raise ValueError(f"steps={shown(steps)}, but a step is a whole number below 2^62")
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iuf" or (given != np.floor(given)).any():
        raise ValueError(f"steps={shown(steps)}, but a list of whole numbers >= 0 is needed, such as [0, 1, 10, 100]")
    whole = given.astype(np.int64)
    if whole.min() < 0:
        raise ValueError(f"steps holds {whole.min()}, but a step is a whole number >= 0")
    return whole


def as_times(times: ArrayLike) -> np.ndarray:
    """The recorded times as float64, in the order given."""
    given = np.atleast_1d(as_array(times, "steps"))
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iuf" or not (given >= 0).all():
        raise ValueError(f"steps={shown(times)}, but a list of times >= 0 is needed, such as [0, 0.5, 10, 1e6]")
    if not np.isfinite(given).all():
        raise ValueError(f"steps={shown(times)}, but a time is finite; take a large one, such as 1e12, for the end")
    return given.astype(np.float64)


def shown(value: object) -> str:
    """The value in a message, on one line: the beginning of its repr, of a long number how many digits it has."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"{'-' if value < 0 else ''}10^{abs(value).bit_length() * math.log10(2):.0f}"
    return shortened(repr(value))


def shortened(text: str, most: int = 200) -> str:
    """A text on one line; of one with more characters than that the beginning."""
    line = " ".join(text.split()) if "\n" in text else text
    return line if len(line) <= most else f"{line[: 2 * most // 5]}... ({len(line)} characters)"


def whole_number(value: Any, name: str, least: int, most: int | None = None) -> int:
    """``value`` as an int from ``least`` to ``most``, or where that is None to below 2^63."""
    largest = 2**63 - 1 if most is None else most
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= largest:
        allowed = f">= {least} (and below 2^63)" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}={shown(value)}, but a whole number {allowed} is needed")
    return int(value)


def is_number(value: Any) -> bool:
    """Whether it is one real number: no truth value, no array, nothing complex."""
    return isinstance(value, Real) and not isinstance(value, bool)


def parameter(value: Any, name: str, most: float) -> float:
    """``value`` as a float from -most to most."""
    if not is_number(value) or not -most <= value <= most:
        raise ValueError(f"{name}={shown(value)}, but a number from {-most:g} to {most:g} is needed")
    return float(value)


def not_negative(value: Any, name: str, needed: str) -> float:
    """``value`` as a finite float that is not negative; ``needed`` says so in the message."""
    known = is_number(value) and 0 <= value < math.inf
    if not known or (isinstance(value, int) and value > sys.float_info.max):
        raise ValueError(f"{name}={shown(value)}, but {needed}")
    return float(value)


def learning_rate(value: Any, name: str) -> float:
    """``value`` as a finite float that is not negative."""
    return not_negative(value, name, "a learning rate is a finite number >= 0")


def probability(value: Any, name: str) -> float:
    """``value`` as a float between 0 and 1, both excluded."""
    if not is_number(value) or not 1e-100 <= value < 1:
        raise ValueError(f"{name}={shown(value)}, but a probability between 1e-100 and 1 is needed, such as 1e-6")
    return float(value)


def accuracy(rtol: Any, failure_probability: Any, seed: Any, *, exact: bool = False) -> None:
    """What a result with an interval is asked for; where it can be ``exact``, rtol may be 0."""
    if not is_number(rtol) or not (0 < rtol < 1 or (exact and rtol == 0)):
        allowed = "from 0 (exact) to below 1" if exact else "between 0 and 1"
        raise ValueError(f"rtol={shown(rtol)}, but a relative width {allowed} is needed, such as 1e-3")
    probability(failure_probability, "failure_probability")
    whole_number(seed, "seed", 0)


def one_of(value: object, name: str, allowed: Sequence[Choice]) -> Choice:
    """``value`` as the one of ``allowed`` that it equals."""
    if value not in allowed:
        raise ValueError(f"{name}={shown(value)}, but one of {', '.join(map(repr, allowed))} is needed")
    return allowed[allowed.index(value)]


def duration(steps: float, flops: float, what: str, advice: str) -> None:
    """Refuse, with numbers, steps of so many floating-point operations that no machine does in a year."""
    seconds = steps * max(STEP_SECONDS, flops / FASTEST)
    if seconds > YEAR:
        raise ValueError(f"{what} would take {seconds / YEAR:.2g} years or more on any machine; {advice}")


def memory(needed: float, engine: Device, what: str, advice: str) -> None:
    """Refuse, with numbers, what cannot fit into the free memory."""
    free = engine.free_memory()
    if needed > free:
        raise ValueError(f"{what} needs {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free; {advice}")


class OutOfMemory(MemoryError):
    """Memory that was not there, told in one sentence."""


@contextlib.contextmanager
def memory_for(what: str, engine: Device, advice: str) -> Iterator[None]:
    """Where memory runs out within: OutOfMemory that says what ``what`` asked for and what is free."""
    try:
        yield
    except OutOfMemory:
        raise
    except MemoryError as error:
        shape, dtype = getattr(error, "shape", None), getattr(error, "dtype", None)
        reason = f" ({error})" if str(error) else ""
        asked = 0 if shape is None or dtype is None else math.prod(shape) * dtype.itemsize
        more = f"{asked / 1e9:.3g} GB more" if asked else f"more memory{reason}"
        raise OutOfMemory(
            f"{what} needs {more}, but {engine.free_memory() / 1e9:.3g} GB are free for it; {advice}"
        ) from error
