"""Numbers for a line of text."""

import numpy as np

from ntkspec.engines.arrays import ArrayLike


def few(values: ArrayLike) -> str:
    """The values in brackets with five digits, of many the first and the last three."""
    given = [f"{number:.5g}" for number in np.ravel(values)]
    shown = given if len(given) <= 7 else [*given[:3], "...", *given[-3:]]
    return f"[{', '.join(shown)}]"
