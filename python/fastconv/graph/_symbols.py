"""Symbolic values: what `forward` computes with while a graph is recorded.

A functional op that finds a `Symbol` among its inputs normalises its arguments as ever and calls
`record`, instead of native code. docs/operators.md lists the operators with their inputs and
attributes; what is not given has its default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastconv._core as _core
from fastconv._arguments import as_axis, is_sequence, numpy_array
from fastconv._read_only import read_only
from fastconv.graph._arithmetic import Arithmetic
from fastconv.graph._numpy_functions import NumpyFunctions
from fastconv.graph._reductions import Reductions
from fastconv.graph._refusals import Refusals, unsupported
from fastconv.ops._device import record_with
from fastconv.ops._pointwise import INSTRUCTIONS

if TYPE_CHECKING:
    from fastconv.graph._module import Recordable

Array = NDArray[Any]

_BOOL = np.dtype(np.bool_)


class Recorder:
    """Records the operators that `Module.forward` applies to symbolic values.

    Parameters
    ----------
    dtype : numpy.dtype
        Of inputs, constants and what is computed of them: float32 or float64.
    convert : bool
        Whether arrays of another floating dtype are converted to it; otherwise they raise a
        `TypeError`, as they do eagerly.
    paths : mapping of int to str
        The path of each module of the network, by its ``id``.
    keys : mapping of int to str
        The key in the state dict of each array of the network, by its ``id``.

    Attributes
    ----------
    native
        The recorded graph.
    dtype : numpy.dtype
    taps : dict of int to int or None
        The number of the value that each called module returned last, by the module's ``id``;
        `None` where it was not one value.
    calls : list of (Recordable, str)
        The modules that are being called, the innermost last; each with its path, or with that of
        the one around it that has one.
    recorded : list of (Recordable or None, object)
        The constants, and the operators with their inputs and attributes, in order; each with the
        module whose `forward` it is from.
    convert, keys
        As passed.
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
        *,
        convert: bool = False,
        paths: Mapping[int, str] | None = None,
        keys: Mapping[int, str] | None = None,
    ) -> None:
        self.native = _core.Graph()
        self.dtype = dtype
        self.taps: dict[int, int | None] = {}
        self.calls: list[tuple[Recordable, str]] = []
        self.recorded: list[tuple[Recordable | None, Any]] = []
        self.convert = convert
        self.keys = keys or {}
        self._paths = paths or {}
        self._constants: dict[int, tuple[int, Any]] = {}  # keeps the key's object alive

    def input(self, shape: Sequence[int], dtype: np.dtype[Any] | None = None) -> Symbol:
        """Add an input of this shape, and of the recorder's dtype or another."""
        x = self._symbol(self.native.input(tuple(shape), dtype or self.dtype))
        x.writeable = False
        return x

    def record(
        self,
        op: str,
        inputs: Sequence[Symbol | Array | None],
        attributes: Mapping[str, Any] | None = None,
    ) -> Symbol:
        """Add an operator; `inputs` and `attributes` as docs/operators.md has them."""
        kinds = INSTRUCTIONS[op][0] if op in INSTRUCTIONS else ""
        ids = [self._id(op, value, kinds[i : i + 1]) for i, value in enumerate(inputs)]
        given = dict(attributes or {})
        module, path = self.calls[-1] if self.calls else (None, "")
        self.recorded.append((module, (op, ids, given)))
        return self._symbol(self.native.add(op, ids, given, path))

    def enter_module(self, module: Recordable) -> None:
        """Note that a call of `module` begins."""
        path = self._paths.get(id(module)) or (self.calls[-1][1] if self.calls else "")
        self.calls.append((module, path))

    def mark_module(self, module: Recordable, y: Any) -> None:
        """Note that a call of `module` has returned `y`, for taps."""
        while self.calls.pop()[0] is not module:  # others have raised
            pass
        self.taps[id(module)] = y.id if isinstance(y, Symbol) else None

    def _symbol(self, value: int) -> Symbol:
        return Symbol(self, value, tuple(self.native.shape(value)))

    def _id(self, op: str, value: Any, kind: str) -> int | None:
        if value is None:
            return None
        if isinstance(value, Symbol):
            if value.graph is not self:
                raise ValueError(f"{op}: the symbolic values belong to different recordings")
            return int(value.id)
        if (known := self._constants.get(id(value))) is not None:
            return known[0]
        key = self.keys.get(id(value))
        array = value if key else numpy_array(f"an input of {op}", value)
        dtype = _BOOL if kind == "m" else self.dtype
        if array.dtype != dtype and not (self.convert and array.dtype.kind == dtype.kind == "f"):
            raise TypeError(
                f"{op}: an array has dtype {array.dtype}, but the network computes in "
                f"{dtype}: convert it with .astype(np.{dtype})"
            )
        module = self.calls[-1][0] if self.calls else None
        self.recorded.append((module, value if isinstance(value, np.ndarray) else array))
        constant = self._constant(array, dtype, key or "")
        self._constants[id(value)] = (constant, value)
        return constant

    def _constant(self, array: Array, dtype: np.dtype[Any], name: str) -> int:
        """Add a constant: a copy, unless nobody can write to the array."""
        constant: int = self.native.constant(read_only(array, dtype), name)
        return constant


class Symbol(Arithmetic, Reductions, NumpyFunctions, Refusals):
    """The result of a recorded operator: a shape and a dtype, and no numbers yet.

    It takes the functions of `fastconv.ops`, NumPy's functions of the same meaning, arithmetic,
    comparisons, basic slicing, one constant array of integers as an index, and those methods of
    NumPy's arrays that are such functions: `reshape`, `transpose`, `swapaxes`, `squeeze`, `ravel`,
    `flatten`, `take`, `repeat`, `clip`, `round`, `mean`, `var`, `std`, `sum`, `prod`, `max`, `min`,
    `argmax`, `argmin`, `cumsum`, `copy`. Whatever else is done to it raises a `TypeError` that
    names the substitute.

    ``+=``, ``-=``, ``*=`` and ``/=`` change this very symbol, as they change an array, for all who
    have it.

    Attributes
    ----------
    graph : Recorder
        The recording it belongs to.
    id : int
        Its number there.
    shape : tuple of int
    writeable : bool
        Whether ``+=`` and ``*=`` can be recorded: not on inputs, nor where NumPy would share memory
        with another array, which could not follow.
    """

    __slots__ = ("graph", "id", "shape", "writeable")

    def __init__(self, graph: Recorder, value: int, shape: tuple[int, ...]) -> None:
        self.graph = graph
        self.id = value
        self.shape = shape
        self.writeable = shape != ()  # what has no dimensions may be a number in NumPy

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What its elements are: of the recording's dtype, but masks are bool and indices int64."""
        dtype: np.dtype[Any] = self.graph.native.dtype(self.id)
        return dtype

    def __repr__(self) -> str:
        return f"Symbol(shape={self.shape}, dtype={self.dtype})"

    def __fastconv_record__(
        self,
        op: str,
        inputs: Sequence[Symbol | Array | None],
        attributes: Mapping[str, Any],
    ) -> Symbol:
        """Record an operator in the graph of this value (`fastconv.ops._symbols`)."""
        y: Symbol = self.graph.record(op, inputs, attributes)
        return y

    def _in_place(self, op: str, sign: str, other: Any) -> Symbol:
        if not self.writeable:
            raise TypeError(
                f"x {sign}= y cannot be recorded here: x is an input, has no dimensions, or is a "
                f"view of another value, which would change too, or has views (slices, reshape, "
                f"transpose, swapaxes, squeeze): write x = x {sign} y"
            )
        y: Symbol = self._binary(op, other)
        if y.shape != self.shape:
            raise ValueError(
                f"x {sign}= y: x has shape {self.shape}, but the result {y.shape}: "
                f"write x = x {sign} y"
            )
        self.id = y.id
        return self

    def _view(self, y: Symbol) -> Symbol:
        """Return `y`, which in NumPy is a view of this value."""
        self.writeable = y.writeable = False
        return y

    def __getitem__(self, key: Any) -> Symbol:
        items = list(key) if isinstance(key, tuple) else [key]
        if sum(item is Ellipsis for item in items) > 1:
            raise IndexError("an index can only have a single ellipsis ('...')")
        used = sum(item is not None and item is not Ellipsis for item in items)
        if used > self.ndim:
            raise IndexError(
                f"too many indices: the value has shape {self.shape}, {used} were given"
            )
        if not any(item is Ellipsis for item in items):
            items.append(Ellipsis)
        new = sum(item is None for item in items)
        bounds: list[tuple[int, int, int]] = []
        shape: list[int] = []  # of the result
        taken: list[tuple[int, Any]] = []  # axes of the result, and their indices
        for item in items:
            size = self.shape[len(bounds)] if len(bounds) < self.ndim else 0
            if item is None:
                shape.append(1)
            elif item is Ellipsis:
                rest = self.shape[len(bounds) : len(bounds) + self.ndim - used]
                bounds += [(0, n, 1) for n in rest]
                shape += rest
            elif isinstance(item, slice):
                start, stop, step = item.indices(size) if size else slice(0).indices(0)
                step = max(-size, min(step, size)) or 1  # more than the size is as good as it
                bounds.append((start, stop, step))
                shape.append(len(range(start, stop, step)))
            elif isinstance(item, list) or (isinstance(item, np.ndarray) and item.ndim > 0):
                taken.append((len(shape), item))
                bounds.append((0, size, 1))
                shape.append(size)
            else:
                at = self._index(item)
                if not -size <= at < size:
                    raise IndexError(
                        f"index {at} is out of bounds for axis {len(bounds)} with size {size}"
                    )
                bounds.append((at % size, at % size + 1, 1))
        if len(taken) > 1 or (taken and len(shape) < self.ndim + new):
            raise TypeError(
                "indexing with an array is possible on a symbolic value beside slices, None and "
                "... only: use one array or integer at a time, as in x[0][:, indices]"
            )
        y = self
        if not taken or any(b != (0, n, 1) for b, n in zip(bounds, self.shape, strict=True)):
            attributes = {
                name: tuple(b[i] for b in bounds)
                for i, name in enumerate(("start", "stop", "step"))
            }
            y = self.graph.record("slice", [self], attributes)
        if y.shape != tuple(shape):
            y = self.graph.record("reshape", [y], {"shape": shape})
        if taken:
            ((axis, indices),) = taken
            return y.take(indices, axis)
        return self._view(y)

    def copy(self, order: str = "C") -> Symbol:
        """Return a value of its own, as `numpy.ndarray.copy`."""
        return Symbol(self.graph, self.id, self.shape)

    def reshape(self, *shape: Any, **other: Any) -> Symbol:
        """Give it another shape, as `numpy.ndarray.reshape`."""
        if other:
            unsupported(f"reshape({', '.join(other)}=)", "view")
        return self._view(self._op("reshape", shape[0] if len(shape) == 1 else shape))

    def transpose(self, *axes: Any, **other: Any) -> Symbol:
        """Reorder all axes, as `numpy.ndarray.transpose`; without arguments reverse them."""
        order = axes[0] if len(axes) == 1 else axes
        if order is None or axes == ():
            order = range(self.ndim)[::-1]
        if other or not is_sequence(order) or len(order) != self.ndim:
            unsupported(f"a transpose of other than all {self.ndim} axes", "transpose")
        return self._view(self._op("permute", order))

    def swapaxes(self, axis1: int, axis2: int) -> Symbol:
        """Exchange two axes, as `numpy.ndarray.swapaxes`."""
        order = list(range(self.ndim))
        a, b = (as_axis("axis", axis, self.ndim) for axis in (axis1, axis2))
        order[a], order[b] = b, a
        return self._view(self._op("permute", order))

    def squeeze(self, axis: Any = None, **other: Any) -> Symbol:
        """Remove axes of size 1, as `numpy.ndarray.squeeze`."""
        if other or isinstance(axis, list):  # NumPy takes no list
            unsupported("squeeze with other arguments than NumPy's", "squeeze")
        return self._view(self._op("squeeze", axis))

    def ravel(self, order: str = "C") -> Symbol:
        """Join all axes, as `numpy.ndarray.ravel`."""
        return self._view(self.flatten(order))

    def flatten(self, order: str = "C") -> Symbol:
        """Join all axes, as `numpy.ndarray.flatten`."""
        if order != "C":
            unsupported("flatten with other arguments than NumPy's", "flatten")
        return self._op("flatten")

    def take(self, indices: Any, axis: int | None = None, **other: Any) -> Symbol:
        """Take elements by constant indices, as `numpy.ndarray.take`."""
        if other:
            unsupported("take with other arguments than indices and axis", "take")
        return self._op("take", indices, axis)

    def repeat(self, repeats: Any, axis: int | None = None, *others: Any) -> Symbol:
        """Repeat each element along an axis, as `numpy.ndarray.repeat`."""
        if others:
            unsupported("repeat with torch's arguments", "repeat")
        x, at = (self.flatten(), 0) if axis is None else (self, as_axis("axis", axis, self.ndim))
        return x.take(np.repeat(np.arange(x.shape[at]), repeats), at)

    @staticmethod
    def _index(item: Any) -> int:
        if isinstance(item, (bool, np.bool_)):
            unsupported("indexing with a boolean")
        try:
            return index(item)
        except TypeError:
            unsupported(f"indexing with {type(item).__name__} (only integers, slices, None, ...)")


record_with(Recorder)
