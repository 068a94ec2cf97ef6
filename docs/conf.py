"""The documentation site: `make docs` builds it, without the network, into docs/build/html."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs/extensions")]

project = "burgers_adjoint"
author = "The burgers_adjoint developers"
copyright = f"2026, {author}"
release = version_of("burgers_adjoint")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "executed",
    "generated",
    "mathml",
]
exclude_patterns = ["build", "extensions"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# What stands in single backticks in a docstring is code, and a link where it names an object.
default_role = "py:obj"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_use_ivar = True

html_theme = "furo"
html_title = project
html_math_renderer = "mathml"
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["site.css"]
