"""Progress bars: one door to tqdm, silent on what takes less than a second or is not watched by a terminal."""

from tqdm import tqdm


def bar(items=None, *, total=None, text: str = "", initial: int = 0):
    """A tqdm bar over ``items``, or one to be updated by hand."""
    return tqdm(items, total=total, desc=text, initial=initial, delay=1.0, leave=False, disable=None)
