"""Formulas on axes in mathematical letters, and the same as plain words for those who hear a figure."""

import re

from ntkspec.experiments.recipes import Recipe

THETA, LINEAR = r"$\Theta$", r"$\Theta^{\mathrm{lin}}$"
GAP = r"$\Theta - \Theta^{\mathrm{lin}}$"
GAP_NORM = r"$\|\Theta - \Theta^{\mathrm{lin}}\|$"
LOSS = r"$\frac{1}{2n}\,\sum (f - y)^2$"
RELATIVE = r"$\|f - g\|^2 \,/\, \|g\|^2$"
TO_LABELS = r"$\|f - g\|^2 \,/\, \|y\|^2$"

_POWER = re.compile(r"(?<![\w$])(\d+\*)?d\^([0-9.]+)")
_PLAIN = {
    r"\Theta": "Θ",
    r"\eta": "η",
    r"\vartheta": "ϑ",
    r"\lambda": "λ",
    r"\propto": "∝",
    r"\sum": "Σ",
    r"\|": "‖",
    r"\times": "×",
    r"\,": " ",
    r"\ ": " ",
}


def loss_label(recipe: Recipe) -> str:
    """The loss that was made small, for an axis; a formula where it is the squared one."""
    return f"loss {LOSS}" if recipe.squared else f"loss ({recipe.loss_words})"


def formulas(text: str) -> str:
    """Powers of d such as 2*d^1.25, and n and m, in mathematical letters; all else as it is."""
    return re.sub(r"\b([nm]) = ", r"$\1$ = ", _POWER.sub(_power, text))


def _power(match: re.Match) -> str:
    factor = (match[1] or "").replace("*", r"\,")
    return f"${factor}d^{{{match[2]}}}$"


def spoken(text: str) -> str:
    """A label without the marks of mathematics: Θ^lin, (1/2n) Σ (f − y)^2."""
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1/\2)", text.replace("$", ""))
    text = re.sub(r"\\mathrm\{([^{}]*)\}", r"\1", text)
    for mark, letter in _PLAIN.items():
        text = text.replace(mark, letter)
    return re.sub(r"\^\{([^{}]*)\}", r"^\1", text).replace(" - ", " − ")
