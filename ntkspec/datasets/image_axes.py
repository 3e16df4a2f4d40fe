"""The axes of images: which one is that of the channels."""

from dataclasses import dataclass

import numpy as np

from ntkspec import checks
from ntkspec.objects.words import counted

ORDERS = ("first", "last")
_CHANNELS = (1, 3, 4)  # grey, red green blue, and with transparency


@dataclass(frozen=True)
class Layout:
    """How points lie in an array. shape : (height, width, channels) of an image, None where points are no images."""

    axes: tuple[int, ...]
    shape: tuple[int, int, int] | None = None
    order: str = "last"

    def flat(self, X: np.ndarray) -> np.ndarray:
        """Points (n, *axes) as a matrix (n, d), the channels of images last."""
        X = np.moveaxis(X, 1, -1) if self.order == "first" else X
        return X.reshape(len(X), -1)


def layout(shape: tuple[int, ...], channels: str | None, name: str, reading: list[str]) -> Layout:
    """How points of that shape lie; a sentence on images goes to ``reading``.

    (n, height, width), (n, height, width, channels) and (n, channels, height, width) are images. channels : "first" or
    "last"; None finds it: 1, 3 or 4 channels at one end only, or equal sides.
    Raises ValueError where the sizes fit both orders or neither.
    """
    axes = tuple(shape[1:])
    if channels is not None:
        checks.one_of(channels, "channels", ORDERS)
        if len(axes) != 3:
            raise ValueError(f"{name} has shape {shape}, but channels={channels!r} is for an array of four axes")
    if len(axes) == 3:
        order = channels or _found(*axes, name=name)
        count, height, width = axes if order == "first" else (axes[2], *axes[:2])
        origin = "as asked for" if channels else "by the sizes; --channels says otherwise"
        reading.append(
            f"images: height {height}, width {width}, {counted(count, 'channel')}, channels {order} ({origin})"
        )
        return Layout(axes, (height, width, count), order)
    if len(axes) == 2:
        reading.append(f"images: height {axes[0]}, width {axes[1]}, one channel (points of two axes)")
        return Layout(axes, (*axes, 1))
    if len(axes) > 3:
        reading.append(f"points: {' x '.join(map(str, axes))} numbers each, in one row")
    return Layout(axes)


def _found(a: int, b: int, c: int, *, name: str) -> str:
    """The order that the number of channels and equal sides speak for, where they do not contradict each other."""
    votes = set()
    if (a in _CHANNELS) != (c in _CHANNELS):
        votes.add("first" if a in _CHANNELS else "last")
    if (a == b) != (b == c):
        votes.add("last" if a == b else "first")
    order = votes.pop() if len(votes) == 1 else None
    count, sides = (a, (b, c)) if order == "first" else (c, (a, b))
    if order is None or (sides[0] != sides[1] and count >= min(sides)):
        raise ValueError(
            f"{name} has shape (n, {a}, {b}, {c}), whose channels may come first or last; say it with --channels first "
            f"or --channels last (channels=)"
        )
    return order
