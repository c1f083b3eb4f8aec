"""Functional operators on NumPy arrays; the names and semantics of ``torch.nn.functional``.

Each also takes the arguments of torch's function, by torch's names and at torch's places:
``input`` for ``x``, ``dim`` for ``axis``, ``keepdim`` for ``keepdims``. Those that only training or
torch's own memory needs, such as ``training`` or ``inplace``, are taken where they change nothing,
and else refused with what to do instead (docs/from-torch.md).
"""

from fastconv.ops.activation import (
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    relu,
    relu6,
    sigmoid,
    silu,
    tanh,
)
from fastconv.ops.conv import conv1d, conv2d, depthwise_separable_conv2d
from fastconv.ops.conv_plan import AlgorithmInfo, PreparedConv2d, algorithms, prepare_conv2d
from fastconv.ops.conv_transpose import conv_transpose2d
from fastconv.ops.dense import linear
from fastconv.ops.elementwise import add, mean, multiply
from fastconv.ops.interpolation import interpolate
from fastconv.ops.norm import batch_norm, layer_norm, local_response_norm
from fastconv.ops.padding import pad
from fastconv.ops.pool import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    global_avg_pool2d,
    max_pool2d,
)
from fastconv.ops.probability import log_softmax, softmax
from fastconv.ops.shape import cat, concat, flatten, permute, reshape, split
from fastconv.ops.shuffle import channel_shuffle, pixel_shuffle

__all__ = [
    "AlgorithmInfo",
    "PreparedConv2d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "add",
    "algorithms",
    "avg_pool2d",
    "batch_norm",
    "cat",
    "channel_shuffle",
    "concat",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "depthwise_separable_conv2d",
    "flatten",
    "gelu",
    "global_avg_pool2d",
    "hardsigmoid",
    "hardswish",
    "interpolate",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "max_pool2d",
    "mean",
    "multiply",
    "pad",
    "permute",
    "pixel_shuffle",
    "prepare_conv2d",
    "relu",
    "relu6",
    "reshape",
    "sigmoid",
    "silu",
    "softmax",
    "split",
    "tanh",
]
