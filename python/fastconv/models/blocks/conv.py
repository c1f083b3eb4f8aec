"""Convolution, normalisation, activation: what all blocks after 2015 are made of."""

from __future__ import annotations

from collections.abc import Callable

from fastconv.nn import BatchNorm2d, Conv2d, Module, ReLU, Sequential
from fastconv.nn.convolution import Padding

Layer = Callable[..., Module]
"""Makes a layer: a class, or a `functools.partial` of one."""


class ConvNormActivation(Sequential):
    """Convolution, normalisation, activation.

    AlexNet's layers had no normalisation: batch norm after each convolution allows larger steps
    and deeper networks, and costs nothing at inference, where it is folded into the weights.

    Source: Ioffe and Szegedy, Batch Normalization (2015), section 3.2.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, groups, dilation
        Of the convolution.
    padding : optional
        Of the convolution; by default ``(kernel_size - 1) // 2 * dilation``, which keeps the size
        at stride 1.
    norm_layer, activation_layer : callable or None
        Make the normalisation from a number of channels, and the activation; `None` leaves it out.
    bias : bool, optional
        By default only where there is no normalisation.

    Examples
    --------
    >>> from fastconv.models import blocks
    >>> [type(m).__name__ for m in blocks.ConvNormActivation(3, 32, stride=2)]
    ['Conv2d', 'BatchNorm2d', 'ReLU']
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: Padding | None = None,
        groups: int = 1,
        norm_layer: Layer | None = BatchNorm2d,
        activation_layer: Layer | None = ReLU,
        dilation: int = 1,
        bias: bool | None = None,
    ) -> None:
        if padding is None:
            padding = (kernel_size - 1) // 2 * dilation
        if bias is None:
            bias = norm_layer is None
        layers: list[Module] = [
            Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        ]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer())
        super().__init__(*layers)
