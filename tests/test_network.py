"""Compiled networks give what eager execution gives, whatever the graph, batch or threads."""

import copy
import gc
import pickle
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import fastconv
import numpy as np
import pytest
from fastconv import _core, analysis, cuda, nn


@pytest.fixture(autouse=True)
def _poisoned_arenas():
    """Every run starts with NaN in its arena, so that reading what nobody wrote shows."""
    _core.set_poison_arenas(True)
    yield
    _core.set_poison_arenas(False)


def draw(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def check(actual, expected):
    assert type(actual) is type(expected)
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            check(a, e)
        return
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    tolerance = 5e-5 if expected.dtype == np.float32 else 1e-11
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


class RandomNetwork(nn.Module):
    """A random graph: values of earlier steps are taken at random, so that they branch and join."""

    def __init__(self, seed, length=14, kinds=None):
        self._seed, self._length = seed, length
        everything = *self.kinds, *self.kinds_with_steps, *self.kinds_without_devices
        self._kinds = kinds or everything

    def forward(self, x):
        self._rng = np.random.default_rng(self._seed)
        self._dtype = x.dtype
        values = [x]
        for _ in range(self._length):
            kind = self._rng.choice(self._kinds)
            y = getattr(self, f"_{kind}")(self._pick(values), values)
            if y is not None:
                values.append(y)
        outputs = [values[-1], self._pick(values)]
        y = fastconv.flatten(fastconv.adaptive_avg_pool2d(values[-1], (2, 2)), 1)
        y = fastconv.linear(y, self._weight(5, y.shape[1]), self._weight(5))
        return (fastconv.softmax(y, -1), *outputs)

    kinds = (
        *("conv", "conv", "conv", "residual", "residual", "norm", "activation", "sum", "sum"),
        *("concat", "concat", "pool", "gate", "channels_last", "slice", "scale", "pad"),
        *("resize", "shuffle", "permute", "reshape", "lrn", "transposed", "broadcast"),
        *("blocks", "chain", "chain", "prelu", "signals", "slices"),
    )
    kinds_with_steps = ("choice", "arithmetic", "rectifier")  # which much rounding may jump over
    kinds_without_devices = (
        *("take", "tile", "scatter", "reduce", "instance", "sample", "matmul", "value_weights"),
    )

    def _weight(self, *shape):
        fan_in = max(1, int(np.prod(shape[1:])))
        return (self._rng.standard_normal(shape) / np.sqrt(fan_in)).astype(self._dtype)

    def _pick(self, values):
        return values[-1] if self._rng.random() < 0.6 else values[self._rng.integers(len(values))]

    def _channels(self):
        return int(self._rng.choice([3, 8, 16, 20, 32, 48]))

    def _conv(self, x, values):
        k = int(self._rng.choice([1, 3, 5]))
        stride = int(self._rng.choice([1, 1, 2]))
        depthwise = self._rng.random() < 0.2
        groups = x.shape[1] if depthwise else 1
        out = x.shape[1] if depthwise else self._channels()
        weight = self._weight(out, x.shape[1] // groups, k, k)
        bias = self._weight(out) if self._rng.random() < 0.5 else None
        activation = self._rng.choice([None, "relu", "silu"])
        return fastconv.conv2d(
            x, weight, bias, stride, k // 2, groups=groups, activation=activation
        )

    def _residual(self, x, values):
        c = x.shape[1]
        y = fastconv.conv2d(x, self._weight(c, c, 3, 3), padding=1)
        y = self._norm(y, values)
        return fastconv.relu(x + y if self._rng.random() < 0.5 else y + x)

    def _norm(self, x, values):
        c = x.shape[1]
        mean, weight, bias = self._weight(c), self._weight(c), self._weight(c)
        return fastconv.batch_norm(x, mean, abs(self._weight(c)) + 0.5, weight, bias)

    def _activation(self, x, values):
        kinds = ("relu", "relu6", "leaky_relu", "gelu", "silu", "hardswish", "sigmoid", "tanh")
        return getattr(fastconv, str(self._rng.choice(kinds)))(x)

    def _rectifier(self, x, values):
        kinds = ("celu", "elu", "selu", "softplus", "softsign", "hardtanh", "logsigmoid")
        kinds += ("tanhshrink", "hardshrink", "softshrink")
        kind = str(self._rng.choice(kinds))
        return fastconv.multiply(getattr(fastconv, kind)(x), self._weight(x.shape[1], 1, 1))

    def _prelu(self, x, values):
        y = fastconv.prelu(x, self._weight(int(self._rng.choice([1, x.shape[1]]))))
        return fastconv.glu(y, 1) if x.shape[1] % 2 == 0 and x.shape[1] > 40 else y

    def _instance(self, x, values):
        if min(x.shape[2:]) < 2:
            return None
        weight, bias = self._weight(x.shape[1]), self._weight(x.shape[1])
        return fastconv.instance_norm(x, None, None, weight, bias, eps=1e-2)

    def _sum(self, x, values):
        fitting = [v for v in values if v.shape == x.shape]
        other = fitting[self._rng.integers(len(fitting))]
        return x + other if self._rng.random() < 0.7 else x * fastconv.sigmoid(other)

    def _concat(self, x, values):
        fitting = [v for v in values if v.shape[2:] == x.shape[2:]][-3:]
        y = fastconv.concat([x, *fitting], 1)
        return y if y.shape[1] <= 160 else None

    def _pool(self, x, values):
        if min(x.shape[2:]) < 3:
            return None
        if self._rng.random() < 0.5:
            return fastconv.max_pool2d(x, 3, 2, 1)
        return fastconv.avg_pool2d(x, 2, ceil_mode=True)

    def _gate(self, x, values):
        c = x.shape[1]
        y = fastconv.mean(x, (2, 3), keepdims=True)
        y = fastconv.relu(fastconv.conv2d(y, self._weight(6, c, 1, 1), self._weight(6)))
        return x * fastconv.sigmoid(fastconv.conv2d(y, self._weight(c, 6, 1, 1)))

    def _channels_last(self, x, values):
        c = x.shape[1]
        y = fastconv.permute(x, (0, 2, 3, 1))
        y = fastconv.layer_norm(y, (c,), self._weight(c), self._weight(c), 1e-3)
        y = fastconv.gelu(fastconv.linear(y, self._weight(2 * c, c), self._weight(2 * c)))
        y = self._weight(c) * fastconv.linear(y, self._weight(c, 2 * c))
        if self._rng.random() < 0.3:
            values.append(fastconv.permute(fastconv.softmax(y, 1), (0, 3, 2, 1)))
        return fastconv.permute(y, (0, 3, 1, 2)) + x

    def _slice(self, x, values):
        kind = self._rng.integers(4)
        if kind == 0:
            return x[:, : max(1, x.shape[1] // 2)]
        if kind == 1:
            return x[:, 16:] if x.shape[1] > 16 else x[:, ::2]
        return x[..., ::-1, :] if kind == 2 else x[:, :, 1:, :-1] if min(x.shape[2:]) > 2 else None

    def _scale(self, x, values):
        constants = (0.5, self._weight(x.shape[1], 1, 1), self._weight(x.shape[-1]))
        constant = constants[self._rng.integers(3)]
        return x * constant + 1.5 if self._rng.random() < 0.5 else constant + x

    def _broadcast(self, x, values):
        plane = fastconv.mean(x, 1, keepdims=True)
        row = fastconv.mean(x, (1, 2), keepdims=True)
        return x * fastconv.sigmoid(plane) + row

    def _reduce(self, x, values):
        kinds = (fastconv.max, fastconv.min, fastconv.mean, fastconv.norm)
        plane = kinds[self._rng.integers(4)](x, axis=1, keepdims=True)
        pixel = kinds[self._rng.integers(3)](x, (2, 3), keepdims=True)
        row = fastconv.cumsum(fastconv.sum(x, (1, 2), keepdims=True), 3) * 1e-3
        return x * fastconv.sigmoid(plane) + pixel + fastconv.sigmoid(row)

    def _pad(self, x, values):
        if min(x.shape[2:]) < 3:
            return None
        mode = str(self._rng.choice(["constant", "reflect", "replicate"]))
        return fastconv.pad(x, (1, 2, 0, 1), mode)

    def _resize(self, x, values):
        if max(x.shape[2:]) > 20:
            return None
        size = (x.shape[2] + 1, x.shape[3] + 2)
        return fastconv.interpolate(x, size, mode=str(self._rng.choice(["nearest", "bilinear"])))

    def _sample(self, x, values):
        grid = fastconv.tanh(fastconv.conv2d(x, self._weight(2, x.shape[1], 1, 1), stride=2))
        options = (
            str(self._rng.choice(["bilinear", "bicubic"])),  # "nearest" has steps
            str(self._rng.choice(["zeros", "border", "reflection"])),
            bool(self._rng.integers(2)),
        )
        return fastconv.grid_sample(x, fastconv.permute(grid, (0, 2, 3, 1)), *options)

    def _signals(self, x, values):
        n, c, h, w = x.shape
        y = fastconv.reshape(x, (n, c, h * w))
        y = fastconv.conv_transpose1d(y, self._weight(c, 8, 3), self._weight(8), padding=1)
        y = fastconv.conv1d(y, self._weight(c, 8, 5), padding=2, activation="relu")
        y = fastconv.max_pool1d(y, 3, 1, 1) + fastconv.avg_pool1d(y, 3, 1, 1)
        y = y + fastconv.adaptive_avg_pool1d(y, 1) + fastconv.adaptive_max_pool1d(y, 1)
        return fastconv.reshape(y, x.shape)

    def _slices(self, x, values):
        n, c, h, w = x.shape
        y = fastconv.reshape(x, (n, 1, c, h, w))
        y = fastconv.conv3d(y, self._weight(3, 1, 1, 3, 3), padding=(0, 1, 1))
        y = fastconv.max_pool3d(y, (1, 3, 3), 1, (0, 1, 1)) + fastconv.avg_pool3d(y, 1)
        return fastconv.mean(y, 1)

    def _shuffle(self, x, values):
        if x.shape[1] % 4 == 0:
            return fastconv.channel_shuffle(x, 4)
        return None

    def _take(self, x, values):
        axis = int(self._rng.integers(1, 4))
        n = x.shape[axis]
        return fastconv.take(x, self._rng.integers(-n, n, min(n + 1, 20)), axis)

    def _tile(self, x, values):
        if self._rng.random() < 0.5:
            return x + fastconv.expand(fastconv.mean(x, 1, keepdims=True), x.shape)
        return fastconv.tile(x, (2, 1, 1)) if x.shape[1] < 40 else None

    def _scatter(self, x, values):
        axis, other = int(self._rng.integers(1, 4)), self._pick(values)
        indices = self._rng.integers(-x.shape[axis], x.shape[axis], x.shape[axis])
        return fastconv.scatter_add(x, indices, other if other.shape == x.shape else x, axis)

    def _matmul(self, x, values):
        n, c, h, w = x.shape
        kind = self._rng.integers(4)
        if kind == 0:
            return x @ self._weight(self._channels(), w).swapaxes(0, 1)
        if kind == 1:
            return self._weight(self._channels(), h) @ x
        if kind == 2:
            fitting = [v for v in values if v.shape == x.shape]
            return x @ (fitting[self._rng.integers(len(fitting))] / w).swapaxes(-2, -1)
        q = x.reshape(n, c, h * w).swapaxes(1, 2)
        p = fastconv.softmax(q @ fastconv.tanh(q).swapaxes(1, 2) / c, -1)
        return (p @ q).swapaxes(1, 2).reshape(x.shape)

    def _value_weights(self, x, values):
        c, k, out = x.shape[1], int(self._rng.choice([1, 3])), self._channels()
        depthwise = self._rng.random() < 0.3
        # (c,): a value, but the same for every batch
        gate = fastconv.sigmoid(0 * fastconv.tanh(x[:1]).sum((0, 2, 3)) + self._weight(c))
        if self._rng.random() < 0.3:
            y = fastconv.permute(x, (0, 2, 3, 1))
            y = fastconv.linear(y, self._weight(out, c) * gate, self._weight(out, c) @ gate)
            return fastconv.permute(y, (0, 3, 1, 2))
        if depthwise:
            weight = self._weight(c, 1, k, k) * gate.reshape(c, 1, 1, 1)
            return x + fastconv.conv2d(x, weight, gate, padding=k // 2, groups=c)
        if self._rng.random() < 0.3:
            weight = self._weight(c, out, k, k) * gate.reshape(c, 1, 1, 1)
            return fastconv.conv_transpose2d(x, weight, self._weight(out, c) @ gate, 1, k // 2)
        weight = self._weight(out, c, k, k) * gate.reshape(1, c, 1, 1)
        bias = self._weight(out, c) @ gate if self._rng.random() < 0.5 else None
        y = fastconv.conv2d(x, weight, bias, padding=k // 2)
        return self._norm(y, values) if self._rng.random() < 0.5 else fastconv.relu(y)

    def _chain(self, x, values):
        scale, shift = self._weight(x.shape[1], 1, 1), self._weight(x.shape[1], 1, 1)
        y = fastconv.clip(abs(x * scale - 0.5) + shift, -1, 2.5) / 1.5
        return np.exp(-y) - self._weight(x.shape[-1]) * np.sqrt(abs(y) + 0.25)

    def _choice(self, x, values):
        fitting = [v for v in values if v.shape == x.shape]
        other = fitting[self._rng.integers(len(fitting))]
        mean = fastconv.mean(x, (2, 3), keepdims=True)
        return fastconv.where((x > mean + 0.0137) | (other <= 0), np.minimum(x, other), 0.5 - x)

    def _arithmetic(self, x, values):
        kind = self._rng.integers(4)
        if kind == 0:
            return 1 / (x * x + 1) - fastconv.erf(x)
        if kind == 1:
            return fastconv.power(abs(x) + 0.5, self._weight(x.shape[1], 1, 1))
        if kind == 2:
            mean = self._pick(values).mean((1, 2, 3), keepdims=True)
            return np.sin(x) * np.sign(mean - 0.037)  # 0 itself is the mean of what is normalised
        return fastconv.maximum(x, fastconv.mean(x, 1, keepdims=True)) ** 2

    def _blocks(self, x, values):
        mode = str(self._rng.choice(["DCR", "CRD"]))
        if x.shape[1] % 4 == 0 and max(x.shape[2:]) < 12:
            return fastconv.depth_to_space(x, 2, mode)
        if min(x.shape[2:]) < 2:
            return None
        even = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
        return fastconv.space_to_depth(even, 2, mode) if x.shape[1] < 20 else None

    def _permute(self, x, values):
        y = fastconv.tanh(fastconv.permute(x, (0, 3, 1, 2)))
        return fastconv.permute(y + 0.25, (0, 2, 3, 1))

    def _reshape(self, x, values):
        n, c, h, w = x.shape
        y = fastconv.layer_norm(fastconv.reshape(x, (n, c, h * w)), (h * w,))
        return fastconv.reshape(y, (n, c, w, h)) if h == w else fastconv.reshape(y, x.shape)

    def _lrn(self, x, values):
        return fastconv.local_response_norm(x, 5, alpha=0.1)

    def _transposed(self, x, values):
        if max(x.shape[2:]) > 12:
            return None
        c = x.shape[1]
        return fastconv.conv_transpose2d(x, self._weight(c, 12, 2, 2), self._weight(12), 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed, dtype):
    module = RandomNetwork(seed)
    x = draw((2, 5, 11, 11), dtype, seed)
    expected = module.eager(x)
    actual = module(x)
    check(actual, expected)
    # Another batch size shares the packed weights; results do not depend on the threads.
    x3 = np.concatenate([x[1:], x])
    check(module(x3), module.eager(x3))
    for threads in (1, 2, 5):
        with fastconv.num_threads(threads):
            for a, b in zip(module(x), actual, strict=True):
                assert np.array_equal(a, b)


@pytest.mark.long
@pytest.mark.parametrize("first", range(100, 2100, 100))
def test_many_random_graphs(first):
    for seed in range(first, first + 100):
        module = RandomNetwork(seed, length=18)
        # Some of so many magnify errors more than float32 can bear.
        x = draw((1 + seed % 3, 5, 10 + seed % 4, 11), np.float64, seed)
        check(module(x), module.eager(x))


def test_other_sizes_share_the_constants_of_programs():
    """A second run of the passes would number values anew: it finds more to fuse here."""
    kernel, each = draw((5, 5, 3, 3), np.float64), draw((5, 1, 1), np.float64, 1)

    class Elu(nn.Module):
        def forward(self, x):
            y = fastconv.conv2d(x, kernel, padding=1) * draw((14,), np.float64, 2) - 1
            return fastconv.where(y > 0, y, fastconv.expm1(y) * 1.0) * each

    module = Elu().astype(np.float64)
    for n in (2, 3, 1):
        x = draw((n, 5, 12, 14), np.float64, n)
        check(module(x), module.eager(x))


@pytest.mark.parametrize("seed", range(10))
def test_random_graphs_without_images(seed):
    y = RandomNetwork(seed)(np.empty((0, 5, 11, 11), np.float32))
    assert y[0].shape == (0, 5)


@pytest.mark.parametrize("seed", range(6))
def test_exact_does_not_depend_on_the_batch(seed):
    module = RandomNetwork(seed)
    x = draw((4, 5, 11, 11), seed=seed)
    whole = module.compile(x.shape, accuracy="exact")(x)
    part = module.compile((1, *x.shape[1:]), accuracy="exact")
    for i in range(4):
        for a, b in zip(whole, part(x[i : i + 1]), strict=True):
            assert np.array_equal(a[i : i + 1], b)


class Residual(nn.Module):
    def __init__(self, channels):
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


@pytest.fixture
def module():
    """A small residual network whose channels fill no whole number of blocks."""
    m = nn.Sequential(
        nn.Conv2d(3, 20, 3, padding=1),
        nn.ReLU(),
        Residual(20),
        nn.MaxPool2d(2),
        Residual(20),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(20, 7),
    )
    m.reset_parameters(0)
    return m


@pytest.fixture
def x():
    return draw((2, 3, 12, 12))


def test_steps_and_memory(module, x):
    network = module.compile(x.shape)
    steps = network.explain()
    assert [s["op"] for s in steps if s["op"] != "copy"] == [
        *("conv2d+relu", "conv2d+relu", "conv2d+add+relu", "max_pool2d"),
        *("conv2d+relu", "conv2d+add+relu", "adaptive_avg_pool2d", "linear"),
    ]
    assert steps[1]["name"] == "2.conv1"
    assert steps[1]["macs"] == 2 * 12 * 12 * 20 * 20 * 9
    assert "conv2d+add+relu" in str(steps)
    # Never more than three values are alive at once, of at most 32 padded channels.
    assert network.memory["arena"] <= 3 * 2 * 12 * 12 * 32 * 4
    assert network.memory["weights"] == sum(a.nbytes for a in module.state_dict().values())
    assert network.memory["packed"] > 0
    profile = network.profile(x, repeats=2)
    assert all(s["seconds"] >= 0 for s in profile)
    assert sum(s["share"] for s in profile) == pytest.approx(1)
    for step in (*profile, profile.total):
        assert step["of_peak"] == pytest.approx(step["gflops"] / profile.peak_gflops)
    assert profile.total["macs"] == steps.total["macs"] == sum(s["macs"] for s in steps)
    assert profile.total["seconds"] == pytest.approx(sum(s["seconds"] for s in profile))
    header, *_, total = str(profile).splitlines()
    assert header.split()[-6:] == ["ms", "share", "GFLOP/s", "of", "peak", "reason"]
    assert total.startswith("total ")
    assert "100.0%" in total
    assert list(steps.total) == ["macs"]
    assert "GFLOP/s" not in str(steps)


class Expansion(nn.Module):
    """A 1x1 and a depthwise convolution with far more between them than L2 holds."""

    def __init__(self, kernel=3, stride=1, activation=nn.ReLU6):
        c = 800
        self.stem = nn.Conv2d(3, 16, 1)
        self.expand = nn.Sequential(nn.Conv2d(16, c, 1), nn.BatchNorm2d(c), activation())
        depthwise = nn.Conv2d(c, c, kernel, stride, kernel // 2, groups=c, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(c), activation())
        self.project = nn.Conv2d(c, 16, 1)
        self.reset_parameters(0)

    def forward(self, x):
        x = self.stem(x)
        y = self.expand(x)
        gate = fastconv.sigmoid(x)  # would take the place of x, if the expansion had run before it
        y = self.project(self.depthwise(y))
        return y * gate if y.shape == gate.shape else y


def joined(network):
    return [s for s in network.explain() if s["algorithm"] == "direct, depthwise"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [nn.ReLU6, nn.SiLU])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2), (7, 1)])
def test_pointwise_and_depthwise_as_one(kernel, stride, activation, dtype):
    module = Expansion(kernel, stride, activation).astype(dtype)
    x = draw((3, 3, 37, 35), dtype)
    network = module.compile(x.shape)
    y = network(x)
    check(y, module.eager(x))
    (step,) = joined(network)
    assert step["name"] == "expand.0, depthwise.0"
    name = "relu6" if activation is nn.ReLU6 else "silu"
    assert step["op"] == f"conv2d+{name}, conv2d+{name}"
    pixels = step["shape"][2] * step["shape"][3]
    assert step["macs"] == 3 * 800 * (37 * 35 * 16 + pixels * kernel**2)
    for threads in (1, 2, 5):
        assert np.array_equal(module.compile(x.shape, threads=threads)(x), y)
    # One after the other, where what lies between them is wanted: the same bits.
    tapped = module.compile(x.shape, taps=["expand"])
    assert not joined(tapped)
    assert tapped.memory["arena"] > network.memory["arena"]
    assert np.array_equal(tapped(x)[0], y)


@pytest.mark.parametrize("blocked", [False, True])
def test_pointwise_and_depthwise_as_one_with_a_residual(blocked):
    class Sum(Expansion):
        def forward(self, x):
            y = self.stem(x[:, :3])
            residual = fastconv.relu(self.expand[0](y)) if blocked else x[:, 3:]
            return self.project(self.depthwise[0](self.expand[0](y)) + residual)

    module = Sum()
    x = draw((1, 803, 37, 35))
    network = module.compile(x.shape)
    check(network(x), module.eager(x))
    assert [s["op"] for s in joined(network)] == (["conv2d, conv2d+add"] if blocked else [])


def test_pointwise_and_depthwise_stay_apart():
    class Wide(Expansion):
        def forward(self, x):
            return fastconv.mean(self.depthwise(self.expand(self.stem(x))), (2, 3))

    module = Wide(stride=2)
    x = draw((1, 3, 60, 60))
    network = module.compile(x.shape)
    small = module.compile(x.shape, max_workspace=joined(network)[0]["workspace"] - 1)
    assert not joined(small)
    check(small(x), network(x))
    assert not joined(module.compile((1, 3, 7, 7)))  # what lies between them stays in L2


def test_calling_a_module_is_compiled_and_right(module, x):
    check(module(x), module.eager(x))
    check(module(x[:1]), module.eager(x[:1]))
    check(module(x[0]), module.eager(x[0]))
    check(module(x[:, :, :9, ::-1]), module.eager(x[:, :, :9, ::-1]))


def test_replacing_a_parameter_invalidates(module, x):
    before = module(x)
    module.load_state_dict({k: v * 2 for k, v in module.state_dict().items()})
    check(module(x), module.eager(x))
    assert not np.allclose(module(x), before)
    after = module(x)
    module[-1].bias = module[-1].bias + 1
    np.testing.assert_allclose(module(x), after + 1, rtol=1e-5, atol=1e-4)


def test_a_network_keeps_the_parameters_it_was_compiled_from(module, x):
    network = module.compile(x.shape)
    before = network(x)
    module.load_state_dict({k: v * 2 for k, v in module.state_dict().items()})
    assert np.array_equal(network(x), before)
    assert np.array_equal(pickle.loads(pickle.dumps(network))(x), before)
    check(network(x, taps=["2"])[0], before)


@pytest.mark.parametrize("name", ["", "0", "1", "2", "2.conv1", "2.bn1", "2.bn2", "3", "5", "7"])
def test_taps_have_the_eager_value(module, x, name):
    seen = {}

    def record(child, path):
        forward = child.forward

        def wrapped(*args):
            seen[path] = forward(*args)
            return seen[path]

        object.__setattr__(child, "forward", wrapped)

    network = module.compile(x.shape)
    twin = copy.deepcopy(module)
    for path, child in twin.named_modules():
        record(child, path)
    y = twin.eager(x)
    if name == "2.bn1":  # `relu` runs twice in a block: what it returned last counts
        check(network(x, taps=["2.relu"])[1]["2.relu"], seen["2.relu"])
    actual, taps = network(x, taps=[name])
    check(actual, y)
    assert list(taps) == [name]
    check(taps[name], seen[name])
    fixed = module.compile(x.shape, taps=[name])
    check(fixed(x)[1][name], seen[name])
    check(fixed(x, taps=[])[0], y)


def test_tap_errors(module, x):
    network = module.compile(x.shape)
    with pytest.raises(ValueError, match="no module 'layer9'"):
        network(x, taps=["layer9"])
    with pytest.raises(TypeError, match="sequence of module names"):
        network(x, taps="2")
    with pytest.raises(ValueError, match="no module"):
        module.compile(x.shape, taps=["nope"])


def test_input_is_checked(module, x):
    network = module.compile((1, 3, 12, 12))
    with pytest.raises(TypeError, match=r"astype\(np.float32\)"):
        network(x[:1].astype(np.float64))
    with pytest.raises(ValueError, match=r"x\[None\]"):
        network(x[0])
    with pytest.raises(ValueError, match="channels come first"):
        network(x[:1].transpose(0, 2, 3, 1))
    with pytest.raises(ValueError, match="call the module itself"):
        network(x)
    strided = np.empty((1, 12, 12, 3), np.float32).transpose(0, 3, 1, 2)
    strided[...] = x[:1]
    assert np.array_equal(network(strided), network(x[:1]))
    assert np.array_equal(network(x[:1].astype(">f4")), network(x[:1]))


@pytest.mark.parametrize("groups", [1, 2])
def test_conv1d_in_a_network(groups):
    module = nn.Sequential(
        nn.Conv1d(6, 8, 3, stride=2, padding="same", groups=groups), nn.ReLU(), nn.Conv1d(8, 4, 5)
    )
    for batch in (2, 5, 0):
        x = draw((batch, 6, 17))
        check(module(x), module.eager(x))
    check(module(x := draw((6, 17))), module.eager(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("channels", "groups"), [(32, 8), (48, 6), (40, 20), (24, 4), (48, 2), (26, 2)]
)
def test_grouped_convolutions_are_exact_on_integers(channels, groups, dtype):
    rng = np.random.default_rng(0)

    class Block(nn.Module):
        def __init__(self):
            for name, outputs, inputs, kernel in (
                ("stem", channels, 2, 1),
                ("a", channels, channels // groups, 3),
                ("b", 2 * channels, channels // groups, 3),
                ("c", channels, 2 * channels // groups, 5),
            ):
                weight = rng.integers(-1, 2, (outputs, inputs, kernel, kernel))
                setattr(self, name, weight.astype(dtype))

        def layers(self, x, **algorithm):
            options = {"groups": groups, "activation": "relu", **algorithm}
            y = fastconv.conv2d(x, self.stem, **algorithm)  # blocked in the network, as a's and b's
            y = fastconv.conv2d(y, self.a, padding=1, residual=y, **options)
            y = fastconv.conv2d(y, self.b, stride=2, padding=1, **options)
            return fastconv.conv2d(y, self.c, padding=4, dilation=2, **options)

        def forward(self, x):
            return self.layers(x)

    block = Block()
    for size in ((9, 31), (1, 5), (12, 2)):
        x = rng.integers(-2, 3, (2, 2, *size)).astype(dtype)
        network = block.compile(x.shape, accuracy="exact")
        np.testing.assert_array_equal(network(x), block.layers(x, algorithm="reference"))


@pytest.mark.parametrize("conv", [fastconv.conv1d, fastconv.conv2d])
@pytest.mark.parametrize("option", [{"algorithm": "direct"}, {"accuracy": "exact"}])
def test_what_compile_decides_is_no_option_inside_a_network(conv, option):
    class Block(nn.Module):
        def forward(self, x):
            return conv(x, np.ones((2, 3) + (1,) * (x.ndim - 2), np.float32), **option)

    x = draw((1, 3, 4, 4) if conv is fastconv.conv2d else (1, 3, 4))
    assert Block().eager(x).shape[1] == 2
    with pytest.raises(ValueError, match=f"{next(iter(option))}=.* cannot be given inside"):
        Block()(x)


def test_conv1d_with_residual_in_a_network():
    class Block(nn.Module):
        def __init__(self):
            self.weight = draw((6, 6, 3))

        def forward(self, x):
            return fastconv.conv1d(x, self.weight, padding=1, residual=x, activation="relu")

    block = Block()
    for shape in ((2, 6, 9), (6, 9)):
        x = draw(shape)
        check(block(x), block.eager(x))
    for run in (block, block.eager):
        with pytest.raises(ValueError, match=r"x must have shape \(N, C, L\) or \(C, L\)"):
            run(draw((6,)))


@pytest.mark.usefixtures("without_cuda")
@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"device": "cuda"}, cuda.CudaUnavailable, "device='cuda' needs a CUDA device"),
        ({"device": "cuda:1"}, cuda.CudaUnavailable, "device='cuda:1' needs"),
        ({"device": "tpu"}, ValueError, "device must be one of"),
        ({"precision": "fp8"}, ValueError, "precision must be one of fp32, fp64"),
        ({"precision": "fp16"}, ValueError, "precision='fp16' needs device='cuda'"),
        ({"accuracy": "best"}, ValueError, "accuracy must be one of"),
        ({"taps": 3}, TypeError, "taps must be a sequence of module names"),
        ({"threads": 0}, ValueError, "threads must be from 1"),
        ({"max_workspace": -1}, ValueError, "not be negative"),
    ],
)
def test_compile_options_are_checked(module, options, error, match):
    with pytest.raises(error, match=match):
        module.compile((1, 3, 12, 12), **options)


def test_compile_checks_the_shape(module):
    with pytest.raises(ValueError, match="x has 4"):
        module.compile((1, 4, 12, 12))
    with pytest.raises(TypeError, match="input_shape"):
        module.compile((1, 3, 12.0, 12))


def test_precision(module, x):
    network = module.compile(x.shape, precision="fp64")
    assert network.dtype == np.float64
    y = network(x.astype(np.float64))
    assert y.dtype == np.float64
    check(y, copy.deepcopy(module).astype(np.float64).eager(x.astype(np.float64)))
    with pytest.raises(TypeError, match="float64"):
        network(x)


def test_max_workspace(module, x):
    limit = max(s["workspace"] for s in module.compile(x.shape).explain()) - 1
    network = module.compile(x.shape, max_workspace=limit)
    assert max(s["workspace"] for s in network.explain()) <= limit
    check(network(x), module.eager(x))


def test_threads_option_is_for_the_call_only(module, x):
    before = fastconv.get_num_threads()
    network = module.compile(x.shape, threads=3)
    assert np.array_equal(network(x), module.compile(x.shape, threads=1)(x))
    assert fastconv.get_num_threads() == before


def test_pickle(module, x):
    network = module.compile(x.shape, taps=["2"])
    loaded = pickle.loads(pickle.dumps(network))
    assert loaded.explain() == network.explain()
    assert np.array_equal(loaded(x)[0], network(x)[0])
    assert np.array_equal(pickle.loads(pickle.dumps(module))(x), module(x))


def test_keep_weights_false(module, x):
    network = module.compile(x.shape, keep_weights=False, taps=["2"])
    y, taps = network(x)
    check(y, module.eager(x))
    assert list(taps) == ["2"]
    assert network.memory["weights"] == 0
    with pytest.raises(TypeError, match="keep_weights=True"):
        pickle.dumps(network)
    with pytest.raises(ValueError, match="keep_weights=False"):
        network(x, taps=["3"])


@pytest.mark.parametrize(
    "use",
    [
        lambda module, x: module(x),
        lambda module, x: module.compile(x.shape)(x),
        lambda module, x: analysis.summary(module, x.shape),
        lambda module, x: analysis.receptive_field(module, x.shape),
    ],
)
def test_weights_go_with_the_last_that_needs_them(use, x):
    """At once: memory does not wait for the garbage collector."""
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1))
    weights = [weakref.ref(array) for array in module.parameters()]
    gc.collect()
    gc.disable()
    try:
        use(module, x)
        del module
        assert [weight() for weight in weights] == [None] * len(weights)
    finally:
        gc.enable()


def test_unbatched_compilation(module, x):
    network = module.compile((3, 12, 12))
    check(network(x[0]), module.eager(x[0]))


def test_concurrent_calls(module):
    inputs = [draw((n, 3, 12, 12), seed=n) for n in (1, 2, 3, 4)] * 8
    expected = [module.eager(x) for x in inputs]
    start = threading.Barrier(8)

    def run(i):
        start.wait()
        for j in range(i, i + 24):
            check(module(inputs[j % 32]), expected[j % 32])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))


def test_a_new_batch_size_shares_the_packed_weights(module, x, monkeypatch):
    packed = []

    class Native(_core.Network):
        def __init__(self, *args, **options):
            packed.append(args)
            super().__init__(*args, **options)

    monkeypatch.setattr(_core, "Network", Native)
    for n in (2, 1, 2, 1):
        check(module(x[:n]), module.eager(x[:n]))
    assert len(packed) == 1
    module(x[..., :10])
    assert len(packed) == 1


def test_arrays_that_others_can_write_to_are_copied():
    class Shifted(nn.Module):
        def __init__(self):
            self._table = np.full((3, 4, 4), 2, np.float32)

        def forward(self, x):
            return x + self._table

    module, x = Shifted(), np.ones((1, 3, 4, 4), np.float32)
    network = module.compile(x.shape)
    module._table[:] = 5
    np.testing.assert_array_equal(network(x), x + 2)


def test_constant_or_foreign_output():
    class Constant(nn.Module):
        def forward(self, x):
            return np.ones(3, np.float32)

    with pytest.raises(TypeError, match="must return what it computed"):
        Constant().compile((1, 3))


def test_input_as_output_and_repeated_outputs():
    class Same(nn.Module):
        def forward(self, x):
            y = fastconv.relu(x)
            return x, y, y, x[1:]

    x = draw((3, 4, 5, 5))
    check(Same()(x), Same().eager(x))


def test_interrupt():
    module = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(60)))
    x = np.zeros((4, 64, 112, 112), np.float32)
    module(x[:, :, :8, :8])  # what is not interruptible: recording and packing

    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    network = module.compile(x.shape)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Alarm):
            network(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
