"""Resizing and rearranging layers: no parameters, no pointwise functions."""

from __future__ import annotations

import math

from fastconv import ops as F
from fastconv._arguments import as_axis, as_int, as_shape
from fastconv.nn.module import Module, Value

IntPair = int | tuple[int, int]


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
    """`Upsample` in the mode "bilinear" with ``align_corners=True``."""

    def __init__(
        self,
        size: IntPair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


class ChannelShuffle(Module):
    """Split channels into `groups` equal runs and interleave these (ShuffleNet).

    With 2 groups channels 0 1 2 3 4 5 become 0 3 1 4 2 5.
    """

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
