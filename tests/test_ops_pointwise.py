"""Arithmetic, comparisons and functions of single elements: on arrays, recorded and fused."""

from functools import partial

import fastconv as fc
import numpy as np
import pytest
from fastconv import _core, nn
from fastconv.ops._pointwise import INSTRUCTIONS

ACTIVATIONS = [name for name in _core.activations() if name not in ("none", "gelu_tanh")]

NUMPY = {
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "round": np.rint,
    "erf": None,  # tests/cpp/math_test.cc has it
}
ULP = {
    "exp": 1.5,
    "expm1": 2.5,
    "log": 2,
    "log1p": 3,
    "rsqrt": 1.5,
    "sin": 1.6,
    "cos": 1.6,
    "power": 1.5,
}
"""Errors in units in the last place; the others are exact."""
SHAPES = [
    (),
    (1,),
    (5,),
    (16,),
    (33,),
    (1000,),
    (3, 7),
    (4, 5, 49),
    (2, 1500),
    (0, 3),
    (2, 3, 1, 40),
]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.0, 0.5]


class Forward(nn.Module):
    def __init__(self, function):
        self._function = function

    def forward(self, *inputs):
        return self._function(*inputs)


def numbers(rng, shape, dtype):
    """Of several magnitudes, special ones among them, with strides of several kinds."""
    x = (rng.standard_normal(shape) * rng.choice([1e-3, 1, 10, 30])).astype(dtype)
    x = np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), x).astype(dtype)
    how = rng.integers(4)
    if how == 0 and shape:
        x = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    elif how == 1 and len(shape) > 1:
        x = np.broadcast_to(x[:1], shape)
    elif how == 2 and shape:
        x = np.broadcast_to(x[..., :1], shape)
    return x


def same(a, b):
    """Whether all bits agree, but for those of NaN."""
    return a.dtype == b.dtype and np.array_equal(
        np.where(a != a, 0, a).view(f"u{a.itemsize}"), np.where(b != b, 0, b).view(f"u{b.itemsize}")
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(set(INSTRUCTIONS) - {"erf"}))
def test_numpy_agrees(name, dtype):
    rng = np.random.default_rng(0)
    function = getattr(fc, name)
    expected_of = NUMPY.get(name) or getattr(np, name)
    kinds, result = INSTRUCTIONS[name]
    for shape in SHAPES:
        arrays = [
            rng.random(shape) < 0.5 if kind == "m" else numbers(rng, shape, dtype) for kind in kinds
        ]
        with np.errstate(all="ignore"):
            wide = [x if x.dtype == bool else x.astype(np.float64) for x in arrays]
            exact = expected_of(*wide)
            expected = np.asarray(exact, bool if result == "m" else dtype)
        y = function(*arrays)
        assert y.dtype == expected.dtype
        assert y.shape == shape
        if result == "m":
            assert np.array_equal(y, expected)
            continue
        assert np.array_equal(np.isnan(y), np.isnan(expected))
        zero = expected == 0
        assert np.array_equal(np.signbit(y)[zero], np.signbit(expected)[zero])
        rest = np.isfinite(expected) & ~zero
        assert np.array_equal(y[~rest & ~np.isnan(y)], expected[~rest & ~np.isnan(y)])
        error = np.abs(y[rest].astype(np.float64) - exact[rest]) / np.spacing(
            np.abs(expected[rest])
        )
        assert error.max(initial=0) <= ULP.get(name, 0 if dtype == np.float64 else 0.5)


# ---- Recorded ------------------------------------------------------------------------------------

W = np.linspace(-1, 1, 20, dtype=np.float32)[:, None, None]
FORWARDS = {
    "chain": lambda x: fc.clip(abs(x * W + 0.5) - x, -0.3, 0.4) * W + 1,
    "choice": lambda x: fc.where((x > 0) & (x < 1) | (x == W), np.exp(x), 2 - x / 3) ** 2,
    "reverse": lambda x: (1 - x) / (3 / (x * x + 1)) - W / (2 + abs(x)),
    "functions": lambda x: np.log1p(np.square(x)) + np.sqrt(abs(x)) * np.sin(x) - np.floor(x),
    "twice": lambda x: (x - 1) * (x - 1) + np.minimum(x, -x) * np.sign(x),
    "constant": lambda x: fc.maximum(x, W) ** 3,
    "mask": lambda x: ~(x >= 0.2) ^ (x != x),
    "by itself": lambda x: x / x - -x,
}


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FORWARDS)
def test_fused_programs_compute_what_single_operators_do(name, dtype, blocked):
    """With the same bits, where no batch norm or the like takes a factor into its own."""
    function = FORWARDS[name]
    conv, last = nn.Conv2d(20, 20, 3, padding=1), nn.Conv2d(20, 5, 1)

    def forward(x):
        y = function(conv(x) if blocked else x)
        return last(y) if blocked and y.dtype != bool else y

    class Network(Forward):
        def __init__(self):
            super().__init__(forward)
            self.conv, self.last = conv, last

    module = Network().astype(dtype)
    global W
    W = W.astype(dtype)
    x = np.random.default_rng(1).standard_normal((2, 20, 9, 11)).astype(dtype)
    y, expected = module(x), module.eager(x)
    assert y.dtype == expected.dtype
    if name == "mask" or not blocked:
        wanted = expected
        assert np.allclose(y, wanted, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)
    else:
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_chains_become_one_program():
    def forward(x):
        return fc.where(x > 0.5, fc.exp(x), abs(x) - 3) / 2

    module = Forward(forward)
    network = module.compile((4, 5))
    assert [step["op"] for step in network.explain()] == ["pointwise"]
    x = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    assert same(network(x), module.eager(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*ACTIVATIONS, "clip"])
def test_activations_join_programs(name, dtype):
    """Before, between and after other steps, and after a batch norm that has one itself."""
    options = {"leaky_relu": {"negative_slope": 0.3}, "clip": {"min": -0.5, "max": 0.0}}
    function = partial(getattr(fc, name), **options.get(name, {}))

    class Network(nn.Module):
        def __init__(self):
            self.norm = nn.BatchNorm2d(20)

        def forward(self, x):
            y = function(self.norm(x)) - function(x)
            return function(y * x) / 2

    x = np.random.default_rng(1).standard_normal((2, 20, 9, 11)).astype(dtype)
    x[0, 0, 0, :3] = np.nan, 0, -0.0
    module = Network().astype(dtype)
    module.reset_parameters(0)
    network = module.compile(x.shape)
    assert [step["op"] for step in network.explain()] == ["pointwise"]
    y, expected = network(x), module.eager(x)
    tolerance = 32 * np.finfo(dtype).eps  # a batch norm alone is computed as another form
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)


def test_activations_in_programs_have_the_bits_that_they_have_alone():
    x = np.random.default_rng(1).standard_normal((3, 1000)).astype(np.float32) * 4
    x[0, :5] = np.nan, np.inf, -np.inf, 0, -0.0
    for name in ACTIVATIONS:
        function = getattr(fc, name)
        module = Forward(lambda x, function=function: abs(function(-x)))
        assert same(module(x), module.eager(x)), name


def test_a_value_that_others_need_stays():
    def forward(x):
        y = x - 1
        return y / 2, y

    module = Forward(forward)
    x = np.arange(6, dtype=np.float32)
    for a, b in zip(module(x), module.eager(x), strict=True):
        assert same(a, b)


def test_masks_come_in_and_go_out():
    def forward(x):
        return x > 0

    x = np.array([[1.0, -1.0, np.nan]], np.float32)
    y = Forward(forward)(x)
    assert y.dtype == bool
    assert y.tolist() == [[True, False, False]]
    mask = np.array([True, False, True])
    chosen = Forward(lambda x: fc.where(mask, x, 0))(x)
    assert same(chosen, np.where(mask, x, np.float32(0)))


def test_numpy_and_reversed_operators_record():
    x = np.linspace(-2, 2, 7, dtype=np.float32)
    c = np.full(7, 3, np.float32)
    for function in (
        lambda x: c - x,
        lambda x: c / (x + 3),
        lambda x: c**x,
        lambda x: c > x,
        lambda x: np.maximum(c, x),
        lambda x: np.negative(x),
        lambda x: -x,
        lambda x: +x,
        lambda x: 2**x,
        lambda x: np.rint(x),
        lambda x: np.clip(x, -1, 1) if isinstance(x, np.ndarray) else fc.clip(x, -1, 1),
    ):
        module = Forward(function)
        np.testing.assert_allclose(module(x), module.eager(x), rtol=1e-6)


# ---- Bad input -----------------------------------------------------------------------------------

F4, F8 = np.ones(3, np.float32), np.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: fc.subtract(F4, F8), TypeError, "b is float64 but a is float32"),
        (
            lambda: fc.divide(F4, np.ones(4, np.float32)),
            ValueError,
            r"broadcast, got \(3,\) and \(4,\)",
        ),
        (lambda: fc.exp([1, 2]), TypeError, "x must be float32 or float64"),
        (lambda: fc.exp(None), TypeError, "x must be an array, got None"),
        (lambda: fc.where(F4, F4, F4), TypeError, "condition must be bool, got float32"),
        (lambda: fc.logical_and(F4 > 0, F4), TypeError, "b must be bool, got float32"),
        (lambda: fc.clip(F4), TypeError, "takes min, max or both"),
        (lambda: fc.clip(F4, "a"), TypeError, "min"),
        (lambda: fc.exp(F4, out=np.ones(4, np.float32)), ValueError, "out must have shape"),
        (lambda: fc.less(F4, 1, out=np.ones(3, np.float32)), TypeError, "out must be bool"),
        (lambda: fc.subtract(F4, F4, alpha=2), ValueError, "alpha"),
    ],
)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda x: fc.where(x, x, x), "condition must be bool, got float32"),
        (lambda x: x & x, "must be bool, got float32"),
        (lambda x: x - F8, "float64"),
        (lambda x: x - "a", "expected a number or an array, got str"),
        (lambda x: fc.divide(x, np.ones(4, np.float32)), "do not broadcast"),
        (lambda x: fc.exp(x, out=F4), "out cannot be given"),
        (lambda x: x if x > 0 else -x, "a truth value"),
        (lambda x: fc.exp(x > 0), "exp has no kernel for bool"),
        (lambda x: fc.subtract(x > 0, x < 1), "subtract has no kernel for bool"),
        (lambda x: fc.where(x > 0, x < 1, x < 2), "where has no kernel for bool"),
        (lambda x: fc.elu(x > 0), "pointwise has no kernel for bool"),
    ],
)
def test_bad_input_while_recording(function, match):
    with pytest.raises((TypeError, ValueError), match=match):
        Forward(function)(np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("program", "match"),
    [
        ("", "expected a name"),
        ("exp", r"expected \("),
        ("nothing(x0)", "there is no instruction 'nothing'"),
        ("exp(x0, x1)", "exp takes 1 operands, got 2"),
        ("exp(t0)", "there is no value t0"),
        ("t0 = exp(x0); t0 = exp(x0); exp(t0)", "t0 is there twice"),
        ("t0 = less(x0, 1); exp(t0)", "operand 0 of exp must be a float, not true or false"),
        ("t0 = exp(x0); logical_not(x0)", "operand 0 of logical_not must be true or false"),
        ("exp(x0) exp", "expected the end"),
        ("exp(x99999999999)", "there is no value"),
    ],
)
def test_bad_programs(program, match):
    graph = _core.Graph()
    x = graph.input((3,), np.float32)
    with pytest.raises(ValueError, match=match):
        graph.add("pointwise", [x], {"program": program})


def test_programs_are_read_as_they_are_written():
    text = (
        "t0 = multiply(x0, x2); t1 = clip(t0, -1.5, inf); t2 = less(t1, x1); "
        "where(t2, t1, 0.10000000000000001)"
    )
    graph = _core.Graph()
    inputs = [graph.input((3,), np.float32) for _ in range(3)]
    y = graph.add("pointwise", inputs, {"program": text})
    assert graph.node(y)[2] == {"program": text}


def test_sizes_that_fuse_otherwise_do_not_share_weights():
    """Where the image is one pixel wide, the gate has its shape and joins the program."""

    class Gated(nn.Module):
        def __init__(self):
            self.first, self.second = (nn.Conv2d(16, 16, 1, bias=False) for _ in range(2))
            rng = np.random.default_rng(0)
            for conv in (self.first, self.second):
                conv.weight = rng.standard_normal((16, 16, 1, 1)).astype(np.float32) / 4

        def forward(self, x):
            gate = fc.mean(x, 3, keepdims=True) - 1
            return self.second(self.first(gate * x))

    module = Gated()
    for width in (1, 5, 1, 3):
        x = np.random.default_rng(width).standard_normal((2, 16, 40, width)).astype(np.float32)
        np.testing.assert_allclose(module(x), module.eager(x), rtol=1e-4, atol=1e-4)
