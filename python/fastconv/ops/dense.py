"""Products of matrices, and fully connected layers."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._native import native_first
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record, recordable
from fastconv.ops._torch import torch_arguments
from fastconv.ops.activation import activation_name
from fastconv.ops.shape import flatten, reshape

__all__ = ["linear", "matmul"]


@native_first(_core.linear_plain)
@torch_arguments("input=x weight bias")
@takes_device_arrays("x", "residual")
def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: str | None = None,
    residual: ArrayLike | None = None,
    out: Array | None = None,
) -> Array:
    """Fully connected layer: ``activation(x @ weight.T + bias + residual)``.

    Parameters
    ----------
    x : array_like, shape (..., I)
    weight : array_like, shape (O, I)
    bias : array_like, shape (O,), optional
        Inside a network, both may be values that the network computes, as in `conv2d`.
    activation : str, optional
        As for `conv2d`.
    residual : array_like, shape of the result, optional
        Added before the activation.
    out : ndarray, optional
        May be `residual` itself.

    Returns
    -------
    ndarray, shape (..., O)

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.linear(np.ones((2, 3)), np.ones((4, 3)), np.ones(4)).tolist()
    [[4.0, 4.0, 4.0, 4.0], [4.0, 4.0, 4.0, 4.0]]
    """
    activation = activation_name(activation)
    if is_symbolic(x, weight, bias, residual):
        return _record_linear(x, weight, bias, residual, activation, out)
    operands = Operands(x=x, weight=weight, bias=bias, residual=residual)
    samples, kernel = operands.contiguous("x"), operands.contiguous("weight")
    shape = _core.linear_output_shape(samples.shape, kernel.shape)
    added = operands.contiguous("residual") if residual is not None else None
    if added is not None and added.shape != shape:
        raise ValueError(f"residual must have the result's shape {shape}, got {added.shape}")
    offset = operands.vector("bias", kernel.shape[0], "weight has so many rows")

    def call(target: Array) -> None:
        _core.linear(samples, kernel, offset, added, target, activation)

    return operands.run(call, shape, out, inplace=("residual",), contiguous=True)


def _record_linear(
    x: Any, weight: Any, bias: Any, residual: Any, activation: str, out: Array | None
) -> Array:
    """Record `linear`; what graphs do not take, 5 dimensions or empty ones, is joined to rows."""
    x, weight, bias, residual = recordable(
        ("bias", "residual"), x=x, weight=weight, bias=bias, residual=residual
    ).values()
    if x.ndim < 5 and 0 not in x.shape[1:-1]:
        return record("linear", (x, weight, bias, residual), {"activation": activation}, out)
    if residual is not None and residual.shape[:-1] != x.shape[:-1]:
        raise ValueError(
            f"residual must have the result's shape (..., O), as x has {x.shape}, "
            f"got {residual.shape}"
        )
    rows, added = (v if v is None else flatten(v, 0, -2) for v in (x, residual))
    y = record("linear", (rows, weight, bias, added), {"activation": activation}, out)
    return reshape(y, (*x.shape[:-1], y.shape[-1]))


@native_first(_core.matmul_plain)
@torch_arguments("input=a other=b")
@takes_device_arrays("a", "b")
def matmul(a: ArrayLike, b: ArrayLike, *, out: Array | None = None) -> Array:
    """Product of two matrices, or of each two in two batches, as `numpy.matmul`.

    Parameters
    ----------
    a : array_like of float32, float64 or float16, shape (..., M, K) or (K,)
    b : array_like of float32, float64 or float16, shape (..., K, N) or (K,)
        Of the dtype of `a`. The axes before the last two broadcast. What has one dimension is a
        row of `a`, or a column of `b`, whose axis the result does not have. Any strides: a
        transposed view is read as it is.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype that shares no memory with an input.

    Returns
    -------
    ndarray, shape (..., M, N)
        It does not depend on the number of threads. Zeros where K is 0.

    Raises
    ------
    TypeError, ValueError
        If the dtypes differ or the shapes do not fit; for arrays on a CUDA device, where it has
        no kernel.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.matmul([[1.0, 2.0], [3.0, 4.0]], [10.0, 1.0])
    array([12., 34.])
    >>> q, k = np.ones((2, 8, 197, 64)), np.ones((2, 8, 197, 64))
    >>> fastconv.matmul(q, k.swapaxes(-1, -2)).shape
    (2, 8, 197, 197)
    """
    if is_symbolic(a, b):
        return record("matmul", tuple(recordable(a=a, b=b).values()), {}, out)
    operands = Operands(a=a, b=b)
    left, right = operands["a"], operands["b"]
    shape = _core.matmul_output_shape(left.shape, right.shape)
    return operands.run(lambda y: _core.matmul(left, right, y), shape, out, contiguous=True)
