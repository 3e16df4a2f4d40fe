"""Figure 3: networks by name, the linear model they share, and what their residuals are made of."""

import os

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.cli import main
from ntkspec.experiments import deep_runs
from ntkspec.experiments.deep_runs import (
    DataModel,
    DeepSetting,
    data_coefficient,
    decomposed,
    relative_mse,
    run_deep,
)
from ntkspec.networks.specification import NetworkSpec

needs_images = pytest.mark.skipif(
    not os.environ.get("NTKSPEC_DATA"), reason="real images: set NTKSPEC_DATA to their folder"
)


def test_networks_by_name():
    dense = NetworkSpec.parse("fc:3x8").build((4, 4, 1), "erf")
    assert (dense.widths, dense.dim, dense.antisymmetric) == ([8, 8, 8], 16, True)
    image = NetworkSpec.parse("cnn:2x6:k3").build((4, 5, 2), "erf", dtype=np.float32)
    assert (image.channels, image.filter_size, image.dim) == ([6, 6], (3, 3), 40)
    assert image.dtype == np.float32
    for name in ("fc", "fc:3", "cnn:2x6", "fc:3x8:k2", "mlp:3x8", "fc:ax8"):
        with pytest.raises(ValueError, match="is unknown"):
            NetworkSpec.parse(name).build((16,), "erf")
    sequence = NetworkSpec.parse("cnn:2x6:k3").build((16,), "erf")
    assert (sequence.shape, sequence.filter_size, sequence.dim) == ((16, 1), (3,), 16)
    with pytest.raises(ValueError, match="filter_size=0"):
        NetworkSpec.parse("cnn:2x6:k0").build((16,), "erf")
    for name in ("fc:3x7", "cnn:3x7:k2"):
        with pytest.raises(ValueError, match="width=7, but antisymmetric initialization halves it"):
            NetworkSpec.parse(name).build((16,), "erf")
    with pytest.raises(ValueError, match="0 hidden layers, but 1 to 1000"):
        NetworkSpec.parse("fc:0x8").build((16,), "erf")


def test_the_data_model_is_gradient_descent_on_the_data_kernel():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6)), rng.choice([-1.0, 1.0], 40)
    trained = ns.train_gd(DataModel(6, np.float64), X, y, eta=0.7, steps=[0, 1, 30], X_test=X[:4] + 1)
    gram = ns.operators.Gram(X) / 6, ns.operators.Gram(X[:4] + 1, X) / 6
    predicted = ns.predict_gd(gram[0], y, eta=0.7, steps=[0, 1, 30], kernel_test=gram[1])
    assert trained.train == pytest.approx(predicted.train, abs=1e-12)
    assert trained.test == pytest.approx(predicted.test, abs=1e-12)


def test_the_coefficient_is_the_least_squares_fit_off_the_diagonal():
    X = np.random.default_rng(0).standard_normal((30, 5))
    net = NetworkSpec.parse("fc:2x64").build((5,), "erf")
    theta, gram = ns.ntk(net, X).to_dense(), X @ X.T / 5
    i, j = np.triu_indices(30, 1)
    fit = np.linalg.lstsq(gram[i, j][:, None], theta[i, j], rcond=None)[0][0]
    assert data_coefficient(net, X) == pytest.approx(fit, rel=1e-10)
    assert data_coefficient(DataModel(5, np.float64), X) == pytest.approx(1)


def test_a_residual_is_the_sum_of_its_parts():
    rng = np.random.default_rng(0)
    X, residuals = rng.standard_normal((20, 4)), rng.standard_normal((3, 20))
    X = np.hstack([X, X[:, :1], np.zeros((20, 1))])
    inside, outside = decomposed(residuals, X)
    fitted = np.array([X @ np.linalg.lstsq(X, r, rcond=None)[0] for r in residuals])
    assert inside == pytest.approx((fitted**2).mean(axis=1))
    assert outside == pytest.approx(((residuals - fitted) ** 2).mean(axis=1))
    assert decomposed(X[:, :2].T, X)[1] == pytest.approx(0, abs=1e-14)


SMALL = {"n": 200, "n_test": 60, "pool": 8, "steps": 20, "batch": 50, "dtype": "float64"}


@pytest.mark.data
@needs_images
def test_runs_on_images_share_their_linear_model():
    linear, network = (run_deep(DeepSetting(name, **SMALL)) for name in ("linear", "fc:2x128"))
    assert network.eta * network.kappa == pytest.approx(linear.eta)
    assert linear.outside == pytest.approx(np.full(len(linear.steps), linear.outside[0]), abs=1e-9)
    data = ns.datasets.cifar10(("cat", "horse"), n=200, n_test=60, pool=8)
    whole = np.square(network.outputs - data.y_test).mean(axis=1)
    assert network.inside + network.outside == pytest.approx(whole)
    assert "JPEG" in network.source
    assert relative_mse(network, linear)[-1] < 0.5
    image = run_deep(DeepSetting("cnn:2x16:k3", **SMALL))
    assert image.inside[-1] < image.inside[0]


@pytest.mark.data
@needs_images
def test_with_few_test_points_the_training_residual_is_decomposed():
    """48 dimensions: any 40 outputs are linear in the inputs, 200 are not."""
    run = run_deep(DeepSetting("fc:2x16", **SMALL | {"n_test": 40}))
    assert run.part == "train"
    assert run.inside + run.outside == pytest.approx(2 * run.loss)
    assert run.outside[0] > 0.1
    with pytest.raises(ValueError, match="take more points"):
        run_deep(DeepSetting("fc:2x16", **SMALL | {"n_test": 40, "n": 30, "batch": 0}))


@pytest.mark.data
@needs_images
def test_figure_3_by_command(tmp_path, capsys, monkeypatch):
    given = ["figure", "3", "--n", "100", "--n-test", "40", "--pool", "8", "--steps", "6", "--batch", "20"]
    given += ["--network", "fc:1x8", "cnn:1x4:k2", "--output", str(tmp_path)]
    assert main(given) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[2:5]] == ["linear", "fc:1x8", "cnn:1x4:k2"]
    kept = ns.load_result(tmp_path / "figure-3.h5")
    assert [run.setting.network for run in kept] == ["linear", "fc:1x8", "cnn:1x4:k2"]
    last = [float(number) for number in table[3].split()[1:]]
    linear, dense = kept[:2]
    expected = [dense.kappa, dense.fitted, dense.inside[-1], dense.outside[-1], relative_mse(dense, linear)[-1]]
    assert last == pytest.approx(expected, abs=5e-5)
    monkeypatch.setattr(deep_runs, "run_deep", lambda *a, **k: pytest.fail("computed again"))
    assert main(given) == 0
    assert (tmp_path / "figure-3.pdf").stat().st_size > 1000


@pytest.mark.data
@pytest.mark.slow
@needs_images
@pytest.mark.usefixtures("unpainted")
def test_figure_3_on_other_digits_has_as_many_test_points_as_there_are(tmp_path):
    given = ["figure", "3", "--data", "mnist", "--n", "50", "--pool", "4", "--steps", "2", "--batch", "10"]
    assert main([*given, "--network", "fc:1x8", "--output", str(tmp_path)]) == 0


def test_bad_input_ends_with_one_line(tmp_path, capsys):
    for given, reason in (
        (["--network", "mlp"], "is unknown"),
        (["--activation", "gelo"], "gelo"),
        (["--activation", "relu"], "is not odd"),
        (["--n", "1"], "n=1"),
        (["--eta", "0"], "trains nothing"),
        (["--network", "linear"], "always there"),
        (["--network", "fc:99999999999x4"], "but 1 to 1000 are possible"),
        (["--network", "fc:0x4"], "0 hidden layers"),
        (["--network", "cnn:1x4:k9"], "larger than the (8, 8) positions"),
        (["--network", *(f"fc:1x{2 * k}" for k in range(1, 9))], "7 or fewer"),
    ):
        assert main(["figure", "3", *given, "--output", str(tmp_path / "out")]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.count("\n") == 1
        assert reason in err
        assert not (tmp_path / "out").exists()
