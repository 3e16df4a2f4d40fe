"""Commands in this process, and figures that are not painted."""

import contextlib
import io
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkspec import cli


def run(arguments):
    """Exit code, standard output, and the lines of standard error: warnings, which do not raise, and the rest."""
    words = arguments.split() if isinstance(arguments, str) else list(map(str, arguments))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always")
        code = cli.main(words)
    lines = err.getvalue().splitlines()
    told = [line for line in lines if line.startswith("ntkspec: warning:")]
    return SimpleNamespace(
        code=code, out=out.getvalue(), warnings=told, err=[line for line in lines if line not in told]
    )


@contextlib.contextmanager
def unpainted(*, pages=False):
    """Figures are put together and named, but their files hold no picture: painting takes most of a small run.

    pages : those of results keep their figures.
    """
    painted = Figure.savefig

    def save(figure, file, **how):
        if not isinstance(file, io.StringIO):
            Path(file).write_bytes(b"no picture")
        elif pages:
            painted(figure, file, **how)
        else:
            file.write("<svg></svg>")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        patch.setattr(Figure, "draw_without_rendering", lambda figure: None)
        if not pages:
            patch.setattr(Axes, "get_tightbbox", lambda axes, *_, **__: None)
        yield
