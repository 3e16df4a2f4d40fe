"""Both engines offer what the contract says: the same names, with the same arguments; the GPU's without a GPU."""

import ast
import functools
import inspect
from pathlib import Path

import pytest

from ntkspec.engines import contract

FOLDER = Path(contract.__file__).parent
CORE = contract.Engine
GROUPS = {
    name: inspect.signature(item.fget).return_annotation
    for name, item in vars(CORE).items()
    if isinstance(item, property)
}


def offered(protocol: type) -> dict[str, list]:
    """The functions of a protocol and their arguments."""
    return {
        name: arguments(inspect.signature(item).parameters.values())[1:]
        for name, item in vars(protocol).items()
        if inspect.isfunction(item) and not name.startswith("_")
    }


def arguments(parameters) -> list[tuple]:
    """(name, kind, whether it may be left out)."""
    return [(one.name, one.kind, one.default is not inspect.Parameter.empty) for one in parameters]


def tree(module: str) -> ast.Module:
    """The source of a module of the engines, which is not imported: it may need CuPy."""
    path = FOLDER / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def written(module: str) -> dict[str, list]:
    """The public functions of a module by its source, also those that it hands on from other modules of the engines."""
    found = {}
    for node in tree(module).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = arguments(signature(node).parameters.values())
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ntkspec.engines."):
            source = node.module.removeprefix("ntkspec.engines.")
            whole = (FOLDER / source.replace(".", "/")).is_dir()
            there = {} if whole or source == module else written(source)
            found |= {alias.asname or alias.name: there[alias.name] for alias in node.names if alias.name in there}
    return found


def signature(node: ast.FunctionDef) -> inspect.Signature:
    """The signature of a function, from its source: defaults are whatever they are."""
    bare = ast.parse("def function(): pass").body[0]
    bare.args, bare.returns = node.args, None
    for argument in ast.walk(bare.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    bare.args.defaults = [ast.Constant(0) for _ in bare.args.defaults]
    bare.args.kw_defaults = [default and ast.Constant(0) for default in bare.args.kw_defaults]
    names: dict = {}
    exec(compile(ast.fix_missing_locations(ast.Module([bare], [])), "a source", "exec"), names)
    return inspect.signature(names["function"])


def handed_on(module: str) -> list[str]:
    """The ``__all__`` of a module, by its source."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{module} has no __all__")


@pytest.mark.parametrize("twin", ["cpu", "gpu"])
def test_the_engine_itself_offers_what_the_contract_says(twin):
    expected, found = offered(CORE), written(twin)
    assert {name: found[name] for name in expected} == expected
    assert handed_on(twin) == sorted({*expected, *GROUPS, *CORE.__annotations__})


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("twin", ["cpu", "gpu"])
def test_each_group_offers_what_the_contract_says_and_no_other_function(twin, group):
    own = {node.name for node in tree(f"{twin}.{group}").body if isinstance(node, ast.FunctionDef)}
    expected, found = offered(GROUPS[group]), written(f"{twin}.{group}")
    assert {name: found.get(name) for name in expected} == expected
    assert {name for name in own if not name.startswith("_")} == set(expected)


def test_what_is_offered_is_there_at_run_time(engine):
    for name in (*offered(CORE), *CORE.__annotations__):
        assert hasattr(engine, name), name
    for group, protocol in GROUPS.items():
        for name, expected in offered(protocol).items():
            function = getattr(getattr(engine, group), name)
            assert arguments(inspect.signature(function).parameters.values()) == expected, name


def test_a_twin_that_has_drifted_apart_is_seen():
    """The comparison is of names, kinds and defaults."""
    one, other = (
        arguments(signature(ast.parse(text).body[0]).parameters.values())
        for text in ("def f(a, *, b=1): ...", "def f(a, b=1): ...")
    )
    assert one != other
