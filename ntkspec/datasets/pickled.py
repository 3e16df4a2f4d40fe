"""Words in arrays that NumPy saved as pickles, read without executing anything."""

import math
import pickle

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")


class _Array:
    """Stands for an array: keeps the state that the pickle would give it."""

    state: tuple = ()

    def __setstate__(self, state):
        self.state = state


class _Kind:
    """Stands for a dtype."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __setstate__(self, state):
        pass


def _reconstruct(*arguments):
    return _Array()


_STAND_INS = {"_reconstruct": _reconstruct, "ndarray": _Array, "dtype": _Kind}


class _WordsUnpickler(pickle.Unpickler):
    """Calls nothing but the stand-ins above, so that a crafted file cannot run code."""

    def find_class(self, module, name):
        if module not in _NUMPY or name not in _STAND_INS:
            raise pickle.UnpicklingError(f"{module}.{name} is neither a word nor a number")
        return _STAND_INS[name]


def read_objects(file) -> tuple[tuple[int, ...], list]:
    """(shape, entries) of a pickled array of words, numbers and None from an open file.

    Raises ValueError where it holds anything else.
    """
    try:
        array = _WordsUnpickler(file).load()
        _, shape, kind, _, entries = array.state
        plain = kind.arguments[0] == "O8" and isinstance(entries, list) and math.prod(shape) == len(entries)
        if not plain or not all(isinstance(one, str | bytes | int | float | None) for one in entries):
            raise pickle.UnpicklingError("it is no array of words")
        return tuple(shape), entries
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(
            f"an array of objects is read where it holds words and numbers only, because others run code ({error}); "
            f"save labels with .astype(str)"
        ) from None
