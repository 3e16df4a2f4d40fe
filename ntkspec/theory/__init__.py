"""The statements of the paper as numbers: assumptions, bounds, and the budget of the gap."""

from ntkspec.theory import bounds
from ntkspec.theory.assumptions import DataSummary, summarize
from ntkspec.theory.budget import Budget, gap_budget

__all__ = ["Budget", "DataSummary", "bounds", "gap_budget", "summarize"]
