"""Torch's signatures: every argument that torch takes is taken here, or refused by its name.

The signatures come from torch. For each argument the tables have values: the first is passed by
position, every one by keyword. A value as it stands must give torch's result; `Refused` must be
refused with this message. An argument of torch that the tables lack is a failure, and so is a
function or layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import fastconv
import numpy as np
import pytest
import torch
from fastconv import nn

pytestmark = pytest.mark.oracle

F = torch.nn.functional


class Refused(NamedTuple):
    """A value that torch takes, and what the error says here."""

    value: Any
    match: str


# ---- Signatures ----------------------------------------------------------------------------------


def torch_function(name: str) -> Any:
    """Torch's function of this name: that of `torch.nn.functional` where there are two."""
    return getattr(F, name, None) or getattr(torch, name, None)


def signature(name: str) -> list[inspect.Parameter]:
    """The parameters of torch's function."""
    # Two are dispatched by return_indices.
    function = getattr(F, f"{name}_with_indices", None) or torch_function(name)
    if inspect.isfunction(function):
        return [p for p in inspect.signature(function).parameters.values() if p.name != "_"]
    packet = getattr(torch.ops.aten, {"concat": "cat", "logsigmoid": "log_sigmoid"}.get(name, name))
    schemas = [getattr(packet, overload)._schema for overload in packet.overloads()]
    schemas = [s for s in schemas if "Tensor" in str(s.arguments[0].type)]
    schemas = [s for s in schemas if "out" not in {a.name for a in s.arguments}]
    schema = max(schemas, key=lambda s: len(s.arguments))
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(
            {"self": "input"}.get(a.name, a.name),
            kinds[a.kwarg_only],
            default=a.default_value if a.has_default_value() else inspect.Parameter.empty,
        )
        for a in schema.arguments
    ]


def test_builtin_signatures_are_those_of_torchs_documentation() -> None:
    assert [p.name for p in signature("conv_transpose2d")] == [
        *("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    ]
    assert [p.name for p in signature("mean")] == ["input", "dim", "keepdim", "dtype"]
    assert [p.name for p in signature("avg_pool2d")][-1] == "divisor_override"
    assert [p.name for p in signature("cat")] == ["tensors", "dim"]


# ---- Tables --------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 6, 5))
SIGNALS = RNG.standard_normal((2, 4, 9))
VOLUMES = RNG.standard_normal((2, 4, 3, 6, 9))
C = RNG.standard_normal((4, 4))
INPLACE = {"input": [X], "inplace": [False, True]}
NO_DTYPE = [None, Refused(torch.float64, r"dtype=torch.float64.*x.astype\(dtype\)")]
NO_INDICES = [False, Refused(True, "return_indices=True.*numpy.argmax")]
SOFTMAX = {
    "input": [X],
    "dim": [1, -1, 0, Refused(None, "axis must be an integer, got NoneType")],
    "_stacklevel": [3, 5],
    "dtype": NO_DTYPE,
}
MEAN = {
    "input": [X],
    "dim": [1, (2, 3), [-1]],
    "keepdim": [True, False],
    "dtype": NO_DTYPE,
}
ARGMAX = {"input": [X], "dim": [1, -1, None], "keepdim": [True, False]}
CONV2D = {
    "input": [X],
    "weight": [RNG.standard_normal((6, 4, 3, 2))],
    "bias": [RNG.standard_normal(6), None],
    "stride": [2, (1, 2), (2,)],
    "padding": [1, (1, 0), "valid"],
    "dilation": [1, (2, 1)],
    "groups": [1],
}
FUNCTIONS: dict[str, dict[str, list[Any]]] = {
    **dict.fromkeys(("relu", "relu6", "silu", "hardswish", "hardsigmoid", "mish"), INPLACE),
    "leaky_relu": {**INPLACE, "negative_slope": [0.2, 0.01]},
    "gelu": {"input": [X], "approximate": ["tanh", "none"]},
    **{key: {**INPLACE, "alpha": [0.5, 1.0, -2.0]} for key in ("elu", "celu")},
    "selu": INPLACE,
    "softplus": {"input": [X], "beta": [2.0, 1, -1], "threshold": [0.5, 20]},
    **{key: {"input": [X]} for key in ("softsign", "tanhshrink", "logsigmoid")},
    "hardtanh": {**INPLACE, "min_val": [-0.5, 1, 2], "max_val": [0.7, -1.0, -2]},
    "threshold": {**INPLACE, "threshold": [0.1], "value": [-3.0, 0]},
    "hardshrink": {"input": [X], "lambd": [0.3, 0, -1]},
    "softshrink": {"input": [X], "lambd": [0.3, 0, -1]},
    "prelu": {"input": [X], "weight": [C[0], C[0, :1], C[0, :1].reshape(()), C[0, :3], C]},
    "glu": {"input": [X], "dim": [1, -2, 3]},
    "sigmoid": {"input": [X]},
    "tanh": {"input": [X]},
    "softmax": SOFTMAX,
    "softmin": SOFTMAX,
    "log_softmax": SOFTMAX,
    "conv2d": CONV2D,
    "conv1d": {
        **CONV2D,
        "input": [SIGNALS],
        "weight": [RNG.standard_normal((6, 4, 3))],
        "stride": [2, (1,)],
        "padding": [1, (2,), "same"],
        "dilation": [1, (2,)],
    },
    "conv_transpose2d": {
        **CONV2D,
        "weight": [RNG.standard_normal((4, 6, 3, 2))],
        "padding": [1, (1, 0)],
        "output_padding": [1, (1, 0)],
    },
    "conv_transpose1d": {
        **CONV2D,
        "input": [SIGNALS],
        "weight": [RNG.standard_normal((4, 6, 3))],
        "stride": [2, (1,)],
        "padding": [1, (2,)],
        "output_padding": [1, (0,)],
        "dilation": [1, (2,)],
    },
    "conv3d": {
        **CONV2D,
        "input": [X],  # (C, D, H, W)
        "weight": [RNG.standard_normal((6, 2, 1, 3, 2))],
        "stride": [2, (1, 2, 1)],
        "padding": [(0, 1, 0), 0, "valid", Refused(1, r"padding must be 0 in depth, got \(1, 1")],
        "dilation": [1, (3, 2, 1)],
    },
    "linear": {"input": [X], "weight": [RNG.standard_normal((3, 5))], "bias": [np.ones(3), None]},
    "matmul": {"input": [X], "other": [RNG.standard_normal((5, 3)), np.ones(5)]},
    "add": {
        "input": [X],
        "other": [X + 1, 2.0],
        "alpha": [1, Refused(2, r"alpha=2.*fastconv.multiply\(b, alpha\)")],
    },
    "multiply": {"input": [X], "other": [X + 1, 2.0]},
    "subtract": {"input": [X], "other": [X + 1, 2.0], "alpha": [1, Refused(2, "alpha=2")]},
    "divide": {
        "input": [X],
        "other": [X + 1, 2.0],
        "rounding_mode": [
            None,
            Refused("floor", r"rounding_mode='floor'.*fastconv.floor"),
            Refused("trunc", r"rounding_mode='trunc'.*fastconv.trunc"),
        ],
    },
    **{key: {"input": [X], "other": [X[::-1]]} for key in ("minimum", "maximum")},
    **{
        key: {"input": [X], "other": [X[::-1], 0.5]}
        for key in ("not_equal", "less", "less_equal", "greater", "greater_equal")
    },
    **{
        key: {"input": [X > 0], "other": [X < 1]}
        for key in ("logical_and", "logical_or", "logical_xor")
    },
    "logical_not": {"input": [X > 0]},
    **{key: {"input": [X, -X]} for key in ("negative", "abs", "sign", "reciprocal", "square")},
    **{key: {"input": [X, -X]} for key in ("exp", "expm1", "erf", "sin", "cos", "floor", "ceil")},
    "trunc": {"input": [X, 5 * X]},
    **{key: {"input": [abs(X), X * X]} for key in ("sqrt", "rsqrt", "log", "log1p")},
    "round": {"input": [X], "decimals": [0, Refused(1, "decimals=1.*fastconv.round")]},
    "clip": {"input": [X], "min": [-0.5, X - 1], "max": [0.5, X + 1]},
    "where": {"condition": [X > 0], "input": [X], "other": [X + 1]},
    "mean": MEAN,
    "sum": MEAN,
    "prod": {"input": [X], "dim": [1, -1], "keepdim": [True, False], "dtype": NO_DTYPE},
    "argmax": ARGMAX,
    "argmin": ARGMAX,
    "norm": {
        "input": [X],
        "p": [3, 2.0, 1, 0, float("inf"), Refused("fro", "matrix norms.*ord=2")],
        "dim": [1, (2, 3), None],
        "keepdim": [True, False],
        "out": [None],
        "dtype": NO_DTYPE,
    },
    "cumsum": {"input": [X], "dim": [1, -1], "dtype": NO_DTYPE},
    "batch_norm": {
        "input": [X],
        "running_mean": [C[0]],
        "running_var": [abs(C[1])],
        "weight": [C[2], None],
        "bias": [C[3], None],
        "training": [False, Refused(True, "training=True.*only inference")],
        "momentum": [0.1, 0.5],
        "eps": [1e-3, 1e-5],
    },
    "group_norm": {
        "input": [X],
        "num_groups": [2, 4],
        "weight": [RNG.standard_normal(4), None],
        "bias": [RNG.standard_normal(4), None],
        "eps": [1e-3],
    },
    "instance_norm": {
        "input": [X, X[:1, :, 0], VOLUMES, X[:, :, :1, :1]],
        "running_mean": [C[0]],
        "running_var": [abs(C[1])],
        "weight": [C[2], None],
        "bias": [C[3], None],
        "use_input_stats": [True, False],
        "momentum": [0.1, 0.5],
        "eps": [1e-3, 1e-5],
    },
    "layer_norm": {
        "input": [X],
        "normalized_shape": [(6, 5), [5]],
        "weight": [None],
        "bias": [None],
        "eps": [1e-3, 1e-5],
    },
    "local_response_norm": {
        "input": [X],
        "size": [3, 2],
        "alpha": [0.5, 1e-4],
        "beta": [0.5, 0.75],
        "k": [2.0, 1.0],
    },
    "max_pool2d": {
        "input": [X],
        "kernel_size": [2, (3, 2)],
        "stride": [1, (2, 1), None],
        "padding": [1, (0, 1)],
        "dilation": [1, (2, 1)],
        "ceil_mode": [True, False],
        "return_indices": NO_INDICES,
    },
    "max_pool1d": {
        "input": [SIGNALS],
        "kernel_size": [2, (3,)],
        "stride": [1, (2,), None],
        "padding": [1, (0,)],
        "dilation": [1, (2,)],
        "ceil_mode": [True, False],
        "return_indices": NO_INDICES,
    },
    "max_pool3d": {
        "input": [X],
        "kernel_size": [(1, 2, 3), 1, Refused(2, r"kernel_size must be 1 in depth, got \(2, 2")],
        "stride": [1, (2, 1, 2), None],
        "padding": [(0, 1, 1), 0],
        "dilation": [1, (3, 2, 1)],
        "ceil_mode": [True, False],
        "return_indices": NO_INDICES,
    },
    "avg_pool1d": {
        "input": [SIGNALS],
        "kernel_size": [2, (3,)],
        "stride": [1, (2,), None],
        "padding": [1, (0,)],
        "ceil_mode": [False, True],
        "count_include_pad": [False, True],
    },
    "avg_pool3d": {
        "input": [X],
        "kernel_size": [(1, 2, 3), 1],
        "stride": [1, (2, 1, 2), None],
        "padding": [(0, 1, 1), 0],
        "ceil_mode": [False, True],
        "count_include_pad": [False, True],
        "divisor_override": [3, None, -1],
    },
    **{
        f"lp_pool{n}d": {
            "input": [x],
            "norm_type": [2, 3.0, 1, float("inf"), -float("inf")],
            "kernel_size": [2, size],
            "stride": [1, size, None],
            "ceil_mode": [True, False],
        }
        for n, x, size in ((1, SIGNALS, 3), (2, X, (3, 2)))
    },
    "adaptive_avg_pool1d": {"input": [SIGNALS], "output_size": [3, (4,)]},
    "adaptive_max_pool1d": {
        "input": [SIGNALS],
        "output_size": [3, (4,)],
        "return_indices": NO_INDICES,
    },
    "grid_sample": {
        "input": [X],
        "grid": [RNG.uniform(-1.5, 1.5, (2, 3, 4, 2))],
        "mode": ["bilinear", "nearest", "bicubic"],
        "padding_mode": ["zeros", "border", "reflection"],
        "align_corners": [True, False],
    },
    "affine_grid": {
        "theta": [RNG.standard_normal((2, 2, 3))],
        "size": [[2, 1, 3, 4]],
        "align_corners": [True, False],
    },
    "avg_pool2d": {
        "input": [X],
        "kernel_size": [2, (3, 2)],
        "stride": [1, (2, 1), None],
        "padding": [1, (0, 1)],
        "ceil_mode": [False, True],
        "count_include_pad": [False, True],
        "divisor_override": [3, None, -1],
    },
    "adaptive_avg_pool2d": {"input": [X], "output_size": [3, (2, None)]},
    "adaptive_max_pool2d": {
        "input": [X],
        "output_size": [3, (2, None)],
        "return_indices": NO_INDICES,
    },
    "interpolate": {
        "input": [X],
        "size": [(8, 7), 9, None],
        "scale_factor": [None, 2.0, (1.5, 2.0)],
        "mode": ["nearest", "nearest-exact", "bilinear", "bicubic", "area"],
        "align_corners": [None, True, False],
        "recompute_scale_factor": [None, False, True],
        "antialias": [False, True],
    },
    "channel_shuffle": {"input": [X], "groups": [2, 4]},
    "pixel_shuffle": {"input": [X], "upscale_factor": [2]},
    "pixel_unshuffle": {"input": [X[..., :4]], "downscale_factor": [2]},
    "squeeze": {"input": [X[:, :1, :, :1]], "dim": [1, -3, (1, 3)]},
    "unsqueeze": {"input": [X], "dim": [1, -1]},
    "flip": {"input": [X], "dims": [(1, 3), [0], ()]},
    "roll": {"input": [X], "shifts": [2, -3, 100], "dims": [1, -1, (2,)]},
    "tile": {"input": [X], "dims": [(2, 1, 3), [2], (1, 2, 1, 1, 2), ()]},
    "stack": {"tensors": [[X, X + 1]], "dim": [1, -1]},
    "reshape": {"input": [X], "shape": [(2, -1), [240]]},
    "flatten": {"input": [X], "start_dim": [1, -2], "end_dim": [2, -1]},
    "permute": {"input": [X], "dims": [(0, 2, 3, 1), [3, 2, 1, 0]]},
    "split": {"tensor": [X], "split_size_or_sections": [2, [1, 3]], "dim": [1, -3]},
    **{key: {"tensors": [[X, X + 1]], "dim": [1, -1]} for key in ("concat", "cat")},
    "pad": {
        "input": [X],
        "pad": [(1, 2, 2, 1), [1, 1]],
        "mode": ["constant", "reflect", "replicate", "circular"],
        "value": [2.5, None, 0],
    },
}

TOGETHER: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("avg_pool2d", "count_include_pad"): [{"padding": 1}],
    ("interpolate", "size"): [{"scale_factor": None}],
    ("interpolate", "scale_factor"): [{"size": None}],
    ("interpolate", "align_corners"): [{"mode": "bilinear"}],
    ("interpolate", "recompute_scale_factor"): [{"size": None, "scale_factor": 1.3}],
    ("interpolate", "antialias"): [{"mode": "bilinear"}],
    ("conv_transpose1d", "output_padding"): [{"stride": 2}],
    ("conv_transpose2d", "output_padding"): [{"stride": 2}],
    ("conv1d", "padding"): [{"stride": 1}],
    ("instance_norm", "running_mean"): [{"running_var": abs(C[1])}],
    ("instance_norm", "running_var"): [{"running_mean": C[0]}],
    ("instance_norm", "use_input_stats"): [{"running_mean": C[0], "running_var": C[1] ** 2}, {}],
    ("pad", "value"): [{"mode": "constant"}],
    ("split", "split_size_or_sections"): [{"dim": 1}],
    ("split", "dim"): [{"split_size_or_sections": 1}],
}
"""What else has to be passed for an argument to have its meaning."""


# ---- Calls ---------------------------------------------------------------------------------------


def to_torch(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [to_torch(v) for v in value]
    return value


def copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def same(ours: Any, theirs: Any) -> None:
    """Sums of at most 240 products of numbers of about 1 in double: 240 * 2**-53 < 1e-13."""
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
        return
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


DEPRECATED = {
    key: {"dim"}
    for key in ("softmax", "log_softmax", "softmin", "Softmax", "LogSoftmax", "Softmin")
}
"""Arguments whose absence torch warns about: it goes by the shape then, and we by the last axis."""


class Call(NamedTuple):
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    match: str | None


def calls(
    name: str, parameters: list[inspect.Parameter], table: dict[str, list[Any]]
) -> Iterator[Call]:
    """Every prefix by position, and every value by keyword."""
    unknown = [p.name for p in parameters if p.name not in table]
    assert not unknown, f"{name}: torch takes {unknown}: take them too, or refuse them"
    gone = table.keys() - {p.name for p in parameters}
    assert not gone, f"{name}: torch takes {gone} no more"
    places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = {p.name for p in parameters if p.default is p.empty} | DEPRECATED.get(name, set())
    required = {place: table[place][0] for place in places if place in needed}
    count = sum(place in required for place in places)
    for n in range(count, len(places) + 1):
        yield Call(tuple(table[place][0] for place in places[:n]), {}, None)
    for place, values in table.items():
        for others in TOGETHER.get((name, place), [{}]):
            for value in values:
                match = value.match if isinstance(value, Refused) else None
                value = value.value if isinstance(value, Refused) else value
                yield Call((), {**required, **others, place: value}, match)
                first = places[0]
                if place != first and first in required:
                    kwargs = {**required, **others, place: value}
                    yield Call((kwargs.pop(first),), kwargs, match)


def check(ours: Callable[..., Any], theirs: Callable[..., Any], call: Call) -> None:
    args, kwargs = map(copied, call.args), {k: copied(v) for k, v in call.kwargs.items()}
    if call.match is not None:
        with pytest.raises((TypeError, ValueError), match=call.match):
            ours(*args, **kwargs)
        return
    given = {name: to_torch(value) for name, value in call.kwargs.items()}
    try:
        expected = theirs(*map(to_torch, call.args), **given)
    except (ValueError, RuntimeError):  # what torch refuses nobody has to compute
        with pytest.raises(
            (TypeError, ValueError), match=r"must (be|not be|have)|min, max or both"
        ):
            ours(*args, **kwargs)
        return
    same(ours(*args, **kwargs), expected)


NUMPYS = {"equal", "max", "min", "take", "scatter_add"}
"""What means another thing in torch."""
COMMON = sorted({n for n in fastconv.ops.__all__ if torch_function(n) is not None} - NUMPYS)


def test_every_common_function_is_in_the_table() -> None:
    assert sorted(FUNCTIONS) == COMMON
    assert len(COMMON) > 30


@pytest.mark.filterwarnings("ignore:Default grid_sample and affine_grid")  # without align_corners
@pytest.mark.parametrize("name", COMMON)
def test_functions(name: str) -> None:
    ours = getattr(fastconv, name)
    made = list(calls(name, signature(name), FUNCTIONS[name]))
    for call in made:
        try:
            check(ours, torch_function(name), call)
        except Exception as error:
            kwargs = {k: getattr(v, "shape", v) for k, v in call.kwargs.items()}
            raise AssertionError(f"{name}, {len(call.args)} by position, {kwargs}") from error
    assert len(made) > 1
    assert "out" in inspect.signature(ours).parameters


def test_names_with_numpys_meaning_do_what_torch_calls_otherwise() -> None:
    index, source = np.array([3, 0, 3]), X[:, 1:]
    same(fastconv.take(input=X, index=index), torch.take(to_torch(X), to_torch(index)))
    selected = torch.index_select(to_torch(X), 1, to_torch(index))
    same(fastconv.take(X, index, axis=1), selected)
    added = torch.index_add(to_torch(X), 1, to_torch(index), to_torch(source))
    same(fastconv.scatter_add(X, index, source, axis=1), added)
    for call in (
        lambda: fastconv.take(X, index, dim=1),
        lambda: fastconv.scatter_add(X, index, source, dim=1),
        lambda: fastconv.scatter_add(X, dim=1, index=index, src=source),
    ):
        with pytest.raises(TypeError, match="dim=1 is not possible: pass axis="):
            call()
    same(fastconv.equal(X, X[::-1]), torch.eq(to_torch(X), to_torch(X[::-1])))


@pytest.mark.parametrize("name", COMMON)
def test_signatures_beside_the_ops_are_torchs(name: str) -> None:
    """What the decorator of the op says is what torch has, in torch's order."""
    told = getattr(fastconv, name).torch_signature.replace("*", "").split()
    names = [word.partition("=")[0] for word in told]
    assert [n for n in names if n != "out"] == [p.name for p in signature(name) if p.name != "out"]


@pytest.mark.parametrize("name", ["max", "min"])
def test_what_means_another_thing_in_torch_takes_no_dim(name: str) -> None:
    ours, theirs = getattr(fastconv, name), torch_function(name)
    same(ours(X), theirs(to_torch(X)))
    same(ours(input=X), theirs(input=to_torch(X)))
    same(ours(X, 1, True), theirs(to_torch(X), 1, True).values)
    same(getattr(fastconv, f"arg{name}")(X, 1), theirs(to_torch(X), 1).indices)
    for option in ({"dim": 1}, {"dim": 1, "keepdim": True}):
        with pytest.raises(TypeError, match=r"axis.*pair: fastconv.argmax and fastconv.argmin"):
            ours(X, **option)


def test_an_argument_that_is_new_in_torch_is_noticed() -> None:
    parameters = [*signature("relu"), inspect.Parameter("extra", inspect.Parameter.KEYWORD_ONLY)]
    with pytest.raises(AssertionError, match=r"relu: torch takes \['extra'\]"):
        list(calls("relu", parameters, FUNCTIONS["relu"]))


def test_both_spellings_at_once_are_an_error() -> None:
    for function, spelled in (("softmax", ("axis", "dim")), ("mean", ("keepdims", "keepdim"))):
        with pytest.raises(TypeError, match=f"{spelled[0]} and {spelled[1]}, which are the same"):
            getattr(fastconv, function)(X, **dict.fromkeys(spelled, 1))
    with pytest.raises(TypeError, match="axis"):
        fastconv.softmax(X, 1, dim=1)
    with pytest.raises(TypeError, match="x and input, which are the same"):
        fastconv.relu(x=X, input=X)
    with pytest.raises(TypeError, match="training: pass one of them once"):
        fastconv.batch_norm(X, C[0], C[1], None, None, False, training=False)
    with pytest.raises(TypeError, match="at most 2 positional arguments, got 3"):
        fastconv.relu(X, False, None)
    with pytest.raises(TypeError, match="unexpected keyword argument 'dims'"):
        fastconv.softmax(X, dims=1)
    with pytest.raises(ValueError, match="dtype"):  # torch.softmax has it at the third place
        fastconv.softmax(X, 1, torch.float64)


# ---- Layers --------------------------------------------------------------------------------------

NOT_ON_DEVICES = [None, "cpu", torch.device("cpu"), Refused("meta", r"compile\(.*device='cuda'\)")]
DTYPES = [
    None,
    torch.float64,
    torch.float32,
    Refused(torch.bfloat16, "dtype must be float32 or float64, got (torch.)?bfloat16: .*precision"),
]
PLACED = {"device": NOT_ON_DEVICES, "dtype": DTYPES}
ONLY_INPLACE = {"inplace": [False, True]}
PADDING_MODES = ["reflect", "zeros", "replicate", "circular"]
CONV = {
    "in_channels": [4],
    "out_channels": [6],
    "kernel_size": [3, (3,)],
    "stride": [1, 2],
    "padding": [1, 0, "valid", "same"],
    "dilation": [1, 2],
    "groups": [2, 1],
    "bias": [False, True],
    "padding_mode": PADDING_MODES,
    **PLACED,
}
POOL = {
    "kernel_size": [2, (3, 2)],
    "stride": [1, None, (2, 1)],
    "padding": [1, 0],
    "ceil_mode": [False, True],
}
POOL1D = {**POOL, "kernel_size": [2, (3,)], "stride": [1, None, (2,)]}
POOL3D = {
    **POOL,
    "kernel_size": [(1, 2, 3), 1],
    "stride": [1, None, (2, 2, 1)],
    "padding": [(0, 1, 1), 0],
}
DIM = {"dim": [1, -1, Refused(None, "dim must be an integer")]}

BATCH_NORM = {
    "num_features": [4],
    "eps": [1e-3],
    "momentum": [0.2, None],
    "affine": [True, False],
    "track_running_stats": [True, Refused(False, "track_running_stats=False.*LayerNorm")],
    **PLACED,
    "bias": [False, True],
}
INSTANCE_NORM = {
    **BATCH_NORM,
    "momentum": [0.2, 0.1],
    "track_running_stats": [True, False],
}
UPSAMPLING = {"size": [(8, 7), 9], "scale_factor": [None, 2.0, (1.5, 2.0)]}
DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
PADS = ("Zero", "Reflection", "Replication", "Circular")

LAYERS: dict[str, dict[str, list[Any]]] = {
    **dict.fromkeys(("ReLU", "ReLU6", "SiLU", "Hardswish", "Hardsigmoid", "Mish"), ONLY_INPLACE),
    **{key: {"p": [0.3, 1.0], **ONLY_INPLACE} for key in DROPOUTS},
    **{key: {} for key in ("Sigmoid", "Tanh", "Softsign", "Tanhshrink", "LogSigmoid", "Softmax2d")},
    **{key: {"alpha": [0.5, 1.0], **ONLY_INPLACE} for key in ("ELU", "CELU")},
    "SELU": ONLY_INPLACE,
    "RReLU": {"lower": [0.1], "upper": [0.4], **ONLY_INPLACE},
    "PReLU": {"num_parameters": [4, 1], "init": [0.1, -1.0], **PLACED},
    "Softplus": {"beta": [2.0], "threshold": [0.5]},
    "Hardtanh": {
        "min_val": [-0.5],
        "max_val": [0.7],
        **ONLY_INPLACE,
        "min_value": [None, Refused(-1.0, "min_value=-1.0.*min_val")],
        "max_value": [None, Refused(1.0, "max_value=1.0.*max_val")],
    },
    "Threshold": {"threshold": [0.1], "value": [-3.0], **ONLY_INPLACE},
    **{key: {"lambd": [0.3]} for key in ("Hardshrink", "Softshrink")},
    "GLU": {"dim": [1, -2]},
    "Softmin": DIM,
    "GroupNorm": {
        "num_groups": [2, 4, 1],
        "num_channels": [4],
        "eps": [1e-3],
        "affine": [True, False],
        **PLACED,
        "bias": [False, True],
    },
    **dict.fromkeys(("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"), INSTANCE_NORM),
    **dict.fromkeys(("UpsamplingNearest2d", "UpsamplingBilinear2d"), UPSAMPLING),
    "LeakyReLU": {"negative_slope": [0.2], **ONLY_INPLACE},
    "GELU": {"approximate": ["tanh", "none"]},
    "Softmax": DIM,
    "LogSoftmax": DIM,
    "Identity": {},
    "Conv1d": CONV,
    "Conv2d": {**CONV, "kernel_size": [3, (3, 2)], "padding": [1, (1, 0), "same", "valid"]},
    "Conv3d": {
        **CONV,
        "kernel_size": [(1, 3, 5), Refused(3, r"\(1, height, width\), got 3")],
        "padding": [(0, 1, 0), 0, "same", "valid"],
        "padding_mode": ["zeros", *(Refused(m, "must be one of zeros") for m in PADDING_MODES[:1])],
    },
    "ConvTranspose1d": {
        **CONV,
        "stride": [2, 1],
        "padding": [1, (0,)],
        "output_padding": [1, (0,)],
        "padding_mode": ["zeros"],
    },
    "ConvTranspose2d": {
        **CONV,
        "kernel_size": [3, (3, 2)],
        "stride": [2, 1],
        "padding": [1, (1, 0)],
        "output_padding": [1, (0, 1)],
        "padding_mode": ["zeros"],
    },
    "Linear": {"in_features": [5], "out_features": [3], "bias": [False, True], **PLACED},
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"), BATCH_NORM),
    "LayerNorm": {
        "normalized_shape": [(6, 5), 5],
        "eps": [1e-3],
        "elementwise_affine": [True, False],
        "bias": [False, True],
        **PLACED,
    },
    "LocalResponseNorm": {"size": [3], "alpha": [0.5], "beta": [0.5], "k": [2.0]},
    "MaxPool2d": {**POOL, "dilation": [1, (2, 1)], "return_indices": NO_INDICES},
    "AvgPool2d": {**POOL, "count_include_pad": [False, True], "divisor_override": [3, None]},
    "MaxPool1d": {**POOL1D, "dilation": [1, (2,)], "return_indices": NO_INDICES},
    "MaxPool3d": {**POOL3D, "dilation": [1, (3, 2, 1)], "return_indices": NO_INDICES},
    "AvgPool1d": {**POOL1D, "count_include_pad": [False, True]},
    "AvgPool3d": {**POOL3D, "count_include_pad": [False, True], "divisor_override": [3, None]},
    **{
        f"LPPool{n}d": {
            "norm_type": [2, 3.0],
            "kernel_size": [2, size],
            "stride": [1, size, None],
            "ceil_mode": [True, False],
        }
        for n, size in ((1, 3), (2, (3, 2)))
    },
    "AdaptiveAvgPool1d": {"output_size": [3, (4,)]},
    "AdaptiveMaxPool1d": {"output_size": [3, (4,)], "return_indices": NO_INDICES},
    "AdaptiveAvgPool2d": {"output_size": [3, (2, None)]},
    "AdaptiveMaxPool2d": {"output_size": [3, (2, None)], "return_indices": NO_INDICES},
    "ChannelShuffle": {"groups": [2]},
    "PixelShuffle": {"upscale_factor": [2]},
    "Flatten": {"start_dim": [1, 0], "end_dim": [2, -1]},
    "Upsample": {
        "size": [(8, 7), 9, None],
        "scale_factor": [None, 2.0],
        "mode": ["nearest", "nearest-exact", "bilinear", "bicubic", "area"],
        "align_corners": [None, True],
        "recompute_scale_factor": [None, False, True],
    },
    **{f"{kind}Pad1d": {"padding": [1, (1, 2)]} for kind in PADS},
    **{f"{kind}Pad2d": {"padding": [1, (1, 2, 0, 1)]} for kind in PADS},
    **{f"{kind}Pad3d": {"padding": [1, (1, 2, 0, 1, 2, 0)]} for kind in PADS},
    "ConstantPad3d": {"padding": [1, (1, 2, 0, -1, 0, 1)], "value": [1.5, -2]},
    "ConstantPad1d": {"padding": [1, (1, 2), (-1, 3)], "value": [1.5, -2]},
    "ConstantPad2d": {"padding": [1, (1, 2, 0, -1)], "value": [1.5, -2]},
    "PixelUnshuffle": {"downscale_factor": [2]},
    "Unflatten": {"dim": [1, -3], "unflattened_size": [(2, 2), (-1, 2), [4]]},
}

TOGETHER |= {
    ("AvgPool2d", "divisor_override"): [{"padding": 1}],
    ("Conv1d", "padding_mode"): [{"padding": 2}, {"padding": "same"}],
    ("Conv2d", "padding_mode"): [{"padding": (2, 1)}, {"padding": "same", "dilation": 2}],
    ("ConvTranspose1d", "output_padding"): [{"stride": 2}],
    ("ConvTranspose2d", "output_padding"): [{"stride": 2}],
    ("Upsample", "mode"): [{"size": 3}],
    ("Upsample", "align_corners"): [{"size": 3, "mode": "bilinear"}],
    ("Upsample", "recompute_scale_factor"): [{"scale_factor": 1.3}],
    **{
        (f"Upsampling{kind}2d", "scale_factor"): [{"size": None}]
        for kind in ("Nearest", "Bilinear")
    },
}

CONTAINERS = {"Module", "ModuleList", "ModuleDict", "Sequential", "init"}
CONTAINERS |= {"ParameterList", "ParameterDict"}
COMMON_LAYERS = sorted(n for n in nn.__all__ if hasattr(torch.nn, n) and n not in CONTAINERS)


def test_every_common_layer_is_in_the_table() -> None:
    assert sorted(LAYERS) == COMMON_LAYERS
    assert len(COMMON_LAYERS) > 25


def compare_layers(name: str, call: Call) -> None:
    ours_class, theirs_class = getattr(nn, name), getattr(torch.nn, name)
    if call.match is not None:
        with pytest.raises((TypeError, ValueError), match=call.match):
            ours_class(*call.args, **call.kwargs)
        return
    theirs = theirs_class(*call.args, **call.kwargs).eval()
    if (
        name.startswith("Upsampl") and theirs.size is theirs.scale_factor is None
    ):  # torch says so later
        with pytest.raises(ValueError, match="must be given"):
            ours_class(*call.args, **call.kwargs)
        return
    ours = ours_class(*call.args, **call.kwargs)
    state = theirs.state_dict()
    for value in filter(torch.Tensor.is_floating_point, state.values()):
        value.copy_(torch.linspace(0.5, 1.5, value.numel()).reshape(value.shape))
    assert list(ours.state_dict()) == list(state)
    for key, value in ours.state_dict().items():
        assert str(state[key].dtype) == f"torch.{value.dtype}"
    ours.load_state_dict(state)
    x = {"1d": SIGNALS, "3d": VOLUMES}.get(name[-2:], X[..., : 4 if "Unshuffle" in name else 5])
    x = X[..., :4] if name == "GLU" else x
    expected = theirs.double()(torch.from_numpy(x.copy()))
    same(ours.double()(x), expected)
    same(ours.eager(x), expected)


@pytest.mark.parametrize("name", COMMON_LAYERS)
def test_layers(name: str) -> None:
    parameters = list(inspect.signature(getattr(torch.nn, name)).parameters.values())
    parameters = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for call in list(calls(name, parameters, LAYERS[name])):
        try:
            compare_layers(name, call)
        except Exception as error:
            raise AssertionError(f"{name}{call.args} {call.kwargs}") from error


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("BatchNorm1d", shape) for shape in ((3, 4), (3, 4, 1), (0, 4))),
        *(("InstanceNorm1d", shape) for shape in ((4, 7), (1, 4, 2), (0, 4, 2))),
        *(("InstanceNorm2d", shape) for shape in ((4, 7, 3), (1, 4, 1, 2))),
        *(("InstanceNorm3d", shape) for shape in ((4, 7, 3, 2), (2, 4, 1, 2, 1))),
        *(("GroupNorm", shape) for shape in ((3, 4), (2, 4, 5), (2, 4, 3, 2, 2), (0, 4, 5))),
        *(("Softmax2d", shape) for shape in ((4, 3, 2), (2, 4, 3, 2))),
        *(("PReLU", shape) for shape in ((3, 4), (2, 4, 5), (2, 4, 1, 2, 3), (0, 4, 3))),
    ],
)
def test_layers_take_arrays_of_the_ranks_that_torchs_do(name: str, shape: tuple[int, ...]) -> None:
    args = {"GroupNorm": (2, 4), "Softmax2d": ()}.get(name, (4,))
    theirs = getattr(torch.nn, name)(*args).double().eval()
    for value in filter(torch.Tensor.is_floating_point, theirs.state_dict().values()):
        value.copy_(torch.linspace(0.5, 1.5, value.numel()).reshape(value.shape))
    ours = getattr(nn, name)(*args).double()
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(1).standard_normal(shape) + 3
    expected = theirs(torch.from_numpy(x.copy()))
    same(ours(x), expected)
    same(ours.eager(x), expected)


def test_identity_takes_anything_as_torchs_does() -> None:
    assert repr(nn.Identity(54, unused=1)) == "Identity()"
    same(nn.Identity(54)(X), torch.nn.Identity(54)(to_torch(X)))
