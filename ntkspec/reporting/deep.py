"""Deep networks beside their linear model, as a table for a terminal."""

from typing import Any

import numpy as np

from ntkspec.experiments.deep_runs import DeepRun, relative_mse

# The step up to which the paper's Figure 3 has network and linear model almost together.
LINEAR_UNTIL = 1000


def deep_table(linear: DeepRun, networks: list[DeepRun]) -> str:
    """A line for each model: coefficients of X Xᵀ/d (expanded, fitted), and the residual where linear learning
    ends and at the last step: mean squares in V_lin and outside, and the relative MSE from the linear model."""
    middle = int(np.searchsorted(linear.steps, min(LINEAR_UNTIL, linear.steps[-1])))
    places = sorted({middle, len(linear.steps) - 1})
    group = f"{'in V_lin':>10}{'outside':>10}{'rel. MSE':>10}"
    head = f"{'':<16}{'h_c':>8}{'fitted':>8}" + group * len(places)
    steps = f"{'':<32}" + "".join(f"{f'step {linear.steps[k]}':>30}" for k in places)
    lines = [_line("linear model", linear, np.zeros(len(linear.steps)), places)]
    lines += [_line(run.setting.network, run, relative_mse(run, linear), places) for run in networks]
    return "\n".join([steps, head, *lines])


def _line(name: str, run: DeepRun, distances, places) -> str:
    numbers = "".join(f"{run.inside[k]:>10.4f}{run.outside[k]:>10.4f}{distances[k]:>10.4f}" for k in places)
    return f"{name:<16}{run.kappa:>8.4f}{run.fitted:>8.4f}{numbers}"


def deep_document(linear: DeepRun, networks: list[DeepRun]) -> list[dict[str, Any]]:
    """The same as fields of a JSON document, at the last step."""
    runs = [("linear model", linear, 0.0)]
    runs += [(run.setting.network, run, float(relative_mse(run, linear)[-1])) for run in networks]
    return [
        {
            "network": name,
            "coefficient": float(run.kappa),
            "fitted": float(run.fitted),
            "step": int(run.steps[-1]),
            "inside": float(run.inside[-1]),
            "outside": float(run.outside[-1]),
            "relative_mse": distance,
        }
        for name, run, distance in runs
    ]
