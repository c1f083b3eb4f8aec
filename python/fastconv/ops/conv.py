"""Convolutions."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastconv import _core
from fastconv._arguments import Array, as_array
from fastconv.ops._conv import (
    ConvOptions,
    conv_options,
    padding1d_argument,
    residual_batch,
    run_conv,
    single,
)
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._operands import Operands
from fastconv.ops._signals import as_images, as_signals, check_signals
from fastconv.ops._symbols import is_symbolic, record_images, recordable
from fastconv.ops._torch import torch_arguments

__all__ = ["conv1d", "conv2d", "depthwise_separable_conv2d"]


@torch_arguments("input=x weight bias stride padding dilation groups")
@takes_device_arrays("x", "residual")
def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Any = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    residual: ArrayLike | None = None,
    algorithm: str = "auto",
    accuracy: str = "fast",
    out: Array | None = None,
    device: str | None = None,
) -> Array:
    """2-d convolution (cross-correlation, as in every deep-learning library).

    ``y[n, o] = activation(bias[o] + residual[n, o] + sum over c of weight[o, c] * x[n, c])``

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        float32 or float64 (float16 is computed in float32 and rounded once); any strides.
    weight : array_like, shape (O, C / groups, KH, KW)
        Same dtype as `x`. Inside a network, `weight` and `bias` may be values that the network
        computes; they are then packed in every call, and run on the CPU only.
    bias : array_like, shape (O,), optional
    stride, dilation : int or (int, int)
        Along height and width.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around `x`. ``"same"`` works at any stride: the output has ``ceil(H / stride)`` rows,
        and where the padding is odd the extra row is at the bottom.
    groups : int
        Output channels in group i see only the input channels in group i; ``groups == C`` is a
        depthwise convolution.
    activation : str, optional
        Applied last: the name of a function of `fastconv.ops.activation`, such as ``"relu"``, or
        ``"gelu_tanh"`` for `gelu` with ``approximate="tanh"``.
    residual : array_like, shape of the result, optional
        Added before the activation.
    algorithm : str
        ``"auto"``, or one of those that `fastconv.algorithms` lists.
    accuracy : {"fast", "exact", "fastest"}
        ``"exact"`` uses neither Winograd nor Strassen's algorithm and never flushes subnormals;
        its bits do not depend on the batch. ``"fastest"`` may take Strassen's algorithm, whose
        error is relative to all channels, where weights are packed once: in `prepare_conv2d` and
        networks.
    out : ndarray, optional
        Where to put the result; may be `residual` itself.
    device : {"cpu", "cuda", "cuda:N"}, optional
        Where to compute; by default where the arrays are. On a CUDA device in float32, and `out`
        cannot be given. Weights are packed on the host in every call: a compiled network is faster.

    Returns
    -------
    ndarray or fastconv.cuda.Array, shape (N, O, H_out, W_out) or (O, H_out, W_out)
        ``H_out = floor((H + top + bottom - dilation * (KH - 1) - 1) / stride + 1)``.

    Raises
    ------
    TypeError
        Arrays that are not floating-point, or of different dtypes; options of the wrong type.
    ValueError
        Shapes and options that do not fit together; an algorithm that cannot serve. Inside a
        network, an `algorithm` or `accuracy` other than the default: `Module.compile` decides.
    fastconv.cuda.CudaUnavailable
        If `device` is a CUDA device and there is none that this build can use.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((1, 3, 5, 5), np.float32)
    >>> weight = np.ones((2, 3, 3, 3), np.float32)
    >>> y = fastconv.conv2d(x, weight, padding=1)
    >>> y.shape, float(y[0, 0, 0, 0]), float(y[0, 0, 2, 2])
    ((1, 2, 5, 5), 12.0, 27.0)
    """
    options = conv_options(stride, padding, dilation, groups, activation, algorithm, accuracy)
    if is_symbolic(x, weight, bias, residual):
        _check_recordable(algorithm, accuracy)
        attributes = {name: getattr(options, name) for name in _RECORDED}
        inputs = {"x": x, "weight": weight, "bias": bias, "residual": residual}
        return record_images("conv2d", inputs, attributes, out)
    operands = Operands(x=x, weight=weight, bias=bias, residual=residual)
    images = operands.images()
    kernel = operands.contiguous("weight")
    offset, added = operands.get_contiguous("bias"), residual_batch(operands)
    return run_conv(
        operands,
        lambda y: _core.conv2d(images, kernel, offset, added, y, *options),
        lambda: _core.conv_output_shape(images.shape, kernel.shape, *options[:4]),
        out,
        inplace=("residual",),
    )


_RECORDED = ("stride", "padding", "dilation", "groups", "activation")


def _check_recordable(algorithm: str, accuracy: str) -> None:
    """Refuse what is decided for a network as a whole, when it is compiled."""
    if algorithm != "auto":
        raise ValueError(
            f"algorithm={algorithm!r} cannot be given inside a network, which chooses by itself: "
            "leave it 'auto', or call model.eager(x)"
        )
    if accuracy != "fast":
        raise ValueError(
            f"accuracy={accuracy!r} cannot be given inside a network: "
            f"use model.compile(input_shape, accuracy={accuracy!r}), or call model.eager(x)"
        )


@torch_arguments("input=x weight bias stride padding dilation groups")
@takes_device_arrays("x", "residual")
def conv1d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | tuple[int] = 1,
    padding: Any = 0,
    dilation: int | tuple[int] = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    residual: ArrayLike | None = None,
    algorithm: str = "auto",
    accuracy: str = "fast",
    out: Array | None = None,
    device: str | None = None,
) -> Array:
    """1-d convolution: `conv2d` on images of height 1.

    Parameters
    ----------
    x : array_like, shape (N, C, L) or (C, L)
    weight : array_like, shape (O, C / groups, K)
    bias : array_like, shape (O,), optional
    stride, dilation : int or (int,)
    padding : int, (int,), ((left, right),), "same" or "valid"
    groups, activation, residual, algorithm, accuracy, out, device
        As for `conv2d`.

    Returns
    -------
    ndarray, shape (N, O, L_out) or (O, L_out)

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(5, dtype=np.float32)[None, None]
    >>> fastconv.conv1d(x, np.ones((1, 1, 3), np.float32))
    array([[[3., 6., 9.]]], dtype=float32)
    """
    options = conv_options(
        (1, single("stride", stride)),
        padding1d_argument(padding),
        (1, single("dilation", dilation)),
        groups,
        activation,
        algorithm,
        accuracy,
    )
    if is_symbolic(x, weight, bias, residual):
        _check_recordable(algorithm, accuracy)
        return _record_conv1d(x, weight, bias, options, activation, residual, out)
    operands = Operands(x=x, weight=weight, bias=bias, residual=residual)
    signals, kernel = operands["x"], operands.contiguous("weight")
    if kernel.ndim != 3:
        raise ValueError(f"weight must have shape (O, C / groups, K), got {kernel.shape}")
    check_signals(signals)
    added = operands.get("residual")
    if added is not None and added.ndim != signals.ndim:
        raise ValueError(
            f"residual must have the output's shape, with {signals.ndim} dimensions as x has, "
            f"got {added.shape}"
        )
    images, filters = as_images(signals), kernel[:, :, None]
    if out is not None:
        n, channels, _, length = _core.conv_output_shape(images.shape, filters.shape, *options[:4])
        operands.check_out(out, (n, channels, length)[-signals.ndim :], inplace=("residual",))
    target = operands.native_out(out)
    added, y = (v if v is None else as_images(v) for v in (added, target))
    y = _core.conv2d(images, filters, operands.get_contiguous("bias"), added, y, *options)
    return operands.finish(as_signals(y, signals.ndim), out) if target is None else target


def _record_conv1d(
    x: Any, weight: Any, bias: Any, options: ConvOptions, activation: Any, residual: Any, out: Any
) -> Array:
    """Record `conv1d`: a `conv2d` between two reshapes, which hold for any batch size."""
    x, kernel, residual = recordable(("residual",), x=x, weight=weight, residual=residual).values()
    if kernel.ndim != 3:
        raise ValueError(f"weight must have shape (O, C / groups, K), got {kernel.shape}")
    ndim = x.ndim
    check_signals(x)
    if residual is not None and residual.ndim != ndim:
        raise ValueError(
            f"residual must have the output's shape, with {ndim} dimensions as x has, "
            f"got {residual.shape}"
        )
    x, residual = (v if v is None else as_images(v) for v in (x, residual))
    y = conv2d(
        x, kernel[:, :, None], bias, *options[:4], activation=activation, residual=residual, out=out
    )
    return as_signals(y, ndim)  # type: ignore[no-any-return]


@takes_device_arrays("x")
def depthwise_separable_conv2d(
    x: ArrayLike,
    depthwise_weight: ArrayLike,
    pointwise_weight: ArrayLike,
    depthwise_bias: ArrayLike | None = None,
    pointwise_bias: ArrayLike | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Any = 0,
    dilation: int | tuple[int, int] = 1,
    *,
    depthwise_activation: str | None = None,
    activation: str | None = None,
    out: Array | None = None,
) -> Array:
    """A depthwise convolution followed by a 1x1 convolution.

    ``K * K + O`` multiplications for each input element instead of the ``K * K * O`` of a dense
    convolution (Howard et al. 2017, "MobileNets", section 3.1).

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
    depthwise_weight : array_like, shape (C * M, 1, KH, KW)
        M filters for each channel.
    pointwise_weight : array_like, shape (O, C * M, 1, 1)
    depthwise_bias : array_like, shape (C * M,), optional
    pointwise_bias : array_like, shape (O,), optional
    stride, padding, dilation
        Of the depthwise convolution; as for `conv2d`.
    depthwise_activation, activation : str, optional
        After the depthwise and after the pointwise convolution.
    out : ndarray, optional

    Returns
    -------
    ndarray, shape (N, O, H_out, W_out) or (O, H_out, W_out)

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((1, 4, 8, 8), np.float32)
    >>> depthwise = np.ones((4, 1, 3, 3), np.float32)
    >>> pointwise = np.ones((16, 4, 1, 1), np.float32)
    >>> fastconv.depthwise_separable_conv2d(x, depthwise, pointwise, padding=1).shape
    (1, 16, 8, 8)
    """
    if not is_symbolic(x):
        x = as_array("x", x)
    if x.ndim not in (3, 4):
        raise ValueError(f"x must have shape (N, C, H, W) or (C, H, W), got {x.shape}")
    channels: int = x.shape[-3]
    operands = Operands(
        depthwise_weight=depthwise_weight,
        pointwise_weight=pointwise_weight,
        depthwise_bias=depthwise_bias,
        pointwise_bias=pointwise_bias,
    )
    kernel, mixing = operands.source("depthwise_weight"), operands.source("pointwise_weight")
    if kernel.ndim != 4 or kernel.shape[1] != 1 or kernel.shape[0] % max(channels, 1):
        raise ValueError(
            f"depthwise_weight must have shape (M * {channels}, 1, KH, KW), as x has {channels} "
            f"channels, got {kernel.shape}"
        )
    if mixing.ndim != 4 or mixing.shape[1:] != (kernel.shape[0], 1, 1):
        raise ValueError(
            f"pointwise_weight must have shape (O, {kernel.shape[0]}, 1, 1), as depthwise_weight "
            f"has {kernel.shape[0]} filters, got {mixing.shape}"
        )
    operands.vector("depthwise_bias", kernel.shape[0], "depthwise_weight has so many filters")
    operands.vector(
        "pointwise_bias", mixing.shape[0], "pointwise_weight has so many output channels"
    )
    hidden = conv2d(
        x,
        kernel,
        depthwise_bias,
        stride,
        padding,
        dilation,
        channels,
        activation=depthwise_activation,
    )
    return conv2d(hidden, mixing, pointwise_bias, activation=activation, out=out)
