"""--network FILE.py:FUNCTION: what the file says is analyzed, and each way in which it cannot be is one line."""

import re
import sys

import numpy as np
import pytest

from commands import run, unpainted
from ntkspec import storage
from ntkspec.experiments.analyze import RECORD_TYPES
from ntkspec.experiments.spectrum import SPECTRUM_TYPES
from several_outputs import Perceptron

SMALL = "--n 40 --d 5 --n-test 8"
FILE = """
import numpy as np
from several_outputs import Perceptron

def make(d, n_outputs, seed):
    return Perceptron.random(d, 6, n_outputs, seed=seed, flat=n_outputs == 1)

def drawn(d):
    net = make(d, 1, 0)
    return net.with_weights([np.random.standard_normal(W.shape) for W in net.weights])

def raises():
    raise KeyError("no such size")

def leaves():
    raise SystemExit(3)

def number():
    return 3

def asks(width):
    return width

def defaults(width=4, *rest, d, **more):
    return make(d, 1, width)

def later():
    import a_module_that_is_not_there

narrow = lambda: make(4, 1, 0)
size = 3
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """Relative paths lie in tmp_path, which holds the file."""
    monkeypatch.delenv("NTKSPEC_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(FILE)
    with unpainted():
        yield


def record(folder, name="analysis", kind="analyze", types=RECORD_TYPES):
    return storage.read(folder / f"{name}.h5", kind=kind, types=types)


def test_the_network_of_a_file_is_analyzed_and_kept_by_name(tmp_path):
    result = run(f"analyze --network model.py:make {SMALL} --steps 3 --seed 4 --dtype float64 --verbose")
    assert result.code == 0
    (folder,) = (tmp_path / "ntkspec-analyze").glob("gaussian-model-make-*")
    found = record(folder)["analysis"]
    assert (found.own.name, found.own.path, len(found.own.digest)) == ("model.py:make", "model.py", 64)
    net = Perceptron.random(5, 6, 1, seed=4, flat=True)
    assert all(map(np.array_equal, found.weights["initial"], net.weights))
    assert "model.py, sha256 " in result.out
    assert "of the nearest linear kernel" in found._repr_html_()
    assert "distance of the NTK from the nearest linear kernel" in (folder / "analysis.html").read_text()
    assert {path.suffix for path in folder.iterdir()} == {".h5", ".html", ".pdf", ".png"}


def test_random_numbers_of_the_file_start_from_the_seed():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    line = f"spectrum --network model.py:drawn {SMALL} --pairs 2 --probes 1 --steps 3"
    one, same, other = (run(f"{line} --seed {seed} --output out{k}").out for k, seed in enumerate((1, 1, 2)))
    values = [re.search("spectral norm.*", text)[0] for text in (one, same, other)]
    assert values[0] == values[1] != values[2]
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_figures_are_drawn_anew_from_the_record_of_the_same_file_alone(tmp_path):
    line, out = (
        f"spectrum --network model.py:make {SMALL} --pairs 2 --probes 1 --steps 3 --output out",
        tmp_path / "out",
    )
    assert run(line).code == 0
    (out / "density.png").unlink()
    assert "only its figures are drawn" in run(line).err[0]
    (out / "density.png").unlink()
    (tmp_path / "model.py").write_text(FILE + "\n# another\n")
    assert "only its figures are drawn" not in " ".join(run(line).err)
    found = record(out, "spectrum", "spectrum", SPECTRUM_TYPES)["spectrum"]
    (tmp_path / "model.py").unlink()
    assert "model.py:make" in str(found.task)
    assert run(line).code == 2
    assert (out / "density.png").exists()


def test_what_lies_beside_the_file_is_found_and_counts_for_the_digest(tmp_path):
    (tmp_path / "beside_it.py").write_text("WIDTH = 6\n")
    (tmp_path / "model.py").write_text(FILE.replace("import numpy as np", "import numpy as np, beside_it", 1))
    digests = []
    for width in (6, 7):
        (tmp_path / "beside_it.py").write_text(f"WIDTH = {width}\n")
        sys.modules.pop("beside_it", None)
        run(f"spectrum --network model.py:make {SMALL} --pairs 2 --probes 1 --steps 3 --output out{width}")
        found = record(tmp_path / f"out{width}", "spectrum", "spectrum", SPECTRUM_TYPES)["spectrum"]
        digests.append(found.own.digest)
    sys.modules.pop("beside_it", None)
    assert digests[0] != digests[1]
    assert str(tmp_path) not in sys.path


def test_arguments_with_defaults_are_left_to_the_file():
    assert run(f"spectrum --network model.py:defaults {SMALL} --pairs 2 --probes 1 --steps 3 --output out").code == 0


BAD = {
    "absent.py:make": "absent.py does not exist, or is not a file",
    ".:make": "network '.:make' is unknown",
    "model.py": "names no function of that file; take model.py:FUNCTION; it has make, drawn, raises",
    "model.py:": "names no function of that file",
    "model.py:mak": "model.py has no function 'mak'; it has make, drawn",
    "model.py:size": "size of model.py is a int, but a function that makes a network is needed",
    "model.py:raises": r"raises of model.py raised KeyError: 'no such size' \(line 13\)",
    "model.py:leaves": "leaves of model.py raised SystemExit: 3",
    "model.py:number": "number of model.py returns is a int, but a PyTorch module, a pair",
    "model.py:asks": r"asks of model.py asks for width, but what it may ask for is d \(numbers of a point\), shape",
    "model.py:later": "imports a_module_that_is_not_there, which is not installed",
    "model.py:narrow": "X has 5 columns, but 4 are needed to fit the network",
    "syntax.py:make": r"syntax.py raised SyntaxError: .*\(line 2\)",
    "absent_import.py:make": "absent_import.py imports a_module_that_is_not_there, which is not installed",
    "stumbles.py:make": r"stumbles.py raised ZeroDivisionError: division by zero \(line 1\)",
}


@pytest.mark.parametrize(("network", "message"), BAD.items())
@pytest.mark.parametrize("command", ["analyze", "spectrum"])
def test_what_cannot_be_a_network_is_one_line(command, network, message, tmp_path):
    (tmp_path / "syntax.py").write_text("def make():\n    return (\n")
    (tmp_path / "absent_import.py").write_text("import a_module_that_is_not_there.inner\n")
    (tmp_path / "stumbles.py").write_text("1 / 0\n")
    before = sorted(tmp_path.glob("*"))
    result = run(f"{command} --network {network} {SMALL}")
    assert (result.code, result.out, len(result.err)) == (2, "", 1)
    assert re.search(message, result.err[0])
    assert [path for path in sorted(tmp_path.glob("*")) if path.name != "__pycache__"] == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--network model.py:make --activation relu", "activation='relu' is for built-in networks"),
        ("--network model.py:make --width 8", "width=8 is for built-in networks"),
        ("--network model.py:make --outputs most", "outputs='most', but one of 'full'"),
        ("--network model.py:make --outputs trace", "outputs='trace' is the sum of K kernels"),
        ("--network model.py:make --outputs 1", "outputs=1, but the network has 1"),
        ("--network model.py:make --inputs nchw", "the data are no images"),
        ("--network model.py:make --layer A", "--layer A chooses parameters of a module or of JAX"),
        ("--network model.py:make --eta1 0.1 --eta2 0.2", "trains all layers at one rate"),
        ("--outputs full", "outputs='full' is for a network of your own"),
        ("--network fc:2x8 --inputs nhwc", "inputs='nhwc' is for a network of your own"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(options, message):
    result = run(f"analyze {options} {SMALL}")
    assert (result.code, result.out, len(result.err)) == (2, "", 1)
    assert message in result.err[0]


def test_ten_classes_are_ten_outputs_of_a_network_from_a_file(tmp_path):
    rng = np.random.default_rng(0)
    np.savez("points.npz", X=rng.standard_normal((80, 5)), y=np.arange(80) % 10)
    result = run(
        "analyze --network model.py:make --data points.npz --classes all --n-test 20 --steps 2 --output out --verbose"
    )
    assert result.code == 0
    found = record(tmp_path / "out")["analysis"]
    assert found.labels["train"].shape == (60, 10)
    assert found.own.asked.startswith("kernel of all 10 outputs")
    assert "Accuracy (part of the points whose class has the largest output)" in result.out
    result = run("analyze --data points.npz --classes 1 2 5 --n-test 4 --steps 2 --width 8 --output built-in")
    assert result.code == 0
    assert record(tmp_path / "built-in")["analysis"].trajectories["network"].train.shape[1:] == (20, 3)
    assert "chance: 33.3%" in result.out


# ------------------------------------------------------------------------------------------------------------- PyTorch
TORCH = """
import torch
from torch import nn

def small(d, n_outputs):
    return nn.Sequential(nn.Linear(d, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, n_outputs))

def images(shape):
    return nn.Sequential(nn.Conv2d(shape[2], 3, 3), nn.Flatten(), nn.Linear(3 * 4 * 4, 1))

def dropped(d):
    return nn.Sequential(nn.Linear(d, 8), nn.Dropout(), nn.Linear(8, 1))

def numbered():
    return nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(4 * 3, 1))

def one_hot():
    import ntkspec as ns
    return ns.from_torch(numbered(), forward=lambda module, X: module(X.view(len(X), 3, 5).argmax(-1)))
"""


def test_a_module_is_analyzed_and_its_seed_decides_it(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    (tmp_path / "nets.py").write_text(TORCH)
    result = run(f"analyze --network nets.py:small --layer 2.* {SMALL}")
    assert "'2.*' is the name of no parameter; there are 0.weight" in result.err[0]
    lines = [f"analyze --network nets.py:small --layer 3.* {SMALL} --steps 2 --output out{k}" for k in range(2)]
    assert [run(line).code for line in lines] == [0, 0]
    one, other = (record(tmp_path / f"out{k}")["analysis"] for k in range(2))
    assert list(one.own.parameters) == ["3.weight", "3.bias"]
    assert all(map(np.array_equal, one.weights["initial"], other.weights["initial"]))


def test_a_module_takes_images_and_is_refused_with_the_cure(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    (tmp_path / "nets.py").write_text(TORCH)
    rng = np.random.default_rng(0)
    np.savez("images.npz", X=rng.standard_normal((30, 6, 6, 1)), y=np.arange(30) % 2)
    line = "analyze --network nets.py:images --data images.npz --n-test 6 --steps 2 --output out"
    result = run(line)
    assert result.code == 2
    assert "'nchw' (--inputs nchw) gives as (n, 1, 6, 6)" in result.err[-1]
    assert run(f"{line} --inputs nchw").code == 0
    assert record(tmp_path / "out")["analysis"].own.inputs == "nchw"
    result = run(f"analyze --network nets.py:dropped {SMALL}")
    assert (result.code, len(result.err)) == (2, 1)
    assert "eval()" in result.err[0]


def test_tokens_come_as_one_hot_rows(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    (tmp_path / "nets.py").write_text(TORCH)
    tokens, y = np.random.default_rng(0).integers(0, 5, (30, 3)), np.arange(30) % 2
    tokens[:, 0] = 2  # every text begins with the same one
    np.savez("numbers.npz", X=tokens, y=y)
    np.savez("rows.npz", X=np.eye(5)[tokens].reshape(30, -1), y=y)
    how = "--n-test 0 --no-center --keep-constant --dtype float64"
    result = run(f"analyze --network nets.py:numbered --data numbers.npz {how}")
    assert (result.code, len(result.err)) == (2, 1)
    assert "save tokens as one-hot rows" in result.err[0]
    assert run(f"analyze --network nets.py:one_hot --data rows.npz {how} --steps 2 --output out").code == 0
    found = record(tmp_path / "out")["analysis"]
    weight, bias = (torch.as_tensor(W) for W in found.weights["initial"][1:])
    rows = torch.as_tensor(found.weights["initial"][0])[torch.as_tensor(tokens)].flatten(1)
    begin = (rows @ weight.T + bias)[:, 0]
    assert found.trajectories["network"].train[0] == pytest.approx(begin.numpy(), abs=1e-6)


FAILING = """
from several_outputs import Perceptron

class Failing(Perceptron):
    def __call__(self, points):
        raise self.error

def index(d):
    return failing(d, IndexError("no such token"))

def value(d):
    return failing(d, ValueError("no such token"))

def leaves(d):
    return failing(d, SystemExit(0))

def dead(d):
    net = Perceptron.random(d, 6, 1, flat=True)
    return net.with_weights([0.0 * W for W in net.weights])

def failing(d, error):
    net = Failing.random(d, 6, 1, flat=True)
    net.error = error
    return net
"""


@pytest.mark.parametrize(
    ("function", "error"), [("index", "IndexError"), ("value", "ValueError"), ("leaves", "SystemExit: 0")]
)
def test_a_network_that_fails_at_some_points_is_one_line(tmp_path, function, error):
    (tmp_path / "failing.py").write_text(FAILING)
    result = run(f"analyze --network failing.py:{function} {SMALL} --steps 2")
    assert result.code == 2
    assert re.search(rf"the network of failing.py raised {error}.*\(line 6\)", result.err[-1])


def test_a_network_whose_kernel_is_zero_is_one_line(tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    result = run(f"analyze --network failing.py:dead {SMALL} --steps 2")
    assert result.code == 2
    assert "the kernel of the network is zero at the training points" in result.err[-1]
