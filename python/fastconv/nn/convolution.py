"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import ops as F
from fastconv._arguments import as_int, choice
from fastconv.nn import init
from fastconv.nn.module import Array, Module, Value
from fastconv.ops._conv import padding1d_argument, padding_argument

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


class _Conv(Module):
    """What convolutions share: hyper-parameters, the weight's shape and its initial values."""

    _dims: int
    _transposed = False
    _padding_modes: tuple[str, ...] = ("zeros", "reflect", "replicate", "circular")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...],
        padding: Padding,
        dilation: int | tuple[int, ...],
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
        choice("padding_mode", padding_mode, self._padding_modes)
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
        self.to(device=device, dtype=dtype)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw weight and bias uniformly from ``+-1 / sqrt(fan_in)``."""
        init.reset_uniform(self, rng)

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
    """One-dimensional convolution, ``(N, in, L)`` to ``(N, out, L_out)``, also without ``N``.

    Arguments as for `Conv2d`; `padding` as for `fastconv.conv1d`.

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


class Conv3d(_Conv):
    """Convolution of ``(N, in, D, H, W)`` with kernels of depth 1.

    Arguments as those of `Conv2d`, along depth, height and width; see `fastconv.conv3d`. Of
    `padding_mode` there is "zeros" only.

    Raises
    ------
    ValueError
        As `Conv2d`; if the kernel's depth is not 1.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.Conv3d(3, 8, (1, 3, 3), padding=(0, 1, 1)).weight.shape
    (8, 3, 1, 3, 3)
    """

    _dims = 3
    _padding_modes = ("zeros",)
    input_ndim = 5

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] = 1,
        padding: Padding = 0,
        dilation: int | tuple[int, int, int] = 1,
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
        if self.kernel_size[0] != 1:
            raise ValueError(
                "Conv3d has kernels of depth 1, which make it a 2-d convolution of each slice: "
                f"kernel_size must be (1, height, width), got {kernel_size!r}"
            )

    def forward(self, x: Value) -> Value:
        """Convolve."""
        padding: Any = self.padding
        return F.conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
