"""Command lines of every kind end in results or in one line, before anything long; the library refuses the same."""

import ast
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import ntkspec as ns
from ntkspec import checks, cli
from ntkspec.activations.functions import LARGEST_PARAMETER
from ntkspec.cluster.connection import Patience, connected
from ntkspec.cluster.execution import MOST_PER_CORE, Place
from ntkspec.experiments.analyze import AnalyzeTask, analyze, check_analysis
from ntkspec.experiments.deep_runs import DeepSetting, check_deep_setting
from ntkspec.experiments.spectrum import SpectrumTask, check_spectrum, measure_spectrum
from ntkspec.experiments.sweep_grid import MOST_CELLS, MOST_VALUES, Grid, dimensions
from ntkspec.experiments.two_layer_runs import Setting, check_setting
from ntkspec.networks.size_laws import points_of, width_of
from ntkspec.networks.specification import NetworkSpec

PROGRAM = Path(__file__).parent / "command_lines.py"


@pytest.mark.parametrize("count", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_random_command_lines_end_well(count):
    """A short version of ``python tests/command_lines.py 1000 SEED``; a program of its own, since it forks."""
    run = subprocess.run([sys.executable, PROGRAM, str(count), "2024"], capture_output=True, text=True, check=False)
    *lines, last = run.stdout.splitlines()
    assert [line for line in lines if line.startswith("FAULT")] == []
    counts = ast.literal_eval(last)
    assert sum(counts.values()) == count
    assert counts["refused"] > count // 4
    assert counts.get("done", 0) + counts.get("began to measure", 0) > 1


def told(arguments, capsys) -> str:
    """The one line of a command that is refused."""
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


# ---------------------------------------------------------------------------------------------------- sizes and grids
@pytest.mark.parametrize(("first", "last", "ratio"), [(8, 16, "1.0000001"), (2, 10**9, "1.00001"), (2, 2**53, "1.01")])
def test_the_values_of_a_range_are_counted_before_they_are_made(first, last, ratio):
    count = f"{math.log(last / first) / math.log(float(ratio)):.3g}"
    with pytest.raises(ValueError, match=f"{re.escape(count)} values, but a range has at most {MOST_VALUES}"):
        dimensions(f"{first}:{last}:x{ratio}")


def test_a_range_has_its_first_and_its_last_value():
    assert dimensions("8:16:x1000") == (8, 16)
    assert dimensions("32:36:x1.5") == (32, 36)
    assert dimensions("7:7:x2") == (7,)


@pytest.mark.parametrize("given", ["8:16:x" + "9" * 400, "2:" + "9" * 400 + ":x2", "9" * 5000, "²", "٣٢", "8:16:x1.0"])
def test_dimensions_without_meaning_are_refused(given):
    with pytest.raises(ValueError, match=r"^d\b"):
        dimensions(given)


def test_cells_are_counted_before_they_are_made():
    start = time.process_time()
    with pytest.raises(ValueError, match=rf"3 d x 100000000 seeds x 2 networks are 600000000 cells.*most {MOST_CELLS}"):
        Grid(d=(4, 6, 8), width=("8", "d"), seeds=10**8)
    assert time.process_time() - start < 0.5
    product = Grid(d=(4, 6), n=("20", "d^2"), width=("8", "d", "inf"), seeds=2)
    assert len(product.cells()) == 2 * 2 * 3 * 2


@pytest.mark.parametrize("name", ["d", "n", "width", "quantity", "activation", "network"])
def test_an_empty_list_is_no_grid(name):
    with pytest.raises(ValueError, match=f"{name} is empty"):
        Grid(**({"d": (4, 8)} | {name: ()}))


@pytest.mark.parametrize("option", ["--quantity", "--d", "--n", "--activation"])
def test_a_list_option_needs_a_value(option, capsys):
    small = {"--quantity": "data", "--d": "4", "--n": "20", "--activation": "erf"}
    words = [word for name, value in small.items() if name != option for word in (name, value)]
    assert option in told(["sweep", *words, option], capsys)


@pytest.mark.parametrize("size", [points_of, width_of])
def test_powers_beyond_every_size_are_refused_with_their_size(size):
    with pytest.raises(ValueError, match=r"'d\^400' is 10\^241 at d = 4"):
        size("d^400", 4)
    with pytest.raises(ValueError, match=r"10\^301 at d = 10"):
        size("10*d^300", 10)
    with pytest.raises(ValueError, match="is not a size"):
        size("d^" + "9" * 400, 4)
    with pytest.raises(ValueError, match=r"\^0 is 0.5 at d = 4, but a size is 2 or more"):
        size("0.5*d^0", 4)
    assert size("d^26", 4) == 4**26


# ----------------------------------------------------------------------------------------------------------- networks
@pytest.mark.parametrize(
    ("name", "meant"), [("fc:512x4", "fc:4x512"), ("cnn:100x8:k3", "cnn:8x100:k3"), ("fc:900x2", "fc:2x900")]
)
def test_layers_and_width_the_other_way_round_are_refused_with_what_was_meant(name, meant, capsys):
    for refuse in (
        NetworkSpec.parse(name).refuse_swapped,
        lambda: check_analysis(AnalyzeTask(network=name)),
        lambda: check_spectrum(SpectrumTask(network=name)),
        lambda: check_deep_setting(DeepSetting(name)),
    ):
        with pytest.raises(ValueError, match=f"take {meant}"):
            refuse()
    assert meant in told(["analyze", "--n", "20", "--d", "4", "--network", name], capsys)


@pytest.mark.parametrize("name", ["fc:64x4", "fc:70x100", "fc:100x100", "cnn:4x64:k3", "fc:4x512"])
def test_deep_networks_that_are_wide_or_usual_are_taken(name):
    NetworkSpec.parse(name).refuse_swapped()


def test_narrow_networks_of_many_layers_can_be_built():
    assert ns.FullyConnected.paired(3, [4] * 100, "erf").n_weights == 101


@pytest.mark.parametrize("name", ["fc:" + "9" * 400 + "x4", "fc:2x" + "9" * 5000, "cnn:1x4:k" + "9" * 400, "fc:٣x4"])
def test_names_with_numbers_of_no_network_are_refused(name):
    with pytest.raises(ValueError, match="is unknown; use fc:LAYERSxWIDTH") as refused:
        NetworkSpec.parse(name).fixed_width()
    assert len(str(refused.value)) < 400


# --------------------------------------------------------------------------------------------------- numbers, and time
@pytest.mark.parametrize("value", [1e300, -1e300, math.nan, math.inf, -math.inf, 1.01e12, 10**400])
@pytest.mark.parametrize(("name", "parameter"), [("leaky_relu", "negative_slope"), ("elu", "alpha")])
def test_parameters_beyond_their_range_are_refused(name, parameter, value):
    with pytest.raises(ValueError, match=rf"{parameter}=.*from -1e\+12 to 1e\+12"):
        ns.activation(name, **{parameter: value})


@pytest.mark.parametrize("slope", [-LARGEST_PARAMETER, 1e9, 5e-324, LARGEST_PARAMETER])
def test_the_largest_slopes_have_finite_kernels_in_float32(slope):
    """For phi = a z on half the line and z on the other: E phi' phi' at equal inputs is (1 + a²) / 2."""
    act = ns.activation("leaky_relu", negative_slope=slope)
    assert act.constants.zeta == pytest.approx((1 + slope) / 2, rel=1e-15)
    data = ns.datasets.gaussian(60, 5, dtype=np.float32)
    kernel = ns.expected_ntk(act, data.X, layer="first").to_dense()
    lengths = np.square(data.X, dtype=np.float64).sum(axis=1) / 5
    np.testing.assert_allclose(np.diag(kernel), lengths * (1 + slope**2) / 2, rtol=1e-5)
    norm = ns.spectral_norm(ns.ntk(ns.TwoLayer.symmetric(5, 8, act, dtype=np.float32), data.X))
    assert math.isfinite(norm.upper)


def test_numbers_in_messages_are_short():
    assert checks.shown(10**400) == "10^400"
    assert checks.shown(-(10**5000)) == "-10^5000"
    assert checks.shown(12) == "12"
    assert len(checks.shown("x" * 10**6)) < 130
    assert checks.shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
    for given in (np.zeros((50, 50)), [np.zeros((50, 50))]):
        assert len(checks.shown(given)) < 130
        assert "\n" not in checks.shown(given)
    with pytest.raises(ValueError, match=r"n=10\^5000, but a whole number >= 1"):
        checks.whole_number(10**5000, "n", 1)


@pytest.mark.parametrize("rate", [10**400, math.inf, math.nan, -1e-300])
def test_rates_that_are_no_floats_are_refused(rate):
    data = ns.datasets.gaussian(6, 3)
    with pytest.raises(ValueError, match=r"eta=.*a learning rate is a finite number >= 0"):
        ns.train_gd(ns.TwoLayer.symmetric(3, 4, "erf"), data.X, data.y, eta=rate, steps=[1])


YEARS = "would take .* years or more on any machine; take fewer"


def test_what_no_machine_ends_in_a_year_is_not_begun():
    data = ns.datasets.gaussian(6, 3)
    net = ns.TwoLayer.symmetric(3, 4, "erf")
    setting = {"activation": "erf", "d": 3, "n": 6, "width": 4}
    for begin in (
        lambda: ns.train_gd(net, data.X, data.y, eta=0.1, steps=[10**17]),
        lambda: analyze(AnalyzeTask(width=4, steps=10**17), data),
        lambda: check_setting(Setting(**setting, steps=10**17)),
        lambda: check_deep_setting(DeepSetting("fc:2x4", steps=10**15)),
        lambda: check_spectrum(SpectrumTask(probes=10**9, steps=10**8)),
        lambda: ns.spectral_density(ns.ntk(net, data.X), probes=10**9, steps=10**8),
    ):
        with pytest.raises(ValueError, match=YEARS):
            begin()
    checks.duration(3e14, 1, "training", "take fewer")


def test_no_more_eigenpairs_than_points():
    data = ns.datasets.gaussian(12, 3)
    with pytest.raises(ValueError, match="pairs=13, but a whole number from 1 to 12"):
        measure_spectrum(SpectrumTask(width=4, pairs=13), data)
    assert len(measure_spectrum(SpectrumTask(width=4), data).leading.values) == 12


@pytest.mark.parametrize("option", ["--n", "--d", "--n-test", "--width"])
def test_data_and_networks_beyond_the_memory_are_refused_before_they_are_drawn(option, capsys):
    start = time.process_time()
    options = {"--n": "20", "--d": "4"} | {option: str(10**12)}
    line = told(["analyze", *(word for pair in options.items() for word in pair)], capsys)
    assert "GB are free" in line
    assert time.process_time() - start < 2


@pytest.mark.parametrize("draw", [ns.TwoLayer.symmetric, ns.TwoLayer.random])
@pytest.mark.parametrize(("d", "width"), [(4, 10**12), (10**12, 2), (10**9, 10**9), (1, 2**62)])
def test_weights_beyond_the_memory_are_refused_before_they_are_drawn(draw, d, width):
    with pytest.raises(ValueError, match=r"a network of this width needs .* GB, but .* GB are free"):
        draw(d, width, "erf")


# ----------------------------------------------------------------------------------------------------------- the lines
def test_a_line_is_cut_where_it_is_long(capsys):
    assert len(told(["constants", "x" * 10**5], capsys)) < 700
    assert "(402 characters)" in told(["analyze", "--seed", "9" * 400], capsys)
    assert "1001 words came" in told(["sweep", "--d", *["8"] * 999], capsys)


def test_a_file_in_the_way_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    line = told(["check", "claim-3.1", "--d", "4:8:x1.4", "--n", "20", "--output", str(tmp_path / "file")], capsys)
    assert f"cannot write to the output folder {tmp_path / 'file'}: " in line


# ----------------------------------------------------------------------------------------------- processes, schedulers
def test_processes_are_a_few_for_each_core():
    most = MOST_PER_CORE * len(os.sched_getaffinity(0))
    assert Place(most).processes == most
    for number in (most + 1, 10**5, 0, 2.0):
        with pytest.raises(ValueError, match=f"processes={number}, but a whole number from 1 to {most}"):
            Place(number)


@pytest.mark.parametrize(
    "address",
    ["", "nonsense", "tcp://", "127.0.0.1:8786", "tcp://127.0.0.1", "tcp://127.0.0.1:0", "tcp://127.0.0.1:70000", "\n"],
)
def test_what_is_no_address_is_refused(address):
    pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    with pytest.raises(ValueError, match="but an address such as tcp://"):
        connected(address, Patience())


@pytest.fixture
def port():
    """A port that accepts, says some words to each who comes, and nothing else."""
    listener, spoken, kept = socket.create_server(("127.0.0.1", 0)), [b""], []

    def answer():
        while True:
            try:
                kept.append(listener.accept()[0])
                kept[-1].sendall(spoken[0])
            except OSError:
                return

    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    yield listener.getsockname()[1], spoken
    listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which close alone does not
    answering.join()
    for connection in (listener, *kept):
        connection.close()


@pytest.mark.parametrize(
    ("words", "reason"),
    [(b"", "within 0.5 s"), (b"SSH-2.0-OpenSSH\r\n", "another program"), (bytes(100), "another program")],
)
def test_a_port_that_is_no_scheduler_is_given_up_after_the_stated_time(port, words, reason, monkeypatch, capsys):
    pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    monkeypatch.setattr(Patience.__init__, "__defaults__", (0.5, *Patience.__init__.__defaults__[1:]))
    number, spoken = port
    spoken[0] = words
    place = ["--scheduler", f"tcp://127.0.0.1:{number}"]
    line = told(["sweep", "--d", "4", "--n", "20", "--width", "8", "--quantity", "data", *place], capsys)
    assert f"no Dask scheduler answers at tcp://127.0.0.1:{number}" in line
    assert reason in line
