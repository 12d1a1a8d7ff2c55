"""The site: `python -m sphinx -W docs site` makes it from these pages and from the package itself (extra `docs`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

project = "tinygrad_nn"
html_title = "tinygrad_nn"
extensions = ["myst_parser", "reference", "shown", "pictures", "live"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
highlight_language = "none"  # of indented blocks, which are shown as they are
exclude_patterns = ["_ext", "_static"]
toc_object_entries = False  # a section begins with a list of its names
smartquotes = False  # what is typed is what is shown
nitpicky = True  # a name in a link that leads nowhere is a warning

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sphinx = html_show_copyright = False
html_show_search_summary = False  # which would be fetched, and a page from disk may not fetch
html_permalinks_icon = "#"
