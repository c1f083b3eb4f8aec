"""Layers with parameters: convolutions, linear, normalisation.

Names, constructor arguments and parameter names are those of `torch.nn`, so that its state dicts
load. New layers hold random values as torch draws them; see `fastconv.nn.init`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import ops as F
from fastconv._arguments import as_eps, as_int, as_size, choice, is_sequence
from fastconv.nn import init
from fastconv.nn.module import Array, Module, Value
from fastconv.ops._conv import padding1d_argument, padding_argument
from fastconv.ops._torch import check_neutral, on_cpu

IntPair = int | tuple[int, int]
Padding = int | tuple[int, ...] | tuple[tuple[int, int], ...] | str


def _tuple(value: Any, length: int, name: str) -> Any:
    """Return an int, or a sequence of `length` ints, as a tuple of `length` ints."""
    values = tuple(value) if isinstance(value, Sequence) else (value,) * length
    if len(values) != length or not all(
        isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values
    ):
        raise TypeError(f"{name} must be an int or {length} ints, got {value!r}")
    return tuple(int(v) for v in values)


def _place(layer: Module, device: Any, dtype: Any) -> None:
    """Do as torch's arguments `device` and `dtype` say: only the CPU is possible."""
    on_cpu(device)
    if dtype is not None:
        layer.astype(dtype)


class _Conv(Module):
    """What convolutions share: hyper-parameters, the weight's shape and its initial values."""

    _dims: int
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair | tuple[int],
        stride: IntPair | tuple[int],
        padding: Padding,
        dilation: IntPair | tuple[int],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        in_channels, out_channels, groups = (
            as_int(name, value)
            for name, value in (
                ("in_channels", in_channels),
                ("out_channels", out_channels),
                ("groups", groups),
            )
        )
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value < 1 or groups < 1 or value % groups:
                raise ValueError(
                    f"{name} must be a positive multiple of groups, got {name}={value}, "
                    f"groups={groups}"
                )
        modes = ("zeros",) if self._transposed else ("zeros", "reflect", "replicate", "circular")
        choice("padding_mode", padding_mode, modes)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _tuple(kernel_size, self._dims, "kernel_size")
        self.stride = _tuple(stride, self._dims, "stride")
        self.padding = padding
        self.dilation = _tuple(dilation, self._dims, "dilation")
        self.groups = groups
        self.padding_mode = padding_mode
        if padding_mode != "zeros":
            self._margins()  # so that bad ones are refused here
        channels = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *self.kernel_size)
        self.weight = init.constant(shape, 0)
        self.bias: Array | None
        self.register_parameter("bias", init.constant((out_channels,), 0) if bias else None)
        if not init.is_skipping():
            self.reset_parameters()
        _place(self, device, dtype)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw weight and bias uniformly from ``+-1 / sqrt(fan_in)``."""
        _reset_uniform(self, rng)

    def _margins(self) -> list[int]:
        """Return the padding as `fastconv.pad` takes it, last axis first."""
        given = padding1d_argument(self.padding) if self._dims == 1 else self.padding
        pairs = padding_argument(given)
        if isinstance(pairs, str):
            if pairs == "same" and max(self.stride) > 1:
                raise ValueError(
                    f"padding='same' with stride={self.stride} needs padding_mode='zeros': with "
                    f"{self.padding_mode!r} give the numbers"
                )
            reach = zip(self.dilation, self.kernel_size, strict=True)
            total = [d * (k - 1) if pairs == "same" else 0 for d, k in reach]
            return [n for t in reversed(total) for n in (t // 2, t - t // 2)]
        return [n for pair in reversed(pairs[-self._dims :]) for n in pair]

    def _padded(self, x: Value) -> tuple[Value, Padding]:
        """Return what is convolved, and the zeros around it."""
        if self.padding_mode == "zeros":
            return x, self.padding
        return F.pad(x, self._margins(), self.padding_mode), 0

    def extra_repr(self) -> str:
        """Return the constructor's arguments that are not the defaults."""
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        if self.padding not in (0, (0,) * self._dims):
            parts.append(f"padding={self.padding!r}")
        if self.dilation != (1,) * self._dims:
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode!r}")
        return ", ".join(parts)


class Conv2d(_Conv):
    """Two-dimensional convolution, ``(N, in, H, W)`` to ``(N, out, H_out, W_out)``.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of channels, multiples of `groups`.
    kernel_size, stride, dilation : int or (int, int)
        Per axis (height, width).
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros around the input, as `fastconv.conv2d` takes them.
    groups : int
        Blocks of channels that do not see each other.
    bias : bool
        Whether a bias is added.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What is around the input, as `fastconv.pad` takes it.
    device : {"cpu"}, optional
        Present because torch has it.
    dtype : {"float32", "float64"}, optional
        Of the parameters, float32 by default; also torch's.

    Raises
    ------
    ValueError
        If `groups` does not divide the channels, or `padding_mode` or `device` is another one.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.Conv2d(64, 128, 3, stride=2, padding=1, bias=False)
    Conv2d(64, 128, kernel_size=(3, 3), stride=(2, 2), padding=1, bias=False)
    """

    _dims = 2
    input_ndim = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: Padding = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, x: Value) -> Value:
        """Convolve."""
        x, padding = self._padded(x)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    """One-dimensional convolution, ``(N, in, L)`` to ``(N, out, L_out)``; see `Conv2d`.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.Conv1d(8, 8, 3, padding="same", groups=8).weight.shape
    (8, 1, 3)
    """

    _dims = 1
    input_ndim = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: Padding = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, x: Value) -> Value:
        """Convolve."""
        x, padding = self._padded(x)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose2d(_Conv):
    """Transposed convolution: the gradient of `Conv2d` with respect to its input.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, groups, bias, dilation, device, dtype
        As for `Conv2d` and in torch's order; the weight is ``(in, out / groups, kh, kw)``.
    output_padding : int or (int, int)
        Rows and columns added at the bottom and right of the output.
    padding_mode : {"zeros"}
        Present because torch has it.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.ConvTranspose2d(16, 8, 2, stride=2).weight.shape
    (16, 8, 2, 2)
    """

    _dims = 2
    _transposed = True
    input_ndim = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        output_padding: IntPair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntPair = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.output_padding = _tuple(output_padding, 2, "output_padding")

    def forward(self, x: Value) -> Value:
        """Convolve."""
        return F.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,  # type: ignore[arg-type]
            self.output_padding,
            self.groups,
            self.dilation,
        )


class Linear(Module):
    """Matrix product over the last axis, ``(..., in)`` to ``(..., out)``.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis.
    bias : bool
        Whether a bias is added.
    device, dtype
        As for `Conv2d`.

    Raises
    ------
    TypeError, ValueError
        If a size is no integer, or negative.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.Linear(512, 10).weight.shape
    (10, 512)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.in_features = as_size("in_features", in_features)
        self.out_features = as_size("out_features", out_features)
        self.weight = init.constant((self.out_features, self.in_features), 0)
        self.bias: Array | None
        self.register_parameter("bias", init.constant((self.out_features,), 0) if bias else None)
        if not init.is_skipping():
            self.reset_parameters()
        _place(self, device, dtype)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw weight and bias uniformly from ``+-1 / sqrt(in_features)``."""
        _reset_uniform(self, rng)

    def forward(self, x: Value) -> Value:
        """Multiply by the transposed weight and add the bias."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def _reset_uniform(layer: _Conv | Linear, rng: np.random.Generator | int | None) -> None:
    rng = np.random.default_rng(rng)
    bound = 1 / math.sqrt(max(1, init.fan_in(layer.weight.shape)))
    layer.weight = init.uniform(layer.weight.shape, rng, bound)
    if layer.bias is not None:
        layer.bias = init.uniform(layer.bias.shape, rng, bound)


class BatchNorm2d(Module):
    """Normalise each channel by its running statistics: ``(x - mean) / sqrt(var + eps)``.

    It takes images ``(N, C, H, W)``, as in torch, or one ``(C, H, W)``.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float or None
        Of the running statistics in training; inference does not use it.
    affine : bool
        Whether `weight` multiplies the result and `bias` is added to it.
    track_running_stats : True
        Present because torch has it.
    device, dtype
        As for `Conv2d`.
    bias : bool
        Whether there is a `bias`, if `affine`.

    Notes
    -----
    Ioffe and Szegedy, Batch Normalization (2015), algorithm 2. A compiled network folds it into the
    convolution before it.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.BatchNorm2d(64)
    BatchNorm2d(64, eps=1e-05)
    """

    input_ndim = 4

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        check_neutral(momentum=momentum, track_running_stats=track_running_stats)
        self.num_features = num_features = as_size("num_features", num_features)
        self.eps = as_eps(eps)
        self.momentum = momentum
        self.weight: Array | None
        self.bias: Array | None
        self.register_parameter("weight", init.constant((num_features,), 1) if affine else None)
        self.register_parameter(
            "bias", init.constant((num_features,), 0) if affine and bias else None
        )
        self.running_mean: Array
        self.running_var: Array
        self.register_buffer("running_mean", init.constant((num_features,), 0))
        self.register_buffer("running_var", init.constant((num_features,), 1))
        self.register_buffer("num_batches_tracked", np.array(0, np.int64))
        _place(self, device, dtype)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Return to the identity: mean 0, variance 1, weight 1, bias 0."""
        _reset_affine(self)
        self.running_mean = init.constant((self.num_features,), 0)
        self.running_var = init.constant((self.num_features,), 1)

    def forward(self, x: Value) -> Value:
        """Normalise."""
        if x.ndim == 3:  # a single image, whose channels F.batch_norm would look for on axis 1
            y = self.forward(F.reshape(x, (1, *x.shape)))
            return F.reshape(y, y.shape[1:])
        if x.ndim != 4:
            raise ValueError(
                f"BatchNorm2d takes images (N, C, H, W) or (C, H, W), got {x.shape}: "
                "fastconv.batch_norm takes channels on axis 1 of any shape"
            )
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.num_features}, eps={self.eps}" + (
            "" if self.weight is not None else ", affine=False"
        )


class LayerNorm(Module):
    """Normalise over the last axes by the mean and variance of each sample there.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Sizes of the last axes.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether `weight` multiplies the result and `bias` is added to it.
    bias : bool
        Whether there is a `bias`, if `elementwise_affine`.
    device, dtype
        As for `Conv2d`.

    Notes
    -----
    Ba, Kiros and Hinton, Layer Normalization (2016), section 3.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.LayerNorm(96, eps=1e-6)
    LayerNorm((96,), eps=1e-06)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = (
            tuple(as_size("normalized_shape", size) for size in normalized_shape)
            if is_sequence(normalized_shape)
            else (as_size("normalized_shape", normalized_shape),)
        )
        self.eps = as_eps(eps)
        shape = self.normalized_shape
        self.weight: Array | None
        self.bias: Array | None
        self.register_parameter("weight", init.constant(shape, 1) if elementwise_affine else None)
        self.register_parameter(
            "bias", init.constant(shape, 0) if elementwise_affine and bias else None
        )
        _place(self, device, dtype)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Return to weight 1, bias 0."""
        _reset_affine(self)

    def forward(self, x: Value) -> Value:
        """Normalise."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.normalized_shape}, eps={self.eps}"


class LayerNorm2d(LayerNorm):
    """`LayerNorm` over the channels of ``(N, C, H, W)``, for each pixel; torchvision's.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.LayerNorm2d(96, eps=1e-6)
    LayerNorm2d((96,), eps=1e-06)
    """

    input_ndim = 4

    def forward(self, x: Value) -> Value:
        """Normalise."""
        x = F.permute(x, (0, 2, 3, 1))
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return F.permute(x, (0, 3, 1, 2))


def _reset_affine(layer: BatchNorm2d | LayerNorm) -> None:
    if layer.weight is not None:
        layer.weight = init.constant(layer.weight.shape, 1)
    if layer.bias is not None:
        layer.bias = init.constant(layer.bias.shape, 0)


class LocalResponseNorm(Module):
    """Divide by a power of the energy in neighbouring channels.

    Parameters
    ----------
    size : int
        Channels in the window.
    alpha, beta, k : float
        ``x / (k + alpha * mean(x**2 over the window)) ** beta``, the mean over `size` channels with
        zeros beyond the first and last.

    Notes
    -----
    Krizhevsky, Sutskever and Hinton, ImageNet Classification (2012), section 3.3, with torch's
    meaning of alpha, which is `size` times the paper's.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.LocalResponseNorm(5)
    LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Value) -> Value:
        """Normalise."""
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
