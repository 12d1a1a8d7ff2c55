"""scikit-learn's door: estimators that train natively and stand wherever scikit-learn's own do.

They load, and with them scikit-learn (extra `sklearn`), when the first of them is named.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ..support.extras import require as _require

if _TYPE_CHECKING:
    from .autoencoder import Transformer as Transformer
    from .search import SearchCV as SearchCV
    from .sequences import SequenceClassifier as SequenceClassifier
    from .sequences import SequenceRegressor as SequenceRegressor
    from .supervised import Classifier as Classifier
    from .supervised import Regressor as Regressor

_NAMES = {
    "Classifier": "supervised",
    "Regressor": "supervised",
    "SearchCV": "search",
    "SequenceClassifier": "sequences",
    "SequenceRegressor": "sequences",
    "Transformer": "autoencoder",
}


def __getattr__(name: str) -> _Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _require("sklearn", "sklearn")
    value = globals()[name] = getattr(_import_module(f".{_NAMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
