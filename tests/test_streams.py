"""What a command says arrives where it can, and ends nothing where it cannot."""

import io
import os
import subprocess
import sys
import warnings

import pytest

from ntkspec.cli.streams import Exit, one_line, spoken


class Failing(io.StringIO):
    """A stream whose flushes fail in a way."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def flush(self):
        raise self.error


def says(text, code=0):
    """A command that prints a line, and says that it came to its end."""

    def main(arguments=None):
        print(text, flush=True)
        print("the end", file=sys.stderr, flush=True)
        return code

    return spoken(main)


@pytest.fixture
def streams(monkeypatch):
    """A function that puts streams in the place of the standard ones."""

    def put(out, err):
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)

    return put


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", "(d/n) ||X X^T|| = 1 +- 2^2, \\u2603\\xe9\\udcff"),
        ("latin-1", "(d/n) ||X X^T|| = 1 \xb1 2\xb2, \\u2603\xe9\\udcff"),
        ("utf-8", "(d/n) ‖X Xᵀ‖ = 1 ± 2², ☃é\\udcff"),
    ],
)
def test_letters_that_an_encoding_lacks_are_written_in_ascii(encoding, expected, streams):
    raw = io.BytesIO()
    streams(io.TextIOWrapper(raw, encoding=encoding), io.StringIO())
    assert says("(d/n) ‖X Xᵀ‖ = 1 ± 2², ☃é\udcff")() == Exit.DONE
    assert raw.getvalue().decode(encoding) == f"{expected}\n"


def test_a_reader_that_has_gone_changes_nothing(streams):
    err = io.StringIO()
    streams(Failing(BrokenPipeError(32, "Broken pipe")), err)
    assert says("report")() == Exit.DONE
    assert err.getvalue() == "the end\n"


@pytest.mark.parametrize(("code", "expected"), [(Exit.DONE, Exit.NOT_PRINTED), (Exit.NOT_DRAWN, Exit.NOT_DRAWN)])
def test_a_report_that_cannot_be_printed_is_told_and_has_an_exit_code(code, expected, streams):
    err = io.StringIO()
    streams(Failing(OSError(28, "No space left on device")), err)
    assert says("report", code)() == expected
    assert err.getvalue() == "the end\nntkspec: the output was not printed: No space left on device\n"


def test_a_standard_error_that_fails_ends_nothing(streams):
    out = io.StringIO()
    streams(out, Failing(OSError(28, "No space left on device")))
    assert says("report")() == Exit.DONE
    assert out.getvalue() == "report\n"


def test_closed_streams_end_nothing_and_mix_nothing(streams):
    """Python has None in their place, and prints what is for None on the other one."""
    out = io.StringIO()
    streams(out, None)
    assert says("report")() == Exit.DONE
    assert out.getvalue() == "report\n"
    err = io.StringIO()
    streams(None, err)
    assert says("report")() == Exit.DONE
    assert err.getvalue() == "the end\n"
    assert (sys.stdout, sys.stderr) == (None, err)


def test_the_streams_of_before_come_back(streams):
    out, err = io.StringIO(), io.StringIO()
    streams(out, err)

    def main(arguments=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spoken(main)()
    assert (sys.stdout, sys.stderr) == (out, err)


def test_warnings_that_python_would_raise_are_shown(monkeypatch):
    def main(arguments=None):
        monkeypatch.setattr(warnings, "showwarning", lambda message, *where: shown.append(str(message)))
        warnings.warn("our own", RuntimeWarning, stacklevel=1)
        return Exit.DONE

    shown: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spoken(main)() == Exit.DONE
    assert shown == ["our own"]


def test_the_line_of_an_error_of_the_system_names_the_file_or_the_reason_alone():
    assert one_line(OSError(28, "No space left on device", "a.h5")) == "cannot use a.h5: No space left on device"
    assert one_line(OSError(28, "No space left on device")) == "No space left on device"
    assert one_line(OSError("a\nb")) == "a b"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize(
    ("shell", "code", "err"),
    [
        ("{} | true; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{} > /dev/full", 5, "ntkspec: the output was not printed: No space left on device\n"),
        ("{} >&- 2>&-", 0, ""),
    ],
)
def test_a_whole_process_ends_as_it_says(shell, code, err):
    """Python writes what is left in its buffers at the very end, and complains where it cannot."""
    command = f"{sys.executable} -m ntkspec.cli constants relu"
    done = subprocess.run(
        ["bash", "-c", shell.format(command)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (code, err)
