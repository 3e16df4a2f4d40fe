"""How the site is built: `sphinx-build -W docs site` makes it out of these pages, the docstrings and the examples."""

import sys
from pathlib import Path

from numpydoc.xref import DEFAULT_LINKS

import ntkspec as ns

sys.modules["ntkspec.bounds"] = ns.bounds  # public under this name, written in ntkspec.theory
DEFAULT_LINKS.clear()  # types of other packages stay plain text, so that no inventory has to be fetched
sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "ntkspec"
author = "The ntkspec developers"
copyright = author
release = version = ns.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "command_help",
    "every_refusal",
    "record_fields",
    "recorded_times",
    "recorded_growth",
]
exclude_patterns = ["examples", "gallery/*.ipynb", "gallery/*.py"]
templates_path = ["templates"]
nitpicky = True
smartquotes = False  # messages and options stand as they are written: --label, 'cpu'

# Pages: the same files are read on GitHub and run by pytest.
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
trim_doctest_flags = True

# Reference: a page for each public name, whose sections are numpydoc's.
autosummary_generate = True
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {name: f"ntkspec.{name}" for name in ns.__all__ if name[0].isupper()}

# Examples: each runs while the site is built, and ends in a figure.
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "doc_module": ("ntkspec",),
    "backreferences_dir": "gallery/uses",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 600,
    "abort_on_example_error": True,
}

html_theme = "furo"
html_title = "ntkspec"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = ">>> "
copybutton_only_copy_prompt_lines = True
