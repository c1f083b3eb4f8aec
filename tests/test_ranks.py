"""Every operator on inputs of every rank: eagerly, compiled and inside a module it is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastconv as fc
import numpy as np
import pytest
from fastconv import nn

C = 4  # also the batch size and the sides, so that a wrong axis is not noticed by its size
RNG = np.random.default_rng(3)
WEIGHT = RNG.normal(size=(C, C, 3, 3)).astype(np.float32)
POINTWISE = WEIGHT[:, :, :1, :1]
VECTORS = RNG.uniform(0.5, 1.5, (4, C)).astype(np.float32)

OPS: dict[str, Callable[[Any], Any]] = {
    "conv2d": lambda x: fc.conv2d(x, WEIGHT, VECTORS[0], padding=1),
    "conv2d residual": lambda x: fc.conv2d(x, POINTWISE, residual=x, activation="relu"),
    "conv1d": lambda x: fc.conv1d(x, WEIGHT[..., 0], padding=1),
    "conv_transpose2d": lambda x: fc.conv_transpose2d(x, WEIGHT, stride=2),
    "depthwise_separable": lambda x: fc.depthwise_separable_conv2d(x, WEIGHT[:, :1], POINTWISE),
    "linear": lambda x: fc.linear(x, POINTWISE[..., 0, 0], VECTORS[0], residual=x),
    "linear values": lambda x: fc.linear(x, x, x[0]),
    "conv2d values": lambda x: fc.conv2d(WEIGHT, x, x[0, 0, 0], padding=1),
    "conv1d values": lambda x: fc.conv1d(WEIGHT[..., 0], x, x[0, 0], padding=1),
    "matmul": lambda x: fc.matmul(x, x),
    "matmul constant": lambda x: fc.matmul(VECTORS, x),
    "max_pool2d": lambda x: fc.max_pool2d(x, 2),
    "avg_pool2d": lambda x: fc.avg_pool2d(x, 3, 1, 1),
    "adaptive_avg_pool2d": lambda x: fc.adaptive_avg_pool2d(x, (3, None)),
    "adaptive_max_pool2d": lambda x: fc.adaptive_max_pool2d(x, 2),
    "empty adaptive pool": lambda x: fc.adaptive_avg_pool2d(x, (0, 2)),
    "global_avg_pool2d": fc.global_avg_pool2d,
    "lp_pool2d": lambda x: fc.lp_pool2d(x, 1, 2),
    "interpolate": lambda x: fc.interpolate(x, (7, 3)),
    "interpolate bicubic": lambda x: fc.interpolate(x, (5, 9), mode="bicubic", antialias=True),
    "interpolate area": lambda x: fc.interpolate(x, scale_factor=0.7, mode="area"),
    "interpolate bilinear": lambda x: fc.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "batch_norm": lambda x: fc.batch_norm(x, *VECTORS),
    "layer_norm": lambda x: fc.layer_norm(x, C, *VECTORS[:2]),
    "local_response_norm": lambda x: fc.local_response_norm(x, 3, alpha=0.5),
    "channel_shuffle": lambda x: fc.channel_shuffle(x, 2),
    "pixel_shuffle": lambda x: fc.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: fc.pixel_unshuffle(x, 2),
    "depth_to_space": lambda x: fc.depth_to_space(x, 2),
    "space_to_depth": lambda x: fc.space_to_depth(x, 2),
    "take": lambda x: fc.take(x, [[0, 3], [3, -1]], 1),
    "take flat": lambda x: fc.take(x, [0, -1]),
    "scatter_add": lambda x: fc.scatter_add(x, [3, 0, 3, -1], x),
    "scatter_add 1": lambda x: fc.scatter_add(x, [3, 0, 3, -1], x, 1),
    "expand": lambda x: fc.expand(x, (2, -1, 4)),
    "tile": lambda x: fc.tile(x, (2, 3)),
    "tile nothing": lambda x: fc.tile(x, ()),
    "stack": lambda x: fc.stack([x, x], 1),
    "squeeze": fc.squeeze,
    "unsqueeze": lambda x: fc.unsqueeze(x, 1),
    "flip": lambda x: fc.flip(x, 1),
    "flip all": fc.flip,
    "roll": lambda x: fc.roll(x, 3, 0),
    "roll all": lambda x: fc.roll(x, 3),
    "softmax": lambda x: fc.softmax(x, 0),
    "mean": lambda x: fc.mean(x, 0),
    "mean of all": fc.mean,
    "sum": lambda x: fc.sum(x, -1),
    "max of all": fc.max,
    "argmax": lambda x: fc.argmax(x, 0),
    "argmin of all": fc.argmin,
    "norm": lambda x: fc.norm(x, 1, 0),
    "cumsum": lambda x: fc.cumsum(x, -1),
    "cumsum of all": fc.cumsum,
    "flatten": lambda x: fc.flatten(x, 1),
    "flatten all": fc.flatten,
    "reshape": lambda x: fc.reshape(x, (2, -1)),
    "permute": lambda x: fc.permute(x, (1, 0)),
    "split": lambda x: fc.split(x, 3)[-1],
    "concat": lambda x: fc.concat([x, x], 1),
    "pad": lambda x: fc.pad(x, (1, 1, 2, 0), "reflect"),
    "add": lambda x: fc.add(x, VECTORS[0]),
    "relu": fc.relu,
    "BatchNorm2d": nn.BatchNorm2d(C),
    "LayerNorm2d": nn.LayerNorm2d(C),
    "LocalResponseNorm": nn.LocalResponseNorm(3),
    "ChannelShuffle": nn.ChannelShuffle(2),
    "Conv2d": nn.Conv2d(C, 2, 3),
    "Conv1d": nn.Conv1d(C, 2, 3),
    "MaxPool2d": nn.MaxPool2d(2),
}
UNBATCHED = {
    *("conv2d", "conv2d residual", "conv_transpose2d", "depthwise_separable", "max_pool2d"),
    *("avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "empty adaptive pool"),
    *("global_avg_pool2d", "interpolate", "interpolate bilinear", "interpolate bicubic"),
    *("interpolate area", "local_response_norm", "lp_pool2d"),
    *("pixel_unshuffle", "depth_to_space", "space_to_depth"),
    *("channel_shuffle", "pixel_shuffle", "BatchNorm2d", "LocalResponseNorm", "ChannelShuffle"),
    *("Conv2d", "MaxPool2d"),
}


class Apply(nn.Module):
    """A function as a module that takes inputs of any rank as they are."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def draw(rank: int) -> np.ndarray:
    return np.random.default_rng(rank).normal(size=(C,) * rank).astype(np.float32)


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (TypeError, ValueError, IndexError) as error:
        return error


@pytest.mark.parametrize("rank", range(6))
@pytest.mark.parametrize("name", OPS)
def test_eager_and_compiled_read_axes_alike(name: str, rank: int) -> None:
    module, x = Apply(OPS[name]), draw(rank)
    eager = outcome(lambda: module.eager(x))
    calls = [lambda: module(x)]
    if rank > 0:  # compile() takes no empty shape
        calls.append(lambda: module.compile(x.shape)(x))
    for compiled in map(outcome, calls):
        if isinstance(eager, Exception):
            assert isinstance(compiled, Exception), compiled
        else:
            assert compiled.shape == eager.shape
            np.testing.assert_allclose(compiled, eager, 1e-5, 1e-5)


EMPTY = [(0, 4, 4, 4), (2, 0, 4, 4), (2, 4, 0, 4), (2, 4, 4, 0), (0, 4, 4), (4, 0, 4), (0, 4)]
EMPTY += [(4, 0), (0,), (0, 0, 0, 0)]


@pytest.mark.filterwarnings("ignore:.*empty.*:RuntimeWarning")
@pytest.mark.parametrize("name", OPS)
def test_eager_and_compiled_take_the_same_empty_arrays(name: str) -> None:
    module = Apply(OPS[name])
    for shape in EMPTY:
        x = np.zeros(shape, np.float32)
        eager = outcome(lambda x=x: module.eager(x))
        compiled = outcome(lambda x=x: module.compile(x.shape)(x))
        if isinstance(eager, Exception) or isinstance(compiled, Exception):
            assert isinstance(eager, Exception) == isinstance(compiled, Exception), shape
        else:
            np.testing.assert_array_equal(compiled, eager)


@pytest.mark.parametrize("name", sorted(UNBATCHED))
def test_an_unbatched_image_is_a_batch_of_one(name: str) -> None:
    module, x = Apply(OPS[name]), draw(3)
    expected = module.eager(x[None])[0]
    for y in (module.eager(x), module(x), module.compile(x.shape)(x)):
        np.testing.assert_allclose(y, expected, 1e-5, 1e-5)
    with pytest.raises(ValueError):  # noqa: PT011
        module(draw(5))


def test_batch_norm_has_channels_on_axis_1() -> None:
    for rank in range(2, 6):
        x = draw(rank)
        mean, variance, weight, bias = (v.reshape(C, *(1,) * (rank - 2)) for v in VECTORS)
        expected = (x - mean) / np.sqrt(variance + 1e-5) * weight + bias
        module = Apply(OPS["batch_norm"])
        for y in (OPS["batch_norm"](x), module.eager(x), module(x)):
            np.testing.assert_allclose(y, expected, 1e-5, 1e-5)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_batch_norm_2d_is_for_images(rank: int) -> None:
    norm = nn.BatchNorm2d(C)
    for run in (norm, norm.eager, lambda x: norm.compile(x.shape)(x)):
        with pytest.raises(ValueError, match=r"BatchNorm2d takes images \(N, C, H, W\)"):
            run(draw(rank))


def test_unbatched_images_go_through_whole_networks() -> None:
    layers = nn.Conv2d(C, C, 3, padding=1), nn.BatchNorm2d(C), nn.ReLU(), nn.MaxPool2d(2)
    x = draw(3)
    for network in (nn.Sequential(*layers), Apply(nn.Sequential(*layers))):
        expected = network(x[None])[0]
        for run in (network, network.eager, network.compile(x.shape)):
            np.testing.assert_allclose(run(x), expected, 1e-5, 1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: fc.conv2d(x, WEIGHT, padding=1, residual=x[None]),
        lambda x: fc.conv1d(x, WEIGHT[..., 0], padding=1, residual=x[0]),
        lambda x: fc.linear(x[None, None], POINTWISE[..., 0, 0], residual=x[:1, None, None]),
    ],
    ids=["conv2d", "conv1d", "linear"],
)
def test_residuals_have_the_rank_of_x(call: Callable[[Any], Any]) -> None:
    module = Apply(call)
    for run in (module, module.eager):
        with pytest.raises(ValueError, match="residual must have"):
            run(draw(3))
