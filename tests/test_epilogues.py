"""Activations in epilogues: leaky_relu, clip and prelu of any parameters, after every kind of host.

A host whose value is an output as well is followed by the activation as a step of its own. Both
networks must agree to the last bit, and with the function on the host's array.
"""

import itertools
from functools import partial

import fastconv
import numpy as np
import pytest
from fastconv import _core
from fastconv.graph._symbols import Recorder
from fastconv.ops._pointwise import compute
from fastconv.ops._symbols import is_symbolic

PRELU = "t0 = less(x0, 0); t1 = multiply(x0, x1); where(t0, t1, x0)"
INF = np.inf


def draw(*shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def pointwise(program, x, *others):
    """Compute a program, or record it."""
    if is_symbolic(x):
        return x.__fastconv_record__("pointwise", (x, *others), {"program": program})
    return compute(program, {f"x{i}": array for i, array in enumerate((x, *others))})


def prelu(x, weight):
    """What ``nn.PReLU`` records."""
    return pointwise(PRELU, x, weight)


def prelu_of_channels(x, *, axis=1):
    """One slope a channel: some above 1, negative, zero and infinite."""
    slopes = draw(x.shape[axis], dtype=x.dtype, seed=7)
    slopes[:4] = 0, -0.0, INF, 1.5
    return prelu(x, slopes.reshape(-1, *[1] * (x.ndim - axis % x.ndim - 1)))


def prelu_of_one(x, *, shape=()):
    return prelu(x, np.full(shape, 0.3, x.dtype))


ACTIVATIONS = {
    **{
        f"+leaky_relu({slope:g})": partial(fastconv.leaky_relu, negative_slope=slope)
        for slope in (-0.5, 0.0, -0.0, 0.25, 1.5)
    },
    "+leaky_relu": fastconv.leaky_relu,
    "+mish": fastconv.mish,
    "+relu6": fastconv.relu6,
    **{
        f"+clip({low:g}, {high:g})": partial(fastconv.clip, min=low, max=high)
        for low, high in (
            *((-1, 0.5), (0.25, 0.25), (1, -1), (-INF, 0.5), (0, INF), (-INF, INF), (INF, INF)),
            *((-0.0, 1), (0.0, 1), (-1, -0.0), (0.0, -0.0)),
        )
    },
    "+clip(-inf, 0.5) ": lambda x: fastconv.minimum(x, 0.5),
    "+clip(-inf, 0.75)": lambda x: fastconv.minimum(0.75, x),
    "+clip(0, inf) ": lambda x: fastconv.maximum(x, 0),
    "+clip(-0.5, inf)": lambda x: fastconv.maximum(-0.5, x),
    "+relu": lambda x: fastconv.maximum(0, x),
    "+clip(-0.75, 0.5)": partial(pointwise, "clip(x0, -0.75, 0.5)"),
    "+clip(1e-60, 1)": partial(pointwise, "clip(x0, 1e-60, 1)"),  # 0 in float32
    "+clip(-inf, 0.125)": partial(pointwise, "minimum(0.125, x0)"),
    "+prelu": prelu_of_channels,
}
SEPARATE = {  # by the step that follows
    "maximum": lambda x: fastconv.maximum(-0.0, x),  # gives x where both are zeros
    "minimum": lambda x: fastconv.minimum(0, x),
    "clip": lambda x: fastconv.clip(x, draw(1, x.shape[1], *[1] * (x.ndim - 2), dtype=x.dtype), 9),
    "clip ": lambda x: fastconv.clip(x, np.nan, 1),
    "activation": lambda x: fastconv.leaky_relu(x, np.nan),
    "pointwise": partial(pointwise, "clip(0.5, x0, 1)"),
}


def hostile(*shape, dtype):
    """Numbers among which are NaN, infinities and such that products of two round to zeros."""
    x = draw(*shape, dtype=dtype)
    flat = x.reshape(-1)
    flat[3::29] = 0
    flat[5::67] = -INF
    flat[7::211] = INF
    flat[11::223] = np.nan
    return x


def conv(x, *, out, kernel, residual=False, **options):
    groups = options.get("groups", 1)
    weight = draw(out, x.shape[1] // groups, kernel, kernel, dtype=x.dtype, seed=1)
    weight[:, :, 0, 0] *= np.tile([1, 1, 1e-30], out)[:out, None]
    bias = draw(out, dtype=x.dtype, seed=2) * (np.arange(out) % 3 != 2)
    y = fastconv.conv2d(x, weight, bias.astype(x.dtype), padding=kernel // 2, **options)
    return y + x if residual else y


def transposed(x, *, out, kernel):
    weight = draw(x.shape[1], out, kernel, kernel, dtype=x.dtype, seed=1)
    return fastconv.conv_transpose2d(x, weight, stride=2, padding=kernel // 2 - 1)


def linear(x, *, out=21, residual=False):
    y = fastconv.linear(x, draw(out, x.shape[-1], dtype=x.dtype, seed=1))
    return y + x if residual else y


def norm(x):
    c = x.shape[1]
    mean, var = draw(c, dtype=x.dtype, seed=1), 1 + draw(c, dtype=x.dtype, seed=2) ** 2
    return fastconv.batch_norm(x, mean, var)


def scaled(x):
    """Zeros of both signs stay."""
    return x * draw(x.shape[1], *[1] * (x.ndim - 2), dtype=x.dtype, seed=1)


IMAGES, SMALL = (2, 32, 13, 9), (3, 20, 5, 4)
HOSTS = {  # shape of x, host, algorithm
    **{
        f"{name} {'add' if residual else ''}": (IMAGES, partial(conv, residual=residual, **o), name)
        for (name, o), residual in itertools.product(
            {
                "im2col": {"out": 32, "kernel": 3},
                "direct": {"out": 32, "kernel": 3},
                "depthwise": {"out": 32, "kernel": 3, "groups": 32},
                "strassen": {"out": 32, "kernel": 1},
                "winograd2": {"out": 32, "kernel": 3},
                "winograd4": {"out": 32, "kernel": 3},
            }.items(),
            (False, True),
        )
    },
    "odd channels": (SMALL, partial(conv, out=21, kernel=3), "direct"),
    "odd channels in panels": (SMALL, partial(conv, out=21, kernel=3), "im2col"),
    "one pixel": ((5, 20, 1, 1), partial(conv, out=21, kernel=1), "im2col"),
    "small groups": (SMALL, partial(conv, out=20, kernel=3, groups=4), "direct"),
    "channel multiplier": (SMALL, partial(conv, out=40, kernel=3, groups=20), "depthwise"),
    "wide": ((1, 8, 3, 60), partial(conv, out=8, kernel=3, groups=8), "depthwise"),
    "transposed": (SMALL, partial(transposed, out=21, kernel=2), None),
    "transposed winograd": ((1, 32, 16, 17), partial(transposed, out=37, kernel=4), None),
    "linear": ((6, 20), linear, "direct"),
    "linear in panels": ((6, 20), linear, "im2col"),
    "linear of a sequence": ((2, 7, 20), partial(linear, out=20, residual=True), "direct"),
    "linear of images": ((2, 3, 4, 20), linear, "direct"),
    "norm": (SMALL, norm, None),
    "norm of features": ((6, 21), norm, None),
    "norm of a sequence": ((2, 21, 5), norm, None),
    "scale": (SMALL, scaled, None),
}


def record(x, host, activation, *, blocked):
    """Return a graph, the value of the host and that of its activation."""
    recorder = Recorder(x.dtype)
    between = recorder.input(x.shape)
    if blocked:  # pools of single pixels give what they take, and fold into nothing
        ones = np.ones((x.shape[1], 1, 1, 1), x.dtype)
        between = fastconv.conv2d(between, ones, groups=x.shape[1])
        between = fastconv.max_pool2d(between, 1)
    between = host(between)
    y = activation(between)
    if blocked:
        y = fastconv.max_pool2d(y, 1)
    return recorder.native, between.id, y.id


def run(native, outputs, x, algorithm, *, blocked):
    """Return the results, and the steps that compute."""
    convolutions = [
        step
        for step in _core.Network(native, outputs, "fast", None, 0).steps()
        if step["algorithm"]
    ]
    algorithms = {step["value"]: algorithm for step in convolutions[blocked:] if algorithm}
    network = _core.Network(native, outputs, "fast", None, 0, algorithms)
    steps = network.steps()
    assert {s["algorithm"] for s in steps if s.get("value") in algorithms} <= {algorithm}
    return network.run([x]), [s["op"] for s in steps if s["op"] not in ("copy", "max_pool2d")]


def assert_same_bits(a, b):
    __tracebackhide__ = True
    bits = f"u{a.dtype.itemsize}"
    same = (a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))
    assert same.all(), (a[~same][:5], b[~same][:5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", HOSTS)
def test_fused_equals_separate(name, dtype):
    shape, host, algorithm = HOSTS[name]
    axis = -1 if getattr(host, "func", host) is linear else 1
    x = hostile(*shape, dtype=dtype)
    for (text, function), blocked in itertools.product(
        (ACTIVATIONS | SEPARATE).items(), (False, True)
    ):
        if blocked and (len(shape) != 4 or axis == -1):
            continue
        activation = function
        if function is prelu_of_channels:
            activation = partial(function, axis=axis)
        elif text == "clip" and axis == -1:
            continue  # its bounds are of the channels of images
        native, between, y = record(x, host, activation, blocked=blocked)
        (fused,), steps = run(native, [y], x, algorithm, blocked=blocked)
        (before, separate), others = run(native, [between, y], x, algorithm, blocked=blocked)
        assert_same_bits(fused, separate)
        assert_same_bits(fused, np.asarray(activation(before)))
        if text in SEPARATE:
            joined = host in (norm, scaled)  # both are one program
            assert steps[-1] == ("pointwise" if joined else text.strip())
            assert joined or steps == others
        else:
            assert steps[-1].endswith(text.strip())
            assert len(steps) == len(others) - 1
            assert "+" not in others[-1]


def test_hosts_make_what_matters():
    """Zeros of either sign, NaN and infinities, without which the test above would say less."""
    found = set()
    for shape, host, _ in HOSTS.values():
        with np.errstate(invalid="ignore"):
            y = host(hostile(*shape, dtype=np.float32))
        found |= {"nan"} if np.isnan(y).any() else set()
        found |= {str(v) for v in (0.0, -0.0, INF, -INF) if _has(y, v)}
    assert found == {"nan", "0.0", "-0.0", "inf", "-inf"}


def _has(y, value):
    return ((y == value) & (np.signbit(y) == np.signbit(value))).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("text", sorted(ACTIVATIONS.keys() - {"+mish"}))
def test_reference_agrees(text, dtype):
    """Plain loops activate before they round: a product with a slope is one rounding apart."""
    x = draw(*SMALL, dtype=dtype)
    host = partial(conv, out=21, kernel=3)
    native, between, y = record(x, host, ACTIVATIONS[text], blocked=False)
    (fused,), _ = run(native, [y], x, "reference", blocked=False)
    (_, separate), _ = run(native, [between, y], x, "reference", blocked=False)
    np.testing.assert_allclose(fused, separate, rtol=2 * np.finfo(dtype).eps, atol=0)


def test_pointwise_and_depthwise_as_one():
    """The 1x1 and the depthwise convolution of one step have an epilogue each."""
    x = draw(1, 16, 200, 200, dtype=np.float32)
    recorder = Recorder(x.dtype)
    blocked = fastconv.max_pool2d(conv(recorder.input(x.shape), out=16, kernel=1), 1)
    between = conv(blocked, out=64, kernel=1)
    y = conv(prelu_of_channels(between), out=64, kernel=3, groups=64)
    y = fastconv.max_pool2d(fastconv.clip(y, -0.5, 0.75), 1)
    network = _core.Network(recorder.native, [y.id], "fast", None, 0)
    assert "conv2d+prelu, conv2d+clip(-0.5, 0.75)" in [step["op"] for step in network.steps()]
    apart = _core.Network(recorder.native, [between.id, y.id], "fast", None, 0)
    assert_same_bits(network.run([x])[0], apart.run([x])[1])


def test_slopes_are_the_channels_alone():
    """What varies along another axis than the channels, or is no constant, stays a step."""
    x = draw(2, 6, 6, 6, dtype=np.float32)
    for shape in ((6, 1), (6,), (6, 6, 6), (1, 6, 6, 1), (2, 1, 1, 1)):
        function = partial(prelu, weight=draw(*shape, dtype=x.dtype))
        native, between, y = record(x, partial(conv, out=6, kernel=1), function, blocked=False)
        (fused,), steps = run(native, [y], x, "direct", blocked=False)
        assert steps == ["conv2d", "pointwise"]
        (_, separate), _ = run(native, [between, y], x, "direct", blocked=False)
        assert_same_bits(fused, separate)
    recorder = Recorder(x.dtype)
    y = conv(recorder.input(x.shape), out=6, kernel=1)
    y = prelu(y, recorder.input((6, 1, 1)))
    network = _core.Network(recorder.native, [y.id], "fast", None, 0)
    assert {step["op"] for step in network.steps()} == {"conv2d", "copy", "pointwise"}


class Head(fastconv.nn.Module):
    """Epilogues with parameters, by channels and not."""

    input_ndim = 4

    def __init__(self, slope=0.25):
        self.slope = slope
        self.conv = fastconv.nn.Conv2d(3, 20, 3, padding=1)
        self.reset_parameters(3)

    def forward(self, x):
        return prelu_of_channels(fastconv.leaky_relu(self.conv(x), self.slope) * 2 + 1)


def test_other_sizes_share_weights_and_slopes():
    module = Head()
    for size in (9, 12, 9):
        x = draw(2, 3, size, size, dtype=np.float32)
        network = module.compile(x.shape)
        assert_same_bits(module(x), network(x))
    a, b = (Head(slope).graph((1, 3, 9, 9)).optimized()._native for slope in (0.25, 0.5))
    assert a.same_but_sizes(a)
    assert not a.same_but_sizes(b)


def test_attributes_say_the_parameters():
    module = Head()
    fields = [n.fields for n in module.graph((1, 3, 9, 9)).optimized() if n.op == "conv2d"]
    assert fields[0]["activation"] == "leaky_relu(0.25)"
    explained = [step["op"] for step in module.compile((1, 3, 9, 9)).explain()]
    assert explained[:2] == ["conv2d+leaky_relu(0.25)", "scale_shift+prelu"]


@pytest.mark.parametrize(
    ("text", "slopes", "error"),
    [
        ("relu(1)", None, "activation must be one of none, relu, .*'relu\\(1\\)'"),
        ("clip", None, "activation must be one of"),
        ("clip(1)", None, "activation must be one of"),
        ("clip(1, 2, 3)", None, "activation must be one of"),
        ("clip(1, 2", None, "activation must be one of"),
        ("clip(1, 2) ", None, "activation must be one of"),
        ("leaky_relu()", None, "activation must be one of"),
        ("leaky_relu(a)", None, "activation must be one of"),
        ("prelu", None, "slopes go with the activation prelu"),
        ("relu", (4,), "slopes go with the activation prelu"),
        ("prelu", (3,), r"slopes must have shape \(4,\), got \(3,\)"),
    ],
)
def test_attributes_refuse(text, slopes, error):
    graph = _core.Graph()
    inputs = [graph.input((1, 4, 2, 2), np.float32), graph.constant(np.ones((4, 4, 1, 1), "f4"))]
    if slopes:
        inputs += [None, None, graph.constant(np.ones(slopes, np.float32))]
    with pytest.raises(ValueError, match=error):
        graph.add("conv2d", inputs, {"activation": text})


@pytest.mark.parametrize(
    "text", ["relu", "leaky_relu", "leaky_relu(0.3)", "clip(-inf, 1e-05)", "clip(-0, 0.1)"]
)
def test_attributes_read_what_they_print(text):
    graph = _core.Graph()
    inputs = [graph.input((1, 4, 2, 2), np.float32), graph.constant(np.ones((4, 4, 1, 1), "f4"))]
    value = graph.add("conv2d", inputs, {"activation": text})
    assert graph.node(value)[2]["activation"] == text
