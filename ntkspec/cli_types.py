"""Types of options that more than one file of commands uses."""

from typing import Annotated, Literal

from cyclopts import Parameter


def _strict_int(type_, tokens) -> int:
    """cyclopts would round 2.6 to 3."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f'"{tokens[0].value}" is not a whole number.') from None


_STRICT = Parameter(converter=_strict_int, n_tokens=1, accepts_keys=False)
Whole = Annotated[int, _STRICT]
MaybeWhole = Annotated[int | None, _STRICT]
Several = Annotated[list[str], Parameter(consume_multiple=True)]
MaybeSeveral = Annotated[list[str] | None, Parameter(consume_multiple=True)]
Engine = Literal["cpu", "gpu"]


def or_else(value, default):
    """The value, or the default where an option was not given."""
    return default if value is None else value


def located(name: str, engine: str) -> str:
    """The name of what is computed on an engine: on the processor the name itself."""
    return name if engine == "cpu" else f"{name}-{engine}"
