"""Data in: tables, splits, batches, sequences. NumPy only; polars (extra `data`) loads when a file or frame is read.

Downloads live in `tinygrad_nn.data.fetch`, which is not imported here because the network modules are slow to load.
"""

from . import sequences as sequences
from . import synthetic as synthetic
from .batching import Batches as Batches
from .batching import as_columns as as_columns
from .batching import batches as batches
from .batching import gather as gather
from .describe import describe as describe
from .preprocess import MaxAbsScaler as MaxAbsScaler
from .preprocess import MeanImputer as MeanImputer
from .preprocess import MinMaxScaler as MinMaxScaler
from .preprocess import OneHotEncoder as OneHotEncoder
from .preprocess import StandardScaler as StandardScaler
from .preprocess import polynomial_features as polynomial_features
from .sequences import Sequences as Sequences
from .sequences import cut as cut
from .sequences import sliding_windows as sliding_windows
from .split import kfold as kfold
from .split import split_indices as split_indices
from .split import train_test_split as train_test_split
from .table import read_csv as read_csv
from .table import to_matrix as to_matrix
