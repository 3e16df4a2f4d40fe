"""What a run shows while it lasts, and which files it says it wrote."""

from ntkspec.progress.bars import bar

__all__ = ["bar"]
