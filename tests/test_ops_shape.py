"""Sums, products, means, and operators that move elements, against NumPy."""

from __future__ import annotations

from typing import Any

import fastconv
import numpy as np
import pytest

BROADCASTS = [
    ((3, 4, 5, 6), (3, 4, 5, 6)),
    ((2, 40, 7, 9), (2, 40, 1, 1)),
    ((2, 5, 9, 7), (5, 1, 1)),
    ((2, 3, 4, 33), (33,)),
    ((2, 3, 1, 33), (3, 4, 1)),
    ((100000,), ()),
    ((1, 1), (4, 3)),
    ((), ()),
    ((0, 3), (1, 3)),
    ((2, 1, 3, 1, 2, 1), (2, 1, 3, 1, 2)),
]


@pytest.mark.parametrize(("a_shape", "b_shape"), BROADCASTS)
def test_add_and_multiply(
    a_shape: tuple[int, ...], b_shape: tuple[int, ...], dtype: Any, rng: np.random.Generator
) -> None:
    a, b = (rng.normal(size=s).astype(dtype) for s in (a_shape, b_shape))
    for ours, theirs in ((fastconv.add, np.add), (fastconv.multiply, np.multiply)):
        for p, q in ((a, b), (b, a), (a[::-1] if a.ndim else a, b), (np.asfortranarray(a), b)):
            y = ours(p, q)
            np.testing.assert_array_equal(y, theirs(p, q), strict=True)
            assert y.flags.c_contiguous


def test_numbers_take_the_dtype_of_the_array(dtype: Any) -> None:
    x = np.array([1.0, 2.0], dtype)
    for number in (3, 3.0, np.float32(3), np.float64(3), np.int8(3)):
        for y in (fastconv.multiply(x, number), fastconv.multiply(number, x)):
            np.testing.assert_array_equal(y, np.array([3.0, 6.0], dtype), strict=True)


def test_add_refuses() -> None:
    with pytest.raises(ValueError, match="shapes that broadcast"):
        fastconv.add(np.zeros(3), np.zeros(4))
    with pytest.raises(TypeError, match="b is float32 but a is float64"):
        fastconv.add(np.zeros(3), np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="b must be float32 or float64"):
        fastconv.add(np.zeros(3), np.zeros(3, np.int64))
    with pytest.raises(TypeError, match="b must be float32 or float64"):
        fastconv.add(np.zeros(3), True)


@pytest.mark.parametrize("axis", [None, 0, -1, 1, (0, 1), (2, 3), (0, 2), (1, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_mean(axis: Any, keepdims: bool, dtype: Any, rng: np.random.Generator) -> None:
    x = (rng.normal(size=(3, 17, 20, 9)) + 1000).astype(dtype)
    y = fastconv.mean(x, axis, keepdims)
    expected = x.astype(np.longdouble).mean(axis, keepdims=keepdims)
    np.testing.assert_allclose(y, expected, rtol=3 * np.finfo(dtype).eps)
    assert y.shape == expected.shape
    assert y.dtype == dtype
    np.testing.assert_array_equal(fastconv.mean(np.asfortranarray(x), axis, keepdims), y)


def test_mean_of_nothing_of_infinities_and_of_no_axes() -> None:
    assert np.isnan(fastconv.mean(np.zeros((0, 3)), 0)).all()
    assert fastconv.mean(np.zeros((3, 0)), 0).shape == (0,)
    assert fastconv.mean(np.array([np.inf, 1.0])) == np.inf
    assert np.isnan(fastconv.mean(np.array([np.inf, -np.inf])))
    np.testing.assert_array_equal(fastconv.mean(np.arange(3.0), ()), np.arange(3.0))
    with pytest.raises(ValueError, match="axis names a dimension twice"):
        fastconv.mean(np.zeros((2, 3)), (0, -2))
    with pytest.raises(ValueError, match="out of range"):
        fastconv.mean(np.zeros((2, 3)), 2)


def test_results_are_new_contiguous_arrays(dtype: Any) -> None:
    x = np.arange(2 * 4 * 6 * 6, dtype=dtype).reshape(2, 4, 6, 6)
    for v in (x, np.asfortranarray(x), x[:, :, ::-1]):
        results = {
            "flatten": (fastconv.flatten(v, 1), v.reshape(2, -1)),
            "reshape": (fastconv.reshape(v, (8, -1)), v.reshape(8, 36)),
            "permute": (fastconv.permute(v, (0, 2, 3, 1)), v.transpose(0, 2, 3, 1)),
            "concat": (fastconv.concat([v, v[:, :1]], 1), np.concatenate([v, v[:, :1]], 1)),
            "split": (fastconv.split(v, 3, axis=1)[1], v[:, 3:]),
            "pad": (fastconv.pad(v, (0, 0)), v),
        }
        for name, (y, expected) in results.items():
            np.testing.assert_array_equal(y, expected, name, strict=True)
            assert y.flags.c_contiguous
            assert y.flags.writeable
            assert not np.shares_memory(y, x)


def test_flatten_dimensions() -> None:
    x = np.zeros((2, 3, 4, 5))
    assert fastconv.flatten(x).shape == (120,)
    assert fastconv.flatten(x, 1, 2).shape == (2, 12, 5)
    assert fastconv.flatten(x, -2).shape == (2, 3, 20)
    assert fastconv.flatten(np.float64(1)).shape == (1,)
    with pytest.raises(ValueError, match="comes after end_dim"):
        fastconv.flatten(x, 2, 1)


def test_split_sizes() -> None:
    x = np.arange(10.0)
    assert [p.tolist() for p in fastconv.split(x, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [p.size for p in fastconv.split(x, [1, 0, 9])] == [1, 0, 9]
    for sizes in (0, -1, [5, 4], [11, -1], []):
        with pytest.raises(ValueError, match="split_size_or_sections must"):
            fastconv.split(x, sizes)
    targets = [np.empty(3), np.empty(7)]
    parts = fastconv.split(x, (3, 7), out=targets)
    assert parts[0] is targets[0]
    assert targets[1].tolist() == [3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("flat", "mode"),
    [
        ((1, 2), "constant"),
        ((1, 2, 3, 0), "constant"),
        ((-1, 2, 0, -3), "constant"),
        ((0, 0, 0, 0, 1, 1, 2, 0), "constant"),
        ((3, 4, 2, 5), "reflect"),
        ((-2, 4, 5, -1), "reflect"),
        ((7, 1, 0, 9), "replicate"),
        ((-6, 7), "replicate"),
        ((), "constant"),
    ],
)
def test_pad(flat: tuple[int, ...], mode: Any, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 6, 7)).astype(dtype)
    pairs = [(0, 0)] * (4 - len(flat) // 2) + [
        (flat[i], flat[i + 1]) for i in range(len(flat) - 2, -1, -2)
    ]
    grown = [(max(b, 0), max(a, 0)) for b, a in pairs]
    crop = tuple(slice(max(-b, 0), -max(-a, 0) or None) for b, a in pairs)
    if mode == "constant":
        expected = np.pad(x, grown, constant_values=2.5)[crop]
        y = fastconv.pad(x, flat, value=2.5)
    else:
        expected = np.pad(x, grown, {"replicate": "edge"}.get(mode, mode))[crop]
        y = fastconv.pad(x, flat, mode)
    np.testing.assert_array_equal(y, expected, strict=True)
    out = np.empty_like(expected)
    fastconv.pad(x, flat, mode, 2.5 if mode == "constant" else 0, out=out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fastconv.pad(x, (1,)), "pad must hold two numbers for each"),
        (lambda x: fastconv.pad(x, (0,) * 6), "pad must hold two numbers for each"),
        (lambda x: fastconv.pad(x, (-2, -2)), "pad crops more of axis 1 than its size 3"),
        (lambda x: fastconv.pad(x, (3, 0), "reflect"), "pad must be below the size 3"),
        (lambda x: fastconv.pad(x[:, :0], (1, 0), "replicate"), "nothing to replicate"),
        (lambda x: fastconv.pad(x, (1, 0), "wrap"), "mode must be one of"),
        (lambda x: fastconv.pad(x, (1, 0), "reflect", 1.0), "for mode='constant' only"),
        (lambda x: fastconv.reshape(x, (4, 2)), "cannot become shape"),
        (lambda x: fastconv.reshape(x, (-1, -1)), "cannot become shape"),
        (lambda x: fastconv.reshape(x, (-2, 3)), "cannot become shape"),
        (lambda x: fastconv.reshape(x, (2**62, 4)), "cannot become shape"),
        (lambda x: fastconv.permute(x, (0,)), "dims must name the 2 dimensions"),
        (lambda x: fastconv.permute(x, (0, 0)), "dims must name each dimension of x once"),
        (lambda x: fastconv.permute(x, (0, 2)), "out of range"),
        (lambda x: fastconv.concat([]), "arrays is empty"),
        (lambda x: fastconv.concat([x, x[0]]), r"arrays\[1\] has shape"),
        (lambda x: fastconv.concat([x, x[:, :2]]), r"arrays\[1\] has shape"),
        (lambda x: fastconv.concat([x], 2), "axis = 2 is out of range"),
    ],
)
def test_bad_values(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.zeros((2, 3)))


def test_errors_of_cat_call_it_so() -> None:
    assert fastconv.cat.__name__ == "cat"
    with pytest.raises(TypeError, match=r"^cat\(\) takes at most 2 positional arguments, got 3"):
        fastconv.cat([np.ones(2)], 0, 0)


@pytest.mark.parametrize("pad", [(2**40 + 1, 0), (0, -(2**40) - 1)])
def test_pad_has_limits(pad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"^pad must be from -2\*\*40 to 2\*\*40, got \("):
        fastconv.pad(np.ones((1, 1, 2, 2)), pad)


def test_concat_refuses_other_types() -> None:
    x = np.zeros((2, 3))
    with pytest.raises(TypeError, match="arrays must be a list or tuple"):
        fastconv.concat(x)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"arrays\[1\] is float32 but arrays\[0\] is float64"):
        fastconv.concat([x, x.astype(np.float32)])
