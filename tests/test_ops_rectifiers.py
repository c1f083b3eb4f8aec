"""Activations that are pointwise programs: against formulas, at the ends, recorded, as layers."""

from __future__ import annotations

import math
from typing import Any

import fastconv as fc
import numpy as np
import pytest
from fastconv import nn
from fastconv.ops._programs import PROGRAMS, recognise

INF, NAN = math.inf, math.nan
SELU = (np.longdouble("1.0507009873554805"), np.longdouble("1.7580993408473766"))


def softplus(z: Any) -> Any:
    return np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))


# By name: arguments, each a power of two where it multiplies, and the formula in higher precision.
CALLS: dict[str, tuple[list[tuple[float, ...]], Any]] = {
    "celu": (
        [(), (0.5,), (-2.0,)],
        lambda x, a=1.0: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0) / a)),
    ),
    "elu": (
        [(), (0.5,), (-2.0,), (0.0,)],
        lambda x, a=1.0: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
    ),
    "hardshrink": ([(), (2.0,), (0.0,)], lambda x, a=0.5: np.where(abs(x) > a, x, 0)),
    "hardtanh": ([(), (0.0, 6.0), (2.0, 2.0)], lambda x, a=-1.0, b=1.0: np.clip(x, a, b)),
    "logsigmoid": ([()], lambda x: -softplus(-x)),
    "selu": ([()], lambda x: np.where(x > 0, SELU[0] * x, SELU[1] * np.expm1(np.minimum(x, 0)))),
    "softplus": (
        [(), (2.0,), (0.5, 1.0), (1.0, INF), (-1.0,)],
        lambda x, b=1.0, t=20.0: np.where(b * x > t, x, softplus(b * x) / b),
    ),
    "softshrink": (
        [(), (2.0,), (0.0,)],
        lambda x, a=0.5: np.sign(x) * np.maximum(abs(x) - a, 0),
    ),
    "softsign": ([()], lambda x: x / (1 + abs(x))),
    "tanhshrink": ([()], lambda x: x - np.tanh(x)),
    "threshold": ([(0.5, -3.0), (-1.0, 0.0)], lambda x, t, v: np.where(x > t, x, v)),
}
CASES = [(name, arguments) for name, (several, _) in CALLS.items() for arguments in several]
SHAPES = [(), (1,), (5,), (16,), (33,), (1000,), (3, 7), (2, 3, 4, 5), (0, 3)]


class Forward(nn.Module):
    def __init__(self, function: Any) -> None:
        self._function = function

    def forward(self, *inputs: Any) -> Any:
        return self._function(*inputs)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Of magnitudes from 1e-20 to 40, so that no result is below the normal numbers."""
    return (rng.choice([-1, 1], shape) * 10 ** rng.uniform(-20, 1.6, shape)).astype(dtype)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether all bits agree, but for those of NaN."""
    return a.dtype == b.dtype and np.array_equal(
        np.where(a != a, 0, a).view(f"u{a.itemsize}"), np.where(b != b, 0, b).view(f"u{b.itemsize}")
    )


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_formulas_agree(
    name: str, arguments: tuple[float, ...], dtype: Any, rng: np.random.Generator
) -> None:
    """Within 6 units in the last place: 1.5 of exp or 2.5 of expm1, 3 of log1p, the sums' own.

    2 more are the formula's own, where long double is no longer than double. The difference of
    tanhshrink cancels, so that its error is 4 units of x, and that of softshrink one.
    """
    for shape in SHAPES:
        x = numbers(rng, shape, dtype)
        expected = CALLS[name][1](x.astype(np.longdouble), *arguments)
        y = getattr(fc, name)(x, *arguments)
        assert y.dtype == dtype
        assert y.shape == shape
        of_x = {"tanhshrink": 4, "softshrink": 1}.get(name, 0)
        bound = np.finfo(dtype).eps * (8 * abs(expected) + of_x * abs(x.astype(np.longdouble)))
        assert (abs(y - expected) <= bound).all()


ENDS = np.array([NAN, INF, -INF, 0.0, -0.0, 1e30, -1e30, 1e-30, -1e-30])
L2, H = math.log(2), 1.7580993408473766
AT_ENDS: dict[str, tuple[tuple[float, ...], list[float]]] = {
    "celu": ((2.0,), [NAN, INF, -2, 0.0, -0.0, 1e30, -2, 1e-30, -1e-30]),
    "elu": ((2.0,), [NAN, INF, -2, 0.0, -0.0, 1e30, -2, 1e-30, -2e-30]),
    "hardshrink": ((), [NAN, INF, -INF, 0.0, 0.0, 1e30, -1e30, 0.0, 0.0]),
    "hardtanh": ((), [NAN, 1, -1, 0.0, -0.0, 1, -1, 1e-30, -1e-30]),
    "logsigmoid": ((), [NAN, 0.0, -INF, -L2, -L2, 0.0, -1e30, -L2, -L2]),
    "selu": ((), [NAN, INF, -H, 0.0, -0.0, 1.0507009873554805e30, -H, 1.0507009873554805e-30]),
    "softplus": ((), [NAN, INF, 0.0, L2, L2, 1e30, 0.0, L2, L2]),
    "softshrink": ((), [NAN, INF, -INF, 0.0, 0.0, 1e30, -1e30, 0.0, 0.0]),
    "softsign": ((), [NAN, NAN, NAN, 0.0, -0.0, 1, -1, 1e-30, -1e-30]),
    "tanhshrink": ((), [NAN, INF, -INF, 0.0, 0.0, 1e30, -1e30, 0.0, 0.0]),
    "threshold": ((1.0, 2.0), [NAN, INF, 2, 2, 2, 1e30, 2, 2, 2]),
}


@pytest.mark.parametrize("name", AT_ENDS)
def test_ends(name: str, dtype: Any) -> None:
    """NaN, infinities, zeros with their signs, and what is beyond all exponentials."""
    arguments, expected = AT_ENDS[name]
    y = getattr(fc, name)(ENDS.astype(dtype), *arguments)[: len(expected)]
    wanted = np.array(expected, dtype)
    np.testing.assert_allclose(y, wanted, rtol=8 * np.finfo(dtype).eps, atol=0)
    zeros = wanted == 0
    assert np.array_equal(np.signbit(y[zeros]), np.signbit(wanted[zeros]))
    assert CALLS.keys() == AT_ENDS.keys()


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_recorded_they_give_the_same_bits(
    name: str, arguments: tuple[float, ...], dtype: Any, rng: np.random.Generator
) -> None:
    module = Forward(lambda x: getattr(fc, name)(x, *arguments))
    for shape in ((2, 3, 5, 7), (33,), (0, 3)):
        x = numbers(rng, shape, dtype)
        x[rng.random(shape) < 0.2] = NAN
        network = module.compile(shape, precision=f"fp{8 * x.itemsize}", accuracy="exact")
        assert same(network(x), module.eager(x))
    (node,) = (node for node in module.graph((3, 4)) if node.op == "pointwise")
    function, given = recognise(node.fields["program"]) or ("", {})
    assert function == name
    for value, number in zip(arguments, given.values(), strict=False):
        assert value == number or name == "hardtanh"


@pytest.mark.parametrize("number", [0.1, -1e-5, 1e300, INF, NAN, -0.0, 3])
def test_programs_are_recognised_with_any_numbers(number: float) -> None:
    module = Forward(lambda x: fc.threshold(fc.elu(x, number), 7, number))
    programs = [n.fields["program"] for n in module.graph((3,)) if n.op == "pointwise"]
    assert repr([recognise(p) for p in programs]) == repr(
        [
            ("elu", {"alpha": float(number)}),
            ("threshold", {"threshold": 7.0, "value": float(number)}),
        ]
    )


def test_graphs_show_the_calls_that_programs_are_of() -> None:
    module = Forward(lambda x: fc.softplus(fc.prelu(x, 0.25), 0.1))
    shown = [str(node) for node in module.graph((3,)) if node.op == "pointwise"]
    assert shown == [
        "pointwise(%0, array(), program=prelu())",
        "pointwise(%2, program=softplus(beta=0.1, threshold=20))",
    ]


def test_other_programs_are_not_recognised() -> None:
    for name, template in PROGRAMS.items():
        program = template.format_map(
            dict.fromkeys(("alpha", "beta", "lambd", "value"), 2) | NUMBERS
        )
        assert (recognise(program) or ("",))[0] == name
        assert recognise(program.replace("x0", "x1")) is None
        assert recognise(f"t9 = exp(x0); {program}") is None
    assert (
        recognise("t0 = greater(x0, 1); t1 = expm1(x0); t2 = multiply(t1, 2); where(t0, x0, t2)")
        is None
    )
    assert recognise("t0 = clip(x0, -1, 2); subtract(x0, t0)") is None
    assert recognise("exp(x0)") is None


NUMBERS = {"min_val": -1, "max_val": 2, "threshold": 3}


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: fc.elu(x, "1"), TypeError, "alpha must be a number, got str '1'"),
        (lambda x: fc.celu(x, 0.0), ValueError, "alpha must not be 0"),
        (lambda x: fc.softshrink(x, -0.5), ValueError, "lambd must not be negative, got -0.5"),
        (lambda x: fc.softshrink(x, NAN), ValueError, "lambd must not be negative, got nan"),
        (
            lambda x: fc.hardtanh(x, 1, 0),
            ValueError,
            "min_val must not be above max_val, got 1 and",
        ),
        (lambda x: fc.threshold(x, 1), TypeError, "value"),
        (lambda x: fc.threshold(x, None, 1), TypeError, "threshold must be a number"),
        (lambda x: fc.softplus(x, threshold=[1]), TypeError, "threshold must be a number"),
        (
            lambda x: fc.prelu(x, np.ones(2, x.dtype)),
            ValueError,
            r"channels.*, 3, got shape \(2,\)",
        ),
        (lambda x: fc.prelu(x, np.ones((3, 1), x.dtype)), ValueError, r"got shape \(3, 1\)"),
        (lambda x: fc.prelu(x, "a"), TypeError, "weight"),
        (lambda x: fc.prelu(x, None), TypeError, "weight must be an array, got None"),
        (lambda x: fc.prelu(x[0], np.ones(3, x.dtype)), ValueError, r"axis 1, 1, got shape \(3,\)"),
        (lambda x: fc.glu(x, 1), ValueError, "axis 1 of x must be of even size, got 3"),
        (lambda x: fc.glu(x, 2), ValueError, "axis = 2 is out of range"),
        (lambda x: fc.glu(x, None), TypeError, "axis must be an integer"),
        (lambda x: fc.softmin(x, 2), ValueError, "axis = 2 is out of range"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], match: str) -> None:
    x = np.ones((2, 3), np.float32)
    for function in (call, Forward(call)):
        with pytest.raises(error, match=match):
            function(x)


def test_dtypes_that_differ_are_refused() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(TypeError, match="weight is float64 but x is float32"):
        fc.prelu(x, np.ones(3))
    with pytest.raises(TypeError, match="float64, but the network computes in float32"):
        Forward(lambda x: fc.prelu(x, np.ones(3)))(x)


# ---- Of several arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 5, 17), (2, 3, 2, 2, 2), (0, 3, 4)])
def test_prelu(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> None:
    x = numbers(rng, shape, dtype)
    slopes = np.array([0.25, -3.0, 0.0], dtype)
    column = slopes.reshape(3, *(1,) * (len(shape) - 2))
    for weight, factor, recorded in (
        (slopes, column, column.shape),
        (slopes[:1], slopes[0], ()),
        (slopes[1], slopes[1], ()),
        (0.5, dtype(0.5), ()),
    ):
        expected = np.where(x < 0, factor * x, x)
        assert same(fc.prelu(x, weight), expected)
        module = Forward(lambda x, weight=weight: fc.prelu(x, weight))
        assert same(module(x), expected)
        if 0 in shape or dtype == np.float64:  # networks without parameters are read in float32
            continue
        graph = module.graph(shape)
        (node,) = (n for n in graph if n.op == "pointwise")
        assert (
            node.fields["program"] == "t0 = less(x0, 0); t1 = multiply(x0, x1); where(t0, t1, x0)"
        )
        assert [value.shape for value in node.inputs] == [shape, recorded]


def test_prelu_at_the_ends(dtype: Any) -> None:
    y = fc.prelu(ENDS.astype(dtype), 0.25)
    wanted = np.array([NAN, INF, -INF, 0.0, -0.0, 1e30, -2.5e29, 1e-30, -2.5e-31], dtype)
    assert same(y, wanted)


@pytest.mark.parametrize("count", [3, 300])
def test_prelu_of_two_values(count: int) -> None:
    x = np.linspace(-1, 1, count, dtype=np.float32)[None]
    weight = np.linspace(-2, 2, count, dtype=np.float32)
    y = Forward(fc.prelu)(x, weight)
    assert same(y, np.where(x < 0, weight * x, x))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_glu(axis: int, dtype: Any, rng: np.random.Generator) -> None:
    x = numbers(rng, (4, 6, 34), dtype)
    a, b = np.split(x.astype(np.longdouble), 2, axis)
    expected = a * np.where(b < 0, np.exp(b), 1) / (1 + np.exp(-abs(b)))
    y = fc.glu(x, axis)
    np.testing.assert_allclose(y, expected.astype(dtype), rtol=8 * np.finfo(dtype).eps)
    module = Forward(lambda x: fc.glu(x, axis))
    network = module.compile(x.shape, precision=f"fp{8 * x.itemsize}", accuracy="exact")
    assert same(network(x), y)
    out = np.empty_like(y)
    assert fc.glu(x, axis, out=out) is out
    assert same(out, y)


def test_gates_do_not_overflow(dtype: Any) -> None:
    x = np.array([2.0, INF, 1e30, 3.0, NAN, 1.0], dtype)
    gates = np.array([1e30, 0.0, -80.0, -INF, 1.0, NAN], dtype)
    y = fc.glu(np.concatenate([x, gates]))
    expected = np.array([2.0, INF, 1e30 * math.exp(-80), 0.0, NAN, NAN], dtype)
    np.testing.assert_allclose(y, expected, rtol=8 * np.finfo(dtype).eps)


def test_softmin(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4, 5)).astype(dtype)
    for axis in (0, 1, -1):
        assert same(fc.softmin(x, axis), fc.softmax(-x, axis))
        assert same(Forward(lambda x, axis=axis: fc.softmin(x, axis))(x), fc.softmax(-x, axis))
    with pytest.raises(ValueError, match="out overlaps x"):
        fc.softmin(x, out=x)


# ---- Layers --------------------------------------------------------------------------------------

LAYERS = [
    (nn.ELU(0.5), "ELU(alpha=0.5)", lambda x: fc.elu(x, 0.5)),
    (nn.CELU(2), "CELU(alpha=2.0)", lambda x: fc.celu(x, 2)),
    (nn.SELU(inplace=True), "SELU()", fc.selu),
    (nn.RReLU(0.1, 0.3), "RReLU(lower=0.1, upper=0.3)", lambda x: fc.leaky_relu(x, 0.2)),
    (nn.Softplus(2, 1), "Softplus(beta=2.0, threshold=1.0)", lambda x: fc.softplus(x, 2, 1)),
    (nn.Softsign(), "Softsign()", fc.softsign),
    (nn.Hardtanh(0, 2), "Hardtanh(min_val=0.0, max_val=2.0)", lambda x: fc.hardtanh(x, 0, 2)),
    (nn.Threshold(1, 7), "Threshold(threshold=1.0, value=7.0)", lambda x: fc.threshold(x, 1, 7)),
    (nn.LogSigmoid(), "LogSigmoid()", fc.logsigmoid),
    (nn.Tanhshrink(), "Tanhshrink()", fc.tanhshrink),
    (nn.Hardshrink(1), "Hardshrink(lambd=1.0)", lambda x: fc.hardshrink(x, 1)),
    (nn.Softshrink(1), "Softshrink(lambd=1.0)", lambda x: fc.softshrink(x, 1)),
    (nn.PReLU(), "PReLU(num_parameters=1)", lambda x: fc.prelu(x, 0.25)),
    (nn.PReLU(6, -1), "PReLU(num_parameters=6)", lambda x: fc.prelu(x, -1)),
    (nn.GLU(1), "GLU(dim=1)", lambda x: fc.glu(x, 1)),
    (nn.Softmin(1), "Softmin(dim=1)", lambda x: fc.softmin(x, 1)),
    (nn.Softmax2d(), "Softmax2d()", lambda x: fc.softmax(x, 1)),
]


@pytest.mark.parametrize(("layer", "text", "function"), LAYERS)
def test_layers(layer: Any, text: str, function: Any, rng: np.random.Generator) -> None:
    x = 2 * rng.standard_normal((2, 6, 5, 3), np.float32)
    assert repr(layer) == text
    assert same(layer(x), function(x))
    assert same(layer.eager(x), function(x))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.ELU("1"), "alpha must be a number"),
        (lambda: nn.Hardtanh(1, 1), "min_val must be below max_val, got 1 and 1"),
        (lambda: nn.PReLU(-1), "num_parameters must not be negative"),
        (lambda: nn.PReLU(3, init="x"), "init must be a number"),
        (lambda: nn.Softmax2d().eager(np.ones((2, 3))), r"images.*got \(2, 3\)"),
        (lambda: nn.GroupNorm(4, 6), "num_groups must divide num_channels = 6, got 4"),
        (lambda: nn.GroupNorm(0, 6), "num_groups must divide"),
        (lambda: nn.InstanceNorm2d(6).eager(np.ones((2, 6))), r"takes 4 dimensions.*got \(2, 6\)"),
        (lambda: nn.BatchNorm1d(6).eager(np.ones((1, 6, 2, 2), "f")), r"BatchNorm1d takes vectors"),
        (lambda: nn.BatchNorm3d(6).eager(np.ones((6, 2, 2, 2), "f")), r"BatchNorm3d takes volumes"),
    ],
)
def test_layers_refuse_bad_arguments(make: Any, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        make()


def test_slopes_are_parameters() -> None:
    layer = nn.PReLU(3)
    layer.load_state_dict({"weight": np.array([1, 2, 3], np.float32)})
    x = np.full((1, 3, 2, 2), -1, np.float32)
    assert layer(x)[0, :, 0, 0].tolist() == [-1, -2, -3]
    layer.reset_parameters()
    assert layer(x)[0, :, 0, 0].tolist() == [-0.25] * 3
