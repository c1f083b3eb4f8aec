"""The arrays that a network is called with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv import cuda
from fastconv._arguments import as_array
from fastconv.cuda._array import is_on_device


class Arguments:
    """What arrays a network takes.

    Parameters
    ----------
    names : sequence of str
        As `forward` calls them.
    shapes : sequence of tuple of int
    dtype : numpy.dtype
        Of all.
    device : int or None
        Where they may be, besides the memory of the host.
    """

    def __init__(
        self,
        names: Sequence[str],
        shapes: Sequence[tuple[int, ...]],
        dtype: np.dtype[Any],
        device: int | None,
    ) -> None:
        self.names = names
        self.shapes = shapes
        self._dtype = dtype
        self._device = device

    def gather(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        """Return all inputs, checked, in the order of `forward`'s arguments."""
        if len(inputs) == 1 and not named and isinstance(mapping := inputs[0], Mapping):
            inputs, named = [], mapping
        takes = f"the network takes {', '.join(self.names)}"
        if len(inputs) > len(self.names):
            raise TypeError(f"{takes}: got {len(inputs)} arrays")
        given = dict(zip(self.names, inputs, strict=False))
        for name, value in named.items():
            if name not in self.names:
                raise TypeError(f"{takes}: got an array {name!r}")
            if name in given:
                raise TypeError(f"{takes}: got {name} twice")
            given[name] = value
        if missing := [name for name in self.names if name not in given]:
            raise TypeError(f"{takes}: got no {missing[0]}")
        arrays = [self.check(i, given[name]) for i, name in enumerate(self.names)]
        if len({isinstance(array, cuda.Array) for array in arrays}) > 1:
            raise TypeError(
                "some inputs are on a CUDA device and some are not: pass all of them there, with "
                "fastconv.cuda.asarray"
            )
        return arrays

    def check(self, index: int, value: Any) -> Any:
        """Return an input as an array with the shape and dtype."""
        name, shape = self.names[index], self.shapes[index]
        x: Any
        if not is_on_device(value):
            x = as_array(name, value)
        elif self._device is None:
            raise TypeError(
                f"{name} is on a CUDA device, but the network was compiled for the CPU: compile it "
                f"with device='cuda', or pass {name} as a NumPy array"
            )
        else:
            x = cuda.asarray(value, device=self._device)
        if x.dtype != self._dtype:
            raise TypeError(
                f"{name} must be {self._dtype} as the network was compiled, got {x.dtype}: "
                f"convert it with {name}.astype(np.{self._dtype})"
            )
        if x.shape != shape:
            hint = "compile the module for that shape, or call the module itself, which takes any"
            if x.shape == shape[1:] and shape[0] == 1:
                hint = f"add the batch dimension with {name}[None]"
            elif x.ndim == 4 and tuple(x.shape[i] for i in (0, 3, 1, 2)) == shape:
                hint = f"channels come first, {name}.transpose(0, 3, 1, 2)"
            raise ValueError(f"{name} must have shape {shape}, got {x.shape}: {hint}")
        return x
