"""What a module does to inputs of given shapes: its graph, without computing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv.graph._graph import Graph
from fastconv.graph._randomness import RandomnessCheck
from fastconv.graph._symbols import Recorder, Symbol
from fastconv.ops._args import as_shape

if TYPE_CHECKING:
    from fastconv.graph._module import Recordable

Array = NDArray[Any]


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
    sequence : type or None
        ``tuple`` or ``list`` where it returned one.
    taps : dict of str to int or None
        The number of the value that each called module returned last, by its path; `None` where it
        was not one value.
    """

    native: Any

    def __init__(
        self,
        module: Recordable,
        shapes: Sequence[tuple[int, ...]],
        dtype: np.dtype[Any],
        *,
        convert: bool = False,
    ) -> None:
        paths = {id(child): path for path, child in module.named_modules()}
        keys = {id(array): key for key, array in module.state_dict().items()}
        graph = Recorder(dtype, convert=convert, paths=paths, keys=keys)
        check = RandomnessCheck(module)
        y = module(*(graph.input(shape) for shape in shapes))
        check.refuse_random(graph, lambda again: module(*(again.input(s) for s in shapes)))
        self.sequence = type(y) if isinstance(y, (tuple, list)) else None
        outputs = list(y) if self.sequence is not None else [y]
        for value in outputs:
            if not isinstance(value, Symbol):
                raise TypeError(
                    f"{type(module).__name__}.forward must return what it computed from its input, "
                    f"or a tuple of such values, got {type(value).__name__}"
                )
        self.native = graph.native
        self.outputs = [value.id for value in outputs]
        self.shapes = [value.shape for value in outputs]
        self.taps = {
            paths[key]: value.id if isinstance(value, Symbol) else None
            for key, value in graph.taps.items()
            if key in paths
        }
        graph.taps.clear()  # they refer to the graph, and it to all weights: a cycle keeps them
        self.paths = set(paths.values())
        self.native.set_outputs(self.outputs)

    def result(self, arrays: list[Array]) -> Any:
        """What forward returned, with these arrays as its values."""
        if self.sequence is None:
            return arrays[0]
        values = arrays[: len(self.outputs)]
        return values if self.sequence is list else tuple(values)

    def outs(self, out: Any) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
        """Yield the arrays of an argument `out`: what to call each, itself, what shape it needs."""
        count = len(self.outputs)
        if self.sequence is None:
            yield "out", out, self.shapes[0]
        elif isinstance(out, (tuple, list)) and len(out) == count:
            yield from zip((f"out[{i}]" for i in range(count)), out, self.shapes, strict=True)
        else:
            came = f"{len(out)}" if isinstance(out, (tuple, list)) else type(out).__name__
            raise TypeError(
                f"out must be a tuple of {count} arrays, one for each output, got {came}"
            )

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


def record(module: Recordable, input_shape: Sequence[int]) -> Recording:
    """Record ``module.forward`` on one input of this shape, to which a batch may be missing.

    Raises
    ------
    TypeError, ValueError
        If `input_shape` is no shape, or the module does not take it.
    """
    shape = as_shape("input_shape", input_shape)
    if not shape or min(shape) < 1:
        raise ValueError(
            f"input_shape must be positive sizes such as (1, 3, 224, 224), got {shape}"
        )
    if module.input_ndim is not None and len(shape) == module.input_ndim - 1:
        shape = (1, *shape)
    return Recording(module, [shape], module.dtype or np.dtype(np.float32))
