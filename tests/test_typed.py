"""What type checkers and editors see of the package: the stub, a user's script in strict mode, completion."""

import ast
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import house
import ntkspec as ns

HERE, PACKAGE = Path(__file__).parent, Path(ns.__file__).parent
SCRIPT = HERE / "typed_script.py"


def run(*command, folder, **environment):
    """A command in a folder of its own, as a user starts it."""
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)


def test_stub_hands_on_the_names_that_are_loaded_at_run_time():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    seen = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            assert all(alias.asname == alias.name for alias in node.names), "only `import name as name` hands on"
            home = node.module.removeprefix("ntkspec").removeprefix(".") or None
            seen |= {alias.name: home for alias in node.names}
    assert seen == ns._HOMES
    assert sorted(seen) == ns.__all__


def test_script_runs(tmp_path):
    done = run(sys.executable, "-W", "error", SCRIPT, tmp_path, folder=tmp_path, PYTHONPATH=str(PACKAGE.parent))
    assert done.returncode == 0, done.stderr


def test_mypy_accepts_the_script(tmp_path):
    pytest.importorskip("mypy", reason="mypy comes with ntkspec[lint]")
    # Errors inside the package are not the user's, as where it is installed; its own run of mypy finds them.
    # What they import of PyTorch and JAX is not looked into, which would take most of a minute.
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\n[mypy-torch.*,jax.*]\nfollow_imports = skip\n", encoding="utf-8")
    kept = PACKAGE.parent / ".pytest_cache" / "mypy"  # most of its time is that of the package's imports
    options = ["--strict", f"--config-file={settings}", "--follow-imports=silent", f"--cache-dir={kept}"]
    done = run(sys.executable, "-m", "mypy", *options, SCRIPT, folder=tmp_path, MYPYPATH=str(PACKAGE.parent))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def pyright(tmp_path):
    """Runs pyright in a folder; skips where it is not installed, or cannot fetch what it runs on."""
    if not importlib.util.find_spec("pyright"):
        pytest.skip("pyright comes with ntkspec[lint]")

    def check(*arguments):
        return run(sys.executable, "-m", "pyright", *arguments, folder=tmp_path, PYTHONPATH=str(PACKAGE.parent))

    try:
        started = check("--version")
    except subprocess.TimeoutExpired:
        pytest.skip("pyright does not start: it waits for what it runs on")
    if started.returncode:
        pytest.skip(f"pyright does not start: {(started.stderr or started.stdout).strip().splitlines()[-1]}")
    return check


def every_public_name():
    """A script that looks at each public name, and at each public method and property of a public class."""
    lines = ["import ntkspec as ns", ""]
    for name, value in house.public_objects().items():
        members = [member for member, _ in house.members(value)] if inspect.isclass(value) else []
        lines += [f"print(ns.{'.'.join([name, *rest])})" for rest in [[], *([member] for member in members)]]
    return "\n".join(lines) + "\n"


@pytest.mark.slow
def test_pyright_accepts_the_script_and_knows_the_type_of_every_public_name(tmp_path, pyright):
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "names.py").write_text(every_public_name())
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    done = pyright("--pythonpath", sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr


def test_editors_complete_public_names_and_show_signatures():
    jedi = pytest.importorskip("jedi", reason="jedi comes with ntkspec[test]")
    project = jedi.Project(PACKAGE.parent, sys_path=[str(PACKAGE.parent), *sys.path], load_unsafe_extensions=False)
    completed = {name.name for name in jedi.Script("import ntkspec as ns\nns.spec", project=project).complete()}
    assert {"spectral_density", "spectral_entropy", "spectral_norm"} <= completed
    (signature,) = jedi.Script("import ntkspec as ns\nns.spectral_norm(", project=project).get_signatures()
    names = [parameter.name for parameter in signature.params]
    assert names[:4] == ["operator", "rtol", "failure_probability", "seed"]
    offered = {name.name for name in jedi.Script("import ntkspec as ns\nns.", project=project).complete()}
    assert set(ns.__all__) <= offered
