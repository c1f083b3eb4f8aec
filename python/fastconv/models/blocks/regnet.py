"""The RegNet block: a bottleneck that no longer narrows."""

from __future__ import annotations

from fastconv.models.blocks.attention import SqueezeExcitation
from fastconv.models.blocks.conv import ConvNormActivation
from fastconv.nn import Module, ReLU, Sequential
from fastconv.nn.module import Value


class ResBottleneckBlock(Module):
    """1x1, 3x3 in groups of fixed width, 1x1, all equally wide, and a shortcut: the X and Y block.

    ResNeXt's `Bottleneck` halves the channels for its 3x3 convolution and fixes the number of
    groups by hand. In a search over many such networks the best narrow nothing, and keep the width
    of a group the same at all depths. With squeeze-and-excitation the X block is the Y block.

    Source: Radosavovic et al., Designing Network Design Spaces (2020), figure 4 and section 4.

    Parameters
    ----------
    width_in, width_out : int
        Channels of the input and of the output.
    stride : int
        Of the 3x3 convolution; where it is not 1, or the widths differ, the shortcut is a
        projection.
    group_width : int
        Channels of each group of the 3x3 convolution; divides `width_out`.
    se_ratio : float, optional
        Hidden channels of squeeze-and-excitation, relative to `width_in`; `None` leaves it out.
    """

    input_ndim = 4

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        group_width: int,
        se_ratio: float | None = None,
    ) -> None:
        self.proj = None
        if stride != 1 or width_in != width_out:
            self.proj = ConvNormActivation(width_in, width_out, 1, stride, activation_layer=None)
        groups = width_out // group_width
        f: dict[str, Module] = {
            "a": ConvNormActivation(width_in, width_out, 1),
            "b": ConvNormActivation(width_out, width_out, 3, stride, groups=groups),
        }
        if se_ratio is not None:
            f["se"] = SqueezeExcitation(width_out, round(se_ratio * width_in))
        f["c"] = ConvNormActivation(width_out, width_out, 1, activation_layer=None)
        self.f = Sequential(f)
        self.activation = ReLU()

    def forward(self, x: Value) -> Value:
        """Add the residual to the shortcut."""
        identity = x if self.proj is None else self.proj(x)
        return self.activation(self.f(x) + identity)
