"""Tables for people: the same rows as text for a terminal and as HTML for a notebook. The first row is the header."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ..errors import printable

Rows = Sequence[Sequence[str]]


def text_table(rows: Rows, left: Sequence[int] = (0,)) -> str:
    """Columns under one another, those of `left` flush left and the others flush right, with a rule below the header.

    >>> print(text_table([("name", "size"), ("weight", "12"), ("bias", "3")]))
    name    size
    ------------
    weight    12
    bias       3
    """
    rows = [[printable(cell, keep="") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if k in left else cell.rjust(width) for k, (cell, width) in line).rstrip()
        for line in (enumerate(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def html_table(rows: Rows) -> str:
    """The same in HTML; every cell is text and escaped.

    >>> html_table([("name", "size"), ("w < 1", "12")])
    '<table><tr><th>name</th><th>size</th></tr><tr><td>w &lt; 1</td><td>12</td></tr></table>'
    """
    lines = [
        "".join(f"<{tag}>{html.escape(printable(cell, keep=''))}</{tag}>" for cell in row)
        for tag, row in (("td" if k else "th", row) for k, row in enumerate(rows))
    ]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def html_text(text: str) -> str:
    """A paragraph, with the line breaks of the text.

    >>> html_text("a < b")
    '<p style="white-space: pre-wrap">a &lt; b</p>'
    """
    return f'<p style="white-space: pre-wrap">{html.escape(printable(text))}</p>'
