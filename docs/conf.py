"""Sphinx configuration; settings and commands are documented from themselves."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "dachub"
author = "the dachub developers"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "settings_reference",
    "command_reference",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated"]  # included where it belongs
html_theme = "furo"
html_title = "dachub"
html_static_path = ["_static"]
