"""The options that say on which workers a kernel lies."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclopts import Parameter

from ntkspec.cli.options import MaybeWhole

if TYPE_CHECKING:
    from ntkspec.experiments.spread_models import Spread


@Parameter(name="*")
@dataclass(frozen=True)
class ClusterOptions:
    """On which workers the points lie."""

    scheduler: str | None = None
    """address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers keep and multiply parts of the points
    (needs ntkspec[distributed]; default: none)"""
    parts: MaybeWhole = None
    "parts of the points on the workers of --scheduler (default: one for each worker)"


def spread_of(options: ClusterOptions | None, engine: str) -> "Spread | None":
    """The workers of the options, which compute on an engine; None for this machine. Raises ValueError for an address
    that is none, and for parts without one."""
    from ntkspec.experiments.spread_models import Spread

    given = options or ClusterOptions()
    if given.scheduler is not None:
        return Spread(given.scheduler, given.parts, engine)
    if given.parts is not None:
        raise ValueError(f"--parts {given.parts} is for workers; pass the address of their scheduler, --scheduler")
    return None
