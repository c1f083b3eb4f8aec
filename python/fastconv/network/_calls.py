"""The networks behind calls of a module on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import fastconv._core as _core
from fastconv import cuda
from fastconv._cache import Bounded
from fastconv.graph._inputs import Inputs
from fastconv.graph._recording import Recording, Tree
from fastconv.graph._returned import map_values
from fastconv.network._network import run_on_device

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
        self._tree: Tree | None = None

    def __call__(self, module: Recordable, arrays: Sequence[Any], keywords: tuple[str, ...]) -> Any:
        """Compute ``module.forward``.

        Parameters
        ----------
        module : Recordable
            The same one in every call, as long as its parameters are the same.
        arrays : sequence of ndarray or of cuda.Array
            The inputs, of one floating dtype.
        keywords : tuple of str
            The names of the last ones, if these are passed by name.
        """
        dtype = arrays[0].dtype
        if len({array.dtype for array in arrays}) != 1:
            raise TypeError(
                "the inputs must have one dtype, got "
                + ", ".join(str(array.dtype) for array in arrays)
            )
        if isinstance(arrays[0], cuda.Array):
            if dtype != np.float32:
                raise TypeError(
                    f"inputs must be float32 on a CUDA device, got {dtype}: convert them first"
                )
            device = arrays[0]._native.device
            recording, native = self._network(module, arrays, keywords, device)
            return recording.returned.pack(run_on_device(native, arrays))
        compute = np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
        arrays = [np.asarray(array, compute, order="C") for array in arrays]
        recording, native = self._network(module, arrays, keywords, None)
        y = recording.returned.pack(native.run(arrays))
        if dtype == compute:
            return y
        return map_values(lambda v: v.astype(dtype) if v.dtype == compute else v, y)

    def _network(
        self,
        module: Recordable,
        arrays: Sequence[Any],
        keywords: tuple[str, ...],
        device: int | None,
    ) -> tuple[Recording, Any]:
        shapes, dtype = tuple(array.shape for array in arrays), arrays[0].dtype
        return self._networks.get(
            (shapes, keywords, dtype, device),
            lambda: self._compile(module, Inputs(shapes, keywords), dtype, device),
        )

    def _compile(
        self, module: Recordable, inputs: Inputs, dtype: np.dtype[Any], device: int | None
    ) -> tuple[Recording, Any]:
        if self._tree is None:
            self._tree = Tree(module)
        recording = Recording(module, inputs, dtype, tree=self._tree)
        graph = recording.native.optimized(recording.outputs, device is None)
        recording.native = None
        for other, native in self._packed:
            if native.device == device and other.same_but_sizes(graph):
                return recording, native.with_graph(graph)
        if device is None:
            native = _core.Network(graph, graph.outputs, "fast", None, 0, optimized=True)
        else:
            native = cuda._native().Network(graph, graph.outputs, device=device, optimized=True)
        self._packed = [*self._packed, (graph, native)][-4:]
        return recording, native
