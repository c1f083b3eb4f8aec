"""Convolutions: rounding errors, non-finite values, subnormals."""

from __future__ import annotations

from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn

ALGORITHMS = ("im2col", "direct", "winograd2", "winograd4", "winograd6", "auto")


def served(x: np.ndarray, weight: np.ndarray, **options: Any) -> list[str]:
    infos = fastconv.algorithms(x.shape, weight.shape, dtype=str(x.dtype), **options)
    return [*(info.name for info in infos), "auto"]


def exact_and_magnitude(
    x: np.ndarray, weight: np.ndarray, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The result in double, and the convolution of absolute values, largest of each channel."""
    wide, kernel = x.astype(np.float64), weight.astype(np.float64)
    exact = fastconv.conv2d(wide, kernel, algorithm="im2col", **options)
    magnitude = fastconv.conv2d(np.abs(wide), np.abs(kernel), algorithm="im2col", **options)
    return exact, magnitude.max(axis=(0, 2, 3), keepdims=True)


HARD_DATA = {
    "positive": lambda rng, x, w: (rng.random(x), rng.random(w)),
    "large mean, weights of zero sum": lambda rng, x, w: (
        1000 + rng.standard_normal(x),
        (lambda v: v - v.mean(axis=(1, 2, 3), keepdims=True))(rng.standard_normal(w)),
    ),
    "many magnitudes": lambda rng, x, w: (
        np.exp(4 * rng.standard_normal(x)),
        rng.standard_normal(w) * np.exp(2 * rng.standard_normal(w)),
    ),
    "Gaussian": lambda rng, x, w: (rng.standard_normal(x), rng.standard_normal(w)),
}


@pytest.mark.parametrize("data", HARD_DATA)
@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "options"),
    [
        ((1, 512, 14, 14), (20, 512, 3, 3), {"padding": 1}),  # 4,608 products
        ((1, 64, 40, 40), (20, 64, 3, 3), {"padding": 1}),
        ((2, 512, 7, 7), (33, 512, 7, 7), {}),  # 25,088 products, a pixel
        ((1, 25088, 3, 3), (20, 25088, 1, 1), {}),
        ((1, 512, 9, 9), (96, 512, 1, 1), {}),
        ((1, 40, 30, 30), (40, 1, 7, 7), {"groups": 40}),
    ],
)
def test_error_bound(data: str, x_shape: Any, weight_shape: Any, options: Any) -> None:
    rng = np.random.default_rng(0)
    x, weight = (a.astype(np.float32) for a in HARD_DATA[data](rng, x_shape, weight_shape))
    exact, magnitude = exact_and_magnitude(x, weight, **options)
    for algorithm in served(x, weight, **options):
        error = np.abs(fastconv.conv2d(x, weight, algorithm=algorithm, **options) - exact)
        if data == "many magnitudes" and algorithm == "strassen":
            # It mixes channels: relative to the largest channel of all, as weights are scaled.
            size = np.abs(weight).sum(axis=(1, 2, 3), dtype=np.float64).reshape(1, -1, 1, 1)
            assert (error / size).max() <= 2e-6 * (magnitude / size).max()
            continue
        allowed = 2e-5 if algorithm == "winograd6" else 2e-6
        if data == "many magnitudes":  # a product outweighs all others of its tile
            allowed = {"winograd6": 1e-4, "winograd4": 1e-5, "auto": 1e-5}.get(algorithm, allowed)
        worst = (error / magnitude).max()
        assert worst <= allowed, f"{algorithm}: {worst:.3g} of the magnitude"
        if data == "Gaussian" and algorithm != "winograd6":
            assert error.max() <= 1e-5 * np.abs(exact).max(), algorithm


FOLDED_WEIGHTS = {
    "many magnitudes": lambda rng, shape: (
        rng.standard_normal(shape) * np.exp(2 * rng.standard_normal(shape))
    ),
    "input channels over six orders": lambda rng, shape: (
        rng.standard_normal(shape) * 10.0 ** rng.uniform(-6, 0, (1, shape[1], 1, 1))
    ),
    "output channels over six orders": lambda rng, shape: (
        rng.standard_normal(shape) * 10.0 ** rng.uniform(-6, 0, (shape[0], 1, 1, 1))
    ),
    "taps over six orders": lambda rng, shape: (
        rng.standard_normal(shape) * 10.0 ** rng.uniform(-6, 0, (1, 1, 3, 3))
    ),
    "constant": lambda rng, shape: np.full(shape, 0.37),
}


@pytest.mark.parametrize("weights", FOLDED_WEIGHTS)
@pytest.mark.parametrize(("channels", "size"), [(64, 28), (32, 14), (128, 20)])
def test_prepared_convolutions_probe_their_weights(weights: str, channels: int, size: int) -> None:
    """Where Winograd would exceed the bound with these weights, another algorithm is taken."""
    rng = np.random.default_rng(0)
    weight = FOLDED_WEIGHTS[weights](rng, (channels, channels, 3, 3)).astype(np.float32)
    x = rng.standard_normal((1, channels, size, size)).astype(np.float32)
    prepared = fastconv.prepare_conv2d(weight, padding=1, input_shape=x.shape)
    if weights == "output channels over six orders":
        relu = fastconv.prepare_conv2d(weight, padding=1, input_shape=x.shape, activation="relu")
        assert "winograd" in repr(prepared)
        assert repr(relu) == repr(prepared)
    exact, magnitude = exact_and_magnitude(x, weight, padding=1)
    assert (np.abs(prepared(x) - exact) / magnitude).max() <= 2e-6


@pytest.mark.parametrize("weights", [name for name in FOLDED_WEIGHTS if "taps" not in name])
@pytest.mark.parametrize(("channels", "out_channels"), [(128, 512), (512, 256)])
def test_prepared_1x1_convolutions_probe_their_weights(
    weights: str, channels: int, out_channels: int
) -> None:
    rng = np.random.default_rng(0)
    shape = (out_channels, channels, 1, 1)
    weight = FOLDED_WEIGHTS[weights](rng, shape).astype(np.float32)
    for x in (rng.standard_normal((1, channels, 9, 9)), 3 + rng.random((1, channels, 9, 9))):
        x = x.astype(np.float32)
        prepared = fastconv.prepare_conv2d(weight, input_shape=x.shape, accuracy="fastest")
        if weights in ("output channels over six orders", "constant"):
            assert "strassen" in repr(prepared)
        if weights == "input channels over six orders":
            assert "direct" in repr(prepared)
        exact, magnitude = exact_and_magnitude(x, weight)
        assert (np.abs(prepared(x) - exact) / magnitude).max() <= 2e-6


def test_strassen_refuses_infinite_weights() -> None:
    """They would spoil the output channel whose weights they are added to."""
    weight = np.ones((256, 256, 1, 1), np.float32)
    x = np.ones((1, 256, 8, 8), np.float32)
    options = {"input_shape": x.shape, "accuracy": "fastest"}
    assert "strassen" in repr(fastconv.prepare_conv2d(weight, **options))
    weight[3, 5] = np.inf
    prepared = fastconv.prepare_conv2d(weight, **options)
    assert "direct" in repr(prepared)
    expected = fastconv.conv2d(x, weight, algorithm="reference")
    np.testing.assert_array_equal(prepared(x), expected)


def test_strassen_refuses_weights_that_overflow() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((1, 256, 9, 9)) * 1e-5).astype(np.float32)
    for size in (1e37, 1e38, 3e38):
        weight = (rng.uniform(-1, 1, (256, 256, 1, 1)) * size).astype(np.float32)
        prepared = fastconv.prepare_conv2d(weight, input_shape=x.shape, accuracy="fastest")
        assert np.isfinite(prepared(x)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strassen_keeps_channels_without_weights(dtype: type) -> None:
    """A channel whose weights are all zero gets its bias, whatever its partner has."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((1, 256, 9, 9)) * 1e4).astype(dtype)
    weight, bias = rng.standard_normal((256, 256, 1, 1)).astype(dtype), np.arange(256).astype(dtype)
    weight[[3, 40, 200]] = 0
    prepared = fastconv.prepare_conv2d(weight, bias, input_shape=x.shape, accuracy="fastest")
    assert "strassen" in repr(prepared)
    for channel in (3, 40, 200):
        assert np.all(prepared(x)[0, channel] == channel)


@pytest.mark.parametrize("size", [1e-34, 1e-30, 1e30, 1e34])
def test_strassen_of_small_and_large_values(size: float) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((1, 256, 9, 9)) * size).astype(np.float32)
    weight = rng.standard_normal((256, 256, 1, 1)).astype(np.float32)
    exact, magnitude = exact_and_magnitude(x, weight)
    error = np.abs(fastconv.conv2d(x, weight, algorithm="strassen") - exact)
    assert (error / magnitude).max() <= 2e-6


@pytest.mark.parametrize("exponent", [-122, -100, 100, 122])
def test_strassen_of_unequal_channels_with_small_and_large_weights(exponent: int) -> None:
    """Channels that share products and differ by 2^20 do not share roundings, near limits too."""
    rng = np.random.default_rng(0)
    x = np.ldexp(rng.standard_normal((1, 256, 9, 9)), -exponent // 2).astype(np.float32)
    weight = rng.standard_normal((256, 256, 1, 1))
    weight[:128] *= 2.0 ** (-20 if exponent > 0 else 20)  # channels 0 and 128 share products
    weight = np.ldexp(weight, exponent).astype(np.float32)
    exact, magnitude = exact_and_magnitude(x, weight)
    error = np.abs(fastconv.conv2d(x, weight, algorithm="strassen") - exact)
    assert (error / magnitude).max() <= 2e-6


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_inputs_of_strassen(value: float) -> None:
    """They reach the outputs that see them, and at most those of the neighbouring pixel."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 64, 7, 9)).astype(np.float32)
    weight = rng.standard_normal((96, 64, 1, 1)).astype(np.float32)
    for at in (0, 31, 62):  # the last pixel has no neighbour
        spoilt = x.copy()
        spoilt[1].reshape(64, -1)[40, at] = value
        y = fastconv.conv2d(spoilt, weight, algorithm="strassen").reshape(2, 96, -1)
        assert not np.isfinite(y[1, :, at]).any()
        others = np.delete(y[1], [at, at ^ 1] if at < 62 else [at], axis=1)
        assert np.isfinite(others).all()
        assert np.isfinite(y[0]).all()


def test_probe_rejects_winograd4() -> None:
    rng = np.random.default_rng(0)
    weight = FOLDED_WEIGHTS["many magnitudes"](rng, (64, 64, 3, 3)).astype(np.float32)
    conv = fastconv.nn.Conv2d(64, 64, 3, padding=1, bias=False)
    conv.weight = weight
    (step,) = conv.compile((1, 64, 28, 28)).explain()
    assert step["algorithm"] == "winograd2"
    assert "with these weights the rounding error of winograd4 would be too large" in step["reason"]
    conv.weight = rng.standard_normal(weight.shape).astype(np.float32)
    (step,) = conv.compile((1, 64, 28, 28)).explain()
    assert step["algorithm"] == "winograd4"


# ---- Non-finite values ----

NONFINITE = [
    ((1, 20, 19, 21), (18, 20, 3, 3), {"padding": 1}),
    ((2, 9, 12, 12), (12, 3, 3, 3), {"groups": 3, "padding": (2, 0)}),
    ((1, 20, 17, 16), (20, 1, 5, 5), {"groups": 20, "stride": 2, "padding": 2}),
    ((1, 8, 9, 9), (3, 8, 1, 1), {}),
    ((1, 600, 2, 2), (5, 600, 1, 1), {}),
    ((2, 5, 9, 11), (7, 5, 2, 3), {"dilation": 2}),
]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize(("x_shape", "weight_shape", "options"), NONFINITE)
def test_nonfinite_inputs_exact(
    value: float, activation: str | None, x_shape: Any, weight_shape: Any, options: Any
) -> None:
    """The same values in the same places as the reference's."""
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, x_shape).astype(np.float32)
    weight = rng.integers(1, 4, weight_shape).astype(np.float32)
    x[0, 1, 1, 1] = x[-1, -1, -1, 0] = value
    options = {**options, "activation": activation}
    expected = fastconv.conv2d(x, weight, algorithm="reference", **options)
    assert np.isnan(value) == np.isnan(expected).any()
    for algorithm in ("im2col", "direct", "depthwise", "auto"):
        if algorithm == "depthwise" and weight_shape[1] != 1:
            continue
        y = fastconv.conv2d(x, weight, algorithm=algorithm, accuracy="exact", **options)
        np.testing.assert_array_equal(y, expected, err_msg=algorithm)


def test_nonfinite_weights_meet_padding() -> None:
    """Padding is zeros that take part in the arithmetic: 0 * inf is NaN."""
    x = np.ones((1, 4, 6, 6), np.float32)
    weight = np.ones((5, 4, 3, 3), np.float32)
    weight[2, 1, 0, 0] = np.inf
    expected = fastconv.conv2d(x, weight, padding=1, algorithm="reference")
    assert np.isnan(expected[0, 2, 0]).all()
    assert np.isfinite(expected[0, [0, 1, 3, 4]]).all()
    for algorithm in ("im2col", "direct"):
        y = fastconv.conv2d(x, weight, padding=1, algorithm=algorithm)
        np.testing.assert_array_equal(y, expected, err_msg=algorithm)
    for algorithm in ("winograd2", "winograd4", "winograd6"):
        y = fastconv.conv2d(x, weight, padding=1, algorithm=algorithm)
        assert not np.isfinite(y[0, 2]).any()
        assert np.isfinite(y[0, [0, 1, 3, 4]]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_nonfinite_depthwise_weights_meet_padding(value: float, kernel: int) -> None:
    """Functional, and in a network, where arrays are blocked."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 4, (1, 20, 9, 15)).astype(np.float32)
    weight = rng.integers(1, 4, (20, 1, kernel, kernel)).astype(np.float32)
    weight[2, 0, 0, 0] = weight[17, 0, -1, -1] = value
    eye = np.eye(20, dtype=np.float32)[:, :, None, None]

    class Model(nn.Module):
        def forward(self, x):
            y = fastconv.conv2d(fastconv.conv2d(x, eye), weight, padding=2, groups=20)
            return fastconv.max_pool2d(y, 1)

    expected = fastconv.conv2d(x, weight, padding=2, groups=20, algorithm="reference")
    assert np.isnan(expected[0, 2, 0]).all()
    y = fastconv.conv2d(x, weight, padding=2, groups=20, algorithm="depthwise")
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(Model().compile(x.shape, accuracy="exact")(x), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tile", [2, 4, 6])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1)])
def test_nonfinite_inputs_winograd(value: float, tile: int, padding: tuple[int, int]) -> None:
    """All outputs that see the value are not finite, and none whose tile does not."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((17, 20, 3, 3)).astype(np.float32)
    clean = rng.standard_normal((1, 20, 15, 17)).astype(np.float32)
    expected = fastconv.conv2d(clean, weight, padding=padding, algorithm="reference")
    out_h, out_w = expected.shape[2:]
    for row, column in [(0, 0), (7, 8), (14, 16), (5, 12), (6, 3)]:
        x = clean.copy()
        x[0, 11, row, column] = value
        y = fastconv.conv2d(x, weight, padding=padding, algorithm=f"winograd{tile}")
        finite = np.isfinite(y).all(axis=(0, 1))
        assert not np.isfinite(y).any(axis=(0, 1))[~finite].any()  # all channels alike
        for i in range(out_h):
            for j in range(out_w):
                top, left = i - padding[0], j - padding[1]
                seen = top <= row < top + 3 and left <= column < left + 3
                tile_top, tile_left = i // tile * tile - padding[0], j // tile * tile - padding[1]
                in_tile = (
                    tile_top <= row < tile_top + tile + 2
                    and tile_left <= column < tile_left + tile + 2
                )
                assert not (seen and finite[i, j])
                assert in_tile or finite[i, j]
        np.testing.assert_allclose(y[:, :, finite], expected[:, :, finite], atol=1e-2)


# ---- Subnormals and the floating-point environment ----


def environment_is_intact() -> bool:
    tiny = np.full(64, 1e-40, np.float32)
    return bool(np.all(tiny * np.float32(0.5) != 0)) and np.float32(1e-38) * np.float32(0.1) != 0


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "options"),
    [
        ((1, 1, 9, 9), (1, 1, 1, 1), {}),
        ((1, 1, 9, 9), (20, 1, 1, 1), {}),
        ((1, 20, 9, 9), (20, 1, 1, 1), {"groups": 20}),
        ((1, 20, 1, 1), (20, 1, 1, 1), {"groups": 20}),
        ((3, 1, 1, 1), (20, 1, 1, 1), {}),
    ],
)
def test_exact_keeps_subnormals(x_shape: Any, weight_shape: Any, options: Any) -> None:
    x, weight = np.full(x_shape, 1e-40, np.float32), np.full(weight_shape, 0.5, np.float32)
    for algorithm in served(x, weight, accuracy="exact", **options):
        y = fastconv.conv2d(x, weight, algorithm=algorithm, accuracy="exact", **options)
        assert np.all(y == np.float32(1e-40) * np.float32(0.5)), algorithm
    y = fastconv.conv2d(x, weight, algorithm="reference", **options)
    assert np.all(y == np.float32(1e-40) * np.float32(0.5))
    for algorithm in served(x, weight, **options):
        y = fastconv.conv2d(x, weight, algorithm=algorithm, **options)
        assert np.all((y == 0) | (y == np.float32(1e-40) * np.float32(0.5)))


def test_the_callers_mode_is_restored() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 32, 30, 30)).astype(np.float32)
    weight, depthwise = (rng.standard_normal((32, c, 3, 3)).astype(np.float32) for c in (32, 1))
    for threads in (1, 3):
        with fastconv.num_threads(threads):
            for algorithm in (*ALGORITHMS, "reference"):
                fastconv.conv2d(x, weight, algorithm=algorithm)
                assert environment_is_intact(), algorithm
            fastconv.conv2d(x, depthwise, groups=32)
            assert environment_is_intact()
            fastconv.conv2d(x, weight[:, :, :1, :1], algorithm="strassen")
            assert environment_is_intact()
            fastconv.conv_transpose2d(x, weight, stride=2)
            fastconv.linear(x, weight[:, :30, 0, :1].repeat(10, 2)[:, 0].repeat(3, 1))
            assert environment_is_intact()
            with pytest.raises(ValueError, match="cannot serve"):
                fastconv.conv2d(x, weight, algorithm="depthwise")
            assert environment_is_intact()


def test_the_callers_errstate_is_left_alone() -> None:
    x, weight = np.full((1, 2, 20, 20), 1e30, np.float32), np.full((4, 2, 3, 3), 1e30, np.float32)
    with np.errstate(all="raise"):
        before = np.geterr()
        for algorithm in (*ALGORITHMS, "reference"):
            y = fastconv.conv2d(x, weight, algorithm=algorithm)
            assert not np.isfinite(y).any()
        assert np.geterr() == before
        np.float32(1) + np.float32(2)
