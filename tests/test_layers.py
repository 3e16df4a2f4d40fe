"""Imports run one way, each heavy library has one door, and `import ntkspec` is light."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ntkspec

PACKAGE = Path(ntkspec.__file__).parent

# A room, a folder or a file of the root, imports only from lines above its own, and from rooms on it without a circle.
ORDER = """
progress objects guarded randomness
engines
checks
activations operators
storage
networks spectra
kernels cluster
datasets dynamics theory
training
experiments
plotting reporting
cli __main__
""".strip().splitlines()
LEVEL = {module: level for level, line in enumerate(ORDER) for module in line.split()}
DOORS = {
    "numba": {"engines"},
    "llvmlite": {"engines"},
    "cupy": {"engines"},
    "threadpoolctl": {"engines"},
    "psutil": {"engines"},
    "h5py": {"storage", "guarded"},
    "matplotlib": {"plotting", "objects"},  # the types of what results draw on, and of the tables that they give
    "pandas": {"datasets", "objects"},
    "tqdm": {"progress"},
    "distributed": {"cluster"},
    "cloudpickle": {"objects"},
    "cyclopts": {"cli"},
    "torch": {"networks"},
    "jax": {"networks"},
}


def imports():
    """(layer of the file, file, imported module) for every import statement, inside functions too."""
    for path in sorted(PACKAGE.rglob("*.py")):
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                whole = node.module == "ntkspec"
                names = [f"ntkspec.{alias.name}" if whole else node.module for alias in node.names]
            else:
                continue
            for name in names:
                yield layer, path, name


def test_every_room_has_its_place():
    layers = {layer for layer, *_ in imports()} - {"__init__"}
    assert layers == set(LEVEL)


def test_the_house_is_small():
    assert len(LEVEL) <= 22
    assert len(ORDER) <= 12
    assert len(list(PACKAGE.glob("*.py"))) - 1 <= 4  # beside __init__


def test_imports_run_one_way():
    wrong, rooms = [], {room: set() for room in LEVEL}
    for layer, path, name in imports():
        room = name.split(".")[1] if name.startswith("ntkspec.") else layer
        if layer != "__init__" and room in LEVEL and room != layer:
            rooms[layer].add(room)
            if LEVEL[room] > LEVEL[layer]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong
    list(TopologicalSorter(rooms).static_order())  # raises CycleError where there is a circle


def test_heavy_libraries_have_one_door():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for layer, path, name in imports()
        if layer not in DOORS.get(name.split(".")[0], {layer})
    ]
    assert not wrong


def loaded_after(code: str) -> set[str]:
    show = "import sys; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", f"{code}; {show}"], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "code", ["import ntkspec", "import ntkspec.cli", "import ntkspec; ntkspec.activation; ntkspec.datasets"]
)
def test_importing_is_light(code):
    assert loaded_after(code).isdisjoint({"numba", "h5py", "matplotlib", "pandas", "cupy", "jax", "torch"})


def test_help_of_the_command_line_loads_no_numbers():
    assert loaded_after("import ntkspec.cli.commands").isdisjoint({"numpy", "scipy"})


def test_the_public_names_are_there():
    names = ("activation", "Activation", "trace_ratio", "datasets", "TwoLayer", "ntk", "linear_kernel", "spectral_norm")
    names += ("frobenius_norm", "eigsh", "predict_gd", "train_gd")
    for name in names:
        assert getattr(ntkspec, name) is not None
        assert name in dir(ntkspec)
    for name in ["gaussian", "rademacher", "sphere", "subgaussian", "mnist", "cifar10", "load"]:
        assert callable(getattr(ntkspec.datasets, name))
    assert {name for name in vars(ntkspec) if not name.startswith("_")}.isdisjoint({"import_module", "difflib"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("spectral_nrom", "did you mean spectral_norm? it offers Activation, "),
        ("TwoLayers", "did you mean TwoLayer? it offers Activation, "),
        ("xyz", "it offers Activation, "),
        ("_ntk", "it offers Activation, "),
    ],
)
def test_an_unknown_name_is_answered_with_the_public_ones(name, said):
    with pytest.raises(AttributeError, match=re.escape(f"module 'ntkspec' has no attribute '{name}'; {said}")):
        getattr(ntkspec, name)


def test_every_public_function_and_class_says_what_it_does():
    missing = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                missing.append(f"{path.name}:{node.name}")
    assert not missing
