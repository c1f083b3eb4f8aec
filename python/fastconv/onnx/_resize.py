"""Interpolation in ONNX: the sizes and the source coordinates are those that fastconv computed.

ONNX computes both anew, from scales in float32. That agrees with fastconv where the factor is a
short binary fraction such as 2 or 0.5, and for bilinear and bicubic images where the factor is the
ratio of the sizes. Elsewhere, and for antialias, the source of each element is written into the
model: as indices, or as a matrix of weights, whose zeros let a NaN spread along the axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastconv._core as _core
from fastconv.onnx._dynamic import Call, is_fixed
from fastconv.onnx._graph import Graph, operator

Coordinates = NDArray[np.float64]

_ROUNDED: dict[str, Callable[[Coordinates], Coordinates]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}

_MODES = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}

_FRACTION = 256
"""A multiple of 1 / 256 times a size below 65536 is exact in float32."""


@operator("interpolate", varying=["size"])
def _interpolate(graph: Graph, call: Call, inputs: list[str | None]) -> str:
    axes = [_Axis(call, axis) for axis in (0, 1)]
    given = call.attributes
    attributes = {
        "mode": _MODES[given["mode"]],
        "coordinate_transformation_mode": given["coordinates"],
    }
    if given["mode"] == "nearest":
        attributes |= {"nearest_mode": given["nearest_mode"]}
    elif given["mode"] == "bicubic":
        attributes |= {
            "cubic_coeff_a": given["cubic_coeff_a"],
            "exclude_outside": int(given["exclude_outside"]),
        }
    x = inputs[0]
    factors = [axis.factor() for axis in axes]
    by_size = (
        axis.follows_sizes() and (axis.fixed or factor is None)
        for axis, factor in zip(axes, factors, strict=True)
    )
    if None in factors and given["mode"] != "nearest" and all(by_size):
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
        self._attributes = call.attributes
        self._nearest = call.attributes["mode"] == "nearest"
        self._filters = call.attributes["mode"] == "bicubic" or call.attributes["antialias"]
        self._axis = 2 + axis
        self._in, self._out = call.in_sizes()[2 + axis], call.out_sizes()[2 + axis]
        self._scale = call.attributes["scale"][axis]
        self.fixed = is_fixed(self._in) and is_fixed(self._out)
        self._sources = [self._source(*sizes) for sizes in self._sizes()]

    def factor(self) -> Fraction | None:
        """Return the factor, if it is one that ONNX computes exactly as fastconv."""
        if self._moves_in_place():
            return None
        if all(
            np.array_equal(s, np.arange(n)) for n, s in zip(self._in, self._sources, strict=True)
        ):
            return Fraction(1)
        if self._attributes["antialias"]:
            return None
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
        return not (self._attributes["antialias"] or self._moves_in_place()) and all(
            self._agrees(source, n, out, out / n)
            for (n, out), source in zip(self._sizes(), self._sources, strict=True)
        )

    def gather(self, graph: Graph, x: str | None) -> str:
        """Interpolate along this axis by the sources of its elements."""
        if not self.fixed:
            raise ValueError(
                "ONNX cannot say it for a dynamic height or width: factors such as 2, 1.5 and 0.5 "
                "can have them, and bilinear and bicubic interpolation to the size of another "
                "array, both without antialias"
            )
        if self._filters:
            matrix = self._matrix()
            if self._axis == 2:
                return graph.node("MatMul", graph.constant(matrix), x)
            return graph.node("MatMul", x, graph.constant(matrix.T))
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

    def _moves_in_place(self) -> bool:
        """Whether elements of a bicubic image move although their number stays the same."""
        moves = self._filters and not self._attributes["antialias"] and self._scale not in (0, 1)
        return moves and any(n == out for n, out in self._sizes())

    def _source(self, n: int, out: int) -> Coordinates:
        """Return where fastconv takes each element from: it interpolates the coordinates."""
        mode = {"mode": "nearest" if self._nearest else "bilinear"}
        plain = {"antialias": False, "exclude_outside": False}
        return self._interpolated(np.arange(n, dtype=float)[:, None], out, mode | plain).reshape(
            out
        )

    def _matrix(self) -> Coordinates:
        """Return the weight of each input element (columns) in each output element (rows)."""
        (n, out), *_ = self._sizes()
        return self._interpolated(np.eye(n), out, {}).T

    def _interpolated(self, x: Coordinates, out: int, attributes: Mapping[str, Any]) -> Coordinates:
        """Interpolate the columns of `x`; return the results as rows."""
        y = np.empty((1, x.shape[1], out, 1))
        ours = {"size": (out, 1), "scale": (self._scale, 0.0)}
        columns = np.ascontiguousarray(x.T)[None, :, :, None]
        _core.interpolate(columns, y, {**self._attributes, **ours, **attributes})
        return np.asarray(y[0, :, :, 0])

    def _agrees(self, source: Coordinates, n: int, out: int, factor: float) -> bool:
        """Whether ONNX takes the elements from there, given this factor."""
        i = np.arange(out, dtype=np.float64)
        coordinates = self._attributes["coordinates"]
        if coordinates == "align_corners":
            at = i * (n - 1) / max(out - 1, 1)
        elif coordinates == "asymmetric":
            at = i / factor
        elif coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and out > 1):
            at = (i + 0.5) / factor - 0.5
        else:
            return False  # pytorch_half_pixel is not the same everywhere, and one is too new
        if self._nearest:
            rounded = _ROUNDED[self._attributes["nearest_mode"]](at)
            return np.array_equal(source, np.clip(rounded, 0, n - 1))
        return bool(np.abs(source - np.clip(at, 0, n - 1)).max() <= 1e-9 * n)
