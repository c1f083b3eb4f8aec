"""Convolutions and linear layers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastconv import _core, cuda
from fastconv.ops._args import (
    Array,
    Operands,
    activation_name,
    as_array,
    as_int,
    as_pair,
    as_shape,
    choice,
    device_index,
    is_sequence,
    is_symbolic,
    record,
    record_images,
    recordable,
)
from fastconv.ops._device import takes_device_arrays
from fastconv.ops._torch import torch_arguments
from fastconv.ops.shape import flatten, reshape

ALGORITHMS = (
    "auto",
    "reference",
    "im2col",
    "direct",
    "depthwise",
    "strassen",
    "winograd",
    "winograd2",
    "winograd4",
    "winograd6",
)

ACCURACIES = ("fast", "exact", "fastest")
"""What results may differ by from exact arithmetic: docs/accuracy.md."""

PaddingArgument = str | tuple[tuple[int, int], tuple[int, int]]


def padding_argument(value: Any) -> PaddingArgument:
    """A 2-d convolution's padding as ((top, bottom), (left, right)), or the name of a rule."""
    if isinstance(value, str):
        return choice("padding", value, ("same", "valid"))
    if is_sequence(value) and any(is_sequence(v) for v in value):
        if len(value) != 2 or not all(is_sequence(v) and len(v) == 2 for v in value):
            raise ValueError(
                "padding must be an integer, (height, width), ((top, bottom), (left, right)), "
                f"'same' or 'valid', got {value!r}"
            )
        top, bottom = as_pair("padding", value[0])
        left, right = as_pair("padding", value[1])
        return (top, bottom), (left, right)
    height, width = as_pair("padding", value)
    return (height, height), (width, width)


class _Options(NamedTuple):
    """What decides a convolution beside its arrays, as native code takes it."""

    stride: tuple[int, int]
    padding: PaddingArgument
    dilation: tuple[int, int]
    groups: int
    activation: str
    algorithm: str
    accuracy: str


def _options(
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    activation: Any = None,
    algorithm: Any = "auto",
    accuracy: Any = "fast",
) -> _Options:
    return _Options(
        as_pair("stride", stride),
        padding_argument(padding),
        as_pair("dilation", dilation),
        as_int("groups", groups),
        activation_name(activation),
        choice("algorithm", algorithm, ALGORITHMS),
        choice("accuracy", accuracy, ACCURACIES),
    )


def _contiguous(array: Array | None) -> Array | None:
    return None if array is None else np.asarray(array, order="C")


def _batch(array: Array | None) -> Array | None:
    """A single image as a batch of one."""
    return array[None] if array is not None and array.ndim == 3 else array


def _residual(operands: Operands) -> Array | None:
    """The residual as a batch."""
    residual, dimensions = operands.get("residual"), operands["x"].ndim
    if residual is not None and residual.ndim != dimensions:
        raise ValueError(
            f"residual must have the output's shape, with {dimensions} dimensions as x has, "
            f"got {residual.shape}"
        )
    return _batch(residual)


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
        Same dtype as `x`.
    bias : array_like, shape (O,), optional
    stride, dilation : int or (int, int)
        Along height and width.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around `x`. ``"same"`` works at any stride: the output has ``ceil(H / stride)`` rows,
        and where the padding is odd the extra row is at the bottom.
    groups : int
        Output channels in group i see only the input channels in group i; ``groups == C`` is a
        depthwise convolution.
    activation : {"relu", "relu6", "leaky_relu", "gelu", "gelu_tanh", "silu", "hardswish", \
"hardsigmoid", "sigmoid", "tanh"}, optional
        Applied last.
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
    options = _options(stride, padding, dilation, groups, activation, algorithm, accuracy)
    if is_symbolic(x, residual):
        _check_recordable(algorithm, accuracy)
        attributes = {name: getattr(options, name) for name in _RECORDED}
        inputs = {"x": x, "weight": weight, "bias": bias, "residual": residual}
        return record_images("conv2d", inputs, attributes, out)
    operands = Operands(x=x, weight=weight, bias=bias, residual=residual)
    images = operands.images()
    kernel = operands.contiguous("weight")
    if out is not None:
        full = _core.conv_output_shape(images.shape, kernel.shape, *options[:4])
        operands.check_out(out, full[-operands["x"].ndim :], inplace=("residual",))
    native_out = operands.native_out(out)
    result = _core.conv2d(
        images,
        kernel,
        _contiguous(operands.get("bias")),
        _residual(operands),
        _batch(native_out),
        *options,
    )
    if native_out is not None and out is not None:
        return out
    return operands.finish(result if operands["x"].ndim == 4 else result[0], out)


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
    options = _options(
        (1, _single("stride", stride)),
        padding1d_argument(padding),
        (1, _single("dilation", dilation)),
        groups,
    )
    if is_symbolic(x, residual):
        _check_recordable(algorithm, accuracy)
        return _record_conv1d(x, weight, bias, options, activation, residual, out)
    operands = Operands(x=x, weight=weight, bias=bias, residual=residual)
    signals, kernel = operands.source("x"), operands.source("weight")
    if kernel.ndim != 3:
        raise ValueError(f"weight must have shape (O, C / groups, K), got {kernel.shape}")
    if signals.ndim not in (2, 3):
        raise ValueError(f"x must have shape (N, C, L) or (C, L), got {signals.shape}")
    added = operands.source("residual") if residual is not None else None
    if added is not None and added.ndim != signals.ndim:
        raise ValueError(
            f"residual must have the output's shape, with {signals.ndim} dimensions as x has, "
            f"got {added.shape}"
        )
    if out is not None:
        batch = signals.shape if signals.ndim == 3 else (1, *signals.shape)
        n, channels, _, length = _core.conv_output_shape(
            (*batch[:2], 1, batch[2]), (*kernel.shape[:2], 1, kernel.shape[2]), *options[:4]
        )
        operands.check_out(out, (n, channels, length)[-signals.ndim :], inplace=("residual",))
    result = conv2d(
        signals[..., None, :],
        kernel[..., None, :],
        bias,
        *options[:4],
        activation=activation,
        residual=None if added is None else added[..., None, :],
        algorithm=algorithm,
        accuracy=accuracy,
        out=None if out is None else out[..., None, :],
        device=device,
    )
    return result[..., 0, :] if out is None else out


def _record_conv1d(
    x: Any, weight: Any, bias: Any, options: _Options, activation: Any, residual: Any, out: Any
) -> Array:
    """Record `conv1d`: a `conv2d` between two reshapes, which hold for any batch size."""
    kernel = as_array("weight", weight)
    if kernel.ndim != 3:
        raise ValueError(f"weight must have shape (O, C / groups, K), got {kernel.shape}")
    x, residual = recordable(("residual",), x=x, residual=residual).values()
    ndim = x.ndim
    if ndim not in (2, 3):
        raise ValueError(f"x must have shape (N, C, L) or (C, L), got {x.shape}")
    if residual is not None and residual.ndim != ndim:
        raise ValueError(
            f"residual must have the output's shape, with {ndim} dimensions as x has, "
            f"got {residual.shape}"
        )
    x, residual = (
        v if v is None else reshape(v, (_batch_size(v.shape), v.shape[-2], 1, v.shape[-1]))
        for v in (x, residual)
    )
    y = conv2d(
        x, kernel[:, :, None], bias, *options[:4], activation=activation, residual=residual, out=out
    )
    return flatten(y, 2) if ndim == 3 else reshape(y, (y.shape[1], y.shape[3]))


def _batch_size(shape: tuple[int, ...]) -> int:
    """That of signals (N, C, L) or (C, L) in a new shape: -1, any number, where NumPy can tell."""
    if len(shape) == 2:
        return 1
    return shape[0] if 0 in shape[1:] else -1


def _single(name: str, value: Any) -> int:
    if is_sequence(value):
        if len(value) != 1:
            raise ValueError(f"{name} must be an integer or a sequence of one, got {value!r}")
        value = value[0]
    return as_int(name, value)


def padding1d_argument(value: Any) -> Any:
    """A 1-d convolution's padding as that of a 2-d convolution."""
    if isinstance(value, str):
        return value
    if is_sequence(value) and len(value) == 1 and is_sequence(value[0]):
        return (0, 0), as_pair("padding", value[0])
    return 0, _single("padding", value)


@torch_arguments("input=x weight bias stride padding output_padding groups dilation")
@takes_device_arrays("x")
def conv_transpose2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int | tuple[int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int] = 1,
    *,
    activation: str | None = None,
    out: Array | None = None,
) -> Array:
    """2-d transposed convolution: the gradient of `conv2d` with respect to its input.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
    weight : array_like, shape (C, O / groups, KH, KW)
    bias : array_like, shape (O,), optional
    stride, padding, dilation : int or (int, int)
        Those of the convolution whose gradient this is.
    output_padding : int or (int, int)
        Rows and columns added at the bottom and right of the result, for the sizes that a strided
        convolution cannot tell apart; smaller than `stride` or `dilation`.
    groups : int
    activation : str, optional
        As for `conv2d`.
    out : ndarray, optional

    Returns
    -------
    ndarray, shape (N, O, H_out, W_out) or (O, H_out, W_out)
        ``H_out = (H - 1) * stride - 2 * padding + dilation * (KH - 1) + output_padding + 1``.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Notes
    -----
    Computed as one dense convolution for each phase of the stride (Shi et al. 2016, "Is the
    deconvolution layer the same as a convolutional layer?"), so that no multiplication by an
    inserted zero takes place. Networks, which pack weights once, compute large ones whose kernel
    is larger than the stride, and at most twice as large, by Winograd's algorithm.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((1, 1, 2, 2), np.float32)
    >>> weight = np.ones((1, 1, 2, 2), np.float32)
    >>> fastconv.conv_transpose2d(x, weight, stride=2).shape
    (1, 1, 4, 4)
    """
    options: dict[str, Any] = {
        "stride": as_pair("stride", stride),
        "padding": as_pair("padding", padding),
        "output_padding": as_pair("output_padding", output_padding),
        "dilation": as_pair("dilation", dilation),
        "groups": as_int("groups", groups),
        "activation": activation_name(activation),
    }
    if is_symbolic(x):
        return record_images(
            "conv_transpose2d", {"x": x, "weight": weight, "bias": bias}, options, out
        )
    operands = Operands(x=x, weight=weight, bias=bias)
    images = operands.images()
    kernel = operands.contiguous("weight")
    if out is not None:
        full = _core.conv_transpose_output_shape(
            images.shape, kernel.shape, *list(options.values())[:5]
        )
        operands.check_out(out, full[-operands["x"].ndim :])
    native_out = operands.native_out(out)
    result = _core.conv_transpose2d(
        images, kernel, _contiguous(operands.get("bias")), _batch(native_out), *options.values()
    )
    if native_out is not None and out is not None:
        return out
    return operands.finish(result if operands["x"].ndim == 4 else result[0], out)


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
    if is_symbolic(x, residual):
        return _record_linear(x, weight, bias, residual, activation, out)
    operands = Operands(x=x, weight=weight, bias=bias, residual=residual)
    samples, kernel = operands.contiguous("x"), operands.contiguous("weight")
    if kernel.ndim != 2 or kernel.size == 0:
        raise ValueError(
            "weight must have shape (out_features, in_features), neither of them 0, "
            f"got {kernel.shape}"
        )
    if samples.ndim == 0 or samples.shape[-1] != kernel.shape[1]:
        raise ValueError(
            f"weight has {kernel.shape[1]} input features, so x must have shape "
            f"(..., {kernel.shape[1]}), got {samples.shape}"
        )
    shape = (*samples.shape[:-1], kernel.shape[0])
    added = operands.contiguous("residual") if residual is not None else None
    if added is not None and added.shape != shape:
        raise ValueError(f"residual must have the result's shape {shape}, got {added.shape}")
    offset = operands.vector("bias", kernel.shape[0], "weight has so many rows")

    def call(target: Array) -> None:
        _core.linear(
            samples.reshape(-1, kernel.shape[1]),
            kernel,
            offset,
            None if added is None else added.reshape(-1, kernel.shape[0]),
            target.reshape(-1, kernel.shape[0]),
            activation,
        )

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


class AlgorithmInfo(NamedTuple):
    """An algorithm that can serve a convolution.

    Attributes
    ----------
    name : str
        What ``algorithm=`` takes.
    workspace_bytes : int
        Scratch memory of each thread while it runs, or of the device.
    error_class : str
        ``"exact"`` (integer-valued data give exact results), ``"strassen"``, ``"winograd2"``,
        ``"winograd4"``, ``"winograd6"`` or ``"3xtf32"`` (see docs/accuracy.md).
    reason : str
        What speaks for it, or where it stands in the order.

    Examples
    --------
    >>> import fastconv
    >>> best = fastconv.algorithms((1, 64, 28, 28), (64, 1, 3, 3), groups=64)[0]
    >>> best.name, best.error_class
    ('depthwise', 'exact')
    """

    name: str
    workspace_bytes: int
    error_class: str
    reason: str


def algorithms(
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: int | tuple[int, int] = 1,
    padding: Any = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    dtype: str = "float32",
    accuracy: str = "fast",
    device: str | None = "cpu",
) -> list[AlgorithmInfo]:
    """List the algorithms that can serve a convolution; ``"auto"`` takes the first.

    So do `prepare_conv2d` and networks, unless the weights would make its rounding errors too
    large. `conv2d` itself, which packs the weights in the call, takes the smaller Winograd tile
    where the output has at most 14 rows or columns, and none at 7, as there it would not pay;
    and ``"im2col"`` for 1x1 of many channels, where the others take ``"direct"``, or, with
    ``accuracy="fastest"``, ``"strassen"``.

    Parameters
    ----------
    x_shape : (N, C, H, W) or (C, H, W)
    weight_shape : (O, C / groups, KH, KW)
    stride, padding, dilation, groups, accuracy, device
        As for `conv2d`.
    dtype : {"float32", "float64"}

    Returns
    -------
    list of AlgorithmInfo

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import fastconv
    >>> found = fastconv.algorithms((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    >>> found[0].name
    'winograd4'
    """
    options = _options(stride, padding, dilation, groups, None, "auto", accuracy)
    index = device_index(device)
    shape, kernel = as_shape("x_shape", x_shape), as_shape("weight_shape", weight_shape)
    double = choice("dtype", str(dtype), ("float32", "float64")) == "float64"
    if len(shape) == 3:
        shape = (1, *shape)
    if index is not None:
        if double:
            raise ValueError("dtype must be float32 on a CUDA device, got float64")
        rows = cuda._native().algorithms(shape, kernel, *options[:4], accuracy, "fp32", index)
        return [AlgorithmInfo(*row) for row in rows]
    return [AlgorithmInfo(*row) for row in _core.algorithms(shape, kernel, double, *options)]


class PreparedConv2d:
    """A convolution whose weights are packed once; made by `prepare_conv2d`.

    Call it with ``prepared(x, residual=None, out=None)``. It pickles, and may be called from
    several threads at once.

    Examples
    --------
    >>> import fastconv
    >>> import numpy as np
    >>> weight = np.ones((8, 3, 3, 3), np.float32)
    >>> prepared = fastconv.prepare_conv2d(weight, padding=1)
    >>> prepared(np.ones((1, 3, 5, 5), np.float32)).shape
    (1, 8, 5, 5)
    """

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None,
        options: _Options,
        input_shape: tuple[int, ...] | None,
    ) -> None:
        operands = Operands(weight=weight, bias=bias)
        self._dtype = operands.dtype
        self._weight = operands.contiguous("weight").copy()
        if self._weight.ndim != 4:
            raise ValueError(
                f"weight must have shape (O, C / groups, KH, KW), got {self._weight.shape}"
            )
        offset = operands.vector("bias", len(self._weight), "weight has so many output channels")
        self._bias = None if offset is None else offset.copy()
        self._options = options
        self._input_shape = input_shape
        self._packed: dict[tuple[int, ...], Any] = {}
        if input_shape is not None:
            shape = as_shape("input_shape", input_shape)
            if len(shape) not in (3, 4):
                raise ValueError(f"input_shape must be (N, C, H, W) or (C, H, W), got {shape}")
            self._plan(shape[-3:])

    def _plan(self, image_shape: tuple[int, ...]) -> Any:
        plan = self._packed.get(image_shape)
        if plan is None:
            plan = _core.PreparedConv2d(image_shape, self._weight, self._bias, *self._options)
            packed = dict([*self._packed.items(), (image_shape, plan)][-2:])
            self._packed = packed  # replaced as a whole: other threads may be reading it
        return plan

    def __call__(
        self, x: ArrayLike, residual: ArrayLike | None = None, out: Array | None = None
    ) -> Array:
        """Convolve.

        Parameters
        ----------
        x : array_like, shape (N, C, H, W) or (C, H, W)
            Of the weight's dtype.
        residual : array_like, shape of the result, optional
            Added before the activation.
        out : ndarray, optional
            Where to put the result; may be `residual` itself.

        Returns
        -------
        ndarray, shape (N, O, H_out, W_out) or (O, H_out, W_out)

        Raises
        ------
        TypeError, ValueError
            As `conv2d`.
        """
        operands = Operands(x=x, residual=residual)
        if operands.dtype != self._dtype:
            raise TypeError(
                f"x is {operands.dtype} but the weight is {self._dtype}: "
                f"convert it, for example x.astype(np.{self._dtype})"
            )
        images = operands.images()
        plan = self._plan(images.shape[1:])
        if out is not None:
            full = (images.shape[0], *plan.output_shape)
            operands.check_out(out, full[-operands["x"].ndim :], inplace=("residual",))
        native_out = operands.native_out(out)
        result = plan.run(images, _residual(operands), _batch(native_out))
        if native_out is not None and out is not None:
            return out
        return operands.finish(result if operands["x"].ndim == 4 else result[0], out)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": {}}

    def __repr__(self) -> str:
        chosen = ", ".join(f"{plan.algorithm} for {shape}" for shape, plan in self._packed.items())
        return f"PreparedConv2d(weight={self._weight.shape}, {chosen or 'not packed yet'})"


def prepare_conv2d(
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Any = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    algorithm: str = "auto",
    accuracy: str = "fast",
) -> PreparedConv2d:
    """Decide a convolution and pack its weights once, for many calls.

    Parameters
    ----------
    weight, bias, stride, padding, dilation, groups, activation, algorithm, accuracy
        As for `conv2d`. The arrays are copied.
    input_shape : (N, C, H, W) or (C, H, W), optional
        Packs now, for images of this size; otherwise at the first call. At most two packings are
        kept.

    Returns
    -------
    PreparedConv2d
        Call it with ``prepared(x, residual=None, out=None)``.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> weight = np.ones((8, 3, 3, 3), np.float32)
    >>> conv = fastconv.prepare_conv2d(weight, padding="same", activation="relu")
    >>> conv(np.ones((2, 3, 16, 16), np.float32)).shape
    (2, 8, 16, 16)
    """
    options = _options(stride, padding, dilation, groups, activation, algorithm, accuracy)
    return PreparedConv2d(weight, bias, options, input_shape)
