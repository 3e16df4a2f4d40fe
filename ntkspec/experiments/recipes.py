"""How the models of an experiment are trained beside each other: the law, the loss and the batches of all of them."""

from dataclasses import dataclass, replace
from typing import Any

from ntkspec import checks
from ntkspec.datasets import Dataset
from ntkspec.datasets.classes import classes_of, with_others
from ntkspec.dynamics import GradientDescent, HeavyBall, Huber, LawLike, LossFunction, LossLike, Nesterov, SpectralLaw
from ntkspec.dynamics import loss as loss_of
from ntkspec.dynamics.laws import PLAIN, law_of, linear_steps_of, takes_steps
from ntkspec.dynamics.losses import SQUARED, name_of

# What storage.read needs to know to read a recipe back.
RECIPE_TYPES = (GradientDescent, HeavyBall, Nesterov, Huber)
# What stands in the columns of other classes, by loss; the squared one and Huber's keep -1/(K - 1).
OTHERS = {"logistic": -1.0, "cross-entropy": 0.0}


@dataclass(frozen=True)
class Recipe:
    """The law, the loss, the points of a step (None is all of them), and the seed of the batches.

    Of a record from a file, laws and losses of the user's own are their names, which say how it was trained.
    """

    law: LawLike = "gd"
    loss: LossLike = "squared"
    batch: int | None = None
    seed: int = 0

    def checked(self) -> "Recipe":
        """The recipe; ValueError or TypeError for a law, loss or batch that cannot be."""
        linear_steps_of(self.law)
        loss_of(self.loss)
        if self.batch is not None:
            checks.whole_number(self.batch, "batch", 1)
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """For :func:`ntkspec.predict_gd` and :func:`ntkspec.train_gd` alike."""
        return {"law": self.law, "loss": self.loss, "batch": self.batch, "seed": self.seed}

    @property
    def squared(self) -> bool:
        """Whether the loss is the squared one."""
        return self.loss in ("squared", SQUARED)

    @property
    def usual(self) -> bool:
        """Whether it is full-batch gradient descent on the squared loss, that of the paper."""
        return self.squared and self.law in ("gd", PLAIN) and self.batch is None

    @property
    def closed(self) -> bool:
        """Whether a prediction has a closed form; any other one takes a product with the kernel in each step."""
        return self.squared and self.batch is None and self.spectral is not None

    @property
    def spectral(self) -> SpectralLaw | None:
        """The law, where its modes are known."""
        if isinstance(self.law, SpectralLaw) or self.law == "gd":
            return law_of(self.law)
        return None

    @property
    def limit(self) -> float | None:
        """Steps with eta lambda_max / n up to this are stable, whatever the outputs are; None where nobody knows.

        That of the law on the squared loss, over the largest curvature of the loss.
        """
        curvature = None if self._loss is None else self._loss.curvature
        return None if curvature is None or self.spectral is None else self.spectral.limit / curvature

    @property
    def speed(self) -> float:
        """How many times as fast small modes are learned at first as by gradient descent on the squared loss.

        ValueError for a law or loss of one's own, of which nobody knows.
        """
        if self.limit is None or self._loss is None:
            raise ValueError(
                f"no learning rate follows from a law or loss of your own ({self.words}); pass eta, the learning rate"
            )
        return float(self._loss.curvature or 1.0) / (1 - getattr(self.spectral, "momentum", 0.0))

    @property
    def words(self) -> str:
        """The whole recipe as a phrase: "the heavy ball (momentum 0.9) on the logistic loss in batches of 64"."""
        batches = "" if self.batch is None else f" in batches of {self.batch}"
        return f"{self._law_words} on {self.loss_words}{batches}"

    @property
    def told(self) -> str:
        """The same where it is not the usual one; else nothing."""
        return "" if self.usual else self.words

    @property
    def loss_words(self) -> str:
        """The loss as a phrase."""
        if isinstance(self.loss, Huber):
            return f"Huber's loss of delta {self.loss.delta:g}"
        name = self.loss if isinstance(self.loss, str) else name_of(self.loss)
        return "the cross-entropy" if name == "cross-entropy" else f"the {name} loss".replace(" loss loss", " loss")

    @property
    def _law_words(self) -> str:
        if isinstance(self.law, HeavyBall | Nesterov):
            named = "the heavy ball" if isinstance(self.law, HeavyBall) else "Nesterov's law"
            return f"{named} (momentum {self.law.momentum:g})"
        return "gradient descent" if self.law in ("gd", PLAIN) else law_name(self.law)

    @property
    def _loss(self) -> LossFunction | None:
        """The loss; None of a record whose loss was the user's own."""
        try:
            return loss_of(self.loss)
        except ValueError:
            return None

    def labelled(self, dataset: Dataset) -> Dataset:
        """The data set with labels as the loss takes them; ValueError where it cannot.

        Columns of classes have 1 for a point's own class and something else for others, which the loss decides.
        """
        loss = loss_of(self.loss)
        others = OTHERS.get(name_of(loss))
        y, y_test = dataset.y, dataset.y_test
        if others is not None and classes_of(y) is not None:
            reading = f"labels of {self.loss_words}: 1 in the column of a point's own class and {others:g} in others"
            meta = dataset.meta | {"reading": [*dataset.meta.get("reading", ()), reading]}
            dataset = replace(dataset, y=with_others(y, others), y_test=with_others(y_test, others), meta=meta)
        for part in (dataset.y, dataset.y_test):
            if len(part):
                loss.checked(part)
        return dataset


# That of the paper.
USUAL = Recipe()


def law_name(law: LawLike) -> str:
    """What a law is called in files and words."""
    if isinstance(law, str):
        return law
    return repr(law) if type(law).__repr__ is not object.__repr__ else type(law).__name__


def storable(recipe: Recipe) -> Recipe:
    """The recipe as files keep it: laws and losses of the user's own by their names."""
    law, loss = recipe.law, recipe.loss
    if takes_steps(law) and not isinstance(law, SpectralLaw):
        law = law_name(law)
    return replace(recipe, law=law, loss=loss if isinstance(loss, str | Huber) else name_of(loss_of(loss)))
