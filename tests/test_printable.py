"""Names that would steer a terminal, or hide in it, are shown by their escapes wherever a text is made of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, config, data, nn, optim
from tinygrad_nn.errors import TinygradError, printable

EVIL = ["\x1b[31mred", "a\rb", "bell\x07", "\u202eright to left", "\x9b2J", "nul\0", "\u2028line", "\ud800half", "\x7f"]


def fault(call: Callable[[], Any]) -> str:
    with pytest.raises((TinygradError, KeyError, AttributeError)) as caught:
        call()
    return str(caught.value)


def model(name: str) -> Any:
    made = nn.Sequential(nn.Linear(2, 2))
    made.add_module(name, nn.Linear(2, 1))
    return made


def trained(name: str, **options: Any) -> Any:
    return tg.fit(lambda x: {name: (x * 0).sum()}, np.ones((2, 2)), 2, progress=False, **options)


def compiled(name: str) -> Any:
    def function(x: tg.Tensor) -> tg.Tensor:
        return x + 1

    function.__name__ = name
    jitted = tg.jit(function)
    jitted(tg.ones(2))
    return jitted


def drawing(name: str) -> Any:
    return tg.draw(model(name), tg.ones(1, 2))


def of_class(base: type, name: str, *args: Any) -> str:
    """The repr of an instance of a class of this name."""
    try:
        made = type(name, (base,), {})
    except (ValueError, UnicodeError):  # Python wants no NUL and no surrogates there
        made = type(ascii(name), (base,), {})
    return repr(made(*args))


def optimizer(name: str) -> Any:
    return optim.SGD([{"params": [tg.ones(2, requires_grad=True)], name: 1}], lr=0.1)


TEXTS: dict[str, Callable[[str], str]] = {
    "module": lambda name: repr(model(name)),
    "summary": lambda name: str(model(name).summary()),
    "page": lambda name: model(name)._repr_html_(),
    "class of a module": lambda name: of_class(nn.Linear, name, 2, 2),
    "class of an optimizer": lambda name: of_class(optim.SGD, name, [tg.ones(2)], 0.1),
    "class of a callback": lambda name: of_class(callbacks.LogLines, name),
    "class of a schedule": lambda name: of_class(optim.lr_scheduler.StepLR, name, optimizer("lr"), 1),
    "optimizer": lambda name: repr(optimizer(name)),
    "page of an optimizer": lambda name: optimizer(name)._repr_html_(),
    "history": lambda name: repr(trained(name)),
    "history of a long name": lambda name: repr(trained("x" * 300 + name)),
    "history of many names": lambda name: repr(tg.fit(lambda x: {f"{k}{name}": (x * 0).sum() for k in range(40)},
                                                      np.ones((2, 2)), 2, progress=False)),
    "page of a history": lambda name: trained(name)._repr_html_(),
    "jit": lambda name: repr(compiled(name)),
    "tree": lambda name: str(drawing(name)),
    "dot": lambda name: drawing(name).source,
    "load": lambda name: fault(lambda: tg.load(f"/nowhere/{name}")),
    "save": lambda name: fault(lambda: tg.save({name: print}, "/nowhere/x")),
    "csv": lambda name: fault(lambda: data.read_csv(f"/nowhere/{name}")),
    "state": lambda name: fault(lambda: model("x").load_state_dict({name: 1})),
    "column": lambda name: fault(lambda: trained("loss")[name]),
    "monitor": lambda name: fault(lambda: trained("loss", callbacks=[callbacks.TerminateOnNaN(name)])),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("name", EVIL, ids=ascii)
def test_texts_are_printable(kind: str, name: str) -> None:
    text = TEXTS[kind](name)
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    odd = next(c for c in name if not c.isprintable())
    assert ascii(odd)[1:-1] in text.replace("\\\\", "\\")


def test_lines_of_a_run(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="tinygrad_nn.fit"):
        trained("\x1b[31m", callbacks=[callbacks.LogLines(1)])
    assert "\\x1b[31m" in caplog.text
    assert "\x1b" not in caplog.text


def test_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    config.say("name \x1b[31m\n\tmore")
    assert capsys.readouterr().err == "name \\x1b[31m\n\tmore\n"


def test_what_can_be_printed_is_left() -> None:
    for text in ("größe", "日本", "a\nb", "", "🙂", "\\x1b"):
        assert printable(text) == text
    assert printable("a\nb", keep="") == "a\\nb"


def test_pictures_show_names_literally(tmp_path: Path) -> None:
    """A name with an entity in it is not that entity."""
    try:
        picture = drawing("&lt;b&gt; <i> &#65;").picture("svg").decode()
    except tg.errors.MissingExtra:
        pytest.skip("no graphviz")
    assert "&amp;lt;b&amp;gt; &lt;i&gt; &amp;#65;" in picture
