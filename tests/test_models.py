"""`analyze` and `spectrum` with deep networks: what they report follows from the public functions."""

import dataclasses

import h5py
import numpy as np
import pytest

import ntkspec as ns
from commands import run
from ntkspec import storage
from ntkspec.experiments.analyze import E_FOLDS, PART_OF_STEPS, RECORD_TYPES, AnalyzeTask, analyze, logarithmic_steps
from ntkspec.experiments.models import model_of
from ntkspec.experiments.network_tasks import completed_task
from ntkspec.experiments.spectrum import SPECTRUM_TYPES, SpectrumTask, measure_spectrum
from ntkspec.experiments.verdict import verdict
from ntkspec.plotting.analysis import losses
from ntkspec.plotting.spectrum import density
from ntkspec.reporting.analysis import report
from ntkspec.reporting.screen import spectrum_summary
from ntkspec.reporting.spectrum import spectrum_report
from ntkspec.storage.sealed import seal

D = 8
NETWORKS = {
    ("fc:2x32", "relu"): lambda: ns.FullyConnected.paired(D, [32, 32], "relu", seed=1),
    ("fc:3x16", "erf"): lambda: ns.FullyConnected.paired(D, [16, 16, 16], "erf", seed=1),
    ("cnn:1x16:k3", "relu"): lambda: ns.Convolutional.paired((D, 1), [16], "relu", filter_size=3, seed=1),
    ("cnn:2x8:k3", "erf"): lambda: ns.Convolutional.paired((D, 1), [8, 8], "erf", filter_size=3, seed=1),
}


def data(n=120, **options):
    return ns.datasets.gaussian(n, D, n_test=20, seed=1, **options)


def linear_kernel(net, *points, trace_ratio):
    """That of convolutions takes the moments of patches from the points."""
    ratio = {} if isinstance(net, ns.Convolutional) else {"trace_ratio": trace_ratio}
    return ns.linear_kernel(net, *points, **ratio)


@pytest.mark.parametrize(("name", "activation"), NETWORKS)
def test_the_analysis_holds_what_the_public_functions_give(name, activation):
    dataset, net = data(), NETWORKS[name, activation]()
    found = analyze(AnalyzeTask(network=name, activation=activation, steps=30, seed=1), dataset)
    theta = ns.ntk(net, dataset.X)
    linear = linear_kernel(net, dataset.X, trace_ratio=dataset.trace_ratio)
    gap = (theta - linear).to_dense()
    assert float(found.kernel.gap) == pytest.approx(np.linalg.norm(gap, 2), rel=1e-3)
    assert float(found.kernel.gap_frobenius) == pytest.approx(np.linalg.norm(gap), rel=1e-10)
    count = len(found.kernel.eigenvalues)
    assert found.kernel.eigenvalues == pytest.approx(np.linalg.eigvalsh(theta.to_dense())[::-1][:count], rel=1e-6)
    assert count >= 20
    top = np.linalg.eigvalsh(linear.to_dense())[::-1]
    seen = min(len(found.kernel.eigenvalues_lin), len(top))
    assert found.kernel.eigenvalues_lin[:seen] == pytest.approx(top[:seen], abs=1e-9 * top[0])
    (eta,), steps = found.rates, logarithmic_steps(30)
    test_kernels = {
        "ntk": ns.ntk(net, dataset.X_test, dataset.X),
        "linear": linear_kernel(net, dataset.X_test, dataset.X, trace_ratio=dataset.trace_ratio),
    }
    for model, kernel in (("ntk", theta), ("linear", linear)):
        predicted = ns.predict_gd(kernel, dataset.y, eta=eta, steps=steps, kernel_test=test_kernels[model])
        assert found.trajectories[model].train == pytest.approx(predicted.train, abs=1e-9)
        assert found.trajectories[model].test == pytest.approx(predicted.test, abs=1e-9)
    trained = ns.train_gd(net, dataset.X, dataset.y, eta=eta, steps=steps, X_test=dataset.X_test)
    assert np.array_equal(found.trajectories["network"].train, trained.train)
    assert np.array_equal(found.trajectories["network"].test, trained.test)
    for part, weights in (("initial", net.parameters), ("trained", trained.network.parameters)):
        assert all(map(np.array_equal, found.weights[part], weights))
    assert found.comparisons["network-ntk"]["train"].relative[1] < 1e-2


@pytest.mark.parametrize("kernel", ["theta", "linear", "gap"])
@pytest.mark.parametrize(("name", "activation"), NETWORKS)
def test_the_spectrum_holds_what_dense_linear_algebra_gives(name, activation, kernel):
    dataset, net = data(60), NETWORKS[name, activation]()
    task = SpectrumTask(network=name, activation=activation, kernel=kernel, pairs=4, probes=2, steps=10, seed=1)
    found = measure_spectrum(task, dataset)
    theta = ns.ntk(net, dataset.X).to_dense()
    linear = linear_kernel(net, dataset.X, trace_ratio=dataset.trace_ratio).to_dense()
    values = np.linalg.eigvalsh({"theta": theta, "linear": linear, "gap": theta - linear}[kernel])
    assert found.leading.values == pytest.approx(values[np.argsort(-abs(values))[:4]], rel=1e-6)
    assert float(found.frobenius) == pytest.approx(np.linalg.norm(values), rel=1e-9)


@pytest.mark.parametrize(("name", "activation"), NETWORKS)
def test_the_automatic_rate_takes_the_linear_model_through_its_modes(name, activation):
    """Over many steps the largest stable rate does not bind: the average mode, h_c / d, passes 5 e-folds in a third."""
    dataset, layers = data(), len(NETWORKS[name, activation]().parameters) // 2 - 1
    steps = 5000
    task = completed_task(AnalyzeTask(network=name, activation=activation, seed=1))
    assert model_of(task, dataset).data_coefficient == ns.linear_expansion(activation, hidden_layers=layers).data
    if name.startswith("fc:2"):
        found = analyze(dataclasses.replace(task, steps=steps), dataset)
        mode = ns.linear_expansion(activation, hidden_layers=layers).data * found.data.trace_over_d / D
        assert found.rates == (pytest.approx(E_FOLDS / (PART_OF_STEPS * steps * mode)),)


def test_images_are_convolved_in_their_shape():
    X = np.random.default_rng(0).standard_normal((20, 4 * 5 * 2))
    dataset = ns.datasets.Dataset(X, np.sign(X[:, 0]), X[:0], X[:0, 0], 1.0, "images", {"shape": (4, 5, 2)})
    net = model_of(completed_task(AnalyzeTask(network="cnn:2x4:k3")), dataset).net
    assert (net.shape, net.filter_size) == ((4, 5, 2), (3, 3))


def test_report_figures_and_verdict_name_the_network():
    found = analyze(AnalyzeTask(network="fc:2x16", steps=10), data())
    text = report(found)
    for part in ("fc:2x16, paired, erf, seed 0", "(all layers)", "10 steps, eta = ", "(automatic)"):
        assert part in text
    for part in ("width", " eta1", "horizon", "equation (3)"):
        assert part not in text
    assert "fc:2x16, paired, erf, $d$ = 8" in losses(found).get_suptitle()
    assert any("theorems about training are for two layers" in sentence for sentence in verdict(found))
    spectrum = measure_spectrum(SpectrumTask(network="fc:2x16", pairs=3, probes=2, steps=5), data(40))
    assert "fc:2x16, paired, erf, seed 0" in spectrum_report(spectrum)
    assert r"$\Theta$ (all layers), gaussian: fc:2x16, paired, erf, $d$ = 8" in density(spectrum).get_suptitle()


@pytest.mark.parametrize("task", [AnalyzeTask, SpectrumTask])
def test_networks_that_cannot_be_are_refused_before_anything_is_computed(task):
    bad = {
        "fc:4y8": {"network": "fc:4y8"},
        "width=7": {"network": "fc:2x7"},
        "width=256 does not go with network='fc:2x8'": {"network": "fc:2x8", "width": 256},
        "layer='first' does not go with": {"network": "fc:2x8", "layer": "first"},
        "second='normal' does not go with": {"network": "cnn:1x8:k3", "second": "normal"},
        "filter_size=9": {"network": "cnn:1x8:k9"},
    }
    for reason, change in bad.items():
        with pytest.raises(ValueError, match=reason):
            (analyze if task is AnalyzeTask else measure_spectrum)(task(**change), data())


def test_a_deep_network_has_one_rate():
    for rates in ({"eta1": 0.5}, {"eta2": 0.5}, {"eta1": 0.5, "eta2": 0.1}):
        with pytest.raises(ValueError, match="fc:2x8 trains all layers at one rate"):
            analyze(AnalyzeTask(network="fc:2x8", **rates), data())
    assert analyze(AnalyzeTask(network="fc:2x8", eta1=0.5, eta2=0.5, steps=3), data()).rates == (0.5,)


def test_a_network_that_does_not_fit_into_memory_is_refused():
    with pytest.raises(ValueError, match=r"a network of these widths needs .* GB"):
        analyze(AnalyzeTask(network="fc:2x2000000"), data())
    with pytest.raises(ValueError, match=r"the analysis needs .* GB"):
        analyze(AnalyzeTask(network="fc:1x40000"), ns.datasets.gaussian(1_000_000, 1))


# ------------------------------------------------------------------------------------------------- command and file
@pytest.mark.usefixtures("unpainted")
def test_the_commands_write_records_that_read_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = "--network cnn:1x8:k3 --n 60 --d 8 --seed 1"
    said = run(f"analyze {options} --n-test 10 --steps 5 --eta 0.25 --verbose")
    assert said.code == 0
    (folder,) = (tmp_path / "ntkspec-analyze").glob("gaussian-erf-cnn-1x8-k3-*")
    assert len(list(folder.glob("*.png"))) == 4
    found = storage.read(folder / "analysis.h5", kind="analyze", types=RECORD_TYPES)["analysis"]
    assert (found.task.network, found.task.width, found.rates) == ("cnn:1x8:k3", None, (0.25,))
    assert said.out.startswith(report(found))
    assert [W.shape for W in found.weights["trained"]] == 2 * [(4, 3), (1, 32)]
    dataset = ns.datasets.gaussian(60, 8, n_test=10, seed=1, dtype="float32")
    again = analyze(AnalyzeTask(network="cnn:1x8:k3", eta1=0.25, eta2=0.25, steps=5, seed=1), dataset)
    for model, trajectory in again.trajectories.items():
        assert np.array_equal(found.trajectories[model].train, trajectory.train)
    said = run(f"spectrum {options} --n-test 0 --pairs 3 --probes 2 --steps 5")
    assert said.code == 0
    (folder,) = (tmp_path / "ntkspec-spectrum").glob("theta-gaussian-erf-cnn-1x8-k3-*")
    stored = storage.read(folder / "spectrum.h5", kind="spectrum", types=SPECTRUM_TYPES)["spectrum"]
    assert said.out.startswith(spectrum_summary(stored))


@pytest.mark.parametrize("command", ["analyze", "spectrum"])
def test_options_of_two_layers_are_refused_in_one_line(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option, told in (
        ("--width 64", "width=64"),
        ("--layer first", "layer='first'"),
        ("--second normal", "second="),
    ):
        found = run(f"{command} --network fc:2x8 {option}")
        assert (found.code, found.out, len(found.err)) == (2, "", 1)
        assert told in found.err[0]
        assert "does not go with network='fc:2x8'" in found.err[0]
    assert not list(tmp_path.iterdir())


def test_records_from_before_networks_had_names_are_of_two_layers(tmp_path):
    found, path = analyze(AnalyzeTask(width=8, steps=2), data()), tmp_path / "analysis.h5"
    storage.write(path, {"analysis": found}, kind="analyze")
    with h5py.File(path, "a") as file:
        del file["record/analysis/task/network"]
    seal(path)
    assert report(storage.read(path, kind="analyze", types=RECORD_TYPES)["analysis"]) == report(found)
