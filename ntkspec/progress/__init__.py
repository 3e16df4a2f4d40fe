"""What a run shows while it lasts, and which files it says it wrote."""

from ntkspec.progress.bars import Bar, bar, lines

__all__ = ["Bar", "bar", "lines"]
