"""Operators that only move elements, and `scatter_add`, against NumPy: eagerly and in networks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn

Array = np.ndarray


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def forward(self, x: Any) -> Any:
        return self._function(x)


def check(function: Callable[[Any], Any], x: Array, expected: Any) -> None:
    """Check values, dtype, layout and that no memory is shared, eagerly and in a network."""
    expected = np.asarray(expected)
    views = [x, np.asfortranarray(x)]
    if x.ndim:
        views += [np.ascontiguousarray(x[::-1])[::-1], np.repeat(x, 2, -1)[..., ::2]]
    for view in views:
        y = function(view)
        np.testing.assert_array_equal(y, expected, strict=True)
        assert y.flags.c_contiguous
        assert y.flags.writeable
        assert not np.may_share_memory(y, view)
    if x.ndim:
        precision = f"fp{8 * x.itemsize}"
        y = Apply(function).compile(x.shape, precision=precision)(x)
        np.testing.assert_array_equal(y, expected, strict=True)


def draw(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Array:
    """Random numbers, infinities and NaNs among them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    x[rng.random(shape) < 0.05] = rng.choice([np.inf, -np.inf, np.nan, -0.0])
    return x


SHAPES = [(2, 17, 5, 7), (1, 1, 1, 1), (3, 16, 2, 33), (5,), (4, 6), (2, 3, 1, 2, 3)]
EMPTY = [(0, 3, 2, 2), (2, 0, 2, 2), (2, 3, 2, 0), (0,), (3, 0)]
each_shape = pytest.mark.parametrize("shape", SHAPES + EMPTY, ids=str)


@each_shape
def test_take(shape: tuple[int, ...], dtype: Any) -> None:
    x = draw(shape, dtype)
    rng = np.random.default_rng(1)
    for axis in (None, *range(-x.ndim, x.ndim)):
        size = x.size if axis is None else x.shape[axis]
        cases = [np.zeros(0, np.int64), np.zeros((0, 3), np.intp), np.zeros((2, 0), np.int8)]
        if size:
            for indices_shape in ((), (1,), (2 * size + 1,), (2, 3)):
                cases.append(rng.integers(-size, size, indices_shape))
            cases += [np.arange(size)[::-1], np.arange(size), np.uint16([size - 1])]
            cases.append(rng.integers(-size, size, (6, 4)).astype(">i4")[::-2, ::3])
        for indices in cases:
            expected = np.take(x, indices, axis)
            check(lambda x, i=indices, a=axis: fastconv.take(x, i, a), x, expected)


@each_shape
def test_tile(shape: tuple[int, ...], dtype: Any) -> None:
    x = draw(shape, dtype)
    for reps in (3, (), (1,), (2, 1), (1, 2, 3), (2, 1, 1, 2, 2, 1), (0, 2), np.array([2, 1])):
        check(lambda x, r=reps: fastconv.tile(x, r), x, np.tile(x, reps))


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((2, 1, 3, 1), (2, 5, 3, 4)),
        ((2, 1, 3, 1), (-1, 5, -1, -1)),
        ((2, 1, 3, 1), (4, 2, 1, 3, 17)),
        ((1, 1, 1, 1), (2, 3, 4, 5)),
        ((1, 16, 1, 1), (2, 16, 5, 9)),
        ((1, 3, 2, 2), (0, 3, 2, 2)),
        ((0, 1), (0, 3)),
        ((0, 1), (2, -1, 3)),
        ((1,), 4),
        ((3,), 3),
        ((1, 2), (1, 2)),
    ],
)
def test_expand(shape: tuple[int, ...], wanted: Any, dtype: Any) -> None:
    x = draw(shape, dtype)
    sizes = (wanted,) if isinstance(wanted, int) else wanted
    given = (1,) * (len(sizes) - x.ndim) + shape
    full = tuple(m if n == -1 else n for m, n in zip(given, sizes, strict=True))
    check(lambda x: fastconv.expand(x, wanted), x, np.broadcast_to(x, full))


@each_shape
def test_axes(shape: tuple[int, ...], dtype: Any) -> None:
    x = draw(shape, dtype)
    axes = range(-x.ndim, x.ndim)
    ones = [i for i in range(x.ndim) if shape[i] == 1]
    check(fastconv.squeeze, x, np.squeeze(x))
    for axis in (*ones, tuple(ones), *(i - x.ndim for i in ones), ()):
        check(lambda x, a=axis: fastconv.squeeze(x, a), x, np.squeeze(x, axis))
    for axis in range(-x.ndim - 1, x.ndim + 1):
        check(lambda x, a=axis: fastconv.expand_dims(x, a), x, np.expand_dims(x, axis))
        check(lambda x, a=axis: fastconv.unsqueeze(x, a), x, np.expand_dims(x, axis))
        check(lambda x, a=axis: fastconv.stack([x, x, x], a), x, np.stack([x, x, x], axis))
    check(lambda x: fastconv.expand_dims(x, (0, -1)), x, np.expand_dims(x, (0, -1)))
    check(fastconv.flip, x, np.flip(x))
    for some in (*axes, (0, -1) if x.ndim > 1 else 0, ()):
        check(lambda x, a=some: fastconv.flip(x, a), x, np.flip(x, some))
    for shift, axis in itertools.product((0, 1, -1, 3, 100, -50), (None, *axes)):
        check(lambda x, s=shift, a=axis: fastconv.roll(x, s, a), x, np.roll(x, shift, axis))
    several = [((1, 2), None), (3, (0, -1)), ((1, -2), (0, -1)), ((2,), (0, 0)), ((1, 2), 0)]
    for shifts, over in several:
        check(lambda x, s=shifts, a=over: fastconv.roll(x, s, a), x, np.roll(x, shifts, over))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("r", [1, 2, 3])
@pytest.mark.parametrize(
    "sizes", [(2, 3, 4, 5), (1, 17, 1, 2), (0, 2, 3, 1), (2, 0, 1, 1)], ids=str
)
def test_depth_and_space(sizes: tuple[int, ...], r: int, mode: str, dtype: Any) -> None:
    n, c, h, w = sizes
    image = draw((n, c, h * r, w * r), dtype)
    # As ONNX defines SpaceToDepth and DepthToSpace.
    blocks = image.reshape(n, c, h, r, w, r)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    deep = np.ascontiguousarray(blocks.transpose(order)).reshape(n, c * r * r, h, w)
    check(lambda x: fastconv.space_to_depth(x, r, mode), image, deep)
    check(lambda x: fastconv.depth_to_space(x, r, mode), deep, image)
    if mode == "CRD":
        check(lambda x: fastconv.pixel_unshuffle(x, r), image, deep)
        check(lambda x: fastconv.pixel_shuffle(x, r), deep, image)
    if n:
        check(lambda x: fastconv.space_to_depth(x, r, mode), image[0], deep[0])
        check(lambda x: fastconv.depth_to_space(x, r, mode), deep[0], image[0])


def added(x: Array, indices: Any, updates: Array, axis: int) -> Array:
    y = x.copy()
    np.add.at(y, (slice(None),) * (axis % x.ndim) + (indices,), updates)
    return y


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@each_shape
def test_scatter_add(shape: tuple[int, ...], dtype: Any) -> None:
    x = draw(shape, dtype)
    rng = np.random.default_rng(2)
    for axis in range(-x.ndim, x.ndim):
        size = shape[axis]
        for count in (0, 1, 3 * size):
            if count and not size:
                continue
            indices = rng.integers(-size, size, count) if count else np.zeros(0, int)
            at = axis % x.ndim
            updates = draw((*shape[:at], count, *shape[at + 1 :]), dtype, 3)
            expected = added(x, indices, updates, axis)

            def call(x: Any, i: Any = indices, u: Any = updates, a: int = axis, **k: Any) -> Any:
                return fastconv.scatter_add(x, i, u, a, **k)

            check(call, x, expected)
            own = x.copy()
            assert call(own, out=own) is own
            np.testing.assert_array_equal(own, expected)
            # Updates that are computed, to constants and to other values.
            check(lambda u, i=indices, a=axis: fastconv.scatter_add(x, i, u, a), updates, expected)


def test_scatter_add_adds_in_order_for_any_number_of_threads(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 40, 3000)).astype(dtype)
    indices = rng.integers(-40, 40, 500)
    # Sums of these depend on the order.
    updates = (rng.standard_normal((3, 500, 3000)) * 10.0 ** rng.integers(-6, 6, (500, 1))).astype(
        dtype
    )
    expected = added(x, indices, updates, 1)
    backwards = added(x, indices[::-1], updates[:, ::-1], 1)
    assert (expected != backwards).any()
    for threads in (1, 2, 5):
        with fastconv.num_threads(threads):
            y = fastconv.scatter_add(x, indices, updates, 1)
        np.testing.assert_array_equal(y, expected)


def test_scatter_add_to_itself() -> None:
    x = draw((4, 4), np.float32)
    expected = added(x, [3, 0, 3, 1], x, 0)
    check(lambda x: fastconv.scatter_add(x, [3, 0, 3, 1], x), x, expected)
    module = Apply(lambda x: fastconv.scatter_add(x, [3, 0], x[1:3]))
    np.testing.assert_array_equal(module(x), added(x, [3, 0], x[1:3], 0))


def test_scatter_add_in_half_precision_rounds_once() -> None:
    x = np.full(1, 2048, np.float16)
    updates = np.ones(4, np.float16)  # each alone would be lost
    y = fastconv.scatter_add(x, [0, 0, 0, 0], updates)
    np.testing.assert_array_equal(y, np.full(1, 2052, np.float16), strict=True)


@pytest.mark.parametrize("name", ["take", "tile", "flip", "roll", "depth", "scatter_add"])
def test_between_convolutions(name: str, rng: np.random.Generator) -> None:
    """Values there lie in channel blocks, which are not full."""
    x, first = (rng.normal(size=s).astype(np.float32) for s in ((2, 3, 6, 8), (20, 3, 3, 3)))
    functions: dict[str, Callable[[Any], Any]] = {
        "take": lambda x: fastconv.take(x, [19, 0, 3, 3], 1),
        "tile": lambda x: fastconv.tile(x, (2, 1, 1)),
        "flip": lambda x: fastconv.flip(x, (1, 2)),
        "roll": lambda x: fastconv.roll(x, (7, 3), (1, 3)),
        "depth": lambda x: fastconv.depth_to_space(fastconv.space_to_depth(x, 2), 2, "CRD"),
        "scatter_add": lambda x: fastconv.scatter_add(x, [19, 2, 2], x[:, 4:7], 1),
    }
    channels = functions[name](np.zeros((1, 20, 6, 8))).shape[1]
    last = rng.normal(size=(5, channels, 1, 1)).astype(np.float32)

    def forward(x: Any) -> Any:
        y = functions[name](fastconv.conv2d(x, first, padding=1, activation="relu"))
        return fastconv.conv2d(y, last)

    module = Apply(forward)
    # Sums of 27 and of at most 40 products of about 1; the same weights either way.
    np.testing.assert_allclose(module(x), module.eager(x), rtol=1e-5, atol=1e-4)


def test_numbers_of_elements_that_no_array_has() -> None:
    for x in (np.ones((2, 2)), np.ones((1, 2))):
        with pytest.raises((ValueError, MemoryError)):
            fastconv.tile(x, (2**62, 2**62))
    with pytest.raises((ValueError, MemoryError)):
        fastconv.expand(np.ones((1, 2)), (2**62, 2))


X = np.zeros((2, 3, 4, 4), np.float32)
U = np.zeros((2, 2, 4, 4), np.float32)
BAD: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda x: fastconv.take(x, [3], 1), IndexError, "index 3 is out of bounds for axis 1 of x"),
    (lambda x: fastconv.take(x, [0, -4], -3), IndexError, "index -4 is out of bounds for axis 1"),
    (lambda x: fastconv.take(x, 96), IndexError, "index 96 .* flat (axis=None) with size 96"),
    (lambda x: fastconv.take(x, np.uint64(2**63), 1), IndexError, "index 9223372036854775808"),
    (lambda x: fastconv.take(x, [0.0], 1), TypeError, "indices must be an array of integers, got"),
    (lambda x: fastconv.take(x, [True], 1), TypeError, "pass numpy.flatnonzero(mask)"),
    (lambda x: fastconv.take(x, ["a"], 1), TypeError, "indices must be an array of integers"),
    (lambda x: fastconv.take(x, [[0], [0, 1]], 1), TypeError, "indices must be an array"),
    (lambda x: fastconv.take(x, [0], 4), ValueError, "axis = 4 is out of range"),
    (lambda x: fastconv.take(x, [0], 1.0), TypeError, "axis must be an integer"),
    (lambda x: fastconv.take(x, [0], dim=1), TypeError, "dim=1 is not possible: pass axis="),
    (
        lambda x: fastconv.expand(x, (2, 3, 4, 5)),
        ValueError,
        "expand to shape (2, 3, 4, 5)",
    ),
    (lambda x: fastconv.expand(x, (4, 4)), ValueError, "does not expand to shape (4, 4)"),
    (lambda x: fastconv.expand(x, (-1, 2, 3, 4, 4)), ValueError, "new axes come first"),
    (lambda x: fastconv.expand(x, (2, 3, -2, 4)), ValueError, "does not expand"),
    (lambda x: fastconv.expand(x, (2, 3, 4.0, 4)), TypeError, "shape must be an integer"),
    (lambda x: fastconv.tile(x, (1, -1)), ValueError, "reps must not be negative, got -1"),
    (lambda x: fastconv.tile(x, 1.5), TypeError, "reps must be an integer"),
    (lambda x: fastconv.stack([]), ValueError, "arrays is empty"),
    (lambda x: fastconv.stack(X), TypeError, "arrays must be a list or tuple"),
    (
        lambda x: fastconv.stack([x, U]),
        ValueError,
        "arrays[1] has shape (2, 2, 4, 4)",
    ),
    (lambda x: fastconv.stack([x, x], 5), ValueError, "axis = 5 is out of range"),
    (lambda x: fastconv.squeeze(x, 1), ValueError, "axis 1 of shape (2, 3, 4, 4) is not"),
    (lambda x: fastconv.squeeze(x, 4), ValueError, "axis = 4 is out of range"),
    (lambda x: fastconv.expand_dims(x, 5), ValueError, "axis = 5 is out of range"),
    (lambda x: fastconv.expand_dims(x, None), TypeError, "axis must be an integer or a sequence"),
    (lambda x: fastconv.expand_dims(x, (0, -6)), ValueError, "axis names a dimension twice"),
    (lambda x: fastconv.unsqueeze(x, (0, 1)), TypeError, "axis must be an integer"),
    (lambda x: fastconv.flip(x, (0, -4)), ValueError, "axis names a dimension twice"),
    (lambda x: fastconv.flip(x, 4), ValueError, "axis = 4 is out of range"),
    (lambda x: fastconv.roll(x, (1, 2), (0, 1, 2)), ValueError, "got 2 for 3 axes"),
    (lambda x: fastconv.roll(x, 0.5, 1), TypeError, "shift must be an integer"),
    (lambda x: fastconv.roll(x, 1, 4), ValueError, "axis = 4 is out of range"),
    (lambda x: fastconv.pixel_unshuffle(x, 3), ValueError, "downscale_factor must be positive and"),
    (lambda x: fastconv.space_to_depth(x, 0), ValueError, "block_size must be positive and divide"),
    (lambda x: fastconv.space_to_depth(x, 2, "dcr"), ValueError, "mode must be one of DCR, CRD"),
    (lambda x: fastconv.depth_to_space(x, 2), ValueError, "its square divide the 3 channels"),
    (lambda x: fastconv.depth_to_space(x, 1, 1), TypeError, "mode must be a string"),
    (lambda x: fastconv.depth_to_space(x[0, 0], 1), ValueError, "must have shape (N, C, H, W)"),
    (lambda x: fastconv.scatter_add(x, [0, 3], U, 1), IndexError, "index 3 is out of bounds"),
    (lambda x: fastconv.scatter_add(x, [0], U, 1), ValueError, "updates must have shape (2, 1, 4"),
    (lambda x: fastconv.scatter_add(x, [[0, 1]], U, 1), ValueError, "indices must have one dim"),
    (lambda x: fastconv.scatter_add(x, [0.0, 1], U, 1), TypeError, "indices must be an array of"),
    (lambda x: fastconv.scatter_add(x, [0, 1], U, 4), ValueError, "axis = 4 is out of range"),
    (lambda x: fastconv.scatter_add(x, [0, 1], None, 1), TypeError, "updates must be an array"),
    (lambda x: fastconv.scatter_add(x, [0, 1], U, dim=1), TypeError, "dim=1 is not possible"),
    (lambda x: fastconv.scatter_add(x, [0, 1], U.astype(np.float64), 1), TypeError, "float64"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message for *_, message in BAD])
def test_bad_arguments(call: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message).replace(r"\ \.\*\ ", " .* ")):
        call(X)
    with pytest.raises(error, match=re.escape(message).replace(r"\ \.\*\ ", " .* ")):
        Apply(call).compile(X.shape)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: fastconv.take(x, [0], 0),
        lambda x: fastconv.scatter_add(x, [], np.zeros(0), 0),
        lambda x: fastconv.roll(x, 1, 0),
    ],
)
def test_a_number_has_no_axes(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="x must have at least one dimension"):
        call(np.float64(1))


def test_indices_are_constants() -> None:
    with pytest.raises(TypeError, match="indices must be an array of integers, got a symbolic"):
        Apply(lambda x: fastconv.take(np.ones((2, 2), np.float32), x)).compile((1, 2))


@pytest.mark.parametrize("name", ["stack", "roll", "flip", "squeeze"])
def test_symbolic_values_have_no_out(name: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {"roll": (1, 0)}

    def forward(x: Any) -> Any:
        first = [x] if name == "stack" else x
        return getattr(fastconv, name)(first, *arguments.get(name, ()), out=X)

    with pytest.raises(TypeError, match="out cannot be given with symbolic values"):
        Apply(forward).compile(X.shape)
