"""Data in: tables, splits, batches, sequences, and PyTorch's datasets and loaders. NumPy only; polars (extra `data`)
loads when a file or frame is read.

Downloads live in `tinygrad_nn.data.fetch`, which is not imported here because the network modules are slow to load.
"""

from . import sequences as sequences
from . import synthetic as synthetic
from .batching import Batches as Batches
from .batching import as_columns as as_columns
from .batching import batches as batches
from .batching import gather as gather
from .chunks import Chunks as Chunks
from .chunks import chunks as chunks
from .collate import default_collate as default_collate
from .collate import default_convert as default_convert
from .dataset import ChainDataset as ChainDataset
from .dataset import ConcatDataset as ConcatDataset
from .dataset import Dataset as Dataset
from .dataset import IterableDataset as IterableDataset
from .dataset import StackDataset as StackDataset
from .dataset import Subset as Subset
from .dataset import TensorDataset as TensorDataset
from .dataset import random_split as random_split
from .describe import describe as describe
from .loader import DataLoader as DataLoader
from .loader import get_worker_info as get_worker_info
from .preprocess import MaxAbsScaler as MaxAbsScaler
from .preprocess import MeanImputer as MeanImputer
from .preprocess import MinMaxScaler as MinMaxScaler
from .preprocess import OneHotEncoder as OneHotEncoder
from .preprocess import StandardScaler as StandardScaler
from .preprocess import polynomial_features as polynomial_features
from .sampler import BatchSampler as BatchSampler
from .sampler import RandomSampler as RandomSampler
from .sampler import Sampler as Sampler
from .sampler import SequentialSampler as SequentialSampler
from .sampler import SubsetRandomSampler as SubsetRandomSampler
from .sampler import WeightedRandomSampler as WeightedRandomSampler
from .scan import scan as scan
from .sequences import Sequences as Sequences
from .sequences import cut as cut
from .sequences import sliding_windows as sliding_windows
from .split import KFold as KFold
from .split import kfold as kfold
from .split import split_indices as split_indices
from .split import train_test_split as train_test_split
from .table import read_csv as read_csv
from .table import to_matrix as to_matrix
