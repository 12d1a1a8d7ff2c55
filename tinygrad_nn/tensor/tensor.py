"""`Tensor`: the handle users hold, with everything of the method layers, gradients, and exchange with NumPy.

The layers are Core -> Converted -> Operators -> Logical -> Elementwise -> Shaped -> Reduced -> InPlace -> Indexed ->
Contracted -> Tensor; each may use the methods of those before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import wraps
from sys import getrefcount
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar

import numpy as np

from ..errors import DTypeError, GraphError, ShapeError, TraceError, message
from ..graph.graph import NO_ATTRS, Attrs, GradSlot, Node, Op, Shape
from ..graph.reverse import RELEASED, reverse
from ..ops.movement import BROADCAST, RESHAPE
from ..ops.source import CONSTANT, INPUT
from ..support.bundle import bundle
from ..support.settings import Device, check_device, shown, typed
from .contract import Contracted
from .core import Core, bind, check_assigned, constant, mode, same, scalar, writing
from .shape import Size, constructed, normal_axis
from .structure import Handle, replaced
from .untaped import Untaped
from .view import (
    ALIAS,
    DETACHED,
    MOVED,
    Strides,
    check_place,
    has_moved,
    is_row_major,
    regrouped,
    row_major,
    scattered,
    strides_after,
    written,
)

if TYPE_CHECKING:
    from .composed import Composed
else:
    Composed = Contracted  # what is composed joins the class in `tensor/__init__.py`

P = ParamSpec("P")
R = TypeVar("R")
_new = object.__new__
PRINTED: Final[dict[str, Any]] = {"precision": 4, "threshold": 1000}  # what NumPy is told when a tensor is shown


class Tensor(Composed):
    """An n-dimensional array that records how it was made. Create one with `tg.tensor`, `tg.zeros`, ...

    Methods are named and called as torch.Tensor's. Beside them there are `assign` (another value for the handle, as
    compiled functions know it), `tensordot`, and what gradient rules and layers are written with:
    `apply` (an op), `cast`, `as_float`, `cat_with`, `expand_to`, `new_arange`; the `node` of a tensor, the `handle` of
    a node, and `is_traced`.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ()

    is_cpu: Final = True  # as every tensor is
    is_cuda: Final = False
    is_sparse = is_quantized = is_meta = is_mps = is_cuda

    def __init__(self, *data: Any, device: Device = None) -> None:
        """As PyTorch's: numbers of the default dtype, or the sizes of a tensor of zeros. `tg.tensor` says which."""
        check_device("Tensor", device)
        self.node = constant(constructed("Tensor", data, mode.dtype))

    @staticmethod
    def handle(node: Node) -> Tensor:
        """A new plain Tensor on a node."""
        tensor = _new(Tensor)
        tensor.node = node
        return tensor

    # ---- gradients --------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows through this tensor. Assignable on leaves of a float dtype."""
        return self.node.needs_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    @typed
    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Collect a gradient in `.grad` from now on (or no longer). Raises DTypeError for integers, GraphError for
        non-leaves.
        """
        if requires_grad == self.node.needs_grad:
            return self
        if requires_grad and self.node.dtype.kind != "f":
            raise DTypeError(
                message(
                    "requires_grad_", f"dtype {self.dtype.name}", "a float dtype", "create it with dtype=tg.float32"
                )
            )
        if not self.is_leaf:
            raise GraphError(message("requires_grad_", "a tensor computed from others", "a leaf", "use detach()"))
        self._as_leaf(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was created rather than computed from tensors that need a gradient."""
        node = self.node
        return not node.inputs or not node.needs_grad or (node.slot is not None and node.slot.owner == node.serial)

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward() accumulated; None before."""
        if mode.recorder is not None:
            ask = getattr(mode.recorder.lift(self).slot, "ask", None)
            if ask is not None:
                ask()
        found = None if self.node.slot is None else self.node.slot.grad
        if found is not None and mode.recorder is None:
            found.node.value  # noqa: B018  of a compiled function: it stays what it is now when that is called again
        return found

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and not isinstance(value, Core):
            raise DTypeError(message("grad", type(value).__name__, "a tensor or None", "wrap it in tg.tensor"))
        if value is not None and (value.shape, value.dtype) != (self.shape, self.dtype):
            got = f"a gradient {value.shape}:{value.dtype} for a tensor {self.shape}:{self.dtype}"
            raise ShapeError(message("grad", got, "the same shape and dtype"))
        if mode.recorder is not None:
            mode.recorder.lift(self)
        if self.node.slot is not None or value is not None:
            _own_slot(self.node).grad = value

    def detach_(self) -> Self:
        """Forget how this tensor came about, in place. Raises GraphError for a view."""
        if self._base is not None:
            raise GraphError(message("detach_", "a view", "a tensor of its own", "use detach()"))
        if self.is_leaf:
            return self.requires_grad_(False)
        with enable_grad():
            return self.assign(self._stopped())

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in `.grad`."""
        self._needs_gradient("retain_grad")
        _own_slot(self.node).keep = True

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook(gradient)` when this tensor's gradient is known; what it returns (if not None) replaces it.

        Returns a handle that removes the hook.
        """
        self._needs_gradient("register_hook")
        if mode.recorder is not None:
            mode.recorder.lift(self)
        hooks = _own_slot(self.node).hooks
        key = max(hooks, default=-1) + 1
        hooks[key] = hook
        replaced()

        def remove() -> None:
            hooks.pop(key, None)
            replaced()

        return Handle(remove)

    def _needs_gradient(self, name: str) -> None:
        if not self.node.needs_grad:
            raise GraphError(
                message(name, "a tensor that does not require grad", hint="create it with requires_grad=True")
            )

    @typed
    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | None = None,
    ) -> None:
        """Accumulate the gradient of this tensor with respect to every leaf (or to `inputs`) in their `.grad`.

        `gradient` is the cotangent to start from; 1 for a tensor of one element. Raises GraphError where there is
        nothing to differentiate, where it is missing, or where the saved values were freed by an earlier walk.
        """
        if not self.node.needs_grad:
            hint = "give a parameter requires_grad=True and compute outside of no_grad()"
            raise GraphError(message("backward", "a tensor that depends on nothing that requires grad", hint=hint))
        seed = self._seed(gradient)
        retain = create_graph if retain_graph is None else retain_graph
        for one in () if inputs is None else inputs:
            if not isinstance(one, Core):
                raise DTypeError(message("backward", f"a {type(one).__name__} among inputs", "tensors"))
        wanted = None if inputs is None else [handle.node for handle in inputs]
        found = walk([self], [seed], wanted, retain, create_graph)
        for node, cotangent in found.items():
            slot = _own_slot(node)
            if slot.grad is None:
                slot.grad = cotangent
            else:
                with set_grad_enabled(create_graph):
                    slot.grad = slot.grad + cotangent

    def _seed(self, gradient: object) -> Tensor:
        """The cotangent a backward walk starts from, checked."""
        if gradient is None:
            if self.numel() != 1:
                hint = "sum() or mean() it first, or pass the cotangent as gradient="
                raise GraphError(
                    message("backward", f"a tensor of shape {self.shape} and no gradient", "one element", hint)
                )
            if self.shape:
                return self.new_ones(self.shape)
            return self.handle(constant(scalar(1, self.dtype).value))
        if not isinstance(gradient, Core):
            got = f"{type(gradient).__name__} as the gradient"
            raise DTypeError(message("backward", got, "a tensor", "wrap it in tg.tensor"))
        if gradient.shape != self.shape:
            raise ShapeError(
                message("backward", f"a gradient of shape {gradient.shape} for {self.shape}", "equal shapes")
            )
        return self.handle(gradient.cast(self.dtype).node)

    # ---- exchange ---------------------------------------------------------------------------------------------------

    def numpy(self, *, force: Any = False) -> np.ndarray[Any, Any]:
        """The value as a read-only NumPy array, without a copy. Raises GraphError where a gradient flows, unless
        `force`: detach first.
        """
        if self.node.needs_grad and not force:
            raise GraphError(message("numpy", "a tensor that requires grad", hint="use x.detach().numpy()"))
        if mode.recorder is not None and self.is_traced:
            later = getattr(mode.recorder, "array", None)
            if later is not None:
                return later(self)  # type: ignore[no-any-return]  # it stands for the array, and may be returned
        array: np.ndarray[Any, Any] = np.asarray(self._value("numpy")).view()
        array.flags.writeable = False
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if mode.recorder is not None:
            self._value("numpy")
        array = np.asarray(self.numpy(), dtype)
        return array.copy() if copy else array

    def item(self) -> Any:
        """The only element as a Python number. Raises ShapeError for more than one.

        While a function is traced it stands for that number: it may be calculated with, and returned.
        """
        if mode.recorder is None and self.numel() == 1:
            return self._value("item").item()
        number = getattr(mode.recorder, "number", None)
        if number is not None and self.numel() == 1 and self.is_traced:
            return number(self)
        return self._number("item")

    def _number(self, name: str) -> Any:
        """The only element, read now."""
        if self.numel() != 1:
            raise ShapeError(message(name, f"shape {self.shape}", "one element", "use tolist()"))
        return self._value(name).item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._value("tolist").tolist() if self.shape else self.item()

    def __float__(self) -> float:
        return float(self._number("float"))

    def __int__(self) -> int:
        return int(self._number("int"))

    def __index__(self) -> int:
        """What makes an integer of one element a size, an axis or a place in a list, as in PyTorch."""
        if self.node.dtype.kind != "i":
            raise DTypeError(message("index", f"a tensor of dtype {self.dtype.name}", "an integer", "use int(x)"))
        return int(self._number("index"))

    def __bool__(self) -> bool:
        if self.numel() != 1:
            hint = "use (x == y).all() or .any()"
            raise ShapeError(message("bool", f"a tensor of shape {self.shape}", "one element", hint))
        return bool(self._number("bool"))

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError(message("len", "a 0-d tensor", "at least one axis"))
        return self.shape[0]

    def __repr__(self) -> str:
        return f"tensor({self._text('tensor(')})"

    def _text(self, prefix: str) -> str:
        """The numbers as PyTorch shows them, with what is not the default behind."""
        array = np.asarray(self._value("repr"))
        mode_of_floats: Any = "maxprec_equal" if _fixed(array) else "maxprec"
        text = np.array2string(array, separator=", ", prefix=prefix, floatmode=mode_of_floats, **PRINTED)
        if (array.dtype.kind == "f" and array.dtype != mode.dtype) or array.dtype == np.int32 or array.size == 0:
            text += f", dtype={array.dtype.name}"
        if self.node.inputs and self.node.needs_grad:
            return text + f", grad_fn=<{self.grad_fn.name()}>"
        return text + (", requires_grad=True" if self.node.needs_grad else "")

    def _repr_html_(self) -> str:
        facts = ["scalar" if not self.shape else " x ".join(map(str, self.shape)), self.dtype.name]
        if not self.is_traced and self.numel() > 1 and self.dtype.kind in "fi":
            array = np.asarray(self._value("repr"))
            sound = array[np.isfinite(array)]
            facts += [f"from {sound.min():.4g} to {sound.max():.4g}, mean {sound.mean():.4g}"] if sound.size else []
            facts += [f"{array.size - sound.size:,} not finite"] if sound.size < array.size else []
        text = repr(self).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f'<pre style="margin:0">{text}</pre><small>{", ".join(facts)}</small>'

    _repr_mimebundle_ = bundle

    def __format__(self, spec: str) -> str:
        return format(self._number("format"), spec) if spec and self.numel() == 1 else repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if not self.is_leaf:
            raise GraphError(message("deepcopy", "a tensor computed from others", "a leaf", "detach() it first"))
        twin = _new(type(self))
        memo[id(self)] = twin
        twin.node = constant(np.array(self._value("deepcopy")))
        for name, value in _own_fields(self).items():
            setattr(twin, name, deepcopy(value, memo))
        if self.requires_grad:
            twin.requires_grad_()
            twin.grad = deepcopy(self.grad, memo)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        """The value and whether it is trained, as torch: neither the gradient nor how the value came about."""
        return rebuilt, (type(self), np.asarray(self._value("pickle")), self.requires_grad, _own_fields(self))

    # ---- sharing ----------------------------------------------------------------------------------------------------

    def _shared(self, op: Op, **attrs: Any) -> Tensor:
        """The result of a movement as a view: it reads what this tensor holds, and writes to it go here."""
        return View.of(self, op, attrs)

    def detach(self) -> Tensor:
        """The same elements without their history: a view, to which a write is a write to this tensor.

        Of a tensor that was computed from others and requires grad it is a constant of its own: a view would keep the
        whole history alive.

        >>> import tinygrad_nn as tg
        >>> x = tg.ones(2, requires_grad=True)
        >>> tg.detach(x).requires_grad
        False
        """
        root = self._root.node if type(self) is View else self.node
        return super().detach() if root.needs_grad and root.inputs else View.of(self, DETACHED, NO_ATTRS)

    @property
    def data(self) -> Tensor:
        """The same elements without their history, as PyTorch's: what is written to them is written here, and no
        gradient knows. Assigning copies values of the same shape, for all views; a leaf may get another shape or dtype.
        `detach()` and `no_grad` say the same more clearly.

        >>> import tinygrad_nn as tg
        >>> w = tg.ones(3, requires_grad=True)
        >>> w.data[1:].mul_(5)
        tensor([5., 5.])
        >>> w.data = w.data - 1
        >>> w.tolist(), w.is_leaf
        ([0.0, 4.0, 4.0], True)
        """
        return View.of(self, DETACHED, NO_ATTRS)

    @data.setter
    def data(self, values: Tensor) -> None:
        given = self._operand(values, "data")
        if (
            (given.shape, given.dtype) == (self.shape, self.dtype)
            or self._base is not None
            or mode.recorder is not None
        ):
            if given.shape != self.shape:
                got = f"values of shape {given.shape} for a tensor of shape {self.shape}"
                raise ShapeError(message("data", got, "equal shapes", "make another tensor"))
            self.data.copy_(given)
            return
        needed = self.requires_grad  # a leaf of another shape or dtype, whose gradient is forgotten
        if not self.is_leaf or (needed and given.dtype.kind != "f"):
            got = f"values of shape {given.shape} and dtype {given.dtype.name} for one of shape {self.shape}"
            raise ShapeError(message("data", got, "values of the same shape and dtype, or a leaf and floats"))
        self.node = constant(np.array(given._value("data")))
        self._as_leaf(needed)

    @property
    def _base(self) -> Tensor | None:
        """The tensor whose elements a view shares; None for others."""
        return None

    def _move(self, name: str, movement: Callable[[Tensor], Tensor]) -> Self:
        """Be a movement of the same elements from now on, which may have another shape. Views made before end.

        Raises GraphError for a leaf that requires grad, TraceError in a compiled function for what it did not make.
        """
        recorder = mode.recorder
        old = self.node if recorder is None else recorder.lift(self)
        _check_movable(name, self, old.op is INPUT or id(self) in getattr(recorder, "captures", ()))
        with set_grad_enabled(not self.is_leaf):
            node = movement(Tensor.handle(old)).node
        if recorder is None:
            self._point_at(node)
        else:
            recorder.assign(self, node)
        has_moved(self, node.serial)
        return self

    def contiguous(self) -> Tensor:
        """This tensor where its elements lie in row-major order, else a copy in which they do."""
        return self

    def is_contiguous(self) -> bool:
        """Whether the value lies in memory in row-major order."""
        return bool(np.asarray(self._value()).flags.c_contiguous)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one length."""
        if dim is None:
            return Size(self.shape)
        axis = normal_axis("size", dim, self.ndim)
        return self._length(axis, "size")

    def dim(self) -> int:
        """Number of axes."""
        return self.ndim

    def element_size(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    @property
    def retains_grad(self) -> bool:
        """Whether this is no leaf, and its gradient is kept in `.grad` all the same."""
        return not self.is_leaf and self.node.slot is not None and self.node.slot.keep

    def to_dense(self, dtype: Any = None, *, masked_grad: Any = None) -> Self:
        """This tensor, as all are dense, in a dtype."""
        return self if dtype is None else self.to(dtype)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a float one."""
        return self.dtype.kind == "f"

    def is_complex(self) -> bool:
        """Whether the dtype is complex, as none is."""
        return False

    def is_signed(self) -> bool:
        """Whether the dtype has negative numbers."""
        return self.dtype.kind != "b"

    def get_device(self) -> int:
        """The number of the device: -1, which is the CPU."""
        return -1

    def pin_memory(self, device: Any = None) -> Self:
        """This tensor: there is no device that memory could be pinned for."""
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self.dtype.itemsize

    @property
    def grad_fn(self) -> Any:
        """What made this tensor: an object with `name()` and `next_functions`; None for leaves."""
        return GradFn(self.node) if self.node.inputs and self.node.needs_grad else None

    def __dlpack__(self, **options: Any) -> Any:
        """Export the value without a copy where NumPy can (a read-only one is copied)."""
        self._check_exported("dlpack")
        return np.array(self._value()).__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        """The CPU."""
        return np.asarray(self._value()).__dlpack_device__()

    def _check_exported(self, name: str) -> None:
        if self.node.needs_grad:
            raise GraphError(message(name, "a tensor that requires grad", hint="use x.detach()"))


def _check_movable(name: str, tensor: Tensor, outside: bool) -> None:
    if tensor.requires_grad and tensor.is_leaf and mode.grad:
        hint = "write under tg.no_grad(), or make a new tensor"
        raise GraphError(message(name, "a leaf that requires grad, to get another shape", hint=hint))
    if outside and mode.recorder is not None:
        got = "a tensor that the compiled function did not make"
        raise TraceError(message(name, got, "a tensor of its own", f"use {name[:-1]}, which makes a new one"))


def _fixed(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind == "f" and bool((array != np.trunc(array)).any())


def rebuilt(kind: type[Tensor], array: Any, requires_grad: bool, fields: dict[str, Any]) -> Tensor:
    """A tensor as pickle finds it. It owns its memory, and has the dtype object that all others have."""
    tensor = _new(kind)
    tensor.node = constant(np.asarray(array).astype(np.dtype(array.dtype.name)))
    for name, value in fields.items():
        setattr(tensor, name, value)
    return tensor.requires_grad_(requires_grad)


def _own_fields(tensor: Tensor) -> dict[str, Any]:
    """What a subclass adds to a tensor: its slots, and attributes where it has a `__dict__`."""
    own = [vars(kind).get("__slots__", ()) for kind in type(tensor).__mro__ if not issubclass(Tensor, kind)]
    names = [name for slots in own for name in ((slots,) if isinstance(slots, str) else slots)]
    fields = {name: getattr(tensor, name) for name in names if not name.startswith("__") and hasattr(tensor, name)}
    return {**fields, **getattr(tensor, "__dict__", {})}


class View(Tensor):
    """A tensor that shares its elements with another, its parent, of which it is one movement.

    What it holds is a function of the node of its root, the tensor at the end of the chain of parents, and is worked
    out again when that has another one. A write gives the root a new value; recorded graphs keep the old one.
    """

    __slots__ = ("_leaf", "_root", "_seen", "_step")

    _root: Tensor
    _step: tuple[Tensor, Op, Attrs, bool, int]  # parent, movement, its attributes, were gradients on, its first serial
    _seen: Node | None  # the root's node that this view was worked out from
    _leaf: GradSlot  # only of a view that was made a leaf and shares its elements still

    @staticmethod
    def of(parent: Tensor, op: Op, attrs: Attrs) -> View:
        """A view of a tensor by one movement. Much eager code makes views all the time: keep it flat."""
        view = _new(View)
        view._root = root = parent._root if type(parent) is View else parent
        recorder = mode.recorder
        if op is DETACHED:
            node = Core.detach(parent).node
        elif recorder is None:
            node = bind(op, (parent.node,), attrs)
        else:
            node = recorder.bind(op, (recorder.lift(parent),), attrs)
        _hold(view, node)
        view._seen, view._step = root.node, (parent, op, attrs, mode.grad, node.serial)
        return view

    @property
    def node(self) -> Node:
        """The node of what the elements are now."""
        if self._root.node is not self._seen:
            stale = [view for view in self._chain() if view._root.node is not view._seen]
            for view in stale:
                view._renew()
        return _held(self)  # type: ignore[no-any-return]

    @node.setter
    def node(self, node: Node) -> None:
        # For a time, as traces and checks do: until the root has another node.
        if self._step[1] is ALIAS:
            self._root.node = node
        else:
            _hold(self, node)
            self._seen = self._root.node

    @property
    def born(self) -> int:
        """The serial of its first node."""
        return self._step[4]

    @property
    def leaf(self) -> GradSlot | None:
        """The slot of a view that was made a leaf and shares its elements still."""
        return getattr(self, "_leaf", None)

    @property
    def _base(self) -> Tensor:
        return self._root

    def _chain(self) -> list[View]:
        """The views that this one is made of, the one next to the root first."""
        chain, parent = [self], self._step[0]
        while type(parent) is View:
            chain.append(parent)
            parent = parent._step[0]
        chain.reverse()
        if MOVED:
            for view in chain:
                check_place(view._step[0], view.born)
        return chain

    def _renew(self) -> None:
        """Work out what the elements are now, recorded if gradients were on when the view was made."""
        parent, op, attrs, recorded, _ = self._step
        seen, before, mode.grad = self._root.node, mode.grad, recorded
        try:
            node = parent.node
            if op is DETACHED:
                node = same(node, needs_grad=False) if node.value is None else constant(node.value)
            elif op is ALIAS:
                pass
            elif mode.recorder is None or (node.value is not None and getattr(mode.recorder, "symbolic", False)):
                node = bind(op, (node,), attrs)
            else:
                node = mode.recorder.bind(op, (node,), attrs)
        finally:
            mode.grad = before
        if self.leaf is not None:
            own = Node(CONSTANT, (), NO_ATTRS, node.shape, node.dtype, node.value, True)
            node = same(node, needs_grad=True) if node.value is None else own
            node.slot, self.leaf.owner = self.leaf, node.serial
        _hold(self, node)
        self._seen = seen

    def _as_leaf(self, requires_grad: bool) -> None:
        """A leaf that shares its elements still, unless nobody is left to share them with; or no longer a leaf."""
        if self.leaf is not None:
            del self._leaf
        if requires_grad and self._is_alone():
            self._root = root = Tensor.handle(self.node)
            root._as_leaf(True)
            self._step = (root, ALIAS, NO_ATTRS, True, self.born)
        elif requires_grad:
            self._leaf = GradSlot(keep=True)
        self._renew()

    def _is_alone(self) -> bool:
        """Whether nothing but this view holds what it was made of, as in `tg.arange(6.0).view(2, 3).requires_grad_()`.

        Asked of CPython's reference counts; a wrong no costs nothing but that compiled code refuses such a leaf.
        """
        view, count = self, 1
        while type(view._step[0]) is View:
            if getrefcount(view._step[0]) > 2:  # the step, and the argument of this call
                return False
            view, count = view._step[0], count + 1
        return getrefcount(self._root) <= count + 2  # `_root` of each view, the step of the last, and the argument

    # ---- writing --------------------------------------------------------------------------------------------------

    def _write(self, name: str, result: Core) -> Self:
        """As for any tensor, if its root may be written through this view."""
        root = self._root.node
        if mode.grad and root.needs_grad and not any(view._step[1] is DETACHED for view in self._chain()):
            if self._root.is_leaf:
                hint = "write under tg.no_grad(), or to a clone()"
                got = "a view of a leaf that requires grad, to be written in place"
                raise GraphError(message(name, got, hint=hint))
            if not self._step[3]:
                got = "a view made under no_grad of a tensor with a history, to be written in place with gradients on"
                raise GraphError(message(name, got, hint="make the view with gradients on, or write under no_grad"))
        return super()._write(name, result)

    def assign(self, other: Core) -> Self:
        """Give the elements other values; they are those of the root too. Raises ShapeError and DTypeError."""
        check_assigned(self, other)
        steps, before = [view._step for view in self._chain()], mode.grad
        if any(op is DETACHED for _, op, *_ in steps):
            if other.requires_grad:
                hint = "detach() the value, or write to the tensor itself"
                raise GraphError(message("assign", "a value that requires grad, for a detached tensor", hint=hint))
            mode.grad = False  # a value without a history is written, whatever the root has
        try:
            with writing():
                if any(op is BROADCAST for _, op, *_ in steps):
                    value: Any = scattered([(op, attrs) for _, op, attrs, *_ in steps], self._root, other)
                else:
                    value = other
                    for parent, op, attrs, *_ in reversed(steps):
                        value = written(op, attrs, parent, value)
                self._root.assign(value)
        finally:
            mode.grad = before
        return self

    def _move(self, name: str, movement: Callable[[Tensor], Tensor]) -> Self:
        """As for any tensor. The root keeps its shape."""
        _check_movable(name, self, self.born <= getattr(mode.recorder, "start", -1))
        twin = _new(View)
        _hold(twin, self.node)
        twin._root, twin._seen, twin._step = self._root, self._seen, self._step
        moved = movement(twin)
        if type(moved) is not View:
            raise GraphError(message(name, "a view whose elements do not lie in row-major order", hint="clone() it"))
        _hold(self, moved.node)
        self._root, self._seen, self._step = moved._root, moved._seen, moved._step
        has_moved(self, moved.born)
        return self

    # ---- layout ---------------------------------------------------------------------------------------------------

    def _strides(self) -> Strides | None:
        """Where the elements lie among those of the root; None where no strides say it."""
        strides: Strides | None = row_major(self._root.node.shape)
        for view in self._chain():
            parent, op, attrs, *_ = view._step
            strides = strides_after(op, attrs, parent.node.shape, strides)
        return strides

    def _reshaped(self, shape: Shape) -> Any:
        """A view where the elements lie in that order, else a copy."""
        strides = self._strides()
        if strides is not None and regrouped(self.node.shape, strides, shape) is not None:
            return View.of(self, RESHAPE, {"shape": shape})
        return self.apply(RESHAPE, shape=shape)

    def view(self, *shape: Any) -> Any:
        """As reshape, but never a copy: raises ShapeError where the elements do not lie in that order."""
        result = self.reshape(*shape)
        if type(result) is not View:
            got = f"shape {result.shape} for a view of shape {self.shape} whose elements do not lie in that order"
            raise ShapeError(message("view", got, "axes that can be merged", "use reshape, which copies"))
        return result

    def contiguous(self) -> Any:
        """This view where its elements lie in row-major order, else a copy in which they do."""
        return self if self.is_contiguous() else self.clone()

    def is_contiguous(self) -> bool:
        """Whether the elements lie in row-major order."""
        return is_row_major(self.shape, self._strides())

    # ---- copies, which are tensors of their own --------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        memo[id(self)] = twin = Tensor.handle(self.node).__deepcopy__(memo)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Tensor.handle(self.node).__reduce_ex__(protocol)


_held, _hold = vars(Core)["node"].__get__, vars(Core)["node"].__set__


class GradFn:
    """The recorded application behind a tensor, as torch shows it."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def name(self) -> str:
        """The op, as `AddBackward`."""
        return "".join(part.capitalize() for part in self.node.op.name.split("_")) + "Backward"

    @property
    def next_functions(self) -> tuple[GradFn, ...]:
        """What the operands came from."""
        return tuple(GradFn(operand) for operand in self.node.inputs if operand.inputs and operand.needs_grad)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


def _own_slot(node: Node) -> GradSlot:
    """The slot of this node alone: RELEASED is shared by all that hold nothing else."""
    slot = node.slot
    if slot is None or slot is RELEASED:
        fresh = GradSlot()
        fresh.released = slot is RELEASED
        node.slot = slot = fresh
    return slot


def walk(
    roots: Sequence[Tensor], seeds: Sequence[Tensor], wanted: list[Node] | None, retain: bool, create_graph: bool
) -> dict[Node, Tensor]:
    """Walk backward from `roots`: recorded if the result is to be differentiated or somebody looks on, else on values
    without a tape.
    """
    nodes = [root.node for root in roots]
    if create_graph or mode.recorder is not None or mode.watch is not None:
        with set_grad_enabled(create_graph):
            found = reverse(nodes, seeds, Tensor.handle, wanted, retain, mode.watch)
            return {node: Tensor.handle(cotangent.node) for node, cotangent in found.items()}
    before, mode.grad = mode.grad, False
    try:
        starts = [Untaped.handle(seed.node) for seed in seeds]
        values = mode.quiet_region(reverse, nodes, starts, Untaped.handle, wanted, retain, None, exposed)
    finally:
        mode.grad = before
    return {node: exposed(cotangent) for node, cotangent in values.items()}


def exposed(untaped: Core) -> Tensor:
    """An untaped value as a Tensor."""
    value = untaped.node.value
    return Tensor.handle(Node(CONSTANT, (), NO_ATTRS, value.shape, value.dtype, value))


class Gradients:
    """A block, or a function, in which gradients are recorded or not: `with tg.no_grad(): ...`, `@tg.no_grad()`."""

    __slots__ = ("before", "enabled")

    def __init__(self, enabled: bool) -> None:
        self.enabled, self.before = enabled, mode.grad

    def __enter__(self) -> None:
        self.before, mode.grad = mode.grad, self.enabled

    def __exit__(self, *error: object) -> None:
        mode.grad = self.before

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, which always runs in such a block."""

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with Gradients(self.enabled):
                return function(*args, **kwargs)

        return call


class set_grad_enabled(Gradients):
    """Record what gradients need, or do not, from now on; as a context, until its end.

    >>> import tinygrad_nn as tg
    >>> x = tg.ones(2, requires_grad=True)
    >>> with tg.set_grad_enabled(False):
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    __slots__ = ()

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, (bool, np.bool_)):
            raise DTypeError(message("set_grad_enabled", f"mode {shown(mode)}", "True or False"))
        super().__init__(bool(mode))
        super().__enter__()

    def __enter__(self) -> None:
        """It holds already."""

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, which always runs so; what held before holds again."""
        self.__exit__()
        return super().__call__(function)


def no_grad(orig_func: Callable[..., Any] | None = None) -> Any:
    """Compute without recording: `with tg.no_grad(): ...`, `@tg.no_grad()`, `@tg.no_grad`.

    >>> import tinygrad_nn as tg
    >>> x = tg.ones(2, requires_grad=True)
    >>> with tg.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """
    return Gradients(False) if orig_func is None else Gradients(False)(orig_func)


def enable_grad(orig_func: Callable[..., Any] | None = None) -> Any:
    """Record again inside a `no_grad` block.

    >>> import tinygrad_nn as tg
    >>> x = tg.ones(2, requires_grad=True)
    >>> with tg.no_grad(), tg.enable_grad():
    ...     y = x * 2
    >>> y.requires_grad
    True
    """
    return Gradients(True) if orig_func is None else Gradients(True)(orig_func)


@typed
def inference_mode(mode: bool | Callable[..., Any] = True) -> Any:
    """`no_grad`, by PyTorch's name for running a trained model; `inference_mode(False)` is `enable_grad`.

    >>> import tinygrad_nn as tg
    >>> x = tg.ones(2, requires_grad=True)
    >>> with tg.inference_mode():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """
    return no_grad(mode) if callable(mode) else Gradients(not mode)
