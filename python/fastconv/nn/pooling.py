"""Pooling layers; see the functions of `fastconv` by the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastconv import ops as F
from fastconv.nn.module import Module, Value
from fastconv.ops._torch import check_neutral

Sizes = int | tuple[int, ...]
OutputSizes = int | tuple[int | None, ...] | None


class _Pool(Module):
    """Pooling by windows; `_function` is what computes it."""

    _function: Callable[..., Any]
    kernel_size: Sizes
    stride: Sizes
    padding: Sizes

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        check_neutral(return_indices=return_indices)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, x: Value) -> Value:
        """Pool."""
        return self._function(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )


class MaxPool1d(_MaxPool):
    """The maximum of each window of signals; see `fastconv.max_pool1d`.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.MaxPool1d(3, stride=2, padding=1)
    MaxPool1d(kernel_size=3, stride=2, padding=1)
    """

    input_ndim = 3
    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The maximum of each window; see `fastconv.max_pool2d`.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.MaxPool2d(3, stride=2, padding=1)
    MaxPool2d(kernel_size=3, stride=2, padding=1)
    """

    input_ndim = 4
    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The maximum of each window of one slice; see `fastconv.max_pool3d`."""

    input_ndim = 5
    _function = staticmethod(F.max_pool3d)


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Value) -> Value:
        """Pool."""
        return self._function(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool1d(_Pool):
    """The mean of each window of signals; see `fastconv.avg_pool1d`."""

    input_ndim = 3
    _function: Callable[..., Any] = staticmethod(F.avg_pool1d)

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Value) -> Value:
        """Pool."""
        return self._function(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


class AvgPool2d(_AvgPool):
    """The mean of each window; see `fastconv.avg_pool2d`."""

    input_ndim = 4
    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of each window of one slice; see `fastconv.avg_pool3d`."""

    input_ndim = 5
    _function = staticmethod(F.avg_pool3d)


class _LPPool(Module):
    """Power-average pooling."""

    _function: Callable[..., Any]

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> None:
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, x: Value) -> Value:
        """Pool."""
        return self._function(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The power average of each window of signals; see `fastconv.lp_pool1d`."""

    input_ndim = 3
    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """The power average of each window; see `fastconv.lp_pool2d`.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.LPPool2d(2, 3, stride=2)
    LPPool2d(norm_type=2, kernel_size=3, stride=2, ceil_mode=False)
    """

    input_ndim = 4
    _function = staticmethod(F.lp_pool2d)


class _AdaptivePool(Module):
    """Pooling to a given output size."""

    _function: Callable[..., Any]

    def __init__(self, output_size: OutputSizes) -> None:
        self.output_size = output_size

    def forward(self, x: Value) -> Value:
        """Pool."""
        return self._function(x, self.output_size)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"output_size={self.output_size}"


class _AdaptiveMaxPool(_AdaptivePool):
    def __init__(self, output_size: OutputSizes, return_indices: bool = False) -> None:
        check_neutral(return_indices=return_indices)
        super().__init__(output_size)


class AdaptiveAvgPool1d(_AdaptivePool):
    """The mean of windows that divide the signal into ``output_size`` parts."""

    input_ndim = 3
    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptivePool):
    """The mean of windows that divide the image into ``output_size`` parts."""

    input_ndim = 4
    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The maximum of windows that divide the signal into ``output_size`` parts."""

    input_ndim = 3
    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The maximum of windows that divide the image into ``output_size`` parts."""

    input_ndim = 4
    _function = staticmethod(F.adaptive_max_pool2d)
