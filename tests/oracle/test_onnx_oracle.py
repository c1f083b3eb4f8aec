"""Exported models give the same result in ONNX Runtime."""

import fastconv
import numpy as np
import onnxruntime
import pytest
from fastconv import nn
from fastconv import ops as F
from fastconv.benchmark.random_weights import randomise

pytestmark = pytest.mark.oracle

QUICK = ["lenet5", "mobilenet_v2", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1"]


def run(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def check(module, x, folder, tolerance=1e-5):
    path = folder / "model.onnx"
    fastconv.onnx.export(module, path, x.shape)
    expected = module.eager(x)
    found = run(path, x)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in fastconv.list_models()
    ],
)
def test_every_model(name, tmp_path):
    with nn.init.skip():
        model = fastconv.create_model(name)
    size = 128 if name == "inception_v3" else 96  # where the last maps have more than one pixel
    shape = (8, model.default_cfg["input_size"][0], size, size)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    randomise(model, x)
    check(model, x[:2], tmp_path, tolerance=1e-4)


class Function(nn.Module):
    """A function of `fastconv.ops` as a module."""

    def __init__(self, function):
        self._function = function
        self.weight = np.zeros(1, np.float32)

    def forward(self, x):
        return self._function(x)


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
    "local_response_norm": lambda x: F.local_response_norm(x, 3, alpha=0.5),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "add, multiply": lambda x: x * x + 0.5,
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max_pool2d dilation": lambda x: F.max_pool2d(x, 2, 2, 0, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "avg_pool2d not padded": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "mean": lambda x: F.mean(x, (2, 3), True),
    "reshape, permute": lambda x: F.permute(F.reshape(x, (2, 3, -1)), (0, 2, 1)),
    "slice": lambda x: x[:, 1:5:2, ::-1, -3:],
    "concat": lambda x: F.concat([x[:, :1], x], 1),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), value=0.5),
    "pad reflect": lambda x: F.pad(x, (1, 2, 0, 1), "reflect"),
    "pad replicate": lambda x: F.pad(x, (1, 2, 0, 1), "replicate"),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "interpolate": lambda x: F.interpolate(x, (11, 5)),
    "interpolate scale": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "interpolate corners": lambda x: F.interpolate(x, (9, 4), mode="bilinear", align_corners=True),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 3),
    "pixel_shuffle": lambda x: F.pixel_shuffle(F.concat([x, x[:, :2]], 1), 2),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator(name, tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 6, 7, 8), np.float32)
    check(Function(OPERATORS[name]), x, tmp_path)


def test_operators_are_all_there():
    from fastconv.onnx._graph import _BUILDERS

    tested = {part for name in OPERATORS for part in name.replace(",", "").split()}
    assert _BUILDERS.keys() - tested <= {"activation"}


def test_weights_have_the_names_of_the_state_dict(tmp_path):
    import onnx

    model = fastconv.create_model("lenet5", dtype="float64")
    fastconv.onnx.export(model, tmp_path / "a.onnx", (1, 32, 32))
    exported = onnx.load(tmp_path / "a.onnx")
    assert {t.name for t in exported.graph.initializer} >= model.state_dict().keys()
    assert [(v.name, len(v.type.tensor_type.shape.dim)) for v in exported.graph.input] == [("x", 4)]


def test_errors(tmp_path):
    with pytest.raises(TypeError, match="Module, got str"):
        fastconv.onnx.export("lenet5", tmp_path / "a.onnx", (1, 1, 32, 32))
    even = Function(lambda x: F.local_response_norm(x, 4))
    with pytest.raises(ValueError, match="size=4 cannot be exported"):
        fastconv.onnx.export(even, tmp_path / "a.onnx", (1, 6, 7, 8))
    with pytest.raises(ValueError, match="input_shape"):
        fastconv.onnx.export(fastconv.create_model("lenet5"), tmp_path / "a.onnx", (0,))
