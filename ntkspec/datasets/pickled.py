"""Words in arrays that NumPy saved as pickles, read without executing anything."""

import math
import pickle


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


def _encode(text, codec):
    return text.encode("latin1")


_STAND_INS = {(module, "_reconstruct"): _reconstruct for module in ("numpy.core.multiarray", "numpy._core.multiarray")}
_STAND_INS |= {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Kind, ("_codecs", "encode"): _encode}


class _WordsUnpickler(pickle.Unpickler):
    """Calls nothing but the stand-ins above, so that a crafted file cannot run code."""

    def find_class(self, module, name):
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"{module}.{name} is neither a word nor a number")
        return _STAND_INS[module, name]


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
