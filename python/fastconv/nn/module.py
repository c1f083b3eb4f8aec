"""`Module`, the base class of layers, blocks and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastconv.nn._computing import Computing, Value
from fastconv.nn._state import Array, is_floating, read_only
from fastconv.nn._state_dict import IncompatibleKeys, fit
from fastconv.nn._torch_methods import TorchMethods
from fastconv.ops._torch import dtype_of

__all__ = ["Array", "IncompatibleKeys", "Module", "Value"]

_Self = TypeVar("_Self", bound="Module")

_OWN_STATE = ("_compiled", "_seen")


class Module(TorchMethods, Computing):
    """Parameters, submodules and a `forward` that computes with them.

    An array assigned to an attribute becomes a parameter and a `Module` a submodule, in the order
    of assignment; names that start with an underscore stay private. No call of
    ``super().__init__()`` is needed. Statistics that are not learned are added with
    `register_buffer`. Tensors of other libraries are arrays, too. What would be computed with but
    belong to nobody's state is a `TypeError`: a list, tuple, set or dictionary of arrays or
    modules, for which there are `ModuleList`, `ModuleDict`, `ParameterList` and `ParameterDict`.

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
        waiting: list[tuple[str, Module]] = [(prefix, self)]  # a generator in each module is slow
        while waiting:
            path, module = waiting.pop()
            if id(module) not in memo:
                memo.add(id(module))
                yield path, module
                children = [(_join(path, name), child) for name, child in module.named_children()]
                waiting += children[::-1]

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def get_submodule(self, target: str) -> Module:
        """Return the module of this dotted name.

        Raises
        ------
        AttributeError
            If there is none.

        Examples
        --------
        >>> from fastconv import nn
        >>> nn.Sequential(nn.Sequential(nn.ReLU())).get_submodule("0.0")
        ReLU()
        """
        module: Module = self
        for at, name in enumerate(target.split(".") if target else ()):
            children = dict(module.named_children())
            if name not in children:
                path = ".".join(target.split(".")[: at + 1])
                raise AttributeError(
                    f"there is no module {path!r}: {type(module).__name__} has "
                    + (", ".join(map(repr, children)) or "none")
                )
            module = children[name]
        return module

    def apply(self: _Self, fn: Callable[[Module], Any]) -> _Self:
        """Call `fn` on every module of this tree, children first, and return this module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

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

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule, as an assignment does."""
        if not isinstance(module, Module | None):
            raise TypeError(f"{self._path(name)} must be a module, got {type(module).__name__}")
        self._check_name(name, dict(self.named_children()))
        setattr(self, name, module)

    register_module = add_module

    # ---- Parameters ---------------------------------------------------------------------------

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
        slots = self._slots()
        values, keys = fit(type(self).__name__, slots, state_dict, strict)
        for key, value in values.items():
            module, name = slots[key]
            object.__setattr__(module, name, value)
            module._changed()
        return keys

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


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
