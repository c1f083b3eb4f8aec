"""Normalisations against plain NumPy."""

from __future__ import annotations

from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn


@pytest.mark.parametrize(
    "shape", [(2, 5, 7, 9), (1, 64, 56, 56), (3, 17, 1, 1), (6, 33), (2, 4, 3, 2, 2), (5, 7, 9)]
)
@pytest.mark.parametrize("activation", [None, "relu", "silu"])
def test_batch_norm(
    shape: tuple[int, ...], activation: str | None, dtype: Any, rng: np.random.Generator
) -> None:
    c = shape[1]
    x = rng.normal(size=shape).astype(dtype)
    mean, weight, bias = (rng.normal(size=c).astype(dtype) for _ in range(3))
    variance = rng.uniform(0.2, 2, c).astype(dtype)

    def column(v: np.ndarray) -> np.ndarray:
        return v.astype(np.float64).reshape((-1,) + (1,) * (len(shape) - 2))

    normalised = (x - column(mean)) / np.sqrt(column(variance) + 1e-3)
    for w, b in ((None, None), (weight, bias), (None, bias), (weight, None)):
        expected = normalised * (1 if w is None else column(w)) + (0 if b is None else column(b))
        if activation == "relu":
            expected = np.maximum(expected, 0)
        elif activation == "silu":
            expected = expected / (1 + np.exp(-expected))
        y = fastconv.batch_norm(x, mean, variance, w, b, eps=1e-3, activation=activation)
        np.testing.assert_allclose(y, expected, rtol=0, atol=50 * np.finfo(dtype).eps)


def test_batch_norm_keeps_accuracy_far_from_zero() -> None:
    x = (10000 + np.linspace(-1, 1, 1000)).astype(np.float32).reshape(1, 1, 10, 100)
    mean, variance = np.array([10000], np.float32), np.array([1e-4], np.float32)
    expected = (x.astype(np.float64) - 10000) / np.sqrt(np.float64(variance[0]) + 1e-5)
    np.testing.assert_allclose(fastconv.batch_norm(x, mean, variance), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "normalized"),
    [((2, 5, 96), 96), ((3, 7), (7,)), ((2, 3, 4, 5), (3, 4, 5)), ((4, 1), 1), ((50, 1000), 1000)],
)
def test_layer_norm(
    shape: tuple[int, ...], normalized: Any, dtype: Any, rng: np.random.Generator
) -> None:
    x = rng.normal(size=shape).astype(dtype)
    sizes = (normalized,) if isinstance(normalized, int) else normalized
    axes = tuple(range(-len(sizes), 0))
    weight, bias = (rng.normal(size=sizes).astype(dtype) for _ in range(2))
    v = x.astype(np.float64)
    expected = (v - v.mean(axes, keepdims=True)) / np.sqrt(v.var(axes, keepdims=True) + 1e-6)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(
        fastconv.layer_norm(x, normalized, eps=1e-6), expected, rtol=8 * eps, atol=8 * eps
    )
    y = fastconv.layer_norm(x, normalized, weight, bias, 1e-6)
    np.testing.assert_allclose(y, expected * weight + bias, rtol=16 * eps, atol=32 * eps)


@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((2, 6, 5, 7), 3),
        ((1, 32, 56, 56), 32),
        ((1, 64, 60, 40), 1),
        ((3, 8), 4),
        ((2, 12, 9), 12),
        ((1, 3, 1, 1, 5), 1),
    ],
)
def test_group_norm(
    shape: tuple[int, ...], groups: int, dtype: Any, rng: np.random.Generator
) -> None:
    x = (3 * rng.normal(size=shape) + 1).astype(dtype)
    weight, bias = (rng.normal(size=shape[1]).astype(dtype) for _ in range(2))
    v = x.astype(np.float64).reshape(shape[0], groups, -1)
    deviation = np.sqrt(v.var(2, keepdims=True) + 1e-3)
    normalised = ((v - v.mean(2, keepdims=True)) / deviation).reshape(shape)
    column = (-1,) + (1,) * (len(shape) - 2)
    atol = 40 * np.finfo(dtype).eps
    for w, b in ((None, None), (weight, bias), (None, bias), (weight, None)):
        expected = normalised
        expected = expected if w is None else expected * w.reshape(column)
        expected = expected if b is None else expected + b.reshape(column)
        y = fastconv.group_norm(x, groups, w, b, 1e-3)
        np.testing.assert_allclose(y, expected, rtol=0, atol=atol)

        class Norm(nn.Module):
            def forward(self, x: Any) -> Any:
                return fastconv.group_norm(x, groups, w, b, 1e-3)  # noqa: B023 - called here

        np.testing.assert_array_equal(Norm()(x), y)
    assert fastconv.group_norm(x, groups, eps=1e-3, out=x) is x
    np.testing.assert_allclose(x, normalised, rtol=0, atol=atol)


def test_group_norm_of_empty_arrays(dtype: Any) -> None:
    for shape in ((0, 4, 3), (2, 4, 0), (2, 0, 3)):
        assert fastconv.group_norm(np.zeros(shape, dtype), 2).shape == shape


def test_layer_norm_keeps_accuracy_far_from_zero(rng: np.random.Generator) -> None:
    x = (rng.normal(size=(5, 3001)) + 10000).astype(np.float32)
    v = x.astype(np.float64)
    expected = (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(fastconv.layer_norm(x, 3001), expected, rtol=1e-6, atol=1e-6)


def test_layer_norm_of_constants_and_non_finite_values(dtype: Any) -> None:
    x = np.full((3, 20), 7.3, dtype)
    x[1, 4] = np.nan
    x[2, 4] = np.inf
    y = fastconv.layer_norm(x, 20)
    np.testing.assert_allclose(y[0], 0, atol=1e-3)
    assert np.isnan(y[1:]).all()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 40])
@pytest.mark.parametrize("shape", [(2, 5, 7, 9), (1, 64, 13, 13), (17, 3, 5)])
def test_local_response_norm(
    size: int, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator
) -> None:
    x = (5 * rng.normal(size=shape)).astype(dtype)
    v = x.astype(np.float64)
    channels = shape[-3]
    expected = np.empty_like(v)
    for c in range(channels):
        window = v[..., max(c - size // 2, 0) : c + (size - 1) // 2 + 1, :, :]
        divisor = (2 + 0.3 / size * (window**2).sum(-3)) ** 0.75
        expected[..., c, :, :] = v[..., c, :, :] / divisor
    y = fastconv.local_response_norm(x, size, 0.3, 0.75, 2.0)
    np.testing.assert_allclose(y, expected, rtol=20 * np.finfo(dtype).eps)


def test_bad_arguments() -> None:
    x, c = np.zeros((2, 3, 4, 4)), np.ones(3)
    with pytest.raises(ValueError, match=r"running_mean must have shape \(3,\)"):
        fastconv.batch_norm(x, np.ones(4), c)
    with pytest.raises(ValueError, match=r"weight must have shape \(3,\)"):
        fastconv.batch_norm(x, c, c, np.ones((3, 1)))
    with pytest.raises(TypeError, match="running_var is float32 but x is float64"):
        fastconv.batch_norm(x, c, c.astype(np.float32))
    for eps in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="eps must be finite and not negative"):
            fastconv.layer_norm(np.ones((2, 3)), 3, eps=eps)
    with pytest.raises(TypeError, match="running_mean must be an array, got None"):
        fastconv.batch_norm(x, None, c)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="activation must be one of"):
        fastconv.batch_norm(x, c, c, activation="softplus")
    with pytest.raises(ValueError, match="x must have shape"):
        fastconv.batch_norm(c, c, c)
    with pytest.raises(ValueError, match="normalized_shape must be the last sizes of x"):
        fastconv.layer_norm(x, 3)
    with pytest.raises(ValueError, match="normalized_shape must be the last sizes of x"):
        fastconv.layer_norm(x, ())
    with pytest.raises(ValueError, match=r"bias must have shape \(4,\)"):
        fastconv.layer_norm(x, 4, None, np.ones(3))
    for groups in (0, 2, -3):
        with pytest.raises(ValueError, match=f"num_groups must divide the 3 channels .* {groups}"):
            fastconv.group_norm(x, groups)
    with pytest.raises(ValueError, match=r"x must have shape \(N, C, ...\), got \(3,\)"):
        fastconv.group_norm(c, 1)
    with pytest.raises(ValueError, match=r"weight must have shape \(3,\)"):
        fastconv.group_norm(x, 3, np.ones(4))
    with pytest.raises(TypeError, match="bias is float32 but x is float64"):
        fastconv.group_norm(x, 3, None, np.ones(3, np.float32))
    with pytest.raises(TypeError, match="num_groups must be an integer"):
        fastconv.group_norm(x, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size must be at least 1"):
        fastconv.local_response_norm(x, 0)
    with pytest.raises(ValueError, match="x must have shape"):
        fastconv.local_response_norm(x[0, 0], 3)
