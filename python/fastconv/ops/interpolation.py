"""Resizing of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import (
    Array,
    Pair,
    as_array,
    as_bool,
    as_float,
    as_pair,
    choice,
    is_sequence,
)
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record_images
from fastconv.ops._torch import torch_arguments
from fastconv.ops.axes import squeeze, unsqueeze
from fastconv.ops.pool import adaptive_avg_pool2d

__all__ = ["interpolate"]

_MODES: dict[str, dict[str, Any]] = {
    "nearest": {"mode": "nearest", "coordinates": "asymmetric", "nearest_mode": "floor"},
    "nearest-exact": {
        "mode": "nearest",
        "coordinates": "half_pixel",
        "nearest_mode": "round_prefer_ceil",
    },
    "linear": {"mode": "bilinear", "coordinates": "half_pixel"},
    "bilinear": {"mode": "bilinear", "coordinates": "half_pixel"},
    "bicubic": {"mode": "bicubic", "coordinates": "half_pixel"},
    "area": {},
}
"""What each mode of torch is as attributes of the operator."""

_FILTERS = "mode='linear', 'bilinear' and 'bicubic'"


def _one(name: str, value: Any) -> Any:
    """The element of a sequence of one, or what is no sequence; so arguments name one axis."""
    if not is_sequence(value):
        return value
    if len(value) != 1:
        raise ValueError(f"{name} must be a number or a sequence of one here, got {value!r}")
    return value[0]


def _interpolation_size(
    shape: Sequence[int], size: Any, scale_factor: Any, recompute: bool
) -> tuple[tuple[int, int], tuple[float, float]]:
    """The output's (height, width), and the input step per output element (0: by the sizes)."""
    if (size is None) == (scale_factor is None):
        raise ValueError("exactly one of size and scale_factor must be given")
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is for scale_factor only: leave it out")
        pair = as_pair("size", size)
        if min(pair) < 1:
            raise ValueError(f"the output must have at least one row and column, got {pair}")
        return pair, (0.0, 0.0)
    factors = (
        tuple(as_float("scale_factor", factor) for factor in scale_factor)
        if hasattr(scale_factor, "__len__")
        else (as_float("scale_factor", scale_factor),) * 2
    )
    if len(factors) != 2 or not all(0 < factor < math.inf for factor in factors):
        raise ValueError(
            f"scale_factor must be a positive number or a pair of them, got {scale_factor!r}"
        )
    sizes = [n * factor for n, factor in zip(shape[-2:], factors, strict=True)]
    if max(sizes) >= 2**63:
        raise ValueError(f"scale_factor = {scale_factor!r} makes an output that is too large")
    height, width = map(math.floor, sizes)
    if min(height, width) < 1:
        raise ValueError(f"the output must have at least one row and column, got {height, width}")
    return (height, width), (0.0, 0.0) if recompute else (1 / factors[0], 1 / factors[1])


@torch_arguments("input=x size scale_factor mode align_corners recompute_scale_factor antialias")
@takes_device_arrays("x")
def interpolate(
    x: ArrayLike,
    size: Pair | tuple[int] | None = None,
    scale_factor: float | tuple[float, float] | tuple[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """Resize images, or signals.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
        Or (N, C, L), signals, if `mode` is "linear", or `size` or `scale_factor` is a sequence of
        one. Otherwise an `x` of three dimensions is one image, unlike in torch: pass ``(n,)``, not
        ``n``, for signals.
    size : int, (int, int) or (int,), optional
        Height and width, or length, of the output.
    scale_factor : float, (float, float) or (float,), optional
        Instead of `size`: the output's size is ``floor(H * scale_factor)``. Coordinates are divided
        by this very factor, even where ``floor`` has changed the size. "linear", "bilinear" and
        `antialias` copy an axis that keeps its size.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic", "area"}
        "nearest" takes element ``floor(i / scale_factor)``, "nearest-exact" the one at the centre,
        ``floor((i + 0.5) / scale_factor)``. Both are computed in float32 for every dtype, as torch
        does for float32; with `size` the factor is the output's size over that of `x`. "bicubic" is
        cubic convolution with a = -0.75, or -0.5 with `antialias`: it can leave the range of `x`.
        "area" is `adaptive_avg_pool2d`, or `adaptive_avg_pool1d` of signals.
    align_corners : bool, optional
        For "linear", "bilinear" and "bicubic": whether the corner elements of `x` and of the result
        have the same centres, instead of the same outer corners. Default: False.
    recompute_scale_factor : bool, optional
        Whether coordinates use the ratio of the two sizes instead of `scale_factor`. "area" always
        does so.
    antialias : bool
        For "linear", "bilinear" and "bicubic": whether an axis that becomes smaller is averaged
        over all of `x`, by a filter that is wider by the factor, as Pillow does.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out), (C, H_out, W_out) or (N, C, L_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, both or neither of `size` and `scale_factor`
        are given, or an argument is given that the mode does not have.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[[0.0, 1.0]]]])
    >>> fastconv.interpolate(x, (1, 4))
    array([[[[0., 0., 1., 1.]]]])
    >>> fastconv.interpolate(x, (1, 4), mode="bilinear")
    array([[[[0.  , 0.25, 0.75, 1.  ]]]])
    >>> x = np.arange(8.0).reshape(1, 1, 1, 8)
    >>> fastconv.interpolate(x, (1, 2), mode="bilinear")
    array([[[[1.5, 5.5]]]])
    >>> fastconv.interpolate(x, (1, 2), mode="bilinear", antialias=True)
    array([[[[1.89285714, 5.10714286]]]])
    """
    attributes = dict(_MODES[choice("mode", mode, tuple(_MODES))])
    one_axis = any(is_sequence(value) and len(value) == 1 for value in (size, scale_factor))
    if mode == "linear" or one_axis:
        signals = x if is_symbolic(x) else as_array("x", x)
        if signals.ndim != 3 or mode in ("bilinear", "bicubic"):
            raise ValueError(
                "x must have shape (N, C, L) and mode must be none of images where mode is "
                "'linear', or size or scale_factor a sequence of one: got "
                f"{signals.shape} and mode={mode!r}"
            )
        y = interpolate(
            unsqueeze(signals, 2),
            None if size is None else (1, _one("size", size)),
            None if scale_factor is None else (1.0, _one("scale_factor", scale_factor)),
            "bilinear" if mode == "linear" else mode,
            align_corners,
            recompute_scale_factor,
            antialias,
        )
        return squeeze(y, 2, out=out)
    filters = mode in ("bilinear", "bicubic")
    if align_corners is not None:
        if not filters:
            raise ValueError(f"align_corners is for {_FILTERS} only: leave it out of mode={mode!r}")
        if as_bool("align_corners", align_corners):
            attributes["coordinates"] = "align_corners"
    recompute = recompute_scale_factor is not None and as_bool(
        "recompute_scale_factor", recompute_scale_factor
    )
    if as_bool("antialias", antialias):
        if not filters:
            raise ValueError(f"antialias is for {_FILTERS} only: leave it out of mode={mode!r}")
        attributes |= {"antialias": True, "exclude_outside": True, "cubic_coeff_a": -0.5}
    operands: Operands | None = None
    if is_symbolic(x):
        shape = x.shape
    else:
        operands = Operands(x=x)
        shape = operands.images().shape
    size, scale = _interpolation_size(shape, size, scale_factor, recompute)
    if mode == "area":
        return adaptive_avg_pool2d(x, size, out=out)
    attributes |= {"size": size, "scale": scale}
    if operands is None:
        return record_images("interpolate", {"x": x}, attributes, out)
    return operands.run_images(lambda x, y: _core.interpolate(x, y, attributes), size, out)
