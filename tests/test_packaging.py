"""What is published: one version, a changelog by version, a citation, and every file of the package."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import PurePosixPath

import pytest
import yaml

import installed
import ntkspec as ns
from ntkspec import cli

ROOT = installed.ROOT
SEMANTIC = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_semantic_and_has_one_source(capsys):
    assert SEMANTIC.fullmatch(ns.__version__)
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "ntkspec.__version__"}
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == ns.__version__


def test_the_changelog_has_a_section_for_each_version_the_newest_first():
    first, *versions = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert first == "Unreleased"
    assert versions[0] == ns.__version__
    assert all(SEMANTIC.fullmatch(version) for version in versions)
    assert versions == sorted(versions, key=lambda version: [*map(int, version.split("."))], reverse=True)


def test_the_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert {"message", "title", "authors"} <= set(citation)  # required by the format
    assert citation["version"] == ns.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["authors"] == PROJECT["project"]["authors"]
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert all(set(author) == {"family-names", "given-names"} for author in paper["authors"])
    assert paper["url"] == PROJECT["project"]["urls"]["Paper"]
    named = re.search(r'"(The\s+Surprising[^"]*)"\s+\(([^)]*)\)', (ROOT / "README.md").read_text(encoding="utf-8"))
    assert " ".join(named[1].split()) == paper["title"]
    assert all(author["family-names"] in named[2] for author in paper["authors"])
    assert str(paper["year"]) in named[2]


@pytest.mark.parametrize("name", ["readme", "license-files"])
def test_files_that_the_metadata_name_are_there(name):
    named = PROJECT["project"][name]
    assert all((ROOT / file).is_file() for file in ([named] if isinstance(named, str) else named))


def test_every_file_of_the_package_goes_into_the_wheel():
    """Python finds modules by itself; what else lies beside them has to be named."""
    rules = PROJECT["tool"]["setuptools"]["package-data"]
    for path in map(PurePosixPath, installed.source_files()):
        patterns = list(rules["*"]) if (ROOT / path.parent / "__init__.py").is_file() else []
        named = any(fnmatch(path.name, pattern) for pattern in patterns)
        for package, globs in rules.items():
            folder = package.replace(".", "/")
            named |= package != "*" and any(fnmatch(str(path), f"{folder}/{glob}") for glob in globs)
        assert path.suffix == ".py" or named, f"{path}: no pattern of package-data in pyproject.toml has it"
