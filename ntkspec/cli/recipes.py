"""The options that say how models are trained: the law, the loss and the batches."""

from dataclasses import dataclass
from typing import Any, Literal

from cyclopts import Parameter

from ntkspec.cli.options import Whole, or_else


@Parameter(name="*")
@dataclass(frozen=True)
class LawOptions:
    """How steps are made of gradients."""

    law: Literal["gd", "heavy-ball", "nesterov"] = "gd"
    "gradient descent, or with momentum that of the heavy ball or Nesterov's"
    momentum: float | None = None
    "momentum of heavy-ball and nesterov, from 0 to below 1 (default: 0.9)"


@Parameter(name="*")
@dataclass(frozen=True)
class RecipeOptions(LawOptions):
    """How network, kernel and linear model are trained."""

    loss: Literal["squared", "logistic", "cross-entropy", "huber"] = "squared"
    "a mean over points; logistic takes labels 1 and -1 (two classes), cross-entropy several classes"
    delta: float | None = None
    "from which distance on huber is linear (default: 1)"
    batch: Whole = 0
    "points of a step, the same batches for all models; 0 is full batch"


def law_of(options: LawOptions | None) -> Any:
    """The law. Raises ValueError for a momentum that it does not have."""
    from ntkspec.dynamics import HeavyBall, Nesterov

    given = options or LawOptions()
    if given.law == "gd":
        if given.momentum is not None:
            raise ValueError(f"momentum={given.momentum:g} is for --law heavy-ball or nesterov, but gd has none")
        return "gd"
    return {"heavy-ball": HeavyBall, "nesterov": Nesterov}[given.law](or_else(given.momentum, 0.9))


def recipe_of(options: RecipeOptions | None) -> dict[str, Any]:
    """``law``, ``loss`` and ``batch`` of a task. Raises ValueError for options that do not go together."""
    from ntkspec import checks
    from ntkspec.dynamics import Huber

    given = options or RecipeOptions()
    if given.delta is not None and given.loss != "huber":
        raise ValueError(f"delta={given.delta:g} is for --loss huber, but --loss {given.loss} came")
    return {
        "law": law_of(given),
        "loss": Huber(or_else(given.delta, 1.0)) if given.loss == "huber" else given.loss,
        "batch": checks.whole_number(given.batch, "batch", 0) or None,
    }
