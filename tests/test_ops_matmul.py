"""Products of matrices, against NumPy in double: eagerly and in networks."""

from __future__ import annotations

import re
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import _core, nn
from fastconv.analysis import summary


class Apply(nn.Module):
    def __init__(self, function: Any) -> None:
        self._function = function

    def forward(self, *args: Any) -> Any:
        return self._function(*args)


def bound(a: np.ndarray, b: np.ndarray) -> Any:
    """What docs/accuracy.md promises of sums in parts."""
    k, u = a.shape[-1], float(np.finfo(a.dtype).eps) / 2
    return (min(k, 160) + k / 64 + 4) * u * np.matmul(abs(a).astype(float), abs(b).astype(float))


def check(a: np.ndarray, b: np.ndarray) -> None:
    expected = np.matmul(a.astype(np.longdouble), b.astype(np.longdouble))
    y = fastconv.matmul(a, b)
    assert (y.shape, y.dtype) == (expected.shape, a.dtype)
    assert (abs(y - expected) <= bound(a, b)).all()
    network = Apply(fastconv.matmul).compile((a.shape, b.shape), precision=f"fp{8 * a.itemsize}")
    compiled = network(a, b)
    assert (compiled.shape, compiled.dtype) == (y.shape, y.dtype)
    assert (abs(compiled - expected) <= bound(a, b)).all()


SHAPES = [
    ((1, 1), (1, 1)),
    ((3, 5), (5, 7)),
    ((197, 64), (64, 197)),
    ((64, 197), (197, 32)),
    ((17, 1000), (1000, 33)),
    ((2, 1300), (1300, 16)),
    ((1, 300), (300, 70)),
    ((70, 300), (300, 1)),
    ((1, 1), (1, 50)),
    ((5, 1), (1, 50)),
    ((300,), (300, 33)),
    ((33, 300), (300,)),
    ((300,), (300,)),
    ((2, 3, 7, 9), (2, 3, 9, 17)),
    ((2, 3, 7, 9), (9, 17)),
    ((7, 9), (2, 3, 9, 17)),
    ((2, 1, 7, 9), (3, 9, 17)),
    ((2, 3, 1, 9), (9, 17)),
    ((2, 3, 7, 9), (9,)),
    ((9,), (2, 3, 9, 17)),
    ((1, 1, 1, 1, 2, 3), (2, 1, 3, 4)),
    ((500, 4, 4), (500, 4, 4)),
]


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_against_numpy(left: Any, right: Any, dtype: Any, rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in (left, right))
    check(a, b)


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_integers_are_exact(left: Any, right: Any, dtype: Any, rng: np.random.Generator) -> None:
    a, b = (rng.integers(-8, 9, shape).astype(dtype) for shape in (left, right))
    expected = np.matmul(a.astype(np.int64), b.astype(np.int64)).astype(dtype)
    np.testing.assert_array_equal(fastconv.matmul(a, b), expected, strict=True)


def views(rng: np.random.Generator, dtype: Any, *shape: int) -> list[np.ndarray]:
    """Arrays of one shape and of integers, with all kinds of strides."""
    last = shape[-1]
    plain = rng.integers(-8, 9, shape).astype(dtype)
    wide = rng.integers(-8, 9, (*shape[:-1], 1024)).astype(dtype)
    return [
        plain,
        rng.integers(-8, 9, (*shape[:-2], last, shape[-2])).astype(dtype).swapaxes(-1, -2),
        plain[..., ::-1],
        plain[::-1],
        np.repeat(plain, 2, -1)[..., ::2],
        wide[..., :last],  # rows that fall into the same sets of the cache
        np.moveaxis(rng.integers(-8, 9, shape[::-1]).astype(dtype), 0, -1).reshape(shape),
        np.asfortranarray(plain),
        np.broadcast_to(plain[..., :1], shape),
        np.broadcast_to(plain[..., :1, :], shape),
        np.broadcast_to(plain[:1], shape),
    ]


@pytest.mark.parametrize("shapes", [((3, 40, 70), (3, 70, 300)), ((2, 1, 70), (2, 70, 1))])
def test_strides(shapes: Any, dtype: Any, rng: np.random.Generator) -> None:
    left, right = (views(rng, dtype, *shape) for shape in shapes)
    for a in left:
        for b in right:
            before = a.copy(), b.copy()
            expected = np.matmul(a.astype(np.int64), b.astype(np.int64)).astype(dtype)
            np.testing.assert_array_equal(fastconv.matmul(a, b), expected, strict=True)
            np.testing.assert_array_equal(a, before[0])
            np.testing.assert_array_equal(b, before[1])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((0, 5), (5, 7)),
        ((3, 5), (5, 0)),
        ((3, 0), (0, 7)),
        ((0,), (0,)),
        ((0,), (0, 3)),
        ((2, 0), (0,)),
        ((0, 3, 5), (5, 7)),
        ((2, 0, 3, 0), (1, 0, 2)),
    ],
)
def test_empty(left: Any, right: Any, dtype: Any) -> None:
    a, b = np.ones(left, dtype), np.ones(right, dtype)
    expected = np.matmul(a, b)
    out = np.full(expected.shape, np.nan, dtype)
    np.testing.assert_array_equal(fastconv.matmul(a, b, out=out), expected)
    assert Apply(lambda x: x @ b).eager(a).shape == expected.shape
    network = Apply(fastconv.matmul).compile((a.shape, b.shape), precision=f"fp{8 * a.itemsize}")
    np.testing.assert_array_equal(network(a, b), expected)


@pytest.mark.parametrize("n", [7, 16, 40])
def test_non_finite_numbers_stay_in_their_rows_and_columns(n: int, dtype: Any) -> None:
    a, b = np.ones((20, 150), dtype), np.ones((150, n), dtype)
    a[3, 140], a[7, 0] = np.nan, np.inf
    b[5, 2], b[0, 4] = -np.inf, 0
    with np.errstate(invalid="ignore"):
        expected = np.matmul(a, b)
    y = fastconv.matmul(a, b)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(y[~np.isnan(y)], expected[~np.isnan(y)])


def test_half_precision_is_summed_in_float32_and_rounded_once(rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal(s).astype(np.float16) for s in ((9, 300), (300, 11)))
    expected = fastconv.matmul(a.astype(np.float32), b.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(fastconv.matmul(a, b), expected, strict=True)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((700, 300), (300, 90)),
        ((90, 300), (300, 700)),
        ((3, 200, 260), (3, 260, 70)),
        ((1, 900), (900, 900)),
        ((900, 900), (900, 1)),
        ((600, 12, 20), (600, 20, 9)),
    ],
)
def test_any_number_of_threads_gives_the_same_bits(left: Any, right: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in (left, right))
    results = []
    for threads in (1, 2, 3, 8):
        with fastconv.num_threads(threads):
            results.append(fastconv.matmul(a, b))
            results.append(fastconv.matmul(a, np.asfortranarray(b)))
    for y in results[2::2]:
        np.testing.assert_array_equal(y, results[0])
    for y in results[3::2]:
        np.testing.assert_array_equal(y, results[1])
    if a.shape[-2] > 1 and b.shape[-1] > 1:  # else strides decide how sums are made
        np.testing.assert_array_equal(results[0], results[1])


def test_a_part_of_the_rows_or_of_the_batch_has_the_same_bits(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, 50, 260)), rng.standard_normal((4, 260, 75))
    a, b = a.astype(dtype), b.astype(dtype)
    whole = fastconv.matmul(a, b)
    np.testing.assert_array_equal(fastconv.matmul(a[1:3], b[1:3]), whole[1:3])
    np.testing.assert_array_equal(fastconv.matmul(a[:, 7:33], b), whole[:, 7:33])
    np.testing.assert_array_equal(fastconv.matmul(a, b[..., 5:40]), whole[..., 5:40])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 10, 16, 33, 300])
def test_rows_that_share_a_set_of_the_cache_have_the_same_bits(n: int, dtype: Any) -> None:
    """A distance of a page between rows changes the tiles, but no sum."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((45, 1024)).astype(dtype)
    b = rng.standard_normal((1024, n)).astype(dtype)
    apart = np.zeros((45, 1040), dtype)
    apart[:, :1024] = a
    expected = fastconv.matmul(apart[:, :1024], b)
    np.testing.assert_array_equal(fastconv.matmul(a, b), expected)
    np.testing.assert_array_equal(
        fastconv.matmul(a[:, :700], b[:700]), apart[:, :700] @ b[:700]
    ) if False else None


def test_out(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((5, 6)), rng.standard_normal((6, 7))
    expected = fastconv.matmul(a, b)
    for out in (np.empty((5, 7)), np.empty((7, 5)).T, np.empty((5, 14))[:, ::2]):
        assert fastconv.matmul(a, b, out=out) is out
        np.testing.assert_array_equal(out, expected)
    square = rng.standard_normal((5, 5))
    before = square.copy()
    with pytest.raises(ValueError, match="out overlaps a: pass an array of its own"):
        fastconv.matmul(square, np.eye(5), out=square)
    with pytest.raises(ValueError, match=r"out must have shape \(5, 7\), got \(5, 8\)"):
        fastconv.matmul(a, b, out=np.empty((5, 8)))
    with pytest.raises(TypeError, match="out must be float64"):
        fastconv.matmul(a, b, out=np.empty((5, 7), np.float32))
    np.testing.assert_array_equal(square, before)


def test_torch_spells_the_arguments_otherwise() -> None:
    a, b = np.ones((2, 3)), np.ones((3, 4))
    expected = fastconv.matmul(a, b)
    np.testing.assert_array_equal(fastconv.matmul(input=a, other=b), expected)
    np.testing.assert_array_equal(fastconv.ops.matmul(a, other=b), expected)


X = np.ones((2, 3, 4), np.float32)
WRONG: list[tuple[Any, Any, type[Exception], str]] = [
    (X, X, ValueError, "a of shape (2, 3, 4) has 4 columns, but b of shape (2, 3, 4) has 3 rows"),
    (X, np.ones(5, np.float32), ValueError, "b of shape (5,) has 5 rows"),
    (np.ones(3, np.float32), X[0].T, ValueError, "a of shape (3,) has 3 columns"),
    (X, np.ones((3, 4, 5), np.float32), ValueError, "(2,) and (3,) do not broadcast"),
    (X, np.float32(2), ValueError, "b must have at least one dimension: for a number use multiply"),
    (np.float32(2), X, ValueError, "a must have at least one dimension"),
    (X, X.astype(float).swapaxes(1, 2), TypeError, "float64"),
    (X, np.ones((4, 2), int), TypeError, "int64"),
    (X, None, TypeError, "b must be an array, got None"),
]


@pytest.mark.parametrize(("a", "b", "error", "message"), WRONG)
def test_errors(a: Any, b: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        fastconv.matmul(a, b)
    constant_first = np.ndim(a) == 0
    x, constant = (b, a) if constant_first else (a, b)
    module = Apply(lambda x: fastconv.matmul(*((constant, x) if constant_first else (x, constant))))
    with pytest.raises(error, match=re.escape(message)):
        module(x)


# ---- Recorded ------------------------------------------------------------------------------------


def test_operators_of_python(rng: np.random.Generator) -> None:
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 6, 6), (6, 6)))

    def in_place(v: Any) -> Any:
        v = v + 0
        same = v
        v @= w
        return same

    for function in (
        lambda v: v @ v,
        lambda v: v @ w,
        lambda v: w @ v,
        lambda v: np.matmul(v, w),
        lambda v: np.matmul(w, v),
        lambda v: v @ w[0],
        lambda v: w[0] @ v,
        in_place,
    ):
        module = Apply(function)
        expected = np.asarray(function(x.astype(np.float64)), np.float32)
        for y in (module(x), module.eager(x)):
            np.testing.assert_allclose(y, expected, 1e-5, 1e-5)
        assert "matmul" in {node.op for node in module.graph(x.shape)}


def test_attention_is_what_numpy_says(dtype: Any, rng: np.random.Generator) -> None:
    weight = (rng.standard_normal((48, 16)) / 4).astype(dtype)

    def attention(x: Any) -> Any:
        n, tokens, _ = x.shape
        qkv = fastconv.linear(x, weight).reshape(n, tokens, 3, 2, 8).transpose(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        p = fastconv.softmax(q @ k.swapaxes(-1, -2) / 8**0.5, -1)
        return (p @ v).swapaxes(1, 2).reshape(n, tokens, 16)

    x = rng.standard_normal((2, 50, 16)).astype(dtype)
    qkv = np.moveaxis((x @ weight.T).reshape(2, 50, 3, 2, 8), (2, 3), (0, 2))
    scores = np.exp(qkv[0] @ qkv[1].swapaxes(-1, -2) / 8**0.5)
    expected = (scores / scores.sum(-1, keepdims=True)) @ qkv[2]
    expected = expected.swapaxes(1, 2).reshape(2, 50, 16)
    module = Apply(attention)
    for y in (module(x), module.eager(x)):
        np.testing.assert_allclose(y, expected, 0, 200 * np.finfo(dtype).eps)


def test_macs_are_counted() -> None:
    module = Apply(lambda x: (x @ x.swapaxes(-1, -2)) @ np.ones((3, 5), np.float32))
    shape = (2, 3, 4)
    macs = 2 * 3 * 4 * 3 + 2 * 3 * 3 * 5
    assert summary(module, shape).macs == macs
    network = module.compile(shape)
    assert sum(step["macs"] for step in network.explain()) == macs
    assert "matmul" in str(module.graph(shape))


def test_values_in_channel_blocks_are_taken_as_they_are(rng: np.random.Generator) -> None:
    kernel = rng.standard_normal((20, 5, 3, 3)).astype(np.float32)
    module = Apply(lambda x: fastconv.conv2d(x, kernel) @ fastconv.conv2d(x, kernel * 0.5))
    x = rng.standard_normal((2, 5, 12, 12)).astype(np.float32)
    expected = module.eager(x)
    np.testing.assert_allclose(module(x), expected, 0, 1e-5 * abs(expected).max())


@pytest.mark.parametrize("size", [1, 40])
def test_exact_does_not_depend_on_the_batch(size: int, rng: np.random.Generator) -> None:
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((5, 700), (700, size)))
    for weight in (w, np.asfortranarray(w)):
        module = Apply(lambda x, w=weight: x @ w)
        whole = module.compile(x.shape, accuracy="exact")(x)
        for rows in (slice(1), slice(3, 5)):
            part = module.compile(x[rows].shape, accuracy="exact")(x[rows])
            np.testing.assert_array_equal(part, whole[rows])


def test_permutations_before_it_are_no_steps(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 5, 3, 4)).astype(np.float32)

    def forward(x: Any) -> Any:
        y = x * 2
        q, k = y.transpose(0, 2, 1, 3), y.transpose(0, 2, 3, 1)
        return (q @ k) @ q + k.sum() * 0.1

    def tapped(x: Any) -> Any:
        k = x.transpose(0, 1, 3, 2)
        return x @ k, k

    def ahead(x: Any) -> Any:  # what is permuted must outlive others that could take its place
        y = x * 2
        k = y.swapaxes(2, 3)
        return (fastconv.relu(y) - 1) @ k

    for function, permutes in ((forward, 1), (tapped, 1), (ahead, 0)):
        module = Apply(function)
        actual, expected = module(x), module.eager(x)
        if function is tapped:
            np.testing.assert_array_equal(actual[1], expected[1])
            actual, expected = actual[0], expected[0]
        np.testing.assert_allclose(actual, expected, 0, 1e-4)
        steps = [step["op"] for step in module.compile(x.shape).explain()]
        assert steps.count("permute") == permutes, steps


def test_subnormal_numbers_count_in_exact_networks() -> None:
    x = np.full((4, 4), 1e-40, np.float32)
    module = Apply(lambda x: x @ np.eye(4, dtype=np.float32))
    np.testing.assert_array_equal(module.compile(x.shape, accuracy="exact")(x), x)


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6), (2, 5, 3, 6), (0, 3, 6)])
def test_products_by_constant_matrices_are_linear_layers(shape: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(dtype) for s in (shape, (6, 20)))
    bias = rng.standard_normal(20).astype(dtype)
    for weight in (w, np.asfortranarray(w)):
        network = Apply(lambda x, w=weight: fastconv.relu(x @ w + bias)).compile(
            x.shape, precision=f"fp{8 * x.itemsize}"
        )
        assert "matmul" not in {step["op"] for step in network.explain()}
        expected = np.maximum(np.matmul(x.astype(np.longdouble), w) + bias, 0)
        u = np.finfo(dtype).eps
        assert (abs(network(x) - expected) <= bound(x, w) + 2 * u * (abs(expected) + 1)).all()


def test_a_bias_and_an_activation_go_into_products_by_constants() -> None:
    w, bias = np.ones((6, 20), np.float32), np.ones(20, np.float32)
    network = Apply(lambda x: fastconv.relu(x @ w + bias)).compile((5, 6))
    assert [step["op"] for step in network.explain()] == ["linear+relu"]


@pytest.mark.parametrize(
    ("left", "right"), [((2, 2, 2, 3, 6), (6, 4)), ((5, 6), (2, 6, 4)), ((5, 6), (6,))]
)
def test_other_products_by_constants_stay_products(left: Any, right: Any) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(-8, 9, left).astype(float), rng.integers(-8, 9, right).astype(float)
    network = Apply(lambda x: x @ w).compile(x.shape, precision="fp64")
    assert [step["op"] for step in network.explain()] == ["matmul"]
    np.testing.assert_array_equal(network(x), x @ w)
    first = Apply(lambda x: w @ x).compile((w.shape[-1], 5), precision="fp64")
    assert [step["op"] for step in first.explain()] == ["matmul"]


@pytest.mark.cuda
def test_no_cuda() -> None:
    module = Apply(lambda x: x @ x)
    with pytest.raises(ValueError, match="matmul does not run on device='cuda'"):
        module.compile((4, 4), device="cuda")
    x = fastconv.cuda.asarray(np.ones((4, 4), np.float32))
    with pytest.raises(ValueError, match="matmul does not run on device='cuda'"):
        fastconv.matmul(x, x)


def test_operator_in_graphs() -> None:
    graph = _core.Graph()
    a, b = (graph.input(shape, np.float32) for shape in ((2, 1, 3, 4), (5, 4, 6)))
    assert graph.shape(graph.add("matmul", [a, b], {})) == (2, 5, 3, 6)
    with pytest.raises(ValueError, match="4 columns"):
        graph.add("matmul", [a, a], {})
