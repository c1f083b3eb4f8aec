"""Convolutions and linear layers: results. Bad input is in test_conv_errors.py."""

from __future__ import annotations

import pickle
import sys
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastconv
import numpy as np
import pytest
from fastconv import nn

EXACT = ("im2col", "direct", "depthwise")
GOLDEN = np.load(Path(__file__).parent / "golden" / "conv2d.npz")
GOLDEN_NAMES = sorted({name.partition(".")[0] for name in GOLDEN.files})


def integers(rng: np.random.Generator, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    return rng.integers(-3, 4, shape).astype(dtype)


def served(x: np.ndarray, weight: np.ndarray, **options: Any) -> list[str]:
    """All values of ``algorithm=`` that can serve."""
    known = ("stride", "padding", "dilation", "groups", "accuracy")
    given = {name: value for name, value in options.items() if name in known}
    names = [
        info.name
        for info in fastconv.algorithms(x.shape, weight.shape, dtype=str(x.dtype), **given)
    ]
    return [*names, "auto", *(["winograd"] if "winograd2" in names else [])]


def bound(algorithm: str, x: np.ndarray, weight: np.ndarray, **options: Any) -> float:
    """What `algorithm` may be off by on integers: nothing, but for Winograd."""
    if algorithm in ("reference", *EXACT):
        return 0.0
    largest = fastconv.conv2d(np.abs(x), np.abs(weight), algorithm="reference", **options).max()
    return float(largest * np.finfo(x.dtype).eps * (200 if algorithm == "winograd6" else 20))


def check_all(x: np.ndarray, weight: np.ndarray, bias: Any = None, **options: Any) -> None:
    """Every algorithm gives what the reference gives: exactly, but for Winograd."""
    expected = fastconv.conv2d(x, weight, bias, algorithm="reference", **options)
    for algorithm in served(x, weight, **options):
        y = fastconv.conv2d(x, weight, bias, algorithm=algorithm, **options)
        assert y.dtype == x.dtype
        assert y.shape == expected.shape
        tolerance = bound(algorithm, x, weight, **options)
        np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance, err_msg=algorithm)


# ---- Equal results ----


@pytest.mark.parametrize("name", GOLDEN_NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_golden_values(name: str, dtype: Any) -> None:
    x, weight, bias, y = (
        GOLDEN[f"{name}.{part}"].astype(dtype) for part in ("x", "weight", "bias", "y")
    )
    sh, sw, top, bottom, left, right, dh, dw, groups = map(int, GOLDEN[f"{name}.options"])
    options = {
        "stride": (sh, sw),
        "padding": ((top, bottom), (left, right)),
        "dilation": (dh, dw),
        "groups": groups,
    }
    for algorithm in served(x, weight, **options):
        got = fastconv.conv2d(x, weight, bias, algorithm=algorithm, **options)
        tolerance = bound(algorithm, x, weight, **options)
        np.testing.assert_allclose(got, y, rtol=0, atol=tolerance, err_msg=algorithm)


SHAPES = [
    # x, weight, options
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((2, 3, 1, 50), (5, 3, 1, 7), {"padding": (0, 3)}),
    ((1, 3, 50, 1), (5, 3, 7, 1), {"padding": (3, 0)}),
    ((1, 1, 9, 5000), (1, 1, 3, 3), {"padding": 1}),
    ((1, 2, 1, 5000), (17, 2, 1, 5), {"stride": (1, 2)}),
    ((1, 4096, 2, 2), (3, 4096, 1, 1), {}),
    ((1, 1000, 3, 3), (2, 1000, 3, 3), {"padding": 1}),
    ((1, 1, 6, 6), (300, 1, 3, 3), {}),
    ((1, 60, 5, 5), (60, 2, 3, 3), {"groups": 30, "padding": 1}),
    ((1, 60, 5, 5), (120, 1, 3, 3), {"groups": 60, "padding": 1}),
    ((1, 33, 8, 8), (99, 1, 3, 3), {"groups": 33, "stride": 2}),
    ((1, 17, 20, 20), (31, 17, 3, 3), {"padding": "same"}),
    ((3, 16, 15, 17), (32, 16, 3, 3), {"padding": "same", "stride": 2}),
    ((1, 3, 33, 31), (8, 3, 11, 13), {"stride": 4, "padding": (5, 6)}),
    ((1, 2, 30, 30), (3, 2, 30, 30), {}),
    ((1, 4, 10, 10), (4, 4, 3, 3), {"dilation": 20, "padding": 20}),
    ((1, 4, 10, 10), (4, 4, 3, 3), {"dilation": (20, 1), "padding": (20, 1)}),
    ((1, 8, 3, 3), (8, 8, 1, 1), {"padding": ((0, 4), (0, 0))}),
    ((1, 8, 9, 9), (8, 8, 1, 1), {"padding": ((3, 0), (0, 5))}),
    ((1, 20, 14, 14), (20, 20, 3, 3), {"padding": ((9, 0), (0, 9))}),
    ((1, 2, 4, 4), (3, 2, 3, 3), {"stride": (100, 100), "padding": 50}),
    ((40, 70, 1, 1), (50, 70, 1, 1), {}),
    ((3, 7, 1, 1), (50, 7, 1, 1), {"stride": (1, 2)}),
    ((3, 7, 1, 1), (50, 7, 1, 1), {"stride": 3, "dilation": 2}),
    ((2, 130, 6, 6), (20, 130, 3, 3), {"padding": 1}),
]


@pytest.mark.parametrize(("x_shape", "weight_shape", "options"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_odd_shapes(x_shape: Any, weight_shape: Any, options: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, weight = integers(rng, *x_shape, dtype=dtype), integers(rng, *weight_shape, dtype=dtype)
    check_all(x, weight, integers(rng, weight_shape[0], dtype=dtype), **options)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_channels_a_group(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    groups, inputs, outputs = (
        int(rng.choice(v)) for v in ([2, 3, 8, 13], [1, 2, 4, 7, 8], [2, 4, 6, 8, 24])
    )
    kernel, stride, padding, dilation = (
        tuple(rng.integers(a, b, 2)) for a, b in ((1, 8), (1, 4), (0, 4), (1, 3))
    )
    if seed % 2:
        kernel, padding, dilation = (3, 3), (1, 1), (1, 1)
    size = [
        (k - 1) * d + 1 + int(rng.integers(0, 20)) for k, d in zip(kernel, dilation, strict=True)
    ]
    x = integers(rng, 2, groups * inputs, *size, dtype=dtype)
    weight = integers(rng, groups * outputs, inputs, *kernel, dtype=dtype)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = fastconv.conv2d(x, weight, algorithm="reference", **options)
    options |= {"activation": "relu", "residual": integers(rng, *y.shape, dtype=dtype)}
    check_all(x, weight, integers(rng, groups * outputs, dtype=dtype), **options)


@pytest.mark.parametrize("stride", [1, 2, 3, (2, 3)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 3), (5, 4)])
def test_same_padding_is_the_explicit_one(stride: Any, dilation: int, kernel: Any) -> None:
    rng = np.random.default_rng(0)
    x, weight = integers(rng, 1, 3, 11, 10), integers(rng, 4, 3, *kernel)
    strides = stride if isinstance(stride, tuple) else (stride, stride)
    sides = []
    for size, s, k in zip(x.shape[2:], strides, kernel, strict=True):
        total = max((-(-size // s) - 1) * s + dilation * (k - 1) + 1 - size, 0)
        sides.append((total // 2, total - total // 2))
    options = {"stride": stride, "dilation": dilation, "algorithm": "direct"}
    y = fastconv.conv2d(x, weight, padding="same", **options)
    assert y.shape[2:] == tuple(-(-n // s) for n, s in zip(x.shape[2:], strides, strict=True))
    np.testing.assert_array_equal(y, fastconv.conv2d(x, weight, padding=tuple(sides), **options))


def test_forms_of_padding_agree() -> None:
    rng = np.random.default_rng(0)
    x, weight = integers(rng, 1, 3, 8, 8), integers(rng, 4, 3, 3, 3)
    expected = fastconv.conv2d(x, weight, padding=((2, 2), (2, 2)))
    for padding in (2, (2,), (2, 2), [2, 2], np.int64(2), np.array([2, 2]), [[2, 2], [2, 2]]):
        np.testing.assert_array_equal(fastconv.conv2d(x, weight, padding=padding), expected)
    valid = fastconv.conv2d(x, weight, padding="valid")
    np.testing.assert_array_equal(valid, fastconv.conv2d(x, weight))


@pytest.mark.parametrize(
    "activation",
    [
        "relu", "relu6", "leaky_relu", "gelu", "gelu_tanh", "silu", "hardswish", "hardsigmoid",
        "sigmoid", "tanh", "mish",
    ],
)  # fmt: skip
def test_activation_comes_last(activation: str) -> None:
    rng = np.random.default_rng(0)
    x, weight = integers(rng, 2, 20, 9, 9), integers(rng, 18, 20, 3, 3)
    bias, residual = integers(rng, 18), integers(rng, 2, 18, 7, 7)
    linear = fastconv.conv2d(x, weight, bias, residual=residual, algorithm="reference") / 16
    apply = {"gelu_tanh": lambda v: fastconv.gelu(v, "tanh")}.get(
        activation, getattr(fastconv, activation, None)
    )
    expected = apply(linear.astype(np.float64))
    for algorithm in ("reference", "im2col", "direct", "winograd2", "winograd4"):
        y = fastconv.conv2d(
            x / np.float32(16),
            weight,
            bias / np.float32(16),
            residual=residual / np.float32(16),
            activation=activation,
            algorithm=algorithm,
        )
        np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-5, err_msg=algorithm)


def test_empty_batches_and_single_images() -> None:
    rng = np.random.default_rng(0)
    x, weight = integers(rng, 2, 3, 8, 8), integers(rng, 4, 3, 3, 3)
    for algorithm in served(x, weight):
        y = fastconv.conv2d(x, weight, algorithm=algorithm)
        single = fastconv.conv2d(x[1], weight, algorithm=algorithm)
        assert single.shape == (4, 6, 6)
        np.testing.assert_array_equal(single, y[1])
        assert fastconv.conv2d(x[:0], weight, algorithm=algorithm).shape == (0, 4, 6, 6)
    out = np.empty((4, 6, 6), np.float32)
    assert fastconv.conv2d(x[1], weight, residual=y[0], out=out) is out
    assert fastconv.conv_transpose2d(x[:0], integers(rng, 3, 4, 3, 3)).shape == (0, 4, 10, 10)
    assert fastconv.conv1d(x[:0, :, 0], weight[:, :, 0]).shape == (0, 4, 6)
    assert fastconv.linear(np.empty((0, 5)), np.empty((3, 5))).shape == (0, 3)
    assert fastconv.prepare_conv2d(weight)(x[:0]).shape == (0, 4, 6, 6)


# ---- Arrays in ----


class Interface:
    """Nothing but ``__array_interface__``."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__


class Dlpack:
    """Nothing but DLPack."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def unaligned(array: np.ndarray) -> np.ndarray:
    raw = np.empty(array.nbytes + 1, np.uint8)[1:]
    copy = raw.view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


def odd_strides(array: np.ndarray) -> np.ndarray:
    """Sizes of 1 with strides that nobody may use."""
    strides = [
        12345 * array.itemsize if size == 1 else stride
        for size, stride in zip(array.shape, array.strides, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(array, array.shape, strides)


def in_records(array: np.ndarray) -> np.ndarray:
    """Strides that are no multiple of the item size."""
    records = np.zeros(array.shape, [("value", array.dtype), ("rest", "i2")])
    records["value"] = array
    return records["value"]


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


VIEWS = {
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "unaligned": unaligned,
    "read-only": read_only,
    "Fortran": np.asfortranarray,
    "negative strides": lambda a: np.flip(np.flip(a).copy()),
    "odd strides": odd_strides,
    "records": in_records,
    "channels last": lambda a: np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1),
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "interface": Interface,
    "DLPack": Dlpack,
    "nested lists": lambda a: (
        a.tolist() if a.dtype == np.float64 else np.array(a.tolist(), a.dtype)
    ),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("x_shape", [(2, 5, 9, 7), (1, 5, 9, 1), (1, 1, 1, 7)])
def test_any_array_is_taken(view: Any, dtype: Any, x_shape: Any) -> None:
    rng = np.random.default_rng(0)
    x = integers(rng, *x_shape, dtype=dtype)
    weight = integers(rng, 4, x_shape[1], 3, 3, dtype=dtype)
    bias = integers(rng, 4, 2, dtype=dtype)
    expected = fastconv.conv2d(x, weight, bias[:, 0], padding=1, algorithm="reference")
    residual = integers(rng, *expected.shape, dtype=dtype)
    expected += residual
    before = x.copy(), weight.copy()
    for algorithm in ("reference", "im2col", "direct"):
        y = fastconv.conv2d(
            view(x),
            view(weight),
            view(bias[:, :1])[:, 0] if isinstance(view(bias), np.ndarray) else bias[:, 0],
            padding=1,
            residual=view(residual),
            algorithm=algorithm,
        )
        np.testing.assert_array_equal(y, expected, err_msg=algorithm)
        assert y.dtype.isnative
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(weight, before[1])


def test_memmap_and_broadcast(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, weight = integers(rng, 1, 4, 6, 6), integers(rng, 3, 4, 3, 3)
    x.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape)
    expected = fastconv.conv2d(x, weight, algorithm="reference")
    y = fastconv.conv2d(mapped, weight, algorithm="direct")
    np.testing.assert_array_equal(y, expected)
    assert type(y) is np.ndarray
    row = np.broadcast_to(x[:, :1, :1], (3, 4, 6, 6))
    check_all(row, weight, padding=1)
    check_all(
        np.broadcast_to(np.float32(2), (1, 4, 6, 6)), np.broadcast_to(np.float32(3), weight.shape)
    )


def test_half_precision_is_rounded_once() -> None:
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(s).astype(np.float16) for s in ((2, 20, 9, 9), (8, 20, 3, 3)))
    bias, residual = (rng.standard_normal(s).astype(np.float16) for s in ((8,), (2, 8, 9, 9)))
    single = [a.astype(np.float32) for a in (x, weight, bias)]
    expected = fastconv.conv2d(
        *single, padding=1, residual=residual.astype(np.float32), activation="silu"
    ).astype(np.float16)
    y = fastconv.conv2d(x, weight, bias, padding=1, residual=residual, activation="silu")
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y, expected)
    out = residual.copy()
    conv = fastconv.prepare_conv2d(weight, bias, padding=1, activation="silu")
    assert conv(x, residual=out, out=out) is out
    np.testing.assert_array_equal(out, expected)


# ---- Arrays out ----


def test_results_are_contiguous_and_writable() -> None:
    rng = np.random.default_rng(0)
    for size in (4, 200):  # in memory of NumPy's, and in recycled memory
        x, weight = integers(rng, 1, 3, size, size), integers(rng, 4, 3, 3, 3)
        for y in (
            fastconv.conv2d(x, weight, padding=1),
            fastconv.conv2d(x[0], weight, padding=1),
            fastconv.conv1d(x[0], integers(rng, 4, size, 3)),
            fastconv.conv_transpose2d(x, np.moveaxis(weight, 1, 0).copy()),
            fastconv.linear(x, integers(rng, 9, size)),
            fastconv.prepare_conv2d(weight)(x),
        ):
            assert y.flags.c_contiguous
            assert y.flags.writeable
            assert type(y) is np.ndarray
            y += 1


def test_recycled_memory_belongs_to_its_results() -> None:
    """Large results live in recycled memory; no later call may write into one that is in use."""
    rng = np.random.default_rng(0)
    weight = np.ones((4, 1, 1, 1), np.float32)
    kept = []
    for i in range(12):
        y = fastconv.conv2d(np.full((1, 1, 90, 90), i, np.float32), weight)
        kept.append(y if i % 2 else y[:, 1::2, ::-1])  # a view keeps its memory alive
        del y
        if i % 4 == 3:
            fastconv.trim()
            kept.pop(rng.integers(0, len(kept)))
    for y in kept:
        assert np.all(y == y.flat[0])
    addresses = {y.ctypes.data for y in kept}
    assert len(addresses) == len(kept)
    assert len({float(y.flat[0]) for y in kept}) == len(kept)
    del kept, y
    fastconv.trim()
    assert fastconv.show_config("dict")["scratch_cached_bytes"] == 0
    y = fastconv.conv2d(np.full((1, 1, 90, 90), 7, np.float32), weight)
    assert np.all(y == 7)


OUTS = {
    "contiguous": np.empty,
    "Fortran": lambda shape, dtype: np.empty(shape, dtype, "F"),
    "channels last": lambda shape, dtype: np.empty(
        (shape[0], *shape[2:], shape[1]), dtype
    ).transpose(0, 3, 1, 2),
    "slice": lambda shape, dtype: np.empty(
        (shape[0], 3 * shape[1], shape[2] + 2, shape[3] + 1), dtype
    )[:, shape[1] : 2 * shape[1], 1:-1, 1:],
    "negative strides": lambda shape, dtype: np.empty(shape, dtype)[:, ::-1, :, ::-1],
    "every second": lambda shape, dtype: np.empty((*shape[:3], 2 * shape[3]), dtype)[..., ::2],
    "unaligned": lambda shape, dtype: unaligned(np.zeros(shape, dtype)),
    "records": lambda shape, dtype: in_records(np.zeros(shape, dtype)),
}


@pytest.mark.parametrize("make", OUTS.values(), ids=OUTS)
@pytest.mark.parametrize("aliased", [False, True])
@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "options"),
    [
        ((2, 20, 12, 13), (34, 20, 3, 3), {"padding": 1}),
        ((2, 18, 11, 13), (18, 1, 3, 3), {"groups": 18, "stride": 2}),
        ((2, 520, 5, 6), (6, 520, 1, 1), {}),
        ((2, 520, 2, 2), (6, 520, 1, 1), {}),
        ((1, 20, 9, 9), (8, 20, 9, 1), {}),
    ],
)
def test_out(
    make: Any, aliased: bool, activation: str | None, x_shape: Any, weight_shape: Any, options: Any
) -> None:
    """`out` of any layout, and `residual` that is `out`."""
    rng = np.random.default_rng(0)
    x, weight, bias = (integers(rng, *s) / 4 for s in (x_shape, weight_shape, weight_shape[:1]))
    for algorithm in ["reference", *served(x, weight, **options)]:
        options = {**options, "algorithm": algorithm, "activation": activation}
        plain = fastconv.conv2d(x, weight, bias, **options)
        residual = integers(rng, *plain.shape)
        expected = fastconv.conv2d(x, weight, bias, residual=residual, **options)
        out = make(plain.shape, np.float32)
        out[...] = residual if aliased else np.nan
        given = out if aliased else residual
        assert fastconv.conv2d(x, weight, bias, residual=given, out=out, **options) is out
        # A vector of a strided output may be summed elsewhere than one of a contiguous output.
        tolerance = 0 if activation is None else 1e-6
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance, err_msg=algorithm)
        prepared = fastconv.prepare_conv2d(weight, bias, **options)
        out[...] = residual if aliased else np.nan
        assert prepared(x, residual=out if aliased else residual, out=out) is out
        if algorithm in ("auto", "winograd"):  # other tiles pay where weights are packed once
            tolerance = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance, err_msg=algorithm)


def test_out_writes_nothing_beside_it() -> None:
    rng = np.random.default_rng(0)
    x, weight = integers(rng, 2, 20, 12, 13), integers(rng, 17, 20, 3, 3)
    for algorithm in ["reference", *served(x, weight)]:
        whole = np.full((4, 40, 14, 16), 99, np.float32)
        view = whole[1::2, 3:20, 1:11, 2:13]
        expected = whole.copy()
        expected[1::2, 3:20, 1:11, 2:13] = fastconv.conv2d(x, weight, algorithm=algorithm)
        fastconv.conv2d(x, weight, algorithm=algorithm, out=view)
        np.testing.assert_array_equal(whole, expected, err_msg=algorithm)


# ---- The choice of an algorithm ----


@pytest.mark.parametrize("accuracy", ["fast", "exact", "fastest"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_algorithms_lists_what_algorithm_takes(accuracy: str, dtype: str) -> None:
    cases = [
        ((1, 32, 20, 20), (32, 32, 3, 3), {}),
        ((1, 32, 20, 20), (32, 32, 3, 3), {"stride": 2}),
        ((1, 32, 20, 20), (32, 32, 3, 3), {"dilation": 2}),
        ((1, 32, 20, 20), (32, 1, 3, 3), {"groups": 32}),
        ((1, 1, 20, 20), (4, 1, 5, 5), {}),
        ((3, 20, 20), (4, 3, 1, 1), {}),
        ((2, 256, 9, 9), (192, 256, 1, 1), {"stride": 2}),
        ((2, 3, 20, 20), (4, 3, 3, 5), {"padding": "same"}),
    ]
    everything = {
        "reference",
        "im2col",
        "direct",
        "depthwise",
        "strassen",
        "winograd2",
        "winograd4",
        "winograd6",
    }
    for x_shape, weight_shape, options in cases:
        x, weight = np.zeros(x_shape, dtype), np.zeros(weight_shape, dtype)
        infos = fastconv.algorithms(
            x_shape, weight_shape, dtype=dtype, accuracy=accuracy, **options
        )
        names = [info.name for info in infos]
        assert len(set(names)) == len(names)
        assert {"reference", "im2col", "direct"} <= set(names) <= everything
        for info in infos:
            assert info.workspace_bytes >= 0
            assert info.reason
            rounds_more = info.name.startswith(("winograd", "strassen"))
            expected = info.name if rounds_more else "exact"
            assert info.error_class == expected
            y = fastconv.conv2d(x, weight, algorithm=info.name, accuracy=accuracy, **options)
            assert y.shape[-3] == weight_shape[0]
        for name in everything - set(names):
            with pytest.raises(ValueError, match=f"algorithm '{name}' cannot serve here: it "):
                fastconv.conv2d(x, weight, algorithm=name, accuracy=accuracy, **options)
        prepared = fastconv.prepare_conv2d(
            weight, input_shape=x_shape, accuracy=accuracy, **options
        )
        assert f"{names[0]} for" in repr(prepared)
        if accuracy == "exact":
            assert all(info.error_class == "exact" for info in infos)
    assert fastconv.algorithms((1, 64, 56, 56), (64, 64, 3, 3), padding=1)[0].name == "winograd4"
    many = (1, 512, 14, 14), (256, 512, 1, 1)
    assert fastconv.algorithms(*many, accuracy="fastest")[0].name == "strassen"
    assert fastconv.algorithms(*many)[0].name == "direct"
    assert fastconv.algorithms((1, 64, 56, 56), (64, 1, 3, 3), groups=64)[0].name == "depthwise"
    assert fastconv.algorithms((1, 6, 56, 56), (6, 3, 3, 3), groups=2)[0].name == "direct"


# ---- Depthwise ----


def depthwise_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Draw integers of random sizes; the padding may be larger than the image."""
    rng = np.random.default_rng(seed)
    dtype = (np.float32, np.float64)[seed % 2]
    channels, multiplier = int(rng.integers(1, 40)), int(rng.choice([1, 1, 1, 2, 3]))
    kernel = [(3, 3), (5, 5), (7, 7), tuple(map(int, rng.integers(1, 8, 2)))][rng.integers(4)]
    dilation = [(1, 1), (1, 1), tuple(map(int, rng.integers(1, 4, 2)))][rng.integers(3)]
    height, width = map(int, rng.integers(1, (25, 41)))
    window = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = [
        (int(rng.integers(max(0, w - n), w + 4)), int(rng.integers(rng.choice([1, 4, n + 3]))))
        for n, w in zip((height, width), window, strict=True)
    ]
    options = {
        "stride": tuple(map(int, rng.integers(1, 4, 2))),
        "padding": tuple(padding),
        "dilation": dilation,
        "groups": channels,
    }
    x = integers(rng, int(rng.integers(1, 3)), channels, height, width, dtype=dtype)
    weight = integers(rng, channels * multiplier, 1, *kernel, dtype=dtype)
    return x, weight, integers(rng, channels * multiplier, dtype=dtype), options


@pytest.mark.parametrize("seed", range(60))
def test_depthwise_of_random_shapes(seed: int) -> None:
    x, weight, bias, options = depthwise_case(seed)
    options["activation"] = (None, "relu", "relu6")[seed % 3]
    y = fastconv.conv2d(x, weight, bias, algorithm="reference", **options)
    residual = (
        integers(np.random.default_rng(0), *y.shape, dtype=x.dtype) if seed % 4 == 0 else None
    )
    if residual is not None:
        y = fastconv.conv2d(x, weight, bias, residual=residual, algorithm="reference", **options)
    got = fastconv.conv2d(x, weight, bias, residual=residual, algorithm="depthwise", **options)
    np.testing.assert_array_equal(got, y)


class Neighbours(nn.Module):
    """A depthwise convolution between two 1x1 ones, where arrays are blocked; a residual sum."""

    def __init__(self, weights: list[np.ndarray], bias: np.ndarray, residual: bool) -> None:
        self._weights, self._bias, self._residual = weights, bias, residual

    def forward(self, x: Any, algorithm: str = "auto", **options: Any) -> Any:
        first, depthwise, last = self._weights
        x = fastconv.conv2d(x, first, algorithm=algorithm)
        y = fastconv.conv2d(x, depthwise, self._bias, algorithm=algorithm, **options)
        if self._residual and y.shape == x.shape:
            y = y + x
        return fastconv.conv2d(fastconv.relu(y), last, algorithm=algorithm)


@pytest.mark.parametrize("seed", range(60))
def test_depthwise_in_a_network(seed: int) -> None:
    x, weight, bias, options = depthwise_case(seed)
    if seed % 3 == 0:
        options.update(stride=1, dilation=1, padding="same")
    rng = np.random.default_rng(seed)
    weights = [
        integers(rng, x.shape[1], x.shape[1], 1, 1, dtype=x.dtype),
        weight,
        integers(rng, 9, len(weight), 1, 1, dtype=x.dtype),
    ]
    model = Neighbours(weights, bias, residual=seed % 2 == 0)
    model.forward = partial(model.forward, **options)  # type: ignore[method-assign]
    network = model.compile(x.shape, precision=f"fp{8 * x.itemsize}", accuracy="exact")
    np.testing.assert_array_equal(network(x), model.forward(x, algorithm="reference"))


@pytest.mark.parametrize("activation", ["silu", "hardswish", "gelu"])
def test_depthwise_results_depend_on_nothing_around(activation: str) -> None:
    """A crop gives the same bits, wherever tiles begin and end and whatever the layout."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 20, 23, 31)).astype(np.float32)
    weight, eye = (
        rng.standard_normal((20, 1, 5, 5)).astype(np.float32),
        np.eye(20, dtype=np.float32),
    )
    options: dict[str, Any] = {"groups": 20, "activation": activation}
    y = fastconv.conv2d(x, weight, padding=2, **options)
    for top, left in ((0, 0), (1, 3), (4, 9)):
        crop = fastconv.conv2d(x[:, :, top:, left:], weight, **options)
        np.testing.assert_array_equal(crop, y[:, :, 2 + top : -2, 2 + left : -2])
    model = Neighbours([eye[:, :, None, None], weight, eye[:, :, None, None]], None, residual=False)
    model.forward = partial(model.forward, padding=2, **options)  # type: ignore[method-assign]
    np.testing.assert_array_equal(model.compile(x.shape)(x), fastconv.relu(y))


# ---- prepare_conv2d ----


def test_prepared_convolutions_equal_functional_ones() -> None:
    rng = np.random.default_rng(0)
    weight, bias = integers(rng, 20, 16, 3, 3), integers(rng, 20)
    options = {"padding": 1, "activation": "relu", "stride": 2}
    conv = fastconv.prepare_conv2d(weight, bias, **options)
    assert "not packed yet" in repr(conv)
    for shape in [(1, 16, 9, 9), (3, 16, 9, 9), (1, 16, 12, 7), (16, 9, 9), (2, 16, 5, 5)]:
        x = integers(rng, *shape)
        expected = fastconv.conv2d(x, weight, bias, **options)
        residual = integers(rng, *expected.shape)
        np.testing.assert_array_equal(conv(x), expected)
        np.testing.assert_array_equal(
            conv(x, residual), fastconv.conv2d(x, weight, bias, residual=residual, **options)
        )
    assert repr(conv).count(" for ") == 2  # at most two packings are kept
    assert "(16, 5, 5)" in repr(conv)


def test_prepared_convolutions_copy_their_weights() -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = integers(rng, 1, 16, 9, 9), integers(rng, 20, 16, 3, 3), integers(rng, 20)
    expected = fastconv.conv2d(x, weight, bias)
    for algorithm in ("auto", "im2col", "direct"):
        given = weight.copy(), bias.copy()
        conv = fastconv.prepare_conv2d(*given, algorithm=algorithm, input_shape=x.shape)
        unpacked = fastconv.prepare_conv2d(*given, algorithm=algorithm)
        for array in given:
            array[...] = np.nan
        np.testing.assert_allclose(conv(x), expected, atol=1e-3)
        np.testing.assert_allclose(unpacked(x), expected, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_prepared_convolutions_pickle(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    weight = integers(rng, 20, 16, 3, 3, dtype=dtype)
    x = integers(rng, 1, 16, 9, 9, dtype=dtype)
    conv = fastconv.prepare_conv2d(
        weight, groups=1, padding="same", activation="gelu", input_shape=x.shape
    )
    y = conv(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(conv))(x), y)


def test_prepared_convolutions_serve_many_threads() -> None:
    rng = np.random.default_rng(0)
    weight = integers(rng, 20, 16, 3, 3)
    conv = fastconv.prepare_conv2d(weight, padding=1)
    inputs = [integers(rng, 1, 16, 8 + i, 9) for i in range(4)]
    expected = [fastconv.prepare_conv2d(weight, padding=1)(x) for x in inputs]
    failures: list[str] = []

    def work(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, 4, 25):
            if not np.array_equal(conv(inputs[i]), expected[i]):
                failures.append(f"input {i}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# ---- The other ops ----


@pytest.mark.parametrize("padding", [0, 2, (1,), ((2, 0),), "same", "valid"])
@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 2), ((3,), (2,), 1)])
def test_conv1d_is_conv2d_of_one_row(padding: Any, stride: Any, dilation: Any, groups: int) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = integers(rng, 2, 6, 40), integers(rng, 8, 6 // groups, 3), integers(rng, 8)
    y = fastconv.conv1d(x, weight, bias, stride, padding, dilation, groups, activation="relu")
    s, d = np.ravel(stride)[0], np.ravel(dilation)[0]
    sides = {"same": None, "valid": (0, 0)}.get(padding) if isinstance(padding, str) else None
    if padding == "same":
        total = max((-(-40 // s) - 1) * s + d * 2 + 1 - 40, 0)
        sides = (total // 2, total - total // 2)
    elif not isinstance(padding, str):
        sides = padding[0] if np.ndim(padding) == 2 else (np.ravel(padding)[0],) * 2
    padded = np.pad(x, ((0, 0), (0, 0), tuple(sides)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * d + 1, axis=2)[:, :, ::s, ::d]
    per_group = windows.reshape(2, groups, 6 // groups, *windows.shape[2:])
    filters = weight.reshape(groups, 8 // groups, 6 // groups, 3)
    expected = np.einsum("ngcwk,gock->ngow", per_group, filters).reshape(2, 8, -1) + bias[:, None]
    np.testing.assert_array_equal(y, np.maximum(expected, 0))
    single = fastconv.conv1d(
        x[0], weight, bias, stride, padding, dilation, groups, activation="relu"
    )
    np.testing.assert_array_equal(single, y[0])
    out = np.empty((*y.shape[:2], 2 * y.shape[2]), np.float32)[..., ::2]
    assert fastconv.conv1d(x, weight, bias, stride, padding, dilation, groups, out=out) is out
    np.testing.assert_array_equal(np.maximum(out, 0), y)


def transposed(
    x: np.ndarray,
    weight: np.ndarray,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> np.ndarray:
    """The definition: each input element spreads the kernel over the output."""
    n, c, h, w = x.shape
    o, kh, kw = weight.shape[1] * groups, *weight.shape[2:]
    full = np.zeros(
        (
            n,
            o,
            (h - 1) * stride[0] + dilation[0] * (kh - 1) + 1 + output_padding[0],
            (w - 1) * stride[1] + dilation[1] * (kw - 1) + 1 + output_padding[1],
        ),
        x.dtype,
    )
    for channel in range(c):
        group = channel // (c // groups)
        outs = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dilation[0], i * dilation[0] + (h - 1) * stride[0] + 1, stride[0])
                columns = slice(
                    j * dilation[1], j * dilation[1] + (w - 1) * stride[1] + 1, stride[1]
                )
                full[:, outs, rows, columns] += (
                    x[:, channel, None] * weight[channel, :, i, j][None, :, None, None]
                )
    return full[
        :, :, padding[0] : full.shape[2] - padding[0], padding[1] : full.shape[3] - padding[1]
    ]


def test_conv_transpose2d_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    pair = lambda low, high: tuple(map(int, rng.integers(low, high + 1, 2)))  # noqa: E731
    checked = 0
    while checked < 150:
        stride, dilation, padding, output_padding = pair(1, 4), pair(1, 4), pair(0, 3), pair(0, 3)
        groups = int(rng.integers(1, 4))
        c, o = groups * int(rng.integers(1, 9)), int(rng.integers(1, 9))
        x, weight = integers(rng, 2, c, *pair(1, 7)), integers(rng, c, o, *pair(1, 4))
        if any(
            extra >= max(s, d) for extra, s, d in zip(output_padding, stride, dilation, strict=True)
        ):
            continue
        expected = transposed(x, weight, stride, padding, output_padding, groups, dilation)
        if 0 in expected.shape or any(
            2 * p >= n + 2 * p for p, n in zip(padding, expected.shape[2:], strict=True)
        ):
            continue
        checked += 1
        bias = integers(rng, o * groups)
        y = fastconv.conv_transpose2d(
            x, weight, bias, stride, padding, output_padding, groups, dilation
        )
        np.testing.assert_allclose(y, expected + bias[:, None, None], rtol=0, atol=1e-3)
        out = np.empty(y.shape[::-1], np.float32).T
        fastconv.conv_transpose2d(
            x,
            weight,
            bias,
            stride,
            padding,
            output_padding,
            groups,
            dilation,
            activation="relu",
            out=out,
        )
        np.testing.assert_array_equal(out, np.maximum(y, 0))


def test_conv_transpose2d_with_output_of_the_inputs_size_but_shifted() -> None:
    rng = np.random.default_rng(0)
    x, weight = integers(rng, 1, 4, 6, 40), integers(rng, 4, 3, 1, 1)
    y = fastconv.conv_transpose2d(x, weight, padding=(1, 0), output_padding=(2, 0), dilation=4)
    expected = transposed(x, weight, (1, 1), (1, 0), (2, 0), 1, (4, 4))
    assert y.shape[2:] == x.shape[2:]
    np.testing.assert_array_equal(y, expected)


def test_conv_transpose2d_with_a_stride_far_beyond_the_kernel() -> None:
    x, weight = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32)
    y = fastconv.conv_transpose2d(x, weight, np.float32([5]), stride=700, activation="relu6")
    assert y.shape == (1, 1, 1402, 1402)
    assert np.count_nonzero(y == 6) == 36
    assert np.count_nonzero(y == 5) == y.size - 36


@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise_separable_is_both_convolutions(multiplier: int) -> None:
    rng = np.random.default_rng(0)
    x, depthwise = integers(rng, 2, 5, 9, 8), integers(rng, 5 * multiplier, 1, 3, 3)
    pointwise = integers(rng, 7, 5 * multiplier, 1, 1)
    biases = integers(rng, 5 * multiplier), integers(rng, 7)
    geometry = {"stride": 2, "padding": ((1, 0), (1, 1)), "dilation": 2}
    hidden = fastconv.conv2d(
        x, depthwise, biases[0], groups=5, activation="relu6", algorithm="reference", **geometry
    )
    expected = fastconv.conv2d(
        hidden, pointwise, biases[1], activation="relu", algorithm="reference"
    )
    out = np.empty_like(expected)
    y = fastconv.depthwise_separable_conv2d(
        x,
        depthwise,
        pointwise,
        *biases,
        **geometry,
        depthwise_activation="relu6",
        activation="relu",
        out=out,
    )
    assert y is out
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (7, 5), (2, 3, 5), (2, 0, 5), (70, 700)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear(shape: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for features in (1, 3, 40):
        x, weight = (
            integers(rng, *shape, dtype=dtype),
            integers(rng, features, shape[-1], dtype=dtype),
        )
        bias = integers(rng, features, dtype=dtype)
        expected = x @ weight.T + bias
        residual = integers(rng, *expected.shape, dtype=dtype)
        np.testing.assert_array_equal(fastconv.linear(x, weight, bias), expected)
        y = fastconv.linear(
            x[..., ::-1], weight[:, ::-1], bias, residual=residual, activation="relu"
        )
        np.testing.assert_array_equal(y, np.maximum(expected + residual, 0))
        out = residual.copy()
        assert fastconv.linear(x, weight, bias, residual=out, out=out) is out
        np.testing.assert_array_equal(out, expected + residual)
        reversed_out = np.empty_like(expected)[..., ::-1]
        assert fastconv.linear(x, weight, bias, out=reversed_out) is reversed_out
        np.testing.assert_array_equal(reversed_out, expected)


# ---- Bits ----

DETERMINISM = [
    ((5, 33, 17, 15), (40, 33, 3, 3), {"padding": 1}),
    ((5, 33, 17, 15), (40, 33, 3, 3), {"padding": 1, "stride": 2}),
    ((5, 40, 20, 20), (24, 40, 1, 1), {}),
    ((5, 600, 1, 1), (24, 600, 1, 1), {}),
    ((5, 20, 15, 20), (20, 1, 5, 5), {"groups": 20, "padding": 2}),
    ((5, 24, 9, 9), (36, 8, 3, 3), {"groups": 3}),
    ((5, 3, 40, 40), (20, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((5, 70, 7, 7), (4, 70, 3, 3), {"padding": 1}),
]


@pytest.mark.parametrize(("x_shape", "weight_shape", "options"), DETERMINISM)
def test_bits_do_not_depend_on_threads_or_batch(
    x_shape: Any, weight_shape: Any, options: Any
) -> None:
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, weight_shape))
    for accuracy in ("exact", "fast"):
        for algorithm in served(x, weight, accuracy=accuracy, **options):
            chosen = {"algorithm": algorithm, "accuracy": accuracy, "activation": "gelu", **options}

            def run(images: np.ndarray, threads: int, chosen: Any = chosen) -> np.ndarray:
                with fastconv.num_threads(threads):
                    return fastconv.conv2d(images, weight, **chosen)

            y = run(x, 1)
            for threads in (2, 5):
                np.testing.assert_array_equal(run(x, threads), y, err_msg=f"{algorithm}, {threads}")
            if accuracy == "fast":
                continue
            for begin, end in pairwise((0, 1, 3, 5)):
                part = run(x[begin:end], 2)
                np.testing.assert_array_equal(part, y[begin:end], err_msg=algorithm)
            np.testing.assert_array_equal(run(x[4], 2), y[4], err_msg=algorithm)


def test_references_are_not_kept() -> None:
    x, weight = np.ones((1, 3, 90, 90), np.float32), np.ones((4, 3, 3, 3), np.float32)
    out = np.empty((1, 4, 88, 88), np.float32)
    fastconv.conv2d(x, weight, out=out)
    before = [sys.getrefcount(array) for array in (x, weight, out)]
    for _ in range(10):
        fastconv.conv2d(x, weight, out=out)
    assert [sys.getrefcount(array) for array in (x, weight, out)] == before
