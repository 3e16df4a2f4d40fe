"""Numbers with their nouns: 1 mode, 2 modes."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """How many of what; ``plural`` where it is not the noun with an s."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
