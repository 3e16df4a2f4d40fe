"""Completion of commands and options in a shell, as a script that the parser writes."""

from typing import Literal

from cyclopts import App

from ntkspec.cli.help import epilogue
from ntkspec.cli.telling import TellOptions, tell


def add_completion(app: App) -> None:
    """Add the command ``completion`` to a program."""

    @app.command(help_epilogue=epilogue("completion"))
    def completion(shell: Literal["bash", "zsh", "fish"], /, *, tells: TellOptions | None = None) -> None:
        """Print a script that completes commands and options in a shell.

        Parameters
        ----------
        shell
            bash: put it into ~/.local/share/bash-completion/completions/ntkspec; zsh: into a folder of $fpath, as
            _ntkspec; fish: into ~/.config/fish/completions/ntkspec.fish
        """
        script = app.generate_completion(shell=shell)
        tell(script, answer=script, shell=shell, script=script)
