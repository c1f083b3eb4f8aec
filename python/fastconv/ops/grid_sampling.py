"""Sampling of images at any places."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_bool, as_shape, choice
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record, recordable, refuse_out
from fastconv.ops._torch import torch_arguments
from fastconv.ops.dense import linear
from fastconv.ops.shape import permute, reshape

__all__ = ["affine_grid", "grid_sample"]

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _corners(value: Any) -> bool:
    """The argument `align_corners`, of which torch has ``None``, too."""
    return value is not None and as_bool("align_corners", value)


@torch_arguments("input=x grid mode padding_mode align_corners")
@takes_device_arrays("x", "grid")
def grid_sample(
    x: ArrayLike,
    grid: ArrayLike,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = False,
    *,
    out: Array | None = None,
) -> Array:
    """Sample images at the places of a grid (Jaderberg et al. 2015, spatial transformers).

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
    grid : array_like, shape (N, H_out, W_out, 2) or (H_out, W_out, 2)
        Same dtype as `x`: the place (horizontal, vertical) of each output pixel, from -1 at the
        left and upper edge of `x` to 1 at the right and lower one. A NaN counts as the first pixel
        with "border" and "reflection", and as a place outside with "zeros"; where its share
        weights pixels, the result is NaN.
    mode : {"bilinear", "nearest", "bicubic"}
        "nearest" rounds to even; "bicubic" is cubic convolution with a = -0.75.
    padding_mode : {"zeros", "border", "reflection"}
        What is outside `x`.
    align_corners : bool
        Whether -1 and 1 are the centres of the pixels at the edges, instead of their outer edges.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out) or (C, H_out, W_out)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> grid = np.array([[[[-1.0, -1.0], [0.0, 0.0], [1.0, -1.0]]]])
    >>> fastconv.grid_sample(x, grid, align_corners=True)
    array([[[[0. , 1.5, 1. ]]]])
    """
    attributes = {
        "mode": choice("mode", mode, _MODES),
        "padding_mode": choice("padding_mode", padding_mode, _PADDINGS),
        "align_corners": _corners(align_corners),
    }
    operands: Operands | None = None
    if is_symbolic(x, grid):
        values = recordable(x=x, grid=grid)
    else:
        operands = Operands(x=x, grid=grid)
        values = {name: operands.source(name) for name in ("x", "grid")}
    shape, places = values["x"].shape, values["grid"].shape
    if len(shape) not in (3, 4):
        raise ValueError(f"x must have shape (N, C, H, W) or (C, H, W), got {shape}")
    batch = shape[: len(shape) - 3]
    if len(places) != len(shape) or places[:-3] != batch or places[-1] != 2:
        expected = ", ".join(map(str, (*batch, "H_out", "W_out", 2)))
        raise ValueError(f"grid must have shape ({expected}), as x has shape {shape}, got {places}")
    if 0 in shape[-3:]:
        raise ValueError(f"x must have at least one channel, row and column, got shape {shape}")
    if operands is None:
        if batch:
            return record("grid_sample", tuple(values.values()), attributes, out)
        inputs = [value.reshape((1, *value.shape)) for value in values.values()]
        y = record("grid_sample", inputs, attributes, out)
        return record("reshape", (y,), {"shape": y.shape[1:]})
    images, grids = operands.images(), operands.contiguous("grid")
    grids = grids if batch else grids[None]
    return operands.run(
        lambda y: _core.grid_sample(images, grids, y if batch else y[None], attributes),
        (*shape[:-2], *places[-3:-1]),
        out,
    )


@torch_arguments("theta size align_corners")
@takes_device_arrays("theta")
def affine_grid(
    theta: ArrayLike, size: Any, align_corners: bool | None = False, *, out: Array | None = None
) -> Array:
    """Places for `grid_sample` that are an affine function of the output's pixels.

    Parameters
    ----------
    theta : array_like of float32, float64 or float16, shape (N, 2, 3)
        From (horizontal, vertical, 1) of the output to (horizontal, vertical) of what is sampled.
    size : (int, int, int, int)
        The output's shape (N, C, H, W).
    align_corners : bool
        As for `grid_sample`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, H, W, 2)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> theta = np.array([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
    >>> fastconv.affine_grid(theta, (1, 1, 1, 2))
    array([[[[0., 0.],
             [1., 0.]]]])
    """
    sizes, aligned = as_shape("size", size), _corners(align_corners)
    if len(sizes) != 4 or min(sizes) < 1:
        raise ValueError(f"size must be (N, C, H, W), all of them at least 1, got {sizes}")
    symbolic = is_symbolic(theta)
    if symbolic:
        refuse_out(out)
    else:
        operands = Operands(theta=theta)
    values: Any = theta if symbolic else operands["theta"]
    n, _, height, width = sizes
    if values.shape != (n, 2, 3):
        raise ValueError(
            f"theta must have shape ({n}, 2, 3), as size is {sizes}, got {values.shape}"
        )
    vertical, horizontal = np.meshgrid(
        _centres(height, aligned), _centres(width, aligned), indexing="ij"
    )
    pixels = np.stack([horizontal, vertical, np.ones_like(vertical)], -1).astype(values.dtype)
    y = permute(linear(values, pixels.reshape(-1, 3)), (0, 2, 1))
    y = reshape(y, (n, height, width, 2))
    if symbolic:
        return y
    operands.check_out(out, y.shape)
    return operands.finish(y, out)


def _centres(size: int, align_corners: bool) -> Array:
    """The places of the pixels of an axis."""
    places = np.linspace(-1, 1, size) if size > 1 else np.zeros(1)
    return places if align_corners else places * (size - 1) / size
