"""Signals (N, C, L) and (C, L) as images of height 1, which 1-d operators compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv._arguments import Array
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, refuse_out
from fastconv.ops.shape import flatten, reshape


def check_signals(x: Any) -> None:
    """Refuse what is no signal."""
    if x.ndim not in (2, 3):
        raise ValueError(f"x must have shape (N, C, L) or (C, L), got {x.shape}")


def as_images(signals: Any) -> Any:
    """A batch of images of height 1: views of arrays, recorded reshapes of symbolic values."""
    if not is_symbolic(signals):
        return signals[:, :, None] if signals.ndim == 3 else signals[None, :, None]
    channels, length = signals.shape[-2:]
    batch = 1 if signals.ndim == 2 else -1  # any
    if signals.ndim == 3 and 0 in (channels, length):  # NumPy could not tell -1
        batch = signals.shape[0]
    return reshape(signals, (batch, channels, 1, length))


def as_signals(images: Any, ndim: int) -> Any:
    """Such images as signals of `ndim` dimensions."""
    if not is_symbolic(images):
        return images[:, :, 0] if ndim == 3 else images[0, :, 0]
    return flatten(images, 2) if ndim == 3 else reshape(images, images.shape[1::2])


def over_images(
    function: Callable[..., Array],
    x: ArrayLike,
    out: Array | None,
    shape: Callable[[Any], Sequence[int]],
) -> Array:
    """Signals through ``function(images, out=...)``, an operator of images.

    ``shape((N, C, 1, L))`` tells the shape of its result; it is asked where there is an `out`.
    """
    if is_symbolic(x):
        refuse_out(out)
        signals: Any = x
    else:
        operands = Operands(x=x)
        signals = operands.source("x")
    check_signals(signals)
    images, ndim = as_images(signals), signals.ndim
    if out is None:
        return as_signals(function(images), ndim)  # type: ignore[no-any-return]
    n, channels, _, length = shape(images.shape)
    operands.check_out(out, (n, channels, length)[-ndim:])
    function(images, out=as_images(out))
    return out
