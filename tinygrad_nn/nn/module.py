"""`Module`: a tree of layers. Parameters, buffers and children are what its `__dict__` holds; nothing is registered
behind one's back.

Names are attribute paths (`0.weight`), as in torch. A tensor that is reached by two paths is one parameter, named by
the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self, TypeVar

from ..errors import ConfigError, GraphError, ShapeError, TraceError, message, printable
from ..graph.graph import DType
from ..support.settings import mapping, shown, typed, typed_as
from ..tensor import Tensor, no_grad
from ..tensor.core import check_dtype, mode
from ..tensor.creation import as_tensor
from ..tensor.structure import Attributes, note, replaced
from .parameter import Buffer, Parameter, Statistic
from .summary import Summary, summarize

T = TypeVar("T")


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
    _forward_hooks: tuple[Callable[..., Any], ...] = ()
    _forward_pre_hooks: tuple[Callable[..., Any], ...] = ()
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
        if self._forward_hooks or self._forward_pre_hooks:
            return self._run(*args, **kwargs)
        return self.forward(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        for hook in self._forward_pre_hooks:
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **kwargs)
        for hook in self._forward_hooks:
            changed = hook(self, args, result)
            if changed is not None:
                result = changed
        return result

    def note_structure(self) -> None:
        """Tell who traces that how this module is built is part of what is frozen, with everything below."""
        for module in self.modules():
            note(module, _Built)

    def __getattr__(self, name: str) -> Any:
        if name == "forward":
            raise GraphError(
                message(type(self).__name__, "a call of a module without forward", hint="define forward(self, x)")
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ---- the tree ---------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """The direct children."""
        for _, child in self.named_children():
            yield child

    @typed
    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(path, module) of this module and everything below, each once, parents first."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            below = [(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]
            stack += reversed(below)

    def modules(self) -> Iterator[Module]:
        """This module and everything below."""
        for _, module in self.named_modules():
            yield module

    def _named(self, kind: type[T], every: bool = False) -> Iterator[tuple[str, T]]:
        """(path, tensor) of one kind; a tied tensor once unless `every`."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kind) and (every or id(value) not in seen):
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), each parameter once."""
        return self._named(Parameter)

    def parameters(self) -> Iterator[Parameter]:
        """The parameters, each once."""
        for _, parameter in self._named(Parameter):
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(path, buffer), each buffer once."""
        return self._named(Buffer)

    def buffers(self) -> Iterator[Buffer]:
        """The buffers, each once."""
        for _, buffer in self._named(Buffer):
            yield buffer

    @typed
    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Set an attribute that belongs to the state and is not trained (None: an absent one)."""
        setattr(self, _attribute("register_buffer", name), None if tensor is None else Buffer(tensor, persistent))

    def register_parameter(self, name: str, parameter: Any) -> None:
        """Set an attribute that is trained (None: an absent one)."""
        if parameter is not None and not isinstance(parameter, Parameter):
            got = f"a {type(parameter).__name__}"
            raise ConfigError(message("register_parameter", got, "a tg.nn.Parameter or None"))
        setattr(self, _attribute("register_parameter", name), parameter)

    def add_module(self, name: str, module: Any) -> None:
        """Set an attribute that is a sub-module."""
        if module is not None and (not isinstance(module, Module) or self in module.modules()):
            got = "a module that contains this one" if isinstance(module, Module) else f"a {type(module).__name__}"
            raise ConfigError(message("add_module", got, "another module, or None"))
        setattr(self, _attribute("add_module", name), module)

    # ---- state ------------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Tensor]:
        tensors = {**dict(self._named(Parameter, every=True)), **dict(self._named(Buffer, every=True))}
        order = [f"{path}.{name}" if path else name for path, module in self.named_modules() for name in vars(module)]
        return {path: tensors[path] for path in order if path in tensors and getattr(tensors[path], "persistent", True)}

    def state_dict(self) -> dict[str, Tensor]:
        """Values of all parameters and persistent buffers by path, with torch's keys and shapes.

        Unlike torch's they are those of now: later changes of the module do not reach them.
        """
        return {path: tensor.detach().clone() for path, tensor in self._state().items()}

    @typed
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Take over values: all of them or, on error, none.

        Raises ShapeError listing missing and unexpected keys (unless not `strict`) and shapes that differ.
        """
        mapping("load_state_dict", state_dict)
        own = self._state()
        faults = []
        if strict:
            faults += [f"missing key {key!r}" for key in own if key not in state_dict]
            faults += [f"unexpected key {key!r}" for key in state_dict if key not in own]
        values = {key: as_tensor(value).detach().clone() for key, value in state_dict.items() if key in own}
        open_ones = {key for key, value in own.items() if isinstance(value, Statistic) and not value.numel()}
        for key, value in values.items():
            if value.shape != own[key].shape and key not in open_ones:
                faults.append(f"shape {value.shape} for {key!r} of shape {own[key].shape}")
        if faults:
            raise ShapeError(message("load_state_dict", "; ".join(faults), "the state of an equal module"))
        with no_grad():
            for key, value in values.items():
                if key in open_ones:
                    own[key].node = value.to(own[key].dtype).node
                else:
                    own[key].assign(value.to(own[key].dtype))

    @typed
    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call a function on everything below and on this module."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    @typed
    def train(self, on: bool = True) -> Self:
        """Switch to training mode (dropout drops, statistics run)."""
        for module in self.modules():
            module.training = on
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

    def to(self, dtype: Any) -> Self:
        """Parameters and buffers of a float dtype in another one. Gradients are forgotten."""
        wanted: DType = check_dtype("to", dtype)
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.dtype.kind == "f" and tensor.dtype != wanted:
                needed = tensor.requires_grad
                tensor.node = tensor.detach().to(wanted).node
                tensor.requires_grad_(needed)
        return self

    def float(self) -> Self:
        """Everything in float32."""
        return self.to("float32")

    def double(self) -> Self:
        """Everything in float64."""
        return self.to("float64")

    @typed_as(ConfigError)
    def register_forward_hook(self, hook: Callable[..., Any]) -> Callable[[], None]:
        """Call `hook(module, args, result)` after forward; what it returns (if not None) replaces the result.

        Returns a function that removes the hook.
        """
        if mode.recorder is not None:
            note(self, _Built)
        self._forward_hooks = (*self._forward_hooks, hook)

        def remove() -> None:
            self._forward_hooks = tuple(h for h in self._forward_hooks if h is not hook)

        return remove

    @typed_as(ConfigError)
    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Callable[[], None]:
        """Call `hook(module, args)` before forward; what it returns (if not None) replaces the arguments."""
        if mode.recorder is not None:
            note(self, _Built)
        self._forward_pre_hooks = (*self._forward_pre_hooks, hook)

        def remove() -> None:
            self._forward_pre_hooks = tuple(h for h in self._forward_pre_hooks if h is not hook)

        return remove

    # ---- looking at it ----------------------------------------------------------------------------------------------

    def summary(self, *inputs: Any) -> Summary:
        """A table of layers with the shapes that `inputs` give and their numbers of parameters."""
        return summarize(self, inputs)

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr."""
        return ""

    def __repr__(self) -> str:
        children = [(printable(name, keep=""), repr(child)) for name, child in self.named_children()]
        lines = [f"({name}): " + text.replace("\n", "\n  ") for name, text in children]
        extra = self.extra_repr()
        if not lines:
            return printable(f"{type(self).__name__}({extra})")
        return printable(f"{type(self).__name__}({extra}\n  " + "\n  ".join(lines) + "\n)")

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


class _Built(Attributes):
    """How a module is built: what compiled code is made for. Its mode is asked for at every call."""

    def __init__(self, module: Module) -> None:
        super().__init__(module, ("_training",))
        self.hooks = module._forward_hooks, module._forward_pre_hooks

    def settle(self) -> None:
        """Compare from now on. A hook that is left or missing would be so at the first call only."""
        module = self.owner
        if (module._forward_hooks, module._forward_pre_hooks) != self.hooks:
            module._forward_hooks, module._forward_pre_hooks = self.hooks
            got = f"a function that leaves a {type(module).__name__} with other hooks than it found"
            hint = "register and remove hooks outside of it, between calls, or do both inside"
            raise TraceError(message("jit", got, "a function that leaves them as they are", hint))
        super().settle()


def _attribute(owner: str, name: str) -> str:
    """A name for what belongs to a module: not one that the class needs for itself."""
    if not isinstance(name, str) or not name or "." in name:
        raise ConfigError(message(owner, f"the name {shown(name)}", "a name without dots"))
    if name.startswith("__") or hasattr(Module, name):
        raise ConfigError(message(owner, f"the name {name!r}, which modules use themselves", "another name"))
    return name
