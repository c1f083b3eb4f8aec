"""Every layer, with all kinds of arguments, exported and run at several batch sizes."""

import itertools

import numpy as np
import pytest
from exported import Function, check, random
from fastconv import nn
from fastconv import ops as F
from fastconv.ops._pointwise import INSTRUCTIONS, apply_program
from fastconv.ops.activation import ACTIVATIONS

pytestmark = pytest.mark.oracle

IMAGES, ROW = (1, 6, 9, 8), (1, 7)
W = np.random.default_rng(1).standard_normal((6, 6, 1, 1), np.float32)
SIDES = [(1, 2, 3, 4), (-1, 2, 0, -3), (-1, -1, -2, -2), (0, 0, 0, 0), (2, -1, 0, 0)]
SLICES = {
    "integer": np.s_[:, -1],
    "batch": np.s_[::-1],
    "range": np.s_[:, 2:5:2],
    "backwards": np.s_[..., ::-2],
    "backwards from": np.s_[..., 5:1:-2],
    "backwards down to": np.s_[..., :1:-1],
    "backwards from the end": np.s_[..., -3::-1],
    "from the end": np.s_[..., -3:],
    "up to the end": np.s_[..., :-3],
    "beyond": np.s_[..., 2:100],
    "new axis": np.s_[:, None],
}
RESHAPES = {
    "batch": lambda x: (x.shape[0], -1),
    "explicit batch": lambda x: (1, -1),
    "last": lambda x: (-1, 8),
    "moved batch": lambda x: (6, x.shape[0], 72),
    "joined batch": lambda x: (x.shape[0] * 6, 9, 8),
    "more axes": lambda x: (x.shape[0], 1, 6, 3, 3, 8),
    "one axis": lambda x: (-1,),
}


PRODUCTS = {
    "of a constant": lambda x: x @ np.ones((8, 5), np.float32),
    "with a constant": lambda x: np.ones((4, 9), np.float32) @ x,
    "with a vector": lambda x: x @ np.ones(8, np.float32),
    "of a vector": lambda x: np.ones(9, np.float32) @ x,
    "of values": lambda x: x @ F.tanh(x).swapaxes(-1, -2),
    "of fewer axes": lambda x: x[0, 0] @ x.swapaxes(-1, -2),
    "of vectors": lambda x: x[0, 0, 0] @ x[0, 0, 1],
    "attention": lambda x: F.softmax(x @ x.swapaxes(-1, -2) / 3, -1) @ x,
}
VALUE_WEIGHTS = {
    "conv2d": lambda x: F.conv2d(x, W * F.sigmoid(x[:1, :, :1, :1]), F.tanh(x[0, :, 0, 0])),
    "depthwise": lambda x: F.conv2d(x, x[0, :, None, :3, :3], padding=1, groups=6),
    "conv1d": lambda x: F.conv1d(x[:, :, 0], W[..., 0] * x[0, :, :1, 0]),
    "linear": lambda x: F.linear(x, x[0, 0], x[0, 0, :, 0], activation="relu"),
    "linear of rows": lambda x: F.linear(x[:, 0, 0], x[0, 0]),
}


def paddings(kernel_size):
    """What pools allow."""
    return sorted({0, (kernel_size if isinstance(kernel_size, int) else min(kernel_size)) // 2})


def elements(name, kinds, x):
    """Return an instruction of positive numbers and of what compares them."""
    positive = abs(x) + 0.25
    floats, masks = [positive, W[0], x * 0.5], [x > 0, W[0] <= x, x != x]
    y = getattr(F, name)(*((masks if k == "m" else floats)[i] for i, k in enumerate(kinds)))
    return F.where(y, x, 2) if y.dtype == bool else y


def randomised(layer):
    """Return the layer with other numbers than those of the beginning."""
    state = layer.state_dict().items()
    rng = np.random.default_rng(3)
    layer.load_state_dict(
        {k: rng.uniform(0.5, 1.5, v.shape).astype(v.dtype) if v.ndim else v for k, v in state}
    )
    return layer


def program(x):
    """Return a program that is no function of ONNX: each instruction that has several operands."""
    text = (
        "t0 = greater(x0, x1); t1 = clip(x0, -1.5, inf); t2 = expm1(t1); t3 = log1p(t2); "
        "t4 = square(x1); t5 = not_equal(t4, 0.25); t6 = logical_and(t0, t5); t7 = add(t4, 1e-3); "
        "t8 = rsqrt(t7); where(t6, t8, t3)"
    )
    return apply_program(text, {"x": x, "w": W[0]})


def cases():
    """Yield the name, the module and the shape of the input."""
    for k, s, d, c in itertools.product((1, 2, 3, (2, 3)), (1, 2, (3, 1)), (1, 2, 3), (0, 1)):
        for p in paddings(k):
            yield f"MaxPool2d {k, s, p, d, c}", nn.MaxPool2d(k, s, p, d, ceil_mode=bool(c)), IMAGES
    for k, s, c, i in itertools.product((1, 2, 3, 5, (2, 3)), (1, 2, (3, 1), 4), (0, 1), (0, 1)):
        for p in paddings(k):
            yield f"AvgPool2d {k, s, p, c, i}", nn.AvgPool2d(k, s, p, bool(c), bool(i)), IMAGES
    for size in (1, 2, 3, 12, (3, 4), (3, 2), (9, 8), (None, 1), (1, None), (None, 3), None):
        yield f"AdaptiveAvgPool2d {size}", nn.AdaptiveAvgPool2d(size), IMAGES
        yield f"AdaptiveMaxPool2d {size}", nn.AdaptiveMaxPool2d(size), IMAGES
    sides = ("same", "valid", 1, ((1, 2), (0, 3)), (2, 0))
    for k, s, p, (d, g) in itertools.product(
        (1, 3, (2, 4)), (1, 2, (3, 1)), sides, ((1, 1), (2, 6), ((2, 1), 2))
    ):
        yield f"Conv2d {k, s, p, d, g}", nn.Conv2d(6, 12, k, s, p, d, g), IMAGES
    for k, s, p, d in itertools.product((1, 3), (1, 2), ("same", "valid", 2, ((1, 2),)), (1, 2)):
        yield f"Conv1d {k, s, p, d}", nn.Conv1d(6, 12, k, s, p, d, 6), (1, 6, 11)
    signals, volumes = (1, 6, 23), (1, 6, 2, 9, 8)
    for k, s, c in itertools.product((1, 2, 5), (1, 2, 3), (False, True)):
        for p in paddings(k):
            yield f"MaxPool1d {k, s, p, c}", nn.MaxPool1d(k, s, p, ceil_mode=c), signals
            yield f"AvgPool1d {k, s, p, c}", nn.AvgPool1d(k, s, p, c), signals
        yield f"LPPool1d {k, s, c}", nn.LPPool1d(2, k, s, c), signals
        yield f"LPPool2d {k, s, c}", nn.LPPool2d(2, k, s, c), IMAGES
    for size in (1, 2, 5, 23):
        yield f"AdaptiveAvgPool1d {size}", nn.AdaptiveAvgPool1d(size), signals
        yield f"AdaptiveMaxPool1d {size}", nn.AdaptiveMaxPool1d(size), signals
    for k, s, p, (g, d) in itertools.product((1, 3, 4), (1, 2), (0, 1), ((1, 1), (3, 2))):
        layer = nn.ConvTranspose1d(6, 9, k, s, p, s - 1, g, True, d)
        yield f"ConvTranspose1d {k, s, p, g, d}", layer, signals
    for s in (1, (1, 2, 1), 2):
        yield f"Conv3d {s}", nn.Conv3d(6, 4, (1, 3, 2), s, (0, 1, 0)), volumes
        yield f"MaxPool3d {s}", nn.MaxPool3d((1, 3, 2), s, (0, 1, 0)), volumes
        yield f"AvgPool3d {s}", nn.AvgPool3d((1, 3, 2), s, (0, 1, 0)), volumes
    for k, s, p, o, (g, d), b in itertools.product(
        (3, (2, 3)), (1, 2, 3), (0, 1), (0, 1, 2), ((1, 1), (3, 3)), (True, False)
    ):
        if o < max(s, d):
            layer = nn.ConvTranspose2d(6, 9, k, s, p, o, g, b, d)
            yield f"ConvTranspose2d {k, s, p, o, g, b, d}", layer, IMAGES
    for size, alpha, beta, k in itertools.product((1, 2, 4, 5, 7), (1, 0.5), (1, 0.75), (1, 2.0)):
        layer = nn.LocalResponseNorm(size, alpha, beta, k)
        yield f"LocalResponseNorm {size, alpha, beta, k}", layer, IMAGES
    options = ({}, {"elementwise_affine": False}, {"bias": False}, {"eps": 1})
    for shape, kwargs in itertools.product((8, (9, 8), (6, 9, 8)), options):
        yield f"LayerNorm {shape} {kwargs}", nn.LayerNorm(shape, **kwargs), IMAGES
    yield "LayerNorm2d", nn.LayerNorm2d(6), IMAGES
    for kwargs in ({}, {"affine": False}, {"eps": 1}):
        yield f"BatchNorm2d {kwargs}", nn.BatchNorm2d(6, **kwargs), IMAGES
        yield f"BatchNorm1d {kwargs}", nn.BatchNorm1d(6, **kwargs), (1, 6, 5)
        yield f"BatchNorm1d {kwargs} of vectors", nn.BatchNorm1d(6, **kwargs), (1, 6)
        yield f"BatchNorm3d {kwargs}", nn.BatchNorm3d(6, **kwargs), (1, 6, 2, 3, 4)
        for groups in (1, 2, 6):
            layer = nn.GroupNorm(groups, 6, **kwargs)
            for shape in (IMAGES, (1, 6, 5), (1, 6, 2, 3, 4)):
                yield f"GroupNorm {groups, kwargs} {shape}", randomised(layer), shape
        yield f"GroupNorm {kwargs} of vectors", randomised(nn.GroupNorm(2, 6, **kwargs)), (1, 6)
        for tracked in (False, True):
            layer = nn.InstanceNorm2d(6, track_running_stats=tracked, **kwargs)
            yield f"InstanceNorm2d {tracked, kwargs}", randomised(layer), IMAGES
    yield "InstanceNorm1d", nn.InstanceNorm1d(6, affine=True), (1, 6, 5)
    yield "InstanceNorm3d", nn.InstanceNorm3d(6), (1, 6, 2, 3, 4)
    yield "BatchNorm2d randomised", randomised(nn.BatchNorm2d(6)), IMAGES
    for layer in (
        *(nn.LeakyReLU(slope) for slope in (0, 1, 2, 0.3, -0.5)),
        *(nn.ReLU(), nn.ReLU6(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Hardswish()),
        *(nn.Hardsigmoid(), nn.Mish(), nn.Sigmoid(), nn.Tanh(), nn.Identity(), nn.Dropout()),
        *(nn.Dropout2d(), nn.StochasticDepth(0.1)),
        *(nn.ELU(), nn.ELU(0.3), nn.CELU(), nn.CELU(0.3), nn.SELU(), nn.RReLU(), nn.Softsign()),
        *(nn.Softplus(), nn.Softplus(2), nn.Softplus(0.5, 1), nn.Softplus(1, 0), nn.LogSigmoid()),
        *(nn.Hardtanh(), nn.Hardtanh(-0.3, 2), nn.Threshold(0.3, 0), nn.Threshold(-0.3, 0.5)),
        *(nn.Tanhshrink(), nn.Hardshrink(), nn.Softshrink(), nn.Softshrink(0.2), nn.PReLU()),
    ):
        for shape in (IMAGES, ROW):
            yield f"{layer} {shape}", layer, shape
    yield "PReLU of channels", randomised(nn.PReLU(6)), IMAGES
    yield "PReLU of vectors", randomised(nn.PReLU(7)), ROW
    yield "PReLU of two values", Function(lambda x: F.prelu(x, x[0, :, 0, 0])), IMAGES
    yield "Softmax2d", nn.Softmax2d(), IMAGES
    yield "program", Function(program), IMAGES
    for axis in (1, -1):
        yield f"GLU {axis}", nn.GLU(axis), IMAGES
        yield f"Softmin {axis}", nn.Softmin(axis), IMAGES
    for axis in range(-4, 4):
        yield f"Softmax {axis}", nn.Softmax(axis), IMAGES
        yield f"LogSoftmax {axis}", nn.LogSoftmax(axis), IMAGES
    for axis in range(4):
        yield f"Flatten {axis}", nn.Flatten(axis), IMAGES
    for dims in itertools.permutations(range(4)):
        yield f"Permute {dims}", nn.Permute(dims), IMAGES
    for groups in (1, 2, 6):
        yield f"ChannelShuffle {groups}", nn.ChannelShuffle(groups), IMAGES
    for factor in (1, 2, 3):
        yield f"PixelShuffle {factor}", nn.PixelShuffle(factor), (1, 36, 3, 4)
        yield f"PixelUnshuffle {factor}", nn.PixelUnshuffle(factor), (1, 3, 6, 12)
        for mode in ("DCR", "CRD"):
            layer = Function(lambda x, r=factor, mode=mode: F.depth_to_space(x, r, mode))
            yield f"depth_to_space {factor, mode}", layer, (1, 36, 3, 4)
            layer = Function(lambda x, r=factor, mode=mode: F.space_to_depth(x, r, mode))
            yield f"space_to_depth {factor, mode}", layer, (1, 3, 6, 12)
    for bias, shape in itertools.product((True, False), ((1, 8), (1, 3, 8), IMAGES)):
        yield f"Linear {bias, shape}", nn.Linear(8, 5, bias), shape
    yield from functions()


def moves():
    """Yield the same of functions that move elements, and of scatter_add."""
    yield "Unflatten", nn.Unflatten(1, (2, -1)), IMAGES
    for axis in (1, 2, -1):
        yield f"take {axis}", Function(lambda x, a=axis: F.take(x, [[2, 0], [-1, 2]], a)), IMAGES
        layer = Function(lambda x, a=axis: F.scatter_add(x, [2, 0, 2], F.take(x, [0, 1, 2], a), a))
        yield f"scatter_add {axis}", layer, IMAGES
        yield f"stack {axis}", Function(lambda x, a=axis: F.stack([x, 2 * x], a)), IMAGES
        yield f"flip {axis}", Function(lambda x, a=axis: F.flip(x, a)), IMAGES
        yield f"roll {axis}", Function(lambda x, a=axis: F.roll(x, -5, a)), IMAGES
        yield f"repeat {axis}", Function(lambda x, a=axis: x.repeat(2, a)), IMAGES
        yield f"unsqueeze {axis}", Function(lambda x, a=axis: F.unsqueeze(x, a)), IMAGES
    yield "take batch", Function(lambda x: F.take(x, [0, -1, 0], 0)), IMAGES
    yield "take one", Function(lambda x: F.take(x, 3, 1)), IMAGES
    yield "tile", Function(lambda x: F.tile(x, (1, 2, 1, 3))), IMAGES
    yield "tile batch", Function(lambda x: F.tile(x, (2, 1, 1, 1))), ROW
    yield "expand", Function(lambda x: F.expand(x[:, :, :1], (-1, 6, 4, -1))), IMAGES
    yield "squeeze", Function(lambda x: F.squeeze(x[:, :1], 1)), IMAGES
    token = np.random.default_rng(2).standard_normal((1, 1, 7), np.float32)
    layer = Function(lambda x: F.expand(x[:1] + token, (x.shape[0], 1, 7)) + x[:, None])
    yield "class token", layer, ROW
    yield "ConstantPad2d", nn.ConstantPad2d((1, 2, 0, 3), 1.5), IMAGES
    for pad in (nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d, nn.ZeroPad2d):
        yield pad.__name__, pad((1, 2, 0, 3)), IMAGES


def functions():
    """Yield the same of functions that no layer has."""
    yield from moves()
    for sides in SIDES:
        yield f"ZeroPad2d {sides}", nn.ZeroPad2d(sides), IMAGES
        yield f"pad {sides}", Function(lambda x, p=sides: F.pad(x, p, value=-1.5)), IMAGES
        for mode in ("reflect", "replicate"):
            layer = Function(lambda x, p=sides, mode=mode: F.pad(x, p, mode))
            yield f"pad {mode} {sides}", layer, IMAGES
    yield "pad channels", Function(lambda x: F.pad(x, (1, 1, 0, 0, 2, 3))), IMAGES
    yield (
        "pad reflect channels",
        Function(lambda x: F.pad(x, (1, 2, 1, 1, 1, 0), "reflect")),
        IMAGES,
    )
    yield "pad row", Function(lambda x: F.pad(x, (1, 2))), ROW
    for axis, keepdims in itertools.product((None, 0, 1, (1, 2), (0, 3), (), -1), (False, True)):
        layer = Function(lambda x, axis=axis, keepdims=keepdims: F.mean(x, axis, keepdims))
        yield f"mean {axis, keepdims}", layer, IMAGES
        for name in ("sum", "prod", "max", "min"):
            op = getattr(F, name)
            layer = Function(lambda x, op=op, axis=axis, k=keepdims: op(x, axis, k))
            yield f"{name} {axis, keepdims}", layer, IMAGES
        for p in (None, 0, 1, 2.5, -1, np.inf, -np.inf) if axis != () else ():
            layer = Function(lambda x, p=p, axis=axis, k=keepdims: F.norm(x, p, axis, k))
            yield f"norm {p, axis, keepdims}", layer, IMAGES
        for op in (F.argmax, F.argmin) if not isinstance(axis, tuple) else ():
            layer = Function(lambda x, op=op, axis=axis, k=keepdims: op(x, axis, k))
            yield f"{op.__name__} {axis, keepdims}", layer, IMAGES
    for axis, exclusive, reverse in itertools.product((None, 0, 2, -1), *[(False, True)] * 2):
        options = {"exclusive": exclusive, "reverse": reverse}
        layer = Function(lambda x, axis=axis, o=options: F.cumsum(x, axis, **o))
        yield f"cumsum {axis} {options}", layer, IMAGES
    for name, (kinds, _) in INSTRUCTIONS.items():
        yield name, Function(lambda x, op=name, kinds=kinds: elements(op, kinds, x)), IMAGES
    for kind in ACTIVATIONS:
        layer = Function(lambda x, a=kind: F.conv2d(x, W, residual=x, activation=a))
        yield f"conv2d with {kind}", layer, IMAGES
        layer = Function(lambda x, a=kind: F.conv_transpose2d(x, W, activation=a))
        yield f"conv_transpose2d with {kind}", layer, IMAGES
        layer = Function(lambda x, a=kind: F.linear(x, W[..., 0, 0], residual=x, activation=a))
        yield f"linear with {kind}", layer, (1, 6)
        v = W[0, :, 0, 0]
        layer = Function(lambda x, a=kind, v=v: F.batch_norm(x, v, v * v, v, None, activation=a))
        yield f"batch_norm with {kind}", layer, IMAGES
    for name, index in SLICES.items():
        yield f"slice {name}", Function(lambda x, index=index: x[index]), IMAGES
    for name, shape in RESHAPES.items():
        yield f"reshape {name}", Function(lambda x, shape=shape: F.reshape(x, shape(x))), IMAGES
    for name, function in PRODUCTS.items():
        yield f"matmul {name}", Function(function), IMAGES
    for name, function in VALUE_WEIGHTS.items():
        yield f"{name} of value weights", Function(function), IMAGES
    yield "matmul of rows", Function(lambda x: x @ x.swapaxes(0, 1)), ROW
    yield "split, concat", Function(lambda x: F.concat(F.split(x, 4, 1)[::-1], 1)), IMAGES
    yield "broadcast", Function(lambda x: 2 * x + np.ones((6, 9, 1), np.float32) + x), IMAGES


@pytest.mark.parametrize(
    ("module", "shape"), [pytest.param(*case, id=name) for name, *case in cases()]
)
def test_layer(module, shape, tmp_path):
    check(module, random(shape), tmp_path)
