"""What the package's own rules find in it: packed arguments, hidden state, missing types, thin docstrings.

`python tests/house.py [PATH ...]` prints the findings in these files and folders (default: ntkspec), with their number.
"""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RULES = ("packed argument", "hidden state", "untyped", "docstring")
SECTION = re.compile(r"^(\w[\w ]*)\n(-{3,}) *$", re.MULTILINE)
VAGUE = re.compile(r"\bas (there|for)\b", re.IGNORECASE)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Finding(NamedTuple):
    """One break of one rule, at one place."""

    path: Path
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{path}:{self.line}: {self.rule}: {self.text}"


# ---------------------------------------------------------------------------------------------------- packed arguments


def _arguments(function) -> list[ast.arg]:
    spec = function.args
    every = [*spec.posonlyargs, *spec.args, spec.vararg, *spec.kwonlyargs, spec.kwarg]
    return [argument for argument in every if argument is not None]


def _unpacked(node: ast.AST) -> Iterator[str]:
    """The bare names that an assignment spreads over several targets."""
    pairs = []
    if isinstance(node, ast.Assign):
        pairs = [(target, node.value) for target in node.targets]
    while pairs:
        target, value = pairs.pop()
        if not isinstance(target, ast.Tuple | ast.List):
            continue
        if isinstance(value, ast.Name):
            yield value.id
        elif isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
            pairs += zip(target.elts, value.elts, strict=True)


def packed_arguments(path: Path) -> Iterator[Finding]:
    """Functions, nested ones too, that unpack an argument of theirs (or of a function around them) into names."""

    def visit(node: ast.AST, names: frozenset[str], where: str) -> Iterator[Finding]:
        if isinstance(node, FUNCTIONS):
            names |= {argument.arg for argument in _arguments(node)}
            where = f"{where}.{node.name}".lstrip(".")
        elif isinstance(node, ast.ClassDef):
            where = f"{where}.{node.name}".lstrip(".")
        for name in _unpacked(node):
            if name in names:
                yield Finding(path, node.lineno, "packed argument", f"{where} unpacks its argument {name!r}")
        for child in ast.iter_child_nodes(node):
            yield from visit(child, names, where)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), frozenset(), "")


# -------------------------------------------------------------------------------------------------------- hidden state


def _stored(node: ast.AST) -> list[ast.Attribute]:
    """The attributes that are written to in a target."""
    return [one for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)]


def hidden_state(path: Path) -> Iterator[Finding]:
    """Attributes written onto an argument or by a loop, and objects that are made past their constructor."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension):
            for target in _stored(node.target):
                yield Finding(path, target.lineno, "hidden state", f"a loop over {ast.unparse(target)}")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "object.__new__":
            yield Finding(path, node.lineno, "hidden state", "object.__new__ instead of a constructor")
        elif isinstance(node, FUNCTIONS):
            names = {argument.arg for argument in _arguments(node)} - {"self", "cls"}
            for target in _stored(node):
                if isinstance(target.value, ast.Name) and target.value.id in names:
                    text = f"{node.name} writes {ast.unparse(target)} onto its argument"
                    yield Finding(path, target.lineno, "hidden state", text)


# --------------------------------------------------------------------------------------------------------------- types


def untyped(path: Path) -> Iterator[Finding]:
    """Arguments and results without a type, of functions and methods whose name has no leading underscore."""

    def visit(body: list[ast.stmt], owner: str) -> Iterator[Finding]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield from visit(node.body, f"{owner}{node.name}.")
            elif isinstance(node, FUNCTIONS):
                yield from function(node, owner)
            elif isinstance(node, ast.If | ast.Try):
                yield from visit([*node.body, *node.orelse], owner)

    def function(node, owner: str) -> Iterator[Finding]:
        dunder = node.name.startswith("__") and node.name.endswith("__")
        if node.name.startswith("_") and not dunder:
            return
        static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
        arguments = _arguments(node)
        if owner and not static:
            arguments = arguments[1:]
        missing = [argument.arg for argument in arguments if argument.annotation is None]
        if node.returns is None and not dunder:
            missing.append("the result")
        for name in missing:
            yield Finding(path, node.lineno, "untyped", f"{owner}{node.name}: {name}")

    yield from visit(ast.parse(path.read_text(encoding="utf-8")).body, "")


# ---------------------------------------------------------------------------------------------------------- docstrings


def import_all() -> None:
    """Every module of the package but those of the GPU, of programs, and of frameworks that are not installed."""
    ntkspec = importlib.import_module("ntkspec")
    for module in pkgutil.walk_packages(ntkspec.__path__, "ntkspec."):
        missing = any(f".{name}." in module.name and not importlib.util.find_spec(name) for name in ("torch", "jax"))
        if ".gpu" not in module.name and not module.name.endswith("__main__") and not missing:
            importlib.import_module(module.name)


def public_objects() -> dict[str, object]:
    """Every public function, class and module by the name that users write, `ns.` left out."""
    ns = importlib.import_module("ntkspec")
    found = {}
    for name in ns.__all__:
        value = getattr(ns, name)
        found[name] = value
        if inspect.ismodule(value):
            found |= {f"{name}.{key}": getattr(value, key) for key in _offered(value)}
    return found


def _offered(module) -> list[str]:
    """What a public module hands on: its `__all__`, or the public functions written in it."""
    own = (key for key, item in vars(module).items() if inspect.isfunction(item) and item.__module__ == module.__name__)
    return list(getattr(module, "__all__", [key for key in own if not key.startswith("_")]))


def sections(doc: str) -> dict[str, str]:
    """The numpydoc sections of a docstring, by title."""
    marks = list(SECTION.finditer(doc))
    starts = [mark.start() for mark in marks] + [len(doc)]
    return {mark[1]: doc[mark.end() : end].strip("\n") for mark, end in zip(marks, starts[1:], strict=True)}


def _described(text: str) -> set[str]:
    """The names at the left edge of a Parameters or Attributes section: `a, b : type`."""
    heads = [line.split(" :")[0] for line in text.splitlines() if line and not line[0].isspace()]
    return {name.strip(" *`\\:") for head in heads for name in head.split(",")}


def _tree(value) -> ast.AST | None:
    try:
        return ast.parse(inspect.cleandoc("\n" + inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return None


def _raises(value, module, deep: bool = True) -> bool:
    """Does a function raise, itself or in a function of its own file or of ntkspec.checks that it calls by name?"""
    tree = _tree(value)
    if tree is None:
        return False
    nodes = list(ast.walk(tree))
    if any(isinstance(node, ast.Raise) and node.exc is not None for node in nodes):
        return True
    if not deep:
        return False
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    helpers = [getattr(module, name, None) for name in called]
    near = [item for item in helpers if getattr(item, "__module__", "") in (module.__name__, "ntkspec.checks")]
    return any(inspect.isfunction(item) and _raises(item, module, deep=False) for item in near)


def _parameters(value) -> list[str]:
    names = list(inspect.signature(value).parameters)
    return [name for name in names if not name.startswith("_")]


def _lacks_of_function(value, doc: str) -> Iterator[str]:
    found = sections(doc)
    names = _parameters(value)
    if names and "Parameters" not in found:
        yield "Parameters"
    elif missing := sorted(set(names) - _described(found.get("Parameters", ""))):
        yield f"in Parameters: {', '.join(missing)}"
    returns = inspect.signature(value).return_annotation
    if returns not in (None, "None") and not {"Returns", "Yields"} & set(found):
        yield "Returns"
    if _raises(value, sys.modules[value.__module__]) and "Raises" not in found:
        yield "Raises"
    yield from _lacks_of_examples(found)


def _lacks_of_examples(found: dict[str, str]) -> Iterator[str]:
    if ">>>" not in found.get("Examples", ""):
        yield "Examples"


def _is_protocol(value: type) -> bool:
    """Whether it is a contract that nobody constructs."""
    return getattr(value, "_is_protocol", False)


def _constructor(value: type) -> list[str]:
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value) if field.init and not field.name.startswith("_")]
    if value.__init__ is object.__init__ or _is_protocol(value):
        return []
    return _parameters(value.__init__)[1:]


def _lacks_of_class(value: type, doc: str) -> Iterator[str]:
    found = sections(doc)
    names = _constructor(value)
    described = _described(found.get("Parameters", "")) | _described(found.get("Attributes", ""))
    if names and not {"Parameters", "Attributes"} & set(found):
        yield "Parameters (or Attributes)"
    elif missing := sorted(set(names) - described):
        yield f"in Parameters (or Attributes): {', '.join(missing)}"
    makers = [value.__dict__[name] for name in ("__init__", "__post_init__", "__new__") if name in value.__dict__]
    raising = not _is_protocol(value) and any(
        inspect.isfunction(maker) and _raises(maker, sys.modules[value.__module__]) for maker in makers
    )
    if raising and "Raises" not in found:
        yield "Raises"
    yield from _lacks_of_examples(found)


def members(value: type) -> Iterator[tuple[str, object]]:
    """The public methods and properties that a class of the package writes itself."""
    for name, item in vars(value).items():
        if name.startswith("_"):
            continue
        if isinstance(item, staticmethod | classmethod):
            item = item.__func__
        if inspect.isfunction(item) or isinstance(item, property) or hasattr(item, "func"):
            yield name, item


def _place(value, fallback: Path) -> tuple[Path, int]:
    try:
        target = inspect.unwrap(value)
        target = target.fget if isinstance(target, property) else getattr(target, "func", target)
        return Path(inspect.getsourcefile(target)), inspect.getsourcelines(target)[1]
    except (TypeError, OSError):
        return fallback, 1


def docstring_lacks(name: str, value) -> Iterator[Finding]:
    """What the docstring of one public object, and those of its members, leave out."""
    if not (inspect.ismodule(value) or inspect.isclass(value) or callable(value)):
        value = type(value)  # a constant: its class says what it is
    path, line = _place(value, ROOT)
    doc = inspect.getdoc(value) or ""
    if inspect.ismodule(value):
        if not doc:
            yield Finding(path, 1, "docstring", f"ns.{name} has none")
        return
    lacks = _lacks_of_class if inspect.isclass(value) else _lacks_of_function
    if not doc or doc.startswith(
        f"{getattr(value, '__name__', '')}("
    ):  # the second is what dataclasses write themselves
        yield Finding(path, line, "docstring", f"ns.{name} has none")
    for lack in lacks(value, doc):
        yield Finding(path, line, "docstring", f"ns.{name} lacks {lack}")
    if vague := VAGUE.search(doc):
        yield Finding(path, line, "docstring", f"ns.{name} says {vague[0]!r} instead of what it means")
    if inspect.isclass(value):
        for member, item in members(value):
            text = inspect.getdoc(getattr(value, member)) or ""
            where = _place(item, path)
            if not text:
                yield Finding(*where, "docstring", f"ns.{name}.{member} has none")
            elif vague := VAGUE.search(text):
                yield Finding(*where, "docstring", f"ns.{name}.{member} says {vague[0]!r} instead of what it means")


def docstrings() -> Iterator[Finding]:
    """What the docstrings of all public names leave out, each object once."""
    seen = set()
    for name, value in public_objects().items():
        key = id(value if inspect.ismodule(value) or callable(value) else type(value))
        if key not in seen:
            seen.add(key)
            yield from docstring_lacks(name, value)


# ----------------------------------------------------------------------------------------------------------- the whole


def sources(*paths: Path) -> list[Path]:
    """The Python files in these files and folders."""
    return sorted({file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))})


BY_FILE = packed_arguments, hidden_state, untyped


def findings(*paths: Path) -> list[Finding]:
    """Every break of every rule in these files and folders."""
    files = sources(*paths)
    found = [finding for rule in BY_FILE for file in files for finding in rule(file)]
    found += [finding for finding in docstrings() if finding.path.resolve() in set(files)]
    return sorted(found, key=lambda finding: (RULES.index(finding.rule), finding))


def main(arguments: list[str]) -> int:
    """Print the findings, and how many there are of each rule; 1 where there are any."""
    sys.path.insert(0, str(ROOT))
    found = findings(*(Path(argument).resolve() for argument in arguments or [ROOT / "ntkspec"]))
    for finding in found:
        print(finding)
    print(", ".join(f"{rule}: {sum(finding.rule == rule for finding in found)}" for rule in RULES))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
