"""Convolutions and linear layers whose weights or biases are values of the network."""

from __future__ import annotations

from typing import Any

import fastconv as fc
import numpy as np
import pytest
from fastconv import _core, nn

EPS = float(np.finfo(np.float32).eps)


@pytest.fixture(autouse=True)
def _poisoned_arenas() -> Any:
    """Every run starts with NaN in its arena, so that reading what nobody wrote shows."""
    _core.set_poison_arenas(True)
    yield
    _core.set_poison_arenas(False)


class Apply(nn.Module):
    def __init__(self, function: Any) -> None:
        self._function = function

    def forward(self, *args: Any) -> Any:
        return self._function(*args)


def draw(*shape: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def check(function: Any, *arrays: np.ndarray, accuracy: str = "fast") -> Any:
    """Compare networks whose inputs are all `arrays` with eager calls, and return their steps."""
    module = Apply(function)
    precision = f"fp{8 * arrays[0].itemsize}"
    network = module.compile([a.shape for a in arrays], precision=precision, accuracy=accuracy)
    y, expected = network(*arrays), module.eager(*arrays)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    reach = abs(expected).max(initial=0)
    # Both are within the bound of docs/accuracy.md; values reach a third of those of |x| * |w|.
    limit = 2 * 1e-5 * 3 * max(1, reach) if expected.dtype == np.float32 else 1e-12 * max(1, reach)
    np.testing.assert_allclose(y, expected, 0, limit)
    return network.explain()


CONVS = {
    "3x3": ((2, 16, 20, 20), (24, 16, 3, 3), {"padding": 1}),
    "3x3 of few channels": ((1, 3, 20, 20), (5, 3, 3, 3), {"padding": 1, "stride": 2}),
    "1x1": ((2, 20, 9, 9), (33, 20, 1, 1), {}),
    "5x5": ((1, 8, 12, 12), (16, 8, 5, 5), {"padding": "same", "dilation": 2}),
    "depthwise": ((2, 20, 12, 12), (20, 1, 3, 3), {"padding": 1, "groups": 20}),
    "grouped": ((2, 12, 12, 12), (15, 4, 3, 3), {"groups": 3}),
    "one pixel": ((3, 40, 1, 1), (17, 40, 1, 1), {}),
}


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("accuracy", ["fast", "exact"])
def test_convolutions(name: str, accuracy: str, dtype: Any) -> None:
    x, weight, options = CONVS[name]
    arrays = [draw(*shape, dtype=dtype) for shape in (x, weight, (weight[0],))]
    (step,) = check(
        lambda x, w, b: fc.conv2d(x, w, b, **options, activation="relu"), *arrays, accuracy=accuracy
    )
    assert step["op"] == "conv2d+relu"
    assert step["macs"] > 0
    if accuracy == "exact":
        assert "winograd" not in step["algorithm"]
    check(lambda x, w: fc.conv2d(x, w, arrays[2], **options), *arrays[:2])
    check(lambda x, b: fc.conv2d(x, arrays[1], b, **options), arrays[0], arrays[2])
    check(lambda w: fc.conv2d(arrays[0], w, **options), arrays[1])


def test_integers_are_exact(rng: np.random.Generator) -> None:
    x, w = rng.integers(-4, 5, (2, 20, 9, 9)), rng.integers(-4, 5, (33, 20, 3, 3))
    x, w = x.astype(np.float32), w.astype(np.float32)
    network = Apply(lambda x, w: fc.conv2d(x, w, padding=1)).compile(
        [x.shape, w.shape], accuracy="exact"
    )
    np.testing.assert_array_equal(network(x, w), fc.conv2d(x, w, padding=1, algorithm="reference"))


def test_one_dimension() -> None:
    x, w, b, r = draw(2, 6, 30), draw(8, 6, 3), draw(8), draw(2, 8, 30)
    check(lambda x, w, b: fc.conv1d(x, w, b, padding=1, residual=r), x, w, b)
    check(lambda w: fc.conv1d(x[0], w, padding=1), w)
    with pytest.raises(ValueError, match=r"weight must have shape \(O, C / groups, K\)"):
        Apply(lambda x: fc.conv1d(x, x[0])).graph(x.shape)


@pytest.mark.parametrize("shape", [(40,), (7, 40), (2, 5, 40), (2, 3, 4, 40), (2, 1, 2, 3, 40)])
def test_linear_layers(shape: Any, dtype: Any) -> None:
    x, w, b = (draw(*s, dtype=dtype) for s in (shape, (17, 40), (17,)))
    steps = check(lambda x, w, b: fc.linear(x, w, b, activation="gelu"), x, w, b)
    assert sum(step["macs"] for step in steps) == x.size * 17
    check(lambda x, w: fc.linear(x, w, residual=fc.linear(x, w)), x, w)
    check(lambda w: fc.linear(x, w), w)
    check(lambda x, b: fc.linear(x, w, b), x, b)


def test_weights_that_a_convolution_made_lie_in_blocks() -> None:
    x, kernel = draw(4, 6, 7, 7), draw(20, 6, 3, 3)

    def forward(x: Any) -> Any:
        y = fc.conv2d(x, kernel, padding=1)  # (4, 20, 7, 7), in blocks
        w = y[:3, :, :5, :5]
        return fc.conv2d(y, w, y[0, :3, 0, 0], padding=2)

    check(forward, x)


def test_a_residual_that_is_the_weight_is_not_overwritten_too_early() -> None:
    x = draw(4, 4, 3, 3)

    def conv(x: Any) -> Any:
        w = fc.tanh(x)
        return fc.conv2d(x, w, padding=1, residual=w) * 2

    def later(x: Any) -> Any:
        w = fc.tanh(x)
        return fc.relu(fc.conv2d(x, w, padding=1) + w) * 2

    def linear(x: Any) -> Any:
        w = fc.tanh(x)
        return fc.linear(x, w, residual=w) * 2

    check(conv, x)
    check(later, x)
    check(linear, draw(9, 9))


def test_passes_leave_values_alone() -> None:
    x, w, b = draw(2, 16, 12, 12), draw(16, 16, 1, 1), draw(16)
    mean, var = draw(16), abs(draw(16)) + 0.5

    steps = check(lambda x, w: fc.batch_norm(fc.conv2d(x, w), mean, var), x, w)
    assert "scale_shift" in [step["op"] for step in steps]  # the weights are not there yet
    steps = check(lambda x, b: fc.batch_norm(fc.conv2d(x, w, b), mean, var), x, b)
    assert "scale_shift" in [step["op"] for step in steps]
    check(lambda x, b: fc.linear(x, w[..., 0, 0], b) * mean + 2, draw(3, 16), b)
    check(lambda x, w: fc.conv2d(fc.pad(x, (1, 1, 1, 1)), w), x, draw(8, 16, 3, 3))
    check(lambda x, w: fc.avg_pool2d(fc.conv2d(x, w), 2), x, w)
    steps = check(lambda x, w: fc.relu(fc.conv2d(x, w) + x), x, w)
    assert [step["op"] for step in steps] == ["conv2d+add+relu"]

    def channels_last(x: Any, w: Any, b: Any) -> Any:
        y = fc.linear(fc.permute(x, (0, 2, 3, 1)), fc.permute(w, (1, 0)), b)
        return fc.permute(fc.layer_norm(fc.gelu(y), 16), (0, 3, 1, 2))

    check(channels_last, x, w[..., 0, 0], b)


def test_a_depthwise_convolution_of_values_does_not_join_the_one_before() -> None:
    x, pointwise = draw(1, 16, 96, 96), draw(48, 16, 1, 1)
    depthwise = draw(48, 1, 3, 3)

    def forward(x: Any, w: Any) -> Any:
        x = fc.conv2d(x, draw(16, 16, 1, 1))
        y = fc.conv2d(fc.conv2d(x, pointwise), w, padding=1, groups=48)
        return fc.conv2d(y, draw(8, 48, 1, 1))

    check(forward, x, depthwise)


def test_other_batches_and_sizes() -> None:
    kernel = draw(6, 6, 3, 3)
    module = Apply(lambda x: fc.conv2d(x, kernel * fc.sigmoid(x[:1].mean((2, 3)))[..., None, None]))
    for shape in ((2, 6, 9, 9), (5, 6, 9, 9), (2, 6, 14, 8), (2, 6, 9, 9)):
        x = draw(*shape)
        expected = module.eager(x)
        np.testing.assert_allclose(module(x), expected, 0, 6e-5 * abs(expected).max())


def test_threads_and_copies() -> None:
    import pickle

    x, w = draw(2, 32, 28, 28), draw(32, 32, 3, 3)
    network = Apply(_scaled).compile([x.shape, w.shape])
    expected = network(x, w)
    for threads in (1, 2, 3):
        with fc.num_threads(threads):
            np.testing.assert_array_equal(network(x, w), expected)
    again = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(again(x, w), expected)
    tuned = Apply(_scaled).compile([x.shape, w.shape], autotune=True)
    np.testing.assert_allclose(tuned(x, w), expected, 0, 6e-5 * abs(expected).max())


def _scaled(x: Any, w: Any) -> Any:
    return fc.conv2d(x, w * 0.5, padding=1)


def test_max_workspace_is_kept() -> None:
    x, w = draw(1, 32, 56, 56), draw(32, 32, 3, 3)
    module = Apply(lambda x, w: fc.conv2d(x, w, padding=1))
    needed = {a.name: a.workspace_bytes for a in fc.algorithms(x.shape, w.shape, padding=1)}
    most = sorted(needed.values())[1] + 50_000  # the reference needs none
    network = module.compile([x.shape, w.shape], max_workspace=most)
    assert max(step["workspace"] for step in network.explain()) <= most < max(needed.values())
    expected = module.eager(x, w)
    np.testing.assert_allclose(network(x, w), expected, 0, 6e-5 * abs(expected).max())


def test_errors() -> None:
    images, rows = (4, 3, 8, 8), (4, 3, 8)
    for function, shape, message in (
        (lambda x: fc.conv2d(x, x[:, :2, :3, :3]), images, "weight has 2 input channels but x has"),
        (lambda x: fc.conv2d(x, x[0]), images, "weight must have 4 dimensions"),
        (lambda x: fc.conv2d(x, x[:, :, :3, :3], x[0, 0, 0]), images, "bias must have shape"),
        (lambda x: fc.linear(x, x[0, :, :5]), rows, "weight has 5 input features but x has"),
        (lambda x: fc.linear(x, x), rows, "weight must have shape"),
        (lambda x: fc.linear(x, x[0], x[0, 0]), rows, "bias must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            Apply(function).graph(shape)
    x = draw(2, 3, 8, 8)
    for op, function in (
        ("conv_transpose2d", lambda x: fc.conv_transpose2d(x, x[:, :, :2, :2][0][:, None])),
        ("batch_norm", lambda x: fc.batch_norm(x, x[0, :, 0, 0], draw(3))),
    ):
        message = f"^{op}: .* must be an array, not a symbolic value"
        with pytest.raises(ValueError, match=message):
            Apply(function).graph(x.shape)


@pytest.mark.cuda
def test_not_on_cuda() -> None:
    x, w = draw(1, 3, 8, 8), draw(4, 3, 3, 3)
    message = "weight and bias must be arrays on CUDA devices"
    with pytest.raises(ValueError, match=message):
        Apply(lambda x: fc.conv2d(x, x[:, :, :3, :3])).compile(x.shape, device="cuda")
    with pytest.raises(ValueError, match=message):
        Apply(lambda x: fc.conv2d(x, w, x[0, 0, 0, :4])).compile(x.shape, device="cuda")
    with pytest.raises(ValueError, match=message):
        Apply(lambda x: fc.linear(x, x)).compile((4, 4), device="cuda")


@pytest.mark.parametrize("which", ["weight", "bias"])
def test_prelu_after_a_convolution_with_such_weights(which):
    slopes = np.linspace(-1, 1, 20, dtype=np.float32)

    class Network(nn.Module):
        def forward(self, x):
            value = fc.sum(x, (0, 2, 3))
            if which == "weight":
                y = fc.conv2d(x, fc.reshape(value, (20, 1, 1, 1)), groups=20)
            else:
                y = fc.conv2d(x, slopes[:, None, None, None], value, groups=20)
            return fc.prelu(y, slopes)

    x = np.random.default_rng(0).standard_normal((1, 20, 5, 4)).astype(np.float32)
    module = Network()
    np.testing.assert_allclose(module(x), module.eager(x), rtol=1e-5, atol=1e-5)
