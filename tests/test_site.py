"""The site says all there is and nothing else: public names, links, pages. Nothing here needs Sphinx."""

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import house
import ntkspec as ns

DOCS = house.ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
PUBLIC = house.public_objects()
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
FENCE = re.compile(r"^(```+).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_public_name_has_a_page():
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    blocks = re.findall(r":toctree: reference\n +:nosignatures:\n\n(.*?)```", text, re.DOTALL)
    listed = [name for block in blocks for name in block.split()]
    assert len(listed) == len(set(listed))
    assert set(listed) <= PUBLIC.keys()
    shown = {id(PUBLIC[name]) for name in listed}
    missing = [name for name, value in PUBLIC.items() if not inspect.ismodule(value) and id(value) not in shown]
    assert not missing


def test_every_page_stands_in_the_contents_once():
    trees = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
    entries = [line for tree in trees for line in tree.split("\n") if line and not line.startswith(":")]
    entries = [re.sub(r".*<(.*)>", r"\1", entry) for entry in entries]
    assert sorted(entries) == sorted([*(page.stem for page in PAGES if page.stem != "index"), "gallery/index"])


@pytest.mark.parametrize("page", [*PAGES, house.ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(page))):
        name, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = page.parent / name if name else page
        if name.startswith("gallery/"):
            example = DOCS / "examples" / f"{Path(name).name}.py"
            target = example if Path(name).name != "index" else DOCS / "examples" / "GALLERY_HEADER.rst"
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", [*PAGES, house.ROOT / "README.md"], ids=lambda page: page.name)
def test_names_of_the_package_exist(page):
    unknown = []
    for name in re.findall(r"\bns((?:\.[A-Za-z_]\w*)+)", page.read_text(encoding="utf-8")):
        value = ns
        for part in name[1:].split("."):
            if inspect.ismodule(value) and not hasattr(value, part):
                unknown.append(f"ns{name}")
            value = getattr(value, part, None)
    assert not unknown


def test_every_file_that_refuses_stands_on_the_page_of_refusals():
    text, package = (DOCS / "refusals.md").read_text(encoding="utf-8"), house.ROOT / "ntkspec"
    named = [place for names in re.findall(r"\{every-refusal\} (.*)", text) for place in names.split()]
    shown = {place for name in named for place in package.glob(name)}
    refusing = [
        file for file in package.rglob("*.py") if re.search(r"(Error|Refused|Unfitting)\(\s*f?\"", file.read_text())
    ]
    assert len(refusing) > 100
    assert not [file for file in refusing if not shown & {file, *file.parents}]


def test_extras_are_listed_and_exist():
    extras = tomllib.loads((house.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = re.findall(r"^\| (`\w.*?) \|", (DOCS / "install.md").read_text(), re.MULTILINE)
    assert {name.strip("`") for row in rows for name in row.split(", ")} == extras.keys()
    sources = [*PAGES, house.ROOT / "README.md", *(house.ROOT / "ntkspec").rglob("*.py")]
    named = {name for file in sources for name in re.findall(r"ntkspec\[(\w+)\]", file.read_text(encoding="utf-8"))}
    assert {"torch", "jax", "parquet", "distributed", "cuda12"} <= named <= extras.keys()


def test_who_knows_neural_tangents_finds_twenty_functions():
    section = prose(DOCS / "coming_from.md").split("\n## ")[1]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) >= 20
    assert all(len(row.replace("\\|", "").split("|")) == 5 for row in rows)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_a_title_and_end_in_a_figure(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    title, line = (ast.get_docstring(tree) or "").splitlines()[:2]
    assert len(title) == len(line)
    assert set(line) == {"="}
    assert "plt.show()" in path.read_text(encoding="utf-8")
