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
    from . import (
        bessel,
        factoring,
        gamma,
        incomplete,
        matrices,
        older,
        ordering,
        placing,
        rearranging,
        scanning,
        special,
        statistics,
    )

    class Composed(Contracted):
        """The methods that are composed of others."""

        abs_ = Contracted.abs
        absolute_ = Contracted.abs
        acos_ = Contracted.acos
        acosh_ = Contracted.acosh
        addbmm = addbmm_ = matrices.addbmm
        addmm_ = Contracted.addmm
        addmv_ = Contracted.addmv
        addr = addr_ = matrices.addr
        adjoint = rearranging.adjoint
        aminmax = ordering.aminmax
        angle = special.angle
        arccos = arccos_ = Contracted.acos
        arccosh = arccosh_ = Contracted.acosh
        arcsin = arcsin_ = Contracted.asin
        arcsinh = arcsinh_ = Contracted.asinh
        arctan = arctan_ = Contracted.atan
        arctan2 = arctan2_ = Contracted.atan2
        arctanh = arctanh_ = Contracted.atanh
        argwhere = ordering.argwhere
        asin_ = Contracted.asin
        asinh_ = Contracted.asinh
        atan2_ = Contracted.atan2
        atan_ = Contracted.atan
        atanh_ = Contracted.atanh
        baddbmm = baddbmm_ = matrices.baddbmm
        bincount = statistics.bincount
        bitwise_and_ = Contracted.bitwise_and
        bitwise_left_shift_ = Contracted.bitwise_left_shift
        bitwise_not_ = Contracted.bitwise_not
        bitwise_or_ = Contracted.bitwise_or
        bitwise_right_shift_ = Contracted.bitwise_right_shift
        bitwise_xor_ = Contracted.bitwise_xor
        ceil_ = Contracted.ceil
        cholesky = factoring.cholesky
        cholesky_inverse = factoring.cholesky_inverse
        cholesky_solve = factoring.cholesky_solve
        clamp_max = clamp_max_ = special.clamp_max
        clamp_min = clamp_min_ = special.clamp_min
        clip_ = Contracted.clamp
        copysign = copysign_ = special.copysign
        corrcoef = statistics.corrcoef
        cos_ = Contracted.cos
        cosh_ = Contracted.cosh
        cov = statistics.cov
        cross = statistics.cross
        cummax = scanning.cummax
        cummin = scanning.cummin
        cumprod_ = Contracted.cumprod
        cumsum_ = Contracted.cumsum
        deg2rad = deg2rad_ = special.deg2rad
        det = factoring.det
        diag = rearranging.diag
        diag_embed = rearranging.diag_embed
        diagflat = rearranging.diagflat
        diagonal_scatter = placing.diagonal_scatter
        diff = scanning.diff
        digamma = digamma_ = gamma.digamma
        dist = statistics.dist
        divide = divide_ = Contracted.div
        dsplit = rearranging.dsplit
        eq_ = Contracted.eq
        erf_ = Contracted.erf
        erfc_ = Contracted.erfc
        erfinv = erfinv_ = special.erfinv
        exp2_ = Contracted.exp2
        expm1_ = Contracted.expm1
        fill_diagonal_ = older.fill_diagonal_
        fix = fix_ = Contracted.trunc
        fliplr = rearranging.fliplr
        flipud = rearranging.flipud
        float_power = float_power_ = special.float_power
        floor_ = Contracted.floor
        floor_divide_ = Contracted.floor_divide
        fmax = special.fmax
        fmin = special.fmin
        fmod_ = Contracted.fmod
        frac_ = Contracted.frac
        frexp = special.frexp
        gcd = gcd_ = special.gcd
        ge_ = Contracted.ge
        ger = Contracted.outer
        greater = greater_ = Contracted.gt
        greater_equal = greater_equal_ = Contracted.ge
        gt_ = Contracted.gt
        hardshrink = special.hardshrink
        heaviside = heaviside_ = special.heaviside
        histc = statistics.histc
        histogram = statistics.histogram
        hsplit = rearranging.hsplit
        hypot = hypot_ = special.hypot
        i0 = i0_ = bessel.i0
        igamma = igamma_ = incomplete.igamma
        igammac = igammac_ = incomplete.igammac
        index_add_ = Contracted.index_add
        index_copy = index_copy_ = placing.index_copy
        index_fill = index_fill_ = placing.index_fill
        index_put = index_put_ = placing.index_put
        index_reduce = index_reduce_ = placing.index_reduce
        inverse = factoring.inverse
        is_nonzero = older.is_nonzero
        is_same_size = older.is_same_size
        isneginf = special.isneginf
        isposinf = special.isposinf
        isreal = special.isreal
        kron = rearranging.kron
        kthvalue = ordering.kthvalue
        lcm = lcm_ = special.lcm
        ldexp = ldexp_ = special.ldexp
        le_ = Contracted.le
        less = less_ = Contracted.lt
        less_equal = less_equal_ = Contracted.le
        lgamma = lgamma_ = gamma.lgamma
        log10_ = Contracted.log10
        log1p_ = Contracted.log1p
        log2_ = Contracted.log2
        log_ = Contracted.log
        logaddexp2 = special.logaddexp2
        logcumsumexp = scanning.logcumsumexp
        logdet = factoring.logdet
        logical_and_ = Contracted.logical_and
        logical_not_ = Contracted.logical_not
        logical_or_ = Contracted.logical_or
        logical_xor_ = Contracted.logical_xor
        logit_ = Contracted.logit
        lt_ = Contracted.lt
        lu_solve = factoring.lu_solve
        masked_scatter = masked_scatter_ = placing.masked_scatter
        matrix_exp = factoring.matrix_exp
        matrix_power = factoring.matrix_power
        median = ordering.median
        mode = ordering.mode
        moveaxis = Contracted.movedim
        msort = ordering.msort
        multiply = multiply_ = Contracted.mul
        mvlgamma = mvlgamma_ = gamma.mvlgamma
        nan_to_num_ = Contracted.nan_to_num
        nanmedian = ordering.nanmedian
        nanquantile = ordering.nanquantile
        narrow_copy = rearranging.narrow_copy
        ndimension = older.ndimension
        ne_ = Contracted.ne
        negative = negative_ = Contracted.neg
        nelement = older.nelement
        new = older.new
        nextafter = nextafter_ = special.nextafter
        nonzero_static = ordering.nonzero_static
        not_equal = not_equal_ = Contracted.ne
        pinverse = factoring.pinverse
        polygamma = polygamma_ = gamma.polygamma
        positive = special.positive
        prelu = special.prelu
        put = put_ = placing.put
        qr = factoring.qr
        quantile = ordering.quantile
        rad2deg = rad2deg_ = special.rad2deg
        reciprocal_ = Contracted.reciprocal
        remainder_ = Contracted.remainder
        renorm = renorm_ = statistics.renorm
        repeat_interleave = rearranging.repeat_interleave
        reshape_as = rearranging.reshape_as
        resize_ = older.resize_
        resize_as_ = older.resize_as_
        rot90 = rearranging.rot90
        round_ = Contracted.round
        rsqrt_ = Contracted.rsqrt
        scatter_ = Contracted.scatter
        scatter_add_ = Contracted.scatter_add
        scatter_reduce = scatter_reduce_ = placing.scatter_reduce
        select_scatter = placing.select_scatter
        sgn = sgn_ = special.sgn
        share_memory_ = older.share_memory_
        sigmoid_ = Contracted.sigmoid
        sign_ = Contracted.sign
        signbit = special.signbit
        sin_ = Contracted.sin
        sinc = sinc_ = special.sinc
        sinh_ = Contracted.sinh
        slice_scatter = placing.slice_scatter
        slogdet = factoring.slogdet
        split_with_sizes = rearranging.split_with_sizes
        square_ = Contracted.square
        squeeze_ = Contracted.squeeze
        storage = older.storage
        stride = older.stride
        subtract = subtract_ = Contracted.sub
        sum_to_size = rearranging.sum_to_size
        svd = factoring.svd
        swapaxes_ = Contracted.swapaxes
        swapdims = swapdims_ = Contracted.transpose
        t_ = Contracted.t
        tan_ = Contracted.tan
        tanh_ = Contracted.tanh
        tensor_split = rearranging.tensor_split
        trace = rearranging.trace
        transpose_ = Contracted.transpose
        tril_ = Contracted.tril
        triu_ = Contracted.triu
        true_divide_ = Contracted.div
        trunc_ = Contracted.trunc
        unique = ordering.unique
        unique_consecutive = ordering.unique_consecutive
        unsafe_chunk = rearranging.unsafe_chunk
        unsafe_split = rearranging.unsafe_split
        unsqueeze_ = Contracted.unsqueeze
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
