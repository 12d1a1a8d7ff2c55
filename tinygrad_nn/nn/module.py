"""`Module`: a tree of layers. Parameters, buffers and children are what its `__dict__` holds; nothing is registered
behind one's back.

Names are attribute paths (`0.weight`), as in torch. A tensor that is reached by two paths is one parameter, named by
the first; `state_dict` has it under both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, ClassVar, Final, NamedTuple, Protocol, Self, TypeVar

from ..errors import ConfigError, DTypeError, GraphError, ShapeError, TraceError, UnknownName, message, printable
from ..support.bundle import bundle
from ..support.settings import Device, mapping, shown, typed, typed_as
from ..tensor import Tensor, no_grad
from ..tensor.convert import CLASSES, placed
from ..tensor.core import mode
from ..tensor.creation import as_tensor
from ..tensor.structure import Attributes, Handle, note, replaced
from .parameter import Buffer, Parameter, Statistic, UninitializedBuffer, UninitializedParameter
from .summary import Summary, summarize

M = TypeVar("M", bound="Module")
T = TypeVar("T")
Hooks = tuple["Hook", ...]


class Hook(NamedTuple):
    """A function that is called beside forward, and what it wants."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` returns: the keys that were missing, and those that nothing in the module has."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        named = f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"
        return named if any(self) else "<All keys matched successfully>"


class Computed(Protocol):
    """What stands for an attribute that is computed from others whenever it is read."""

    def read(self, module: Module) -> Any:
        """Its value."""

    def write(self, module: Module, value: Any) -> None:
        """Have it this value from now on."""


EXTRA: Final = "_extra_state"  # how keys of what `get_extra_state` gives end
KINDS: Final = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Module:
    """Base of all layers: subclass it, create parameters and sub-modules in `__init__`, compute in `forward`.

    >>> import tinygrad_nn as tg
    >>> class Scale(tg.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = tg.nn.Parameter(tg.tensor(2.0))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(tg.tensor(3.0)).item()
    6.0
    """

    _training: bool = True
    _forward_hooks: Hooks = ()
    _forward_pre_hooks: Hooks = ()
    _backward_hooks: Hooks = ()
    _backward_pre_hooks: Hooks = ()
    _state_hooks: Hooks = ()
    _state_pre_hooks: Hooks = ()
    _load_hooks: Hooks = ()
    _load_pre_hooks: Hooks = ()
    _whole: ClassVar[bool] = False  # whether reset_parameters, defined in the class, is that of all its parts
    _given: bool = False  # whether the parameters are what somebody gave it, and not drawn
    _foreign: tuple[str, ...] = ()  # parameters that took the place of what it drew
    forward: ClassVar[Callable[..., Any]]

    def __init__(self) -> None:
        """Nothing has to be set up, so a forgotten super().__init__() does no harm."""

    @property
    def training(self) -> bool:
        """Whether the module trains; a layer that asks while it is compiled is compiled again when that changes."""
        note = getattr(mode.recorder, "note_mode", None)
        if note is not None:
            note(self)
        return self._training

    @training.setter
    def training(self, trains: bool) -> None:
        note = getattr(mode.recorder, "note_mode", None)
        if note is not None:
            note(self, sets=True)
        self._training = trains

    def __setattr__(self, name: str, value: Any) -> None:
        computed = vars(self).get("_computed")
        if computed is not None and name in computed:
            computed[name].write(self, value)
            return
        before = vars(self).get(name) if isinstance(value, Parameter) else None
        if isinstance(before, Parameter) and before is not value and name not in self._foreign:
            object.__setattr__(self, "_foreign", (*self._foreign, name))
        object.__setattr__(self, name, value)
        replaced()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        replaced()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the pre-hooks, forward, and the hooks."""
        if mode.recorder is not None:
            note(self, _Built)  # the tree below is noted as it is called
            scope = getattr(mode.recorder, "scope", None)
            if scope is not None:
                with scope(self):
                    return self._run(*args, **kwargs)
        if self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks:
            return self._run(*args, **kwargs)
        return self.forward(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        for hook in self._forward_pre_hooks:
            if hook.with_kwargs:
                both = hook.function(self, args, kwargs)
                args, kwargs = (args, kwargs) if both is None else both
                continue
            changed = hook.function(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        watched = bool(self._backward_hooks or self._backward_pre_hooks)
        watch = BackwardWatch(self) if watched else None
        result, failed = None, True
        try:
            result = self.forward(*(args if watch is None else watch.inputs(args)), **kwargs)
            failed = False
        finally:
            for hook in self._forward_hooks:
                if not failed or hook.always_call:
                    more = (kwargs,) if hook.with_kwargs else ()
                    changed = hook.function(self, args, *more, result)
                    result = result if changed is None else changed
        return result if watch is None else watch.outputs(result)

    def note_structure(self) -> None:
        """Tell who traces that how this module is built is part of what is frozen, with everything below."""
        for module in self.modules():
            note(module, _Built)

    def __getattr__(self, name: str) -> Any:
        if name == "forward":
            raise GraphError(
                message(type(self).__name__, "a call of a module without forward", hint="define forward(self, x)")
            )
        computed = vars(self).get("_computed")
        if computed is not None and name in computed:
            return computed[name].read(self)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def compute(self, name: str, how: Computed | None) -> None:
        """Have an attribute computed from others whenever it is read; None ends that."""
        computed = dict(vars(self).get("_computed", {}))
        vars(self).pop(name, None)
        computed.pop(name, None)
        if how is not None:
            computed[name] = how
        object.__setattr__(self, "_computed", computed)
        replaced()

    # ---- the tree ---------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children, each once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The direct children."""
        for _, child in self.named_children():
            yield child

    @typed
    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module and everything below, each once, parents first; with `remove_duplicate=False`
        by every path that leads to it. Modules in `memo`, a set, are left out and those found added.
        """
        if memo is not None and not isinstance(memo, set):
            raise DTypeError(message("named_modules", f"memo {shown(memo)}", "a set of modules, or None"))
        seen: set[Any] = set() if memo is None else memo
        stack: list[tuple[str, Module, tuple[int, ...]]] = [(prefix, self, ())]
        while stack:
            path, module, above = stack.pop()
            if id(module) in above if not remove_duplicate else module in seen:
                continue
            seen.add(module)
            yield path, module
            lead = f"{path}." if path else ""
            over = above if remove_duplicate else (*above, id(module))
            stack += reversed([(lead + name, child, over) for name, child in module._modules.items()])

    @typed
    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and everything below."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def _named(
        self, kind: type[T], prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, T]]:
        """(path, tensor) of one kind; a tensor with several paths once, unless told otherwise."""
        seen: set[int] = set()
        tree = self.named_modules(None, prefix, remove_duplicate) if recurse else ((prefix, self),)
        for path, module in tree:
            for name, value in vars(module).items():
                if isinstance(value, kind) and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    @typed
    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), each once or by all of its paths; those of this module alone without `recurse`."""
        return self._named(Parameter, prefix, recurse, remove_duplicate)

    @typed
    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once."""
        for _, parameter in self._named(Parameter, "", recurse):
            yield parameter

    @typed
    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Buffer]]:
        """(path, buffer), each once or by all of its paths; those of this module alone without `recurse`."""
        return self._named(Buffer, prefix, recurse, remove_duplicate)

    @typed
    def buffers(self, recurse: bool = True) -> Iterator[Buffer]:
        """The buffers, each once."""
        for _, buffer in self._named(Buffer, "", recurse):
            yield buffer

    @property
    def _modules(self) -> dict[str, Module]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Module)}

    @property
    def _parameters(self) -> dict[str, Parameter | None]:
        return dict(self._named(Parameter, "", False))

    @property
    def _buffers(self) -> dict[str, Buffer | None]:
        return dict(self._named(Buffer, "", False))

    def _reached(self, owner: str, target: str, kind: type[T]) -> T:
        """What a path leads to."""
        found: Any = self
        for name in target.split(".") if target else ():
            found = vars(found).get(name) if isinstance(found, Module) else None
        if not isinstance(found, kind):
            got = f"the path {shown(target)}, where {type(self).__name__} has no {kind.__name__.lower()}"
            raise UnknownName(message(owner, got, "a path as named_modules() gives them, such as '0.weight'"))
        return found

    @typed
    def get_submodule(self, target: str) -> Module:
        """The module at a path; "" is this one. Raises UnknownName."""
        return self._reached("get_submodule", target, Module)

    @typed
    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path. Raises UnknownName."""
        return self._reached("get_parameter", target, Parameter)

    @typed
    def get_buffer(self, target: str) -> Buffer:
        """The buffer at a path. Raises UnknownName."""
        return self._reached("get_buffer", target, Buffer)

    @typed
    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        """Put a module at a path, whose parent has to be there, and with `strict` a module at the path too. Raises
        UnknownName.
        """
        path, _, name = target.rpartition(".")
        if strict:
            self._reached("set_submodule", target, Module)
        self._reached("set_submodule", path, Module).add_module(name, module)

    @typed
    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Set an attribute that belongs to the state and is not trained (None: an absent one)."""
        setattr(self, attribute("register_buffer", name), None if tensor is None else Buffer(tensor, persistent))

    def register_parameter(self, name: str, param: Any) -> None:
        """Set an attribute that is trained (None: an absent one)."""
        if param is not None and not isinstance(param, Parameter):
            got = f"a {type(param).__name__}"
            raise ConfigError(message("register_parameter", got, "a tg.nn.Parameter or None"))
        setattr(self, attribute("register_parameter", name), param)

    def add_module(self, name: str, module: Any) -> None:
        """Set an attribute that is a sub-module."""
        if module is not None and (not isinstance(module, Module) or self in module.modules()):
            got = "a module that contains this one" if isinstance(module, Module) else f"a {type(module).__name__}"
            raise ConfigError(message("add_module", got, "another module, or None"))
        setattr(self, attribute("add_module", name), module)

    register_module = add_module

    # ---- state ------------------------------------------------------------------------------------------------------

    def _state(self, prefix: str = "") -> dict[str, Tensor]:
        """What belongs to the state, by every path: in each module parameters, then persistent buffers."""
        found: dict[str, Tensor] = {}
        for path, module in self.named_modules(None, prefix, False):
            own = vars(module).items()
            for kind in (Parameter, Buffer):
                for name, value in own:
                    if isinstance(value, kind) and getattr(value, "persistent", True):
                        found[f"{path}.{name}" if path else name] = value
        return found

    @typed
    def state_dict(
        self, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Tensor]:
        """Values of all parameters and persistent buffers by path, with torch's keys and shapes.

        Unlike torch's they are those of now: later changes of the module do not reach them. With `keep_vars` they are
        the parameters and buffers themselves; with `destination` they are put into that dict.
        """
        reached = self.named_modules(None, prefix.removesuffix("."), False)
        tree = [(f"{path}." if path else "", module) for path, module in reached]
        for lead, module in tree:
            for hook in module._state_pre_hooks:
                hook.function(module, lead, keep_vars)
        state = self._state(prefix.removesuffix("."))
        found: dict[str, Any] = dict(state) if keep_vars else {
            path: tensor.detach().clone() for path, tensor in state.items()
        }  # fmt: skip
        found |= {f"{lead}{EXTRA}": one.get_extra_state() for lead, one in tree if _has_extra(one)}
        destination = found if destination is None else destination
        destination.update(found)
        for lead, module in reversed(tree):  # those below first
            for hook in module._state_hooks:
                hook.function(module, destination, lead, {})
        return destination

    def get_extra_state(self) -> Any:
        """More that belongs to the state of a class that defines this and `set_extra_state`, under `_extra_state`."""
        raise ConfigError(message("get_extra_state", f"a {type(self).__name__}", "a class that defines it"))

    def set_extra_state(self, state: Any) -> None:
        """Take over what `get_extra_state` gave."""
        raise ConfigError(message("set_extra_state", f"a {type(self).__name__}", "a class that defines it"))

    @typed
    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Take over values: all of them or, on error, none. With `assign` parameters take the dtypes as well.

        Returns the missing and the unexpected keys, if not `strict`. A tensor with several paths is there if one of
        them is. Raises ShapeError listing missing and unexpected keys (if `strict`) and shapes that differ.
        """
        mapping("load_state_dict", state_dict)
        state_dict, told = dict(state_dict), list[str]()
        missing, unexpected = list[str](), list[str]()
        tree = [(f"{path}." if path else "", module) for path, module in self.named_modules(None, "", False)]
        for lead, module in tree:
            for hook in module._load_pre_hooks:
                hook.function(module, state_dict, lead, {}, True, missing, unexpected, told)
        more = {f"{lead}{EXTRA}": module for lead, module in tree if _has_extra(module)}
        own = self._state()
        reached = {id(tensor) for key, tensor in own.items() if key in state_dict}
        missing += [key for key, tensor in own.items() if key not in state_dict and id(tensor) not in reached]
        missing += [key for key in more if key not in state_dict]
        unexpected += [key for key in state_dict if key not in own and key not in more]
        faults = told + [f"missing key {key!r}" for key in missing if strict]
        faults += [f"unexpected key {key!r}" for key in unexpected if strict]
        values = {key: as_tensor(value).detach().clone() for key, value in state_dict.items() if key in own}
        open_ones = {key for key, value in own.items() if isinstance(value, OPEN) and not value.numel()}
        for key, value in values.items():
            if value.shape != own[key].shape and key not in open_ones:
                faults.append(f"shape {value.shape} for {key!r} of shape {own[key].shape}")
        if faults:
            raise ShapeError(message("load_state_dict", "; ".join(faults), "the state of an equal module"))
        with no_grad():
            for key, value in values.items():
                tensor = own[key]
                value = value if assign else value.to(tensor.dtype)
                if key in open_ones or value.dtype != tensor.dtype:
                    _replace(tensor, value)
                else:
                    tensor.assign(value)
        for key, module in more.items():
            if key in state_dict:
                module.set_extra_state(state_dict[key])
        keys = IncompatibleKeys(missing, unexpected)
        for _, module in reversed(tree):
            for hook in module._load_hooks:
                hook.function(module, keys)
        return keys

    @typed
    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call a function on everything below, children first, and on this module."""
        stack: list[tuple[Module, Iterator[Module]]] = [(self, self.children())]
        while stack:
            module, rest = stack[-1]
            child = next(rest, None)
            if child is None:
                stack.pop()
                fn(module)
            else:
                stack.append((child, child.children()))
        return self

    def reset_parameters(self) -> None:
        """Draw the parameters of all parts again, and begin their running statistics anew. After `manual_seed` that is
        what a new model begins with, as far as its parts draw when they are made.

        Each part has its own `reset_parameters`, parts before what they are part of. Write one for parameters of your
        own, and for what `__init__` does to those of layers. What is not trained needs none. A tensor that two parts
        share is drawn by the one that made it. Raises ConfigError, and changes nothing, where a parameter would stay.

        >>> import tinygrad_nn as tg
        >>> class Scaled(tg.nn.Module):
        ...     def __init__(self):
        ...         self.layer, self.scale = tg.nn.Linear(2, 3), tg.nn.Parameter(tg.ones(3))
        ...         self.reset_parameters()
        ...     def reset_parameters(self):
        ...         tg.nn.init.normal_(self.scale)
        >>> model = tg.nn.Sequential(Scaled(), tg.nn.BatchNorm1d(3))
        >>> _ = tg.manual_seed(0)
        >>> model.reset_parameters()
        """
        before = [(tensor, tensor.node) for tensor in (*self.parameters(), *self.buffers())]
        nodes = {id(tensor): node for tensor, node in before}
        try:
            for part in _parts(self):
                reset = type(part).reset_parameters
                if reset is not Module.reset_parameters and not part._given:
                    with part._foreign_aside():
                        drawn(reset)(part)
            own = type(self).reset_parameters is Module.reset_parameters  # else it goes on, and knows what is to do
            for name, one in self.named_parameters() if own else ():
                if one.node is nodes[id(one)] and one.requires_grad and one.numel():
                    got = f"the parameter {name!r}, which no reset_parameters() of a part draws"
                    hint = f"define reset_parameters(self) in the class that makes it, {self._maker(name)}"
                    raise ConfigError(message("reset_parameters", got, "a module that can draw its own", hint))
        except BaseException:
            for tensor, node in before:
                if tensor.node is not node:
                    tensor._point_at(node)
            raise

    @contextmanager
    def _foreign_aside(self) -> Iterator[None]:
        """Within the block parameters that others draw have doubles, which are drawn as they were when it was made."""
        own = vars(self)
        aside = {name: own[name] for name in self._foreign if isinstance(own.get(name), Parameter)}
        for name, one in aside.items():
            own[name] = Parameter(one.detach())
            if hasattr(one, "made"):
                own[name].made = one.made
        try:
            yield
        finally:
            own.update(aside)

    def _maker(self, name: str) -> str:
        """The class that has a parameter among its attributes."""
        return type(self.get_submodule(name.rpartition(".")[0])).__name__

    @typed
    def train(self, mode: bool = True) -> Self:
        """Switch to training mode (dropout drops, statistics run)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode."""
        return self.train(False)

    @typed
    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train all parameters, or none."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    @typed
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or set them to zeros)."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = parameter.new_zeros(parameter.shape)

    def to(
        self,
        *target: Any,
        dtype: Any = None,
        device: Device = None,
        non_blocking: Any = False,
        memory_format: Any = None,
    ) -> Self:
        """Parameters and buffers of a float dtype in another one, or in that of a tensor, which forgets gradients; a
        device has to be the CPU: `model.to("cpu")`, `model.to(tg.float64)`. There is one memory format.
        """
        wanted, _ = placed("to", target, dtype, device)
        if wanted is not None and wanted.kind != "f":
            raise ConfigError(message("to", f"dtype {wanted.name}", "a float dtype"))
        for tensor in () if wanted is None else (*self.parameters(), *self.buffers()):
            if tensor.dtype.kind == "f" and tensor.dtype != wanted:
                _replace(tensor, tensor.detach().to(wanted))
        return self

    @typed
    def to_empty(self, *, device: Device = None, recurse: bool = True) -> Self:
        """This module: it has memory for its values already, and there is no other device."""
        return self.to(device)

    def type(self, dst_type: Any) -> Self:
        """`to`, by another name."""
        return self.to(CLASSES.get(dst_type, dst_type) if isinstance(dst_type, str) else dst_type)

    def float(self) -> Self:
        """Everything in float32."""
        return self.to("float32")

    half = bfloat16 = float  # there is no smaller float

    def double(self) -> Self:
        """Everything in float64."""
        return self.to("float64")

    def cpu(self) -> Self:
        """This module: there is no other device."""
        return self

    def cuda(self, device: Any = None) -> Self:
        """A ConfigError: there is no such device."""
        return self.to("cuda")

    def _register(self, kind: str, hook: Hook, prepend: bool) -> Handle:
        if mode.recorder is not None:
            note(self, _Built)
        hooks = getattr(self, kind)
        setattr(self, kind, (hook, *hooks) if prepend else (*hooks, hook))

        def remove() -> None:
            setattr(self, kind, tuple(one for one in getattr(self, kind) if one is not hook))

        return Handle(remove)

    @typed_as(ConfigError)
    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Handle:
        """Call `hook(module, args, result)` after forward; what it returns (if not None) replaces the result. With
        `with_kwargs` that is `hook(module, args, kwargs, result)`, with `always_call` also when forward raises.

        Returns a handle that removes the hook.
        """
        return self._register("_forward_hooks", Hook(hook, with_kwargs, always_call), prepend)

    @typed_as(ConfigError)
    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call `hook(module, args)` before forward; what it returns (if not None) replaces the arguments. With
        `with_kwargs` that is `hook(module, args, kwargs)`, which returns both.
        """
        return self._register("_forward_pre_hooks", Hook(hook, with_kwargs), prepend)

    @typed_as(ConfigError)
    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the inputs are known, both tuples; what it
        returns (if not None) replaces the gradient of the input, of which there has to be one then.
        """
        return self._register("_backward_hooks", Hook(hook), prepend)

    @typed_as(ConfigError)
    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        """Call `hook(module, grad_output)` when the gradients of the results are known; what it returns (if not None)
        replaces the gradient of the result, of which there has to be one then.
        """
        return self._register("_backward_pre_hooks", Hook(hook), prepend)

    @typed_as(ConfigError)
    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` looks at the module."""
        return self._register("_state_pre_hooks", Hook(hook), False)

    @typed_as(ConfigError)
    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, state_dict, prefix, {})`, which may change the dict, after those of modules below."""
        return self._register("_state_hooks", Hook(hook), False)

    @typed_as(ConfigError)
    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, state_dict, prefix, {}, strict, missing_keys, unexpected_keys, error_msgs)` before
        `load_state_dict` compares a copy of the dict with the module; what it changes there counts.
        """
        return self._register("_load_pre_hooks", Hook(hook), False)

    @typed_as(ConfigError)
    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, incompatible_keys)` after values were taken over."""
        return self._register("_load_hooks", Hook(hook), False)

    # ---- looking at it ----------------------------------------------------------------------------------------------

    def summary(self, *inputs: Any) -> Summary:
        """A table of layers with the shapes that `inputs` give and their numbers of parameters."""
        return summarize(self, inputs)

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr."""
        return ""

    def __repr__(self) -> str:
        children = [(printable(name, keep=""), repr(child)) for name, child in self._modules.items()]
        lines = [f"({name}): " + text.replace("\n", "\n  ") for name, text in children]
        extra = self.extra_repr()
        if not lines:
            return printable(f"{type(self).__name__}({extra})")
        return printable(f"{type(self).__name__}({extra}\n  " + "\n  ".join(lines) + "\n)")

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    _repr_mimebundle_ = bundle


def _has_extra(module: Module) -> bool:
    """Whether a class has more state than tensors."""
    return type(module).get_extra_state is not Module.get_extra_state


def _parts(whole: Module) -> list[Module]:
    """The modules below, each once, parts before what they are part of; not those that another one resets."""
    seen, found = {whole}, []
    stack = [(whole, whole.children())]
    while stack:
        module, rest = stack[-1]
        child = next((one for one in rest if one not in seen), None)
        if child is None:
            found.append(module)
            stack.pop()
        else:
            seen.add(child)
            stack.append((child, iter(()) if child._whole else child.children()))
    return found[:-1]


def drawn(reset: Callable[[M], None]) -> Callable[[M], None]:
    """A `reset_parameters` that writes plain parameters in the dtype in which the module was made, so that its numbers
    are those of then. What has another dtype by now, or is computed from others, takes them over.
    """

    @wraps(reset)
    def method(self: M) -> None:
        made = next((one.made for one in self.parameters() if hasattr(one, "made")), None)
        others: list[tuple[Module, str, Tensor]] = []
        with no_grad():
            for part in self.modules():
                own = vars(part)
                others += [(part, name, getattr(part, name)) for name in own.get("_computed", ()) if name not in own]
                if made is not None:
                    named = part.named_parameters(recurse=False, remove_duplicate=False)
                    others += [(part, name, one) for name, one in named if one.dtype != made]
            twins = {id(value): Parameter(value.detach().to(made or value.dtype)) for _, _, value in others}
            nodes = {key: one.node for key, one in twins.items()}
            for part, name, value in others:
                vars(part)[name] = twins[id(value)]
            try:
                reset(self)
            finally:
                for part, name, value in others:
                    vars(part)[name] = value
                    if name in vars(part).get("_computed", ()):
                        del vars(part)[name]
            for part, name, value in others:
                if twins[id(value)].node is not nodes[id(value)]:
                    new = twins[id(value)].detach().to(value.dtype)
                    how = vars(part).get("_computed", {}).get(name)
                    value.assign(new) if how is None else how.write(part, new)

    return method


class BackwardWatch:
    """Backward hooks of one call: gradients are caught on both sides of a module, and handed over together."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.into: list[Tensor | None] = []
        self.out_of: list[Tensor | None] = []
        self.waiting = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments; tensors whose gradient is asked for as copies that nobody else uses."""
        self.into = [None] * len(args)
        return tuple(self._watched(k, x) for k, x in enumerate(args))

    def _watched(self, place: int, x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.requires_grad or not mode.grad:
            return x
        self.waiting += 1
        own = x.clone()

        def arrived(gradient: Tensor) -> Tensor | None:
            self.into[place] = gradient
            self.waiting -= 1
            return None if self.waiting else self._tell()

        own.register_hook(arrived)
        return own

    def _tell(self) -> Tensor | None:
        changed = None
        for hook in self.module._backward_hooks:
            returned = hook.function(self.module, tuple(self.into), tuple(self.out_of))
            if returned is not None:
                changed = self._only("register_full_backward_hook", returned, self.into)
                self.into[self.into.index(next(g for g in self.into if g is not None))] = changed
        return changed

    def _only(self, name: str, returned: Any, gradients: list[Tensor | None]) -> Tensor:
        """The one gradient that is replaced."""
        several = returned if isinstance(returned, tuple) else (returned,)
        if sum(g is not None for g in gradients) > 1 or len(several) != len(gradients):
            got = f"a hook that returns {len(several)} gradients, for a module with {len(gradients)}"
            raise GraphError(message(name, got, "one for one, or None"))
        return next(g for g in several if g is not None)  # type: ignore[no-any-return]

    def outputs(self, result: Any) -> Any:
        """The result, its tensors watched."""
        several = list(result) if isinstance(result, (tuple, list)) else [result]
        self.out_of = [None] * len(several)
        for k, x in enumerate(several):
            if isinstance(x, Tensor) and x.requires_grad and mode.grad:
                several[k] = x.clone()
                several[k].register_hook(partial(self._begun, k))
        if isinstance(result, (tuple, list)):
            return type(result)(several)
        return several[0]

    def _begun(self, place: int, gradient: Tensor) -> Tensor | None:
        self.out_of[place] = gradient
        changed = None
        for hook in self.module._backward_pre_hooks:
            returned = hook.function(self.module, tuple(self.out_of))
            if returned is not None:
                changed = self.out_of[place] = self._only("register_full_backward_pre_hook", returned, self.out_of)
        if not self.waiting:
            self._tell()
        return changed


# As long as they have no elements they are loaded with any.
OPEN: Final = (Statistic, UninitializedParameter, UninitializedBuffer)


def _replace(tensor: Tensor, value: Tensor) -> None:
    """Give a parameter or buffer another shape or dtype."""
    needed = tensor.requires_grad
    if isinstance(tensor, Parameter) and not hasattr(tensor, "made"):
        tensor.made = tensor.dtype
    tensor.node = value.detach().node
    tensor.requires_grad_(needed)


class _Built(Attributes):
    """How a module is built: what compiled code is made for. Its mode is asked for at every call."""

    def __init__(self, module: Module) -> None:
        super().__init__(module, ("_training",))
        self.hooks = tuple(getattr(module, kind) for kind in KINDS)

    def settle(self) -> None:
        """Compare from now on. A hook that is left or missing would be so at the first call only."""
        module = self.owner
        if tuple(getattr(module, kind) for kind in KINDS) != self.hooks:
            for kind, hooks in zip(KINDS, self.hooks, strict=True):
                setattr(module, kind, hooks)
            got = f"a function that leaves a {type(module).__name__} with other hooks than it found"
            hint = "register and remove hooks outside of it, between calls, or do both inside"
            raise TraceError(message("jit", got, "a function that leaves them as they are", hint))
        super().settle()


def attribute(owner: str, name: str) -> str:
    """A name for what belongs to a module: not one that the class needs for itself."""
    if not isinstance(name, str) or not name or "." in name:
        raise ConfigError(message(owner, f"the name {shown(name)}", "a name without dots"))
    if name.startswith("__") or hasattr(Module, name):
        raise ConfigError(message(owner, f"the name {name!r}, which modules use themselves", "another name"))
    return name
