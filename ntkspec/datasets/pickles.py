"""Pickled arrays of which nothing is run, no import, no call, no object: CIFAR-10's batches, and arrays of words.

A pickle is a program for a small stack machine. The one below knows the instructions that numbers, strings, lists,
tuples and dictionaries are written with, of all protocols from 0 to 5. A name that an array needs, and a call of it,
stay notes of what the file asks for; any other name or instruction is refused. Only then are the entries that count
looked at, and their bytes taken. Time and memory grow with the file alone, up to a number of instructions.
"""

import codecs
import math
import pickle
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

# The oldest protocol spends some 12 instructions on an entry; a batch has 10,000 labels and 10,000 file names.
PER_ENTRY = 25
INSTRUCTIONS = 1_000_000
KEY_LENGTH = 100
# What arrays, numbers of NumPy and byte strings are written with, under the names of Python 3 and NumPy 1.
NAMES = {
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.core.numeric._frombuffer",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
    "builtins.bytes",
}
TYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}


@dataclass(frozen=True)
class Name:
    """A function or class that the file names."""

    text: str


@dataclass(eq=False)
class Call:
    """A call that the file asks for, with the state that the result is to be given; it is never made."""

    function: str
    arguments: tuple
    state: Any = None


def read_batch(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """(images (n, 3072) uint8, classes (n,) int64) of a pickled batch; ValueError where it is anything else."""
    try:
        batch = Machine(content).run()
        if not isinstance(batch, dict) or not {"data", "labels"} <= batch.keys():
            found = sorted(batch)[:8] if isinstance(batch, dict) else f"a {type(batch).__name__}"
            raise ValueError(f"data and labels are needed, but it holds {found}")
        images, classes = _array(batch["data"]), _whole_numbers(batch["labels"])
    except (
        struct.error,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        UnicodeError,
    ) as error:
        raise ValueError(f"a damaged pickle ({type(error).__name__})") from None
    if images.dtype != np.uint8 or images.shape != (len(classes), 3072):
        raise ValueError(f"images of shape {images.shape} and dtype {images.dtype} with {len(classes)} labels")
    return images, classes


def read_objects(content: bytes, count: int) -> tuple[tuple[int, ...], list]:
    """(shape, entries) of a pickled array of ``count`` words, numbers and None.

    Raises ValueError where it holds anything else, or where more bytes follow.
    """
    try:
        machine = Machine(content)
        note = machine.run(1000 + PER_ENTRY * count)
        _, shape, kind, _, entries = note.state
        if _word(kind.arguments[0]) != "O8" or not isinstance(entries, list) or math.prod(shape) != len(entries):
            raise ValueError("it is no array of words")
        if machine.position != len(content):
            raise ValueError("more bytes follow")
        return tuple(shape), [_entry(one) for one in entries]
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, struct.error) as error:
        raise ValueError(
            f"an array of objects is read where it holds words and numbers only, because others run code ({error}); "
            f"save labels with .astype(str)"
        ) from None


def _entry(note: Any) -> str | bytes | float | None:
    if note is None or isinstance(note, str | bytes | int | float):
        return note
    return _bytes(note)


# ------------------------------------------------------------------------------------------------- the stack machine
class Machine:
    """Goes through the instructions of a pickle and builds plain values, notes of names and notes of calls."""

    def __init__(self, content: bytes):
        self.content, self.position = content, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, limit: int = INSTRUCTIONS) -> Any:
        """What the pickle describes, in at most so many instructions."""
        for _ in range(limit):
            code = self.take(1)
            if code == pickle.STOP:
                return self.pop()
            if code not in STEPS:
                raise ValueError(f"instruction {code!r} is neither for words nor for numbers and their arrays")
            STEPS[code](self)
        raise ValueError(f"more than {limit} instructions")

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        end = self.position + count
        if count < 0 or end > len(self.content):
            raise ValueError("the file ends too early")
        taken, self.position = self.content[self.position : end], end
        return taken

    def line(self) -> bytes:
        """The bytes up to the end of the line."""
        return self.take(self.content.index(b"\n", self.position) + 1 - self.position)[:-1]

    def number(self, form: str) -> Any:
        """A number of that form, in the notation of struct."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def pop(self) -> Any:
        """The last value, of those since the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("a value is missing")
        return self.stack.pop()

    def popped(self, count: int) -> tuple:
        """The last ``count`` values."""
        return tuple(self.pop() for _ in range(count))[::-1]

    def since_mark(self) -> list:
        """All values since the last mark, which goes."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def push(self, value: Any) -> None:
        """One value more."""
        self.stack.append(value)

    def mark(self) -> None:
        """Remember this position of the stack."""
        self.marks.append(len(self.stack))

    def name(self, module: str, name: str) -> None:
        """A note of a name; those of Python 2 and NumPy 2 are called as their elder and younger twins."""
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        if f"{module}.{name}" not in NAMES:
            raise ValueError(f"{ascii(module[:40] + '.' + name[:40])[1:-1]} is neither a word nor a number")
        self.push(Name(f"{module}.{name}"))

    def call(self) -> None:
        """A note of a call."""
        function, arguments = self.popped(2)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no function")
        self.push(Call(function.text, arguments))

    def build(self) -> None:
        """The state of what was called last."""
        state, call = self.pop(), self.stack[-1]
        if not isinstance(call, Call) or call.state is not None:
            raise ValueError("a state for something that has none")
        call.state = state

    def extend(self, values: list) -> None:
        """Append to the list below."""
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("values for something that is no list")
        target.extend(values)

    def update(self, values: list) -> None:
        """Enter keys and values into the dictionary below."""
        target = self.stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError("keys and values for something that is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value


def _key(key: Any) -> str:
    """A key of a dictionary as text, which Python 2 writes in bytes."""
    if isinstance(key, Call) and key.function == "_codecs.encode":
        key = key.arguments[0]
    if not isinstance(key, str | bytes) or len(key) > KEY_LENGTH:
        raise ValueError("a key that is no short word")
    return key if isinstance(key, str) else key.decode("latin1")


def _quoted(machine: Machine) -> None:
    line = machine.line().strip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise ValueError("a string without quotes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a backslash that escapes nothing
        machine.push(codecs.escape_decode(line[1:-1])[0])


def _decimal(machine: Machine) -> None:
    """A whole number in digits; 00 and 01 are how the oldest protocols write False and True."""
    line = machine.line().removesuffix(b"L")
    if len(line) > 20:
        raise ValueError("a number of more than 20 digits")
    machine.push({b"00": False, b"01": True}.get(line, int(line)))


def _floating(machine: Machine) -> None:
    machine.push(float(machine.line()))


def _long(machine: Machine) -> None:
    machine.push(int.from_bytes(machine.take(machine.number("<B")), "little", signed=True))


def _global(machine: Machine) -> None:
    machine.name(*(machine.line().decode("utf-8") for _ in range(2)))


def _stack_global(machine: Machine) -> None:
    module, name = machine.popped(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a name that is no text")
    machine.name(module, name)


def _skip(machine: Machine, count: int) -> None:
    machine.take(count)


def _tuple(machine: Machine, count: int) -> None:
    machine.push(machine.popped(count))


def _number(machine: Machine, form: str) -> None:
    machine.push(machine.number(form))


def _dictionary(machine: Machine) -> None:
    values = machine.since_mark()
    machine.push({})
    machine.update(values)


def _remember(machine: Machine, read: Callable[[Machine], int]) -> None:
    machine.memo[read(machine)] = machine.stack[-1]


def _recall(machine: Machine, read: Callable[[Machine], int]) -> None:
    machine.push(machine.memo[read(machine)])


def _sized(machine: Machine, form: str, decode: Callable[[bytes], Any]) -> None:
    machine.push(decode(machine.take(machine.number(form))))


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _steps() -> dict[bytes, Callable[[Machine], None]]:
    """What each instruction does; those that are not here are refused."""
    steps: dict[bytes, Callable[[Machine], None]] = {
        pickle.PROTO: partial(_skip, count=1),
        pickle.FRAME: partial(_skip, count=8),
        pickle.MARK: Machine.mark,
        pickle.GLOBAL: _global,
        pickle.STACK_GLOBAL: _stack_global,
        pickle.REDUCE: Machine.call,
        pickle.BUILD: Machine.build,
        pickle.STRING: _quoted,
        pickle.UNICODE: lambda machine: machine.push(machine.line().decode("raw-unicode-escape")),
        pickle.INT: _decimal,
        pickle.LONG: _decimal,
        pickle.LONG1: _long,
        pickle.FLOAT: _floating,
        pickle.EMPTY_LIST: lambda machine: machine.push([]),
        pickle.EMPTY_DICT: lambda machine: machine.push({}),
        pickle.LIST: lambda machine: machine.push(machine.since_mark()),
        pickle.TUPLE: lambda machine: machine.push(tuple(machine.since_mark())),
        pickle.DICT: _dictionary,
        pickle.APPEND: lambda machine: machine.extend([machine.pop()]),
        pickle.APPENDS: lambda machine: machine.extend(machine.since_mark()),
        pickle.SETITEM: lambda machine: machine.update(list(machine.popped(2))),
        pickle.SETITEMS: lambda machine: machine.update(machine.since_mark()),
        pickle.MEMOIZE: partial(_remember, read=lambda machine: len(machine.memo)),
    }
    for code, value in (
        (pickle.NONE, None),
        (pickle.NEWTRUE, True),
        (pickle.NEWFALSE, False),
        (pickle.EMPTY_TUPLE, ()),
    ):
        steps[code] = partial(Machine.push, value=value)
    for code, count in ((pickle.TUPLE1, 1), (pickle.TUPLE2, 2), (pickle.TUPLE3, 3)):
        steps[code] = partial(_tuple, count=count)
    for code, form in ((pickle.BININT1, "<B"), (pickle.BININT2, "<H"), (pickle.BININT, "<i"), (pickle.BINFLOAT, ">d")):
        steps[code] = partial(_number, form=form)
    for code, form in (
        (pickle.SHORT_BINSTRING, "<B"),
        (pickle.BINSTRING, "<i"),
        (pickle.SHORT_BINBYTES, "<B"),
        (pickle.BINBYTES, "<I"),
        (pickle.BINBYTES8, "<Q"),
        (pickle.BYTEARRAY8, "<Q"),
    ):
        steps[code] = partial(_sized, form=form, decode=bytes)
    for code, form in ((pickle.SHORT_BINUNICODE, "<B"), (pickle.BINUNICODE, "<I"), (pickle.BINUNICODE8, "<Q")):
        steps[code] = partial(_sized, form=form, decode=_text)
    for put, get, read in (
        (pickle.PUT, pickle.GET, lambda machine: int(machine.line()[:10])),
        (pickle.BINPUT, pickle.BINGET, lambda machine: machine.number("<B")),
        (pickle.LONG_BINPUT, pickle.LONG_BINGET, lambda machine: machine.number("<I")),
    ):
        steps[put], steps[get] = partial(_remember, read=read), partial(_recall, read=read)
    return steps


STEPS = _steps()


# ------------------------------------------------------------------------------------------------- notes to arrays
def _array(note: Any) -> np.ndarray:
    """The array that a note stands for: a plain one of whole numbers, whose bytes are all there."""
    if isinstance(note, Call) and note.function == "numpy.core.numeric._frombuffer":
        content, kind, shape, order = note.arguments
        fortran = order == "F"
    elif isinstance(note, Call) and note.function == "numpy.core.multiarray._reconstruct":
        _, shape, kind, fortran, content = note.state
    else:
        raise ValueError("something else where an array is needed")
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise ValueError("an array without a shape")
    dtype, content = _dtype(kind), _bytes(content)
    if len(shape) > 4 or len(content) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{len(content)} bytes for an array of dtype {dtype} and shape {shape[:4]}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _dtype(note: Any) -> np.dtype:
    """A type of whole numbers with its byte order."""
    if not isinstance(note, Call) or note.function != "numpy.dtype":
        raise ValueError("something else where a dtype is needed")
    kind, order = _word(note.arguments[0]), _word(note.state[1])
    plain = all(part is None for part in note.state[2:5])
    if kind not in TYPES or order not in ("<", ">", "=", "|") or not plain:
        raise ValueError(f"an array of dtype {kind[:20]!a}, but whole numbers are needed")
    return np.dtype(order.replace("|", "=") + kind)


def _word(note: Any) -> str:
    if not isinstance(note, str | bytes):
        raise ValueError("something else where a word is needed")
    return note if isinstance(note, str) else note.decode("latin1")


def _bytes(note: Any) -> bytes:
    """Bytes, which protocols 0 to 2 write as text to be encoded."""
    if isinstance(note, bytes):
        return note
    if isinstance(note, Call) and note.function == "builtins.bytes" and not note.arguments:
        return b""
    if isinstance(note, Call) and note.function == "_codecs.encode":
        text, encoding = note.arguments
        if isinstance(text, str) and encoding == "latin1":
            return text.encode("latin1")
    raise ValueError("something else where bytes are needed")


def _whole_numbers(note: Any) -> np.ndarray:
    """Labels: a list of whole numbers, Python's or NumPy's, or an array of them."""
    if isinstance(note, list | tuple):
        return np.array([_whole_number(one) for one in note], dtype=np.int64)
    array = _array(note)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"labels of shape {array.shape}")
    return array.astype(np.int64)


def _whole_number(note: Any) -> int:
    if isinstance(note, Call) and note.function == "numpy.core.multiarray.scalar":
        kind, content = note.arguments
        dtype, content = _dtype(kind), _bytes(content)
        if len(content) != dtype.itemsize:
            raise ValueError("a number with too few or too many bytes")
        return int(np.frombuffer(content, dtype)[0])
    if type(note) is not int:
        raise ValueError("labels that are no whole numbers")
    return note
