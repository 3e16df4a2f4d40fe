"""Records as lines of text for a terminal."""

from ntkspec.reporting.analysis import report
from ntkspec.reporting.spectrum import spectrum_report

__all__ = ["report", "spectrum_report"]
