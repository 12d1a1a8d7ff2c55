"""Every block of code of every page: Python runs from top to end, shell commands name what is there, JavaScript parses.

A page may take names for granted, which PREPARED makes. Pages that have tests of their own are in ELSEWHERE.
"""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = {  # pages, and who runs what they show
    "adding_an_op.md": "tests/test_new_op.py",
    **dict.fromkeys(
        ("forecast.md", "fraud.md", "iris.md", "seeds.md", "titanic.md"), "tests/examples/test_tutorials.py"
    ),
}
BASIC = """
import numpy as np
import tinygrad_nn as tg
from tinygrad_nn import callbacks, data, metrics, nn, optim, functional as F
tg.manual_seed(0)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(256, 4)).astype(np.float32), rng.integers(0, 3, 256)
"""
MODEL = """
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
opt = optim.SGD(model.parameters(), lr=0.01)
"""
STEP = """
@tg.jit
def step(x, y):
    opt.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    opt.step()
    return loss
"""
PREPARED = {  # what a page takes for granted
    "README.md": BASIC
    + """
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
X = x
""",
    "compile.md": BASIC
    + MODEL
    + """
sequences = [rng.normal(size=(n, 4)).astype(np.float32) for n in [3, 5] * 20]
targets = [rng.random((len(one), 3)) for one in sequences]
""",
    "drawings.md": BASIC
    + MODEL
    + STEP
    + """
model, step = nn.Linear(4, 3), step
x, y = tg.tensor(x[:5]), tg.tensor(y[:5])
loss = F.cross_entropy(model(x), y)
gradient = tg.ones(2) * 2
""",
    "gradcheck.md": BASIC
    + """
import hypothesis
few = hypothesis.settings(max_examples=3, database=None)
def given(*strategies):
    return lambda test: few(hypothesis.given(*strategies)(test))
from tinygrad_nn.testing import strategies
class MyModel(nn.Linear):
    def __init__(self):
        super().__init__(3, 8)
my_layer = tg.tanh
""",
    "gradient_coverage.md": BASIC,
    "resume.md": BASIC
    + MODEL
    + STEP
    + """
scaler, names, rows = data.StandardScaler.fit(x), ["a", "b", "c", "d"], x[:2]
def scores():
    return {"test_loss": F.cross_entropy(model(tg.tensor(x)), tg.tensor(y))}
""",
}
AWAY = 'Client("scheduler:8786")'  # a block that needs other machines is compiled and not run
COMMANDS = (
    "python",
    "python3",
    ".venv/bin/python",
    "pip",
    "pytest",
    "gcc",
    ".ci/run",
    "ruff",
    "OPENBLAS_NUM_THREADS=1",
)
FOREIGN = ("pip", "venv", "pytest", "sphinx")  # modules whose options are not ours


@dataclass(frozen=True)
class Block:
    """A block of code, and where it begins."""

    line: int
    language: str
    code: str


def blocks(path: Path) -> list[Block]:
    """Fenced blocks, and indented ones by what they begin with."""
    tokens = MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8"))
    return [
        Block(token.map[0] + 1, token.info.strip() if token.type == "fence" else _guessed(token.content), token.content)
        for token in tokens
        if token.type in ("fence", "code_block") and token.map is not None
    ]


def _guessed(code: str) -> str:
    first = code.split(maxsplit=1)[0]
    if first in COMMANDS:
        return "sh"
    return "js" if code.startswith("import {") else "python" if first in (">>>", "import", "from") else "text"


def python(path: Path) -> list[Block]:
    return [block for block in blocks(path) if block.language in ("python", "pycon") or ">>> " in block.code]


RUN = [path for path in PAGES if path.name not in ELSEWHERE and python(path)]
SHELL = [path for path in PAGES if any(block.language == "sh" for block in blocks(path))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_python_runs_from_top_to_end(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gradcheck: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "model", type(sys)("model"))  # pages with several files call one of them so
    known: dict[str, Any] = {"__name__": "__main__"}
    exec(PREPARED.get(page.name, ""), known)
    parser = doctest.DocTestParser()
    for block in python(page):
        if ">>> " in block.code:
            name = f"{page.name} {block.line}"  # of its own: lines of functions of other blocks are asked for
            examples = parser.get_doctest(block.code, known, name, str(page), block.line)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            assert runner.run(examples, clear_globs=False).failed == 0
            known.update(examples.globs)
        else:
            code = compile("\n" * block.line + block.code, str(page), "exec")
            if AWAY not in block.code:
                exec(code, known)
            vars(sys.modules["model"]).update(known)
    for name, test in list(known.items()):
        if name.startswith("test_"):
            test(gradcheck) if "gradcheck" in test.__code__.co_varnames[: test.__code__.co_argcount] else test()


def test_pages_with_tests_of_their_own_are_named_in_these() -> None:
    for page, test in ELSEWHERE.items():
        source = (ROOT / test).read_text(encoding="utf-8")
        assert page in source or "TUTORIALS" in source


@pytest.mark.parametrize("page", SHELL, ids=lambda page: page.name)
def test_shell_commands_name_what_is_there(page: Path) -> None:
    for block in blocks(page):
        if block.language == "sh":
            done = subprocess.run(["bash", "-n"], input=block.code, text=True, capture_output=True, check=False)
            assert done.returncode == 0, f"{page.name}, line {block.line}: {done.stderr}"
            for line in block.code.splitlines():
                for command in re.split(r"&&|;|\|", re.sub(r"\s{2,}#.*|^#.*", "", line)):
                    check_command(shlex.split(command))


def check_command(words: list[str]) -> None:
    """A module or a file that Python is to run is there, and knows the options."""
    while words and "=" in words[0]:
        words = words[1:]
    if not words or not Path(words[0]).name.startswith("python"):
        assert (
            not words
            or "/" not in words[0]
            or words[0].startswith(".venv/")
            or (ROOT / words[0]).exists()
            or (words[0] == "./a.out")
        )
        return
    if words[1] == "-m":
        module, options = words[2], words[3:]
        spec = importlib.util.find_spec(module)
        assert spec is not None, f"no module {module}"
        if module.split(".")[0] in FOREIGN:
            return
        files = [Path(found) for found in (spec.submodule_search_locations or [])] or [Path(str(spec.origin))]
    else:
        assert (ROOT / words[1]).is_file(), f"no file {words[1]}"
        files, options = [ROOT / words[1], ROOT / "examples" / "common.py"], words[2:]
    paths = [path for file in files for path in ([file] if file.is_file() else file.rglob("*.py"))]
    source = "".join(path.read_text(encoding="utf-8") for path in paths)
    for option in options:
        if option.startswith("--"):
            assert f'"{option.partition("=")[0]}"' in source, f"{' '.join(words)}: no {option}"


def test_a_command_that_is_not_there_is_found() -> None:
    check_command(["python", "examples/iris.py", "--plot"])
    for wrong in ("python -m tests.nothing", "python examples/nothing.py", "python examples/iris.py --nothing"):
        with pytest.raises((AssertionError, ModuleNotFoundError)):
            check_command(wrong.split())


@pytest.mark.skipif(shutil.which("node") is None, reason="node, which parses JavaScript, is not installed")
def test_javascript_parses(tmp_path: Path) -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language == "js":
                for k, part in enumerate(re.split(r"\n\n(?=import )", block.code)):
                    file = tmp_path / f"{k}.mjs"
                    file.write_text(part, encoding="utf-8")
                    done = subprocess.run(["node", "--check", str(file)], capture_output=True, text=True, check=False)
                    assert done.returncode == 0, f"{page.name}, line {block.line}: {done.stderr}"


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    known = ("python", "pycon", "sh", "js", "text", "")
    for page in PAGES:
        for block in blocks(page):
            assert block.language in known or block.language.startswith("{"), f"{page.name}, line {block.line}"


def test_code_is_found() -> None:
    assert {"README.md", "looking.md", "gradcheck.md", "compile.md"} <= {page.name for page in RUN}
    assert {"README.md", "contributing.md"} <= {page.name for page in SHELL}
