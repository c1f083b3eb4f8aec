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


def as_images(x: Any) -> Any:
    """Images of height 1: a view of an array; a recorded reshape, for any batch, of a symbol."""
    if not is_symbolic(x):
        return x[..., None, :]
    channels, length = x.shape[-2:]
    batch = 1 if x.ndim == 2 else -1
    if x.ndim == 3 and 0 in (channels, length):  # NumPy could not tell -1
        batch = x.shape[0]
    return reshape(x, (batch, channels, 1, length))


def as_signals(y: Any, ndim: int) -> Any:
    """Recorded images of height 1 as signals of `ndim` dimensions."""
    return flatten(y, 2) if ndim == 3 else reshape(y, (y.shape[1], y.shape[3]))


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
        check_signals(x)
        return as_signals(function(as_images(x)), x.ndim)  # type: ignore[no-any-return]
    operands = Operands(x=x)
    signals = operands.source("x")
    check_signals(signals)
    if out is None:
        return function(as_images(signals))[..., 0, :]
    c, length = signals.shape[-2:]
    n, channels, _, size = shape((signals.shape[0] if signals.ndim == 3 else 1, c, 1, length))
    operands.check_out(out, (n, channels, size)[-signals.ndim :])
    function(as_images(signals), out=out[..., None, :])
    return out
