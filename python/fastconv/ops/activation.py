"""Activations."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_float, choice
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._native import native_first
from fastconv.ops._operands import Operands
from fastconv.ops._symbols import is_symbolic, record
from fastconv.ops._torch import torch_arguments

__all__ = [
    "gelu",
    "hardsigmoid",
    "hardswish",
    "leaky_relu",
    "mish",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "tanh",
]

ACTIVATIONS = tuple(name for name in _core.activations() if name != "none")
"""Words for activations, as arguments of other operators take them."""


def activation_name(value: Any, name: str = "activation") -> str:
    """An activation argument as native code knows it: ``"none"`` for ``None``."""
    return "none" if value is None else choice(name, value, ACTIVATIONS)


def _activate(kind: str, x: ArrayLike, out: Array | None, negative_slope: float = 0.01) -> Array:
    if is_symbolic(x):
        return record("activation", (x,), {"kind": kind, "negative_slope": negative_slope}, out)
    operands = Operands(x=x)
    values = operands.contiguous("x")
    return operands.run(
        lambda y: _core.activate(kind, values, y, negative_slope),
        values.shape,
        out,
        inplace=("x",),
        contiguous=True,
    )


@native_first(_core.activate_plain("relu"))
@torch_arguments("input=x inplace")
@takes_device_arrays("x")
def relu(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Rectified linear unit: ``max(x, 0)``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`. NaN stays NaN.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.relu([-1.0, 2.0])
    array([0., 2.])
    """
    return _activate("relu", x, out)


@native_first(_core.activate_plain("relu6"))
@torch_arguments("input=x inplace")
@takes_device_arrays("x")
def relu6(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Rectified linear unit that ends at 6: ``min(max(x, 0), 6)``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`. NaN stays NaN.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.relu6([-1.0, 2.0, 9.0])
    array([0., 2., 6.])
    """
    return _activate("relu6", x, out)


@native_first(_core.activate_plain("leaky_relu"))
@torch_arguments("input=x negative_slope inplace")
@takes_device_arrays("x")
def leaky_relu(x: ArrayLike, negative_slope: float = 0.01, *, out: Array | None = None) -> Array:
    """Leaky rectified linear unit: ``x`` where positive, else ``negative_slope * x``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    negative_slope : float
        The slope below zero.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.leaky_relu([-1.0, 2.0], 0.25)
    array([-0.25,  2.  ])
    """
    return _activate("leaky_relu", x, out, as_float("negative_slope", negative_slope))


@native_first(_core.activate_plain("gelu"))
@torch_arguments("input=x approximate")
@takes_device_arrays("x")
def gelu(x: ArrayLike, approximate: str = "none", *, out: Array | None = None) -> Array:
    """Gaussian error linear unit: ``x * Phi(x)``, Phi being the standard normal distribution.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    approximate : {"none", "tanh"}
        "tanh" computes ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array, `approximate` another word or `out` does not fit.

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian error linear units", 2016, arXiv:1606.08415.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.gelu([-1.0, 0.0, 1.0]).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    tanh_form = choice("approximate", approximate, ("none", "tanh")) == "tanh"
    return _activate("gelu_tanh" if tanh_form else "gelu", x, out)


@native_first(_core.activate_plain("silu"))
@torch_arguments("input=x inplace")
@takes_device_arrays("x")
def silu(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Sigmoid linear unit, also called swish: ``x * sigmoid(x)``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.silu([-1.0, 0.0, 1.0]).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """
    return _activate("silu", x, out)


@native_first(_core.activate_plain("hardswish"))
@torch_arguments("input=x inplace")
@takes_device_arrays("x")
def hardswish(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Piecewise approximation of `silu`: ``x * relu6(x + 3) / 6``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `out` does not fit.

    References
    ----------
    A. Howard et al., "Searching for MobileNetV3", 2019, arXiv:1905.02244.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.hardswish([-4.0, 0.0, 3.0])
    array([-0.,  0.,  3.])
    """
    return _activate("hardswish", x, out)


@native_first(_core.activate_plain("hardsigmoid"))
@torch_arguments("input=x inplace")
@takes_device_arrays("x")
def hardsigmoid(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Piecewise linear approximation of `sigmoid`: ``relu6(x + 3) / 6``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.hardsigmoid([-4.0, 0.0, 3.0])
    array([0. , 0.5, 1. ])
    """
    return _activate("hardsigmoid", x, out)


@native_first(_core.activate_plain("sigmoid"))
@torch_arguments("input=x")
@takes_device_arrays("x")
def sigmoid(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Logistic function: ``1 / (1 + exp(-x))``.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.sigmoid([-1.0, 0.0, 1.0]).round(4)
    array([0.2689, 0.5   , 0.7311])
    """
    return _activate("sigmoid", x, out)


@native_first(_core.activate_plain("tanh"))
@torch_arguments("input=x")
@takes_device_arrays("x")
def tanh(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Hyperbolic tangent.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `out` does not fit.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.tanh([-1.0, 0.0, 1.0]).round(4)
    array([-0.7616,  0.    ,  0.7616])
    """
    return _activate("tanh", x, out)


@native_first(_core.activate_plain("mish"))
@torch_arguments("input=x inplace")
@takes_device_arrays("x")
def mish(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Mish: ``x * tanh(log(1 + exp(x)))``, a smooth function that lets small negative values pass.

    Parameters
    ----------
    x : array_like of float32, float64 or float16, any shape
    out : ndarray, optional
        Where the result goes: an array of its shape and dtype. May be `x` itself.

    Returns
    -------
    ndarray
        The shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is no float array or `out` does not fit.

    References
    ----------
    D. Misra, "Mish: a self regularized non-monotonic activation function", 2019, arXiv:1908.08681.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.mish([-1.0, 0.0, 30.0]).round(3)
    array([-0.303,  0.   , 30.   ])
    """
    return _activate("mish", x, out)
