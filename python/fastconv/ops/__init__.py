"""Functional operators on NumPy arrays; the names and semantics of ``torch.nn.functional``."""

from fastconv.ops.activation import (
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from fastconv.ops.conv import conv2d
from fastconv.ops.elementwise import add, mean, multiply
from fastconv.ops.norm import batch_norm, layer_norm, local_response_norm
from fastconv.ops.pool import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    channel_shuffle,
    global_avg_pool2d,
    interpolate,
    max_pool2d,
    pixel_shuffle,
)
from fastconv.ops.shape import concat, flatten, pad, permute, reshape, split

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "add",
    "avg_pool2d",
    "batch_norm",
    "channel_shuffle",
    "concat",
    "conv2d",
    "flatten",
    "gelu",
    "global_avg_pool2d",
    "hardsigmoid",
    "hardswish",
    "interpolate",
    "layer_norm",
    "leaky_relu",
    "local_response_norm",
    "log_softmax",
    "max_pool2d",
    "mean",
    "multiply",
    "pad",
    "permute",
    "pixel_shuffle",
    "relu",
    "relu6",
    "reshape",
    "sigmoid",
    "silu",
    "softmax",
    "split",
    "tanh",
]
