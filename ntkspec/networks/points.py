"""Points of any form: how many there are, and some of them."""

from typing import Any

from ntkspec.networks.protocol import Points


def count(points: Points) -> int:
    """n, the length of the first axis."""
    return len(parts(points)[0])


def parts(points: Points) -> list[Any]:
    """The arrays that points are made of."""
    if isinstance(points, dict):
        return list(points.values())
    return list(points) if isinstance(points, tuple | list) else [points]


def rows(points: Points, which: Any) -> Points:
    """The points with these numbers: a slice, or an array of whole numbers."""
    if isinstance(points, dict):
        return {name: part[which] for name, part in points.items()}
    if isinstance(points, tuple | list):
        return type(points)(part[which] for part in points)
    return points[which]
