"""What a module does to inputs of given shapes: its graph, without computing."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv.graph._graph import Graph
from fastconv.graph._inputs import Inputs, InputShape, parse
from fastconv.graph._randomness import RandomnessCheck
from fastconv.graph._returned import Returned, map_values
from fastconv.graph._symbols import Recorder, Symbol

if TYPE_CHECKING:
    from fastconv.graph._module import Recordable

Array = NDArray[Any]


class Tree:
    """What recordings of a module share, as long as it and all below it stay as they are.

    Attributes
    ----------
    paths : dict of int to str
        The paths of the module and all below it by their ``id``.
    keys : dict of int to str
        The keys of the state dict by the ``id`` of their arrays.
    """

    def __init__(self, module: Recordable) -> None:
        modules = list(module.named_modules())
        self._modules = [(path, weakref.ref(child)) for path, child in modules]  # they hold this
        self.paths = {id(child): path for path, child in modules}
        self.keys = {id(array): key for key, array in module.state_dict().items()}

    def modules(self) -> list[tuple[str, Recordable]]:
        """Return the module and all below it, with their paths."""
        return [(path, child) for path, ref in self._modules if (child := ref()) is not None]


class Recording:
    """The graph of a module's forward, and what it returned.

    Attributes
    ----------
    native
        The recorded graph; `None` once nobody needs it.
    outputs : list of int
        The numbers of the values that forward returned.
    shapes, dtypes : list
        Their shapes and dtypes.
    returned : Returned
        What it returned them in.
    taps : dict of str to int or None
        The number of the value that each called module returned last, by its path; `None` where it
        was not one value.
    """

    native: Any

    def __init__(
        self,
        module: Recordable,
        inputs: Inputs,
        dtype: np.dtype[Any],
        *,
        convert: bool = False,
        tree: Tree | None = None,
    ) -> None:
        tree = tree or Tree(module)
        graph = Recorder(dtype, convert=convert, paths=tree.paths, keys=tree.keys)
        check = RandomnessCheck(tree.modules())

        def run(recorder: Recorder) -> Any:
            return inputs.call(module, [recorder.input(shape) for shape in inputs.shapes])

        y = run(graph)
        check.refuse_random(graph, run)
        values: list[Symbol] = []
        self.returned = Returned(type(module).__name__, y, Symbol)
        map_values(values.append, y)
        self.native = graph.native
        self.outputs = [value.id for value in values]
        self.shapes = [value.shape for value in values]
        self.dtypes = [value.dtype for value in values]
        paths = tree.paths
        self.taps = {paths[key]: value for key, value in graph.taps.items() if key in paths}
        self.paths = paths.values()
        self.native.set_outputs(self.outputs)

    def tap_values(self, names: Sequence[str]) -> list[int]:
        """The values of these modules' outputs."""
        values = []
        for name in names:
            if name not in self.paths:
                raise ValueError(
                    f"taps: there is no module {name!r}; named_modules() lists them, such as "
                    + ", ".join(repr(path) for path in sorted(self.paths)[1:6])
                )
            value = self.taps.get(name)
            if value is None:
                raise ValueError(f"taps: forward does not call {name!r} or it returns no one array")
            values.append(value)
        return values

    def graph(self) -> Graph:
        """Return what was recorded, to be read."""
        return Graph(self.native)


def record(module: Recordable, input_shape: InputShape) -> Recording:
    """Record ``module.forward`` on inputs of these shapes, to which a batch may be missing.

    Raises
    ------
    TypeError, ValueError
        If `input_shape` is no shape, or the module does not take it.
    """
    inputs, _ = parse(module, input_shape, smallest=1)
    if inputs.is_unbatched(module.input_ndim):
        inputs = inputs.batched()
    return Recording(module, inputs, module.dtype or np.dtype(np.float32))
