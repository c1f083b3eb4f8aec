"""Random calls of every public operator, alone and in networks, with sizes around vector widths."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import fastconv.ops as F
import numpy as np
from fastconv import nn
from numpy.typing import NDArray

Array = NDArray[Any]
Made = tuple[Callable[..., Any], dict[str, Array], dict[str, Any]]
"""What is called, its arrays and its other arguments."""

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 47, 48, 65)
ACTIVATIONS = (None, "relu", "relu6", "gelu", "silu", "hardswish", "sigmoid", "tanh")
SETTINGS = ("alone", "in a network", "between convolutions")
DTYPES = (np.float32, np.float64)


class Draw:
    """The random choices of one call."""

    def __init__(self, number: int, dtype: Any) -> None:
        self.rng = np.random.default_rng(number)
        self.dtype = dtype

    def pick(self, *values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def size(self, most: int = 65) -> int:
        return int(self.pick(*(n for n in SIZES if n <= most)))

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def array(self, *shape: int) -> Array:
        """Return random numbers, whose axes lie in any order in memory."""
        order = self.pick(np.arange(len(shape)), self.rng.permutation(len(shape)))
        values = self.rng.standard_normal([shape[i] for i in order]).astype(self.dtype)
        return values.transpose(np.argsort(order))

    def image(self, channels: int | None = None, least: int = 1) -> Array:
        c = self.size() if channels is None else channels
        h, w = (max(least, self.size(33)) for _ in range(2))
        return self.array(self.pick(1, 1, 2), c, h, w)


# ---- Operators -----------------------------------------------------------------------------------


def conv2d(d: Draw, _: str) -> Made:
    kind = d.pick("3x3", "1x1", "any", "depthwise", "grouped")
    kernel = {"3x3": (3, 3), "1x1": (1, 1)}.get(kind, (d.between(1, 5), d.between(1, 7)))
    groups = d.size(33) if kind == "depthwise" else d.between(2, 5) if kind == "grouped" else 1
    c = 1 if kind == "depthwise" else d.size(17) if kind == "grouped" else d.size()
    o = d.pick(1, 1, 2) if kind == "depthwise" else d.size(33)
    if kind == "1x1" and d.pick(True, False):  # Strassen's
        c, o = 32 * d.between(1, 2), 32
    stride = 1 if kind == "3x3" and d.pick(True, False) else d.between(1, 3)
    padding = d.between(0, 3)
    x = d.image(c * groups, max(kernel))
    arrays = {"x": x, "weight": d.array(o * groups, c, *kernel)}
    geometry = {"stride": stride, "padding": padding, "groups": groups}
    if d.pick(True, False):
        arrays["bias"] = d.array(o * groups)
    if d.pick(True, False):
        sizes = [
            (n + 2 * padding - k) // stride + 1 for n, k in zip(x.shape[2:], kernel, strict=True)
        ]
        arrays["residual"] = d.array(x.shape[0], o * groups, *sizes)
    accuracy = d.pick("fast", "exact", "fastest")
    dtype = np.dtype(d.dtype).name
    candidates = F.algorithms(
        x.shape, arrays["weight"].shape, **geometry, dtype=dtype, accuracy=accuracy
    )
    options = {
        "activation": d.pick(*ACTIVATIONS),
        "algorithm": d.pick("auto", *(each.name for each in candidates)),
        "accuracy": accuracy,
    }
    return F.conv2d, arrays, geometry | options


def conv1d(d: Draw, _: str) -> Made:
    groups, kernel, c = d.pick(1, 1, 2, 3), d.between(1, 5), d.size(33)
    arrays = {
        "x": d.array(d.pick(1, 2), c * groups, max(kernel, d.size())),
        "weight": d.array(d.size(17) * groups, c, kernel),
    }
    options = {"stride": d.between(1, 3), "padding": d.between(0, 2), "groups": groups}
    return F.conv1d, arrays, options | {"activation": d.pick(*ACTIVATIONS)}


def conv_transpose1d(d: Draw, _: str) -> Made:
    groups, c, o = d.pick(1, 1, 2, 3), d.size(33), d.size(17)
    arrays = {
        "x": d.array(d.pick(1, 2), c * groups, d.size()),
        "weight": d.array(c * groups, o, d.between(1, 5)),
        "bias": d.array(o * groups),
    }
    options = {"stride": d.between(1, 3), "groups": groups}
    return F.conv_transpose1d, arrays, options | {"activation": d.pick(*ACTIVATIONS)}


def conv3d(d: Draw, _: str) -> Made:
    kernel = (d.between(1, 3), d.between(1, 3))
    x = d.array(d.pick(1, 2), d.size(17), d.between(1, 3), *(max(3, d.size(17)) for _ in "hw"))
    options = {"stride": d.pick(1, (2, 1, 2)), "padding": (0, d.between(0, 1), d.between(0, 1))}
    return F.conv3d, {"x": x, "weight": d.array(d.size(17), x.shape[1], 1, *kernel)}, options


def prepare_conv2d(d: Draw, _: str) -> Made:
    _, arrays, options = conv2d(d, "conv2d")

    def call(x: Array, weight: Array, out: Any = None, **more: Any) -> Any:
        residual = more.pop("residual", None)
        bias = more.pop("bias", None)
        made = F.prepare_conv2d(weight, bias, input_shape=x.shape, **more)
        return made(x, residual=residual, out=out)

    return call, arrays, options


def conv_transpose2d(d: Draw, _: str) -> Made:
    if d.pick(True, False, False):  # large enough for all algorithms
        groups, c, o = 1, d.pick(32, 33, 64), d.pick(32, 40, 47)
        side, stride = d.pick((4, 2), (3, 2), (2, 2), (5, 3))
        kernel, padding = (side, side), d.between(0, side - stride)
        x = d.array(d.pick(1, 2), c, d.between(14, 18), d.between(14, 18))
    else:
        groups, stride, padding = d.pick(1, 1, 2, 3), d.between(1, 3), 0
        c, o, kernel = d.size(33), d.size(17), (d.between(1, 4), d.between(1, 4))
        x = d.image(c * groups)
    arrays = {"x": x, "weight": d.array(c * groups, o, *kernel)}
    if d.pick(True, False):
        arrays["bias"] = d.array(o * groups)
    options = {"stride": stride, "padding": padding, "groups": groups}
    return F.conv_transpose2d, arrays, options | {"activation": d.pick(*ACTIVATIONS)}


def depthwise_separable_conv2d(d: Draw, _: str) -> Made:
    c, o, kernel = d.size(), d.size(33), d.pick(3, 3, 5)
    arrays = {
        "x": d.image(c, kernel),
        "depthwise_weight": d.array(c, 1, kernel, kernel),
        "pointwise_weight": d.array(o, c, 1, 1),
        "depthwise_bias": d.array(c),
        "pointwise_bias": d.array(o),
    }
    options = {name: d.pick(*ACTIVATIONS) for name in ("activation", "depthwise_activation")}
    options |= {"stride": d.between(1, 2), "padding": d.between(0, 2)}
    return F.depthwise_separable_conv2d, arrays, options


def linear(d: Draw, _: str) -> Made:
    c, o = d.between(1, 300), d.between(1, 70)
    arrays = {"x": d.array(d.size(33), c), "weight": d.array(o, c), "bias": d.array(o)}
    if d.pick(True, False):
        arrays["residual"] = d.array(len(arrays["x"]), o)
    return F.linear, arrays, {"activation": d.pick(*ACTIVATIONS)}


def matmul(d: Draw, _: str) -> Made:
    def operand(rows: int, columns: int) -> Array:
        if d.pick(True, False, False, False):
            return d.array(*d.pick([], [1], [2], [2, 1]), rows, columns)
        return d.array(rows, columns)

    def call(x: Any, other: Any, **out: Any) -> Any:
        return F.matmul(x, other, **out)

    m, k, n = d.size(), d.between(1, 300), d.size()
    x, other = operand(m, k), operand(k, n)
    x = x[0] if x.shape == (1, k) else x  # a vector is a row of x, but a column of other
    return call, {"x": x, "other": other[:, 0] if other.shape == (k, 1) else other}, {}


def batch_norm(d: Draw, _: str) -> Made:
    x = d.pick(d.image(), d.array(d.size(), d.size()))
    arrays = {"x": x, "running_mean": d.array(x.shape[1]), "running_var": d.array(x.shape[1]) ** 2}
    return F.batch_norm, arrays, {"eps": 0.1, "activation": d.pick(*ACTIVATIONS)}


def layer_norm(d: Draw, _: str) -> Made:
    x = d.pick(d.array(d.size(), d.between(1, 100)), d.image())
    shape = x.shape[d.between(1, x.ndim - 1) :]
    arrays = {"x": x, "weight": d.array(*shape), "bias": d.array(*shape)}
    return F.layer_norm, arrays, {"normalized_shape": shape}


def group_norm(d: Draw, _: str) -> Made:
    groups = d.size(17)
    c = groups * d.between(1, 5)
    x = d.pick(d.image(c), d.array(d.size(5), c), d.array(2, c, d.size()))
    return F.group_norm, {"x": x, "weight": d.array(c), "bias": d.array(c)}, {"num_groups": groups}


def instance_norm(d: Draw, _: str) -> Made:
    c, statistics = d.size(33), d.pick(True, False)
    arrays = {"x": d.pick(d.image(c, 2), d.array(2, c, 1 + d.size())), "weight": d.array(c)}
    if statistics:
        arrays |= {"running_mean": d.array(c), "running_var": d.array(c) ** 2, "bias": d.array(c)}
    return F.instance_norm, arrays, {"use_input_stats": not statistics, "eps": 0.1}


def local_response_norm(d: Draw, _: str) -> Made:
    return F.local_response_norm, {"x": d.image()}, {"size": d.between(1, 7)}


def pointwise(d: Draw, name: str) -> Made:
    return getattr(F, name), {"x": d.pick(d.array(d.between(1, 300)), d.image())}, {}


def threshold(d: Draw, _: str) -> Made:
    return (
        F.threshold,
        {"x": d.pick(d.array(d.between(1, 300)), d.image())},
        {
            "threshold": d.between(-1, 1),
            "value": d.between(-1, 1),
        },
    )


def prelu(d: Draw, _: str) -> Made:
    x = d.pick(d.image(), d.array(d.size(), d.size()))
    return F.prelu, {"x": x, "weight": d.array(d.pick(1, x.shape[1]))}, {}


def glu(d: Draw, _: str) -> Made:
    x = d.image(2 * d.size(33))
    return F.glu, {"x": x}, {"axis": d.pick(1, -3)}


def binary(d: Draw, name: str) -> Made:
    a = d.pick(d.image(), d.array(d.size(), d.between(1, 100)))
    shape = tuple(d.pick(n, n, 1) for n in a.shape)[d.between(0, 1) :]

    def call(x: Any, other: Any, **out: Any) -> Any:
        return getattr(F, name)(x, other, **out)

    return call, {"x": a, "other": d.array(*shape)}, {}


def where(d: Draw, name: str) -> Made:
    _, arrays, _ = binary(d, name)

    def call(x: Any, other: Any, **out: Any) -> Any:
        return F.where(F.less(x, other), x, other, **out)

    return call, arrays, {}


def clip(d: Draw, _: str) -> Made:
    _, arrays, _ = binary(d, "minimum")

    def call(x: Any, other: Any, **out: Any) -> Any:
        return F.clip(x, other, F.add(other, 1), **out)

    return call, arrays, {}


def logic(d: Draw, name: str) -> Made:
    """Of masks that comparisons make."""
    _, arrays, _ = binary(d, name)

    def call(x: Any, other: Any, **out: Any) -> Any:
        masks = [x > 0] if name == "logical_not" else [x > 0, other <= x]
        return getattr(F, name)(*masks, **out)

    return call, arrays, {}


def chain(d: Draw, _: str) -> Made:
    """Several operators that become one program."""
    _, arrays, _ = binary(d, "multiply")

    def call(x: Any, other: Any, **out: Any) -> Any:
        y = F.clip(F.abs(x * other - 0.5) + other, -1, 2)
        return F.multiply(F.where(y > x, np.exp(-y), y / 3), other, **out)

    return call, arrays, {}


def pool(d: Draw, name: str) -> Made:
    options = {
        "kernel_size": (d.between(2, 3), d.between(2, 3)),
        "stride": d.between(1, 3),
        "padding": d.between(0, 1),
        "ceil_mode": d.pick(True, False),
    }
    return getattr(F, name), {"x": d.image(least=3)}, options


def pool1d(d: Draw, name: str) -> Made:
    x = d.array(d.pick(1, 2), d.size(), max(3, d.size()))
    options: dict[str, Any] = {"kernel_size": d.between(2, 3), "stride": d.between(1, 3)}
    if name == "lp_pool1d":
        options |= {"norm_type": d.pick(1, 2, 3)}
    else:
        options |= {"padding": d.between(0, 1), "ceil_mode": d.pick(True, False)}
    return getattr(F, name), {"x": x}, options


def pool3d(d: Draw, name: str) -> Made:
    x = d.array(d.pick(1, 2), d.size(17), d.between(1, 3), *(max(3, d.size(17)) for _ in "hw"))
    kernel = (1, d.between(2, 3), d.between(2, 3))
    return getattr(F, name), {"x": x}, {"kernel_size": kernel, "stride": d.between(1, 2)}


def lp_pool2d(d: Draw, _: str) -> Made:
    options = {"norm_type": d.pick(1, 2, 3), "kernel_size": d.between(2, 3)}
    return F.lp_pool2d, {"x": d.image(least=3)}, options | {"ceil_mode": d.pick(True, False)}


def adaptive_pool1d(d: Draw, name: str) -> Made:
    x = d.array(d.pick(1, 2), d.size(), d.size())
    return getattr(F, name), {"x": x}, {"output_size": d.between(1, 9)}


def grid_sample(d: Draw, _: str) -> Made:
    x = d.image()
    options = {
        "mode": d.pick("bilinear", "nearest", "bicubic"),
        "padding_mode": d.pick("zeros", "border", "reflection"),
        "align_corners": d.pick(True, False),
    }
    return F.grid_sample, {"x": x, "grid": d.array(len(x), d.size(17), d.size(17), 2)}, options


def affine_grid(d: Draw, _: str) -> Made:
    def call(x: Any, **options: Any) -> Any:
        return F.affine_grid(x, **options)

    n = d.size(5)
    return call, {"x": d.array(n, 2, 3)}, {"size": (n, 1, d.size(17), d.size(17))}


def adaptive_pool(d: Draw, name: str) -> Made:
    return getattr(F, name), {"x": d.image()}, {"output_size": (d.between(1, 9), d.between(1, 9))}


def reduction(d: Draw, name: str) -> Made:
    ndim = d.between(1, 4)
    x = d.array(*(d.size(33 if ndim < 4 else 17) for _ in range(ndim)))
    return getattr(F, name), {"x": x}, {"axis": d.between(0, ndim - 1)}


def norm(d: Draw, name: str) -> Made:
    call, arrays, options = reduction(d, name)
    return call, arrays, {**options, "ord": d.pick(0, 1, 2, 2.5, -1, math.inf, -math.inf)}


def interpolate(d: Draw, _: str) -> Made:
    mode = {"mode": d.pick("nearest", "nearest-exact", "area", "bilinear", "bicubic")}
    if mode["mode"].startswith("bi"):
        mode |= {"align_corners": d.pick(True, False), "antialias": d.pick(True, False)}
    return F.interpolate, {"x": d.image()}, {"size": (d.between(1, 40), d.between(1, 40)), **mode}


def pad(d: Draw, _: str) -> Made:
    sizes = [d.between(0, 2) for _ in range(4)]
    mode = d.pick("constant", "reflect", "replicate")
    return F.pad, {"x": d.image(least=3)}, {"pad": sizes, "mode": mode}


def permute(d: Draw, _: str) -> Made:
    return F.permute, {"x": d.image()}, {"dims": tuple(map(int, d.rng.permutation(4)))}


def channel_shuffle(d: Draw, _: str) -> Made:
    groups = d.between(1, 5)
    return F.channel_shuffle, {"x": d.image(groups * d.size(16))}, {"groups": groups}


def pixel_shuffle(d: Draw, _: str) -> Made:
    r = d.between(1, 3)
    return F.pixel_shuffle, {"x": d.image(r * r * d.size(9))}, {"upscale_factor": r}


def pixel_unshuffle(d: Draw, _: str) -> Made:
    r = d.between(1, 3)
    x = d.array(d.pick(1, 2), d.size(17), r * d.size(9), r * d.size(9))
    return F.pixel_unshuffle, {"x": x}, {"downscale_factor": r}


def depth_to_space(d: Draw, _: str) -> Made:
    r = d.between(1, 3)
    x = d.image(r * r * d.size(9))
    return F.depth_to_space, {"x": x}, {"block_size": r, "mode": d.pick("DCR", "CRD")}


def space_to_depth(d: Draw, _: str) -> Made:
    _, arrays, options = pixel_unshuffle(d, "")
    r = options["downscale_factor"]
    return F.space_to_depth, arrays, {"block_size": r, "mode": d.pick("DCR", "CRD")}


def take(d: Draw, _: str) -> Made:
    x = d.image()
    axis = d.pick(None, 0, 1, 2, -1)
    size = x.size if axis is None else x.shape[axis]
    shape = d.pick((), (d.size(),), (d.between(0, 3), 2))
    return F.take, {"x": x}, {"indices": d.rng.integers(-size, size, shape), "axis": axis}


def scatter_add(d: Draw, _: str) -> Made:
    x, axis = d.image(), d.between(0, 3)
    count = d.size()
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    indices = d.rng.integers(-x.shape[axis], x.shape[axis], count)
    return (
        F.scatter_add,
        {"x": x, "updates": d.array(*shape)},
        {"indices": indices, "axis": axis},
    )


def expand(d: Draw, _: str) -> Made:
    sizes = [d.pick(1, d.size(17)) for _ in range(4)]
    shape = [d.size(9) if n == 1 else d.pick(n, -1) for n in sizes]
    return F.expand, {"x": d.array(*sizes)}, {"shape": [*d.pick([], [2]), *shape]}


def tile(d: Draw, _: str) -> Made:
    x = d.array(*(d.size(9) for _ in range(d.between(1, 4))))
    return F.tile, {"x": x}, {"reps": [d.between(1, 3) for _ in range(d.between(1, 5))]}


def stack(d: Draw, _: str) -> Made:
    x = d.image()

    def call(x: Any, other: Any, **options: Any) -> Any:
        return F.stack([x, other], **options)

    return call, {"x": x, "other": d.array(*x.shape)}, {"axis": d.between(-5, 4)}


def squeeze(d: Draw, _: str) -> Made:
    axis = d.between(0, 3)
    sizes = [1 if i == axis else d.size(17) for i in range(4)]
    return F.squeeze, {"x": d.array(*sizes)}, {"axis": d.pick(axis, None)}


def with_axis(d: Draw, name: str) -> Made:
    return getattr(F, name), {"x": d.image()}, {"axis": d.between(-4, 3)}


def roll(d: Draw, _: str) -> Made:
    return F.roll, {"x": d.image()}, {"shift": d.between(-9, 9), "axis": d.pick(None, 1, (2, 3))}


def concat(d: Draw, name: str) -> Made:
    x = d.image()

    def call(x: Any, other: Any, **out: Any) -> Any:
        return getattr(F, name)([x, other], 1, **out)

    return call, {"x": x, "other": d.array(x.shape[0], d.size(), *x.shape[2:])}, {}


def split(d: Draw, _: str) -> Made:
    x = d.image(channels=2 + d.size(48))
    first = d.between(1, x.shape[1] - 1)
    return F.split, {"x": x}, {"split_size_or_sections": [first, x.shape[1] - first], "axis": 1}


def flatten(d: Draw, _: str) -> Made:
    return F.flatten, {"x": d.image()}, {"start_dim": d.between(0, 2)}


def reshape(d: Draw, _: str) -> Made:
    x = d.image()
    return F.reshape, {"x": x}, {"shape": (x.shape[0], -1, x.shape[3])}


class Small(nn.Module):
    """A network with values in channel blocks, whose channels fill none."""

    def __init__(self, d: Draw, channels: int) -> None:
        c, o = d.size(33), d.size(33)
        self.first = nn.Conv2d(channels, c, 3, padding=1, stride=d.between(1, 2))
        self.norm = nn.BatchNorm2d(c)
        self.second = d.pick(
            nn.Conv2d(c, c, 3, padding=1, groups=c),
            nn.Conv2d(c, c, 3, padding=1),
            nn.Conv2d(c, c, 1),
        )
        self.third = nn.ConvTranspose2d(c, o, 2, stride=2)
        self.pool = d.pick(nn.MaxPool2d(2, 1, 1), nn.AvgPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(3))
        self.fc = nn.Linear(o, d.size())
        self.activation = d.pick(nn.ReLU(), nn.SiLU(), nn.GELU())

    def forward(self, x: Any) -> Any:
        x = self.activation(self.norm(self.first(x)))
        x = self.pool(self.third(self.second(x) + x))
        return self.fc(F.concat([x, x], 2).mean((2, 3)))


def network(d: Draw, _: str) -> Made:
    x = d.image(least=2)
    model = Small(d, x.shape[1]).astype(d.dtype)

    def call(x: Array, out: Any = None, **parameters: Array) -> Any:
        model.load_state_dict({name.replace("/", "."): p for name, p in parameters.items()})
        return model.compile(x.shape)(x, out=out)

    state = {key.replace(".", "/"): np.array(value) for key, value in model.state_dict().items()}
    state.pop("norm/num_batches_tracked", None)
    return call, {"x": x, **state}, {}


POINTWISE = (
    *("relu", "relu6", "leaky_relu", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid"),
    *("tanh", "mish", "negative", "abs", "sign", "reciprocal", "square", "sqrt", "rsqrt", "exp"),
    *("expm1", "log", "log1p", "erf", "sin", "cos", "floor", "ceil", "round", "trunc"),
    *("celu", "elu", "hardshrink", "hardtanh", "logsigmoid", "selu", "softplus", "softshrink"),
    *("softsign", "tanhshrink"),
)
BINARY = (
    *("subtract", "divide", "power", "minimum", "maximum", "equal", "not_equal"),
    *("less", "less_equal", "greater", "greater_equal"),
)
MAKERS: dict[str, Callable[[Draw, str], Made]] = {
    **{
        made.__name__: made
        for made in (
            *(conv2d, conv1d, prepare_conv2d, conv_transpose2d, depthwise_separable_conv2d),
            *(conv_transpose1d, conv3d, lp_pool2d, grid_sample, affine_grid, linear, matmul),
            *(batch_norm, layer_norm, group_norm, instance_norm, local_response_norm),
            *(threshold, prelu, glu),
            *(interpolate, pad, permute),
            *(channel_shuffle, pixel_shuffle, concat, split, flatten, reshape, network),
            *(pixel_unshuffle, depth_to_space, space_to_depth, take, scatter_add, expand, tile),
            *(stack, squeeze, roll),
        )
    },
    **dict.fromkeys(POINTWISE, pointwise),
    **dict.fromkeys(("add", "multiply", *BINARY), binary),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor", "logical_not"), logic),
    **{"where": where, "clip": clip, "chain": chain},
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), pool),
    **dict.fromkeys(("adaptive_max_pool2d", "adaptive_avg_pool2d"), adaptive_pool),
    **dict.fromkeys(("max_pool1d", "avg_pool1d", "lp_pool1d"), pool1d),
    **dict.fromkeys(("max_pool3d", "avg_pool3d"), pool3d),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_avg_pool1d"), adaptive_pool1d),
    **dict.fromkeys(("mean", "sum", "prod", "max", "min", "argmax", "argmin"), reduction),
    **dict.fromkeys(("softmax", "log_softmax", "softmin", "cumsum"), reduction),
    **dict.fromkeys(("expand_dims", "unsqueeze", "flip"), with_axis),
    "norm": norm,
    "global_avg_pool2d": lambda d, _: (F.global_avg_pool2d, {"x": d.image()}, {}),
    "cat": concat,
}
"""By public name: what makes a call of it. `network` is `Small`, `chain` is several."""

NAMES = (*MAKERS, *("conv2d", "prepare_conv2d") * 3)  # those with most kernels more often
NEVER_RECORDED = ("prepare_conv2d", "network")


# ---- Calls ---------------------------------------------------------------------------------------


class Apply(nn.Module):
    """A function of x as a network, whose other arrays are constants."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def forward(self, x: Any) -> Any:
        return self._function(x)


def recorded(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """Return what calls this function in a network: a module of that name can be recorded."""
    accuracy = options.pop("accuracy", "fast")
    options.pop("algorithm", None)  # a network chooses

    def call(x: Array, out: Any = None, **arguments: Any) -> Any:
        precision = f"fp{8 * x.itemsize}"
        network = module(**arguments).compile(x.shape, precision=precision, accuracy=accuracy)
        return network(x, out=out)

    def module(**arguments: Any) -> Apply:
        return Apply(lambda x: function(x, **arguments))

    call.module = module  # type: ignore[attr-defined]
    return call


def around(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return this function with a convolution before it and, of an image, one after it."""

    def call(x: Any, before: Array, after: Array | None = None, **arguments: Any) -> Any:
        y = function(F.conv2d(x, before), **arguments)
        return F.conv2d(y, after) if after is not None else y

    return call


class Call(NamedTuple):
    """A call, and which end of its arrays matters."""

    name: str
    function: Callable[..., Any]
    arrays: dict[str, Array]
    options: dict[str, Any]
    setting: str
    at_end: bool

    def __str__(self) -> str:
        shapes = ", ".join(
            f"{key}={a.shape} {a.dtype} {a.strides}"
            for key, a in self.arrays.items()
            if "/" not in key
        )
        options = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.name}({shapes}, {options}) {self.setting}"


def make(number: int) -> Call:
    """Return the call of this number. All names have all settings, dtypes and ends in turn."""
    round_, name = number // len(NAMES), NAMES[number % len(NAMES)]
    at_end, round_ = round_ % 2 == 0, round_ // 2
    setting, round_ = SETTINGS[round_ % 3], round_ // 3
    d = Draw(number, DTYPES[round_ % 2])
    function, arrays, options = MAKERS[name](d, name)
    if name in NEVER_RECORDED:
        setting = "alone"
    if setting == "between convolutions" and arrays["x"].ndim != 4:
        setting = "in a network"
    if setting == "between convolutions":
        y = function(**arrays, **options)
        c = arrays["x"].shape[1]
        arrays["before"] = d.array(c, d.size(33), 1, 1)
        arrays["x"] = d.array(
            arrays["x"].shape[0], arrays["before"].shape[1], *arrays["x"].shape[2:]
        )
        if isinstance(y, np.ndarray) and y.ndim == 4 and y.dtype != np.bool_:
            arrays["after"] = d.array(d.size(33), y.shape[1], 1, 1)
        function = around(function)
    if setting != "alone":
        function = recorded(function, options)
    return Call(name, function, arrays, options, setting, at_end)
