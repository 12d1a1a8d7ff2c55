"""The directives of the reference, `{names}` and `{members}`: entries for public names out of their docstrings.

A docstring is plain text: paragraphs, lists with `- `, `code` between backticks, indented blocks, examples behind
`>>> `. Nothing else is markup, so formulas stand as they are written. The first paragraph says what a name is for.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import names
from docutils import nodes
from docutils.parsers.rst import directives
from raised import raised
from shapes import shapes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

import tinygrad_nn as tg

ERROR: Final = re.compile(rf"\b({'|'.join(name.name for name in names.public('errors'))})\b")
CODE: Final = re.compile(r"``?([^`]+)``?")
IMPORT: Final = ">>> import tinygrad_nn as tg"  # said once, at the top of a page
ITEM: Final = re.compile(r"- |\d+\. ")


# ---- docstrings ---------------------------------------------------------------------------------------------------


def body(text: str) -> Iterator[nodes.Node]:
    """The blocks of a docstring."""
    for lines in _blocks(text.splitlines()):
        if lines[0].startswith(">>>"):
            yield code("\n".join(line for line in lines if line != IMPORT), "pycon")
        elif lines[0].startswith("    "):
            yield code(inspect.cleandoc("\n" + "\n".join(lines)), "none")
        elif ITEM.match(lines[0]):
            yield _list(lines)
        else:
            yield nodes.paragraph("", "", *inline(" ".join(lines)))


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Lines that belong together: up to an empty one, and an example up to the next empty line."""
    block: list[str] = []
    for line in [*lines, ""]:
        begins = line.startswith(">>>") and not any(one.startswith(">>>") for one in block)
        listed = (
            ITEM.match(line) and not (block and block[0].startswith(">>>")) and not (block and ITEM.match(block[0]))
        )
        if block and (not line.strip() or begins or listed):
            yield block
            block = []
        if line.strip():
            block.append(line)


def _list(lines: list[str]) -> nodes.bullet_list:
    items: list[list[str]] = []
    for line in lines:
        if ITEM.match(line):
            items.append([ITEM.sub("", line, count=1)])
        else:
            items[-1].append(line.strip())
    found = (nodes.list_item("", nodes.paragraph("", "", *inline(" ".join(item)))) for item in items)
    return nodes.bullet_list("", *found)


def inline(text: str) -> Iterator[nodes.Node]:
    """A text with its `code`, and with links to the errors that it names."""
    for k, part in enumerate(CODE.split(text)):
        if k % 2:
            yield nodes.literal(part, part)
            continue
        for j, piece in enumerate(ERROR.split(part)):
            if piece:
                yield nodes.literal(piece, piece) if j % 2 else nodes.Text(piece)


def code(text: str, language: str) -> nodes.literal_block:
    """A block of code."""
    return nodes.literal_block(text, text, language=language)


# ---- entries ------------------------------------------------------------------------------------------------------


def entry(kind: str, prefix: str, name: str, full: str, value: Any, content: list[nodes.Node]) -> addnodes.desc:
    """What Sphinx makes of a function or a class, with its signature, as the target of links."""
    signature = addnodes.desc_signature("", "", ids=[full], fullname=full, module="")
    if kind in ("class", "property"):
        signature += addnodes.desc_annotation(kind, "", nodes.Text(kind), addnodes.desc_sig_space())
    signature += addnodes.desc_addname(prefix, prefix)
    signature += addnodes.desc_name(name, name)
    if kind != "property" and not (inspect.isclass(value) and issubclass(value, Exception)):
        signature += _parameters(value, bound=kind == "method")
    described = addnodes.desc("", signature, addnodes.desc_content("", *content), domain="py", objtype=kind)
    described["classes"] += ["py", kind]
    return described


def _parameters(value: Any, bound: bool) -> addnodes.desc_parameterlist:
    """The parameters without their annotations, which are long where they say much: the text says what they are."""
    listed = addnodes.desc_parameterlist()
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return listed
    words: list[str] = []
    for parameter in parameters[1:] if bound and parameters and parameters[0].name == "self" else parameters:
        if parameter.name[0] == "_":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not any(word[0] == "*" for word in words):
            words.append("*")
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        star = "**" if parameter.kind is parameter.VAR_KEYWORD else star
        named = "input" if parameter.name == "self" else parameter.name
        default = "" if parameter.default is parameter.empty else "=" + _shown(parameter.default)
        words.append(star + named + default)
    listed.extend(addnodes.desc_parameter(word, word, noemph=True) for word in words)
    return listed


def _shown(default: Any) -> str:
    text = getattr(default, "__name__", None) if inspect.isroutine(default) or inspect.isclass(default) else None
    text = text or (str(default) if isinstance(default, tg.Tensor | float) else repr(default))
    return text if len(text) < 40 and " at 0x" not in text else "..."


def of(name: names.Name) -> tuple[addnodes.desc, list[tuple[str, str]]]:
    """The entry of a public name with those of its members, and the targets among them: (full name, kind)."""
    targets = [(name.full, "class" if inspect.isclass(name.value) else "function")]
    content = [*body(name.doc), *_fields(name)]
    if inspect.isclass(name.value) and name.value is not tg.Tensor:
        for inner, value in names.members(name.value).items():
            kind = "property" if isinstance(value, property) else "method"
            plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            full = f"{name.full}.{inner}"
            content.append(entry(kind, "", inner, full, plain, list(body(inspect.getdoc(plain) or ""))))
            targets.append((full, kind))
    return entry(targets[0][1], name.prefix, name.name, name.full, name.value, content), targets


def _fields(name: names.Name) -> Iterator[nodes.field_list]:
    """The shapes of its example, the errors that its code raises and its docstring does not speak of, its file."""
    fields: list[nodes.field] = []
    if failure(name):
        also = [cls.__name__ for cls in name.value.__mro__ if cls.__module__ == "builtins"]
        words = ", ".join(also[: also.index("Exception")])
        if words:
            fields.append(_field("Also a", nodes.paragraph("", "", nodes.Text(words))))
    if seen := shapes(name):
        fields.append(_field("Shapes", nodes.paragraph("", "", nodes.literal(seen, seen, nolink=True))))
    rows = []
    for error, texts in sorted(errors_of(name).items()):
        said = [nodes.Text(" expected " + "; ".join(texts))] if texts else []
        rows.append(nodes.list_item("", nodes.paragraph("", "", nodes.literal(error, error), *said)))
    if rows:
        fields.append(_field("Errors", nodes.bullet_list("", *rows)))
    path = inspect.getfile(inspect.unwrap(name.value)).rpartition(f"/{names.PACKAGE}/")[2]
    if path:
        fields.append(_field("Source", nodes.paragraph("", "", nodes.literal(path, path, nolink=True))))
    if fields:
        yield nodes.field_list("", *fields)


def failure(name: names.Name) -> bool:
    """Whether it is a class of errors."""
    return inspect.isclass(name.value) and issubclass(name.value, Exception)


def _field(title: str, content: nodes.Node) -> nodes.field:
    return nodes.field("", nodes.field_name("", title), nodes.field_body("", content))


def errors_of(name: names.Name) -> dict[str, list[str]]:
    """What its code raises and its docstring does not speak of."""
    if failure(name):
        return {}
    return {error: texts for error, texts in raised(name.value).items() if error not in name.doc}


class Names(SphinxDirective):
    """`{names} nn` with `:from: nn.linear nn.rnn`: the names of a door that these modules define, or all of them;
    `:only:` and `:except:` choose among these. `:rest:` are those that no other block of the reference asks for.
    """

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = dict.fromkeys(("from", "only", "except", "rest"), directives.unchanged)

    def run(self) -> list[nodes.Node]:
        """One entry for each, by name; what is another name of one before says so."""
        door = "" if self.arguments[0] == "tg" else self.arguments[0]
        homes, only, others = (self.options.get(option, "").split() for option in ("from", "only", "except"))
        chosen = [
            name
            for name in names.public(door)
            if (not homes or name.home in homes) and (not only or name.name in only) and name.name not in others
        ]
        if "rest" in self.options:
            taken = _asked(Path(self.env.srcdir) / "reference", self.arguments[0])
            chosen = [name for name in chosen if not taken & {name.home, name.name}]
        elif not chosen:
            raise self.error(f"no public name of {door or 'tg'} comes from {homes}")
        for name in chosen:
            self.env.note_dependency(inspect.getfile(inspect.unwrap(name.value)))
        first: dict[int, names.Name] = {}
        made: list[nodes.Node] = []
        for name in sorted(chosen, key=lambda one: (one.name.lower(), one.name)):
            same = first.setdefault(id(name.value), name)
            if same is name:
                described, targets = of(name)
            else:
                text = [nodes.Text("The same as "), nodes.literal(same.prefix + same.name, same.prefix + same.name)]
                kind = "class" if inspect.isclass(name.value) else "function"
                described = entry(kind, name.prefix, name.name, name.full, name.value, [nodes.paragraph("", "", *text)])
                targets = [(name.full, kind)]
            made.append(self._known(described, targets))
        return [_overview(chosen), *made] if len(chosen) > 3 else made

    def _known(self, described: addnodes.desc, targets: list[tuple[str, str]]) -> addnodes.desc:
        for full, kind in targets:
            self.env.domains.python_domain.note_object(full, kind, full, location=described)
        return described


def _asked(folder: Path, door: str) -> set[str]:
    """The modules and names that the blocks for a door choose."""
    found = (
        re.findall(rf"\{{names\}} {door}\n:(?:from|only): (.*)", path.read_text("utf-8"))
        for path in folder.glob("*.md")
    )
    return {word for lines in found for line in lines for word in line.split()}


def _overview(chosen: list[names.Name]) -> nodes.paragraph:
    """All names of a section in a few lines, as links."""
    listed = nodes.paragraph("", classes=["overview"])
    for name in sorted(chosen, key=lambda one: (one.name.lower(), one.name)):
        literal = nodes.literal(name.name, name.name)
        listed += [nodes.reference("", "", literal, internal=True, refid=name.full), nodes.Text(" ")]
    return listed


class Members(SphinxDirective):
    """`{members}`: the methods of Tensor, in a table; a method that is a function of `tg` too is described there."""

    def run(self) -> list[nodes.Node]:
        """One row for each method, with the first line of its documentation."""
        table = nodes.table("", classes=["methods"])
        group = nodes.tgroup("", cols=2)
        group += [nodes.colspec("", colwidth=25), nodes.colspec("", colwidth=75)]
        rows = [_row(self, name) for name in sorted(dir(tg.Tensor)) if name[0] != "_" and name != "node"]
        group += nodes.tbody("", *rows)
        table += group
        return [table]


def _row(directive: SphinxDirective, name: str) -> nodes.row:
    value = inspect.getattr_static(tg.Tensor, name)
    plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    full = f"tinygrad_nn.Tensor.{name}"
    said = (
        (inspect.getdoc(plain) or "").partition("\n")[0] if callable(plain) else "Whether it is; always the same here."
    )
    function = f"tinygrad_nn.{name}"
    shown: nodes.Node = nodes.literal(name, name, nolink=True)
    if function in names.everything():
        shown = addnodes.pending_xref("", shown, refdomain="py", reftype="obj", reftarget=function, refexplicit=True)
    target = nodes.paragraph("", "", shown, ids=[full])
    directive.env.domains.python_domain.note_object(full, "method", full, location=target)
    return nodes.row("", nodes.entry("", target), nodes.entry("", nodes.paragraph("", "", *inline(said))))


# ---- links --------------------------------------------------------------------------------------------------------


class Mentions(SphinxTransform):
    """`tg.fit` anywhere in a text is a link to its entry."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Wrap each piece of code that is a public name, called or not."""
        for literal in list(self.document.findall(nodes.literal)):
            full = names.mentioned().get(literal.astext().partition("(")[0])
            inside = isinstance(literal.parent, nodes.reference | addnodes.pending_xref | nodes.title)
            if full is None or inside or literal.get("nolink"):
                continue
            link = addnodes.pending_xref("", refdomain="py", reftype="obj", reftarget=full, refexplicit=True)
            literal.replace_self(link)
            link += literal


def setup(app: Sphinx) -> dict[str, bool]:
    """For Sphinx."""
    app.add_directive("names", Names)
    app.add_directive("members", Members)
    app.add_transform(Mentions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
