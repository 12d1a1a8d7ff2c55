"""PyTorch's own samples of what moves, joins, places and multiplies: values, dtypes, gradients, and what is a view.

Some samples of each operation; `python -m tests.functional.samples` runs all of them, of all operations.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.functional.samples import chosen, full_name, ours, run, sharing, torch

SUBJECTS: Final = """
    T addbmm addmm addmv addr atleast_1d atleast_2d atleast_3d baddbmm block_diag bmm broadcast_shapes broadcast_tensors
    broadcast_to cartesian_prod cat cdist ceil chunk clone column_stack combinations diag diag_embed diagflat diagonal
    diagonal_scatter dot dsplit dstack einsum expand expand_as flatten flip fliplr flipud floor gather H hsplit hstack
    index_add index_copy index_fill index_put index_reduce index_select inner kron linspace logspace mH mT masked_fill
    masked_scatter masked_select matmul meshgrid mm movedim mv narrow narrow_copy nonzero outer permute put ravel repeat
    repeat_interleave reshape reshape_as roll rot90 scatter scatter_add scatter_reduce select select_scatter
    slice_scatter split split_with_sizes squeeze stack sum_to_size swapaxes t take take_along_dim tensor_split tensordot
    tile trace transpose tril tril_indices triu triu_indices unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze
    vdot view view_as vsplit vstack where __getitem__
"""
NAMES: Final = frozenset(SUBJECTS.split())
HERE = [pytest.param(op, id=full_name(op)) for op in chosen(()) if op.name in NAMES]


def test_all_are_here() -> None:
    assert [full_name(one.values[0]) for one in HERE if ours(one.values[0]) is None] == []
    assert len(HERE) > 100


@pytest.mark.parametrize("op", HERE)
def test_samples(op: Any) -> None:
    outcome = run(op, (torch.float64, torch.int64), most=2)
    assert outcome is None or outcome.failures == []


@pytest.mark.parametrize("op", HERE)
def test_what_pytorch_copies_is_a_copy_and_its_views_are_views(op: Any) -> None:
    outcome = sharing(op, most=2)
    copied = op.name == "unfold"  # windows that overlap are a copy here, which `Tensor.unfold` says
    assert outcome is None or [told for _, told in outcome.failures if not (copied and "reach []" in told)] == []
