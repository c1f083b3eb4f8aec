"""Normalisations against plain NumPy."""

from __future__ import annotations

from functools import partial
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


class Function(nn.Module):
    def __init__(self, function: Any) -> None:
        self._function = function

    def forward(self, x: Any) -> Any:
        return self._function(x)


@pytest.mark.parametrize(
    "shape", [(2, 6, 5), (2, 17, 5, 7), (1, 3, 1, 2), (2, 4, 3, 2, 2), (0, 3, 2)]
)
def test_instance_norm(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> None:
    x = (3 * rng.normal(size=shape) + 1).astype(dtype)
    weight, bias, mean = (rng.normal(size=shape[1]).astype(dtype) for _ in range(3))
    variance = rng.uniform(0.2, 2, shape[1]).astype(dtype)
    for values in (weight, bias, mean, variance):
        values.flags.writeable = False
    axes, v = tuple(range(2, len(shape))), x.astype(np.float64)
    column = (-1,) + (1,) * len(axes)
    own = v.mean(axes, keepdims=True), v.var(axes, keepdims=True)
    running = mean.reshape(column), variance.reshape(column)
    for with_input, (m, var) in ((True, own), (False, running)):
        normalised = (v - m) / np.sqrt(var + 1e-3)
        for w, b in ((None, None), (weight, bias), (None, bias), (weight, None)):
            expected = normalised * (1 if w is None else w.reshape(column))
            expected = expected + (0 if b is None else b.reshape(column))

            options = {"use_input_stats": with_input, "eps": 1e-3}
            call = partial(fastconv.instance_norm, **options, weight=w, bias=b)
            call = partial(call, running_mean=mean, running_var=variance)
            y = call(x)
            np.testing.assert_allclose(y, expected, rtol=0, atol=100 * np.finfo(dtype).eps)
            recorded = Function(call)(x)
            if with_input:
                np.testing.assert_array_equal(recorded, y)
            else:  # the statistics become one factor and one summand
                np.testing.assert_allclose(recorded, y, rtol=0, atol=100 * np.finfo(dtype).eps)
    same = x.copy()
    assert call(same, out=same) is same
    np.testing.assert_array_equal(same, y)


def test_instance_norm_needs_statistics() -> None:
    x, c = np.ones((2, 3, 4)), np.ones(3)
    for arguments in (
        (None, None, None, None, False),
        (c,),
        (None, c),
        (c, None, None, None, False),
    ):
        with pytest.raises(TypeError, match="running_mean and running_var must be given both"):
            fastconv.instance_norm(x, *arguments)
    for shape in ((2, 3), (2, 3, 1), (2, 3, 1, 1)):
        with pytest.raises(ValueError, match="must have more than one element in a channel"):
            fastconv.instance_norm(np.ones(shape))
        assert fastconv.instance_norm(np.ones(shape), c, c, use_input_stats=False).shape == shape
    with pytest.raises(ValueError, match=r"x must have shape \(N, C, ...\).*got \(3,\)"):
        fastconv.instance_norm(c)
    with pytest.raises(ValueError, match=r"at least one channel, got \(2, 0, 4\)"):
        fastconv.instance_norm(np.ones((2, 0, 4)))
    with pytest.raises(TypeError, match="use_input_stats must be True or False"):
        fastconv.instance_norm(x, use_input_stats=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weight must have shape \(3,\)"):
        fastconv.instance_norm(x, weight=np.ones(4))


LAYERS = [
    (nn.GroupNorm(2, 4), (2, 4, 5, 3), lambda x, w, b: fastconv.group_norm(x, 2, w, b)),
    (nn.InstanceNorm1d(4, affine=True), (2, 4, 5), None),
    (nn.InstanceNorm2d(4, affine=True), (2, 4, 5, 3), None),
    (nn.InstanceNorm3d(4, affine=True), (2, 4, 5, 3, 2), None),
]


@pytest.mark.parametrize(("layer", "shape", "function"), LAYERS)
def test_layers_with_statistics_of_samples(
    layer: Any, shape: tuple[int, ...], function: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape, np.float32)
    weight, bias = (rng.standard_normal(4, np.float32) for _ in range(2))
    layer.load_state_dict({"weight": weight, "bias": bias})
    function = function or (lambda x, w, b: fastconv.instance_norm(x, None, None, w, b))
    expected = function(x, weight, bias)
    np.testing.assert_array_equal(layer(x), expected)
    np.testing.assert_array_equal(layer.eager(x), expected)
    if layer.input_ndim is not None:  # one sample without a batch
        np.testing.assert_array_equal(layer(x[0]), expected[0])
        np.testing.assert_array_equal(layer.eager(x[0]), expected[0])
    layer.reset_parameters()
    np.testing.assert_array_equal(layer(x), function(x, None, None))


def test_tracked_statistics_take_the_place_of_a_samples(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 4, 5, 3), np.float32)
    layer = nn.InstanceNorm2d(4, track_running_stats=True)
    assert list(layer.state_dict()) == ["running_mean", "running_var", "num_batches_tracked"]
    mean, variance = np.arange(4, dtype=np.float32), np.arange(1, 5, dtype=np.float32)
    layer.running_mean, layer.running_var = mean, variance
    expected = fastconv.batch_norm(x, mean, variance)
    np.testing.assert_array_equal(layer.eager(x), expected)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    layer.reset_parameters()
    assert layer.running_mean.tolist() == [0] * 4
    assert list(nn.InstanceNorm2d(4).state_dict()) == []


@pytest.mark.parametrize(
    ("make", "shape"),
    [(nn.BatchNorm1d, (3, 4)), (nn.BatchNorm1d, (3, 4, 5)), (nn.BatchNorm3d, (3, 4, 2, 3, 5))],
)
def test_batch_norms_of_other_ranks(
    make: Any, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    layer, x = make(4), rng.standard_normal(shape, np.float32)
    for name in ("weight", "bias", "running_mean", "running_var"):
        setattr(layer, name, rng.uniform(0.5, 2, 4).astype(np.float32))
    statistics = layer.running_mean, layer.running_var
    expected = fastconv.batch_norm(x, *statistics, layer.weight, layer.bias)
    np.testing.assert_array_equal(layer.eager(x), expected)
    # Folded into one factor and one summand: two roundings of numbers below 16.
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=32 * np.finfo(np.float32).eps)


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
