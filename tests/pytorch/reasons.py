"""What `tinygrad_nn.torch` has not, or has otherwise, on purpose: names and arguments by their reason.

`ABSENT` and `PATTERNS` hold for every area, `DIFFERENT` for names of one, also with an argument: `name(argument)`.
"""

from __future__ import annotations

from typing import Final

HEAD: Final = """
# From PyTorch

    import tinygrad_nn.torch as torch
    import tinygrad_nn.torch.nn as nn
    import tinygrad_nn.torch.nn.functional as F
    from tinygrad_nn.torch.utils.data import DataLoader

A script for PyTorch runs when its imports are changed so, and one more line, `step = torch.compile(step)`, makes a
native function of its training step: forward, backward and optimizer. Every module of the package has the names of its
counterpart; what is natural is that of `tinygrad_nn` itself (`torch.nn.Linear is tg.nn.Linear`).

This page lists what differs. It is written by `python -m tests.pytorch.names --write` from a comparison of PyTorch's
public names and arguments with ours, and a test holds it to that. Names that are not in it are there, with PyTorch's
arguments.
"""

MEANS: Final = """
- **Devices.** There is one, the CPU. `device=`, `.to(device)` and `map_location=` take it; any other device is an
  error that says so, and `torch.cuda.is_available()` is False.
- **Dtypes.** There are five: `float32`, `float64`, `int32`, `int64`, `bool`. `float16` and `bfloat16` are other names
  of `float32`, `uint8`, `int8` and `int16` of `int32`: nothing is rounded, nothing overflows early. Masks are `bool`;
  what was a mask of `uint8` is an index.
- **Mixed precision.** `torch.autocast` and `GradScaler` change nothing: numbers keep their precision, the scale is 1.
- **`torch.compile(f)`** makes one native function of the whole function, with the gradients and the steps of optimizers
  in it. What cannot be compiled runs as it is, after one warning that names the line and what to write instead
  (`tg.jit(f)` refuses it). A module alone is compiled with its gradients; put the step into a function, which is much
  faster.
- **`torch.jit.script` and `torch.jit.trace`** compile as `torch.compile` does.
- **Random numbers** are those of a counter-based generator, the same eager and compiled: of a seed they are other
  numbers than PyTorch's, of the same distributions.
- **`torch.empty`** is zeros, so that no run depends on what memory held before.
- **Shapes** are tuples: `x.shape == (2, 3)`, `x.shape[0]`; `x.numel()` instead of `x.shape.numel()`.
- **`x.numpy()`** cannot be written to; `x.numpy().copy()` can. `torch.from_numpy` of a smaller dtype is a copy.
- **Losses** whose input and target have different shapes are an error, where PyTorch warns and broadcasts.
- **`torch.save`** writes the format of `tg.save`, which carries no code, under any name; whole modules are pickled,
  and read with `weights_only=False` alone. Files of PyTorch itself are read by neither.
- **`inference_mode`** is `no_grad`. `channels_last` and other memory formats mean nothing.
- **Errors** are ours: classes of `tinygrad_nn.errors`, which are also the Python classes that PyTorch raises most
  often there (`ValueError`, `TypeError`, `IndexError`, `RuntimeError`).
"""

ARGUMENTS: Final = {
    "out": "what is made of sizes and numbers is a new tensor; functions of tensors take it",
    "layout": "tensors are dense",
    "memory_format": "elements lie in one order",
    "names": "axes have no names",
    "pin_memory": "there is no device to copy to",
    "out_dtype": "products have the dtype of their operands",
    "_stacklevel": "for PyTorch's own warnings",
    "async": "an old name of non_blocking",
    "pickle_load_args": "files are no pickles",
    "_disable_byteorder_record": "for PyTorch's own files",
}

PATTERNS: Final = {  # whole names
    r"(?!index_).*_copy|alias_copy|unsafe_.*": "a form of a function for the inside of PyTorch's compiler",
    r"sym_.*|Sym.*": "sizes are numbers, also while a function is compiled",
    r".*sparse.*|.*_indices_copy|c?col_indices|c?row_indices|crow_indices|to_padded_tensor|coalesce|is_coalesced|smm|hspmm"
    r"|sspaddmm|dense_dim|indices|values": "tensors are dense",
    r".*quantize.*|.*quantized.*|q_.*|qscheme|int_repr|.*mkldnn.*|fake_.*": "numbers are not quantised",
    r".*cuda.*|.*(ipu|xpu|mtia|hpu|maia|vulkan|xla|mps)$|record_stream|Stream|Event": "there is one device, the CPU",
    r".*complex.*|.*conj.*|view_as_real|eigvals|angle|imag|real|isreal|polar|H|mH|adjoint|cdouble|cfloat|chalf|resolve_.*"
    r"|is_neg": "numbers are real",
    r".*stft|.*_window": "there are no Fourier transforms, which are complex",
    r"(airy|bessel|chebyshev|hermite|laguerre|legendre|modified|scaled|shifted|spherical)_.*|scaled_grouped_mm|scaled_mm"
    r"|zeta|multigammaln": "a special function that no training script was found to need",
    r"has_torch_function.*|handle_torch_function|boolean_dispatch|.*_with_indices|native_.*|_?as_subclass"
    r"|merge_type_from_type_comment|parse_.*|import_ir.*|unify_type_list|Script.*|.*Type|.*Key|Tag|fork|wait"
    r"|prepare_multiprocessing.*|classproperty|thread_safe_generator|init_num_threads|factory_kwargs|profile_hook_step"
    r"|Optimizer.*Hook|.*Options|T_destination|call_super_init|dump_patches|register_module|hash_tensor"
    r"|debug_unwrap|functionalize|get_file_path|get_device_module|.*_const_data_ptr|const_data_ptr"
    r"|compiled_with_cxx11_abi|NestedIOFunction|set_multithreading_enabled|enforce_grad_layout_policy|rearrange"
    r"|AcceleratorError|OutOfMemoryError|is_storage|.*warn.*": "a part of PyTorch's inside",
    r".*storage.*|data_ptr|set_|is_set_to|is_shared|share_memory.*|is_pinned|pin_memory|dim_order|from_file|frombuffer"
    r"|to_dlpack|is_distributed|is_inference|is_nested|module_load|name|output_nr|grad_dtype|slice_inverse"
    r"|resize.*|as_strided.*|empty_strided|new_empty_strided|empty_permuted": "a tensor has no storage to look at",
    r"fuse_.*|convert_conv.*|skip_init|swap_in_.*|replace_all_batch_norm.*": "speed is left to the compiler",
    r"DataParallel|SyncBatchNorm": "training runs on one machine; its threads are used by `set_num_threads`",
    r"(map|map2|apply)_": "Python for each number; write it in operations",
    r"ldl_.*|lobpcg|svd_lowrank|pca_lowrank": "for matrices too large to be factored; `svd`, `eigh`, `solve` are there",
    r"cond|while_loop": "`if` and `while` are Python's; in a compiled function `torch.where` and `tg.scan`",
    r"segment_reduce": "not finished in PyTorch; `scatter_reduce` does the same",
    r"grouped_mm": "for products of experts on a GPU; `bmm` does the same",
    r"SparseAdam|layout": "tensors are dense",
    r"DistributedSampler": "training runs on one machine; its threads are used by `set_num_threads`",
    r"(Iter|Map)DataPipe": "removed, or deprecated in PyTorch itself",
    r"register_post_accumulate_grad_hook": "put what is to follow behind `backward()`; a compiled step has no gradients"
    " to save the memory of",
    r"transfer_parametrizations_and_params": "a part of PyTorch's inside",
    r"volatile|reinforce|(sy)?meig|symeig|eig|lstsq|solve|lu|matrix_rank|chain_matmul|qr|geqrf|orgqr|ormqr|ger"
    r"|triangular_solve|register_backward_hook|range|clip_grad_norm|index": "removed, or deprecated in PyTorch itself",
}

ABSENT: Final = {  # by reason: names
    "no training script was found to need it": """
        ContinuousBernoulli FisherSnedecor GeneralizedPareto Kumaraswamy LKJCholesky LogisticNormal
        LowRankMultivariateNormal VonMises Wishart
        CatTransform CorrCholeskyTransform CumulativeDistributionTransform LowerCholeskyTransform
        PositiveDefiniteTransform ReshapeTransform SoftmaxTransform StackTransform StickBreakingTransform
        biject_to transform_to
    """,
    "`gumbel_softmax` draws them": "RelaxedBernoulli RelaxedOneHotCategorical",
    "entropies and divergences have formulas of their own": "ExponentialFamily",
}

DIFFERENT: Final[dict[str, dict[str, str]]] = {  # by area: by reason: name, or name(argument)
    "torch": {
        "the default of PyTorch stands for the same": """
            arange(start) asarray(requires_grad) compile(backend) save(pickle_protocol) meshgrid(indexing)
            nan_to_num(nan)
        """,
        "a setting of PyTorch's compiler": """
            compile(name) compile(recompile_limit) compile(isolate_recompiles) compile(shapes_spec)
        """,
        "it is given by its place": """
            set_num_threads(int) set_num_threads(n) result_type(scalar) result_type(tensor) result_type(other)
            result_type(tensor1) result_type(tensor2)
        """,
        "sections come before indices by their names, one of which is given": "tensor_split",
    },
    "torch.Tensor": {
        "the default of PyTorch stands for the same": "nan_to_num(nan) nan_to_num_(nan)",
        "it is given by its place": "copy_(other)",
        "sections come before indices by their names, one of which is given": "tensor_split",
        "all orders of PyTorch are understood": "to",
        "the documentation names what is `**kwargs`": "type(kwargs)",
    },
    "torch.nn": {
        "of nothing there is none": "Buffer(data) Parameter(data)",
        "a class says which of the cells it is of": "RNNBase(mode)",
        "it belongs to the state": "UninitializedBuffer(persistent)",
    },
    "torch.nn.functional": {
        "the default of PyTorch stands for the same": "pad(value)",
        "of PyTorch's inside, and not in its documentation": "elu_(scale) elu_(input_scale)",
    },
    "torch.nn.utils.rnn": {"`pack_padded_sequence` gives both": "PackedSequence(batch_sizes)"},
    "torch.nn.Module": {
        "`torch.compile(model)` gives the compiled one": "compile",
        "a class defines it, or a call of the module says that it has to": "forward",
        "they are given by their names": "state_dict(args)",
    },
    "torch.func": {
        "one walk for each element, of any size": """
            jacrev(chunk_size) jacrev(_preallocate_and_copy) jacfwd(randomness)
        """,
        "where nothing depends on an input the derivative is 0": "jvp(strict)",
        "of functions that take `func` by its name too": "vjp(function) linearize(function)",
    },
    "torch.autograd": {
        "deprecated in PyTorch itself": "backward(grad_variables)",
        "that is what it is for": "detect_anomaly(check_nan)",
    },
}
