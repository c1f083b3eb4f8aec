"""Reductions against NumPy in longer floats: values, special numbers, shapes, errors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn

PLAIN = ("sum", "prod", "max", "min", "mean")
INDICES = ("argmax", "argmin")
ORDS = (None, 0, 1, 2, 3, 2.5, 0.5, -1, -2.5, math.inf, -math.inf)
AXES = (None, 0, 1, -1, (0,), (0, 1), (1, 2), (0, 2), (-1, 0), (0, 1, 2))
SHAPES = ((3, 5, 7), (2, 33, 4), (1, 1, 1), (7, 1, 130), (4, 300, 3), (2, 3, 1029))
Array = np.ndarray


class Apply(nn.Module):
    """A function of x as a network."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def forward(self, x: Any) -> Any:
        return self._function(x)


def both(function: Callable[..., Any], x: Array, *args: Any, **options: Any) -> list[Array]:
    """What a function computes on an array and in a network."""

    def call(v: Any) -> Any:
        return function(v, *args, **options)

    return [call(x), Apply(call)(x)]


def norm(x: Array, p: float | None, axis: Any, keepdims: bool) -> Array:
    with np.errstate(divide="ignore"):  # 0 ** -1
        return np.linalg.vector_norm(x, ord=2 if p is None else p, axis=axis, keepdims=keepdims)


def norm_tolerance(x: Array, p: float | None) -> float:
    """Of relative errors.

    Each term is exp(p * log(r)), r = |x| / unit: errors of 2 ulp of the logarithm, half an ulp of r
    and of the product are multiplied by p, and divided by it again by the root; 1.5 ulp of exp, 8
    roundings of the sum and half an ulp of the root's argument are divided by it alone.
    """
    eps = float(np.finfo(x.dtype).eps)
    if p is None or p in (1, 2) or p == 0 or math.isinf(p):
        return 8 * eps
    magnitudes = np.abs(x[x != 0].astype(np.float64))
    logs = math.log(magnitudes.max() / magnitudes.min()) if magnitudes.size else 0.0
    return eps * (3 + 4 * logs + 12 / abs(p))


def check(x: Array) -> None:
    """Every reduction of x over every choice of axes, on arrays and in networks."""
    exact, eps = x.astype(np.longdouble), np.finfo(x.dtype).eps
    for axis in AXES:
        for keepdims in (False, True):
            size = np.sum(np.abs(exact), axis, keepdims=keepdims)
            count = math.prod(x.shape) / size.size
            for name in PLAIN:
                expected = getattr(np, name)(exact, axis, keepdims=keepdims)
                # Sums: at most 8 roundings of partial sums, and one of the mean.
                bound = {
                    "sum": 4 * eps * size,
                    "mean": 5 * eps * size / count,
                    "prod": count * eps * np.abs(expected),
                }.get(name, 0)
                for y in both(getattr(fastconv, name), x, axis, keepdims):
                    assert (y.shape, y.dtype) == (np.shape(expected), x.dtype)
                    assert (np.abs(y - expected) <= bound).all(), (name, axis, x.shape)
            for p in ORDS:
                expected = norm(exact, p, axis, keepdims).astype(np.float64)
                for y in both(fastconv.norm, x, p, axis, keepdims):
                    assert (y.shape, y.dtype) == (np.shape(expected), x.dtype)
                    np.testing.assert_allclose(
                        y, expected, rtol=norm_tolerance(x, p), err_msg=f"{p, axis, x.shape}"
                    )
    for axis in (None, 0, 1, -1):
        for keepdims in (False, True):
            for name in INDICES:
                expected = getattr(np, name)(x, axis, keepdims=keepdims)
                for y in both(getattr(fastconv, name), x, axis, keepdims):
                    np.testing.assert_array_equal(y, np.asarray(expected), strict=True)
        for exclusive in (False, True):
            for reverse in (False, True):
                check_cumsum(x, axis, exclusive, reverse)


def cumsum(x: Array, axis: int | None, exclusive: bool, reverse: bool) -> Array:
    if axis is None:
        x, axis = x.reshape(-1), 0
    flipped = np.flip(x, axis) if reverse else x
    y = np.cumsum(flipped, axis)
    if exclusive:
        y = y - flipped
    return np.flip(y, axis) if reverse else y


def check_cumsum(x: Array, axis: int | None, exclusive: bool, reverse: bool) -> None:
    expected = cumsum(x.astype(np.longdouble), axis, exclusive, reverse)
    eps = float(np.finfo(x.dtype).eps)
    # The error of the compensated sum (Ogita, Rump and Oishi, proposition 4.5); eps is twice u.
    n = x.size if axis is None else x.shape[axis]
    bound = eps * np.abs(expected) + (n * eps) ** 2 * np.abs(x).astype(np.float64).sum()
    for y in both(fastconv.cumsum, x, axis, exclusive=exclusive, reverse=reverse):
        assert (y.shape, y.dtype) == (expected.shape, x.dtype)
        assert (np.abs(y - expected) <= bound).all(), (axis, exclusive, reverse, x.shape)


def drawn(shape: tuple[int, ...], dtype: Any) -> Array:
    rng = np.random.default_rng(len(shape) + math.prod(shape))
    x = rng.normal(size=shape) * 0.5 + rng.choice([-1.0, 1.0], size=shape)
    x[rng.random(shape) < 0.05] = 0
    return x.astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_against_numpy(shape, dtype):
    check(drawn(shape, dtype))


@pytest.mark.parametrize("isa", fastconv.show_config("dict")["isa_found"])
def test_every_instruction_set(run_source, isa):
    source = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        import test_ops_reduction as tests
        for dtype in (np.float32, np.float64):
            for shape in ((2, 33, 4), (3, 5, 71)):
                tests.check(tests.drawn(shape, dtype))
            tests.check_specials(dtype)
        print("all checked")
    """
    assert "all checked" in run_source(source, FASTCONV_ISA=isa)


def check_specials(dtype: Any) -> None:
    """NaN and infinities at every place of rows and columns, of whole vectors and beyond."""
    for count in (1, 2, 7, 33, 300):
        for at in {0, count // 2, count - 1}:
            for values in ((np.nan,), (np.inf,), (-np.inf,), (np.inf, -np.inf), (np.nan, np.inf)):
                row = drawn((count,), dtype)
                row[at] = values[0]
                row[at - 1] = values[-1]
                for x in (row[None], row[:, None] * np.ones(3, dtype), row[None, :, None]):
                    axis = min(1, x.ndim - 1) if x.shape[0] == 1 else 0
                    check_as_numpy(x, axis)


def check_as_numpy(x: Array, axis: int) -> None:
    """For values of which NumPy's result is exact or special."""
    with np.errstate(invalid="ignore"):
        for name in (*INDICES, "max", "min"):
            expected = getattr(np, name)(x, axis)
            np.testing.assert_array_equal(getattr(fastconv, name)(x, axis), expected, strict=True)
        for name in ("sum", "prod"):
            expected = getattr(np, name)(x.astype(np.float64), axis)
            special = ~np.isfinite(expected)
            y = getattr(fastconv, name)(x, axis)
            np.testing.assert_array_equal(y[special], expected[special])
            assert np.isfinite(y[~special]).all()
        for p in ORDS:
            expected = norm(x.astype(np.float64), p, axis, False)
            special = ~np.isfinite(expected)
            y = fastconv.norm(x, p, axis)
            np.testing.assert_array_equal(y[special], expected[special], err_msg=f"{p} {x}")
            assert np.isfinite(y[~special]).all()
        expected = np.cumsum(x.astype(np.float64), axis)
        y, special = fastconv.cumsum(x, axis), ~np.isfinite(expected)
        np.testing.assert_array_equal(y[special], expected[special])
        assert np.isfinite(y[~special]).all()


def test_nan_and_infinities_are_numpys(dtype):
    check_specials(dtype)


def test_the_first_of_equal_ones_counts(dtype):
    for count in (5, 70, 600, 9000):  # beyond the parts in which rows and columns are searched
        x = np.zeros((2, count), dtype)
        x[:, [count // 3, count // 2, count - 1]] = 1
        for name, sign in (("argmax", 1), ("argmin", -1)):
            for array, axis in ((x, 1), (x.T, 0), (np.repeat(x.T, 5, 1), 0)):
                y = getattr(fastconv, name)(dtype(sign) * array, axis)
                assert (y == count // 3).all()
        assert (fastconv.argmax(np.full_like(x, -np.inf), 1) == 0).all()
        assert (fastconv.argmin(np.full_like(x, np.inf), 1) == 0).all()


def test_norms_neither_overflow_nor_underflow(dtype):
    limits = np.finfo(dtype)
    for size in (limits.max / 8, limits.tiny * 4, limits.smallest_subnormal * 64):
        x = np.array([3, 4], dtype) * dtype(size)
        for p in (2, 3, 0.5, -1, 7):
            expected = float(norm(np.array([3.0, 4.0]), p, None, False)) * np.longdouble(
                dtype(size)
            )
            if expected > limits.max:
                continue
            y = fastconv.norm(x, p)
            # Of subnormal numbers to the last place of these.
            assert abs(y - expected) <= 64 * limits.eps * expected + limits.smallest_subnormal
    for p in (1e300, 1e-300, -1e300):  # beyond what float32 holds
        y = fastconv.norm(np.array([2, 2], dtype), p)
        assert y == (np.inf if p == 1e-300 else 2)
    assert fastconv.norm(np.array([2], dtype), 1e-300) == 2


def test_of_nothing():
    x = np.zeros((0, 3), np.float32)
    for name, value in (("sum", 0), ("prod", 1), ("mean", np.nan)):
        for y in both(getattr(fastconv, name), x, 0):
            np.testing.assert_array_equal(y, np.full(3, value, np.float32), strict=True)
    for p, value in ((2, 0), (0, 0), (1, 0), (3, 0), (np.inf, 0), (-1, np.inf)):
        for y in both(fastconv.norm, x, p, 0):
            np.testing.assert_array_equal(y, np.full(3, value, np.float32), strict=True)
    for y in both(fastconv.cumsum, x, 0):
        np.testing.assert_array_equal(y, x, strict=True)
    for name in ("max", "min", *INDICES):
        for y in both(getattr(fastconv, name), x, 1):
            assert y.shape == getattr(np, name)(x, 1).shape == (0,)
        with pytest.raises(ValueError, match=r"no identity|empty sequence"):
            getattr(np, name)(x, 0)
        function = functools.partial(getattr(fastconv, name), axis=0)
        for call in (function, Apply(function)):
            with pytest.raises(ValueError, match=f"{name}: axis 0 of x has no elements"):
                call(x)
    lowest = functools.partial(fastconv.norm, ord=-np.inf)
    for call in (lowest, Apply(lowest)):
        with pytest.raises(ValueError, match="norm: axis 0 of x has no elements"):
            call(x)


def test_of_numbers_without_axes(dtype):
    x = np.array(-3, dtype)
    for name in (*PLAIN, *INDICES, "norm"):
        y = getattr(fastconv, name)(x)
        expected = np.abs(x) if name == "norm" else np.asarray(getattr(np, name)(x))
        np.testing.assert_array_equal(y, expected, strict=True)
        recorded = Apply(lambda v, name=name: getattr(fastconv, name)(v.sum()))
        np.testing.assert_array_equal(recorded(x[None]), expected, strict=True)
    np.testing.assert_array_equal(fastconv.cumsum(x), np.cumsum(x), strict=True)
    recorded = Apply(lambda v: fastconv.cumsum(v.sum()))
    np.testing.assert_array_equal(recorded(x[None]), np.cumsum(x), strict=True)


def test_of_no_axes(dtype):
    x = drawn((2, 3), dtype)
    for name in PLAIN:
        for y in both(getattr(fastconv, name), x, ()):
            np.testing.assert_array_equal(y, x, strict=True)
    for call in (lambda v: fastconv.norm(v, axis=()), Apply(lambda v: fastconv.norm(v, axis=()))):
        with pytest.raises(ValueError, match="axis must name at least one axis"):
            call(x)


def reductions() -> dict[str, Callable[..., Any]]:
    """Each with `out`, along an axis between others."""
    named = (*PLAIN, *INDICES, "norm", "cumsum")
    return {
        **{
            name: lambda x, name=name, **a: getattr(fastconv, name)(x, axis=1, **a)
            for name in named
        },
        "norm of order 3": lambda x, **a: fastconv.norm(x, 3, (0, 2), **a),
        "cumsum from the end": lambda x, **a: fastconv.cumsum(x, -1, reverse=True, **a),
    }


@pytest.mark.parametrize("name", reductions())
def test_any_strides_threads_and_out_give_the_same_bits(name, dtype):
    op = reductions()[name]
    x = drawn((5, 64, 130), dtype)
    expected = op(x)
    spread = np.zeros((10, 64, 260), dtype)[::2, ::-1, 1::2]
    spread[...] = x
    for array in (np.asfortranarray(x), spread, x[:, :, ::-1].copy()[:, :, ::-1]):
        np.testing.assert_array_equal(op(array), expected, strict=True)
    network = Apply(op).compile(x.shape, precision={4: "fp32", 8: "fp64"}[x.itemsize])
    np.testing.assert_array_equal(network(x), expected if "3" not in name else network(x))
    before = fastconv.get_num_threads()
    try:
        for threads in (1, 2, 5):
            fastconv.set_num_threads(threads)
            np.testing.assert_array_equal(op(x), expected, strict=True)
    finally:
        fastconv.set_num_threads(before)
    out = np.zeros_like(expected)
    assert op(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    wide = np.zeros((*expected.shape[:-1], 2 * expected.shape[-1]), expected.dtype)[..., ::2]
    op(x, out=wide)
    np.testing.assert_array_equal(wide, expected)
    given = np.zeros_like(expected)
    assert network(x, out=given) is given
    np.testing.assert_array_equal(given, network(x))
    wrong = np.int32 if expected.dtype == np.int64 else np.float16
    for call in (op, network):
        with pytest.raises(TypeError, match=f"out must be {expected.dtype}"):
            call(x, out=out.astype(wrong))
        with pytest.raises(ValueError, match="out must have shape"):
            call(x, out=out[None])


def test_half_precision_comes_back_but_indices_stay_integers():
    x = drawn((4, 6), np.float16)
    for name in (*PLAIN, "norm", "cumsum"):
        for y in both(getattr(fastconv, name), x, axis=1):
            assert y.dtype == np.float16
    for y in both(fastconv.argmax, x, 1):
        np.testing.assert_array_equal(y, x.argmax(1), strict=True)


def test_in_networks_between_convolutions(dtype):
    """Channels, rows and pixels of values in channel blocks, which no number of channels fills."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 6, 7)).astype(dtype)
    weight = rng.normal(size=(21, 3, 3, 3)).astype(dtype)
    conv = Apply(lambda v: fastconv.conv2d(v, weight, padding=1, activation="relu"))
    features = conv(x)
    for axis in (1, 3, (2, 3), (1, 2), (0, 2, 3), (0, 3), None):
        for name in (*PLAIN, "norm"):
            op = functools.partial(getattr(fastconv, name), axis=axis, keepdims=True)
            network = Apply(lambda v, op=op: op(conv.forward(v)))
            tolerance = 8 * np.finfo(dtype).eps * (features[0].size if name == "prod" else 1)
            np.testing.assert_allclose(network(x), op(features), rtol=tolerance)
    for axis in (0, 1, 2, 3, None):
        network = Apply(lambda v, axis=axis: fastconv.argmax(conv.forward(v), axis))
        np.testing.assert_array_equal(network(x), features.argmax(axis))
    # Attention over channels and pixels, as CBAM has it, whose maxima meet blocked values again.
    gated = Apply(
        lambda v: (y := conv.forward(v)) * y.max((2, 3), keepdims=True) + y.max(1, keepdims=True)
    )
    expected = features * features.max((2, 3), keepdims=True) + features.max(1, keepdims=True)
    np.testing.assert_allclose(gated(x), expected, rtol=8 * np.finfo(dtype).eps)


def test_a_network_returns_indices_and_moves_them():
    x = drawn((3, 8, 5), np.float32)

    class Best(nn.Module):
        def forward(self, x):
            best = x.argmax(1)
            assert best.dtype == np.int64
            assert (x * 2).dtype == np.float32
            return {"best": best, "moved": best.transpose()[1:].reshape(-1), "top": x.max(1)}

    y = Best()(x)
    np.testing.assert_array_equal(y["best"], x.argmax(1), strict=True)
    np.testing.assert_array_equal(y["moved"], x.argmax(1).T[1:].reshape(-1), strict=True)
    np.testing.assert_array_equal(y["top"], x.max(1), strict=True)
    graph = Best().graph(x.shape)
    assert [node.dtype for node in graph.outputs] == [np.int64, np.int64, np.float32]
    out = {key: np.zeros_like(value) for key, value in y.items()}
    Best().compile(x.shape)(x, out=out)
    np.testing.assert_array_equal(out["best"], y["best"])
    with pytest.raises(ValueError, match="activation has no kernel for int64 on the CPU"):
        Apply(lambda v: fastconv.relu(v.argmax(1)))(x)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: fastconv.sum(x, 3), ValueError, "axis = 3 is out of range"),
        (lambda x: fastconv.max(x, (0, -3)), ValueError, "axis names a dimension twice"),
        (lambda x: fastconv.prod(x, 1.5), TypeError, "axis must be an integer"),
        (lambda x: fastconv.min(x, 0, 1), TypeError, "keepdims must be True or False"),
        (lambda x: fastconv.max(x, dim=1), TypeError, "dim=1.*axis.*pair.*fastconv.argmax"),
        (lambda x: fastconv.min(x, keepdim=True), TypeError, "keepdim=True.*axis.*argmin"),
        (lambda x: fastconv.argmax(x, (0, 1)), TypeError, "axis must be an integer, or None"),
        (lambda x: fastconv.argmin(x, 9), ValueError, "axis = 9 is out of range"),
        (lambda x: fastconv.norm(x, "fro"), ValueError, "matrix norms are not computed; ord=2"),
        (lambda x: fastconv.norm(x, np.nan), ValueError, "ord must be a number, got nan"),
        (lambda x: fastconv.norm(x, [2]), TypeError, "ord must be a number"),
        (lambda x: fastconv.cumsum(x, (0, 1)), TypeError, "axis must be an integer"),
        (lambda x: fastconv.cumsum(x, 3), ValueError, "axis = 3 is out of range"),
        (lambda x: fastconv.cumsum(x, 0, reverse=1), TypeError, "reverse must be True or False"),
        (lambda x: fastconv.sum(x, dtype=np.float64), ValueError, "dtype=.*astype"),
    ],
)
def test_bad_arguments_are_named(call, error, match):
    x = drawn((2, 3, 4), np.float32)
    for function in (call, Apply(call)):
        with pytest.raises(error, match=match):
            function(x)


@pytest.mark.parametrize("name", [*PLAIN, *INDICES, "norm", "cumsum"])
def test_arrays_of_other_dtypes_are_refused(name):
    for x in (np.arange(3), np.array([True]), np.array(["a"]), np.array([1j])):
        with pytest.raises(TypeError, match="x must be float32 or float64"):
            getattr(fastconv, name)(x)


def test_long_sums_keep_their_accuracy():
    x = np.full(2**20, 0.1, np.float32)
    exact = float(np.float32(0.1)) * 2**20
    for array, axis in ((x, 0), (x[:, None] * np.ones(3, np.float32), 0)):
        assert (np.abs(fastconv.sum(array, axis) - exact) <= 8e-8 * exact).all()
    assert abs(fastconv.cumsum(x, 0)[-1] - exact) <= 8e-8 * exact
    assert abs(fastconv.norm(x) ** 2 - exact * float(np.float32(0.1))) <= 1e-6 * exact
