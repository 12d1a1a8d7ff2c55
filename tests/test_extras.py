"""Optional packages: the error for a missing one; one truth with pyproject.toml and every call in the package."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tinygrad_nn.errors import MissingExtra
from tinygrad_nn.support.extras import EXTRAS, pip_line, require

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULE_OF = {"scikit-learn": "sklearn"}


def modules(requirements: list[str]) -> set[str]:
    """The modules that requirement lines bring, by name."""
    names = [re.split(r"[^\w-]", line, maxsplit=1)[0] for line in requirements]
    return {MODULE_OF.get(name, name) for name in names}


def calls(source: str) -> list[tuple[str, ...]]:
    """The literal arguments of each call of `require` in a file."""
    return [
        tuple(ast.literal_eval(argument) for argument in [*node.args, *(keyword.value for keyword in node.keywords)])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"require", "extras.require"}
    ]


def test_require_returns_the_module() -> None:
    assert require("json", "data") is sys.modules["json"]
    assert require("xml.dom.minidom", "data") is sys.modules["xml.dom.minidom"]


@pytest.mark.parametrize(
    ("module", "extra", "line"),
    [("polars", "data", 'pip install "tinygrad_nn[data]"'), ("graphviz", "", "pip install tinygrad_nn")],
)
def test_missing_module_names_the_pip_line(monkeypatch: pytest.MonkeyPatch, module: str, extra: str, line: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra) as caught:
        require(module, extra)
    assert str(caught.value) == f"[{module}] got no module named '{module}'; expected it to be installed; hint: {line}"
    assert caught.value.name == module


def test_missing_package_of_a_dotted_name_is_named() -> None:
    with pytest.raises(MissingExtra, match=r"^\[absent_package\.inner\] got no module named 'absent_package';"):
        require("absent_package.inner", "ui")


def test_missing_dependency_of_a_present_module_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "present_package.py").write_text("import absent_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"^\[present_package\] got no module named 'absent_dependency'") as caught:
        require("present_package", "ui")
    assert caught.value.name == "absent_dependency"


def test_fault_inside_a_present_module_is_not_disguised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "faulty_package.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        require("faulty_package", "ui")


@pytest.mark.parametrize("extra", EXTRAS)
def test_table_agrees_with_the_project_file(extra: str) -> None:
    declared = modules(PROJECT["optional-dependencies"][extra])
    assert set(EXTRAS[extra]) <= declared
    if extra != "test":  # whose tools are run, not imported
        assert set(EXTRAS[extra]) == declared


def test_all_is_the_union_of_the_extras_but_for_the_other_frameworks() -> None:
    names = PROJECT["optional-dependencies"]["all"][0].removeprefix("tinygrad_nn[").removesuffix("]").split(",")
    assert sorted(names) == sorted(PROJECT["optional-dependencies"].keys() - {"all", "bench"})


def test_every_call_names_an_extra_that_brings_the_module() -> None:
    always = {*modules(PROJECT["dependencies"]), "tinygrad_nn"}  # of which the compiler is asked for late
    found = 0
    for path in sorted((ROOT / "tinygrad_nn").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for module, *extra in calls(source) if "require(" in source else ():
            found += 1
            assert module.partition(".")[0] in (EXTRAS[extra[0]] if extra else always), f"{path.name}: {module}"
    assert found > 0


def test_pip_line_names_an_extra_of_the_project() -> None:
    assert pip_line("ui") == 'pip install "tinygrad_nn[ui]"'
    assert pip_line() == "pip install tinygrad_nn"
    assert EXTRAS.keys() <= PROJECT["optional-dependencies"].keys()
