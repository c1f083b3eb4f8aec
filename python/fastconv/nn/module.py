"""`Module`, the base class of layers, blocks and networks."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from fastconv import cuda
from fastconv._arguments import as_array
from fastconv._symbolic import Symbol
from fastconv.cuda._array import is_on_device
from fastconv.nn._state import (
    PLAIN,
    freeze,
    holds_state,
    in_place_of,
    is_array_like,
    is_floating,
    listed,
    read_only,
    state_array,
    to_array,
)
from fastconv.nn._torch_methods import TorchMethods
from fastconv.ops import reshape
from fastconv.ops._torch import dtype_of

if TYPE_CHECKING:
    from fastconv.graph import Graph
    from fastconv.network import Network

__all__ = ["IncompatibleKeys", "Module", "Value", "freeze", "listed", "state_array"]

Array: TypeAlias = npt.NDArray[Any]
Value: TypeAlias = Any
"""What `Module.forward` takes and returns: an array or a symbolic value."""

_Self = TypeVar("_Self", bound="Module")

_eager: ContextVar[bool] = ContextVar("fastconv_eager", default=False)
_changes = itertools.count(1)
_latest_change = 0
_OWN_STATE = ("_compiled", "_compiled_version", "_seen")


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` found but did not use, or used but did not find."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(TorchMethods):
    """Parameters, submodules and a `forward` that computes with them.

    An array assigned to an attribute becomes a parameter and a `Module` a submodule, in the order
    of assignment; names that start with an underscore stay private. No call of
    ``super().__init__()`` is needed. Statistics that are not learned are added with
    `register_buffer`. Tensors of other libraries are arrays, too. What would be computed with but
    belong to nobody's state is a `TypeError`: a list, tuple, set or dictionary of arrays or
    modules, for which there is `ModuleList`.

    Parameters are read-only arrays: whoever wants to change one assigns a new one, which is
    converted to the module's dtype, and everything compiled from it is made anew.

    `forward` is written once and runs in two ways: on arrays, op by op, and on symbolic values, to
    record the graph from which a network is compiled. It may use the functions of `fastconv.ops`,
    other modules, ``+``, ``*`` and basic slicing, all of which take both.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self, channels):
    ...         self.weight = np.full((channels, 1, 1), 2, np.float32)
    ...
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> scale = Scale(3)
    >>> float(scale.eager(np.ones((1, 3, 2, 2), np.float32)).sum())
    24.0
    >>> list(scale.state_dict())
    ['weight']
    """

    _parameters_declared: frozenset[str] = frozenset()  # names, also of those that are `None`
    _buffers: frozenset[str] = frozenset()
    _version = 0  # of this module alone: the number of its last change
    _compiled: Any = None  # networks compiled from this module, kept by fastconv.network
    _compiled_version = 0
    _seen = (-1, 0)  # what _latest_change was, and the tree's version that was found then

    @property
    def input_ndim(self) -> int | None:
        """Dimensions of a batched input; one less is an unbatched input, `None` means any."""
        return None

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the first parameter of this tree, `None` where it has no parameters."""
        return next((array.dtype for _, array in self.named_parameters()), None)

    @property
    def training(self) -> bool:
        """Always `False`: fastconv computes inference."""
        return False

    @training.setter
    def training(self, mode: bool) -> None:
        self.train(mode)

    # ---- Computing ----------------------------------------------------------------------------

    def forward(self, *args: Value) -> Value:
        """Compute the output; every subclass that is called defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *args: Value) -> Value:
        """Compute the output, compiled behind the scenes.

        Parameters
        ----------
        *args : array_like
            Inputs of the parameters' dtype, as `forward` takes them. Networks and image layers
            take ``(N, C, H, W)``; for ``(C, H, W)`` the result is unbatched too.

        Returns
        -------
        ndarray
            What ``forward(*args)`` returns.

        Raises
        ------
        TypeError
            If an input has another dtype than the parameters.
        """
        for arg in args:
            if isinstance(arg, Symbol):
                arg.graph.enter_module(self)
                y = self.forward(*args)
                arg.graph.mark_module(self, y)
                return y
        if _eager.get():
            return self.forward(*args)
        from fastconv.network import run_compiled

        if self._compiled_version != (version := self._tree_version()):
            self._compiled = None
            self._compiled_version = version
        return self._batched(lambda *arrays: run_compiled(self, *arrays), args)

    def eager(self, *args: Value) -> Value:
        """Compute the output op by op, without compiling: to print and to debug `forward`."""
        token = _eager.set(True)
        try:
            return self._batched(lambda *arrays: self.forward(*map(_protected, arrays)), args)
        finally:
            _eager.reset(token)

    def compile(
        self,
        input_shape: Sequence[int],
        *,
        threads: int | None = None,
        device: str = "cpu",
        precision: str | None = None,
        accuracy: str = "fast",
        autotune: bool = False,
        max_workspace: int | None = None,
        taps: Sequence[str] = (),
        keep_weights: bool = True,
    ) -> Network:
        """Compile this module for one input shape; see `fastconv.network.compile_module`."""
        from fastconv.network import compile_module

        return compile_module(
            self,
            input_shape,
            threads=threads,
            device=device,
            precision=precision,
            accuracy=accuracy,
            autotune=autotune,
            max_workspace=max_workspace,
            taps=taps,
            keep_weights=keep_weights,
        )

    def graph(self, input_shape: Sequence[int]) -> Graph:
        """Record `forward` on an input of this shape, without computing, and return its graph.

        Parameters
        ----------
        input_shape : sequence of int
            Usually (N, C, H, W). Without a batch one of size 1 is added.

        Returns
        -------
        fastconv.Graph
            Its nodes can be looked at; printed, it is a table; `fastconv.Graph.save` draws it.

        Raises
        ------
        TypeError, ValueError
            If `input_shape` is no shape, or `forward` does not take it or cannot be recorded.

        Examples
        --------
        >>> import fastconv
        >>> graph = fastconv.create_model("lenet5").graph((1, 1, 32, 32))
        >>> [node.op for node in graph if not node.is_constant][:4]
        ['input', 'conv2d', 'activation', 'avg_pool2d']
        """
        from fastconv._recording import record

        return record(self, input_shape).graph()

    def _batched(self, function: Any, args: Sequence[Value]) -> Value:
        """Check the inputs' dtype, then call `function` with a batch dimension where one lacks."""
        arrays: list[Any]
        if on_device := any(map(is_on_device, args)):
            if not all(map(is_on_device, args)):
                raise TypeError(
                    "some inputs are on a CUDA device and some are not: "
                    "pass all of them there, with fastconv.cuda.asarray"
                )
            arrays = [cuda.asarray(arg) for arg in args]
        else:
            arrays = [as_array("x", arg) for arg in args]
        dtype = self.dtype
        for array in arrays:
            if dtype is not None and array.dtype != dtype:
                raise TypeError(
                    f"the input has dtype {array.dtype}, but the parameters of "
                    f"{type(self).__name__} have {dtype}: pass x.astype(np.{dtype}), "
                    f"or convert the parameters once with .astype(...)"
                )
        ndim = self.input_ndim
        if ndim is not None and arrays and all(array.ndim == ndim - 1 for array in arrays):
            if on_device:
                y = function(*(reshape(array, (1, *array.shape)) for array in arrays))
                return reshape(y, y.shape[1:])
            return function(*(array[None] for array in arrays))[0]
        return function(*arrays)

    # ---- The tree -----------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the names and the modules directly below this one, in the order of assignment."""
        for name, value in vars(self).items():
            if isinstance(value, Module) and not name.startswith("_"):
                yield name, value

    def children(self) -> Iterator[Module]:
        """Yield the modules directly below this one."""
        return (child for _, child in self.named_children())

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = ""
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module as ``""`` and all below it by dotted names, each module once.

        Examples
        --------
        >>> from fastconv import nn
        >>> [name for name, _ in nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU())).named_modules()]
        ['', '0', '1', '1.0']
        """
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(memo, _join(prefix, name))

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _own_arrays(self) -> Iterator[tuple[str, Array]]:
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and not name.startswith("_"):
                yield name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Array]]:
        """Yield the dotted names and the values of all parameters, without buffers.

        Parameters
        ----------
        prefix : str
            What comes before all names, and a dot.
        recurse : bool
            Whether those of the modules below count.
        """
        for path, module in self.named_modules(prefix=prefix) if recurse else [(prefix, self)]:
            for name, array in module._own_arrays():
                if name not in module._buffers:
                    yield _join(path, name), array

    def parameters(self, recurse: bool = True) -> Iterator[Array]:
        """Yield the values of all parameters, without buffers; see `named_parameters`.

        Examples
        --------
        >>> from fastconv import nn
        >>> sum(p.size for p in nn.Conv2d(3, 8, kernel_size=3).parameters())
        224
        """
        return (array for _, array in self.named_parameters(recurse=recurse))

    # ---- Parameters ---------------------------------------------------------------------------

    def register_buffer(self, name: str, array: Array | None, persistent: bool = True) -> None:
        """Add an array that belongs to the state but is not learned, of any dtype.

        Raises
        ------
        ValueError
            If `name` is taken, or no name of an attribute; if `persistent` is False: arrays outside
            the state are attributes that start with an underscore.
        """
        if not persistent:
            raise ValueError(
                f"persistent=False is not possible: assign the array to self._{name}, which is no "
                f"part of the state"
            )
        self._check_name(name, self._buffers)
        array = None if array is None else read_only(to_array(self._path(name), array))
        object.__setattr__(self, "_buffers", self._buffers | {name})
        object.__setattr__(self, name, array)
        self._changed()

    def register_parameter(self, name: str, param: Array | None) -> None:
        """Add a parameter that may be `None`, as an assignment does that is no array's."""
        self._check_name(name, self._parameters_declared)
        self._parameters_declared = self._parameters_declared | {name}
        setattr(self, name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule, as an assignment does."""
        if not isinstance(module, Module | None):
            raise TypeError(f"{self._path(name)} must be a module, got {type(module).__name__}")
        self._check_name(name, dict(self.named_children()))
        setattr(self, name, module)

    register_module = add_module

    def _refuse_hidden(self) -> None:
        """Refuse what was put into a list after the list had been assigned."""
        for name, value in vars(self).items():
            if not name.startswith("_") and holds_state(value):
                self._kept(name, value)

    def _path(self, name: str) -> str:
        return f"{type(self).__name__}.{name}"

    def _check_name(self, name: Any, same_kind: Container[str]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {type(name).__name__}")
        if not name or name.startswith("_") or "." in name or hasattr(type(self), name):
            raise ValueError(
                f"name must be that of a new public attribute, without a dot, got {name!r}"
            )
        if name in vars(self) and name not in same_kind:
            raise ValueError(f"{self._path(name)} exists: delete it first, with del")

    def __setattr__(self, name: str, value: Any) -> None:
        private, old = name.startswith("_"), vars(self).get(name)
        if not private:
            value = self._kept(name, value)
        object.__setattr__(self, name, value)
        if not private or _is_constant(old) or _is_constant(value):
            self._changed()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        if not name.startswith("_"):
            self._buffers -= {name}
            self._parameters_declared -= {name}
            self._changed()

    def _kept(self, name: str, value: Any) -> Any:
        """Return what is kept of a value that is assigned to this public name.

        Raises
        ------
        TypeError, ValueError
            If it would be computed with, but be missing from the state, or not be what the layer
            was made for.
        """
        path, old = self._path(name), vars(self).get(name)
        if old is None and type(value) in PLAIN and not self._is_declared(name):
            return value
        if isinstance(value, Symbol):
            raise TypeError(
                f"{path}: a value of forward cannot be kept, it has no numbers yet: return it, or "
                f"name its module in network(x, taps=[...])"
            )
        is_state = isinstance(old, np.ndarray) or self._is_declared(name)
        if isinstance(old, Module) and not isinstance(value, Module | None):
            raise TypeError(
                f"{path} is a module, got {type(value).__name__}: delete it first, with del"
            )
        if is_state and isinstance(value, Module):
            raise TypeError(f"{path} is an array, got a module: delete it first, with del")
        if value is None or isinstance(value, Module):
            return value
        if is_state or is_array_like(value):
            if not is_state and old is not None:
                raise TypeError(
                    f"{path} is {type(old).__name__} {old!r}, got an array: pass plain numbers, or "
                    f"delete it first, with del"
                )
            return self._as_state(name, to_array(path, value), old)
        if holds_state(value):
            raise TypeError(
                f"{path}: modules and arrays in a {type(value).__name__} would be no part of the "
                f"state: use nn.ModuleList(modules), or an attribute for each array. Constants "
                f"that never change may have a name that starts with an underscore"
            )
        return value

    def _is_declared(self, name: str) -> bool:
        return name in self._buffers or name in self._parameters_declared

    def _as_state(self, name: str, array: Array, old: Array | None) -> Array:
        """Return what is kept of an array: read-only, and a parameter in the module's dtype."""
        path, is_buffer = self._path(name), name in self._buffers
        if old is not None:
            kept = in_place_of(path, old, array)
            if array.shape != old.shape:
                raise ValueError(
                    f"{path} must have shape {old.shape}, got {array.shape}: for another shape "
                    f"build a new {type(self).__name__}, or delete it first, with del"
                )
            return kept
        if is_buffer:
            return read_only(array)
        if not is_floating(array.dtype):
            raise TypeError(
                f"{path}: a parameter must be of a floating dtype, got "
                f"{array.dtype}: use .astype(np.float32), or register_buffer({name!r}, ...) for "
                f"an array that is no parameter"
            )
        own = (a.dtype for _, a in self._own_arrays() if is_floating(a.dtype))
        return read_only(
            array, next(own, np.dtype(np.float64 if array.dtype.itemsize > 4 else np.float32))
        )

    def _changed(self) -> None:
        global _latest_change
        self._version = next(_changes)
        _latest_change = self._version

    def _tree_version(self) -> int:
        """Return a number that grows with every change of this module or one below it."""
        latest = _latest_change
        change, version = self._seen  # one attribute: other threads may be replacing it
        if change != latest:
            modules = list(self.modules())
            for module in modules:
                module._refuse_hidden()
            version = max(module._version for module in modules)
            self._seen = latest, version
        return version

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw new random parameters, for this module and all below it.

        Parameters
        ----------
        rng : numpy.random.Generator or int, optional
            The source of the numbers or its seed; by default unpredictable.

        Examples
        --------
        >>> from fastconv import nn
        >>> a, b = nn.Linear(4, 2), nn.Linear(4, 2)
        >>> a.reset_parameters(0), b.reset_parameters(0)
        (None, None)
        >>> bool((a.weight == b.weight).all())
        True
        """
        rng = np.random.default_rng(rng)
        for child in self.children():
            child.reset_parameters(rng)

    def astype(self: _Self, dtype: npt.DTypeLike) -> _Self:
        """Convert all parameters and floating buffers to float32 or float64, in place.

        Returns
        -------
        Module
            This module.

        Raises
        ------
        TypeError
            If `dtype` is another one.
        """
        try:
            if (named := dtype_of(dtype)) is None:  # torch's by its name
                named = dtype
            target = None if named is None else np.dtype(named)  # NumPy takes None for float64
        except TypeError:
            target = None
        if target is None or target not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(
                f"dtype must be float32 or float64, got {dtype if target is None else target}: "
                f"for lower precision compile with precision=..."
            )
        for module in self.modules():
            for name, array in list(module._own_arrays()):
                if is_floating(array.dtype) and array.dtype != target:
                    object.__setattr__(module, name, read_only(array, target))
                    module._changed()
        return self

    def eval(self: _Self) -> _Self:
        """Return this module: it always computes inference."""
        return self

    def train(self: _Self, mode: bool = True) -> _Self:
        """Raise a `RuntimeError` for ``mode=True``, which only training frameworks have."""
        if mode:
            raise RuntimeError(
                "fastconv modules compute inference only (dropout is the identity, batch norm uses "
                "its running statistics): there is no training mode"
            )
        return self

    # ---- State --------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """Return all parameters and buffers by torch's names, as read-only arrays, not copied.

        Examples
        --------
        >>> from fastconv import nn
        >>> list(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)).state_dict())
        ... # doctest: +NORMALIZE_WHITESPACE
        ['0.weight', '1.weight', '1.bias', '1.running_mean', '1.running_var',
         '1.num_batches_tracked']
        """
        return {key: getattr(module, name) for key, (module, name) in self._slots().items()}

    def _slots(self, prefix: str = "") -> dict[str, tuple[Module, str]]:
        """Where each key of the state dict lives; a shared module has a key for each place."""
        self._refuse_hidden()
        slots = {_join(prefix, name): (self, name) for name, _ in self._own_arrays()}
        for name, child in self.named_children():
            slots.update(child._slots(_join(prefix, name)))
        return slots

    def load_state_dict(
        self, state_dict: Mapping[str, npt.ArrayLike], strict: bool = True
    ) -> IncompatibleKeys:
        """Replace parameters and buffers by those of a state dict.

        Parameters
        ----------
        state_dict : mapping of str to array_like
            Values by torch's names, of any floating dtype: they are converted to the module's.
            ``num_batches_tracked``, which inference does not use, may be absent, and so may all
            names but one of a parameter that has several.
        strict : bool
            Whether the keys must be those of `state_dict()` exactly.

        Returns
        -------
        IncompatibleKeys
            ``missing_keys`` and ``unexpected_keys``; both empty where `strict`.

        Raises
        ------
        ValueError
            If a value has the wrong shape or, where `strict`, a key is missing or unexpected. The
            message lists them with the nearest names. Nothing has been changed then.
        TypeError
            If `state_dict` is no mapping from names, or a value is no array of numbers.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"state_dict must be a mapping from names to arrays, got "
                f"{type(state_dict).__name__}: fastconv.weights.load(path) reads one from a file"
            )
        if (odd := next((key for key in state_dict if not isinstance(key, str)), None)) is not None:
            raise TypeError(f"state_dict must have names as keys, got {odd!r}")
        slots = self._slots()
        # One parameter may have several names; a file may then have it under one of them.
        first: dict[int, str] = {}
        for key, slot in slots.items():
            if key in state_dict:
                first.setdefault(id(getattr(*slot)), key)
        given = {
            key: key if key in state_dict else first.get(id(getattr(*slot)))
            for key, slot in slots.items()
        }
        missing = [
            key
            for key, source in given.items()
            if source is None and not key.endswith("num_batches_tracked")
        ]
        unexpected = [key for key in state_dict if key not in slots]
        values: dict[str, Array] = {}
        problems: list[str] = []
        if strict:
            problems += listed("missing keys", missing, unexpected)
            problems += listed("unexpected keys", unexpected, missing or list(slots))
        wrong = []
        replaced: dict[int, Array] = {}  # by the id of the new array
        for key, (module, name) in slots.items():
            if key not in state_dict:
                continue
            old, new = getattr(module, name), state_array(key, state_dict[key])
            if new.shape != old.shape:
                wrong.append(f"{key}: expected {old.shape}, got {new.shape}")
                continue
            kept = in_place_of(f"state_dict[{key!r}]", old, new)
            # One array for two parameters does not make them one.
            values[key] = kept if replaced.setdefault(id(kept), old) is old else kept.view()
        problems += listed("wrong shapes", wrong)
        if problems:
            raise ValueError(
                f"state_dict does not fit {type(self).__name__}:\n" + "\n".join(problems)
            )
        for key, source in given.items():
            if source is not None:
                module, name = slots[key]
                object.__setattr__(module, name, values[source])
                module._changed()
        return IncompatibleKeys(missing, unexpected)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _OWN_STATE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if isinstance(value, np.ndarray) and not name.startswith("_"):
                value = read_only(value)
            object.__setattr__(self, name, value)
        self._changed()

    # ---- Printing -----------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return what ``repr`` says about this module besides its name and submodules."""
        return ""

    def __repr__(self) -> str:
        name, extra = type(self).__name__, self.extra_repr()
        lines = [f"({key}): {child!r}" for key, child in self.named_children()]
        if not lines:
            return f"{name}({extra})"
        if extra:
            lines.insert(0, extra)
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{name}(\n  {body}\n)"


def _protected(array: Any) -> Any:
    """Return a view of the caller's array that `forward` cannot write to."""
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    return array


def _is_constant(value: Any) -> bool:
    return is_array_like(value) and not isinstance(value, Symbol)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
