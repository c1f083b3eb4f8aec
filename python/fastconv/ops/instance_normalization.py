"""Instance normalisation."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import ArrayLike

from fastconv._arguments import Array, as_bool
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic
from fastconv.ops._torch import torch_arguments
from fastconv.ops.normalization import batch_norm, group_norm

__all__ = ["instance_norm"]


@torch_arguments("input=x running_mean running_var weight bias use_input_stats momentum eps")
@takes_device_arrays("x")
def instance_norm(
    x: ArrayLike,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    use_input_stats: bool = True,
    *,
    eps: float = 1e-5,
    out: Array | None = None,
) -> Array:
    """Instance normalisation: each channel of a sample to zero mean and unit variance.

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, mean and (biased) variance being those of
    the channel in this sample, or the running ones.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, ...)
        Channels are on axis 1, as in torch: a single image is ``x[None]``.
    running_mean, running_var : array_like, shape (C,), optional
        What takes the place of mean and variance where `use_input_stats` is False. They are never
        changed.
    weight, bias : array_like, shape (C,), optional
        A factor and a summand for each channel.
    use_input_stats : bool
        Whether mean and variance are those of `x`.
    eps : float
        Keeps the denominator from zero.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape; if a channel has but one element, whose
        variance is 0; if running statistics are asked for and not given.

    References
    ----------
    D. Ulyanov, A. Vedaldi and V. Lempitsky, "Instance normalization: the missing ingredient for
    fast stylization", 2016, arXiv:1607.08022.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.instance_norm(np.array([[[1.0, 3.0], [7.0, 5.0]]]), eps=0.0)
    array([[[-1.,  1.],
            [ 1., -1.]]])
    """
    with_input, given = as_bool("use_input_stats", use_input_stats), running_mean is not None
    if given != (running_var is not None) or not (given or with_input):
        raise TypeError(
            "running_mean and running_var must be given both, or neither and use_input_stats=True"
        )
    if not with_input:
        mean: Any = running_mean
        variance: Any = running_var
        return batch_norm(x, mean, variance, weight, bias, eps=eps, out=out)
    shape: Any = x.shape if is_symbolic(x) else Operands(x=x).source("x").shape
    if len(shape) < 2 or shape[1] == 0:
        raise ValueError(f"x must have shape (N, C, ...) with at least one channel, got {shape}")
    if math.prod(shape[2:]) == 1:
        raise ValueError(
            f"x must have more than one element in a channel, whose variance would be 0, got "
            f"shape {shape}"
        )
    return group_norm(x, shape[1], weight, bias, eps, out=out)
