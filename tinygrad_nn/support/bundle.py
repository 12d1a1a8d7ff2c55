"""How an object shows itself in a notebook. Tensors do, so nothing is imported here."""

from typing import Any


def bundle(self: Any, include: Any = None, exclude: Any = None) -> dict[str, str]:
    """`_repr_mimebundle_` of whatever has a `_repr_html_`: HTML, and text where nobody shows HTML."""
    return {"text/plain": repr(self), "text/html": self._repr_html_()}
