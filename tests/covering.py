"""Fewer cases of a test with the same meetings: of all values, of all pairs of values, or of more."""

import itertools
from collections import Counter
from collections.abc import Collection, Hashable, Sequence


def covering(rows: Sequence[Collection[Hashable]], strength: int) -> set[int]:
    """Numbers of some of the rows that hold each set of ``strength`` values that any row holds (of fewer: whole rows).

    Greedy: always the row with the most sets that are not held yet; of several the one whose values came least often,
    and of those the first. Deterministic.
    """
    held = [set(itertools.combinations(row, min(strength, len(row)))) for row in rows]
    left, chosen, came = set().union(*held), set(), Counter()

    def worth(number: int) -> tuple[int, int]:
        return len(held[number] & left), -sum(came[value] for value in rows[number])

    while left:
        best = max(range(len(held)), key=worth)
        chosen.add(best)
        left -= held[best]
        came.update(rows[best])
    return chosen
