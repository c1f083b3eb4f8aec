"""Which axes are dynamic, and which sizes inside a network follow from them.

Nothing in a recording says where a size came from: a reshape to (1, 64) may be meant for one image,
or for any batch. So a module is recorded again at other sizes of its dynamic axes. What is the same
in all recordings is constant; what changes has to be said in terms of sizes that the exported
network sees when it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv._recording import Operator, Recording, record
from fastconv._symbolic import Symbol
from fastconv.nn import Module
from fastconv.ops._args import as_axis

DynamicAxes = Mapping[str, Mapping[int, str] | Sequence[int]]

Size = tuple[int, ...]
"""The size of an axis in each of the recordings."""

_STEPS = (1, 2, 3, 4, 8, 16, 31, 32)
"""What is added to a size, for other sizes of its axis.

Networks divide sizes by powers of two up to 32, and round. From a multiple of 32, one more is the
least that can be rounded up, and 31 more the most that can be rounded down.
"""

_FIX = "Leave the axis out of dynamic_axes ({}: all sizes are fixed)"


def is_fixed(size: Size) -> bool:
    """Whether the size is the same in all recordings."""
    return len(set(size)) == 1


def parse(dynamic_axes: DynamicAxes | None, ranks: Mapping[str, int]) -> dict[str, dict[int, str]]:
    """Check the argument `dynamic_axes`; return the names of axes by input or output and axis.

    `ranks` are the numbers of dimensions by the names of inputs and outputs, the first of which is
    the input.
    """
    if dynamic_axes is None:
        x, rank = next(iter(ranks.items()))
        return {name: {0: "batch"} if name == x and rank > 1 else {} for name in ranks}
    if not isinstance(dynamic_axes, Mapping):
        raise TypeError(
            f"dynamic_axes must be a mapping such as {{'x': {{0: 'batch'}}}}, got "
            f"{type(dynamic_axes).__name__}"
        )
    parsed: dict[str, dict[int, str]] = {name: {} for name in ranks}
    for key, given in dynamic_axes.items():
        if key not in ranks:
            raise ValueError(
                f"dynamic_axes names {key!r}, which is neither the input 'x' nor the output 'y'"
            )
        what = f"dynamic_axes[{key!r}]"
        if isinstance(given, str) or not isinstance(given, Mapping | Sequence):
            raise TypeError(
                f"{what} must be a mapping from axes to names or a list of axes, got {given!r}"
            )
        names = given if isinstance(given, Mapping) else {}
        for i, value in enumerate(given):
            axis = as_axis(f"an axis of {what}", value, ranks[key])
            name = names.get(value, f"{key}_dynamic_axes_{i + 1}")  # as torch calls them
            if not isinstance(name, str) or not name:
                raise TypeError(f"{what} must give axis {axis} a name, got {name!r}")
            if axis in parsed[key]:
                raise ValueError(f"{what} names axis {axis} twice")
            parsed[key][axis] = name
    return parsed


@dataclass(frozen=True)
class Call:
    """An operator of a network, as it was recorded at every size."""

    owner: str
    """The name of the layer that it belongs to."""
    operators: Sequence[Operator]
    """The first is that of the sizes that were asked for."""

    @property
    def name(self) -> str:
        """Of the operator."""
        return self.operators[0].name

    @property
    def inputs(self) -> Sequence[Any]:
        """Symbols, arrays and `None`."""
        return self.operators[0].inputs

    @property
    def output(self) -> Symbol:
        """The result."""
        return self.operators[0].output

    @property
    def attributes(self) -> Mapping[str, Any]:
        """At the sizes that were asked for."""
        return self.operators[0].attributes

    def all(self, attribute: str) -> list[Any]:
        """Return an attribute at every size."""
        return [operator.attributes[attribute] for operator in self.operators]

    def in_sizes(self) -> list[Size]:
        """Return the sizes of each axis of the first input."""
        return self._sizes(operator.inputs[0] for operator in self.operators)

    def out_sizes(self) -> list[Size]:
        """Return the sizes of each axis of the output."""
        return self._sizes(operator.output for operator in self.operators)

    @staticmethod
    def _sizes(values: Iterable[Any]) -> list[Size]:
        return list(zip(*(value.shape for value in values), strict=True))


def record_calls(
    module: Module, base: Recording, axes: Mapping[int, str]
) -> tuple[dict[int, list[Size]], list[Call]]:
    """Record a module at other sizes of the named axes of its input.

    Returns the sizes of every value, by its id in `base`, and the operators.

    Raises
    ------
    ValueError
        If the module does not take other sizes, or does something else at them.
    """
    recordings = [base]
    shape = base.input.shape
    for name in dict.fromkeys(axes.values()):
        own = [axis for axis in axes if axes[axis] == name]
        sizes = sorted({shape[axis] for axis in own})
        if len(sizes) > 1:
            raise ValueError(f"dynamic_axes calls axes of the sizes {sizes} of 'x' {name!r}")
        recordings += _at_other_sizes(module, shape, own, name)
    for other in recordings[1:]:
        _compare(base, other)
    operators = zip(*(recording.operators for recording in recordings), strict=True)
    calls = [Call(owner, each) for owner, each in zip(base.owners, operators, strict=True)]
    shapes = zip(*(recording.input.shape for recording in recordings), strict=True)
    values = {base.input.id: list(shapes)} | {call.output.id: call.out_sizes() for call in calls}
    return values, calls


def _at_other_sizes(
    module: Module, shape: Sequence[int], axes: Sequence[int], name: str
) -> list[Recording]:
    """Record at multiples of a size and at larger ones, which the module need not take."""
    size = shape[axes[0]]
    multiples = {2 * size, 3 * size}
    recordings = []
    for other in sorted(multiples.union(size + step for step in _STEPS)):
        sizes = [other if axis in axes else n for axis, n in enumerate(shape)]
        try:
            recordings.append(record(module, sizes))
        except Exception as error:  # whatever forward raises at sizes that it does not take
            if other not in multiples:
                continue
            raise ValueError(
                f"axis {', '.join(map(str, axes))} of 'x' cannot be dynamic (dynamic_axes calls it "
                f"{name!r}): with the size {other} instead of {size}, {_layer(module, error)} "
                f"raises: {error}. {_FIX}"
            ) from error
    return recordings


def _layer(module: Module, error: BaseException) -> str:
    """Return the name of the innermost layer that an error came from."""
    paths = {id(child): path for path, child in module.named_modules()}
    found, trace = "", error.__traceback__
    while trace is not None:
        found = paths.get(id(trace.tb_frame.f_locals.get("self")), "") or found
        trace = trace.tb_next
    return f"the layer {found}" if found else type(module).__name__


def _compare(base: Recording, other: Recording) -> None:
    """Check that two recordings differ in sizes alone."""
    positions = [_positions(recording) for recording in (base, other)]

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, Symbol) and isinstance(b, Symbol):
            return positions[0][a.id] == positions[1][b.id] and a.ndim == b.ndim
        if a is b:
            return True
        if any(value is None or isinstance(value, Symbol) for value in (a, b)):
            return False
        return np.array_equal(a, b, equal_nan=True)

    end = Operator("end", (base.outputs[""],), {}, base.input)
    other_end = Operator("end", (other.outputs[""],), {}, other.input)
    for a, b, owner in zip(
        [*base.operators, end], [*other.operators, other_end], [*base.owners, ""], strict=False
    ):
        if (
            (a.name, len(a.inputs)) != (b.name, len(b.inputs))
            or not all(map(same, a.inputs, b.inputs))
            or a.output.ndim != b.output.ndim
        ):
            where = f"the layer {owner}" if owner else "forward"
            raise ValueError(
                f"{where} uses different operators or constants for an input of shape "
                f"{base.input.shape} and for one of {other.input.shape}, which one ONNX graph "
                f"cannot say. {_FIX}"
            )


def _positions(recording: Recording) -> dict[int, int]:
    results = [recording.input, *(operator.output for operator in recording.operators)]
    return {symbol.id: position for position, symbol in enumerate(results)}
