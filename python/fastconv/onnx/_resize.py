"""Interpolation in ONNX: the sizes and the source coordinates are those that fastconv computed.

ONNX computes both anew, from scales in float32. That agrees with fastconv where the factor is a
short binary fraction such as 2 or 0.5, and for bilinear images where the factor is the ratio of the
sizes. Elsewhere the source of each element is written into the model.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

import fastconv._core as _core
from fastconv.onnx._dynamic import Call, is_fixed
from fastconv.onnx._graph import Graph, operator

Coordinates = NDArray[np.float64]

_FRACTION = 256
"""A multiple of 1 / 256 times a size below 65536 is exact in float32."""


@operator("interpolate", varying=["size"])
def _interpolate(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    axes = [_Axis(call, axis) for axis in (0, 1)]
    attributes = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    if axes[0].bilinear:
        coordinates = "align_corners" if axes[0].aligned else "half_pixel"
        attributes = {"mode": "linear", "coordinate_transformation_mode": coordinates}
    x = inputs[0]
    factors = [axis.factor() for axis in axes]
    by_size = (
        axis.follows_sizes() and (axis.fixed or factor is None)
        for axis, factor in zip(axes, factors, strict=True)
    )
    if None in factors and axes[0].bilinear and all(by_size):
        sizes = graph.ints([s[0] if is_fixed(s) else s for s in call.out_sizes()])
        return graph.node("Resize", x, None, None, sizes, **attributes)
    if any(f not in (None, 1) for f in factors):
        scales = graph.constant([1, 1, *(float(f or 1) for f in factors)], np.float32)
        x = graph.node("Resize", x, None, scales, **attributes)
    for axis, factor in zip(axes, factors, strict=True):
        if factor is None:
            x = axis.gather(graph, x)
    assert x is not None
    return x


class _Axis:
    """The height (0) or the width (1) of an interpolation, at every size."""

    def __init__(self, call: Call, axis: int) -> None:
        self.bilinear = call.attributes["mode"] == "bilinear"
        self.aligned = call.attributes["align_corners"]
        self._axis = 2 + axis
        self._in, self._out = call.in_sizes()[2 + axis], call.out_sizes()[2 + axis]
        self._scale = call.attributes["scale"][axis]
        self.fixed = is_fixed(self._in) and is_fixed(self._out)
        self._sources = [self._source(*sizes) for sizes in self._sizes()]

    def factor(self) -> Fraction | None:
        """Return the factor, if it is one that ONNX computes exactly as fastconv."""
        if all(
            np.array_equal(s, np.arange(n)) for n, s in zip(self._in, self._sources, strict=True)
        ):
            return Fraction(1)
        exact = 1 / self._scale if self._scale else self._out[0] / self._in[0]
        factor = Fraction(round(exact * _FRACTION), _FRACTION)
        if not 0 < factor < _FRACTION or not math.isclose(factor, exact, rel_tol=1e-12):
            return None
        if not self.fixed and 1 < factor < Fraction(3, 2):
            return None  # small images stay as they are, which ONNX does not say
        for (n, out), source in zip(self._sizes(), self._sources, strict=True):
            if n == out or math.floor(n * factor) != out:  # ONNX Runtime copies what keeps its size
                return None
            if not self._agrees(source, n, out, float(factor)):
                return None
        return factor

    def follows_sizes(self) -> bool:
        """Whether the sizes alone determine the coordinates."""
        return all(
            self._agrees(source, n, out, out / n)
            for (n, out), source in zip(self._sizes(), self._sources, strict=True)
        )

    def gather(self, graph: Graph, x: str | None) -> str:
        """Interpolate along this axis by the sources of its elements."""
        if not self.fixed:
            raise ValueError(
                "ONNX cannot say it for a dynamic height or width: factors such as 2, 1.5 and 0.5 "
                "can have them, and bilinear interpolation to the size of another array"
            )
        (n, _), source = self._sizes()[0], self._sources[0]
        low = np.floor(source).astype(np.int64)
        y = graph.node("Gather", x, graph.constant(low, np.int64), axis=self._axis)
        weight = (source - low).reshape((-1, 1) if self._axis == 2 else (-1,))
        if not weight.any():
            return y
        high = graph.constant(np.minimum(low + 1, n - 1), np.int64)
        upper = graph.node("Gather", x, high, axis=self._axis)
        y = graph.node("Mul", y, graph.constant(1 - weight))
        return graph.node("Add", y, graph.node("Mul", upper, graph.constant(weight)))

    def _sizes(self) -> list[tuple[int, int]]:
        return list(zip(self._in, self._out, strict=True))

    def _source(self, n: int, out: int) -> Coordinates:
        """Return where fastconv takes each element from: it interpolates the coordinates."""
        y = np.empty((1, 1, out, 1))
        x = np.arange(n, dtype=np.float64).reshape(1, 1, n, 1)
        _core.interpolate(x, y, (self._scale, 0.0), self.bilinear, self.aligned)
        return y.reshape(out)

    def _agrees(self, source: Coordinates, n: int, out: int, factor: float) -> bool:
        """Whether ONNX takes the elements from there, given this factor."""
        i = np.arange(out)
        if not self.bilinear:
            return np.array_equal(source, np.minimum(np.floor(i / factor), n - 1))
        if self.aligned:
            at = i * (n - 1) / max(out - 1, 1)
        else:
            at = np.clip((i + 0.5) / factor - 0.5, 0, n - 1)
        return bool(np.abs(source - at).max() <= 1e-9 * n)
