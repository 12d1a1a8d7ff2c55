"""The rules of docs/architecture.md, held against the source: who imports whom, and what no file contains.

Each rule is a function from a parsed package to a list of complaints. It is run on the real package, where the list
must be empty, and on small faulty ones, where it must not be.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_PRINT = {"__main__", "cli", "testing"}


@dataclass(frozen=True)
class Import:
    """One import statement's target: a module of the package by its full name, or the top-level name of another; and
    whether it stands in a function, or below `if TYPE_CHECKING:`.
    """

    target: str
    line: int
    in_function: bool
    for_types: bool


@dataclass(frozen=True)
class Module:
    """One file: its dotted name without the package's (the package itself is `__init__`), and what it contains."""

    name: str
    is_package: bool
    source: str

    @property
    def part(self) -> str:
        return self.name.partition(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)


@dataclass(frozen=True)
class Row:
    """One row of the import table."""

    part: str
    imports: tuple[str, ...]
    outside: tuple[str, ...]


Package = dict[str, Module]


def load(folder: Path) -> Package:
    """Every file of a package, by dotted name."""
    modules: Package = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package and len(parts) > 1 else parts)
        modules[name] = Module(name, is_package, path.read_text(encoding="utf-8"))
    return modules


def table(text: str, head: str = "| part | may import | from outside |") -> dict[str, Row]:
    """An import table of a markdown page, by part, in the order of the page; one without a last column has no packages
    from outside.
    """
    rows: dict[str, Row] = {}
    for line in text.partition(head + "\n")[2].splitlines()[1:]:
        if not line.startswith("|"):
            break
        part, *cells = (cell.strip().replace("\\", "") for cell in line.strip("|").split("|"))
        assert part not in rows, f"two rows for {part}"
        imports, outside, *_ = (tuple(filter(None, cell.split(", "))) for cell in (*cells, ""))
        rows[part] = Row(part, imports, outside)
    return rows


def nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, bool, bool]]:
    """Every node, in file order, with whether it stands in a function, and in the body of `if TYPE_CHECKING:`."""
    stack: list[tuple[ast.AST, bool, bool]] = [(tree, False, False)]
    while stack:
        node, in_function, for_types = stack.pop()
        yield node, in_function, for_types
        in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        body = node.body if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") else []
        children = reversed(list(ast.iter_child_nodes(node)))
        stack += [(child, in_function, for_types or child in body) for child in children]


def imports(module: Module, package: Package) -> Iterator[Import]:
    """What a module imports; `from x import y` is an import of `x.y` where that is a module."""
    for node, *place in nodes(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(_own(alias.name) or alias.name.partition(".")[0], node.lineno, *place)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            for alias in node.names:
                if base is None:
                    yield Import(str(node.module).partition(".")[0], node.lineno, *place)
                else:
                    inner = alias.name if base == "__init__" else f"{base}.{alias.name}"
                    yield Import(f"tinygrad_nn.{inner if inner in package else base}", node.lineno, *place)


def _own(name: str) -> str | None:
    """The full name of a module of the package, `tinygrad_nn.__init__` for the package itself; None for any other."""
    head, _, rest = name.partition(".")
    return f"tinygrad_nn.{rest or '__init__'}" if head == "tinygrad_nn" else None


def _base(module: Module, node: ast.ImportFrom) -> str | None:
    """What stands between `from` and `import`, as the dotted name of a module of the package; None for any other."""
    if node.level == 0:
        own = _own(str(node.module))
        return own and own.partition(".")[2]
    here = [] if module.name == "__init__" else module.name.split(".")
    up = node.level - module.is_package
    parts = here[: len(here) - up] + (node.module.split(".") if node.module else [])
    return ".".join(parts) or "__init__"


def check_table(rows: dict[str, Row]) -> list[str]:
    """A row names only parts of the rows above it, so parts cannot form a cycle."""
    above: set[str] = set()
    found = []
    for row in rows.values():
        strangers = [name for name in row.imports if name not in above and name != "*"]
        found += [f"the row of {row.part} names {name}, no row above it" for name in strangers]
        above.add(row.part)
    return found


def check_imports(package: Package, rows: dict[str, Row]) -> list[str]:
    """A module imports what the row of its part allows."""
    found = []
    for module in package.values():
        row = rows.get(module.part)
        if row is None:
            found.append(f"{module.name}: no row for {module.part} in the import table of docs/architecture.md")
            continue
        for item in imports(module, package):
            head, _, rest = item.target.partition(".")
            target = rest.partition(".")[0]
            if head != "tinygrad_nn":
                allowed = item.for_types or head in row.outside or head in sys.stdlib_module_names
            else:
                allowed = target in (module.part, *row.imports) or "*" in row.imports
            if not allowed:
                found.append(f"{module.name}:{item.line}: {module.part} may not import {target or head}")
    return found


def check_floors(package: Package, rows: dict[str, Row], of: str) -> list[str]:
    """A module of a part imports, of that part, its own floor and those that the row of its floor names."""
    found, inside = [], f"tinygrad_nn.{of}."
    for module in package.values():
        if module.part != of or module.name == of:
            continue
        floor = module.name.split(".")[1]
        if floor not in rows:
            found.append(f"{module.name}: no row for {floor} in the table of {of} in docs/architecture.md")
            continue
        for item in imports(module, package):
            target = item.target.removeprefix(inside).partition(".")[0]
            if item.target.startswith(inside) and target not in (floor, *rows[floor].imports):
                found.append(f"{module.name}:{item.line}: {floor} may not import {target}")
    return found


def check_cycles(package: Package) -> list[str]:
    """No module imports itself over others, be it for annotations."""
    edges = {
        f"tinygrad_nn.{module.name}": [item.target for item in imports(module, package)] for module in package.values()
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return ["import cycle: " + " <- ".join(error.args[1])]
    return []


def check_function_imports(package: Package) -> list[str]:
    """No import statement stands in a function."""
    return [
        f"{module.name}:{item.line}: import of {item.target} inside a function"
        for module in package.values()
        for item in imports(module, package)
        if item.in_function
    ]


def check_statements(package: Package) -> list[str]:
    """No `assert` statement, and `print` only where text for a terminal is made."""
    found = []
    for module in package.values():
        for node, *_ in nodes(module.tree):
            if isinstance(node, ast.Assert):
                found.append(f"{module.name}:{node.lineno}: assert; raise one of the classes of errors.py")
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and module.part not in MAY_PRINT:
                found.append(f"{module.name}:{node.lineno}: print; return text or use logging")
    return found


def check_op_names(package: Package) -> list[str]:
    """What is to be known of an op is a field of it: only `ops` has lists of ops, and nobody asks for an op's name."""
    found = []
    for module in package.values():
        if module.part == "ops":
            continue
        for node, *_ in nodes(module.tree):
            sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            sides += [node.slice] if isinstance(node, ast.Subscript) else []
            sides += node.args if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".get") else []
            if any(ast.unparse(side).endswith("op.name") for side in sides):
                found.append(f"{module.name}:{getattr(node, 'lineno', 0)}: asks for the name of an op")
            if isinstance(node, ast.Attribute) and node.attr == "OPS" and isinstance(node.value, ast.Name):
                found.append(f"{module.name}:{node.lineno}: asks which file an op is in")
    return found


PACKAGE = load(ROOT / "tinygrad_nn")
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TABLE = table(PAGE)
FLOORS = table(PAGE, "| in compiler/ | may import |")
RULES = (check_cycles, check_function_imports, check_statements, check_op_names)


def test_table_is_found_and_ordered() -> None:
    assert {"errors", "graph", "ops", "tensor", "__init__"} <= TABLE.keys()
    assert check_table(TABLE) == []


def test_package_keeps_to_the_table() -> None:
    assert check_imports(PACKAGE, TABLE) == []


def test_the_compiler_has_floors() -> None:
    assert {"passes", "loopir", "lower", "schedule", "codegen", "driver", "run"} <= FLOORS.keys()
    assert check_table(FLOORS) == []
    assert check_floors(PACKAGE, FLOORS, "compiler") == []


@pytest.mark.parametrize("rule", RULES)
def test_package_keeps_the_rule(rule: Callable[[Package], list[str]]) -> None:
    assert rule(PACKAGE) == []


def test_import_loads_numpy_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import tinygrad_nn; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split()) == {"numpy", "tinygrad_nn"}


# The rules, shown able to fail.

ROWS = table(
    """
| part | may import | from outside |
|---|---|---|
| errors | | |
| graph | errors | numpy |
| ops | errors, graph | numpy |
| tensor | ops | numpy |
| \\_\\_init\\_\\_ | * | numpy |
| cli | * | |

| high | errors | |
"""
)


def package(**sources: str) -> Package:
    """A package made of `a__b="source"` for the module a.b; a name that others extend is a folder."""
    names = [name.replace("__", ".") for name in sources]
    return {
        name: Module(name, any(other.startswith(name + ".") for other in names), source)
        for name, source in zip(names, sources.values(), strict=True)
    } | {"__init__": Module("__init__", True, "")}


def test_table_reads_cells_and_ends_with_the_table() -> None:
    assert list(ROWS) == ["errors", "graph", "ops", "tensor", "__init__", "cli"]
    assert ROWS["ops"] == Row("ops", ("errors", "graph"), ("numpy",))
    assert ROWS["errors"] == Row("errors", (), ())
    assert table("no table here") == {}


def test_table_out_of_order_is_found() -> None:
    rows = {"graph": Row("graph", ("tensor",), ()), "tensor": Row("tensor", (), ())}
    assert check_table(rows) == ["the row of graph names tensor, no row above it"]


@pytest.mark.parametrize(
    "source",
    [
        "from .tensor import Tensor",
        "from . import tensor",
        "import tinygrad_nn.tensor",
        "import tinygrad_nn.tensor.core as c",
        "from tinygrad_nn.tensor import Tensor",
        "from tinygrad_nn import tensor",
        "from tinygrad_nn.tensor.core import bind",
        "if True:\n    from .tensor import Tensor",
        "try:\n    from .tensor import Tensor\nexcept ImportError:\n    pass",
        "class A:\n    from .tensor import Tensor",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from .tensor import Tensor",
        "if TYPE_CHECKING:\n    from .tensor import Tensor",
        "if typing.TYPE_CHECKING:\n    from .tensor import Tensor",
    ],
)
def test_import_upwards_is_found(source: str) -> None:
    faulty = package(graph=source, tensor="", tensor__core="")
    line = next(number for number, text in enumerate(source.splitlines(), 1) if "import " in text)
    assert check_imports(faulty, ROWS) == [f"graph:{line}: graph may not import tensor"]


def test_import_upwards_from_a_folder_is_found() -> None:
    source = "from ..tensor import Tensor\nfrom .. import tensor\nfrom .index import x"
    faulty = package(ops="", ops__rules=source, ops__index="", tensor="")
    assert check_imports(faulty, ROWS) == [f"ops.rules:{line}: ops may not import tensor" for line in (1, 2)]


def test_import_of_the_package_itself_is_found() -> None:
    faulty = package(graph="from . import Tensor\nimport tinygrad_nn\nfrom tinygrad_nn import ones")
    assert check_imports(faulty, ROWS) == [f"graph:{line}: graph may not import __init__" for line in (1, 2, 3)]


def test_import_from_outside_is_found() -> None:
    source = "import numpy.linalg\nimport polars as pl\nfrom scipy.special import erf\nimport os"
    assert check_imports(package(graph=source, errors="import numpy"), ROWS) == [
        "graph:2: graph may not import polars",
        "graph:3: graph may not import scipy",
        "errors:1: errors may not import numpy",
    ]


def test_part_without_row_is_found() -> None:
    complaint = "high.low: no row for high in the import table of docs/architecture.md"
    assert check_imports(package(high__low=""), ROWS) == [complaint]


def test_what_is_allowed_is_not_complained_of() -> None:
    sound = package(
        errors="from __future__ import annotations",
        graph="import numpy as np\nfrom .errors import GraphError\nif TYPE_CHECKING:\n    import polars",
        ops="from . import rules",
        ops__rules="from ..graph import Op\nfrom .. import errors\nimport math",
        tensor="import tinygrad_nn.ops.rules",
        cli="from . import tensor\nprint('text')",
    )
    assert check_imports(sound, ROWS) == []
    assert [complaint for rule in RULES for complaint in rule(sound)] == []


def test_cycle_is_found() -> None:
    last = "from tinygrad_nn.ops.a import y"
    (complaint,) = check_cycles(package(ops="", ops__a="from .b import x", ops__b="from . import c", ops__c=last))
    assert complaint.startswith("import cycle: tinygrad_nn.ops.")
    assert check_cycles(package(ops="", ops__a="from .b import x", ops__b="from . import c", ops__c="")) == []


def test_cycle_of_annotations_is_found() -> None:
    """Of two files that only name each other's types, each has to be read to understand the other."""
    for_types = "if TYPE_CHECKING:\n    from .a import x"
    assert check_cycles(package(ops="", ops__a="from .b import x", ops__b=for_types)) != []
    assert check_cycles(package(ops="", ops__a="", ops__b=for_types)) == []


def test_import_up_the_floors_is_found() -> None:
    rows = table("| in ops | may import |\n|---|---|\n| a | |\n| b | a |\n| c | a, b |\n", "| in ops | may import |")
    sources = {"ops": "from .c.d import x", "ops__c": "", "ops__b": "from .a import x\nfrom ..graph import Op"}
    sound = package(ops__c__d="from ..b import x\nfrom ..c import y\nfrom .. import a", ops__a="", **sources)
    assert check_floors(sound, rows, "ops") == []
    faulty = package(ops__a="from .c.d import x\nfrom . import b", ops__c__d="", **sources)
    assert check_floors(faulty, rows, "ops") == ["ops.a:1: a may not import c", "ops.a:2: a may not import b"]
    (complaint,) = check_floors(package(ops="", ops__e=""), rows, "ops")
    assert complaint == "ops.e: no row for e in the table of ops in docs/architecture.md"


def test_cycle_through_the_package_is_found() -> None:
    public = {"__init__": Module("__init__", True, "from .graph import x")}
    assert check_cycles(package(graph="from . import ones") | public) != []
    assert check_cycles(package(graph="") | public) == []


@pytest.mark.parametrize("head", ["def f():", "async def f():", "class A:\n  def f(self):"])
def test_import_in_a_function_is_found(head: str) -> None:
    faulty = package(graph=f"{head}\n    if x:\n        import numpy", errors="")
    assert check_function_imports(faulty) == [f"graph:{head.count(chr(10)) + 3}: import of numpy inside a function"]


def test_assert_and_print_are_found() -> None:
    faulty = package(graph="assert x\ndef f():\n    print(x)", cli="print(x)\nassert x")
    assert check_statements(faulty) == [
        "graph:1: assert; raise one of the classes of errors.py",
        "graph:3: print; return text or use logging",
        "cli:2: assert; raise one of the classes of errors.py",
    ]


@pytest.mark.parametrize(
    "line",
    ["x = node.op.name == 'cat'", "x = op.name in NAMES", "x = NAMES[node.op.name]", "x = NAMES.get(op.name)"],
)
def test_a_question_for_the_name_of_an_op_is_found(line: str) -> None:
    assert check_op_names(package(compiler=line, ops=line)) == ["compiler:1: asks for the name of an op"]


def test_a_list_of_the_ops_of_a_file_is_found() -> None:
    source = "from .ops import elementwise\ncheap = node.op in elementwise.OPS"
    assert check_op_names(package(adjoint=source)) == ["adjoint:2: asks which file an op is in"]
    assert check_op_names(package(adjoint="x = node.op is MUL\nf(node.op.name)")) == []


def test_the_page_says_where_to_change_what_by_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## Where do I change what\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    named = [name for row in rows for name in re.findall(r"`([\w/]+(?:\.\w+|/))`", row)]
    assert len(rows) > 10
    assert len(named) > 2 * len(rows)
    for name in named:
        root = ROOT if name.startswith(("docs/", "tests/")) else ROOT / "tinygrad_nn"
        assert (root / name).exists(), name
    for file, word in re.findall(r"`([\w/]+\.py)` \(`(\w+)(?:\.\w+)?`\)", section):
        assert re.search(rf"^(?:class |def )?{word}\b", (ROOT / "tinygrad_nn" / file).read_text(), re.MULTILINE), word
