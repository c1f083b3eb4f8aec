"""Axes stay open in exported models, or the error says which layer closes them."""

import fastconv
import numpy as np
import onnx
import pytest
from exported import Function, compare, random
from fastconv import nn
from fastconv import ops as F

pytestmark = pytest.mark.oracle

OPEN = {"x": {0: "batch", 2: "height", 3: "width"}}
W = np.random.default_rng(1).standard_normal((6, 6, 3, 3), np.float32)
V = np.random.default_rng(2).uniform(0.5, 1.5, (6,)).astype(np.float32)


def dims(path, kind):
    """Return the sizes and the names of the input's or the output's axes."""
    (value,) = getattr(onnx.load(path).graph, kind)
    return [d.dim_param or d.dim_value or None for d in value.type.tensor_type.shape.dim]


# ---- Height and width ----------------------------------------------------------------------------

FREE = {
    "conv2d": lambda x: F.conv2d(x, W, None, 2, 1, 2),
    "conv2d same": lambda x: F.conv2d(x, W, None, 2, "same"),
    "conv2d same, one stride": lambda x: F.conv2d(x, W, None, (1, 3), "same"),
    "conv2d same, gaps": lambda x: F.conv2d(x, W[:, :, :2, :2], None, 3, "same"),
    "conv2d same, dilation": lambda x: F.conv2d(x, W, None, 1, "same", 2),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, W, None, 2, 1, 1),
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1, 1, True),
    "max_pool2d wide": lambda x: F.max_pool2d(x, 2, 3, 1, 2, True),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1, True),
    "avg_pool2d not padded": lambda x: F.avg_pool2d(x, (2, 3), 3, 1, True, False),
    "adaptive pools": lambda x: x * F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1),
    "adaptive pools of an axis": lambda x: F.adaptive_max_pool2d(
        F.adaptive_avg_pool2d(x, (1, None)), (None, 1)
    ),
    "batch_norm": lambda x: F.batch_norm(x, V, V),
    "channels last": lambda x: F.layer_norm(F.permute(x, (0, 2, 3, 1)), 6),
    "linear": lambda x: F.linear(F.permute(x, (0, 2, 3, 1)), W[:, :, 0, 0]),
    "local_response_norm": lambda x: F.local_response_norm(x, 4),
    "mean": lambda x: F.mean(x, (2, 3)),
    "sum": lambda x: F.sum(x, (0, 2), True),
    "max of all": lambda x: F.max(x, keepdims=True),
    "argmax": lambda x: F.argmax(x, 3),
    "argmin of all": lambda x: F.argmin(x, keepdims=True),
    "norm": lambda x: F.norm(x, 3, (1, 3)),
    "cumsum": lambda x: F.cumsum(x, 2),
    "flatten": lambda x: F.flatten(x, 2),
    "flatten all": lambda x: F.flatten(x, 1),
    "reshape": lambda x: F.reshape(x, (x.shape[0], 2, 3, *x.shape[2:])),
    "tokens": lambda x: F.reshape(
        F.permute(F.reshape(x, (*x.shape[:2], -1)), (0, 2, 1)), (-1, 3, *x.shape[2:], 2)
    ),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "pixel_shuffle": lambda x: F.pixel_shuffle(F.concat([x, x[:, :2]], 1), 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(F.interpolate(x, scale_factor=2), 2),
    "depth_to_space": lambda x: F.depth_to_space(F.concat([x, x[:, :2]], 1), 2),
    "space_to_depth": lambda x: F.space_to_depth(F.interpolate(x, scale_factor=2), 2),
    "take": lambda x: F.take(x, [[0, -1], [3, 3]], 1),
    "take from both ends": lambda x: x.take([0, -1, 2, -3], 2),
    "index": lambda x: x[:, [2, 0], ::2],
    "tile": lambda x: F.tile(x, (2, 3, 2)),
    "expand": lambda x: F.expand(x[:, :1, :, :1], (-1, 4, x.shape[2], x.shape[3])),
    "expand a constant": lambda x: F.concat([x, F.expand(x[:1], x.shape)], 1),
    "stack": lambda x: F.stack([x, x], 2),
    "flip": lambda x: F.flip(x, (0, 3)),
    "roll": lambda x: F.roll(x, (1, -2), (1, 3)),
    "scatter_add": lambda x: F.scatter_add(x, [1, -1, 1], x[:, :3], 1),
    "scatter_add at the end": lambda x: F.scatter_add(x, [-1, 0, -1], x[:, :, :3], 2),
    "signals": lambda x: F.max_pool1d(
        F.conv_transpose1d(F.flatten(x, 2), W[:, :, 0], None, 2), 3, 2, 1, 1, True
    ),
    "slices of volumes": lambda x: F.max_pool3d(
        F.conv3d(x.reshape((x.shape[0], 2, 3, *x.shape[2:])), W[:, :2, None], padding=(0, 1, 1)),
        (1, 2, 2),
    ),
    "grid_sample": lambda x: F.grid_sample(x, F.tanh(F.permute(x[:, :2], (0, 2, 3, 1)))),
    "slices": lambda x: x[:, 1:3, 1:, :-2],
    "slices of the end": lambda x: x[:, ::-1, -3:, -1],
    "slices backwards": lambda x: x[::-1, :, :2:-1, -2::-2],
    "slice to the size of another": lambda x: F.pad(x, (0, 3, 2, 0))[..., : x.shape[2], :],
    "pad": lambda x: F.pad(x, (1, -2, 0, 3), "replicate"),
    "softmax": lambda x: F.softmax(x, 3),
    "matmul": lambda x: F.softmax(x @ x.swapaxes(-1, -2), -1) @ x,
    "residual": lambda x: F.conv2d(x, W, None, 1, 1, residual=x),
}


@pytest.mark.parametrize("name", FREE)
def test_dynamic_height_and_width(name, tmp_path):
    module, path = Function(FREE[name]), tmp_path / "a.onnx"
    fastconv.onnx.export(module, path, (1, 6, 8, 8), dynamic_axes=OPEN)
    shapes = (1, 6, 8, 8), (2, 6, 13, 7), (3, 6, 10, 23)
    compare(path, module, *map(random, shapes))


def eight_rows(x):
    assert x.shape[2] == 8, "eight rows, please"
    return x


class Closed(nn.Module):
    """Layers that take one height and width only."""

    def __init__(self, layer):
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.layer = layer

    def forward(self, x):
        return self.layer(self.conv(x))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(256, 5)), "axis 2 .*layer layer.1 .*256 input feat"),
        (nn.AdaptiveAvgPool2d(3), "adaptive_avg_pool2d of the layer layer .*output size 3"),
        (nn.AdaptiveMaxPool2d((1, 4)), "adaptive_max_pool2d of the layer layer .*output size 4"),
        (nn.Upsample((4, 4)), "interpolate of the layer layer .*dynamic height or width"),
        (nn.LayerNorm((4, 8, 8)), "axis 2 .*the layer layer raises: .*normalized_shape"),
        (Function(lambda x: F.reshape(x, (x.shape[0], 4, 8, 8))), "axis 2 .*layer layer raises"),
        (Function(eight_rows), "axis 2 .*with the size 16 .*layer raises: eight rows"),
        (nn.Conv2d(4, 4, 3, 2, "same", 2), "conv2d of the layer layer .*stride and a dilation"),
        (Function(lambda x: F.reshape(x, (-1, x.shape[2] // 2))), "reshape of the layer layer"),
        (Function(lambda x: x * (1 / x.shape[2])), "the layer layer uses different .*constants"),
        (Function(lambda x: x if x.shape[2] < 9 else x + x), "different operators"),
        (Function(lambda x: F.layer_norm(x, x.shape[2:])), "its normalized_shape depends on"),
        (Function(lambda x: F.conv2d(x, x[:1])), "its kernel_size depends on"),
        (Function(lambda x: x[:, :, : x.shape[2] // 3]), "slice of the layer layer .*a size, 2"),
        (Function(lambda x: F.concat(F.split(x, 4, 2), 1)), "different operators"),
    ],
)
def test_what_cannot_be_dynamic_is_named(layer, message, tmp_path):
    module, path = Closed(layer), tmp_path / "a.onnx"
    with pytest.raises(ValueError, match=message):
        fastconv.onnx.export(module, path, (1, 3, 8, 8), dynamic_axes=OPEN)
    assert not path.exists()
    fastconv.onnx.export(module, path, (1, 3, 8, 8))
    compare(path, module, *(random((batch, 3, 8, 8)) for batch in (1, 2, 3)))


def test_networks_that_take_multiples_only(tmp_path):
    def halve_and_double(x):
        return F.interpolate(F.max_pool2d(x, 2), scale_factor=2) + x

    module, path = Function(halve_and_double), tmp_path / "a.onnx"
    fastconv.onnx.export(module, path, (1, 3, 8, 8), dynamic_axes=OPEN)
    compare(path, module, random((2, 3, 14, 6)))


ROUNDINGS = {
    "down, up": lambda x: F.avg_pool2d(x, 32, 32, ceil_mode=True),
    "down, by an offset": lambda x: F.avg_pool2d(F.pad(x, (0, 8, 0, 8)), 32),
    "down, from the middle": lambda x: F.avg_pool2d(x, 8, 8, 2)[:, :, ::4, ::4],
    "by steps": lambda x: x[:, :, 3::16, 3::16],
}


@pytest.mark.parametrize("name", ROUNDINGS)
def test_sizes_that_are_rounded_differently(name, tmp_path):
    def forward(x):
        size = F.max_pool2d(x, 32).shape[2:]
        return F.interpolate(ROUNDINGS[name](x), size, mode="bilinear")

    module, path = Function(forward), tmp_path / "a.onnx"
    fastconv.onnx.export(module, path, (1, 2, 64, 64), dynamic_axes=OPEN)
    sizes = ((64, 64), (67, 68), (72, 79), (88, 92), (95, 96), (97, 120))
    compare(path, module, *(random((1, 2, *size)) for size in sizes))


def test_the_rounding_that_was_reported(tmp_path):
    def forward(x):
        size = F.max_pool2d(x, 8).shape[2:]
        return F.interpolate(F.avg_pool2d(x, 8, 8, 2), size, mode="bilinear")

    module, path = Function(forward), tmp_path / "a.onnx"
    fastconv.onnx.export(module, path, (1, 2, 224, 224), dynamic_axes=OPEN)
    compare(path, module, *(random((1, 2, size, 224)) for size in (224, 228, 231)))


# ---- The batch -----------------------------------------------------------------------------------


def test_the_batch_is_open_by_default(tmp_path):
    path = tmp_path / "a.onnx"
    fastconv.onnx.export(nn.Conv2d(3, 4, 3), path, (1, 3, 8, 8))
    assert dims(path, "input") == ["batch", 3, 8, 8]
    assert dims(path, "output") == ["batch", 4, 6, 6]
    fastconv.onnx.export(nn.Conv2d(3, 4, 3), path, (1, 3, 8, 8), dynamic_axes={})
    assert dims(path, "input") == [1, 3, 8, 8]
    assert dims(path, "output") == [1, 4, 6, 6]
    fastconv.onnx.export(nn.Linear(3, 4), path, (3,))
    assert dims(path, "input") == [3]


def test_a_batch_that_forward_fixes(tmp_path):
    path = tmp_path / "a.onnx"
    joined = Function(lambda x: F.reshape(x, (1, -1)))
    fastconv.onnx.export(joined, path, (1, 2, 3))
    assert dims(path, "output") == [1, None]
    compare(path, joined, random((4, 2, 3)))
    fixed = nn.Sequential(joined, nn.Linear(6, 2))
    with pytest.raises(ValueError, match=r"axis 0 .*the layer 1 raises: .*dynamic_axes \(\{\}"):
        fastconv.onnx.export(fixed, path, (1, 2, 3))
    fastconv.onnx.export(fixed, path, (1, 2, 3), dynamic_axes={})
    compare(path, fixed, random((1, 2, 3)))
    constant = Function(lambda x: F.concat([x, np.ones((2, 1), np.float32)], 1))
    with pytest.raises(ValueError, match="axis 0 of 'x' cannot be dynamic"):
        fastconv.onnx.export(constant, path, (2, 3))


@pytest.mark.parametrize("step", [4, 8, 16, 32])
def test_forward_that_changes_at_a_batch_size(step, tmp_path):
    changing = Function(lambda x: F.relu(x) if x.shape[0] < 1 + step else x * 2)
    with pytest.raises(ValueError, match=rf"different operators .*\(1, 3\) .*\({1 + step}, 3\)"):
        fastconv.onnx.export(changing, tmp_path / "a.onnx", (1, 3))


def at_most_eight(x):
    assert x.shape[0] <= 8, "too many"
    return x


def test_networks_that_take_some_batch_sizes_only(tmp_path):
    module, path = Function(at_most_eight), tmp_path / "a.onnx"
    fastconv.onnx.export(module, path, (1, 3))
    compare(path, module, random((8, 3)))


def test_the_peers_of_the_benchmark_get_fixed_sizes(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from fastconv.benchmark.cases import LayerCase

    from bench.peers.onnx_layer import export_layer
    from bench.suites import models

    (case,) = models.cases(["lenet5"], [1])
    models.prepare(case, tmp_path)
    assert dims(tmp_path / "model.onnx", "input") == [1, 1, 32, 32]
    np.save(tmp_path / "weight.npy", np.zeros((4, 3, 1, 1), np.float32))
    np.save(tmp_path / "bias.npy", np.zeros(4, np.float32))
    export_layer(LayerCase(3, 8, 8, 4, (1, 1)), tmp_path)
    assert dims(tmp_path / "layer.onnx", "input") == [1, 3, 8, 8]


# ---- The argument --------------------------------------------------------------------------------


def test_names_of_axes(tmp_path):
    path, pool = tmp_path / "a.onnx", nn.MaxPool2d(2)
    fastconv.onnx.export(
        pool, path, (1, 3, 8, 8), dynamic_axes={"x": {0: "n", -1: "w"}, "y": {3: "half"}}
    )
    assert (dims(path, "input"), dims(path, "output")) == (["n", 3, 8, "w"], ["n", 3, 4, "half"])
    fastconv.onnx.export(pool, path, (1, 3, 8, 8), dynamic_axes={"x": [0, 2]})
    names = ["x_dynamic_axes_1", 3, "x_dynamic_axes_2", 8]
    assert dims(path, "input") == names
    assert dims(path, "output") == [*names[:2], None, 4]
    square = {"x": {2: "side", 3: "side"}}
    fastconv.onnx.export(nn.ChannelShuffle(3), path, (1, 3, 8, 8), dynamic_axes=square)
    assert dims(path, "output") == [1, 3, "side", "side"]
    compare(path, nn.ChannelShuffle(3), random((1, 3, 5, 5)))


@pytest.mark.parametrize(
    ("dynamic_axes", "error", "message"),
    [
        ([0], TypeError, "dynamic_axes must be a mapping such as .*got list"),
        ({"input": {0: "n"}}, ValueError, "names 'input', which is neither"),
        ({"x": 0}, TypeError, r"dynamic_axes\['x'\] must be a mapping"),
        ({"x": "n"}, TypeError, r"dynamic_axes\['x'\] must be a mapping"),
        ({"x": {4: "n"}}, ValueError, r"an axis of dynamic_axes\['x'\] = 4 is out of range"),
        ({"x": {"n": 0}}, TypeError, r"an axis of dynamic_axes\['x'\] must be an integer"),
        ({"x": ["n"]}, TypeError, r"an axis of dynamic_axes\['x'\] must be an integer, got str"),
        ({"x": {0: ""}}, TypeError, "must give axis 0 a name"),
        ({"x": {0: 1}}, TypeError, "must give axis 0 a name"),
        ({"x": [0, -4]}, ValueError, "names axis 0 twice"),
        ({"x": {0: "n", 1: "n"}}, ValueError, r"axes of the sizes \[1, 3\] of 'x' 'n'"),
        ({"y": {0: "n"}}, ValueError, "axis 0 of 'y' 'n', but its size is always 1"),
        ({"x": {2: "h"}, "y": {2: "h"}}, ValueError, "axis 2 of 'y' 'h', as an axis of 'x'"),
        ({"x": {1: "c"}}, ValueError, "axis 1 of 'x' cannot be dynamic .*Conv2d raises"),
    ],
)
def test_bad_dynamic_axes(dynamic_axes, error, message, tmp_path):
    module = nn.Conv2d(3, 4, 3)
    with pytest.raises(error, match=message):
        fastconv.onnx.export(module, tmp_path / "a", (1, 3, 8, 8), dynamic_axes=dynamic_axes)
    assert not list(tmp_path.iterdir())
