"""The methods of `torch.nn.Module` that do not compute: each works, or names what to use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastconv.nn._state import Array
from fastconv.ops._torch import dtype_of, on_cpu

if TYPE_CHECKING:
    import numpy.typing as npt

_Self = TypeVar("_Self", bound="TorchMethods")

SUBSTITUTES = {
    "half": 'model.compile(input_shape, device="cuda", precision="fp16")',
    "bfloat16": 'model.compile(input_shape, device="cuda", precision="bf16")',
    "cuda": 'model.compile(input_shape, device="cuda")',
    "type": "model.astype(dtype)",
    "to_empty": "fastconv.nn.init.skip() around the constructor, if weights are loaded after it",
    "share_memory": "parameters as they are: they are read-only, and memory maps are kept",
    "zero_grad": "nothing instead: there are no gradients",
    "register_forward_hook": "network(x, taps=[name]), which returns what the module returned",
    "register_forward_pre_hook": "network(x, taps=[name]) of the module before it",
    "register_full_backward_hook": "nothing instead: there are no gradients",
    "register_full_backward_pre_hook": "nothing instead: there are no gradients",
    "register_backward_hook": "nothing instead: there are no gradients",
    "register_state_dict_post_hook": "model.state_dict(), which returns a new dict to change",
    "register_state_dict_pre_hook": "model.state_dict(), which returns a new dict to change",
    "register_load_state_dict_pre_hook": "a state dict changed before load_state_dict(state_dict)",
    "register_load_state_dict_post_hook": "what load_state_dict(state_dict, strict=False) returns",
    "get_extra_state": "register_buffer(name, array)",
    "set_extra_state": "register_buffer(name, array)",
    "xpu": 'model.compile(input_shape, device="cuda")',
    "ipu": 'model.compile(input_shape, device="cuda")',
    "mtia": 'model.compile(input_shape, device="cuda")',
    "set_submodule": "an assignment to the attribute of its parent: model.layer1.conv = module",
    "_parameters": "model.named_parameters()",
    "_modules": "model.named_children()",
}
"""What to use instead of the methods of torch's modules that do not exist here."""


class TorchMethods:
    """A base of `Module`."""

    if TYPE_CHECKING:
        _buffers: frozenset[str]

        def astype(self: _Self, dtype: npt.DTypeLike) -> _Self: ...
        def get_submodule(self, target: str) -> Any: ...
        def named_modules(
            self, memo: set[int] | None = None, prefix: str = ""
        ) -> Iterator[tuple[str, Any]]: ...

    else:

        def __getattr__(self, name: str) -> Any:
            if name not in SUBSTITUTES:
                return object.__getattribute__(self, name)  # which raises Python's own error
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}: use {SUBSTITUTES[name]}"
            )

    def to(
        self: _Self,
        *args: Any,
        device: Any = None,
        dtype: Any = None,
        non_blocking: bool = False,
        memory_format: Any = None,
    ) -> _Self:
        """Convert as `astype` where a dtype is given; the only device is the CPU.

        Parameters
        ----------
        *args
            A device, a dtype or both, in this order, as torch takes them.
        device : {"cpu"}, optional
        dtype : dtype, optional
            float32 or float64, of NumPy or torch.
        non_blocking, memory_format
            Present because torch has them: they change no numbers.

        Returns
        -------
        Module
            This module.

        Raises
        ------
        ValueError
            If the device is another one: networks run there, see `Module.compile`.
        TypeError
            If the dtype is another one.

        Examples
        --------
        >>> from fastconv import nn
        >>> nn.Linear(2, 2).to("cpu", "float64").dtype
        dtype('float64')
        """
        for value in args:
            if (found := dtype_of(value)) is not None:
                dtype = found
            elif not isinstance(value, bool):  # non_blocking
                device = value
        on_cpu(device)
        return self if dtype is None else self.astype(dtype)

    def cpu(self: _Self) -> _Self:
        """Return this module: its parameters are in host memory."""
        return self

    def float(self: _Self) -> _Self:
        """Convert to float32, in place."""
        return self.astype(np.float32)

    def double(self: _Self) -> _Self:
        """Convert to float64, in place."""
        return self.astype(np.float64)

    def requires_grad_(self: _Self, requires_grad: bool = True) -> _Self:
        """Return this module for False, and raise a `RuntimeError` for True: nothing is trained."""
        if requires_grad:
            raise RuntimeError(
                "fastconv modules compute inference only: there are no gradients, leave it out"
            )
        return self

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Array]]:
        """Yield the dotted names and the values of all buffers, as `named_parameters` does."""
        modules: Any = self.named_modules(prefix=prefix) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, array in module._own_arrays():
                if name in module._buffers:
                    yield f"{path}.{name}" if path else name, array

    def buffers(self, recurse: bool = True) -> Iterator[Array]:
        """Yield the values of all buffers."""
        return (array for _, array in self.named_buffers(recurse=recurse))

    def get_parameter(self, target: str) -> Array:
        """Return the parameter of this dotted name; an `AttributeError` if there is none."""
        return self._get(target, buffer=False)

    def get_buffer(self, target: str) -> Array:
        """Return the buffer of this dotted name; an `AttributeError` if there is none."""
        return self._get(target, buffer=True)

    def _get(self, target: str, buffer: bool) -> Array:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found: Array | None = dict(module._own_arrays()).get(name)
        if found is None or (name in module._buffers) != buffer:
            raise AttributeError(
                f"{type(module).__name__} has no {'buffer' if buffer else 'parameter'} {name!r}"
            )
        return found
