"""Transposed convolutions whose weights are packed once, as networks run them."""

from __future__ import annotations

from typing import Any

import fastconv
import numpy as np
import pytest
import transposed_search
from fastconv import nn
from test_conv import transposed

Array = np.ndarray[Any, Any]

# kernel, stride, padding, output_padding; and the algorithm (None: any).
KINDS = {
    "4x4/2": ((4, 4), (2, 2), (1, 1), (0, 0), "winograd3"),
    "4x4/2, no padding": ((4, 4), (2, 2), (0, 0), (1, 0), "winograd3"),
    "4x4/2, wide padding": ((4, 4), (2, 2), (3, 2), (1, 0), "winograd3"),
    "3x3/2": ((3, 3), (2, 2), (1, 1), (1, 1), "winograd3"),
    "3x3/2, no padding": ((3, 3), (2, 2), (0, 0), (0, 0), "winograd3"),
    "3x4/2": ((3, 4), (2, 2), (1, 1), (1, 0), "winograd3"),
    "5x6/3x4": ((5, 6), (3, 4), (1, 2), (0, 3), "winograd3"),
    "8x8/4": ((8, 8), (4, 4), (2, 2), (0, 0), "winograd3"),
    "2x2/2": ((2, 2), (2, 2), (0, 0), (0, 0), None),
    "3x2/3x2": ((3, 2), (3, 2), (0, 0), (2, 1), None),
    "5x5/2": ((5, 5), (2, 2), (2, 2), (1, 1), None),
    "4x4/2x1": ((4, 4), (2, 1), (1, 1), (1, 0), None),
}
SHAPES = ((1, 64, 64, 26, 29), (2, 50, 70, 29, 17))  # of n, channels, out_channels, height, width


def layer(kind: str, channels: int, out_channels: int, dtype: Any = np.float32) -> Any:
    kernel, stride, padding, output_padding, _ = KINDS[kind]
    made = nn.ConvTranspose2d(channels, out_channels, kernel, stride, padding, output_padding)
    return made.astype(dtype)


def definition(kind: str, x: Array, weight: Array, bias: Array) -> Array:
    _, stride, padding, output_padding, _ = KINDS[kind]
    wide = x.astype(np.float64), weight.astype(np.float64)
    return transposed(*wide, stride, padding, output_padding, 1, (1, 1)) + bias[:, None, None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_its_definition(kind: str, shape: tuple[int, ...], dtype: Any) -> None:
    n, channels, out_channels, h, w = shape
    conv = layer(kind, channels, out_channels, dtype)
    network = nn.Sequential(conv, nn.SiLU()).compile((n, channels, h, w))
    if KINDS[kind][-1]:
        assert network.explain()[0]["algorithm"] == KINDS[kind][-1]
    x = np.random.default_rng(0).standard_normal((n, channels, h, w)).astype(dtype)
    weight, bias = np.array(conv.weight), np.array(conv.bias)
    exact = definition(kind, x, weight, bias)
    scale = definition(kind, np.abs(x), np.abs(weight), np.abs(bias))
    scale = scale.max(axis=(0, 2, 3), keepdims=True)
    exact = exact / (1 + np.exp(-exact))  # whose slope is at most 1.1
    bound = 1.2 * (2e-6 if dtype == np.float32 else 2e-6 * 2.0**-29)
    assert (np.abs(network(x) - exact) / scale).max() <= bound


@pytest.mark.parametrize("kind", KINDS)
def test_between_layers_in_blocks(kind: str) -> None:
    """Input and output are blocked there; 1x1 convolutions that copy convert them."""
    c, o = 40, 33
    rng = np.random.default_rng(0)
    before, after = nn.Conv2d(c, c, 1, bias=False), nn.Conv2d(o, o, 1, bias=False)
    before.weight, after.weight = np.eye(c)[:, :, None, None], np.eye(o)[:, :, None, None]
    conv = layer(kind, c, o)
    x = rng.standard_normal((2, c, 23, 22)).astype(np.float32)
    y = nn.Sequential(before, conv, after).compile(x.shape)(x)
    exact = definition(kind, x, np.array(conv.weight), np.array(conv.bias))
    np.testing.assert_allclose(y, exact, rtol=0, atol=2e-6 * 40)


@pytest.mark.parametrize("kind", KINDS)
def test_exact(kind: str) -> None:
    rng = np.random.default_rng(0)
    conv = layer(kind, 48, 40)
    conv.weight = rng.integers(-3, 4, conv.weight.shape).astype(np.float32)
    conv.bias = rng.integers(-3, 4, 40).astype(np.float32)
    x = rng.integers(-3, 4, (1, 48, 20, 22)).astype(np.float32)
    network = conv.compile(x.shape, accuracy="exact")
    assert "winograd" not in network.explain()[0]["algorithm"]
    exact = definition(kind, x, np.array(conv.weight), np.array(conv.bias))
    np.testing.assert_array_equal(network(x), exact)


@pytest.mark.parametrize("kind", ["4x4/2", "3x3/2", "2x2/2", "5x6/3x4"])
@pytest.mark.parametrize("accuracy", ["fast", "fastest"])
@pytest.mark.parametrize("size", [(31, 28), (15, 13), (197, 1)])
@pytest.mark.parametrize("blocked", [False, True])
def test_bits_depend_on_neither_threads_nor_batch(
    kind: str, accuracy: Any, size: tuple[int, int], blocked: bool
) -> None:
    model = nn.Sequential(layer(kind, 192, 192))
    if blocked:
        model = nn.Sequential(nn.Conv2d(192, 192, 1), *model, nn.Conv2d(192, 192, 1))
    x = np.random.default_rng(0).standard_normal((3, 192, *size)).astype(np.float32)
    expected = model.compile(x.shape, threads=1, accuracy=accuracy)(x)
    for threads in (2, 3, 5, 40):
        network = model.compile(x.shape, threads=threads, accuracy=accuracy)
        np.testing.assert_array_equal(network(x), expected)
    one = model.compile((1, *x.shape[1:]), accuracy=accuracy)
    for i in range(3):
        np.testing.assert_array_equal(one(x[i : i + 1]), expected[i : i + 1])


def test_other_sizes_of_images() -> None:
    """They share packed weights, and are planned for themselves."""
    conv = layer("4x4/2", 32, 32)
    weight, bias = np.array(conv.weight), np.array(conv.bias)
    for h, w, algorithm in (
        (20, 20, "winograd3"),
        (33, 14, "winograd3"),
        (5, 6, "direct"),
        (16, 50, "winograd3"),
    ):
        x = np.random.default_rng(h).standard_normal((1, 32, h, w)).astype(np.float32)
        network = conv.compile(x.shape)
        assert network.explain()[0]["algorithm"].split(", ")[0] == algorithm
        np.testing.assert_allclose(
            network(x), definition("4x4/2", x, weight, bias), rtol=0, atol=1e-5
        )


def test_weights_that_would_round_badly() -> None:
    """The probe turns to direct convolution, and says so."""
    conv = layer("4x4/2", 32, 32)
    weight = np.array(conv.weight)
    weight[3, 5, 1, 1] = np.inf
    conv.weight = weight
    x = np.zeros((1, 32, 20, 20), np.float32)
    x[0, :, 0, 0] = 1
    network = conv.compile(x.shape)
    step = network.explain()[0]
    assert "winograd" not in step["algorithm"]
    assert "rounding error of winograd3" in step["reason"]
    with np.errstate(invalid="ignore"):
        y = network(x)
    expected = fastconv.conv_transpose2d(x, weight, np.array(conv.bias), 2, 1)
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))


@pytest.mark.parametrize(("small", "large"), [(1e-36, 1e34), (1e-37, 1e20)])
def test_transformed_weights_are_not_flushed(small: float, large: float) -> None:
    rng = np.random.default_rng(0)
    conv = layer("3x3/2", 64, 48)
    x = (rng.standard_normal((1, 64, 20, 20)) * large).astype(np.float32)
    weight = (rng.uniform(0.5, 1, (64, 48, 3, 3)) * small).astype(np.float32)
    conv.weight, conv.bias = weight, np.zeros(48, np.float32)
    network = conv.compile(x.shape)
    assert network.explain()[0]["algorithm"] == "winograd3"
    exact = definition("3x3/2", x, weight, np.zeros(48))
    scale = definition("3x3/2", np.abs(x), weight, np.zeros(48)).max(axis=(0, 2, 3), keepdims=True)
    assert (np.abs(network(x) - exact) / scale).max() <= 2e-6


def test_a_sample_of_the_search() -> None:
    found = transposed_search.search(0, 60)
    assert any(algorithm == "winograd3" for algorithm, _ in found)
    for outcome in found.values():
        assert outcome.error <= 1, f"{outcome.algorithm}, {outcome.error:.3g}: {outcome.text}"
