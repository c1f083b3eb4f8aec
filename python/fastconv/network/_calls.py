"""The networks behind calls of a module on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core, cuda
from fastconv._cache import Bounded
from fastconv.graph._recording import Recording
from fastconv.network._network import run_on_device
from fastconv.ops._args import as_array
from fastconv.ops._device import is_on_device

if TYPE_CHECKING:
    from fastconv.graph._module import Recordable


class Compiled:
    """The networks of a module that is called on arrays, one for all shapes of its inputs.

    Where networks differ in sizes alone, they share their packed weights: those of convolutions
    that are planned alike.
    """

    def __init__(self) -> None:
        self._networks: Bounded[tuple[Recording, Any]] = Bounded(32)
        self._packed: list[tuple[Any, Any]] = []  # graphs and networks whose weights were packed

    def __call__(self, module: Recordable, *arrays: ArrayLike) -> Any:
        """Compute ``module.forward``, on arrays of one floating dtype.

        Parameters
        ----------
        module : Recordable
            The same one in every call, as long as its parameters are the same.
        *arrays : array_like
            The inputs.
        """
        inputs: list[Any]
        if on_device := any(map(is_on_device, arrays)):
            inputs = [cuda.asarray(array) for array in arrays]
        else:
            inputs = [as_array("x", array) for array in arrays]
        if len({array.dtype for array in inputs}) != 1:
            raise TypeError(
                "the inputs must have one dtype, got "
                + ", ".join(str(array.dtype) for array in inputs)
            )
        dtype = inputs[0].dtype
        if on_device:
            if dtype != np.float32:
                raise TypeError(
                    f"x must be float32 on a CUDA device, got {dtype}: convert it first"
                )
            return self._run(module, inputs)
        compute = np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
        y = self._run(module, [np.asarray(array, compute, order="C") for array in inputs])
        if dtype == compute:
            return y
        if isinstance(y, np.ndarray):
            return y.astype(dtype)
        return type(y)(value.astype(dtype) for value in y)

    def _run(self, module: Recordable, arrays: Sequence[Any]) -> Any:
        dtype, device = arrays[0].dtype, None
        if isinstance(arrays[0], cuda.Array):
            device = arrays[0]._native.device
        shapes = tuple(array.shape for array in arrays)
        recording, native = self._networks.get(
            (shapes, dtype, device), lambda: self._compile(module, shapes, dtype, device)
        )
        if device is not None:
            return recording.result(run_on_device(native, arrays))
        return recording.result(native.run(list(arrays)))

    def _compile(
        self,
        module: Recordable,
        shapes: tuple[tuple[int, ...], ...],
        dtype: np.dtype[Any],
        device: int | None,
    ) -> tuple[Recording, Any]:
        recording = Recording(module, shapes, dtype)
        graph = recording.native.optimized(recording.outputs)
        recording.native = None
        for other, native in self._packed:
            if native.device == device and other.same_but_sizes(graph):
                return recording, native.with_graph(graph)
        if device is None:
            native = _core.Network(graph, graph.outputs, "fast", None, 0)
        else:
            native = cuda._native().Network(graph, graph.outputs, device=device)
        self._packed = [*self._packed, (graph, native)][-4:]
        return recording, native
