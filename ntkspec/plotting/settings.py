"""matplotlib as it is delivered, whatever a user's machine says of it."""

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator

# Back ends of notebooks and windows, and files of settings: no figure on disk needs them.
_OF_USERS = ("MPLBACKEND", "MATPLOTLIBRC")


@contextlib.contextmanager
def delivered() -> Iterator[None]:
    """While it lasts, all settings are matplotlib's own: no LaTeX, its own fonts, no back end, no messages.

    What is imported and drawn inside looks alike on every machine; settings are as before afterwards.
    Raises whatever an installation of matplotlib that is broken raises.
    """
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.CRITICAL)  # such as that it found no folder for its caches and made one
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matplotlib = _imported()
            own = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
            with matplotlib.rc_context(own):  # which does not put a back end back
                yield
    finally:
        log.setLevel(level)


def _imported():
    """The first import takes a back end and a file of settings from the environment, and may not survive them."""
    before = {name: os.environ.pop(name) for name in _OF_USERS if name in os.environ}
    package = importlib.util.find_spec("matplotlib")
    if package is not None and package.submodule_search_locations:
        os.environ["MATPLOTLIBRC"] = os.path.join(package.submodule_search_locations[0], "mpl-data", "matplotlibrc")
    try:
        import matplotlib

        return matplotlib
    finally:
        os.environ.pop("MATPLOTLIBRC", None)
        os.environ.update(before)
