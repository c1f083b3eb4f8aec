"""Functional operators on NumPy arrays; the names and semantics of ``torch.nn.functional``."""

from fastconv.ops.conv import (
    AlgorithmInfo,
    PreparedConv2d,
    algorithms,
    conv1d,
    conv2d,
    conv_transpose2d,
    depthwise_separable_conv2d,
    linear,
    prepare_conv2d,
)

__all__ = [
    "AlgorithmInfo",
    "PreparedConv2d",
    "algorithms",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "depthwise_separable_conv2d",
    "linear",
    "prepare_conv2d",
]
