"""The directive `command-help`: what a command of `ntkspec` prints for `--help` while the site is built."""

import os
import subprocess
import sys

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx


class CommandHelp(Directive):
    """A literal block with the help of one command."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Run the command in a terminal of 84 columns, without colours."""
        command = [sys.executable, "-m", "ntkspec", *" ".join(self.arguments).split(), "--help"]
        plain = {**os.environ, "COLUMNS": "84", "NO_COLOR": "1"}
        text = subprocess.run(command, capture_output=True, text=True, check=True, env=plain).stdout
        return [nodes.literal_block(text, text, language="none")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
