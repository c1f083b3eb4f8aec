"""Operators of signals, power averages and windows of one slice, against their definitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn


class Apply(nn.Module):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def forward(self, x: Any) -> Any:
        return self._function(x)


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def windows(x: Any, kernel: int, stride: int, padding: int, fill: float) -> list[Any]:
    """Those of signals, (N, C, kernel) each."""
    ends = ((0, 0), (0, 0), (padding, padding))
    padded = np.pad(x, ends, constant_values=fill)
    starts = range(0, padded.shape[-1] - kernel + 1, stride)
    return [padded[..., i : i + kernel] for i in starts]


SETTINGS = [(1, 1, 0), (2, 2, 1), (3, 2, 1), (4, 1, 2), (5, 3, 0)]


@pytest.mark.parametrize(("kernel", "stride", "padding"), SETTINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pools_are_those_of_windows(dtype: Any, kernel: int, stride: int, padding: int) -> None:
    x = draw(2, 5, 23).astype(dtype)
    x[0, 1, 3], x[1, 2, 9] = np.nan, -np.inf
    eps = np.finfo(dtype).eps
    largest = np.stack([w.max(-1) for w in windows(x, kernel, stride, padding, -np.inf)], -1)
    y = fastconv.max_pool1d(x, kernel, stride, padding)
    np.testing.assert_array_equal(y, largest)
    means = np.stack([w.mean(-1) for w in windows(x, kernel, stride, padding, 0)], -1)
    y = fastconv.avg_pool1d(x, kernel, stride, padding)
    np.testing.assert_allclose(y, means, rtol=0, atol=16 * kernel * eps)
    squares = np.stack([(w * w).sum(-1) for w in windows(x, kernel, stride, 0, 0)], -1)
    y = fastconv.lp_pool1d(x, 2, kernel, stride)
    np.testing.assert_allclose(y, np.sqrt(squares), rtol=16 * kernel * eps)


@pytest.mark.parametrize("size", [1, 2, 7, 23, 40])
def test_adaptive_pools_divide_signals(size: int) -> None:
    x = draw(2, 3, 23)
    bounds = [(i * 23 // size, -(-(i + 1) * 23 // size)) for i in range(size)]
    largest = np.stack([x[..., a:b].max(-1) for a, b in bounds], -1)
    means = np.stack([x[..., a:b].mean(-1) for a, b in bounds], -1)
    np.testing.assert_array_equal(fastconv.adaptive_max_pool1d(x, size), largest)
    np.testing.assert_allclose(fastconv.adaptive_avg_pool1d(x, (size,)), means, atol=1e-14)


@pytest.mark.parametrize("norm_type", [1, 3, 2.5, math.inf, -math.inf])
def test_power_averages(norm_type: float) -> None:
    x = abs(draw(2, 3, 6, 8))
    x[0, 0, 0, 0] = np.nan
    x[1, 0, 0, 0] = np.inf
    blocks = x.reshape(2, 3, 3, 2, 4, 2)
    if math.isinf(norm_type):
        expected = (blocks.max if norm_type > 0 else blocks.min)((3, 5))
    else:
        expected = (blocks**norm_type).sum((3, 5)) ** (1 / norm_type)
    np.testing.assert_allclose(fastconv.lp_pool2d(x, norm_type, 2), expected, rtol=1e-13)


def test_roots_of_negative_sums_are_nan_unless_they_are_sums() -> None:
    x = np.array([[[-1.0, -2.0, 3.0, 1.0]]])
    np.testing.assert_array_equal(fastconv.lp_pool1d(x, 1, 2), [[[-3.0, 4.0]]])
    np.testing.assert_allclose(fastconv.lp_pool1d(x, 3, 2), [[[np.nan, 28 ** (1 / 3)]]])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("kernel", "stride", "padding"), SETTINGS)
def test_transposed_convolutions_scatter(
    kernel: int, stride: int, padding: int, groups: int
) -> None:
    x, weight, bias = draw(2, 4, 9), draw(4, 3, kernel, seed=1), draw(3 * groups, seed=2)
    full = np.zeros((2, 3 * groups, 8 * stride + kernel))
    for c, o, i, k in itertools.product(range(4), range(3), range(9), range(kernel)):
        full[:, c // (4 // groups) * 3 + o, i * stride + k] += x[:, c, i] * weight[c, o, k]
    expected = full[..., padding : full.shape[-1] - padding] + bias[:, None]
    y = fastconv.conv_transpose1d(x, weight, bias, stride, padding, groups=groups)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 1)])
def test_windows_of_one_slice_are_two_dimensional(stride: tuple[int, ...]) -> None:
    x, weight = draw(2, 4, 5, 7, 6), draw(6, 2, 1, 3, 2, seed=1)
    y = fastconv.conv3d(x, weight, stride=stride, padding=(0, 1, 0), groups=2)
    largest = fastconv.max_pool3d(x, (1, 3, 2), stride, (0, 1, 0))
    means = fastconv.avg_pool3d(x, (1, 3, 2), stride, (0, 1, 0))
    slices = range(0, 5, stride[0])
    for i, d in enumerate(slices):
        image, steps = x[:, :, d], stride[1:]
        expected = fastconv.conv2d(image, weight[:, :, 0], None, steps, (1, 0), groups=2)
        np.testing.assert_array_equal(y[:, :, i], expected)
        expected = fastconv.max_pool2d(image, (3, 2), steps, (1, 0))
        np.testing.assert_array_equal(largest[:, :, i], expected)
        expected = fastconv.avg_pool2d(image, (3, 2), steps, (1, 0))
        np.testing.assert_array_equal(means[:, :, i], expected)
    assert y.shape[2] == largest.shape[2] == means.shape[2] == len(slices)


W1, W3 = draw(4, 3, 3), draw(5, 4, 1, 2, 2)
SIGNALS, VOLUMES, IMAGES = (2, 4, 9), (2, 4, 3, 5, 4), (2, 4, 6, 5)
CALLS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "conv_transpose1d": (lambda x, **o: fastconv.conv_transpose1d(x, W1, **o), SIGNALS),
    "max_pool1d": (lambda x, **o: fastconv.max_pool1d(x, 3, 2, 1, **o), SIGNALS),
    "avg_pool1d": (lambda x, **o: fastconv.avg_pool1d(x, 3, 2, 1, True, False, **o), SIGNALS),
    "adaptive_avg_pool1d": (lambda x, **o: fastconv.adaptive_avg_pool1d(x, 4, **o), SIGNALS),
    "adaptive_max_pool1d": (lambda x, **o: fastconv.adaptive_max_pool1d(x, 4, **o), SIGNALS),
    "lp_pool1d": (lambda x, **o: fastconv.lp_pool1d(x, 2, 3, 2, True, **o), SIGNALS),
    "lp_pool2d": (lambda x, **o: fastconv.lp_pool2d(x, 2, 3, 2, True, **o), IMAGES),
    "conv3d": (lambda x, **o: fastconv.conv3d(x, W3, **o), VOLUMES),
    "max_pool3d": (lambda x, **o: fastconv.max_pool3d(x, (1, 2, 2), **o), VOLUMES),
    "avg_pool3d": (lambda x, **o: fastconv.avg_pool3d(x, (1, 2, 2), **o), VOLUMES),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_way_to_call(name: str) -> None:
    """Views, one element of a batch, `out`, no batch at all, in a network."""
    call, shape = CALLS[name]
    x = draw(*shape)
    y = call(x)
    assert y.flags.c_contiguous
    assert y.flags.writeable
    gaps = np.zeros((*shape[:-1], 2 * shape[-1]))
    gaps[..., ::2] = x
    for view in (gaps[..., ::2], np.asfortranarray(x), x[..., ::-1].copy()[..., ::-1]):
        np.testing.assert_allclose(call(view), y, rtol=0, atol=1e-14)
    one = call(x[1])
    assert one.flags.c_contiguous
    np.testing.assert_allclose(one, y[1], rtol=0, atol=1e-14)
    for given, expected in ((x, y), (x[1], one)):
        out = np.full((*expected.shape[:-1], 2 * expected.shape[-1]), np.nan)[..., ::2]
        assert call(given, out=out) is out
        np.testing.assert_array_equal(out, expected)
        network = Apply(call).compile(given.shape, precision="fp64")
        np.testing.assert_allclose(network(given), expected, rtol=0, atol=1e-13)
        recorded = network(given)
        assert recorded.flags.c_contiguous
    assert call(x[:0]).shape == (0, *y.shape[1:])
    assert Apply(call)(x[:0]).shape == (0, *y.shape[1:])
    with pytest.raises(ValueError, match=r"out must have shape"):
        call(x, out=np.empty((*y.shape[:-1], y.shape[-1] + 1)))
    with pytest.raises(TypeError, match=r"out must be float64"):
        call(x, out=np.empty(y.shape, np.float32))
    with pytest.raises(TypeError, match="out cannot be given with symbolic values"):
        Apply(lambda x: call(x, out=y)).graph(shape)


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("conv")])
def test_half_precision_is_rounded_once(name: str) -> None:
    call, shape = CALLS[name]
    x = draw(*shape).astype(np.float16)
    y = call(x)
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y, call(x.astype(np.float32)).astype(np.float16))


ERRORS: list[tuple[Callable[[Any], Any], tuple[int, ...], str]] = [
    *(
        (call, (2, 4, 3, 9), r"x must have shape \(N, C, L\) or \(C, L\), got \(2, 4, 3, 9\)")
        for name, (call, _) in CALLS.items()
        if name.endswith("1d")
    ),
    *(
        (call, (4, 9), r"x must have shape \(N, C, D, H, W\) or \(C, D, H, W\), got \(4, 9\)")
        for name, (call, _) in CALLS.items()
        if name.endswith("3d")
    ),
    (lambda x: fastconv.max_pool1d(x, (2, 2)), SIGNALS, "kernel_size must be an integer or"),
    (lambda x: fastconv.max_pool1d(x, 0), SIGNALS, "kernel_size must be from 1"),
    (lambda x: fastconv.max_pool1d(x, 99), SIGNALS, "the window does not fit into x"),
    (lambda x: fastconv.avg_pool1d(x, 2, 0), SIGNALS, "stride must be from 1"),
    (lambda x: fastconv.adaptive_avg_pool1d(x, -1), SIGNALS, "output_size must be from 0"),
    (lambda x: fastconv.lp_pool1d(x, 0, 2), SIGNALS, "norm_type must be .* other than 0, got 0"),
    (lambda x: fastconv.lp_pool2d(x, math.nan, 2), IMAGES, "norm_type must be .*, got nan"),
    (
        lambda x: fastconv.conv_transpose1d(x, W1[..., None]),
        SIGNALS,
        r"weight must have shape \(C, O / groups, K\), got \(4, 3, 3, 1\)",
    ),
    (
        lambda x: fastconv.conv3d(x, draw(5, 4, 3, 2, 2)),
        VOLUMES,
        r"windows of one slice.* the kernel must be 1 in depth, got \(3, 2, 2\)",
    ),
    (
        lambda x: fastconv.conv3d(x, W3, padding=1),
        VOLUMES,
        r"padding must be 0 in depth, got \(1, 1, 1\)",
    ),
    (lambda x: fastconv.conv3d(x, W3[:, :, 0]), VOLUMES, r"weight must have shape \(O, C / g"),
    (lambda x: fastconv.conv3d(x, W3, stride=0), VOLUMES, "stride must be at least 1, got 0"),
    (
        lambda x: fastconv.max_pool3d(x, 2),
        VOLUMES,
        r"max_pool3d .*kernel_size must be 1 in depth, got \(2, 2, 2\)",
    ),
    (lambda x: fastconv.avg_pool3d(x, 1, 1, 1), VOLUMES, "padding must be 0 in depth"),
    (lambda x: fastconv.max_pool3d(x[:, :, :0], 1), VOLUMES, "at least one slice"),
]


@pytest.mark.parametrize(("call", "shape", "message"), ERRORS)
def test_errors_say_what_is_wrong(
    call: Callable[[Any], Any], shape: tuple[int, ...], message: str
) -> None:
    for run in (call, Apply(call)):
        with pytest.raises(ValueError, match=message):
            run(np.ones(shape))


def test_layers_of_three_dimensions_say_what_they_are() -> None:
    with pytest.raises(ValueError, match=r"kernel_size must be \(1, height, width\), got 3"):
        nn.Conv3d(2, 2, 3)
    layer = nn.Conv3d(2, 4, (1, 3, 3), padding=(0, 1, 1), dtype="float64")
    x = draw(2, 3, 5, 5)
    np.testing.assert_allclose(layer(x), layer.eager(x), rtol=0, atol=1e-14)
    assert (
        repr(nn.LPPool1d(2, 3))
        == "LPPool1d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)"
    )


def test_layers_take_one_signal_without_a_batch() -> None:
    net = nn.Sequential(
        nn.Conv1d(3, 8, 5, padding=2),
        nn.MaxPool1d(2),
        nn.ConvTranspose1d(8, 4, 4, stride=2, padding=1),
        nn.AvgPool1d(3, 1, 1),
        nn.LPPool1d(2, 2),
        nn.AdaptiveMaxPool1d(5),
        nn.AdaptiveAvgPool1d(1),
    ).double()
    x = draw(2, 3, 40)
    y = net(x)
    assert y.shape == (2, 4, 1)
    np.testing.assert_allclose(net.eager(x), y, rtol=0, atol=1e-13)
    np.testing.assert_allclose(net(x[1]), y[1], rtol=0, atol=1e-13)
