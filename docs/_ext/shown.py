"""What the project shows of itself while the site is built: `{shown}` runs Python and shows what comes of it, so that
no page can say what is no longer true. An error in a block is an error of the build.

The blocks of a page share their names. What a block shows is what it prints, or the value of its last line: a text, a
drawing of `tg.draw` as SVG, a page of `tg.report` in a frame.
"""

from __future__ import annotations

import ast
import contextlib
import html
import io
import re
from pathlib import Path
from typing import Any, ClassVar, Final

from docutils import nodes
from docutils.parsers.rst import directives
from reference import code
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tinygrad_nn.errors import MissingExtra
from tinygrad_nn.page import Report
from tinygrad_nn.viz.draw import Drawing

WIDE: Final = 560  # points from which a drawing is scrolled and not made smaller
NAMES: Final = "shown names"  # those of the page that is read


class Shown(SphinxDirective):
    """`{shown}` with Python. `:hidden:` leaves the code out; `:language:` is that of what is printed; `:title:` says
    what a picture shows; `:height:` is that of a frame, `:at:` the part of a report that it begins with.
    """

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "hidden": directives.flag,
        "language": directives.unchanged,
        "title": directives.unchanged,
        "height": directives.nonnegative_int,
        "at": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """The code and its result."""
        self.env.note_reread()  # whatever was changed in the package
        text = "\n".join(self.content)
        known: Any = self.env.current_document.setdefault(NAMES, {"__name__": "__main__"})
        printed, value = run(text, known)
        made: list[nodes.Node] = [] if "hidden" in self.options else [code(text, "python")]
        if isinstance(value, Drawing):
            made.append(self._drawing(value))
        elif isinstance(value, Report):
            title, height = self.options.get("title", "A report"), self.options.get("height", 720)
            made.append(frame(self, value, title, height, self.options.get("at", "")))
        elif value is not None:
            printed += str(value)
        if printed:
            block = code(printed.rstrip(), self.options.get("language", "none"))
            block["classes"] += ["printed"]
            made.append(block)
        return made

    def _drawing(self, drawing: Drawing) -> nodes.Node:
        """Its SVG, or its text where Graphviz is missing."""
        try:
            svg = drawing.picture("svg").decode()
        except MissingExtra:
            return code(str(drawing), "none")
        number = self.env.new_serialno("drawing")
        svg = re.sub(r"^.*?(?=<svg)", "", svg, flags=re.DOTALL)
        svg = re.sub(r'\bid="', f'id="{self.env.docname.replace("/", "-")}-{number}-', svg)
        label = html.escape(self.options.get("title", "A drawing of the graph"))
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        wide = int(re.search(r'width="(\d+)pt"', svg)[1]) > WIDE  # type: ignore[index]
        kind = "drawing wide" if wide else "drawing"
        return nodes.raw(
            "", f'<div class="{kind}" tabindex="0" role="group" aria-label="{label}">{svg}</div>', format="html"
        )


def frame(directive: SphinxDirective, report: Report, title: str, height: int, at: str = "") -> nodes.Node:
    """The page of a report beside those of the site, in a frame that reaches nothing of it; `at` one of its parts."""
    env = directive.env
    name = f"{env.docname.replace('/', '-')}-{env.new_serialno('frame')}.html"
    folder = Path(env.app.outdir) / "live"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(report.html, encoding="utf-8")
    where = "../" * env.docname.count("/") + f"live/{name}" + (f"#{at}" if at else "")
    said = html.escape(title)
    inner = (
        f'<iframe class="live" sandbox="allow-scripts" loading="lazy" title="{said}" src="{where}" height="{height}">'
    )
    own = f'<p class="own"><a href="{where}">{said}, on a page of its own</a></p>'
    return nodes.raw("", f"{inner}</iframe>{own}", format="html")


def run(text: str, known: dict[str, Any]) -> tuple[str, Any]:
    """What a text of Python prints, and the value of its last line if that is an expression."""
    tree = ast.parse(text)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "<page>", "exec"), known)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<page>", "eval"), known)
    return printed.getvalue(), value


def setup(app: Sphinx) -> dict[str, bool]:
    """For Sphinx."""
    app.add_directive("shown", Shown)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
