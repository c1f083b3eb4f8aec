"""Convolutions and linear layers: each bad input is one clear error, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastconv
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

X = np.zeros((2, 4, 8, 8), np.float32)
WEIGHT = np.zeros((6, 4, 3, 3), np.float32)
BIAS = np.zeros(6, np.float32)
OUT_SHAPE = (2, 6, 6, 6)
HUGE = 10**30


def giant(*shape: int) -> np.ndarray:
    """An array of any size in no memory."""
    return np.broadcast_to(np.float32(0), shape)


def conv2d(x: Any = X, weight: Any = WEIGHT, bias: Any = None, **options: Any) -> Callable[[], Any]:
    return lambda: fastconv.conv2d(x, weight, bias, **options)


GEOMETRY = [
    (conv2d(stride=0), ValueError, r"stride must be from 1 to 2\*\*40, got \(0, 0\)"),
    (conv2d(stride=(1, -1)), ValueError, r"stride must be from 1"),
    (conv2d(stride=(1, 2, 3)), ValueError, r"stride must be an integer or a pair, got \(1, 2, 3\)"),
    (conv2d(stride=()), ValueError, "stride must be an integer or a pair"),
    (conv2d(stride=1.0), TypeError, "stride must be an integer, got float 1.0"),
    (conv2d(stride="1"), TypeError, "stride must be an integer, got str '1'"),
    (conv2d(stride=True), TypeError, "stride must be an integer, got True"),
    (conv2d(stride=None), TypeError, "stride must be an integer, got NoneType"),
    (conv2d(stride={1: 2}), TypeError, "stride must be an integer, got dict"),
    (conv2d(stride=HUGE), ValueError, "stride must fit into 64 bits"),
    (conv2d(stride=2**41), ValueError, "stride must be from 1"),
    (conv2d(padding=-1), ValueError, "padding must be from 0"),
    (conv2d(padding=((1, 2), (3, -4))), ValueError, "padding must be from 0"),
    (conv2d(padding=(1, 2, 3)), ValueError, "padding must be an integer or a pair"),
    (conv2d(padding=((1, 2), 3)), ValueError, r"padding must be an integer, \(height, width\)"),
    (conv2d(padding=((1, 2),)), ValueError, r"padding must be an integer, \(height, width\)"),
    (conv2d(padding="SAME"), ValueError, "padding must be one of same, valid, got 'SAME'"),
    (conv2d(padding=False), TypeError, "padding must be an integer, got False"),
    (conv2d(padding=None), TypeError, "padding must be an integer, got NoneType"),
    (conv2d(padding=HUGE), ValueError, "padding must fit into 64 bits"),
    (conv2d(padding=2**39), ValueError, "passes the address range"),
    (conv2d(dilation=0), ValueError, "dilation must be from 1"),
    (conv2d(dilation=1.5), TypeError, "dilation must be an integer"),
    (conv2d(dilation=4), ValueError, "kernel does not fit into x: .* covers 9 in height"),
    (conv2d(dilation=2**40), ValueError, "dilation . kernel size is too large"),
    (conv2d(groups=0), ValueError, "groups must be at least 1, got 0"),
    (conv2d(groups=-1), ValueError, "groups must be at least 1"),
    (conv2d(groups=5), ValueError, "groups = 5 does not divide the 6 output channels"),
    (conv2d(groups=True), TypeError, "groups must be an integer, got True"),
    (conv2d(groups=2.0), TypeError, "groups must be an integer, got float"),
    (
        conv2d(groups=2),
        ValueError,
        r"weight has 4 input channels a group but x has 4: .* \* groups",
    ),
    (conv2d(weight=np.zeros((8, 1, 3, 3), np.float32)), ValueError, r"\(groups=4 would fit\)"),
    (conv2d(X[:, :3]), ValueError, "weight has 4 input channels but x has 3"),
    (conv2d(weight=giant(6, 4, 9, 3)), ValueError, "kernel does not fit into x: .* 9 in height"),
    (conv2d(weight=giant(6, 4, 3, 9)), ValueError, "kernel does not fit into x: .* 9 in width"),
    (conv2d(X[:, :0], WEIGHT[:, :0]), ValueError, "weight has an empty dimension"),
    (conv2d(X[:, :, :0]), ValueError, "x must have at least one channel, row and column"),
    (conv2d(weight=WEIGHT[:0]), ValueError, "weight has an empty dimension"),
]
WORDS = [
    (conv2d(algorithm="Winograd"), ValueError, "algorithm must be one of auto, .*, got 'Winograd'"),
    (conv2d(algorithm=None), TypeError, "algorithm must be a string, got NoneType"),
    (conv2d(algorithm=2), TypeError, "algorithm must be a string, got int"),
    (
        conv2d(accuracy="best"),
        ValueError,
        "accuracy must be one of fast, exact, fastest, got 'best'",
    ),
    (conv2d(activation="Relu"), ValueError, "activation must be one of relu, .*, got 'Relu'"),
    (conv2d(activation=fastconv.relu), TypeError, "activation must be a string, got function"),
    (conv2d(device="gpu"), ValueError, "device must be one of cpu, cuda, got 'gpu'"),
    (conv2d(device=0), TypeError, "device must be a string"),
    (conv2d(device="cuda"), fastconv.cuda.CudaUnavailable, "device='cuda' needs"),
    (
        conv2d(algorithm="depthwise"),
        ValueError,
        "'depthwise' cannot serve here: it needs groups ==",
    ),
    (
        conv2d(algorithm="winograd", stride=2),
        ValueError,
        "'winograd' cannot serve .* needs stride 1",
    ),
    (conv2d(algorithm="winograd4", dilation=2), ValueError, "cannot serve .* needs dilation 1"),
    (conv2d(algorithm="winograd6", accuracy="exact"), ValueError, "cannot serve .* is not exact"),
    (
        conv2d(weight=WEIGHT[..., :2], algorithm="winograd2"),
        ValueError,
        "cannot serve here: it needs a 3x3 kernel",
    ),
    (
        conv2d(algorithm="direct", dilation=2**30, padding=2**30, stride=2**30),
        ValueError,
        "cannot serve here: it would pack the whole dilated window",
    ),
]
ARRAYS = [
    (conv2d(None), TypeError, "x must be an array, got None"),
    (conv2d(weight=None), TypeError, "weight must be an array, got None"),
    (conv2d("photo.jpg"), TypeError, "x must be float32 or float64 .*, got <U9"),
    (conv2d(object()), TypeError, "x must be float32 or float64"),
    (conv2d({}), TypeError, "x must be float32 or float64"),
    (conv2d([[1.0, 2.0], [3.0]]), TypeError, "x must be an array, got list"),
    (conv2d(X[0, 0]), ValueError, r"x must have shape \(N, C, H, W\) or \(C, H, W\), got \(8, 8\)"),
    (conv2d(np.float32(1)), ValueError, r"x must have shape .*, got \(\)"),
    (conv2d(X[None]), ValueError, r"x must have shape .*, got \(1, 2, 4, 8, 8\)"),
    (
        conv2d(weight=WEIGHT[0]),
        ValueError,
        r"weight must have 4 dimensions .*, got shape \(4, 3, 3\)",
    ),
    (conv2d(weight=np.float32(1)), ValueError, "weight must have 4 dimensions"),
    (conv2d(bias=BIAS[:5]), ValueError, r"bias must have shape \(6,\), as weight .*, got \(5,\)"),
    (conv2d(bias=BIAS[None]), ValueError, r"bias must have shape \(6,\)"),
    (conv2d(bias=np.float32(0)), ValueError, r"bias must have shape \(6,\)"),
    (conv2d(X.astype(np.float64)), TypeError, "weight is float32 but x is float64: convert one"),
    (conv2d(bias=BIAS.astype(np.float16)), TypeError, "bias is float16 but x is float32"),
    (conv2d(residual=np.zeros(OUT_SHAPE)), TypeError, "residual is float64 but x is float32"),
    (conv2d(residual=giant(2, 6, 6, 7)), ValueError, r"residual must have .*, got \(2, 6, 6, 7\)"),
    (conv2d(residual=giant(1, 6, 6, 6)), ValueError, "residual must have the output's shape"),
    (conv2d(X[:1], residual=giant(6, 6, 6)), ValueError, "residual must .* with 4 dimensions"),
    (conv2d(X[0], residual=giant(1, 6, 6, 6)), ValueError, "residual must .* with 3 dimensions"),
    (conv2d(residual=np.float32(0)), ValueError, "residual must have the output's shape"),
    (conv2d(giant(2**40, 4, 8, 8)), MemoryError, "alloc"),
    (conv2d(weight=giant(2**40, 4, 3, 3)), MemoryError, "alloc"),
    (conv2d(giant(1, 4, 2**29, 2**29)), (ValueError, MemoryError), "address range|alloc"),
]


@pytest.mark.usefixtures("without_cuda")
@pytest.mark.parametrize(("call", "error", "message"), [*GEOMETRY, *WORDS, *ARRAYS])
def test_conv2d(call: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", ["x", "weight", "bias", "residual"])
@pytest.mark.parametrize(
    "dtype",
    [np.int32, np.uint8, bool, np.complex64, object, np.longdouble, "S4", "M8[s]", [("a", "f4")]],
)
def test_dtypes_that_are_none(name: str, dtype: Any) -> None:
    shapes = {"x": X.shape, "weight": WEIGHT.shape, "bias": BIAS.shape, "residual": OUT_SHAPE}
    if np.dtype(dtype) == np.float64:
        pytest.skip("long double is double here")
    arrays = {"x": X, "weight": WEIGHT, name: np.zeros(shapes[name], dtype)}
    message = (
        rf"{name} must be float32 or float64 .*, got .*: convert it, for example {name}\.astype"
    )
    with pytest.raises(TypeError, match=message):
        fastconv.conv2d(**arrays)


def _read_only() -> np.ndarray:
    out = np.zeros(OUT_SHAPE, np.float32)
    out.setflags(write=False)
    return out


MEMORY = np.zeros(2000, np.float32)
A_RESULT = MEMORY[:432].reshape(OUT_SHAPE)
OUTS = [
    ({"out": _read_only()}, ValueError, "out is read-only"),
    ({"out": giant(*OUT_SHAPE)}, ValueError, "out is read-only"),
    ({"out": A_RESULT[:1]}, ValueError, r"out must have shape \(2, 6, 6, 6\), got \(1, 6, 6, 6\)"),
    ({"out": A_RESULT.reshape(-1)}, ValueError, "out must have shape"),
    ({"out": np.zeros(OUT_SHAPE)}, TypeError, "out must be float32 .*, got float64"),
    ({"out": A_RESULT.astype(">f4")}, TypeError, "out must be float32 .*, got >f4"),
    ({"out": np.zeros(OUT_SHAPE, np.int32)}, TypeError, "out must be float32 .*, got int32"),
    ({"out": A_RESULT.tolist()}, TypeError, r"out must be a numpy\.ndarray, got list"),
    ({"out": as_strided(A_RESULT, OUT_SHAPE, (0, 144, 24, 4))}, ValueError, "share memory"),
    ({"out": as_strided(A_RESULT, OUT_SHAPE, (864, 144, 12, 4))}, ValueError, "share memory"),
    ({"out": as_strided(A_RESULT, OUT_SHAPE, (864, 144, 24, -0))}, ValueError, "share memory"),
    (
        {"x": MEMORY[:512].reshape(X.shape), "out": MEMORY[500:932].reshape(OUT_SHAPE)},
        ValueError,
        "out overlaps x",
    ),
    (
        {"weight": MEMORY[:216].reshape(WEIGHT.shape), "out": A_RESULT},
        ValueError,
        "out overlaps weight",
    ),
    ({"bias": MEMORY[3:9], "out": A_RESULT}, ValueError, "out overlaps bias"),
    (
        {"residual": MEMORY[6:438].reshape(OUT_SHAPE), "out": A_RESULT},
        ValueError,
        "out overlaps residual",
    ),
    ({"residual": A_RESULT.swapaxes(2, 3), "out": A_RESULT}, ValueError, "out overlaps residual"),
    ({"residual": A_RESULT[:, :, ::-1], "out": A_RESULT}, ValueError, "out overlaps residual"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), OUTS)
def test_out(arguments: dict[str, Any], error: Any, message: str) -> None:
    arguments = {"x": np.ones_like(X), "weight": np.ones_like(WEIGHT), **arguments}
    with pytest.raises(error, match=message):
        fastconv.conv2d(**arguments)
    assert not MEMORY.any()  # nothing was written
    shared = {name for name, array in arguments.items() if np.may_share_memory(array, MEMORY)}
    if not shared & {"weight", "bias"}:  # which a prepared convolution has copied
        prepared = fastconv.prepare_conv2d(arguments["weight"])
        with pytest.raises(error, match=message):
            prepared(arguments["x"], arguments.get("residual"), arguments["out"])
        assert not MEMORY.any()


def test_out_may_be_empty_with_any_strides() -> None:
    out = as_strided(MEMORY, (0, 6, 6, 6), (0, 0, 0, 0))
    assert fastconv.conv2d(X[:0], WEIGHT, out=out) is out


X1, W1 = X[:, :, 0], WEIGHT[:, :, 0]
WT = np.zeros((4, 6, 3, 3), np.float32)
FEATURES = np.zeros((3, 9), np.float32)
DEPTHWISE, POINTWISE = np.zeros((8, 1, 3, 3), np.float32), np.zeros((6, 8, 1, 1), np.float32)
OTHERS = {
    "conv1d": [
        ((X, W1), {}, ValueError, r"x must have shape \(N, C, L\) or \(C, L\)"),
        ((X1, WEIGHT), {}, ValueError, r"weight must have shape \(O, C / groups, K\)"),
        ((None, W1), {}, TypeError, "x must be an array, got None"),
        ((X1, None), {}, TypeError, "weight must be an array, got None"),
        ((X1, W1.astype(float)), {}, TypeError, "weight is float64 but x is float32"),
        ((X1, W1, BIAS[:2]), {}, ValueError, r"bias must have shape \(6,\)"),
        ((X1[:, :3], W1), {}, ValueError, "weight has 4 input channels but x has 3"),
        ((X1[:, :, :2], W1), {}, ValueError, "kernel does not fit into x"),
        (
            (X1, W1),
            {"stride": (1, 2)},
            ValueError,
            "stride must be an integer or a sequence of one",
        ),
        ((X1, W1), {"stride": 0}, ValueError, "stride must be from 1"),
        ((X1, W1), {"dilation": 1.0}, TypeError, "dilation must be an integer"),
        (
            (X1, W1),
            {"padding": (1, 2)},
            ValueError,
            "padding must be an integer or a sequence of one",
        ),
        ((X1, W1), {"padding": ((1, 2, 3),)}, ValueError, "padding must be an integer or a pair"),
        ((X1, W1), {"padding": -1}, ValueError, "padding must be from 0"),
        ((X1, W1), {"padding": "full"}, ValueError, "padding must be one of same, valid"),
        (
            (X1, W1),
            {"residual": giant(2, 6, 7)},
            ValueError,
            "residual must have the output's shape",
        ),
        ((X1, W1), {"residual": giant(6, 6)}, ValueError, "residual must .* with 3 dimensions"),
        ((X1, W1), {"out": np.zeros((2, 6, 7), np.float32)}, ValueError, r"shape \(2, 6, 6\), got"),
        ((X1, W1), {"out": [[1.0]]}, TypeError, r"out must be a numpy\.ndarray, got list"),
        ((X1, W1), {"out": np.zeros((2, 6, 6))}, TypeError, "out must be float32"),
        ((X1, W1), {"algorithm": "fft"}, ValueError, "algorithm must be one of"),
        ((X1, W1), {"device": "cuda"}, fastconv.cuda.CudaUnavailable, "cuda"),
    ],
    "conv_transpose2d": [
        ((None, WT), {}, TypeError, "x must be an array, got None"),
        ((X, None), {}, TypeError, "weight must be an array, got None"),
        ((X[0, 0], WT), {}, ValueError, "x must have shape"),
        ((X, W1), {}, ValueError, "weight must have 4 dimensions"),
        ((X, WT[:, :0]), {}, ValueError, "weight has an empty dimension"),
        ((X[:, :, :0], WT), {}, ValueError, "x must have at least one channel, row and column"),
        ((X[:, :3], WT), {}, ValueError, r"weight has 4 input channels but x has 3"),
        ((X, WT, BIAS[:2]), {}, ValueError, r"bias must have shape \(6,\)"),
        ((X, WT.astype(float)), {}, TypeError, "weight is float64 but x is float32"),
        ((X, WT), {"stride": 0}, ValueError, "stride must be from 1"),
        ((X, WT), {"stride": 1.5}, TypeError, "stride must be an integer"),
        ((X, WT), {"stride": HUGE}, ValueError, "stride must fit into 64 bits"),
        ((X, WT), {"stride": 2**40}, ValueError, "passes the address range"),
        ((X, WT), {"dilation": 2**40}, ValueError, "passes the address range"),
        ((giant(1, 4, 2**40, 1), WT), {"stride": 2**40}, ValueError, "passes the address range"),
        ((X, WT), {"padding": -1}, ValueError, "padding must be from 0"),
        ((X, WT), {"padding": 9}, ValueError, "output would have height -8: padding is too large"),
        ((X, WT), {"padding": "same"}, TypeError, "padding must be an integer"),
        ((X, WT), {"output_padding": 1}, ValueError, "output_padding must be smaller than stride"),
        ((X, WT), {"output_padding": -1}, ValueError, "output_padding must not be negative"),
        ((X, WT), {"groups": 0}, ValueError, "groups must be at least 1"),
        ((X, WT), {"groups": 3}, ValueError, "groups = 3 does not divide the 4 input channels"),
        ((X, WT), {"groups": 2**62}, ValueError, "does not divide"),
        ((X, WT), {"dilation": 0}, ValueError, "dilation must be from 1"),
        ((X, WT), {"activation": "x"}, ValueError, "activation must be one of"),
        ((X, WT), {"out": np.zeros((2, 6, 9, 9), np.float32)}, ValueError, "out must have shape"),
        ((X, np.zeros((4, 4, 1, 1), np.float32)), {"out": X}, ValueError, "out overlaps x"),
    ],
    "linear": [
        ((None, FEATURES), {}, TypeError, "x must be an array, got None"),
        ((FEATURES, None), {}, TypeError, "weight must be an array, got None"),
        ((X1, WEIGHT), {}, ValueError, r"weight must have shape \(out_features, in_features\)"),
        ((X1, FEATURES), {}, ValueError, r"x must have shape \(\.\.\., 9\), got \(2, 4, 8\)"),
        ((np.float32(1), FEATURES), {}, ValueError, "x must have shape"),
        ((FEATURES[:, :0], FEATURES[:, :0]), {}, ValueError, "neither of them 0"),
        ((FEATURES, FEATURES[:0]), {}, ValueError, "neither of them 0"),
        ((FEATURES, FEATURES, BIAS), {}, ValueError, r"bias must have shape \(3,\)"),
        ((FEATURES, FEATURES.astype(float)), {}, TypeError, "weight is float64 but x is float32"),
        ((FEATURES, FEATURES), {"residual": BIAS}, ValueError, "residual must have the result's"),
        ((FEATURES, FEATURES), {"out": BIAS}, ValueError, "out must have shape"),
        ((FEATURES, giant(9, 9)), {"out": FEATURES}, ValueError, "out overlaps x"),
        ((FEATURES, FEATURES), {"activation": "x"}, ValueError, "activation must be one of"),
    ],
    "depthwise_separable_conv2d": [
        ((None, DEPTHWISE, POINTWISE), {}, TypeError, "x must be an array, got None"),
        ((X, None, POINTWISE), {}, TypeError, "depthwise_weight must be an array, got None"),
        ((X, DEPTHWISE, None), {}, TypeError, "pointwise_weight must be an array, got None"),
        ((X[0, 0], DEPTHWISE, POINTWISE), {}, ValueError, "x must have shape"),
        (
            (X, DEPTHWISE[:7], POINTWISE),
            {},
            ValueError,
            r"depthwise_weight must have shape \(M \* 4",
        ),
        (
            (X, DEPTHWISE, POINTWISE[:, :7]),
            {},
            ValueError,
            r"pointwise_weight must have shape \(O, 8",
        ),
        ((X, DEPTHWISE, POINTWISE, BIAS), {}, ValueError, r"depthwise_bias must have shape \(8,\)"),
        (
            (X, DEPTHWISE, POINTWISE, None, BIAS[1:]),
            {},
            ValueError,
            "pointwise_bias must have shape",
        ),
        ((X, DEPTHWISE, POINTWISE.astype(float)), {}, TypeError, "pointwise_weight is float64 but"),
        ((X, DEPTHWISE, POINTWISE), {"stride": 0}, ValueError, "stride must be from 1"),
        (
            (X, DEPTHWISE, POINTWISE),
            {"depthwise_activation": "x"},
            ValueError,
            "activation must be",
        ),
        ((X, DEPTHWISE, POINTWISE), {"out": X}, ValueError, "out must have shape"),
    ],
    "algorithms": [
        ((5, WEIGHT.shape), {}, TypeError, "x_shape must be a sequence of integers, got 5"),
        (("1234", WEIGHT.shape), {}, TypeError, "x_shape must be a sequence of integers"),
        ((X.shape, None), {}, TypeError, "weight_shape must be a sequence of integers, got None"),
        (((4, 8), WEIGHT.shape), {}, ValueError, "x must have shape"),
        (((1, 4, 8, 8.0), WEIGHT.shape), {}, TypeError, "x_shape must be an integer, got float"),
        (((1, 4, -8, 8), WEIGHT.shape), {}, ValueError, "x must have at least one"),
        (((1, 4, 2**70, 8), WEIGHT.shape), {}, ValueError, "x_shape must fit into 64 bits"),
        (((1, 2**40, 9, 9), (2**40, 2**40, 3, 3)), {}, ValueError, "passes the address range"),
        (((1, 5, 8, 8), WEIGHT.shape), {}, ValueError, "weight has 4 input channels but x has 5"),
        ((X.shape, WEIGHT.shape), {"dtype": "float16"}, ValueError, "dtype must be one of float32"),
        ((X.shape, WEIGHT.shape), {"stride": 0}, ValueError, "stride must be from 1"),
        ((X.shape, WEIGHT.shape), {"accuracy": "best"}, ValueError, "accuracy must be one of"),
        ((X.shape, WEIGHT.shape), {"device": "cuda"}, fastconv.cuda.CudaUnavailable, "cuda"),
    ],
    "prepare_conv2d": [
        ((None,), {}, TypeError, "weight must be an array, got None"),
        ((W1,), {}, ValueError, r"weight must have shape \(O, C / groups, KH, KW\)"),
        ((WEIGHT.astype(int),), {}, TypeError, "weight must be float32 or float64"),
        ((WEIGHT, BIAS[1:]), {}, ValueError, r"bias must have shape \(6,\)"),
        ((WEIGHT, BIAS.astype(float)), {}, TypeError, "bias is float64 but weight is float32"),
        ((WEIGHT,), {"stride": 1.0}, TypeError, "stride must be an integer"),
        ((WEIGHT,), {"input_shape": X.shape, "stride": 0}, ValueError, "stride must be from 1"),
        ((WEIGHT,), {"input_shape": (4, 8)}, ValueError, "input_shape must be"),
        ((WEIGHT,), {"input_shape": 8}, TypeError, "input_shape must be a sequence of integers"),
        (
            (WEIGHT,),
            {"input_shape": (3, 8, 8)},
            ValueError,
            "weight has 4 input channels but x has 3",
        ),
        (
            (WEIGHT,),
            {"input_shape": X.shape, "stride": 2, "algorithm": "winograd"},
            ValueError,
            "cannot serve here: it needs stride 1",
        ),
    ],
}


@pytest.mark.usefixtures("without_cuda")
@pytest.mark.parametrize(
    ("op", "arguments", "options", "error", "message"),
    [(op, *case) for op, cases in OTHERS.items() for case in cases],
)
def test_other_ops(op: str, arguments: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        getattr(fastconv, op)(*arguments, **options)


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (None, {}, TypeError, "x must be an array, got None"),
        (X.astype(np.float64), {}, TypeError, r"x is float64 but the weight is float32: .*astype"),
        (X.astype(np.int32), {}, TypeError, "x must be float32 or float64"),
        (X[:, :3], {}, ValueError, "weight has 4 input channels but x has 3"),
        (X[0, 0], {}, ValueError, "x must have shape"),
        (X[:, :, :2], {}, ValueError, "kernel does not fit into x"),
        (X, {"residual": giant(2, 6, 6, 5)}, ValueError, "residual must have the output's shape"),
        (X[:1], {"residual": giant(6, 6, 6)}, ValueError, "residual must .* with 4 dimensions"),
        (X, {"out": np.zeros((2, 6, 6, 5), np.float32)}, ValueError, "out must have shape"),
    ],
)
def test_prepared(x: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fastconv.prepare_conv2d(WEIGHT)(x, **options)


def test_windows_far_larger_than_x_are_served() -> None:
    """Nearly all taps fall on padding; nobody may pack it."""
    x, weight = np.ones((1, 4, 3, 3), np.float32), np.ones((6, 4, 3, 3), np.float32)
    for far in (10**3, 2**30, 2**39):
        y = fastconv.conv2d(x, weight, dilation=far, padding=far, stride=2 * far)
        np.testing.assert_array_equal(y, np.full((1, 6, 1, 1), 4, np.float32))
        y = fastconv.conv2d(x, weight[:4, :1], dilation=far, padding=far, groups=4)
        np.testing.assert_array_equal(y, x)
        y = fastconv.conv_transpose2d(x, weight[:4], dilation=far, padding=far)
        np.testing.assert_array_equal(y, np.full((1, 4, 3, 3), 4, np.float32))
