"""The command that writes a page of a file of results."""

from pathlib import Path

from ntkspec.cli.options import Output
from ntkspec.cli.results import held
from ntkspec.cli.telling import TellOptions, tell, tell_files


def report(
    file: Path,
    /,
    *,
    output: Output = None,
    tells: TellOptions | None = None,
) -> None:
    """One self-contained page of a file of results: the verdict, figures with their numbers, what they promise.

    Takes the files of analyze, spectrum, track, sweep, check and figure, and those of ntkspec.save_result. Nothing is
    measured again. The page opens in any browser, without a network.

    Parameters
    ----------
    file
        the file of results, such as ntkspec-analyze/NAME/analysis.h5
    output
        the page (default: FILE with the ending .html)
    """
    from ntkspec.reporting.page import report as page_of
    from ntkspec.storage import kind_of

    place = output or file.parent / f"{file.stem or 'report'}.html"
    with held(place.parent, [place.name]):
        page = page_of(file, place)
    size = len(page.html.encode())
    tell(f"written: {place} ({size / 1e3:.0f} kB)", answer=str(place), kind=kind_of(file), bytes=size)
    tell_files("", place.parent, [place.name])
