"""Operators other than convolutions against torch in float64."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import fastconv
import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytestmark = pytest.mark.oracle

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's test modules use what NumPy and Python deprecate
    from torch.testing._internal.common_methods_invocations import op_db

OPINFO = {(op.name, op.variant_test_name): op for op in op_db}
ACTIVATIONS = ("relu", "relu6", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "mish")


def assert_near(
    actual: np.ndarray, expected: torch.Tensor, *, ulps: float, scale: float | None = None
) -> None:
    """Equal shape, equal positions of NaN and infinity, and errors of at most `ulps` roundings.

    A rounding is relative to the expected value, or to `scale` where sums may cancel.
    """
    reference = expected.detach().numpy()
    assert actual.shape == reference.shape
    assert actual.flags.c_contiguous
    assert (np.isnan(actual) == np.isnan(reference)).all()
    finite = np.isfinite(reference)
    assert (actual[np.isinf(reference)] == reference[np.isinf(reference)]).all()
    size = np.maximum(np.abs(reference[finite]), scale or 0.0)
    info = np.finfo(actual.dtype)
    bound = ulps * np.maximum(float(info.eps) * size, float(info.tiny))
    assert (np.abs(actual[finite] - reference[finite]) <= bound).all()


def strided(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Random numbers in an array of random layout."""
    x = rng.normal(size=shape).astype(dtype)
    kind = rng.integers(5)
    if kind == 1:
        return np.asfortranarray(x)
    if kind == 2:
        big = np.empty(tuple(2 * n for n in shape), dtype)
        view = big[tuple(slice(None, None, 2) for _ in shape)]
        view[...] = x
        return view
    if kind == 3:
        return x[tuple(slice(None, None, -1) for _ in shape)]
    if kind == 4:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -3, -1)), -1, -3)
    return x


def image_shape(rng: np.random.Generator, low: int = 1, high: int = 19) -> tuple[int, ...]:
    """(N, C, H, W) or (C, H, W), with channels around the widths of vectors."""
    channels = int(rng.choice([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33]))
    spatial = tuple(int(n) for n in rng.integers(low, high, 2))
    batch = () if rng.random() < 0.2 else (int(rng.integers(4)),)
    return (*batch, channels, *spatial)


def to_torch(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, np.float64))


def agree(ours: Any, reference: Any, **tolerance: Any) -> bool:
    """Whether both gave a result, which must be the same, or else both an error."""
    try:
        expected = reference()
    except (RuntimeError, ValueError, TypeError, IndexError):
        with pytest.raises((ValueError, TypeError)):
            ours()
        return False
    assert_near(ours(), expected, **tolerance)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_pools(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    succeeded = 0
    for _ in range(400):
        x = strided(rng, image_shape(rng), dtype)
        if rng.random() < 0.2 and x.size:
            x = x.copy()
            x.reshape(-1)[rng.integers(x.size)] = rng.choice([np.nan, np.inf, -np.inf])
        kernel = tuple(int(n) for n in rng.integers(1, 6, 2))
        stride = None if rng.random() < 0.3 else tuple(int(n) for n in rng.integers(1, 5, 2))
        padding = tuple(int(rng.integers(k // 2 + 1 + (rng.random() < 0.1))) for k in kernel)
        ceil_mode = bool(rng.integers(2))
        if rng.random() < 0.5:
            dilation = tuple(int(n) for n in rng.integers(1, 4, 2))
            arguments = (kernel, stride, padding, dilation, ceil_mode)
            succeeded += agree(
                partial(fastconv.max_pool2d, x, *arguments),
                partial(F.max_pool2d, to_torch(x), *arguments),
                ulps=0,
            )
        else:
            arguments = (kernel, stride, padding, ceil_mode, bool(rng.integers(2)))
            succeeded += agree(
                partial(fastconv.avg_pool2d, x, *arguments),
                partial(F.avg_pool2d, to_torch(x), *arguments),
                ulps=8,
                scale=4.0,
            )
    assert succeeded > 200


@pytest.mark.parametrize("seed", range(2))
def test_adaptive_pools(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(200):
        x = strided(rng, image_shape(rng), dtype)
        size = tuple(None if rng.random() < 0.2 else int(rng.integers(1, 12)) for _ in range(2))
        assert_near(
            fastconv.adaptive_avg_pool2d(x, size),
            F.adaptive_avg_pool2d(to_torch(x), size),
            ulps=4,
            scale=4.0,
        )
        assert_near(
            fastconv.adaptive_max_pool2d(x, size), F.adaptive_max_pool2d(to_torch(x), size), ulps=0
        )
        assert_near(
            fastconv.global_avg_pool2d(x), F.adaptive_avg_pool2d(to_torch(x), 1), ulps=4, scale=4.0
        )


@pytest.mark.parametrize("seed", range(2))
def test_interpolate(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(300):
        shape = image_shape(rng)
        x = strided(rng, shape if len(shape) == 4 else (2, *shape), dtype)
        if rng.random() < 0.5:
            sizes: dict[str, Any] = {"size": tuple(int(n) for n in rng.integers(1, 40, 2))}
        else:
            sizes = {"scale_factor": tuple(float(n) for n in rng.uniform(0.3, 4.0, 2))}
        # For float64 torch's choice of pixels depends on layout and size; for all where a factor
        # near 1 or 2 makes an output of once or twice the size (see the test of large outputs).
        factors = sizes.get("scale_factor", (0, 0))
        near = any(int(n * f) in (n, 2 * n) for n, f in zip(x.shape[2:], factors, strict=True))
        nonempty = agree(
            partial(fastconv.interpolate, x, **sizes),
            partial(F.interpolate, torch.from_numpy(x.astype(np.float32)), **sizes),
            ulps=np.inf if near else 0 if dtype == np.float32 else 1e9,
            scale=4.0,
        )
        assert nonempty or "scale_factor" in sizes
        align = bool(rng.integers(2))
        agree(
            partial(fastconv.interpolate, x, mode="bilinear", align_corners=align, **sizes),
            partial(F.interpolate, to_torch(x), mode="bilinear", align_corners=align, **sizes),
            ulps=64 if dtype == np.float64 else 8,  # torch rounds the coordinates
            scale=4.0,
        )


def test_nearest_picks_torchs_pixels_at_all_sizes() -> None:
    for n in range(1, 60):
        x = np.arange(n, dtype=np.float32).reshape(1, 1, 1, n)
        for m in range(1, 130):
            expected = F.interpolate(torch.from_numpy(x), (1, m))
            assert_near(fastconv.interpolate(x, (1, m)), expected, ulps=0)


@pytest.mark.parametrize("seed", range(2))
def test_nearest_picks_torchs_pixels_of_large_outputs(seed: int) -> None:
    """Of small ones torch takes factors near 1 and 2 for just these."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        rows, columns = int(rng.integers(100, 200)), int(rng.integers(1, 60))
        x = np.arange(rows * columns, dtype=np.float32).reshape(1, 1, rows, columns)
        base = rng.choice([1, 2, rng.uniform(0.3, 4)], 2)
        factors = tuple(float(f) for f in base + rng.uniform(0, 0.1, 2))
        if min(int(columns * factors[1]), columns) < 1 or rows * factors[0] < 130:
            continue
        for image in (x, x.repeat(40, 1)):
            expected = F.interpolate(torch.from_numpy(image), scale_factor=factors)
            assert_near(fastconv.interpolate(image, scale_factor=factors), expected, ulps=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bilinear_copies_an_axis_that_keeps_its_size_as_torch_does(layout: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 4, 1, 8), (1, 4, 100, 8), (1, 64, 300, 8)):
        x = rng.normal(size=shape).astype(dtype)
        theirs = torch.from_numpy(x).contiguous(memory_format=layout)
        for factors in ((1.0001, 1.06), (2.0, 1.06)):
            arguments = {"scale_factor": factors, "mode": "bilinear"}
            y = fastconv.interpolate(x, **arguments)
            expected = F.interpolate(theirs, **arguments).contiguous()
            assert_near(y, expected, ulps=8, scale=4.0)


@pytest.mark.parametrize("seed", range(2))
def test_batch_norm(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(150):
        shape = image_shape(rng)
        if len(shape) == 3:  # else torch's: (N, C), (N, C, L) or five dimensions
            shape = (shape[:2], shape, (2, *shape, 2))[rng.integers(3)]
        x = strided(rng, shape, dtype) if len(shape) > 2 else rng.normal(size=shape).astype(dtype)
        c = shape[1]
        mean, weight, bias = (rng.normal(size=c).astype(dtype) for _ in range(3))
        variance = rng.uniform(0.1, 3, c).astype(dtype)
        weight, bias = (None if rng.random() < 0.3 else v for v in (weight, bias))
        eps = float(rng.choice([1e-5, 1e-3, 0.5]))
        given = [None if v is None else to_torch(v) for v in (mean, variance, weight, bias)]
        assert_near(
            fastconv.batch_norm(x, mean, variance, weight, bias, eps=eps),
            F.batch_norm(to_torch(x), *given, eps=eps),
            ulps=8,
            scale=10.0,
        )


SIDE = 4  # all sizes, so that a wrong axis does not show in the shape
KERNEL = np.random.default_rng(1).normal(size=(SIDE, SIDE, 3, 3))
VECTOR = np.random.default_rng(2).uniform(0.5, 1.5, SIDE)


def convolution(name: str) -> Any:
    kernel = KERNEL[..., 0] if name == "conv1d" else KERNEL
    return (
        lambda x: getattr(fastconv, name)(x, kernel, padding=1),
        lambda x: getattr(F, name)(x, torch.from_numpy(kernel), padding=1),
    )


# Of each op, ours and torch's function; and the ranks that mean one image here and (N, C, L) there.
RANKED: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "conv2d": (*convolution("conv2d"), ()),
    "conv1d": (*convolution("conv1d"), ()),
    "conv_transpose2d": (*convolution("conv_transpose2d"), ()),
    "linear": (
        lambda x: fastconv.linear(x, KERNEL[..., 0, 0]),
        lambda x: F.linear(x, torch.from_numpy(KERNEL[..., 0, 0])),
        (),
    ),
    "max_pool2d": (lambda x: fastconv.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 2), ()),
    "avg_pool2d": (lambda x: fastconv.avg_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2), ()),
    **{
        f"{name} {size}": (
            lambda x, name=name, size=size: getattr(fastconv, name)(x, size),
            lambda x, name=name, size=size: getattr(F, name)(x, size),
            (),
        )
        for name in ("adaptive_avg_pool2d", "adaptive_max_pool2d")
        for size in (0, 3)
    },
    "interpolate": (
        lambda x: fastconv.interpolate(x, (3, 7)),
        lambda x: F.interpolate(x, (3, 7)),
        (3,),
    ),
    "batch_norm": (
        lambda x: fastconv.batch_norm(x, VECTOR, VECTOR),
        lambda x: F.batch_norm(x, torch.from_numpy(VECTOR), torch.from_numpy(VECTOR)),
        (),
    ),
    "layer_norm": (
        lambda x: fastconv.layer_norm(x, SIDE),
        lambda x: F.layer_norm(x, (SIDE,)),
        (),
    ),
    "group_norm": (
        lambda x: fastconv.group_norm(x, 2),
        lambda x: F.group_norm(x, 2),
        (),
    ),
    "local_response_norm": (
        lambda x: fastconv.local_response_norm(x, 3, 0.5),
        lambda x: F.local_response_norm(x, 3, 0.5),
        (3,),
    ),
    "channel_shuffle": (
        lambda x: fastconv.channel_shuffle(x, 2),
        lambda x: F.channel_shuffle(x, 2),
        (3,),
    ),
    "pixel_shuffle": (
        lambda x: fastconv.pixel_shuffle(x, 2),
        lambda x: F.pixel_shuffle(x, 2),
        (),
    ),
    "softmax": (lambda x: fastconv.softmax(x, -1), lambda x: F.softmax(x, -1), ()),
    "mean": (lambda x: fastconv.mean(x, 0), lambda x: x.mean(0), ()),
    "flatten": (lambda x: fastconv.flatten(x, 1), lambda x: x.flatten(1), ()),
    "relu": (fastconv.relu, F.relu, ()),
}
ONLY_IN_TORCH = {("pixel_shuffle", 5), ("local_response_norm", 5), ("channel_shuffle", 5)}


class Apply(fastconv.nn.Module):
    def __init__(self, function: Any) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


@pytest.mark.parametrize("rank", range(1, 6))
@pytest.mark.parametrize("name", RANKED)
def test_ranks_mean_what_they_mean_in_torch(name: str, rank: int) -> None:
    ours, theirs, images = RANKED[name]
    x = np.random.default_rng(rank).normal(size=(SIDE,) * rank)
    module = Apply(ours)

    def reference() -> torch.Tensor:
        if (name, rank) in ONLY_IN_TORCH:
            raise ValueError
        if rank in images:
            return theirs(torch.from_numpy(x)[None])[0]
        return theirs(torch.from_numpy(x))

    def compiled(value: np.ndarray) -> np.ndarray:
        return module.compile(value.shape, precision="fp64")(value)

    for run in (ours, module, compiled):
        agree(partial(run, x), reference, ulps=64, scale=4.0)


@pytest.mark.parametrize("seed", range(2))
def test_layer_norm(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(150):
        shape = tuple(int(n) for n in rng.integers(1, 23, rng.integers(1, 5)))
        x = (rng.normal(size=shape) + (100 if dtype == np.float32 else 0)).astype(dtype)
        normalized = shape[-int(rng.integers(1, len(shape) + 1)) :]
        weight, bias = (
            None if rng.random() < 0.3 else rng.normal(size=normalized).astype(dtype)
            for _ in range(2)
        )
        given = [None if v is None else to_torch(v) for v in (weight, bias)]
        assert_near(
            fastconv.layer_norm(x, normalized, weight, bias, 1e-5),
            F.layer_norm(to_torch(x), normalized, *given, 1e-5),
            ulps=64,
            scale=16.0,
        )


@pytest.mark.parametrize("seed", range(2))
def test_local_response_norm(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(100):
        shape = image_shape(rng)
        x = strided(rng, shape if len(shape) == 4 else (2, *shape), dtype) * dtype(3)
        size = int(rng.integers(1, 12))
        alpha, beta, k = rng.uniform(0.01, 2), rng.uniform(0.3, 1.5), rng.uniform(0.5, 3)
        assert_near(
            fastconv.local_response_norm(x, size, alpha, beta, k),
            F.local_response_norm(to_torch(x), size, alpha, beta, k),
            ulps=32,
        )


@pytest.mark.parametrize("seed", range(2))
def test_softmax_and_mean(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(150):
        shape = tuple(int(n) for n in rng.integers(1, 40, rng.integers(1, 4)))
        x = (rng.normal(size=shape) * rng.choice([1, 30])).astype(dtype)
        axis = int(rng.integers(-len(shape), len(shape)))
        assert_near(fastconv.softmax(x, axis), F.softmax(to_torch(x), axis), ulps=64)
        assert_near(
            fastconv.log_softmax(x, axis), F.log_softmax(to_torch(x), axis), ulps=4, scale=4.0
        )
        axes = tuple(int(i) for i in np.flatnonzero(rng.integers(0, 2, len(shape))))
        keepdims = bool(rng.integers(2))
        if axes:
            assert_near(
                fastconv.mean(x, axes, keepdims),
                torch.as_tensor(to_torch(x).mean(axes, keepdims)),
                ulps=4,
                scale=float(np.abs(x).max()),
            )


@pytest.mark.parametrize("seed", range(2))
def test_reductions(seed: int, dtype: Any) -> None:
    """Against torch, which propagates NaN and takes the first of equal ones as NumPy does."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        shape = tuple(int(n) for n in rng.integers(1, 40, rng.integers(1, 4)))
        x = rng.normal(size=shape).astype(dtype)
        if rng.random() < 0.5:
            x = np.round(x)  # many equal ones
        if rng.random() < 0.3:
            x[rng.random(shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
        x = x[tuple(slice(None, None, int(rng.choice([1, -1, 2]))) for _ in shape)]
        t = to_torch(np.ascontiguousarray(x))
        axis, keepdims = int(rng.integers(-len(shape), len(shape))), bool(rng.integers(2))
        axes = tuple(int(i) for i in np.flatnonzero(rng.integers(0, 2, len(shape)))) or (axis,)
        for name in ("argmax", "argmin"):
            y = getattr(torch, name)(t, axis, keepdims).numpy()
            np.testing.assert_array_equal(
                getattr(fastconv, name)(x, axis, keepdims), y, strict=True
            )
        for name in ("max", "min"):
            y = getattr(torch, f"a{name}")(t, axes, keepdims)
            assert_near(getattr(fastconv, name)(x, axes, keepdims), y, ulps=0)
        if not np.isfinite(x).all():
            continue
        # As tests/test_ops_reduction.py derives it, and torch's own errors in float64.
        size, own = float(np.abs(x).sum()), x.size if dtype is np.float64 else 0
        y = t.sum(axes, keepdims)
        assert_near(fastconv.sum(x, axes, keepdims), y, ulps=4 + own, scale=size)
        assert_near(fastconv.cumsum(x, axis), t.cumsum(axis), ulps=1 + own, scale=size)
        y = t.prod(axis, keepdims)
        assert_near(fastconv.prod(x, axis, keepdims), y, ulps=2 * x.shape[axis])
        magnitudes = np.abs(x[x != 0], dtype=np.float64)
        logs = np.log(magnitudes.max() / magnitudes.min()) if magnitudes.size else 0
        for p in (0, 1, 2, 3, 0.5, np.inf, -np.inf):
            y = torch.linalg.vector_norm(t, p, axes, keepdims)
            ulps = 3 + 4 * logs + 12 / (p or 1) + own if np.isfinite(p) else 0
            assert_near(fastconv.norm(x, p, axes, keepdims), y, ulps=ulps)


def test_activations(dtype: Any) -> None:
    special = [0.0, -0.0, 3.0, -3.0, 6.0, 80.0, -80.0, 1e30, -1e30, np.inf, -np.inf, np.nan]
    x = np.concatenate([np.linspace(-12, 12, 4001), special]).astype(dtype)
    for name in ACTIVATIONS:
        assert_near(getattr(fastconv, name)(x), getattr(F, name)(to_torch(x)), ulps=8, scale=1e-30)
    assert_near(fastconv.leaky_relu(x, 0.3), F.leaky_relu(to_torch(x), 0.3), ulps=2)
    for approximate in ("none", "tanh"):
        expected = F.gelu(to_torch(x), approximate=approximate)  # cancels for negative x
        assert_near(fastconv.gelu(x, approximate), expected, ulps=8, scale=1.0)


@pytest.mark.parametrize("seed", range(2))
def test_pad(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    succeeded = 0
    for _ in range(300):
        x = strided(rng, image_shape(rng, 2, 8), dtype)
        if not x.size:  # torch then checks nothing
            continue
        mode = str(rng.choice(["constant", "reflect", "replicate"]))
        length = int(rng.integers(1, x.ndim + 1)) if mode == "constant" else 2
        flat = tuple(int(n) for n in rng.integers(-2, 6, 2 * length))
        value = float(rng.normal()) if mode == "constant" else 0.0
        succeeded += agree(
            partial(fastconv.pad, x, flat, mode, value),
            partial(F.pad, to_torch(x), flat, mode, value),
            ulps=1,
            scale=1.0,
        )
    assert succeeded > 100


# ---- torch's own samples -----------------------------------------------------------------------


def numpy_of(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().numpy()
    if isinstance(value, (list, tuple)):
        return type(value)(numpy_of(v) for v in value)
    return value


def samples(name: str, variant: str = "") -> list[Any]:
    return list(OPINFO[name, variant].sample_inputs("cpu", torch.float64))


def torch_result(name: str, sample: Any, variant: str = "") -> torch.Tensor:
    result = OPINFO[name, variant].op(sample.input, *sample.args, **sample.kwargs)
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_torch_samples_of_pools(name: str) -> None:
    checked = 0
    for sample in samples(f"nn.functional.{name}"):
        kwargs = {k: v for k, v in sample.kwargs.items() if k not in ("return_indices",)}
        args = list(sample.args)
        # fastconv has no divisor_override.
        if (len(args) > 5 and args[5] is not None) or kwargs.pop("divisor_override", None):
            continue
        result = getattr(fastconv, name)(numpy_of(sample.input), *args[:5], **kwargs)
        assert_near(result, torch_result(f"nn.functional.{name}", sample), ulps=4, scale=10.0)
        checked += 1
    assert checked >= (1000 if name == "max_pool2d" else 2)


@pytest.mark.parametrize("name", ["adaptive_avg_pool2d", "adaptive_max_pool2d"])
def test_torch_samples_of_adaptive_pools(name: str) -> None:
    for sample in samples(f"nn.functional.{name}"):
        size = sample.args[0] if sample.args else sample.kwargs["output_size"]
        result = getattr(fastconv, name)(numpy_of(sample.input), size)
        assert_near(result, torch_result(f"nn.functional.{name}", sample), ulps=4, scale=10.0)


def test_torch_samples_of_norms() -> None:
    checked = 0
    for sample in samples("nn.functional.batch_norm"):
        x = sample.input  # fastconv normalises by given statistics only
        if sample.kwargs.get("training") or sample.args[0] is None or x.ndim < 2:
            continue
        eps = sample.kwargs.get("eps", 1e-5)
        result = fastconv.batch_norm(*(numpy_of(v) for v in (x, *sample.args)), eps=eps)
        assert_near(result, torch_result("nn.functional.batch_norm", sample), ulps=64, scale=1.0)
        checked += 1
    assert checked
    for sample in samples("nn.functional.layer_norm"):
        x, kwargs = numpy_of(sample.input), dict(sample.kwargs)
        if kwargs.get("eps", 0) < 0:  # which fastconv refuses, as other norms do
            continue
        result = fastconv.layer_norm(x, *numpy_of(sample.args), **kwargs)
        assert_near(result, torch_result("nn.functional.layer_norm", sample), ulps=64, scale=1.0)
    checked = 0
    for sample in samples("nn.functional.local_response_norm"):
        x = numpy_of(sample.input)
        if x.ndim == 3:  # (N, C, L) in torch, (C, H, W) here
            x = x[..., None]
        elif x.ndim > 4:
            continue
        result = fastconv.local_response_norm(x, *sample.args, **sample.kwargs)
        expected = torch_result("nn.functional.local_response_norm", sample)
        assert_near(result.reshape(expected.shape), expected, ulps=32)
        checked += 1
    assert checked >= 5


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_torch_samples_of_interpolate(mode: str) -> None:
    checked = 0
    for sample in samples("nn.functional.interpolate", mode):
        if sample.input.ndim != 4:  # fastconv resizes images only
            continue
        arguments = dict(zip(("size",), sample.args, strict=False)) | sample.kwargs
        result = fastconv.interpolate(numpy_of(sample.input), **arguments)
        expected = torch_result("nn.functional.interpolate", sample, mode)
        assert_near(result, expected, ulps=64, scale=10.0)
        checked += 1
    assert checked >= 5


@pytest.mark.parametrize("variant", ["constant", "reflect", "replicate", "replicate_negative"])
def test_torch_samples_of_pad(variant: str) -> None:
    for sample in samples("nn.functional.pad", variant):
        result = fastconv.pad(numpy_of(sample.input), *sample.args, **sample.kwargs)
        assert_near(result, torch_result("nn.functional.pad", sample, variant), ulps=0)


@pytest.mark.parametrize("name", [*ACTIVATIONS, "leaky_relu", "gelu"])
def test_torch_samples_of_activations(name: str) -> None:
    full = name if name in ("sigmoid", "tanh") else f"nn.functional.{name}"
    for sample in samples(full):
        kwargs = {k: v for k, v in sample.kwargs.items() if k != "inplace"}
        result = getattr(fastconv, name)(numpy_of(sample.input), *sample.args, **kwargs)
        assert_near(result, torch_result(full, sample), ulps=16, scale=1.0)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_torch_samples_of_softmax(name: str) -> None:
    for sample in samples(name):
        result = getattr(fastconv, name)(numpy_of(sample.input), *sample.args)
        assert_near(result, torch_result(name, sample), ulps=16, scale=1.0)


def test_torch_samples_of_shapes() -> None:
    for name in ("permute", "reshape", "flatten"):
        for sample in samples(name):
            result = getattr(fastconv, name)(numpy_of(sample.input), *sample.args, **sample.kwargs)
            assert_near(result, torch_result(name, sample), ulps=0)
    for sample in samples("nn.functional.pixel_shuffle"):
        if sample.input.ndim > 4 or 0 in sample.input.shape[-3:]:
            continue
        result = fastconv.pixel_shuffle(numpy_of(sample.input), **sample.kwargs)
        assert_near(result, torch_result("nn.functional.pixel_shuffle", sample), ulps=0)
    for sample in samples("nn.functional.channel_shuffle"):
        result = fastconv.channel_shuffle(numpy_of(sample.input), *sample.args)
        assert_near(result, torch_result("nn.functional.channel_shuffle", sample), ulps=0)
    for variant in ("", "list_args"):
        for sample in samples("split", variant):
            parts = fastconv.split(numpy_of(sample.input), *sample.args)
            expected = OPINFO["split", variant].op(sample.input, *sample.args)
            assert len(parts) == len(expected)
            for part, e in zip(parts, expected, strict=True):
                assert_near(part, e, ulps=0)
    for sample in samples("cat"):
        arrays = numpy_of(sample.input)
        if len({a.ndim for a in arrays}) > 1:  # torch skips empty vectors, fastconv refuses them
            continue
        axis = sample.kwargs.get("dim", sample.args[0] if sample.args else 0)
        result = fastconv.concat(arrays, axis)
        assert_near(result, torch_result("cat", sample), ulps=0)


@pytest.mark.parametrize("name", ["flip", "roll", "tile", "unsqueeze", "take", "stack"])
def test_torch_samples_of_moves(name: str) -> None:
    checked = 0
    for sample in samples(name):
        arguments = numpy_of(sample.args)
        result = getattr(fastconv, name)(numpy_of(sample.input), *arguments, **sample.kwargs)
        assert_near(result, torch_result(name, sample), ulps=0)
        checked += 1
    assert checked > 2


def test_torch_samples_of_moves_that_torch_calls_otherwise() -> None:
    for sample in samples("index_select"):
        axis, indices = numpy_of(sample.args)
        if sample.input.ndim == 0:  # torch takes numbers for vectors
            continue
        result = fastconv.take(numpy_of(sample.input), indices, axis)
        assert_near(result, torch_result("index_select", sample), ulps=0)
    for sample in samples("index_add"):
        axis, indices, updates = numpy_of(sample.args)
        if sample.input.ndim == 0 or sample.kwargs.get("alpha", 1) != 1:
            continue
        x = numpy_of(sample.input)
        result = fastconv.scatter_add(x, indices, updates, axis)
        assert_near(result, torch_result("index_add", sample), ulps=0)
    for sample in samples("expand"):
        result = fastconv.expand(numpy_of(sample.input), *sample.args)
        assert_near(result, torch_result("expand", sample), ulps=0)
    for variant in ("", "multiple"):
        for sample in samples("squeeze", variant):
            x, axis = numpy_of(sample.input), (*sample.args, None)[0]
            if axis is not None and x.ndim:  # torch leaves axes of other sizes
                axes = axis if isinstance(axis, tuple) else (axis,)
                axis = tuple(i for i in axes if x.shape[i] == 1)
            result = fastconv.squeeze(x, axis)
            assert_near(result, torch_result("squeeze", sample, variant), ulps=0)
    for sample in samples("nn.functional.pixel_unshuffle"):
        if sample.input.ndim > 4:
            continue
        result = fastconv.pixel_unshuffle(numpy_of(sample.input), **sample.kwargs)
        assert_near(result, torch_result("nn.functional.pixel_unshuffle", sample), ulps=0)


def test_torch_samples_of_sums_products_and_means() -> None:
    for name, ours in (("add", fastconv.add), ("mul", fastconv.multiply)):
        for sample in samples(name):
            if sample.kwargs.get("alpha", 1) != 1:
                continue
            result = ours(numpy_of(sample.input), *numpy_of(sample.args))
            assert_near(result, torch_result(name, sample), ulps=1)
    for sample in samples("mean"):
        kwargs = {k: v for k, v in sample.kwargs.items() if k != "dtype"}
        axis = kwargs.pop("dim", sample.args[0] if sample.args else None)
        axis = None if axis is not None and np.size(axis) == 0 else axis  # torch: of no axis, all
        result = fastconv.mean(numpy_of(sample.input), axis, kwargs.pop("keepdim", False))
        assert_near(np.asarray(result), torch_result("mean", sample), ulps=8, scale=10.0)


@pytest.mark.parametrize(
    "name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "gelu"]
)
def test_torch_errors(name: str) -> None:
    checked = 0
    for error in OPINFO[f"nn.functional.{name}", ""].error_inputs("cpu"):
        sample = error.sample_input
        kwargs = {k: v for k, v in sample.kwargs.items() if k != "return_indices"}
        if "divisor_override" in kwargs:
            continue
        with pytest.raises((ValueError, TypeError)):
            getattr(fastconv, name)(numpy_of(sample.input), *sample.args, **kwargs)
        checked += 1
    assert checked
