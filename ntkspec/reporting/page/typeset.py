"""Text as HTML: the formulas of the reports in mathematical letters, and what users gave as it is."""

import html
import math
import re
from collections.abc import Callable

# What a page shows of one text of a user's: names of files, classes, features.
LONGEST = 1000
_GREEK = {
    "Theta": "Θ",
    "Sigma": "Σ",
    "Omega": "Ω",
    "zeta": "ζ",
    "nu": "ν",
    "vartheta": "ϑ",
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "kappa": "κ",
    "lambda": "λ",
    "phi": "φ",
    "eta": "η",
}
_LETTER = re.compile(rf"(?<!\w)(?<!--)({'|'.join(_GREEK)})(?=[0-9_^]|\b)")
# On text in which <, > and & are escaped, in this order.
_RULES: tuple[tuple[re.Pattern, str | Callable], ...] = (
    (re.compile(r"\|\|"), "‖"),
    (_LETTER, lambda match: _GREEK[match[1]]),
    (re.compile(r"Θ_CNN\b"), "Θ<sub>CNN</sub>"),
    (re.compile(r"([ΘΛλη])_?([12]|min)\b"), r"\1<sub>\2</sub>"),
    (re.compile(r"ϑ([0-2])\b"), r"ϑ<sub>\1</sub>"),
    (re.compile(r"\bf_(0|t)\b"), r"f<sub>\1</sub>"),
    (re.compile(r"\bf_lin\b"), r"f<sup>lin</sup>"),
    (re.compile(r"‖_F\b"), r"‖<sub>F</sub>"),
    (re.compile(r"\bx_([ij])\b"), r"x<sub>\1</sub>"),
    (re.compile(r"\bsqrt\(([^()]*)\)"), r"√(\1)"),
    (re.compile(r"\bsqrt (?=\w)"), "√"),
    (re.compile(r"\bsum (?=\(f)"), "Σ "),
    (re.compile(r"\b([nmdqt]) = (?=\S)"), "\\1\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"),
    (re.compile(r"\^T\b"), "ᵀ"),
    (re.compile(r"\^2\b"), "²"),
    (re.compile(r"\^\(([^()]*)\)"), r"<sup>\1</sup>"),
    (re.compile(r"\^-(Ω\([^()]*\)|[\d.]*\d|α\b)"), r"<sup>−\1</sup>"),
    (re.compile(r"\^(lin[12]?|\+?[\d.]*\d|[a-zα]\b)"), r"<sup>\1</sup>"),
    (re.compile(r"&lt;(x[^&]*?|\.)&gt;"), r"⟨\1⟩"),
    (re.compile(r"&lt;~"), "≲"),
    (re.compile(r"&gt;~"), "≳"),
    (re.compile(r"&lt;&lt;"), "≪"),
    (re.compile(r"&gt;&gt;"), "≫"),
    (re.compile(r"&lt;="), "≤"),
    (re.compile(r"&gt;="), "≥"),
    (re.compile(r"!="), "≠"),
    (re.compile(r"(?<!\w)\+-(?!\w)"), "±"),
    (re.compile(r"(?<=[\w‖)>.&;]) - (?=[\w‖(ΘI])"), "\N{NO-BREAK SPACE}−\N{NO-BREAK SPACE}"),
)


class Given(str):
    """Text of the user's, which is shown as it came."""

    __slots__ = ()


def typeset(text: str) -> str:
    """HTML of a text: that of the reports with its formulas in mathematical letters, that of users as it is."""
    if isinstance(text, Given):
        return escape(text)
    found = escape(text)
    for pattern, letters in _RULES:
        found = pattern.sub(letters, found)
    return found


def escape(text: str) -> str:
    """The text, cut where it is very long, with all that has a meaning in HTML escaped; without control characters."""
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text)} characters)"
    return html.escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown))


def number(value: float) -> str:
    """Six digits of a number; a dash where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞") if math.isinf(value) else f"{value:.6g}"
