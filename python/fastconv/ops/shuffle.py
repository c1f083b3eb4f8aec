"""Operators that move elements between channels and pixels."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastconv._arguments import Array, as_int, choice
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record_images
from fastconv.ops._torch import torch_arguments

__all__ = [
    "channel_shuffle",
    "depth_to_space",
    "pixel_shuffle",
    "pixel_unshuffle",
    "space_to_depth",
]


@torch_arguments("input=x groups")
@takes_device_arrays("x")
def channel_shuffle(x: ArrayLike, groups: int, *, out: Array | None = None) -> Array:
    """Interleave the groups of channels: channel ``g * C / groups + i`` goes to ``i * groups + g``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
        A (C, H, W) is one image; torch takes three dimensions for (N, C, L).
    groups : int
        Divides C.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

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
    x : array_like of float32, float64 or float16, shape (N, C * r**2, H, W) or (C * r**2, H, W)
    upscale_factor : int
        The r above.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

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
    return _to_pixels(x, ("upscale_factor", upscale_factor), "CRD", out)


@torch_arguments("input=x downscale_factor")
@takes_device_arrays("x")
def pixel_unshuffle(x: ArrayLike, downscale_factor: int, *, out: Array | None = None) -> Array:
    """Turn blocks of pixels into ``downscale_factor**2`` channels: the inverse of `pixel_shuffle`.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H * r, W * r) or (C, H * r, W * r)
    downscale_factor : int
        The r above.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C * r**2, H, W) or (C * r**2, H, W)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.pixel_unshuffle(np.arange(4.0).reshape(1, 1, 2, 2), 2).ravel()
    array([0., 1., 2., 3.])
    """
    return _to_channels(x, ("downscale_factor", downscale_factor), "CRD", out)


@takes_device_arrays("x")
def depth_to_space(
    x: ArrayLike, block_size: int, mode: str = "DCR", *, out: Array | None = None
) -> Array:
    """Turn groups of ``block_size**2`` channels into pixels: DepthToSpace of ONNX.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C * b**2, H, W) or (C * b**2, H, W)
    block_size : int
        The b above.
    mode : {"DCR", "CRD"}
        How channels are counted, the last of these fastest: depth (which is C), column and row of
        the block. "CRD" is `pixel_shuffle`; with "DCR" neighbouring channels go to one place of
        their blocks.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C, H * b, W * b) or (C, H * b, W * b)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.depth_to_space(np.arange(8.0).reshape(1, 8, 1, 1), 2)
    array([[[[0., 2.],
             [4., 6.]],
    <BLANKLINE>
            [[1., 3.],
             [5., 7.]]]])
    """
    return _to_pixels(x, ("block_size", block_size), mode, out)


@takes_device_arrays("x")
def space_to_depth(
    x: ArrayLike, block_size: int, mode: str = "DCR", *, out: Array | None = None
) -> Array:
    """Turn blocks of pixels into ``block_size**2`` channels: SpaceToDepth of ONNX.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H * b, W * b) or (C, H * b, W * b)
    block_size : int
        The b above.
    mode : {"DCR", "CRD"}
        As for `depth_to_space`, whose inverse this is. "CRD" is `pixel_unshuffle`.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (N, C * b**2, H, W) or (C * b**2, H, W)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.space_to_depth(np.arange(8.0).reshape(1, 2, 2, 2), 2).ravel()
    array([0., 4., 1., 5., 2., 6., 3., 7.])
    """
    return _to_channels(x, ("block_size", block_size), mode, out)


def _image(x: Any) -> tuple[Any, Operands | None]:
    """Return a symbolic value or an array of images, and the operands where it is an array."""
    operands = None if is_symbolic(x) else Operands(x=x)
    source = x if operands is None else operands.source("x")
    if source.ndim not in (3, 4):
        raise ValueError(f"x must have shape (N, C, H, W) or (C, H, W), got {source.shape}")
    return source, operands


def _to_pixels(x: ArrayLike, factor: tuple[str, int], mode: str, out: Array | None) -> Array:
    """Turn channels, counted as `mode` says, into pixels; `factor` is the argument's name and r."""
    argument, r = factor[0], as_int(*factor)
    choice("mode", mode, ("DCR", "CRD"))
    source, operands = _image(x)
    *lead, c, h, w = source.shape
    if r < 1 or c % (r * r):
        raise ValueError(
            f"{argument} must be positive and its square divide the {c} channels of x, got {r}"
        )
    if operands is None:
        return record_images("pixel_shuffle", {"x": x}, {"upscale_factor": r, "mode": mode}, out)
    c //= r * r
    parts, order = ((c, r, r), (0, 3, 1, 4, 2)) if mode == "CRD" else ((r, r, c), (2, 3, 0, 4, 1))
    view = source.reshape(*lead, *parts, h, w)
    view = view.transpose(*range(len(lead)), *(len(lead) + i for i in order))
    return operands.move(view.reshape(*lead, c, h * r, w * r), out)


def _to_channels(x: ArrayLike, factor: tuple[str, int], mode: str, out: Array | None) -> Array:
    """Turn pixels into channels, counted as `mode` says; `factor` is the argument's name and r."""
    argument, r = factor[0], as_int(*factor)
    choice("mode", mode, ("DCR", "CRD"))
    source, operands = _image(x)
    *lead, c, h, w = source.shape
    if r < 1 or h % r or w % r:
        raise ValueError(
            f"{argument} must be positive and divide the height and width of x, {h} and {w}, "
            f"got {r}"
        )
    if operands is None:
        attributes = {"downscale_factor": r, "mode": mode}
        return record_images("pixel_unshuffle", {"x": x}, attributes, out)
    order = (0, 2, 4, 1, 3) if mode == "CRD" else (2, 4, 0, 1, 3)
    view = source.reshape(*lead, c, h // r, r, w // r, r)
    view = view.transpose(*range(len(lead)), *(len(lead) + i for i in order))
    return operands.move(view.reshape(*lead, c * r * r, h // r, w // r), out)
