"""Transposed convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastconv import ops as F
from fastconv.nn.convolution import _Conv, _tuple
from fastconv.nn.module import Value

Sizes = int | tuple[int, ...]


class _ConvTranspose(_Conv):
    """Transposed convolutions."""

    _function: Callable[..., Any]
    _transposed = True
    _padding_modes = ("zeros",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
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
        self.output_padding = _tuple(output_padding, self._dims, "output_padding")

    def forward(self, x: Value) -> Value:
        """Convolve."""
        return self._function(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTranspose):
    """One-dimensional transposed convolution; see `ConvTranspose2d`.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.ConvTranspose1d(16, 8, 4, stride=2).weight.shape
    (16, 8, 4)
    """

    _dims = 1
    _function = staticmethod(F.conv_transpose1d)
    input_ndim = 3


class ConvTranspose2d(_ConvTranspose):
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
    _function = staticmethod(F.conv_transpose2d)
    input_ndim = 4
