"""Operators that move elements between channels and pixels."""

from __future__ import annotations

from numpy.typing import ArrayLike

from fastconv._arguments import Array, as_int
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record_images
from fastconv.ops._torch import torch_arguments

__all__ = ["channel_shuffle", "pixel_shuffle"]


@torch_arguments("input=x groups")
@takes_device_arrays("x")
def channel_shuffle(x: ArrayLike, groups: int, *, out: Array | None = None) -> Array:
    """Interleave the groups of channels: channel ``g * C / groups + i`` goes to ``i * groups + g``.

    Parameters
    ----------
    x : array_like of float, shape (N, C, H, W) or (C, H, W)
        A (C, H, W) is one image; torch takes three dimensions for (N, C, L).
    groups : int
        Divides C.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray
        The shape of `x`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    References
    ----------
    X. Zhang et al., "ShuffleNet", 2017, arXiv:1707.01083.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.channel_shuffle(np.arange(4.0).reshape(1, 4, 1, 1), 2).ravel()
    array([0., 2., 1., 3.])
    """
    groups = as_int("groups", groups)
    if is_symbolic(x):
        return record_images("channel_shuffle", {"x": x}, {"groups": groups}, out)
    operands = Operands(x=x)
    source = operands.source("x")
    n, c, h, w = operands.images().shape
    if groups < 1 or c % groups:
        raise ValueError(f"groups must divide the {c} channels of x, got {groups}")
    view = source.reshape(n, groups, c // groups, h, w).swapaxes(1, 2)
    return operands.move(view.reshape(source.shape), out)


@torch_arguments("input=x upscale_factor")
@takes_device_arrays("x")
def pixel_shuffle(x: ArrayLike, upscale_factor: int, *, out: Array | None = None) -> Array:
    """Turn groups of ``upscale_factor**2`` channels into pixels.

    Parameters
    ----------
    x : array_like of float, shape (N, C * r**2, H, W) or (C * r**2, H, W)
    upscale_factor : int
        The r above.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray, shape (N, C, H * r, W * r) or (C, H * r, W * r)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    References
    ----------
    W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", 2016, arXiv:1609.05158.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.pixel_shuffle(np.arange(4.0).reshape(1, 4, 1, 1), 2)
    array([[[[0., 1.],
             [2., 3.]]]])
    """
    r = as_int("upscale_factor", upscale_factor)
    if is_symbolic(x):
        return record_images("pixel_shuffle", {"x": x}, {"upscale_factor": r}, out)
    operands = Operands(x=x)
    source = operands.source("x")
    n, c, h, w = operands.images().shape
    if r < 1 or c % (r * r):
        raise ValueError(
            f"upscale_factor must be positive and its square divide the {c} channels of x, got {r}"
        )
    view = source.reshape(n, c // (r * r), r, r, h, w).transpose(0, 1, 4, 2, 5, 3)
    return operands.move(view.reshape(*source.shape[:-3], c // (r * r), h * r, w * r), out)
