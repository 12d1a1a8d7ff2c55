"""`Transformer`: an autoencoder, which learns to say a row in few numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from .. import nn
from ..support.settings import integer
from ..tensor import Tensor
from .network import Network, estimator
from .supervised import half_squares

FLOATS = (np.float64, np.float32)


class Autoencoder(nn.Module):
    """What makes a code of a row, and what makes a row of a code."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> Tensor:
        """The row that is left of a row."""
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]


def closeness(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Minus the mean of the squared errors."""
    return -2 * (half_squares(outputs, targets) * weights).sum() / weights.sum()


@estimator
class Transformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Network):
    """An autoencoder: `transform` gives `n_components` numbers for a row, `inverse_transform` a row for these.

    `module(n_in, n_out)` makes both halves: it is asked for (n_features, n_components) and for the way back; the
    `hidden` layers stand in the other order there.

    >>> import numpy as np
    >>> X = np.outer(np.linspace(-1, 1, 40), [1.0, -2.0, 0.5])
    >>> model = Transformer(n_components=1, max_iter=400, learning_rate_init=0.01, random_state=0).fit(X)
    >>> model.transform(X).shape, model.score(X) > -0.01
    ((40, 1), True)
    """

    n_components: int = 2

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Train; from the weights of the fit before with `warm_start`. `y` is ignored. Returns self."""
        first = not (self.warm_start and hasattr(self, "module_"))
        return self._fit(X, sample_weight, first=first, incremental=False)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Train one epoch more. Returns self."""
        return self._fit(X, sample_weight, first=not hasattr(self, "module_"), incremental=True)

    def _fit(self, X: Any, sample_weight: Any, *, first: bool, incremental: bool) -> Any:
        self._check_settings()
        X = validate_data(self, X, dtype=FLOATS, reset=first)
        if first:
            self.dtype_ = self._chosen_dtype(X).name
        columns, held, score = [self._cast(X), self._weights(sample_weight, X)], [], None
        if self.early_stopping and not incremental:
            parts = train_test_split(*columns, test_size=self.validation_fraction, random_state=self.random_state)
            columns, held, score = parts[::2], [parts[1], parts[1], parts[3]], closeness
        self._n_features_out = int(self.n_components)
        sizes = self.n_features_in_, self.n_features_in_
        self._train(columns, held, sizes, half_squares, score, first=first, incremental=incremental)
        return self

    def transform(self, X: Any) -> Any:
        """The codes of rows, (samples, n_components)."""
        X = self._checked_x(X)
        return self._outputs(X, self.module_.encoder).astype(X.dtype)

    def inverse_transform(self, X: Any) -> Any:
        """The rows of codes, (samples, n_features)."""
        check_is_fitted(self)
        X = check_array(X, dtype=FLOATS, estimator=self)
        if X.shape[1] != self._n_features_out:
            raise ValueError(f"X has {X.shape[1]} columns, but {type(self).__name__} makes {self._n_features_out}")
        return self._outputs(X, self.module_.decoder).astype(X.dtype)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the mean of the squared errors of the rows that are made again."""
        X = self._checked_x(X)
        errors = ((self._outputs(X) - X) ** 2).mean(1)
        return -float(np.average(errors, weights=None if sample_weight is None else self._weights(sample_weight, X)))

    def _checked_x(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, dtype=FLOATS, reset=False)

    def _check_settings(self) -> None:
        super()._check_settings()
        integer(type(self).__name__, "n_components", self.n_components, least=1)

    def _build(self, n_in: int, n_out: int) -> nn.Module:
        codes = int(self.n_components)
        return Autoencoder(self._made(n_in, codes, self._sizes()), self._made(codes, n_out, self._sizes()[::-1]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
