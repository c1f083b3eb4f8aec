"""Pooling, resizing and rearranging layers: no parameters, no pointwise functions."""

from __future__ import annotations

import math

from fastconv import ops as F
from fastconv._arguments import as_axis, as_int, as_shape
from fastconv.nn.module import Module, Value
from fastconv.ops._torch import check_neutral

IntPair = int | tuple[int, int]


class MaxPool2d(Module):
    """The maximum of each window; see `fastconv.max_pool2d`.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.MaxPool2d(3, stride=2, padding=1)
    MaxPool2d(kernel_size=3, stride=2, padding=1)
    """

    input_ndim = 4

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        dilation: IntPair = 1,
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
        return F.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """The mean of each window; see `fastconv.avg_pool2d`."""

    input_ndim = 4

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
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
        return F.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AdaptivePool(Module):
    """Pooling to a given output size."""

    input_ndim = 4

    def __init__(self, output_size: IntPair | tuple[int | None, int | None] | None) -> None:
        self.output_size = output_size

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptivePool):
    """The mean of windows that divide the image into ``output_size`` parts."""

    def forward(self, x: Value) -> Value:
        """Pool."""
        return F.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePool):
    """The maximum of windows that divide the image into ``output_size`` parts."""

    def __init__(
        self,
        output_size: IntPair | tuple[int | None, int | None] | None,
        return_indices: bool = False,
    ) -> None:
        check_neutral(return_indices=return_indices)
        super().__init__(output_size)

    def forward(self, x: Value) -> Value:
        """Pool."""
        return F.adaptive_max_pool2d(x, self.output_size)


class Flatten(Module):
    """Join the axes from `start_dim` to `end_dim` into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = as_int("start_dim", start_dim)
        self.end_dim = as_int("end_dim", end_dim)

    def forward(self, x: Value) -> Value:
        """Reshape."""
        return F.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Cut the axis `dim` into axes of the sizes `unflattened_size`, one of which may be -1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Unflatten(1, (2, -1))(np.zeros((3, 8), np.float32)).shape
    (3, 2, 4)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...] | list[int]) -> None:
        self.dim = as_int("dim", dim)
        self.unflattened_size = as_shape("unflattened_size", unflattened_size)

    def forward(self, x: Value) -> Value:
        """Reshape."""
        axis = as_axis("dim", self.dim, x.ndim)
        given, size = self.unflattened_size, math.prod(x.shape[axis : axis + 1])
        known = math.prod(n for n in given if n != -1)
        sizes = [size // known if n == -1 and known else n for n in given]
        if not given or min(sizes) < 0 or given.count(-1) > 1 or math.prod(sizes) != size:
            raise ValueError(
                f"unflattened_size must multiply to the size {size} of axis {axis} of x, "
                f"got {given}"
            )
        return F.reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Permute(Module):
    """Reorder the axes; torchvision's."""

    def __init__(self, dims: list[int] | tuple[int, ...]) -> None:
        self.dims = tuple(dims)

    def forward(self, x: Value) -> Value:
        """Transpose."""
        return F.permute(x, self.dims)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.dims}"


class Upsample(Module):
    """Resize images to `size` or by `scale_factor`; see `fastconv.interpolate`.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.Upsample(scale_factor=2, mode="bilinear")
    Upsample(scale_factor=2, mode='bilinear')
    """

    input_ndim = 4

    def __init__(
        self,
        size: IntPair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError("exactly one of size and scale_factor must be given")
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Value) -> Value:
        """Resize."""
        return F.interpolate(
            x,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        target = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return f"{target}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` in the mode "nearest"."""

    def __init__(
        self,
        size: IntPair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` in the mode "bilinear" with aligned corners."""

    def __init__(
        self,
        size: IntPair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


class ChannelShuffle(Module):
    """Interleave the channels of `groups` blocks (ShuffleNet)."""

    input_ndim = 4

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def forward(self, x: Value) -> Value:
        """Reorder the channels."""
        return F.channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"groups={self.groups}"


class PixelShuffle(Module):
    """Turn ``(N, C * r * r, H, W)`` into ``(N, C, H * r, W * r)``."""

    input_ndim = 4

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, x: Value) -> Value:
        """Move channels to pixels."""
        return F.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Turn ``(N, C, H * r, W * r)`` into ``(N, C * r * r, H, W)``."""

    input_ndim = 4

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, x: Value) -> Value:
        """Move pixels to channels."""
        return F.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"downscale_factor={self.downscale_factor}"
