"""Sampling at the places of a grid against torch: every mode, on arrays, in networks, in ONNX."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import fastconv
import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from fastconv import nn, onnx

pytestmark = pytest.mark.oracle

SETTINGS = list(
    itertools.product(
        ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)
    )
)
SPECIAL = [np.nan, np.inf, -np.inf, 1e20, -1e20, 1e9, -1.0, 1.0, 0.0, 1 / 3]


class Sample(nn.Module):
    """Between convolutions, so that values lie in channel blocks; the grid is a second input."""

    def __init__(self, weight: Any, setting: tuple[Any, ...]) -> None:
        self.weight = weight
        self._setting = setting

    def forward(self, x: Any, grid: Any) -> Any:
        x = fastconv.conv2d(x, self.weight, padding=1)
        return fastconv.relu(fastconv.grid_sample(x, grid, *self._setting))


def grids(rng: np.random.Generator, n: int, h: int, w: int, dtype: Any) -> Any:
    """Places inside and far outside, the centres and edges of pixels, and special numbers."""
    grid = rng.uniform(-2.5, 2.5, (n, h, w, 2))
    exact = rng.integers(-8, 9, (n, h, w, 2)) / 4
    grid = np.where(rng.random(grid.shape) < 0.3, exact, grid)
    special = rng.choice(SPECIAL, grid.shape)
    return np.where(rng.random(grid.shape) < 0.1, special, grid).astype(dtype)


def theirs(x: Any, grid: Any, setting: tuple[Any, ...]) -> Any:
    arrays = (torch.from_numpy(np.ascontiguousarray(v)) for v in (x, grid))
    return F.grid_sample(*arrays, *setting).numpy()


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_double(setting: tuple[Any, ...]) -> None:
    """At most 16 products of weights up to 1.5 and numbers of about 1, whose places are exact."""
    rng = np.random.default_rng(0)
    for size in ((1, 1), (1, 7), (5, 4), (9, 16)):
        for n, c in ((2, 3), (1, 17), (0, 2)):
            x = rng.standard_normal((n, c, *size))
            grid = grids(rng, n, 6, 13, np.float64)
            expected = theirs(x, grid, setting)
            y = fastconv.grid_sample(x, grid, *setting)
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
            out = np.full((n, c, 6, 26), np.nan)[..., ::2]
            strided = np.asfortranarray(x), grid.transpose(3, 0, 1, 2).copy().transpose(1, 2, 3, 0)
            assert fastconv.grid_sample(*strided, *setting, out=out) is out
            assert np.array_equal(out, y, equal_nan=True)
            for image in range(n):
                alone = fastconv.grid_sample(x[image], grid[image], *setting)
                assert np.array_equal(alone, y[image], equal_nan=True)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_single(setting: tuple[Any, ...]) -> None:
    """In float32 places are rounded: of 16 pixels by 2**-20 of one, which moves smooth images."""
    rng = np.random.default_rng(1)
    x = np.cumsum(rng.uniform(-0.1, 0.1, (2, 5, 16, 16)), -1).astype(np.float32)
    grid = rng.uniform(-1.2, 1.2, (2, 8, 9, 2)).astype(np.float32)
    expected = theirs(x, grid, setting)
    y = fastconv.grid_sample(x, grid, *setting)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_in_a_network(setting: tuple[Any, ...], dtype: Any) -> None:
    """The same arithmetic on channel blocks; only the convolution before it may round otherwise."""
    rng = np.random.default_rng(2)
    module = Sample(rng.standard_normal((19, 4, 3, 3)).astype(dtype) / 6, setting)
    x = rng.standard_normal((2, 4, 8, 9)).astype(dtype)
    grid = grids(rng, 2, 7, 5, dtype)
    expected = module.eager(x, grid)
    atol = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(module(x, grid), expected, rtol=0, atol=atol)


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid")  # torch's, of size 1
@pytest.mark.parametrize("align_corners", [False, True])
def test_affine_grids(align_corners: bool) -> None:
    theta = np.random.default_rng(3).standard_normal((2, 2, 3))
    for size in ((2, 1, 1, 1), (2, 3, 4, 7), (2, 3, 1, 5)):
        expected = F.affine_grid(torch.from_numpy(theta), list(size), align_corners).numpy()
        y = fastconv.affine_grid(theta, size, align_corners)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)


class Transformer(nn.Module):
    """A spatial transformer: the places are computed from the images."""

    def __init__(self, setting: tuple[Any, ...]) -> None:
        self.localization = nn.Linear(3, 6)
        self._setting = setting

    def forward(self, x: Any) -> Any:
        theta = fastconv.reshape(self.localization(fastconv.mean(x, (2, 3))), (x.shape[0], 2, 3))
        grid = fastconv.affine_grid(theta, x.shape, self._setting[-1])
        return fastconv.grid_sample(x, grid, *self._setting)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_onnx(setting: tuple[Any, ...], tmp_path: Path) -> None:
    model = Transformer(setting)
    state = {key: np.array(value) for key, value in model.state_dict().items()}
    state["localization.bias"] = np.array([0.9, 0.1, 0.05, -0.1, 1.1, 0.02], np.float32)
    model.load_state_dict(state)
    x = np.cumsum(np.random.default_rng(4).uniform(-0.1, 0.1, (3, 3, 9, 8)), -1).astype(np.float32)
    onnx.export(model, tmp_path / "model.onnx", (1, *x.shape[1:]))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (y,) = session.run(None, {"x": x})
    expected = model(x)
    if setting[0] == "nearest":  # a place between two pixels may be rounded to either
        assert np.mean(abs(y - expected) > 1e-4) < 0.01
    else:
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4)
