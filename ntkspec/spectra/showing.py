"""Numbers for a line of text."""

import numpy as np


def few(numbers) -> str:
    """The numbers in brackets with five digits, of many the first and the last three."""
    given = [f"{number:.5g}" for number in np.ravel(numbers)]
    shown = given if len(given) <= 7 else [*given[:3], "...", *given[-3:]]
    return f"[{', '.join(shown)}]"
