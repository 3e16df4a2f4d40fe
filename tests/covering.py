"""Fewer cases of a test with the same meetings: of all values, of all pairs of values, or of more."""

import itertools
from collections.abc import Collection, Hashable, Sequence


def covering(rows: Sequence[Collection[Hashable]], strength: int) -> set[int]:
    """Numbers of some of the rows that hold each set of ``strength`` values that any row holds (of fewer: whole rows).

    Greedy: always the row with the most sets that are not held yet, of several the first. Deterministic.
    """
    held = [set(itertools.combinations(row, min(strength, len(row)))) for row in rows]
    left, chosen = set().union(*held), set()
    while left:
        best = max(range(len(held)), key=lambda number: len(held[number] & left))
        chosen.add(best)
        left -= held[best]
    return chosen
