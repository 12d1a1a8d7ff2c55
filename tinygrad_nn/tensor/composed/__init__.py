"""Functions composed of the methods of tensors, in a file for each subject, which is loaded when it is first used.

Each is a plain function of a tensor, `self`, so it compiles and has gradients of every order. Tensors have those that
the tables of `tensor/__init__.py` name as methods; `Composed` says the same to type checkers. A file may use the layers
below `Tensor` and the files beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..contract import Contracted
    from . import matrices, placing, rearranging, special

    class Composed(Contracted):
        """The methods that are composed of others."""

        addbmm = matrices.addbmm
        addr = matrices.addr
        adjoint = rearranging.adjoint
        baddbmm = matrices.baddbmm
        copysign = copysign_ = special.copysign
        cross = matrices.cross
        deg2rad = deg2rad_ = special.deg2rad
        diag = rearranging.diag
        diag_embed = rearranging.diag_embed
        diagflat = rearranging.diagflat
        diagonal_scatter = placing.diagonal_scatter
        dsplit = rearranging.dsplit
        fliplr = rearranging.fliplr
        flipud = rearranging.flipud
        ger = matrices.ger
        hsplit = rearranging.hsplit
        index_add_ = Contracted.index_add
        index_copy = index_copy_ = placing.index_copy
        index_fill = index_fill_ = placing.index_fill
        index_put = index_put_ = placing.index_put
        index_reduce = index_reduce_ = placing.index_reduce
        kron = rearranging.kron
        masked_scatter = masked_scatter_ = placing.masked_scatter
        moveaxis = rearranging.moveaxis
        narrow_copy = rearranging.narrow_copy
        put = put_ = placing.put
        rad2deg = rad2deg_ = special.rad2deg
        repeat_interleave = rearranging.repeat_interleave
        reshape_as = rearranging.reshape_as
        rot90 = rearranging.rot90
        scatter_ = Contracted.scatter
        scatter_add_ = Contracted.scatter_add
        scatter_reduce = scatter_reduce_ = placing.scatter_reduce
        select_scatter = placing.select_scatter
        signbit = special.signbit
        sinc = sinc_ = special.sinc
        slice_scatter = placing.slice_scatter
        split_with_sizes = rearranging.split_with_sizes
        sum_to_size = rearranging.sum_to_size
        swapdims = rearranging.swapdims
        tensor_split = rearranging.tensor_split
        trace = rearranging.trace
        unsafe_chunk = rearranging.unsafe_chunk
        unsafe_split = rearranging.unsafe_split
        vdot = matrices.vdot
        vsplit = rearranging.vsplit
        xlogy = xlogy_ = special.xlogy

        # `drawing` needs generators, which stand above `Tensor`.
        bernoulli: Callable[..., Self]
        bernoulli_: Callable[..., Self]
        cauchy_: Callable[..., Self]
        exponential_: Callable[..., Self]
        geometric_: Callable[..., Self]
        log_normal_: Callable[..., Self]
        multinomial: Callable[..., Self]
        normal_: Callable[..., Self]
        random_: Callable[..., Self]
        uniform_: Callable[..., Self]
