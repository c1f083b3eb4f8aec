"""Pooling, resizing and shuffling against plain NumPy."""

from __future__ import annotations

import itertools
import math
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn


def pool_reference(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
    ceil_mode: bool = False,
    average: bool = False,
    count_include_pad: bool = True,
) -> np.ndarray:
    sizes = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True):
        free = n + 2 * p - d * (k - 1) - 1
        size = (-(-free // s) if ceil_mode else free // s) + 1
        sizes.append(size - 1 if ceil_mode and (size - 1) * s >= n + p else size)
    y = np.empty((*x.shape[:2], *sizes))
    for i, j in itertools.product(*map(range, sizes)):
        rows, columns = (
            [o * s - p + d * t for t in range(k)]
            for o, k, s, p, d in zip((i, j), kernel, stride, padding, dilation, strict=True)
        )
        inside = np.ix_(
            [r for r in rows if 0 <= r < x.shape[2]], [c for c in columns if 0 <= c < x.shape[3]]
        )
        window = x[:, :, inside[0], inside[1]].astype(np.float64)
        if not average:
            y[:, :, i, j] = window.max((2, 3), initial=-np.inf)
            continue
        count = window.shape[2] * window.shape[3]
        if count_include_pad:
            count = np.prod(
                [
                    sum(v < n + p for v in values)
                    for values, n, p in zip((rows, columns), x.shape[2:], padding, strict=True)
                ]
            )
        y[:, :, i, j] = window.sum((2, 3)) / count
    return y


CASES = [
    ((3, 3), (2, 2), (1, 1), (1, 1), False),
    ((3, 3), (2, 2), (0, 0), (1, 1), True),
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((2, 3), (1, 2), (1, 1), (2, 1), True),
    ((5, 1), (3, 1), (2, 0), (1, 3), False),
    ((1, 1), (4, 3), (0, 0), (1, 1), True),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil_mode"), CASES)
@pytest.mark.parametrize("channels", [1, 3, 16, 21])
def test_max_pool2d(
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    channels: int,
    dtype: Any,
    rng: np.random.Generator,
) -> None:
    x = rng.normal(size=(2, channels, 13, 22)).astype(dtype)
    y = fastconv.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    assert y.dtype == dtype
    expected = pool_reference(x, kernel, stride, padding, dilation, ceil_mode)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil_mode"), CASES)
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_avg_pool2d(
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    dtype: Any,
    rng: np.random.Generator,
) -> None:
    x = rng.normal(size=(2, 5, 13, 22)).astype(dtype)
    y = fastconv.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad)
    expected = pool_reference(
        x, kernel, stride, padding, (1, 1), ceil_mode, True, count_include_pad
    )
    np.testing.assert_allclose(y, expected, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7), (13, 22), (20, 30)])
def test_adaptive_pools(size: tuple[int, int], dtype: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 13, 22)).astype(dtype)
    means, maxima = fastconv.adaptive_avg_pool2d(x, size), fastconv.adaptive_max_pool2d(x, size)
    assert means.shape == maxima.shape == (2, 5, *size)
    for i, j in itertools.product(*map(range, size)):
        (top, bottom), (left, right) = (
            (o * n // m, -(-(o + 1) * n // m))
            for o, n, m in zip((i, j), (13, 22), size, strict=True)
        )
        window = x[:, :, top:bottom, left:right].astype(np.float64)
        np.testing.assert_allclose(
            means[:, :, i, j], window.mean((2, 3)), rtol=0, atol=3 * np.finfo(dtype).eps
        )
        np.testing.assert_array_equal(maxima[:, :, i, j], window.max((2, 3)))


def test_adaptive_output_size_of_none_keeps_the_size() -> None:
    x = np.ones((1, 2, 6, 8))
    assert fastconv.adaptive_avg_pool2d(x, (None, 4)).shape == (1, 2, 6, 4)
    assert fastconv.adaptive_max_pool2d(x, None).shape == x.shape
    assert fastconv.adaptive_avg_pool2d(x, 3).shape == (1, 2, 3, 3)


def test_global_avg_pool2d_is_accurate(dtype: Any) -> None:
    x = np.full((2, 3, 300, 301), 0.1, dtype)
    x[0, 0] += 1000
    y = fastconv.global_avg_pool2d(x)
    assert y.shape == (2, 3, 1, 1)
    np.testing.assert_allclose(
        y, x.astype(np.float64).mean((2, 3), keepdims=True), rtol=3 * np.finfo(dtype).eps
    )


def test_unbatched_and_empty() -> None:
    x = np.arange(2 * 3 * 6 * 8.0).reshape(2, 3, 6, 8)
    for op in (
        lambda v: fastconv.max_pool2d(v, 2),
        lambda v: fastconv.avg_pool2d(v, 3, 2, 1),
        lambda v: fastconv.adaptive_avg_pool2d(v, (2, 3)),
        lambda v: fastconv.adaptive_max_pool2d(v, 2),
        fastconv.global_avg_pool2d,
        lambda v: fastconv.interpolate(v, 5),
        lambda v: fastconv.interpolate(v, scale_factor=1.5, mode="bilinear"),
        lambda v: fastconv.channel_shuffle(v, 3),
    ):
        y = op(x)
        np.testing.assert_array_equal(op(x[1]), y[1])
        assert op(x[:0]).shape == (0, *y.shape[1:])


def test_max_pool2d_lets_nan_through_and_padding_never_wins(dtype: Any) -> None:
    x = np.full((1, 2, 4, 4), -5.0, dtype)
    x[0, 1, 1, 1] = np.nan
    x[0, 1, 3, 3] = np.inf
    y = fastconv.max_pool2d(x, 2, padding=1)
    np.testing.assert_array_equal(y[0, 0], np.full((3, 3), -5.0))
    np.testing.assert_array_equal(y[0, 1], [[-5, -5, -5], [-5, np.nan, -5], [-5, -5, np.inf]])


def test_avg_pool2d_of_infinities(dtype: Any) -> None:
    x = np.ones((1, 1, 40, 40), dtype)
    x[0, 0, 3, 3] = np.inf
    x[0, 0, 30, 30] = -np.inf
    np.testing.assert_array_equal(fastconv.avg_pool2d(x, 20)[0, 0], [[np.inf, 1], [1, -np.inf]])
    assert np.isnan(fastconv.global_avg_pool2d(x)).all()


def test_nearest() -> None:
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    y = fastconv.interpolate(x, scale_factor=2)
    np.testing.assert_array_equal(y, x.repeat(2, 2).repeat(2, 3))
    np.testing.assert_array_equal(fastconv.interpolate(x, (3, 2)), x[..., ::2])


class Resize(nn.Module):
    def __init__(self, **arguments: Any) -> None:
        self._arguments = arguments

    def forward(self, x: Any) -> Any:
        return fastconv.interpolate(x, **self._arguments)


def test_nearest_by_factors_near_whole_numbers() -> None:
    x = np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8).repeat(100, 2)
    y = fastconv.interpolate(x, scale_factor=(2.01, 2.086))
    assert y.shape == (1, 1, 200, 16)
    assert (y == [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]).all()


@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize(
    "factors",
    [(2.01, 2.086), (1.06, 1.001), (1, 2), (2, 1.12), (0.99, 0.5), (3.07, 41), (1 / 3, 1e-1), 2.05],
)
def test_nearest_takes_the_element_at_index_over_factor(
    factors: Any, channels: int, dtype: Any
) -> None:
    x = np.random.default_rng(0).normal(size=(2, channels, 13, 22)).astype(dtype)
    pair = factors if isinstance(factors, tuple) else (factors, factors)
    places = []
    for n, factor in zip((13, 22), pair, strict=True):
        i = np.arange(math.floor(n * factor), dtype=np.float32)
        places.append(np.minimum(np.floor(i * np.float32(1 / factor)), n - 1).astype(int))
        exact = np.floor(np.arange(len(i)) / factor)
        assert abs(np.minimum(exact, n - 1) - places[-1]).max() <= 1
    expected = x[:, :, places[0]][..., places[1]]
    resize = Resize(scale_factor=factors)
    precision = "fp32" if dtype == np.float32 else "fp64"
    for run in (resize.eager, resize, resize.compile(x.shape, precision=precision)):
        np.testing.assert_array_equal(run(x), expected)
        np.testing.assert_array_equal(
            run(np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)), expected
        )


@pytest.mark.parametrize("aligned", [False, True])
def test_bilinear_copies_an_axis_that_keeps_its_size(aligned: bool, dtype: Any) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 9)).astype(dtype)
    resize = Resize(scale_factor=(2, 1.06), mode="bilinear", align_corners=aligned)
    expected = fastconv.interpolate(x, (16, 9), mode="bilinear", align_corners=aligned)
    for run in (resize.eager, resize):
        np.testing.assert_array_equal(run(x), expected)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (13, 40), (3, 4), (26, 22)])
def test_bilinear(
    align_corners: bool, size: tuple[int, int], dtype: Any, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(2, 5, 13, 22)).astype(dtype)

    def matrix(n: int, m: int) -> np.ndarray:
        weights = np.zeros((m, n))
        for i in range(m):
            at = i * (n - 1) / max(m - 1, 1) if align_corners else max((i + 0.5) * n / m - 0.5, 0)
            low = min(int(at), n - 1)
            weights[i, low] += 1 - (at - low)
            weights[i, min(low + 1, n - 1)] += at - low
        return weights

    expected = matrix(13, size[0]) @ x.astype(np.float64) @ matrix(22, size[1]).T
    y = fastconv.interpolate(x, size, mode="bilinear", align_corners=align_corners)
    # In float64 the weights of the reference have rounding errors of their own.
    atol = max(16 * float(np.finfo(dtype).eps), 5e-14)
    np.testing.assert_allclose(y, expected, rtol=0, atol=atol)


def test_bilinear_reproduces_linear_functions(dtype: Any) -> None:
    x = np.linspace(0, 1, 5, dtype=dtype).reshape(1, 1, 1, 5)
    y = fastconv.interpolate(x, (1, 9), mode="bilinear", align_corners=True)
    np.testing.assert_allclose(y[0, 0, 0], np.linspace(0, 1, 9), atol=np.finfo(dtype).eps)


def test_shuffles() -> None:
    x = np.arange(2 * 12 * 2 * 3.0).reshape(2, 12, 2, 3)
    y = fastconv.channel_shuffle(x, 3)
    for group, i in itertools.product(range(3), range(4)):
        np.testing.assert_array_equal(y[:, i * 3 + group], x[:, group * 4 + i])
    z = fastconv.pixel_shuffle(x, 2)
    assert z.shape == (2, 3, 4, 6)
    for c, row, column in itertools.product(range(3), range(2), range(2)):
        np.testing.assert_array_equal(z[:, c, row::2, column::2], x[:, c * 4 + row * 2 + column])
    np.testing.assert_array_equal(fastconv.pixel_shuffle(x[0], 2), z[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fastconv.max_pool2d(x, 0), "kernel_size must be from 1"),
        (lambda x: fastconv.max_pool2d(x, 2, 0), "stride must be from 1"),
        (lambda x: fastconv.max_pool2d(x, 2, padding=-1), "padding must be from 0"),
        (lambda x: fastconv.max_pool2d(x, 2, padding=2), "at most half of kernel_size"),
        (lambda x: fastconv.max_pool2d(x, 2, dilation=0), "dilation must be from 1"),
        (lambda x: fastconv.max_pool2d(x, 9), "window does not fit into x"),
        (lambda x: fastconv.max_pool2d(x, 2, dilation=2**62), "dilation must be from 1"),
        (lambda x: fastconv.avg_pool2d(x, (2, 2, 2)), "kernel_size must be an integer or a pair"),
        (lambda x: fastconv.avg_pool2d(x[0, 0], 2), r"shape \(N, C, H, W\) or \(C, H, W\)"),
        (lambda x: fastconv.avg_pool2d(x[:, :0], 2), "at least one channel"),
        (lambda x: fastconv.avg_pool2d(x[:, :, :0], 2), "at least one row"),
        (lambda x: fastconv.adaptive_avg_pool2d(x, -1), "output_size must be from 0 to 2..40"),
        (lambda x: fastconv.adaptive_max_pool2d(x, (2**40 + 1, 1)), "from 0 to 2..40"),
        (lambda x: fastconv.adaptive_max_pool2d(x, ()), "output_size must be"),
        (lambda x: fastconv.interpolate(x), "exactly one of size and scale_factor"),
        (lambda x: fastconv.interpolate(x, 3, 2.0), "exactly one of size and scale_factor"),
        (lambda x: fastconv.interpolate(x, 0), "at least one row"),
        (lambda x: fastconv.interpolate(x, scale_factor=-1), "scale_factor must be a positive"),
        (lambda x: fastconv.interpolate(x, scale_factor=0.01), "at least one row"),
        (lambda x: fastconv.interpolate(x, 3, mode="cubic"), "mode must be one of"),
        (
            lambda x: fastconv.interpolate(x, 3, align_corners=True),
            "for mode='linear', 'bilinear' and 'bicubic' only",
        ),
        (
            lambda x: fastconv.interpolate(x, 3, mode="area", antialias=True),
            "antialias is for .* only: leave it out of mode='area'",
        ),
        (
            lambda x: fastconv.interpolate(x, 3, recompute_scale_factor=True),
            "recompute_scale_factor is for scale_factor only",
        ),
        (lambda x: fastconv.channel_shuffle(x, 4), "groups must divide the 3 channels"),
        (lambda x: fastconv.pixel_shuffle(x, 2), "its square divide the 3 channels"),
    ],
)
def test_bad_values(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.zeros((1, 3, 5, 6)))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: fastconv.max_pool2d(x, 2.0),  # type: ignore[arg-type]
        lambda x: fastconv.max_pool2d(x, 2, ceil_mode=1),  # type: ignore[arg-type]
        lambda x: fastconv.avg_pool2d(x, True),
        lambda x: fastconv.avg_pool2d(x, "2"),  # type: ignore[arg-type]
        lambda x: fastconv.adaptive_avg_pool2d(x, 1.5),
        lambda x: fastconv.interpolate(x, scale_factor="2"),  # type: ignore[arg-type]
        lambda x: fastconv.interpolate(x, 3, mode="bicubic", antialias=1),  # type: ignore[arg-type]
        lambda x: fastconv.interpolate(x, scale_factor=2, recompute_scale_factor="no"),  # type: ignore[arg-type]
        lambda x: fastconv.channel_shuffle(x, None),  # type: ignore[arg-type]
    ],
)
def test_bad_types(call: Any) -> None:
    with pytest.raises(TypeError, match="must be"):
        call(np.zeros((1, 3, 5, 6)))


def test_averages_over_more_elements_than_integers_count(dtype):
    n = 2**32 + 1
    y = fastconv.avg_pool2d(np.ones((1, 3, 8, 8), dtype), n, 1, n // 2)
    np.testing.assert_array_equal(y, np.full((1, 3, 8, 8), dtype(64) / dtype(float(n) * n)))
