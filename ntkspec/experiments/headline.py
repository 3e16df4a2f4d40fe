"""The answer of an analysis in one sentence, and what its words mean."""

import math
from dataclasses import dataclass

import numpy as np

from ntkspec.experiments.agreement import Agreement, mean_squared_difference
from ntkspec.experiments.analyze import Analysis


@dataclass(frozen=True)
class Headline:
    """Until which step network and linear model agree, and how far their kernels are apart at initialization.

    agreement : by the mean squared difference of their outputs on the ``part`` "test" ("train" without test points),
    relative to the labels' mean square. time : eta T at its last step, by the name of the rate; empty where there is
    none. distance : ||Theta - Theta^lin|| / ||Theta^lin||, spectral norms; None where Theta^lin is zero. next : the
    recorded step after the last one of the agreement. diverged : the last step with finite outputs, where that is not
    the last one. training : the law, loss and batches, where they are not the usual ones; else empty. moved : the
    largest mean square of both models' outputs at a recorded step, relative to that of the labels; NaN where these are
    zero.
    """

    agreement: Agreement
    part: str
    time: dict[str, float]
    distance: float | None
    next: int | None = None
    diverged: int | None = None
    training: str = ""
    moved: float = math.nan

    @property
    def decided(self) -> bool:
        """Whether outputs moved so far that two models could have parted: below the threshold all of them agree."""
        return not self.moved < self.agreement.threshold

    def __str__(self) -> str:
        apart = (
            "the linear model is zero here"
            if self.distance is None
            else f"at initialization the kernel is {percent(self.distance)} away from linear"
        )
        ended = "" if self.diverged is None else f"; training diverged after step {self.diverged}"
        return f"{self._until()}; {apart}{ended}."

    @property
    def meaning(self) -> str:
        """What "linear" and "away" say, in one sentence each."""
        reached = "" if self.next is None else f", which ends before step {self.next}"
        lines = [
            f"Linear: mean squared difference of network and linear model ({self.part} points) below "
            f"{self.agreement.threshold:.0%} of the labels' mean square{reached}."
        ]
        if not self.decided:
            lines = [
                f"Undecided: both outputs stay below {self.agreement.threshold:.0%} of the labels' mean square "
                f"({self.part} points); train longer."
            ]
        if self.distance is not None:
            lines.append("Away: ||Theta - Theta^lin|| / ||Theta^lin||.")
        return " ".join(lines)

    def _until(self) -> str:
        found = self.agreement
        by = f" of {self.training}" if self.training else ""
        if found.since is None:
            return f"Not linear at any recorded step{by}"
        rates = ", ".join(f"{name} T = {value:.3g}" for name, value in self.time.items())
        if not self.decided:
            return f"Undecided: both models learned too little by the last step, {found.until} ({rates}){by}"
        if found.from_start and found.to_end:
            return f"Linear up to the last step, {found.until} ({rates}){by}, and perhaps longer"
        if found.from_start:
            return f"Linear until step {found.until} ({rates}){by}"
        return f"Linear from step {found.since} only, until step {found.until} ({rates}){by}"


def headline(analysis: Analysis) -> Headline:
    """The headline of an analysis."""
    part = analysis.judged_part
    found = analysis.comparisons["network-linear"][part].agreement_to_labels[-1]
    later = [] if found.until is None else analysis.steps[analysis.steps > found.until]
    size = float(analysis.kernel.theta_lin)
    return Headline(
        agreement=found,
        part=part,
        time={} if found.until is None else _times(analysis.rates, found.until),
        distance=float(analysis.kernel.gap) / size if size else None,
        next=int(later[0]) if len(later) else None,
        diverged=analysis.diverged_after,
        training=analysis.recipe.told,
        moved=_moved(analysis, part),
    )


def _moved(analysis: Analysis, part: str) -> float:
    """How far the outputs of the network and the linear model got, as :class:`Headline` has it."""
    labels = analysis.labels[part]
    size = float(np.mean(np.square(labels, dtype=np.float64)))
    outputs = [getattr(analysis.trajectories[name], part) for name in ("network", "linear")]
    return max(float(mean_squared_difference(one, 0 * labels).max()) for one in outputs) / size if size else math.nan


def _times(rates: tuple[float, ...], step: int) -> dict[str, float]:
    """eta T by the name of the rate, one where all that train are the same."""
    names = ("eta1", "eta2") if len(rates) == 2 else ("eta",)
    used = {name: rate for name, rate in zip(names, rates, strict=True) if rate}
    if len(set(used.values())) == 1:
        used = {"eta": max(rates)}
    return {name: rate * step for name, rate in used.items()}


def percent(part: float) -> str:
    """A part as percents of two digits."""
    return f"{100 * part:.2g} %" if part < 0.995 else f"{100 * part:.0f} %"
