"""How the site is built: Sphinx reads Markdown (MyST), and docstrings for the public API.

Sphinx and not MkDocs, because it checks every internal reference while it builds, reads the reST of our docstrings
as it is, and its theme Furo loads nothing from elsewhere.
"""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from dtls_emu import __version__  # noqa: E402
from generate import PAGES  # noqa: E402 - beside this file


project = "dtls_emu"
author = "the authors of dtls_emu"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["generate", "examples"]
smartquotes = False  # `--option` is no dash
default_role = "literal"  # docstrings write `name` where reST has ``name``

# Warnings are errors (Makefile). A link that leads nowhere is one. What a docstring refers to is on these pages in
# part only; the rest stays code instead of a link.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r".*")]

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Fields", "params_style"), ("Class fields", "params_style")]
napoleon_use_rtype = False
add_module_names = False

html_theme = "furo"
html_title = f"dtls_emu {release}"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "monokai"


class Generated(SphinxDirective):
    """``{generated} NAME``: Markdown that :mod:`generate` makes from the code."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes of that Markdown, sections included; made anew by each build."""
        self.env.note_reread()
        return self.parse_text_to_nodes(PAGES[self.arguments[0]](), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what is above; Sphinx calls this."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
