"""Exported models give the same result in ONNX Runtime, at every batch size."""

import fastconv
import make_operators
import numpy as np
import onnx
import onnx.reference
import operator_facts
import pytest
from exported import Function, check, compare, random, run
from fastconv import _core, nn
from fastconv import ops as F
from fastconv.benchmark.random_weights import randomise
from fastconv.graph import Graph
from fastconv.onnx import _graph
from fastconv.onnx._dynamic import Call
from fastconv.ops._pointwise import INSTRUCTIONS

pytestmark = pytest.mark.oracle

QUICK = {
    *("lenet5", "mobilenet_v2", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "googlenet"),
    *("convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_lite0", "mnasnet0_5"),
    *("mobilenet_v3_small", "regnet_y_400mf"),
}
# Of more than 80 million parameters: model, files and sessions take gigabytes together.
LARGE = {
    *("convnext_base", "convnext_large", "efficientnet_v2_l", "regnet_x_32gf"),
    *("regnet_y_16gf", "regnet_y_32gf", "resnext101_32x8d", "resnext101_64x4d", "vgg11", "vgg13"),
    *("vgg11_bn", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "wide_resnet101_2"),
}
MARKS = {name: [pytest.mark.long, pytest.mark.xdist_group("large")] for name in LARGE}
ONE_SIZE = ("alexnet", "lenet5", "vgg")  # as they begin: their heads take maps of one size
OPEN = {"x": {0: "batch", 2: "height", 3: "width"}}


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=MARKS.get(name, pytest.mark.slow))
        for name in fastconv.list_models()
        if name != "regnet_y_128gf"  # 2.6 GB, several times: too much even for .ci/long
    ],
)
def test_every_model(name, tmp_path):
    with nn.init.skip():
        model = fastconv.create_model(name)
    size = 128 if name == "inception_v3" else 96  # where the last maps have more than one pixel
    channels, path = model.default_cfg["input_size"][0], tmp_path / "a.onnx"
    x = random((8, channels, size, size))
    randomise(model, x)
    fastconv.onnx.export(model, path, (1, *x.shape[1:]))
    compare(path, model, x[:1], x[:2], x[:3], tolerance=1e-4)
    if name.startswith(ONE_SIZE):
        with pytest.raises(ValueError, match="dynamic"):
            fastconv.onnx.export(model, path, (1, *x.shape[1:]), dynamic_axes=OPEN)
        return
    fastconv.onnx.export(model, path, (1, *x.shape[1:]), dynamic_axes=OPEN)
    other = random((1, channels, size + 37, size + 16))
    compare(path, model, x[:2], other, tolerance=1e-4)


W = np.random.default_rng(1).standard_normal((6, 2, 3, 3), np.float32)
V = np.random.default_rng(2).uniform(0.5, 1.5, (4, 6)).astype(np.float32)

OPERATORS = {
    "conv2d": lambda x: F.conv2d(x, W, V[0], 2, ((1, 2), (0, 1)), 1, 3, activation="silu"),
    "conv2d same": lambda x: F.conv2d(x, W, None, 2, "same", groups=3, activation="gelu"),
    "conv2d valid": lambda x: F.conv2d(x, W, None, 1, "valid", 2, 3, activation="gelu_tanh"),
    "conv2d residual": lambda x: F.conv2d(x, W, None, 1, 1, 1, 3, residual=x, activation="relu6"),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, W, None, 2, 1, 1, 1, activation="tanh"),
    "linear": lambda x: F.linear(x[:, :, :, :6], V, activation="sigmoid"),
    "linear 2d": lambda x: F.linear(x[:, :, 0, 0], V, V[:, 0], activation="hardswish"),
    "batch_norm": lambda x: F.batch_norm(x, V[0], V[1], None, V[2], activation="hardsigmoid"),
    "layer_norm": lambda x: F.layer_norm(x, (8,)),
    "group_norm": lambda x: F.group_norm(x, 3, V[0], V[1]),
    "pointwise": lambda x: F.elu(F.prelu(x, V[0]), 0.5),
    "local_response_norm": lambda x: F.local_response_norm(x, 3, alpha=0.5),
    "local_response_norm even": lambda x: F.local_response_norm(x, 4, alpha=0.5),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "add, multiply": lambda x: x * x + 0.5,
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max_pool2d dilation": lambda x: F.max_pool2d(x, 2, 2, 0, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "avg_pool2d not padded": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "mean": lambda x: F.mean(x, (2, 3), True),
    "sum": lambda x: F.sum(x, (1, 3)),
    "prod": lambda x: F.prod(x, 2, True),
    "max": lambda x: F.max(x, (-1, 0)),
    "min": lambda x: F.min(x),
    "argmax": lambda x: F.argmax(x, 1),
    "argmin": lambda x: F.argmin(x, -1, True),
    "norm": lambda x: F.norm(x, 1, (2, 3)),
    "cumsum": lambda x: F.cumsum(x, 1, exclusive=True, reverse=True),
    "reshape, permute": lambda x: F.permute(F.reshape(x, (2, 3, -1)), (0, 2, 1)),
    "slice": lambda x: x[:, 1:5:2, ::-1, -3:],
    "concat": lambda x: F.concat([x[:, :1], x], 1),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), value=0.5),
    "pad reflect": lambda x: F.pad(x, (1, 2, 0, 1), "reflect"),
    "pad replicate": lambda x: F.pad(x, (1, 2, 0, 1), "replicate"),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "interpolate": lambda x: F.interpolate(x, (11, 5)),
    "grid_sample": lambda x: F.grid_sample(x, F.tanh(x[:, :4, :5, :2]), "bilinear", "border"),
    "interpolate area": lambda x: F.interpolate(x, (11, 5), mode="area"),
    "interpolate antialias": lambda x: F.interpolate(x, (3, 19), mode="bicubic", antialias=True),
    "interpolate scale": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "interpolate corners": lambda x: F.interpolate(x, (9, 4), mode="bilinear", align_corners=True),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 3),
    "pixel_shuffle": lambda x: F.pixel_shuffle(F.concat([x, x[:, :2]], 1), 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[:, :, 1:], 2),
    "take": lambda x: F.take(x, [[5, 0], [-1, 5]], 1),
    "tile": lambda x: F.tile(x, (1, 3, 1, 2)),
    "scatter_add": lambda x: F.scatter_add(x, [5, 0, 5], x[:, :3], 1),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator(name, tmp_path):
    check(Function(OPERATORS[name]), random((2, 6, 7, 8)), tmp_path, other_batches=False)


def test_operators_are_all_there():
    tested = {part for name in OPERATORS for part in name.replace(",", "").split()}
    elsewhere = {*INSTRUCTIONS, "matmul"}  # in test_onnx_layers_oracle.py
    assert _graph._BUILDERS.keys() - tested - elsewhere <= {"activation"}


# ---- What the documents say ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", list(make_operators.rows()), ids=lambda row: f"{row.op} {row.function}"
)
def test_nodes_are_those_of_the_table(row):
    """Of docs/operators.md, which is written without the package onnx."""
    named = operator_facts.onnx_nodes(row.op, row.sample)
    native = _core.Graph()
    native.set_outputs([operator_facts.add_sample(native, row.op, row.sample)])
    recorded = Graph(native)
    (y,) = recorded.outputs
    if row.op not in _graph._BUILDERS:
        assert named == []
        assert not y.inputs or row.op == "scale_shift"  # which forward does not record
        return
    graph = _graph.Graph(recorded, (), ())
    graph.add(Call([y]))
    model = graph.model(y, recorded.inputs[0].shape, y.shape)
    onnx.checker.check_model(model, full_check=True)
    *kinds, end = (node.op_type for node in model.graph.node)
    assert list(dict.fromkeys(kinds)) == named
    assert end == "Identity"


# ---- What is written -----------------------------------------------------------------------------


def test_weights_have_the_names_of_the_state_dict(tmp_path):
    model = fastconv.create_model("lenet5", dtype="float64")
    fastconv.onnx.export(model, tmp_path / "a.onnx", (1, 1, 32, 32))
    exported = onnx.load(tmp_path / "a.onnx")
    assert {t.name for t in exported.graph.initializer} >= model.state_dict().keys()
    assert [(v.name, len(v.type.tensor_type.shape.dim)) for v in exported.graph.input] == [("x", 4)]
    assert [v.name for v in exported.graph.output] == ["y"]
    names = [node.name for node in exported.graph.node]
    assert len(set(names)) == len(names)
    assert any(name.startswith("conv1/Conv") for name in names)


class Names(nn.Module):
    """Parameters called as the values of an exported graph are."""

    def __init__(self):
        self.x, self.y, self.v0, self.c1 = (np.full(3, i + 1, np.float32) for i in range(4))

    def forward(self, x):
        return (x * 2 + self.x) * self.y + self.v0 * x + self.c1


def test_names_of_weights_that_are_taken(tmp_path):
    check(Names(), random((1, 3)), tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_padding_that_is_no_number(value, tmp_path):
    pad = Function(lambda x: F.pad(x, (1, 0), value=value))
    fastconv.onnx.export(pad, tmp_path / "a.onnx", (1, 3))
    np.testing.assert_array_equal(run(tmp_path / "a.onnx", random((2, 3)))[:, 0], value)


DOUBLE = {
    "lenet5": (lambda: fastconv.create_model("lenet5"), (2, 1, 32, 32)),
    "upsample": (lambda: nn.Upsample(scale_factor=1.4, mode="bilinear"), (2, 3, 7, 10)),
    "norms": (lambda: nn.Sequential(nn.LocalResponseNorm(4), nn.LayerNorm2d(3)), (2, 3, 4, 5)),
    "gelu": (lambda: nn.GELU(), (2, 3)),
}


@pytest.mark.parametrize("name", DOUBLE)
def test_float64(name, tmp_path):
    make, shape = DOUBLE[name]
    module, x = make(), random(shape, np.float64)
    module = nn.Sequential(module, Function(lambda x: x)).astype(np.float64)
    fastconv.onnx.export(module, tmp_path / "a.onnx", (1, *shape[1:]))
    # ONNX Runtime has no double precision for most operators.
    reference = onnx.reference.ReferenceEvaluator(str(tmp_path / "a.onnx"))
    (found,) = reference.run(None, {"x": x})
    expected = module.eager(x)
    assert found.dtype == expected.dtype == np.float64
    # ONNX has its attributes, such as eps, in float32.
    assert np.abs(found - expected).max() <= 2**-24 * np.abs(expected).max()


def test_weights_that_one_file_cannot_hold(tmp_path, monkeypatch):
    monkeypatch.setattr("fastconv.onnx._export._MAX_PROTOBUF", 1000)
    model, path = fastconv.create_model("lenet5"), tmp_path / "a.onnx"
    for _ in range(2):
        fastconv.onnx.export(model, path, (1, 1, 32, 32))
        assert sorted(file.name for file in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data"]
    assert (tmp_path / "a.onnx.data").stat().st_size > path.stat().st_size
    compare(path, model, random((2, 1, 32, 32)))


# ---- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["onnx.save", "onnx.checker.check_model", "os.fsync"])
@pytest.mark.parametrize("limit", [1000, 2**31])
def test_a_failure_leaves_the_old_file(step, limit, tmp_path, monkeypatch):
    monkeypatch.setattr("fastconv.onnx._export._MAX_PROTOBUF", limit)
    fastconv.onnx.export(fastconv.create_model("lenet5"), tmp_path / "a.onnx", (1, 1, 32, 32))
    old = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, fail)
    with pytest.raises(OSError, match="No space"):
        fastconv.onnx.export(nn.Linear(100, 100), tmp_path / "a.onnx", (1, 100))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == old


def test_the_failure_that_was_reported(tmp_path):
    layer = nn.Sequential(nn.Upsample(scale_factor=1.4))
    fastconv.onnx.export(layer, tmp_path / "a.onnx", (1, 3, 10, 10))
    assert run(tmp_path / "a.onnx", random((1, 3, 10, 10))).shape == (1, 3, 14, 14)


class Pair(nn.Module):
    """Takes or returns two arrays."""

    def __init__(self, forward):
        self.forward = forward


def test_errors(tmp_path):
    path = tmp_path / "a.onnx"
    with pytest.raises(TypeError, match="Module, got str"):
        fastconv.onnx.export("lenet5", path, (1, 1, 32, 32))
    with pytest.raises(ValueError, match="input_shape"):
        fastconv.onnx.export(fastconv.create_model("lenet5"), path, (0,))
    with pytest.raises(TypeError, match=r"Pair.forward takes \(a, b\); only .* one input"):
        fastconv.onnx.export(Pair(lambda a, b: a + b), path, (1, 3))
    with pytest.raises(ValueError, match=r"Pair returns tuple; only .* one output"):
        fastconv.onnx.export(Pair(lambda a: (a, a)), path, (1, 3))
    with pytest.raises(ValueError, match=r"Pair returns dict; only .* one output"):
        fastconv.onnx.export(Pair(lambda a: {"y": a}), path, (1, 3))
    with pytest.raises(ValueError, match=r"input_shape has 2 inputs; only .* one input"):
        fastconv.onnx.export(Pair(lambda a, b=None: a), path, ((1, 3), (1, 3)))
    empty = Function(lambda x: F.reshape(x[:, :0], (-1, 5)))
    with pytest.raises(ValueError, match=r"reshape of the network .*no elements"):
        fastconv.onnx.export(empty, path, (1, 3))
    for module, shape in ((nn.Conv2d(3, 4, 3), (3, 8, 8)), (nn.Conv1d(3, 4, 3), (3, 8))):
        message = rf"{len(shape) + 1} dimensions .* got \(3, 8.*: pass \(1, 3, 8"
        with pytest.raises(ValueError, match=message):
            fastconv.onnx.export(module, path, shape, dynamic_axes={})
    with pytest.raises(ValueError, match="path must end in the name of a file, got ''"):
        fastconv.onnx.export(nn.ReLU(), "", (1, 3))
    with pytest.raises(IsADirectoryError):
        fastconv.onnx.export(nn.ReLU(), tmp_path, (1, 3))
    with pytest.raises(FileNotFoundError):
        fastconv.onnx.export(nn.ReLU(), tmp_path / "none" / "a.onnx", (1, 3))
    assert not list(tmp_path.iterdir())
