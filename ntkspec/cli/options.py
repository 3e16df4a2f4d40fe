"""Types of options that more than one file of commands uses."""

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import Parameter

Value = TypeVar("Value")
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")


def _strict_int(type_, tokens) -> int:
    """Digits alone: cyclopts would round 2.6 to 3, and Python reads other alphabets' but no thousands of them."""
    if not _WHOLE.fullmatch(tokens[0].value):
        raise ValueError(f'"{tokens[0].value}" is not a whole number of at most 40 digits.')
    return int(tokens[0].value)


_STRICT = Parameter(converter=_strict_int, n_tokens=1, accepts_keys=False)
Whole = Annotated[int, _STRICT]
MaybeWhole = Annotated[int | None, _STRICT]
_LIST = Parameter(consume_multiple=1)
Several = Annotated[list[str], _LIST]
MaybeSeveral = Annotated[list[str] | None, _LIST]
Engine = Literal["cpu", "gpu"]
Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]


def or_else(value: Value | None, default: Value) -> Value:
    """The value, or the default where an option was not given."""
    return default if value is None else value


def located(name: str, engine: str) -> str:
    """The name of what is computed on an engine: on the processor the name itself."""
    return name if engine == "cpu" else f"{name}-{engine}"
