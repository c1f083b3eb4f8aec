"""Resizing of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, Pair, as_bool, as_float, as_pair, choice
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record_images
from fastconv.ops._torch import torch_arguments

__all__ = ["interpolate"]


def _interpolation_size(
    shape: Sequence[int], size: Any, scale_factor: Any
) -> tuple[tuple[int, int], tuple[float, float]]:
    """The output's (height, width), and the input step per output element (0: by the sizes)."""
    if (size is None) == (scale_factor is None):
        raise ValueError("exactly one of size and scale_factor must be given")
    if size is not None:
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
    return (height, width), (1 / factors[0], 1 / factors[1])


@torch_arguments("input=x size scale_factor mode align_corners recompute_scale_factor antialias")
@takes_device_arrays("x")
def interpolate(
    x: ArrayLike,
    size: Pair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    *,
    out: Array | None = None,
) -> Array:
    """Resize images.

    Parameters
    ----------
    x : array_like of float, shape (N, C, H, W) or (C, H, W)
    size : int or (int, int), optional
        Height and width of the output.
    scale_factor : float or (float, float), optional
        Instead of `size`: the output's size is ``floor(H * scale_factor)``, and the coordinates are
        those of this very factor, except that "bilinear" copies along an axis that keeps its size.
    mode : {"nearest", "bilinear"}
        "nearest" takes element ``floor(i / scale_factor)``, computed in float32 for every dtype as
        torch does for float32.
    align_corners : bool, optional
        For bilinear: whether the centres of the corner elements coincide, instead of their outer
        corners. Default: False.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or both or neither of `size` and
        `scale_factor` are given.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[[0.0, 1.0]]]])
    >>> fastconv.interpolate(x, (1, 4))
    array([[[[0., 0., 1., 1.]]]])
    >>> fastconv.interpolate(x, (1, 4), mode="bilinear")
    array([[[[0.  , 0.25, 0.75, 1.  ]]]])
    """
    bilinear = choice("mode", mode, ("nearest", "bilinear")) == "bilinear"
    if align_corners is not None and not bilinear:
        raise ValueError("align_corners is for mode='bilinear' only: leave it out")
    aligned = False if align_corners is None else as_bool("align_corners", align_corners)
    if is_symbolic(x):
        size, scale = _interpolation_size(x.shape, size, scale_factor)
        attributes = {"size": size, "scale": scale, "mode": mode, "align_corners": aligned}
        return record_images("interpolate", {"x": x}, attributes, out)
    operands = Operands(x=x)
    size, scale = _interpolation_size(operands.images().shape, size, scale_factor)
    return operands.run_images(
        lambda x, y: _core.interpolate(x, y, scale, bilinear, aligned), size, out
    )
