"""Interpolation has the same sizes and values in ONNX Runtime, for every size and factor."""

import itertools

import fastconv
import numpy as np
import pytest
from exported import compare, random, run
from fastconv import nn

pytestmark = pytest.mark.oracle

FACTORS = [
    *(0.1, 0.25, 0.3, 1 / 3, 0.5, 0.6, 0.75, 0.9, 1, 1.05, 1.1, 1.2, 1.25, 4 / 3, 1.4, 1.5, 1.6),
    *(1.7, 1.9, 2, 2.3, 2.5, 2.9, 3, 3.3, 4.1, (2, 1.4), (1.4, 1), (0.5, 1.7)),
]
SIZES = [*range(1, 13), 29]
MODES = [
    *(("nearest", None), ("nearest-exact", None)),
    *itertools.product(("bilinear", "bicubic"), (False, True)),
]


def bound(x, mode):
    """Return how far ONNX Runtime may be off.

    It computes coordinates in float32: about four roundings, each at most 2**-24 of a size; and
    a value changes by at most twice the largest from one element to the next. Bicubic weights
    change by less than 2 an element, four along each axis, and add up to less than 2.
    """
    coordinate = 4 * 2**-24 * 2 * (max(x.shape) + 1)
    if mode.startswith("nearest"):
        return 0
    return (2 if mode == "bilinear" else 2 * 4 * 2 * 2) * np.abs(x).max() * coordinate


@pytest.mark.parametrize("factor", FACTORS, ids=str)
@pytest.mark.parametrize(("mode", "corners"), MODES)
def test_factors(factor, mode, corners, tmp_path):
    layer = nn.Sequential(nn.Upsample(scale_factor=factor, mode=mode, align_corners=corners))
    smallest = min(factor) if isinstance(factor, tuple) else factor
    sizes = [size for size in SIZES if int(size * smallest) > 0]
    assert sizes
    for size in sizes:
        x = random((2, 1, size, size + 1))
        fastconv.onnx.export(layer, tmp_path / "a.onnx", (1, *x.shape[1:]))
        expected, found = layer.eager(x), run(tmp_path / "a.onnx", x)
        assert found.shape == expected.shape, size
        assert np.abs(found - expected).max() <= bound(x, mode), size


@pytest.mark.parametrize(("mode", "corners"), MODES)
def test_sizes(mode, corners, tmp_path):
    for size, out in itertools.product((1, 2, 3, 5, 8, 10), (1, 2, 3, 4, 7, 10, 16, 20)):
        layer = nn.Upsample((out, out + 1), mode=mode, align_corners=corners)
        x = random((2, 1, size, size + 1))
        fastconv.onnx.export(layer, tmp_path / "a.onnx", (1, *x.shape[1:]))
        expected, found = layer.eager(x), run(tmp_path / "a.onnx", x)
        assert found.shape == expected.shape, (size, out)
        assert np.abs(found - expected).max() <= bound(x, mode), (size, out)


OPEN = {"x": {0: "batch", 2: "height", 3: "width"}}


@pytest.mark.parametrize("factor", [2, 3, 1.5, 0.5, 0.25, (2, 1), (0.5, 4)], ids=str)
@pytest.mark.parametrize(("mode", "corners"), MODES)
def test_dynamic_height_and_width(factor, mode, corners, tmp_path):
    layer = nn.Upsample(scale_factor=factor, mode=mode, align_corners=corners)
    fastconv.onnx.export(layer, tmp_path / "a.onnx", (1, 1, 8, 8), dynamic_axes=OPEN)
    for shape in ((2, 1, 8, 8), (1, 1, 13, 4), (3, 1, 37, 26)):
        compare(tmp_path / "a.onnx", layer, random(shape), tolerance=bound(random(shape), mode))


@pytest.mark.parametrize("factor", [1.4, 1.25, 1 / 3])
@pytest.mark.parametrize(("mode", "corners"), MODES)
def test_factors_that_no_dynamic_size_can_have(factor, mode, corners, tmp_path):
    layer = nn.Sequential(
        nn.ReLU(), nn.Upsample(scale_factor=factor, mode=mode, align_corners=corners)
    )
    with pytest.raises(ValueError, match=r"interpolate of the layer 1 .*dynamic (height|axes)"):
        fastconv.onnx.export(layer, tmp_path / "a.onnx", (1, 1, 8, 8), dynamic_axes=OPEN)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mode", "corners"), MODES)
def test_a_dynamic_height_beside_any_width(mode, corners, tmp_path):
    layer = nn.Upsample(scale_factor=(2, 1.4), mode=mode, align_corners=corners)
    fastconv.onnx.export(layer, tmp_path / "a", (2, 1, 8, 11), dynamic_axes={"x": [2]})
    for height in (8, 11):
        x = random((2, 1, height, 11))
        compare(tmp_path / "a", layer, x, tolerance=bound(x, mode))


class Merge(nn.Module):
    """Resizes a smaller map to the size of a larger one, as feature pyramids do."""

    def forward(self, x):
        small = fastconv.max_pool2d(x, 3, 2, 1)
        return x + fastconv.interpolate(small, x.shape[2:], mode="bilinear")


def test_bilinear_to_the_size_of_another_array(tmp_path):
    fastconv.onnx.export(Merge(), tmp_path / "a.onnx", (1, 1, 8, 8), dynamic_axes=OPEN)
    for shape in ((2, 1, 8, 8), (1, 1, 13, 4), (3, 1, 27, 16)):
        x = random(shape)
        compare(tmp_path / "a.onnx", Merge(), x, tolerance=bound(x, "bilinear"))


class Antialias(nn.Module):
    def __init__(self, **arguments):
        self._arguments = arguments

    def forward(self, x):
        return fastconv.interpolate(x, antialias=True, **self._arguments)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("corners", [False, True])
def test_antialias(mode, corners, tmp_path):
    for sizes in ({"size": (3, 20)}, {"size": (8, 1)}, {"scale_factor": (0.7, 0.5)}):
        layer, x = Antialias(mode=mode, align_corners=corners, **sizes), random((2, 3, 8, 11))
        fastconv.onnx.export(layer, tmp_path / "a.onnx", x.shape)
        # Two sums of at most 11 products with weights that add up to less than 2 in magnitude.
        tolerance = 2 * 2 * 2 * 2 * (11 + 2) * 2**-24 * np.abs(x).max()  # here and there
        compare(tmp_path / "a.onnx", layer, x, tolerance=tolerance)


def test_antialias_of_a_dynamic_size(tmp_path):
    layer = Antialias(mode="bilinear", scale_factor=0.5)
    with pytest.raises(ValueError, match=r"dynamic height or width.*without antialias"):
        fastconv.onnx.export(layer, tmp_path / "a.onnx", (1, 1, 8, 8), dynamic_axes=OPEN)
