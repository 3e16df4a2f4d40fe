"""Results on one's own axes, figures again from their files, and labels without carets."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import ntkspec as ns
from ntkspec import storage
from ntkspec.experiments.analyze import AnalyzeTask, analyze
from ntkspec.experiments.spectrum import SpectrumTask, measure_spectrum
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.experiments.sweep_run import run_sweep
from ntkspec.plotting import marks
from ntkspec.plotting.labels import GAP_NORM, LOSS, formulas, spoken
from ntkspec.plotting.pictures import pictures_of

DATA = ns.datasets.gaussian(40, 5, n_test=10)
NET = ns.TwoLayer.symmetric(5, 8, "erf")
THETA = ns.ntk(NET, DATA.X)
GRIDS = [Grid(d=(4, 6, 8), n=(n,), width=("8",), seeds=2) for n in ("20", "d^1.5")]


def sweep():
    """Of two grids, as that of Figure 5."""
    names = ("gap", "frobenius", "hollow", "hollow frobenius")
    return Sweep({cell: dict.fromkeys(names, 1.0 / cell.d) for grid in GRIDS for cell in grid.cells()}, GRIDS)


MADE = {
    "spectrum": lambda: ns.eigsh(THETA, 3),
    "density": lambda: ns.spectral_density(THETA),
    "histogram": lambda: ns.spectral_density(THETA).histogram(4),
    "smoothed": lambda: ns.spectral_density(THETA).smoothed(9),
    "trajectory": lambda: ns.predict_gd(THETA, DATA.y, eta=0.1, steps=[9, 0, 3], kernel_test=THETA),
    "modes": lambda: ns.learning_modes(THETA, DATA.y, eta=0.1, k=4),
    "budget": lambda: ns.gap_budget(NET, DATA.X),
    "sweep": sweep,
    "analysis": lambda: analyze(AnalyzeTask(width=8, steps=5), DATA),
    "kernel spectrum": lambda: measure_spectrum(SpectrumTask(width=8, pairs=3), DATA),
}


def texts(figure):
    """Whatever is written on a figure."""
    found = figure.findobj(mpl.text.Text)
    return [text.get_text() for text in found if text.get_text()]


def bare(text):
    """What is left of a label outside of its formulas."""
    return "".join(text.split("$")[::2])


@pytest.mark.parametrize("name", MADE)
def test_each_picture_is_drawn_on_the_axes_that_are_given(name):
    result = MADE[name]()
    for what in pictures_of(result):
        axis = Figure().subplots()
        assert result.plot(axis, what=what, linewidth=3.0) is axis
        assert axis.has_data()
        assert axis.get_xlabel()
        assert axis.get_ylabel()
        axis.figure.draw_without_rendering()
        assert not any("^" in bare(text) for text in texts(axis.figure))
    with pytest.raises(ValueError, match="what='nothing', but the pictures of a"):
        result.plot(axis, what="nothing")


def test_a_plot_has_the_numbers_and_the_style():
    run = MADE["trajectory"]()
    axis = run.plot(Figure().subplots(), color="green", what="test")
    assert np.array_equal(axis.lines[1].get_xdata(), [0, 3, 9])
    assert np.array_equal(axis.lines[1].get_ydata(), run.test[[1, 2, 0], 1])
    assert {line.get_color() for line in axis.lines} == {"green"}
    pairs = MADE["spectrum"]()
    axis = pairs.plot(Figure().subplots(), color="green")
    assert [line.get_color() for line in axis.lines] == ["green", "black"]  # the bound on all others is a mark
    assert axis.lines[1].get_ydata()[0] == max(map(abs, pairs.others))


def test_a_label_is_that_of_the_only_line_and_stands_before_those_of_several():
    axis = MADE["spectrum"]().plot(Figure().subplots(), label="erf")
    assert axis.get_legend_handles_labels()[1] == ["erf", "all others are below"]
    curves = MADE["trajectory"]().plot(Figure().subplots(), what="train").get_legend_handles_labels()[1]
    axis = MADE["trajectory"]().plot(Figure().subplots(), what="train", label="run 1")
    assert axis.get_legend_handles_labels()[1] == [f"run 1: {curve}" for curve in curves]


def test_the_end_of_agreement_and_the_levels_are_marked():
    found = analyze(AnalyzeTask(width=8, steps=300, eta1=1.0, eta2=1.0), ns.datasets.gaussian(40, 5, n_test=10))
    axis = found.plot(Figure().subplots(), what="difference")
    marked = [line for line in axis.lines if line.get_gid() == "mark"]
    places = {float(line.get_xdata()[0]) for line in marked if line.get_xdata()[0] == line.get_xdata()[1]}
    agreed = found.comparisons["network-linear"]["test"].agreement_to_labels[-1]
    expected = {float(agreed.until)} if agreed.from_start and not agreed.to_end else set()
    finished = found.modes.steps_to_learn(0.99)
    assert places == expected | ({finished} if finished <= 300 else set())
    assert places
    levels = {float(line.get_ydata()[0]) for line in marked if line.get_ydata()[0] == line.get_ydata()[1]}
    assert levels == {0.01, 0.1}


def test_figures_of_commands_are_drawn_again_from_their_files(tmp_path):
    found = MADE["analysis"]()
    storage.write(tmp_path / "analysis.h5", {"analysis": found, "provenance": {}}, kind="analyze")
    drawn = ns.plotting.draw(tmp_path / "analysis.h5", style={"axes.facecolor": "red"}, folder=tmp_path, kinds=("svg",))
    assert {path.stem for path in tmp_path.glob("*.svg")} == set(drawn)
    assert set(drawn) == {"losses", "outputs", "discrepancy", "eigenvalues"}
    assert drawn["losses"].axes[0].get_facecolor() == (1, 0, 0, 1)
    assert mpl.rcParams["axes.facecolor"] != "red"
    assert np.array_equal(drawn["losses"].axes[0].lines[0].get_ydata(), found.losses["network"]["train"])


def test_a_sweep_is_drawn_again_as_it_was(tmp_path):
    for grid in GRIDS:
        run_sweep(grid, tmp_path / "sweep.h5")
    (figure,) = ns.plotting.draw(tmp_path / "sweep.h5").values()
    assert [axis.get_title() for axis in figure.axes] == ["erf, $n$ = 20, $m$ = 8", "erf, $n$ = $d^{1.5}$, $m$ = 8"]
    assert figure.axes[0].get_ylabel() == GAP_NORM
    assert "(d/n)" in figure.axes[1].get_ylabel()
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["4", "6", "8"]


def test_what_cannot_be_drawn_is_said(tmp_path):
    ns.save_result(ns.spectral_norm(THETA), tmp_path / "norm.h5")
    with pytest.raises(ValueError, match=r"nothing is drawn from .*norm.h5: an object of Estimate has no picture"):
        ns.plotting.draw(tmp_path / "norm.h5")


def test_labels_are_mathematics_and_can_be_read_aloud():
    assert formulas("erf, n = 2*d^1.25, m = 64") == r"erf, $n$ = $2\,d^{1.25}$, $m$ = 64"
    assert spoken(GAP_NORM) == "‖Θ − Θ^lin‖"
    assert spoken(LOSS) == "(1/2n) Σ (f − y)^2"


@pytest.mark.parametrize(("rising", "scale"), [(True, "linear"), (False, "linear"), (False, "log")])
def test_a_legend_lies_beside_the_lines_where_there_is_room(rising, scale):
    axis = Figure(figsize=(5.0, 3.8)).subplots()
    x = np.linspace(1, 2, 30)
    axis.plot(x, 10.0 ** (x if rising else -x) if scale == "log" else x * (1 if rising else -1), label="a line")
    axis.set_yscale(scale)
    marks.step(axis, 1.95 if rising else 1.05, "a mark at some step of many")
    marks.legend(axis)
    axis.figure.draw_without_rendering()
    box = axis.get_legend().get_window_extent()
    for line in axis.lines:
        places = line.get_transform().transform(line.get_path().interpolated(200).vertices)
        assert not any(box.contains(*place) for place in places)
