"""The docs site: ``make docs`` builds it into ``docs/_build``, and needs no network."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import asset_provenance
from asset_provenance import cli
from asset_provenance.testing import __main__ as loopback

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent
# What stands elsewhere in the repository, where people look for it, and is on the site as well.
PAGES = {
    "overview": "README.md",
    "how-to/template-capsule": "examples/template_capsule/README.md",
    "development/changes": "CHANGELOG.md",
    "development/contributing": "CONTRIBUTING.md",
}

project = "asset-provenance"
author = "The asset-provenance developers"
release = asset_provenance.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]

autodoc_typehints = "none"  # the numpydoc sections say it in words; signatures would fill pages
autodoc_type_aliases = {"JsonValue": "JsonValue"}
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_param = False  # parameters that are described together stay together
napoleon_use_rtype = False

# Every reference to a name of ours must lead somewhere; other projects' would need a network.
nitpicky = True
_OURS = "|".join(map(re.escape, asset_provenance.__all__))
nitpick_ignore_regex = [("py:.*", rf"(?!(?:asset_provenance\b.*|{_OURS})$).*")]

html_theme = "furo"
html_title = f"asset-provenance {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "default"


class CommandLine(SphinxDirective):
    """What each command says of itself with ``--help``, on a terminal of 80 columns."""

    def run(self) -> list[nodes.Node]:
        """Give a section for each command."""
        names = [command.name for command in cli.app.registered_commands]
        found = {"asset-provenance": told(cli.main, "--help")}
        found |= {f"asset-provenance {name}": told(cli.main, name, "--help") for name in names}
        found["python -m asset_provenance.testing"] = told(loopback.main, "--help")
        text = "\n".join(f"## {name}\n\n```text\n{said}```\n" for name, said in found.items())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def told(main: Callable[[Sequence[str]], int], *arguments: str) -> str:
    """Give what a command prints."""
    os.environ["COLUMNS"] = "80"
    with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
        main(arguments)
    return printed.getvalue()


def bring_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let files of the repository's be pages, links to them lead to those, and pictures be dark."""
    page = DOCS / docname
    path = page
    if docname in PAGES:
        path = REPOSITORY / PAGES[docname]
        source[0] = path.read_text(encoding="utf-8")
        app.env.note_dependency(str(path))
    pages = {REPOSITORY / file: DOCS / f"{name}.md" for name, file in PAGES.items()}

    def moved(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(path.parent / link[1]))
        return f"]({os.path.relpath(pages.get(target, target), page.parent)}"

    source[0] = re.sub(r"\]\((?!\w+:|#)([^)#\s]+)", moved, source[0])

    def for_both(picture: re.Match[str]) -> str:
        dark = f"{picture[2]}-dark.png"
        if not (page.parent / dark).exists():
            return picture[0]
        return f"{picture[0]}{{.only-light}}![{picture[1]}]({dark}){{.only-dark}}"

    source[0] = re.sub(r"!\[([^\]]*)\]\(([^)\s]+)\.png\)", for_both, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Add what this site has of its own."""
    app.add_directive("commands", CommandLine)
    app.connect("source-read", bring_in)
    return {"parallel_read_safe": True}
