"""What a module does to inputs of given shapes: its graph, without computing."""

from __future__ import annotations

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


def keys_of(module: Recordable) -> dict[int, str]:
    """Return the keys of the state dict by the ``id`` of their arrays."""
    return {id(array): key for key, array in module.state_dict().items()}


class Recording:
    """The graph of a module's forward, and what it returned.

    Attributes
    ----------
    native
        The recorded graph; `None` once nobody needs it.
    outputs : list of int
        The numbers of the values that forward returned.
    shapes : list of tuple of int
        Their shapes.
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
        keys: dict[int, str] | None = None,
    ) -> None:
        modules = list(module.named_modules())
        paths = {id(child): path for path, child in modules}
        keys = keys_of(module) if keys is None else keys
        graph = Recorder(dtype, convert=convert, paths=paths, keys=keys)
        check = RandomnessCheck(modules)

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
        self.taps = {
            paths[key]: value.id if isinstance(value, Symbol) else None
            for key, value in graph.taps.items()
            if key in paths
        }
        graph.taps.clear()  # they refer to the graph, and it to all weights: a cycle keeps them
        self.paths = set(paths.values())
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
