"""Formulas as MathML, which browsers draw by themselves: no script, no network, also for a page opened from a file."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

NUMBER = re.compile(r"\\tag\{(.*?)\}")
logger = logging.getLogger(__name__)


def formula(node: nodes.Element, as_block: bool) -> str:
    """The formula of a node; what docutils cannot read is a warning."""
    try:
        return tex2mathml(NUMBER.sub("", node.astext()), as_block=as_block)
    except MathError as error:
        logger.warning("%s in the formula %s", error, node.astext(), location=node)
        return ""


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """A formula in a line."""
    self.body.append(formula(node, as_block=False))
    raise nodes.SkipNode


def display(self: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on its own, with its number, which scrolls where it is wider than the page."""
    number = NUMBER.search(node.astext())
    label = f"<span>({number[1]})</span>" if number else ""
    self.body.append(f'<div class="formula">{formula(node, as_block=True)}{label}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; as the only one beside MathJax, it is taken."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
