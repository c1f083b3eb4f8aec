"""The promises of docs/accuracy.md: a sample of the search over hard data, its worst cases, others
that once passed the bound, and data that nearly reach what is proved."""

from __future__ import annotations

from typing import Any

import accuracy_search
import fastconv
import numpy as np
import pytest
from accuracy_search import SEARCHED, Outcome, outcomes, promised, search
from fastconv import nn

Array = np.ndarray[Any, Any]


def check(found: Outcome) -> None:
    assert found.error <= 1, f"{found.algorithm}, {found.how}, {found.error:.3g}: {found.text}"


def test_a_sample_of_the_search() -> None:
    for found in search(0, 150).values():
        check(found)


# The cases with the largest errors of 28,000, for each algorithm and instruction set.
WORST = (5955, 6200, 6441, 6686, 6837, 7634, 7664, 8295, 9382, 10831, 11249, 11410)


@pytest.mark.parametrize("number", WORST)
def test_the_worst_cases_of_the_search(number: int) -> None:
    found = list(outcomes(accuracy_search.make_case(number)))
    for outcome in found:
        check(outcome)
    assert max(outcome.error for outcome in found) > 0.05  # they still are hard


def error_over_scale(y: Array, x: Array, weight: Array, **options: Any) -> float:
    """Relative to the largest sum of absolute products of each channel."""
    wide, kernel = x.astype(np.float64), weight.astype(np.float64)
    exact = fastconv.conv2d(wide, kernel, algorithm="im2col", **options)
    scale = fastconv.conv2d(np.abs(wide), np.abs(kernel), algorithm="im2col", **options)
    error = np.abs(y - exact) / scale.max(axis=(0, 2, 3), keepdims=True)
    return float(error.max())


def results(x: Array, weight: Array, **options: Any) -> dict[str, Array]:
    """What the default gives: functional, prepared and as a network."""
    conv = nn.Conv2d(*weight.shape[1::-1], weight.shape[2:], **options, bias=False)
    conv.weight = weight
    prepared = fastconv.prepare_conv2d(weight, **options, input_shape=x.shape)
    return {
        "functional": fastconv.conv2d(x, weight, **options),
        repr(prepared): prepared(x),
        "network": conv.compile(x.shape)(x),
    }


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_an_outlier_channel_before_a_1x1_convolution(share: float) -> None:
    """Strassen's algorithm would miss by up to 8e-4 of the scale."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 256, 14, 14)).astype(np.float32)
    x[:, 0] *= 1e4
    weight = rng.standard_normal((256, 256, 1, 1)) * (rng.random((256, 256, 1, 1)) < share)
    weight = weight.astype(np.float32)
    for how, y in results(x, weight).items():
        assert "strassen" not in how
        assert error_over_scale(y, x, weight) <= 2e-6, how
    fastest = fastconv.prepare_conv2d(weight, input_shape=x.shape, accuracy="fastest")
    assert "strassen" in repr(fastest)
    assert error_over_scale(fastest(x), x, weight) > SEARCHED
    norm = np.abs(weight).sum(axis=1, dtype=np.float64).reshape(1, -1, 1, 1) * np.abs(x).max()
    exact = fastconv.conv2d(x.astype(np.float64), weight.astype(np.float64))
    assert (np.abs(fastest(x) - exact) / norm).max() <= SEARCHED


HARD = {
    "outlier channel": lambda rng, shape: (
        rng.standard_normal(shape) * np.where(np.arange(shape[1]) == 0, 1e4, 1)[:, None, None]
    ),
    "log-normal": lambda rng, shape: np.exp(2 * rng.standard_normal(shape)),
    "constant": lambda rng, shape: np.full(shape, 1.1),
    "large mean": lambda rng, shape: 1000 + rng.standard_normal(shape),
}


@pytest.mark.parametrize("data", HARD)
@pytest.mark.parametrize("channels", [64, 128, 512])
def test_hard_data_before_a_3x3_convolution(data: str, channels: int) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = HARD[data](rng, (1, channels, 16, 16)).astype(np.float32)
        for weight in (
            rng.standard_normal((32, channels, 3, 3)),
            np.full((32, channels, 3, 3), 0.7),
        ):
            weight = weight.astype(np.float32)
            for how, y in results(x, weight, padding=1).items():
                assert error_over_scale(y, x, weight, padding=1) <= SEARCHED, how
            y = fastconv.conv2d(x, weight, padding=1, algorithm="winograd4")
            assert error_over_scale(y, x, weight, padding=1) <= SEARCHED


@pytest.mark.parametrize(("small", "large"), [(1e-36, 1e34), (1e-37, 1e20), (1e37, 1e-6)])
@pytest.mark.parametrize("algorithm", ["winograd2", "winograd4", "strassen"])
def test_transformed_weights_are_not_flushed(algorithm: str, small: float, large: float) -> None:
    rng = np.random.default_rng(0)
    kernel = (1, 1) if algorithm == "strassen" else (3, 3)
    x = (rng.standard_normal((1, 64, 16, 16)) * large).astype(np.float32)
    weight = (rng.uniform(0.5, 1, (64, 64, *kernel)) * small).astype(np.float32)
    weight *= rng.choice([-1, 1], weight.shape).astype(np.float32)
    y = fastconv.conv2d(x, weight, algorithm=algorithm)
    assert error_over_scale(y, x, weight) <= 2e-6
    for how, y in results(x, weight).items():
        assert error_over_scale(y, x, weight) <= 2e-6, how


def test_weights_of_some_channels_are_scaled() -> None:
    """Those of others, and of channels without weights, in the same vector are not."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 40, 12, 12)).astype(np.float32)
    weight = rng.standard_normal((40, 40, 3, 3))
    weight *= 10.0 ** rng.choice([-37, -30, 0, 30], (40, 1, 1, 1))
    weight[3] = 0
    weight = weight.astype(np.float32)
    for groups in (1, 2):
        part = weight[:, : 40 // groups]
        for algorithm in ("winograd2", "winograd4", "winograd6"):
            y = fastconv.conv2d(x, part, padding=1, groups=groups, algorithm=algorithm)
            assert np.all(y[:, 3] == 0)
            rest = np.arange(40) != 3
            exact = fastconv.conv2d(
                x.astype(np.float64), part.astype(np.float64), padding=1, groups=groups
            )
            largest = np.abs(exact).max(axis=(0, 2, 3), keepdims=True)
            assert (np.abs(y - exact) / np.maximum(largest, 1e-30))[:, rest].max() <= 2e-5


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "groups", "algorithm", "reached"),
    [
        ((1, 512, 3, 7), (32, 512, 3, 3), 1, "direct", 0.3),
        ((1, 512, 3, 7), (32, 512, 3, 3), 1, "im2col", 0.5),
        ((1, 184, 5, 9), (32, 184, 5, 5), 1, "direct", 0.3),
        ((1, 64, 7, 9), (32, 64, 7, 7), 1, "direct", 0.2),
        ((1, 40, 11, 15), (3, 40, 11, 11), 1, "direct", 0.2),
        ((1, 4608, 2, 3), (32, 4608, 1, 1), 1, "direct", 0.5),
        ((1, 4608, 2, 3), (32, 4608, 1, 1), 1, "im2col", 0.5),
        ((1, 4608, 1, 1), (8, 4608, 1, 1), 1, "im2col", 0.02),
        ((1, 4608, 1, 1), (32, 4608, 1, 1), 1, "direct", 0.5),
        ((1, 64, 3, 9), (8, 32, 3, 3), 2, "direct", 0.3),
        ((1, 128, 3, 9), (8, 64, 3, 3), 2, "direct", 0.2),
        ((1, 8, 7, 9), (8, 1, 7, 7), 8, "depthwise", 0.7),
    ],
)
def test_no_sum_is_longer_than_promised(
    x_shape: Any, weight_shape: Any, groups: int, algorithm: str, reached: float
) -> None:
    """A 1, then half units in its last place: each is lost while it meets the 1 in one sum."""
    half = 2.0**-24
    x = np.full(x_shape, half, np.float32)
    weight = np.ones(weight_shape, np.float32)
    x[:, :: weight_shape[1], 0, 0] = 1
    products = int(np.prod(weight_shape[1:]))
    exact = 1 + (products - 1) * half
    y = fastconv.conv2d(x, weight, groups=groups, algorithm=algorithm, accuracy="exact")
    error = np.abs(y[..., 0, 0].astype(np.float64) - exact).max() / exact
    family = "grouped" if algorithm == "direct" and groups > 1 else algorithm
    bound = promised(family, products, weight_shape[3])
    assert reached * bound <= error <= bound
