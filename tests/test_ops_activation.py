"""Activations, softmax and log_softmax against NumPy in float64."""

from __future__ import annotations

import math
from typing import Any

import fastconv
import numpy as np
import pytest

REFERENCES: dict[str, Any] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "gelu": lambda x: x * np.vectorize(lambda v: math.erfc(-v / math.sqrt(2)) / 2)(x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
}


@pytest.mark.parametrize("name", sorted(REFERENCES))
@pytest.mark.parametrize("count", [0, 1, 3, 4, 15, 16, 17, 100, 40000])
def test_value(name: str, count: int, dtype: Any, rng: np.random.Generator) -> None:
    x = (4 * rng.normal(size=count)).astype(dtype)
    expected = REFERENCES[name](x.astype(np.float64)) if count else x.astype(np.float64)
    y = getattr(fastconv, name)(x)
    assert y.dtype == dtype
    # In float64 the references' own errors are the larger ones.
    rtol = 6 * np.finfo(dtype).eps if dtype == np.float32 else 1e-13
    atol = 2.5 * np.finfo(dtype).eps * np.abs(x) if name == "gelu" else 1e-30
    assert (np.abs(y - expected) <= rtol * np.abs(expected) + atol).all()


def test_gelu_tanh(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=1000).astype(dtype)
    v = x.astype(np.float64)
    expected = v / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
    np.testing.assert_allclose(
        fastconv.gelu(x, "tanh"), expected, rtol=1e-12 if dtype == np.float64 else 2e-6
    )
    assert (fastconv.gelu(x, "tanh") != fastconv.gelu(x)).any()


def test_special_values(dtype: Any) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([inf, -inf, nan, 0.0, -0.0, 1e30, -1e30], dtype)
    expected = {
        "relu": [inf, 0, nan, 0, 0, dtype(1e30), 0],
        "relu6": [6, 0, nan, 0, 0, 6, 0],
        "leaky_relu": [inf, -inf, nan, 0, 0, dtype(1e30), dtype(-1e30) * dtype(0.01)],
        "gelu": [inf, nan, nan, 0, 0, dtype(1e30), 0],
        "silu": [inf, nan, nan, 0, 0, dtype(1e30), 0],
        "hardswish": [inf, nan, nan, 0, 0, dtype(1e30), 0],
        "mish": [inf, nan, nan, 0, 0, dtype(1e30), 0],
        "hardsigmoid": [1, 0, nan, 0.5, 0.5, 1, 0],
        "sigmoid": [1, 0, nan, 0.5, 0.5, 1, 0],
        "tanh": [1, -1, nan, 0, 0, 1, -1],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(fastconv, name)(x), np.array(values, dtype), name)
    assert np.signbit(fastconv.tanh(x)[4])


def test_subnormals_are_kept(dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([tiny, -tiny], dtype)
    np.testing.assert_array_equal(fastconv.relu(x), [tiny, 0])
    np.testing.assert_array_equal(fastconv.tanh(x), x)


def test_scalars_keep_no_dimensions() -> None:
    assert fastconv.sigmoid(np.float64(0.0)).shape == ()
    assert fastconv.softmax(np.float64(3.0)) == 1.0


def test_bad_arguments() -> None:
    x = np.zeros(3)
    with pytest.raises(ValueError, match="approximate must be one of none, tanh"):
        fastconv.gelu(x, "exact")
    with pytest.raises(TypeError, match="negative_slope must be a number"):
        fastconv.leaky_relu(x, "0.1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="axis = 1 is out of range"):
        fastconv.softmax(x, 1)
    with pytest.raises(TypeError, match="axis must be an integer"):
        fastconv.log_softmax(x, 0.5)  # type: ignore[arg-type]


def softmax_reference(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    v = x.astype(np.float64)
    v = v - v.max(axis, keepdims=True)
    e = np.exp(v)
    total = e.sum(axis, keepdims=True)
    return e / total, v - np.log(total)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1,), 0),
        ((5,), 0),
        ((2, 16), -1),
        ((2, 1000), -1),
        ((3, 21, 33, 17), 1),
        ((3, 7, 1), 0),
        ((40, 3), 0),
        ((2, 3, 4, 5, 6), 2),
        ((0, 4), 1),
        ((4, 0), 1),
    ],
)
def test_softmax(shape: tuple[int, ...], axis: int, dtype: Any, rng: np.random.Generator) -> None:
    x = (10 * rng.normal(size=shape)).astype(dtype)
    y, log_y = fastconv.softmax(x, axis), fastconv.log_softmax(x, axis)
    if x.size:
        expected, log_expected = softmax_reference(x, axis)
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(y, expected, rtol=100 * eps)
        np.testing.assert_allclose(log_y, log_expected, rtol=2 * eps, atol=8 * eps)
    assert y.shape == log_y.shape == shape


def test_softmax_neither_overflows_nor_loses_small_terms(dtype: Any) -> None:
    x = np.array([[1000.0, 1000.0], [-1000.0, 0.0]], dtype)
    np.testing.assert_array_equal(fastconv.softmax(x), [[0.5, 0.5], [0.0, 1.0]])
    many = np.zeros(1_000_003, dtype)
    np.testing.assert_allclose(fastconv.softmax(many), 1 / many.size, rtol=2 * np.finfo(dtype).eps)


def test_softmax_of_non_finite_values(dtype: Any) -> None:
    inf, nan = np.inf, np.nan
    for axis, shape in ((1, (5, 3)), (0, (3, 5))):
        x = np.array(
            [[1, nan, 2], [inf, 1, 2], [-inf, -inf, -inf], [-inf, 0, 0], [nan, -inf, 3]], dtype
        )
        expected = np.array([[nan] * 3, [nan] * 3, [nan] * 3, [0, 0.5, 0.5], [nan] * 3])
        x, expected = (x, expected) if axis == 1 else (x.T, expected.T)
        assert x.shape == shape
        np.testing.assert_array_equal(fastconv.softmax(x, axis), expected)
