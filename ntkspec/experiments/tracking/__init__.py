"""A network along its training: checkpoints in, a series of numbers with intervals out."""

from ntkspec.experiments.tracking.files import Checkpoints, checkpoints
from ntkspec.experiments.tracking.series import Series
from ntkspec.experiments.tracking.tracker import Tracker, track

__all__ = ["Checkpoints", "Series", "Tracker", "checkpoints", "track"]
