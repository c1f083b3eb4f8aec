"""Normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_eps, as_float, as_int, as_ints
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record, record_images, recordable
from fastconv.ops._torch import torch_arguments
from fastconv.ops.activation import activation_name

__all__ = ["batch_norm", "group_norm", "layer_norm", "local_response_norm"]


@torch_arguments("input=x running_mean running_var weight bias training momentum eps")
@takes_device_arrays("x")
def batch_norm(
    x: ArrayLike,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    out: Array | None = None,
) -> Array:
    """Batch normalisation with given statistics, as at inference.

    ``(x - running_mean) / sqrt(running_var + eps) * weight + bias``, channel by channel.

    Parameters
    ----------
    x : array_like of float32, float64 or float16
        Shape (N, C), (N, C, L), (N, C, H, W) or with more dimensions.
        Channels are on axis 1, as in torch: unlike other ops this takes no single image (C, H, W),
        which would look like (N, C, L). Pass ``x[None]``, or use `fastconv.nn.BatchNorm2d`. The
        subtraction comes first, so that channels whose mean is large against their deviation keep
        their accuracy.
    running_mean, running_var : array_like, shape (C,)
    weight, bias : array_like, shape (C,), optional
    eps : float
        Keeps the denominator from zero.
    activation : str, optional
        One of `fastconv.conv2d`'s activations, applied to the result.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape.

    References
    ----------
    S. Ioffe and C. Szegedy, "Batch normalization", 2015, arXiv:1502.03167.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[[1.0, 3.0]]]])
    >>> fastconv.batch_norm(x, np.array([2.0]), np.array([4.0]), eps=0.0)
    array([[[[-0.5,  0.5]]]])
    """
    eps = as_eps(eps)
    name = activation_name(activation)
    if is_symbolic(x):
        inputs = recordable(
            ("weight", "bias"),
            x=x,
            running_mean=running_mean,
            running_var=running_var,
            weight=weight,
            bias=bias,
        )
        attributes = {"eps": eps, "activation": name}
        return record("batch_norm", tuple(inputs.values()), attributes, out)
    operands = Operands(
        x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    values = operands.contiguous("x")
    if values.ndim < 2:
        raise ValueError(f"x must have shape (N, C) or (N, C, ...), got {values.shape}")
    n, c = values.shape[:2]
    shape = (n, c, math.prod(values.shape[2:]))
    of = "x has so many channels"
    mean, variance = (
        operands.required_vector(key, c, of) for key in ("running_mean", "running_var")
    )
    scale, shift = (operands.vector(key, c, of) for key in ("weight", "bias"))
    return operands.run(
        lambda y: _core.batch_norm(
            values.reshape(shape), y.reshape(shape), mean, variance, scale, shift, eps, name
        ),
        values.shape,
        out,
        inplace=("x",),
        contiguous=True,
    )


@torch_arguments("input=x normalized_shape weight bias eps")
@takes_device_arrays("x")
def layer_norm(
    x: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
) -> Array:
    """Layer normalisation over the last dimensions.

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, mean and (biased) variance being those
    over the last ``len(normalized_shape)`` dimensions.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (..., *normalized_shape)
    normalized_shape : int or sequence of int
        The sizes of the last dimensions.
    weight, bias : array_like, shape normalized_shape, optional
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
        If an argument is of the wrong type, dtype or shape.

    References
    ----------
    J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016, arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.layer_norm(np.array([[1.0, 3.0]]), 2, eps=0.0)
    array([[-1.,  1.]])
    """
    length = len(normalized_shape) if hasattr(normalized_shape, "__len__") else 1
    sizes = as_ints("normalized_shape", normalized_shape, length)
    eps = as_eps(eps)
    operands = None if is_symbolic(x) else Operands(x=x, weight=weight, bias=bias)
    values: Any = x if operands is None else operands.contiguous("x")
    if not sizes or values.shape[-len(sizes) :] != sizes:
        raise ValueError(
            f"normalized_shape must be the last sizes of x: got {sizes}, but x has shape "
            f"{values.shape}"
        )
    if operands is None:
        inputs = recordable(("weight", "bias"), x=x, weight=weight, bias=bias)
        attributes = {"begin": values.ndim - len(sizes), "end": values.ndim, "eps": eps}
        return record("layer_norm", tuple(inputs.values()), attributes, out)
    for name in ("weight", "bias"):
        parameter = operands.get(name)
        if parameter is not None and parameter.shape != sizes:
            raise ValueError(
                f"{name} must have shape {sizes}, as normalized_shape, got {parameter.shape}"
            )
    scale, shift = (
        None if operands.get(name) is None else operands.contiguous(name).reshape(-1)
        for name in ("weight", "bias")
    )
    count = math.prod(sizes)
    shape = (values.size // count if count else 0, count)
    return operands.run(
        lambda y: _core.layer_norm(values.reshape(shape), y.reshape(shape), scale, shift, eps),
        values.shape,
        out,
        inplace=("x",),
        contiguous=True,
    )


@torch_arguments("input=x num_groups weight bias eps")
@takes_device_arrays("x")
def group_norm(
    x: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
) -> Array:
    """Group normalisation: each group of channels of a sample to zero mean and unit variance.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, ...)
    num_groups : int
        A divisor of C. With 1 all channels are one group; with C each is alone, which is instance
        normalisation.
    weight, bias : array_like, shape (C,), optional
        A factor and a summand for each channel, in the dtype of `x`.
    eps : float
        Added to the variance: ``(x - mean) / sqrt(var + eps)``, where ``var`` is divided by the
        number of elements.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, dtype or shape, or `num_groups` does not divide C.

    References
    ----------
    Y. Wu and K. He, "Group normalization", 2018, arXiv:1803.08494.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.group_norm(np.array([[[1.0], [3.0], [7.0], [5.0]]]), 2, eps=0.0).ravel()
    array([-1.,  1.,  1., -1.])
    """
    num_groups, eps = as_int("num_groups", num_groups), as_eps(eps)
    operands = None if is_symbolic(x) else Operands(x=x, weight=weight, bias=bias)
    values: Any = x if operands is None else operands.contiguous("x")
    if values.ndim < 2:
        raise ValueError(f"x must have shape (N, C, ...), got {values.shape}")
    c = values.shape[1]
    if num_groups < 1 or c % num_groups:
        raise ValueError(f"num_groups must divide the {c} channels of x, got {num_groups}")
    attributes = {"num_groups": num_groups, "eps": eps}
    if operands is None:
        inputs = recordable(("weight", "bias"), x=x, weight=weight, bias=bias)
        return record("group_norm", tuple(inputs.values()), attributes, out)
    scale, shift = (
        operands.vector(name, c, "x has so many channels") for name in ("weight", "bias")
    )
    return operands.compute("group_norm", (scale, shift), attributes, out, inplace=("x",))


@torch_arguments("input=x size alpha beta k")
@takes_device_arrays("x")
def local_response_norm(
    x: ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    out: Array | None = None,
) -> Array:
    """Local response normalisation across channels.

    ``x / (k + alpha / size * s)**beta``, s being the sum of squares over the `size` channels
    ``c - size // 2`` to ``c + (size - 1) // 2``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, shape (N, C, H, W) or (C, H, W)
        A (C, H, W) is one image; torch takes three dimensions for (N, C, L).
    size : int
        Number of channels in the sum.
    alpha, beta, k : float
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with `x`.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape.

    References
    ----------
    A. Krizhevsky, I. Sutskever and G. E. Hinton, "ImageNet classification with deep convolutional
    neural networks", 2012, section 3.3.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.local_response_norm(np.full((1, 1, 1, 1), 2.0), 1, alpha=1.0, beta=1.0, k=0.0)
    array([[[[0.5]]]])
    """
    size = as_int("size", size)
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    alpha, beta, k = (as_float(n, v) for n, v in (("alpha", alpha), ("beta", beta), ("k", k)))
    if is_symbolic(x):
        attributes = {"size": size, "alpha": alpha, "beta": beta, "k": k}
        return record_images("local_response_norm", {"x": x}, attributes, out)
    operands = Operands(x=x)
    images = operands.images()
    shape = operands["x"].shape
    return operands.run(
        lambda y: _core.local_response_norm(
            images, y if y.ndim == 4 else y[None], size, alpha, beta, k
        ),
        shape,
        out,
    )
