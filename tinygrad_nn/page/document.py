"""One HTML text: data, style and scripts in a file that asks no network for anything.

Invariants
- Nothing that comes from users stands in markup or in a script. It is in one JSON text, in which `<`, `>`, `&` and all
  that is not ASCII are escaped, and the scripts show strings as text alone.
- Equal data give equal bytes.
- What is long is deflated, scripts and data alike: a part is unpacked when it is first looked at.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np

_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'"
)
_OLD: Final = "This page needs a browser of 2023 or later, with JavaScript."
# The first script is one that any browser understands: the others may be too new for it as a whole.
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tinygrad_nn report</title>
</head>
<body>
<noscript><p>{old}</p></noscript>
<script>
function tooOld() {{
  document.body.insertBefore(document.createElement("p"), document.body.firstChild).appendChild(
    document.createTextNode("{old}"));
}}
window.onload = function () {{ if (!window.began) tooOld(); }};
</script>
<script type="application/json" id="data">{data}</script>
<script>{start}</script>
</body>
</html>
"""


def document(about: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of a page. Each part has a "title", and packed "data" with the "assets" that show it, in their order,
    or the reason why it is "missing".
    """
    names = [name for one in parts.values() for name in one.get("assets", ())]
    code = {name: packed_asset(name) for name in ("page.css", "page.js", *names)}
    data = as_json({"about": about, "parts": parts, "code": code})
    return _PAGE.format(policy=_POLICY, old=_OLD, data=data, start=asset("start.js"))


def data_of(text: str, part: str) -> Any:
    """The data of a part, read from the text of a page."""
    found = text.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    data = json.loads(found)["parts"][part]["data"]
    return json.loads(data if isinstance(data, str) else zlib.decompress(base64.b64decode(data["deflate"])))


def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return files(__package__).joinpath("assets", *name.split("/")).read_text(encoding="utf-8")


@cache
def packed_asset(name: str) -> str | dict[str, str]:
    """The same, made smaller."""
    return packed(asset(name))


def as_json(value: Any) -> str:
    """JSON in which nothing can end a script. Arrays are lists; what JSON has no number for is a text: "NaN"."""
    text = json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def packed(text: str) -> str | dict[str, str]:
    """A long text, smaller: what `page.inflate` gives back."""
    if len(text) < 1000:
        return text
    return {"deflate": base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), 9)).decode()}


def _plain(value: Any) -> Any:
    """What `json` knows."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
