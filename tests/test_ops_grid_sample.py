"""Sampling at the places of a grid, against its definition, one pixel after the other."""

from __future__ import annotations

import itertools
import math
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
SETTINGS = list(itertools.product(MODES, PADDINGS, (False, True)))
each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)


def reflect(at: float, size: int, corners: bool) -> float:
    """Mirror a place at the centres or the edges of the outer pixels until it is inside."""
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    while high > low and not low <= at <= high:
        at = 2 * low - at if at < low else 2 * high - at
    return at if high > low else 0.0


def cubic(distance: float) -> float:
    a, d = -0.75, abs(distance)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def taps(at: float, size: int, mode: str, padding: str, corners: bool) -> list[tuple[int, float]]:
    """Along one axis: which pixels are read, with what weight; those outside are left out."""

    def inside(at: float) -> float:
        if padding == "reflection":
            at = reflect(at, size, corners)
        return at if padding == "zeros" else min(max(at, 0.0), size - 1.0)

    at = (at + 1) * (size - 1) / 2 if corners else (at + 1) * size / 2 - 0.5
    if mode == "nearest":
        found = [(round(inside(at)), 1.0)]
    elif mode == "bilinear":
        at = inside(at)
        low = math.floor(at)
        found = [(low, 1 - (at - low)), (low + 1, at - low)]
    else:
        low = math.floor(at)
        found = [(int(inside(low + i)), cubic(at - low - i)) for i in range(-1, 3)]
    return [(i, weight) for i, weight in found if 0 <= i < size]


def reference(x: Any, grid: Any, setting: Any) -> Any:
    n, c, h, w = x.shape
    y = np.zeros((n, c, *grid.shape[1:3]))
    for b, i, j in np.ndindex(n, *grid.shape[1:3]):
        horizontal, vertical = map(float, grid[b, i, j])
        for row, a in taps(vertical, h, *setting):
            for column, e in taps(horizontal, w, *setting):
                y[b, :, i, j] += a * e * x[b, :, row, column]
    return y


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def places(*shape: int, seed: int = 1) -> Any:
    """Inside and far outside, the centres and edges of pixels."""
    rng = np.random.default_rng(seed)
    exact = rng.integers(-12, 13, (*shape, 2)) / 4
    return np.where(rng.random((*shape, 2)) < 0.3, exact, rng.uniform(-3, 3, (*shape, 2)))


class Sample(nn.Module):
    def __init__(self, *setting: Any) -> None:
        self._setting = setting

    def forward(self, x: Any, grid: Any) -> Any:
        return fastconv.grid_sample(x, grid, *self._setting)


@each_setting
@pytest.mark.parametrize("size", [(5, 8), (1, 3), (1, 1)])
def test_places(setting: Any, size: tuple[int, int]) -> None:
    """At most 16 products of weights up to 1.5 and numbers of about 1."""
    x, grid = draw(2, 3, *size), places(2, 7, 11)
    y = fastconv.grid_sample(x, grid, *setting)
    np.testing.assert_allclose(y, reference(x, grid, setting), rtol=0, atol=1e-13)
    network = Sample(*setting).compile((x.shape, grid.shape), precision="fp64")
    np.testing.assert_array_equal(network(x, grid), y)


@each_setting
def test_single_precision(setting: Any) -> None:
    """Grids of multiples of 1/64 are exact in float32, and so are their places in 8 pixels."""
    x = draw(2, 17, 8, 8).astype(np.float32)
    grid = np.random.default_rng(2).integers(-100, 101, (2, 6, 5, 2)).astype(np.float32) / 64
    y = fastconv.grid_sample(x, grid, *setting)
    assert y.dtype == np.float32
    expected = reference(x.astype(float), grid, setting)
    np.testing.assert_allclose(y, expected, rtol=0, atol=16 * 4 * np.finfo(np.float32).eps)


@each_setting
def test_places_that_are_no_numbers(setting: Any) -> None:
    x = 1 + np.arange(12.0).reshape(1, 1, 3, 4)
    mode, padding, _ = setting
    y = fastconv.grid_sample(x, np.array([[[[np.nan, 0.0], [0.0, np.nan]]]]), *setting)
    if mode == "bicubic" or (mode == "bilinear" and padding == "zeros"):
        assert np.isnan(y).all()  # the shares of pixels are NaN
    elif padding == "zeros":
        assert (y == 0).all()
    else:  # the first column; the first row
        column = fastconv.grid_sample(x, np.array([[[[-1.0, 0.0]]]]), mode, "border", True)
        assert y[0, 0, 0, 0] == column
        row = fastconv.grid_sample(x, np.array([[[[0.0, -1.0]]]]), mode, "border", True)
        assert y[0, 0, 0, 1] == row


def test_infinite_and_huge_places_lie_outside() -> None:
    x = 1 + np.arange(12.0).reshape(1, 1, 3, 4)
    far = np.array([[[[np.inf, 0.0], [-np.inf, 0.0], [1e300, 0.0], [-1e300, 0.0], [1e19, 0.0]]]])
    y = fastconv.grid_sample(x, far, "nearest")
    np.testing.assert_array_equal(y, np.zeros_like(y))
    y = fastconv.grid_sample(x, far, "nearest", "border")
    np.testing.assert_array_equal(y[0, 0, 0], [8, 5, 8, 5, 8])
    y = fastconv.grid_sample(x, far[:, :, 2:], "bilinear")
    np.testing.assert_array_equal(y, np.zeros_like(y))


def test_infinities_and_nans_of_images_go_where_they_are_read() -> None:
    x = np.zeros((1, 1, 1, 4))
    x[..., 1], x[..., 3] = np.nan, np.inf
    grid = np.stack([np.linspace(-1, 1, 7), np.zeros(7)], -1)[None, None]
    y = fastconv.grid_sample(x, grid, align_corners=True)[0, 0, 0]
    # Pixel 1 is read at 0.5, 1 and 1.5, pixel 3 at 2, with the weight 0, 2.5 and 3.
    np.testing.assert_array_equal(y, [np.nan, np.nan, np.nan, np.nan, np.nan, np.inf, np.inf])


@each_setting
def test_every_way_to_call(setting: Any) -> None:
    x, grid = draw(3, 5, 6, 7), places(3, 4, 9)
    y = fastconv.grid_sample(x, grid, *setting)
    strided = np.asfortranarray(x), np.asfortranarray(grid)
    np.testing.assert_array_equal(fastconv.grid_sample(*strided, *setting), y)
    out = np.full((3, 5, 4, 18), np.nan)[..., ::2]
    assert fastconv.grid_sample(x, grid, *setting, out=out) is out
    np.testing.assert_array_equal(out, y)
    one = fastconv.grid_sample(x[2], grid[2], *setting)
    np.testing.assert_array_equal(one, y[2])
    network = Sample(*setting).compile((x[2].shape, grid[2].shape), precision="fp64")
    np.testing.assert_array_equal(network(x[2], grid[2]), one)
    assert fastconv.grid_sample(x[:0], grid[:0], *setting).shape == (0, 5, 4, 9)
    assert fastconv.grid_sample(x, grid[:, :0], *setting).shape == (3, 5, 0, 9)
    for threads in (1, 3):
        with fastconv.num_threads(threads):
            np.testing.assert_array_equal(fastconv.grid_sample(x, grid, *setting), y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_setting
def test_large_images(setting: Any, dtype: Any) -> None:
    """Channels are computed alike, alone and in blocks, which groups of several images share."""
    x, grid = draw(3, 40, 72, 70).astype(dtype), places(3, 50, 53).astype(dtype)
    y = fastconv.grid_sample(x, grid, *setting)
    for c in (0, 15, 39):
        one = fastconv.grid_sample(x[:, c : c + 1], grid, *setting)
        np.testing.assert_array_equal(y[:, c : c + 1], one)
    flipped = x[:, ::-1].copy()[:, ::-1], grid[:, ::-1, ::-1].copy()[:, ::-1, ::-1]
    out = np.empty((3, 40, 53, 50), dtype).transpose(0, 1, 3, 2)[:, :, ::-1]
    np.testing.assert_array_equal(fastconv.grid_sample(*flipped, *setting, out=out), y)
    turned = np.ascontiguousarray(x[:, :, ::-1, ::-1])[:, :, ::-1, ::-1]
    np.testing.assert_array_equal(fastconv.grid_sample(turned, grid, *setting), y)


@each_setting
def test_many_places(setting: Any) -> None:
    x, grid = draw(1, 2, 9, 30), places(1, 23, 41)
    y = fastconv.grid_sample(x, grid, *setting)
    np.testing.assert_allclose(y, reference(x, grid, setting), rtol=0, atol=1e-13)


class Between(nn.Module):
    """Images lie in channel blocks, which the channels do not fill; one of both is a constant."""

    def __init__(self, channels: int, constant: str) -> None:
        self.weight = draw(channels, 3, 3, 3) / 5
        self.images = draw(2, 3, 6, 6, seed=3)
        self.grid = places(2, 5, 4)
        self._constant = constant

    def forward(self, x: Any) -> Any:
        if self._constant == "grid":
            y = fastconv.grid_sample(
                fastconv.conv2d(x, self.weight), self.grid, padding_mode="border"
            )
            return fastconv.relu(y) + 1
        return fastconv.grid_sample(self.images, fastconv.permute(x[:, :2], (0, 2, 3, 1)))


@pytest.mark.parametrize("constant", ["grid", "images"])
@pytest.mark.parametrize("channels", [3, 16, 33])
def test_in_a_network(channels: int, constant: str) -> None:
    module, x = Between(channels, constant).double(), draw(2, 3, 8, 8)
    np.testing.assert_allclose(module(x), module.eager(x), rtol=0, atol=1e-13)
    with fastconv.num_threads(3):
        np.testing.assert_array_equal(module(x), module(x))


def test_images_with_more_pixels_than_a_place_can_tell() -> None:
    x = np.broadcast_to(np.float32(1), (1, 1, 1, 2**31))
    with pytest.raises(ValueError, match=r"^grid_sample: x of float32 may have at most 2"):
        fastconv.grid_sample(x, np.zeros((1, 1, 1, 2), np.float32))


def test_affine_grids() -> None:
    theta = draw(2, 2, 3)
    for corners in (False, True):
        grid = fastconv.affine_grid(theta, (2, 1, 4, 5), corners)
        for b, i, j in np.ndindex(2, 4, 5):
            edge = [j / 4 * 2 - 1, i / 3 * 2 - 1] if corners else [(2 * j - 4) / 5, (2 * i - 3) / 4]
            expected = theta[b] @ [*edge, 1]
            np.testing.assert_allclose(grid[b, i, j], expected, rtol=0, atol=1e-14)
    identity = np.tile([[1.0, 0, 0], [0, 1, 0]], (2, 1, 1))
    x = draw(2, 3, 4, 5)
    for corners in (False, True):
        same = fastconv.affine_grid(identity, x.shape, corners)
        y = fastconv.grid_sample(x, same, align_corners=corners)
        np.testing.assert_allclose(y, x, rtol=0, atol=1e-14)
    out = np.empty((2, 4, 5, 2))
    assert fastconv.affine_grid(theta, (2, 1, 4, 5), out=out) is out


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x, g: fastconv.grid_sample(x, g[..., :1]),
            r"grid must have shape \(2, H_out, W_out, 2\), as x has shape \(2, 3, 4, 5\), got",
        ),
        (lambda x, g: fastconv.grid_sample(x, g[:1]), r"grid must have shape \(2, H_out"),
        (lambda x, g: fastconv.grid_sample(x[0], g), r"grid must have shape \(H_out, W_out, 2\)"),
        (lambda x, g: fastconv.grid_sample(x[0, 0], g), r"x must have shape \(N, C, H, W\)"),
        (lambda x, g: fastconv.grid_sample(x[:, :, :0], g), "at least one channel, row and"),
        (lambda x, g: fastconv.grid_sample(x, g, "cubic"), "mode must be one of bilinear, nearest"),
        (lambda x, g: fastconv.grid_sample(x, g, "nearest", "same"), "padding_mode must be one of"),
        (lambda x, g: fastconv.affine_grid(g[0, 0], (2, 1, 4, 5)), r"theta must have shape \(2, 2"),
        (
            lambda x, g: fastconv.affine_grid(x[:, 0, :2, :3], (2, 4, 5)),
            r"size must be \(N, C, H, ",
        ),
        (lambda x, g: fastconv.affine_grid(x[:, 0, :2, :3], (2, 1, 0, 5)), "at least 1"),
    ],
)
def test_errors_say_what_is_wrong(call: Any, message: str) -> None:
    class Recorded(nn.Module):
        def forward(self, x: Any, grid: Any) -> Any:
            return call(x, grid)

    x, grid = draw(2, 3, 4, 5), places(2, 6, 7)
    for run in (call, Recorded()):
        with pytest.raises(ValueError, match=message):
            run(x, grid)


def test_the_places_must_have_the_dtype_of_the_images() -> None:
    with pytest.raises(TypeError, match="grid is float32 but x is float64"):
        fastconv.grid_sample(draw(1, 1, 2, 2), np.zeros((1, 1, 1, 2), np.float32))
    with pytest.raises(TypeError, match="align_corners must be True or False, got 1"):
        fastconv.grid_sample(draw(1, 1, 2, 2), np.zeros((1, 1, 1, 2)), align_corners=1)  # type: ignore[arg-type]
