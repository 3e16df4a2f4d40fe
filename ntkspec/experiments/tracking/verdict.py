"""What a series says in plain words: lazy or feature learning, and when the edge of stability was reached."""

import math

import numpy as np

from ntkspec.experiments.tracking.measuring import PLAIN
from ntkspec.experiments.tracking.series import Series

# The distance of kernels, one minus their cosine, up to which training is called lazy, and from which on the network
# learns features. 0.01 turns a kernel by 8 degrees, 0.1 by 26.
LAZY, FEATURES = 0.01, 0.1
# Between which parts of the edge the sharpness hovers at it once it is there, and at how many checkpoints.
NEAR, FEW = (0.9, 1.25), 3


def verdict(series: Series) -> list[str]:
    """Sentences, most important first."""
    if not len(series):
        return ["No checkpoint was measured."]
    edge = _edge(series)
    said = [*edge[:1], *_lazy(series), *edge[1:], *_labels(series), *_residual(series), *_prediction(series)]
    return [*(said or _movement(series)), *_open(series)] or ["See the numbers of the layers."]


# ---------------------------------------------------------------------------------------------------------------- edge
def at_the_edge(series: Series) -> int | None:
    """The place of the first checkpoint whose sharpness reaches the edge and hovers there, as NEAR says, to the end.

    None where there is none, or fewer than FEW checkpoints from there on.
    """
    if "sharpness" not in series or not math.isfinite(series.edge):
        return None
    ends = np.stack([series.lower("sharpness"), series.upper("sharpness")]) / series.edge
    near = _from((ends[1] >= NEAR[0]) & (ends[0] <= NEAR[1]))
    reached = np.flatnonzero(ends[1] >= 1)
    there = reached[reached >= (len(series) if near is None else near)]
    return int(there[0]) if len(there) and len(series) - there[0] >= FEW else None


def above_the_edge(series: Series) -> int | None:
    """The place of the first checkpoint whose sharpness is above the edge, but for its interval's failing."""
    above = np.flatnonzero(series.lower("sharpness") > series.edge)
    return int(above[0]) if len(above) else None


def _edge(series: Series) -> list[str]:
    if "sharpness" not in series:
        return []
    values, steps = series["sharpness"], series.steps
    if not math.isfinite(series.edge):
        return [
            f"The largest eigenvalue of the kernel over n goes from {values[0]:.4g} at step {steps[0]} to "
            f"{values[-1]:.4g} at step {steps[-1]}; with the learning rate (eta) it is compared with "
            f"{series.edge_name}."
        ]
    edge, first, crossed = f"{series.edge_name} = {series.edge:.5g}", at_the_edge(series), above_the_edge(series)
    if first is not None:
        before = f" ({values[first - 1]:.5g} at the checkpoint before)" if first else ""
        low, high = series.lower("sharpness")[first:].min(), series.upper("sharpness")[first:].max()
        return [
            f"Edge of stability: from step {steps[first]} on the largest eigenvalue over n hovers at {edge}.",
            f"That eigenvalue over n is {_interval(series, first)} at step {steps[first]}{before}, then between "
            f"{low:.5g} and {high:.5g}, and {_interval(series, -1)} at step {steps[-1]}.",
        ]
    if crossed is None:
        largest = int(np.argmax(values))
        return [
            f"Below the edge of stability at all checkpoints: the largest eigenvalue over n is at most "
            f"{values[largest]:.5g}, {values[largest] / series.edge:.1%} of {edge}, at step {steps[largest]}."
        ]
    return [
        f"The largest eigenvalue over n passes {edge}, and does not stay near it; at step {steps[-1]} it is "
        f"{_interval(series, -1)}. It is above for certain first at step {steps[crossed]}."
    ]


def _interval(series: Series, place: int) -> str:
    """The sharpness of a checkpoint with its interval."""
    value, low, high = (
        end[place] for end in (series["sharpness"], series.lower("sharpness"), series.upper("sharpness"))
    )
    return f"{value:.5g} in [{low:.5g}, {high:.5g}]"


# ---------------------------------------------------------------------------------------------------------------- lazy
def learns_features(series: Series) -> int | None:
    """The place of the first checkpoint from which on the kernel is farther than FEATURES from that at the start."""
    return _from(series.lower("distance_from_start") > FEATURES)


def leaves_lazy(series: Series) -> int | None:
    """The place of the first checkpoint whose kernel is farther than LAZY from that at the start."""
    far = np.flatnonzero(series["distance_from_start"] > LAZY)
    return int(far[0]) if len(far) else None


def _from(holds: np.ndarray) -> int | None:
    """The place from which on it holds to the end."""
    missing = np.flatnonzero(~holds)
    first = int(missing[-1]) + 1 if len(missing) else 0
    return first if first < len(holds) else None


def _lazy(series: Series) -> list[str]:
    if "distance_from_start" not in series or len(series) < 2:
        return []
    distance, steps = series["distance_from_start"], series.steps
    left, learns, far = leaves_lazy(series), learns_features(series), int(np.nanargmax(distance))
    there = f"{distance[far]:.3g} at step {steps[far]}"
    if left is None:
        return [
            f"Lazy at all checkpoints: the direction of the kernel stays within a distance of {LAZY} of that at the "
            f"start, at most {there}.{_scale(series)}"
        ]
    kept = f"lazy up to step {steps[left - 1]}, where the kernel is within {LAZY} of that at the start"
    if left == 1:
        kept = f"not lazy even at step {steps[1]}, the first checkpoint after the start"
    if learns is None:
        return [f"Between lazy and feature learning: {kept}; then it moves on, to {there} (1 is orthogonal)."]
    return [
        f"Feature learning from step {steps[learns]} on: the kernel is farther than {FEATURES} from that at the start, "
        f"{distance[-1]:.3g} at the last step (1 is orthogonal). It was {kept}."
    ]


def _scale(series: Series) -> str:
    """What the distance does not see."""
    if "largest_eigenvalue" not in series:
        return ""
    values = series["largest_eigenvalue"]
    times = values[-1] / values[0] if values[0] else math.nan
    return "" if 0.9 < times < 1.1 else f" Its size does change: the largest eigenvalue becomes {times:.3g} times that."


# ---------------------------------------------------------------------------------------------------------------- rest
def _labels(series: Series) -> list[str]:
    named = {
        "target_alignment": "the alignment of the kernel with the labels goes",
        "label_energy": f"the labels' part in its {series.task.pairs} leading eigenvectors goes",
    }
    ends = [
        f"{what} from {series[name][0]:.3g} to {series[name][-1]:.3g}" for name, what in named.items() if name in series
    ]
    return [f"From the first to the last checkpoint {', and '.join(ends)}."] if ends else []


def _residual(series: Series) -> list[str]:
    if "loss" not in series:
        return []
    loss, place = series["loss"], series["residual_position"]
    where = f", and the residual's place in the spectrum from {place[0]:.3g} to {place[-1]:.3g} (1 is the top)"
    seen = np.isfinite(place[[0, -1]]).all()
    return [f"The loss goes from {loss[0]:.4g} to {loss[-1]:.4g}{where if seen else ''}."]


def _prediction(series: Series) -> list[str]:
    errors = series["prediction_error"] if "prediction_error" in series else np.zeros(0)
    known = errors[np.isfinite(errors)]
    if not len(known):
        return []
    return [
        f"The kernel of a checkpoint, kept fixed, predicts the outputs of the next one up to {np.median(known):.2g} of "
        f"the square of their way (median; at worst {known.max():.2g})."
    ]


def _movement(series: Series) -> list[str]:
    if "movement" not in series:
        return []
    return [f"The weights have moved by {series['movement'][-1]:.3g} of their size at the start."]


def _open(series: Series) -> list[str]:
    """Quantities with an interval that is wider than asked for."""
    wide = [name for name in series if name not in PLAIN and (series.numbers[name][:, 5] == 0).any()]
    if not wide:
        return []
    return [f"Not all intervals of {', '.join(name.replace('_', ' ') for name in wide)} closed: read them."]
