"""Random initial values: float32, drawn from a generator that the caller passes.

Each function returns a new read-only array, the form in which a `Module` keeps its parameters.
Weights have the shape ``(out, in / groups, *kernel)``; ``fan_in`` and ``fan_out`` are counted as
`torch.nn.init` counts them.

Examples
--------
>>> import numpy as np
>>> from fastconv.nn import init
>>> init.kaiming_normal((64, 3, 7, 7), np.random.default_rng(0)).shape
(64, 3, 7, 7)
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]

_skipping: ContextVar[bool] = ContextVar("fastconv_init_skipping", default=False)


@contextlib.contextmanager
def skip() -> Iterator[None]:
    """Leave the weights of layers built inside at zero, because values follow.

    Memory for them is not even touched: building a network costs milliseconds.

    Examples
    --------
    >>> from fastconv import nn
    >>> with nn.init.skip():
    ...     layer = nn.Linear(4096, 1000)
    >>> bool(layer.weight.any())
    False
    """
    token = _skipping.set(True)
    try:
        yield
    finally:
        _skipping.reset(token)


def is_skipping() -> bool:
    """Whether the caller is inside `skip`."""
    return _skipping.get()


def constant(shape: Shape, value: float) -> npt.NDArray[Any]:
    """Return an array of one value (zeros cost no memory until they are read)."""
    if value == 0:
        return _frozen(np.zeros(shape, np.float32))
    return _frozen(np.full(shape, value, np.float32))


def uniform(shape: Shape, rng: np.random.Generator, bound: float) -> npt.NDArray[Any]:
    """Draw from the uniform distribution on ``[-bound, bound)``."""
    values = rng.random(shape, np.float32)
    values -= np.float32(0.5)
    values *= np.float32(2 * bound)
    return _frozen(values)


def normal(shape: Shape, rng: np.random.Generator, std: float) -> npt.NDArray[Any]:
    """Draw from the normal distribution of mean 0 and standard deviation `std`."""
    values = rng.standard_normal(shape, np.float32)
    values *= np.float32(std)
    return _frozen(values)


def trunc_normal(
    shape: Shape, rng: np.random.Generator, std: float, bound: float = 2.0
) -> npt.NDArray[Any]:
    """Draw as `normal`, but redraw whatever lies outside ``[-bound, bound]``."""
    values = rng.standard_normal(shape, np.float32)
    limit = np.float32(bound / std)
    while values.size and (values.max() > limit or values.min() < -limit):
        outside = np.abs(values) > limit
        values[outside] = rng.standard_normal(int(outside.sum()), np.float32)
    values *= np.float32(std)
    return _frozen(values)


def kaiming_normal(
    shape: Shape, rng: np.random.Generator, mode: str = "fan_out"
) -> npt.NDArray[Any]:
    """Draw weights that keep the variance of signals through ReLU layers.

    The standard deviation is ``sqrt(2 / fan)``, with ``fan_in`` for the forward signal or
    ``fan_out`` for the gradient.

    Source: He et al., Delving Deep into Rectifiers (2015), section 2.2.
    """
    fans = {"fan_in": fan_in(shape), "fan_out": fan_out(shape)}
    if mode not in fans:
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return normal(shape, rng, math.sqrt(2 / max(1, fans[mode])))


def reset_uniform(layer: Any, rng: np.random.Generator | int | None) -> None:
    """Draw a layer's weight and bias from ``+-1 / sqrt(fan_in)``, as torch does."""
    rng = np.random.default_rng(rng)
    bound = 1 / math.sqrt(max(1, fan_in(layer.weight.shape)))
    layer.weight = uniform(layer.weight.shape, rng, bound)
    if layer.bias is not None:
        layer.bias = uniform(layer.bias.shape, rng, bound)


def fan_in(shape: Shape) -> int:
    """Return the number of inputs of one output: input channels times kernel size."""
    return math.prod(shape[1:])


def fan_out(shape: Shape) -> int:
    """Return output channels times kernel size."""
    return shape[0] * math.prod(shape[2:])


def _frozen(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    values.flags.writeable = False
    return values
