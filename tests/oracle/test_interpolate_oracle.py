"""Interpolation against torch: every mode, size and factor, on arrays and in networks."""

from __future__ import annotations

import itertools
from typing import Any

import fastconv
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastconv import nn

pytestmark = pytest.mark.oracle

SETTINGS: list[dict[str, Any]] = [
    {"mode": "nearest-exact"},
    {"mode": "area"},
    *({"mode": "bicubic", "align_corners": corners} for corners in (False, True)),
    *(
        {"mode": mode, "align_corners": corners, "antialias": True}
        for mode in ("bilinear", "bicubic")
        for corners in (False, True)
    ),
]
FACTORS: list[Any] = [*(0.1, 0.3, 1 / 3, 0.5, 0.9, 1, 1.06, 1.3, 2, 2.05, 3.7, 9), (2, 0.4), (1, 3)]
SIZES = [1, 2, 3, 5, 8, 13, 31, 100]


class Resize(nn.Module):
    def __init__(self, **arguments: Any) -> None:
        self._arguments = arguments

    def forward(self, x: Any) -> Any:
        return fastconv.interpolate(x, **self._arguments)


class Blocked(nn.Module):
    """Resizes what lies in blocks of channels: the results of a convolution."""

    def __init__(self, channels: int, **arguments: Any) -> None:
        self.conv = nn.Conv2d(3, channels, 1)
        self.last = nn.Conv2d(channels, channels, 1)
        self._arguments = arguments

    def forward(self, x: Any) -> Any:
        return self.last(fastconv.interpolate(self.conv(x), **self._arguments))


@pytest.fixture(params=SETTINGS, ids=lambda s: " ".join(map(str, s.values())))
def setting(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


def random(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32).astype(dtype)


def torchs(x: np.ndarray, setting: dict[str, Any], **sizes: Any) -> np.ndarray:
    """Return torch's result, in float64 but for nearest pixels, which are those of float32 here.

    torch takes an image of one column for one that lies channels last, and antialiases it wrongly;
    so each axis is resized by itself there, of an image that has two columns at least.
    """
    kind = np.float32 if setting["mode"] == "nearest-exact" else float
    image = torch.from_numpy(x.astype(kind, order="C"))
    if not setting.get("antialias"):
        return F.interpolate(image, **setting, **sizes).numpy()
    [(key, pair)] = [item for item in sizes.items() if item[0] in ("size", "scale_factor")]
    for axis in (0, 1):
        width = image.shape[3]
        image = image.repeat(1, 1, 1, 2)
        kept = 1.0 if key == "scale_factor" else 2 * width
        image = F.interpolate(image, **setting, **sizes | {key: (pair[axis], kept)})
        image = image[..., :width].swapaxes(2, 3).contiguous()
    return image.numpy()


def assert_close(y: np.ndarray, expected: np.ndarray, x: np.ndarray) -> None:
    """Check that `y` has no more than the rounding errors of its sums, and torch's of float64.

    The magnitudes of weights add up to less than 2 along each axis. A weight is rounded, and a sum
    of n products errs by n units of roundoff of their magnitudes.
    """
    assert y.shape == expected.shape
    assert y.dtype == x.dtype
    taps = sum(4 * -(-n // m) + 2 for n, m in zip(x.shape[2:], y.shape[2:], strict=True))
    roundoff = np.finfo(x.dtype).eps / 2
    # Coordinates in float64 are off by a few units of the image's size, and so are weights.
    weights = 16 * 2**-53 * (max(x.shape) + max(y.shape))
    bound = 4 * np.abs(x).max() * ((taps + 2) * roundoff + taps * weights)
    np.testing.assert_allclose(y.astype(float), expected.astype(float), rtol=0, atol=bound)


def test_sizes(setting: dict[str, Any], dtype: Any) -> None:
    for n, m in itertools.product(SIZES, SIZES):
        x = random((1, 2, n, m % 7 + 1), dtype)
        for image, size in ((x, (m, n % 5 + 1)), (x.swapaxes(2, 3), (n % 5 + 1, m))):
            y = fastconv.interpolate(image, size, **setting)
            assert_close(y, torchs(image, setting, size=size), x)


@pytest.mark.parametrize("recompute", [None, False, True])
def test_factors(setting: dict[str, Any], recompute: bool | None, dtype: Any) -> None:
    for n, factors in itertools.product(SIZES, FACTORS):
        pair = factors if isinstance(factors, tuple) else (factors, factors)
        x = random((2, 1, n, 11 if n < 100 else 3), dtype)
        if min(int(size * f) for size, f in zip(x.shape[2:], pair, strict=True)) < 1:
            continue
        arguments = {"scale_factor": pair, "recompute_scale_factor": recompute}
        if setting["mode"] == "nearest-exact" and n * pair[0] // 1 in (n, 2 * n):
            continue  # torch takes such factors for 1 and 2 where images are small
        y = fastconv.interpolate(x, **setting, **arguments)
        expected = torchs(x, setting, **{k: v for k, v in arguments.items() if v is not None})
        assert_close(y, expected, x)


@pytest.mark.parametrize("size", [(1, 3000), (3000, 2), (2, 1), (257, 255)])
def test_huge_factors(setting: dict[str, Any], size: tuple[int, int], dtype: Any) -> None:
    for shape in ((1, 2, 1, 1), (1, 1, 300, 400), (1, 3, 2, 3)):
        x = random(shape, dtype)
        assert_close(fastconv.interpolate(x, size, **setting), torchs(x, setting, size=size), x)


def test_nearest_exact_picks_torchs_pixels_at_all_sizes() -> None:
    for n in range(1, 60):
        x = np.arange(n, dtype=np.float32).reshape(1, 1, 1, n)
        for m in range(1, 130):
            expected = F.interpolate(torch.from_numpy(x), (1, m), mode="nearest-exact")
            y = fastconv.interpolate(x, (1, m), mode="nearest-exact")
            np.testing.assert_array_equal(y, expected.numpy())


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [(12, 16), (6, 8), (3, 2), (12, 2), (5, 8), (7, 19)])
def test_nan_and_infinities(
    setting: dict[str, Any], size: tuple[int, int], special: float, dtype: Any
) -> None:
    for row, column in itertools.product((0, 3, 5), (0, 1, 7)):
        x = random((1, 2, 6, 8), dtype)
        x[0, 0, row, column] = special
        y = fastconv.interpolate(x, size, **setting)
        expected = torchs(x, setting, size=size)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(y), np.isinf(expected))
        np.testing.assert_array_equal(y[np.isinf(y)], expected[np.isinf(expected)])


@pytest.mark.parametrize("channels", [1, 3, 16, 37])
def test_layouts_and_networks(setting: dict[str, Any], channels: int, dtype: Any) -> None:
    """All strides give the same bits, and so do networks, in which values lie in blocks."""
    x = random((2, channels, 9, 14), dtype)
    for size in ((4, 30), (21, 5), (9, 14)):
        expected = fastconv.interpolate(x, size, **setting)
        assert_close(expected, torchs(x, setting, size=size), x)
        layer = Resize(size=size, **setting)
        last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        odd = np.repeat(np.repeat(x, 2, 3), 3, 2)[:, :, ::-3, ::2][:, :, ::-1]
        for image in (x, last, odd):
            np.testing.assert_array_equal(fastconv.interpolate(image, size, **setting), expected)
            np.testing.assert_array_equal(layer(image), expected)
        out = np.full((2, 2 * channels, *size[::-1]), 7, dtype).swapaxes(2, 3)[:, ::2]
        fastconv.interpolate(x, size, **setting, out=out)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(fastconv.interpolate(x[1], size, **setting), expected[1])
        blocked = Blocked(channels, size=size, **setting).astype(dtype)
        image = random((2, 3, 9, 14), dtype)
        np.testing.assert_array_equal(blocked(image), blocked.eager(image))
