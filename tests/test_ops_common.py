"""What holds for all operators but convolutions: arrays taken, `out`, dtypes, threads, ISAs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastconv
import numpy as np
import pytest

C = 20


def parameters(dtype: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.linspace(low, 2, C).astype(dtype) for low in (-1, 0.5, 0.1, -2))


# Each operator as a function of one array of shape (2, 20, 12, 33) and of `out`.
OPS: dict[str, Callable[..., Any]] = {
    "relu": fastconv.relu,
    "relu6": fastconv.relu6,
    "leaky_relu": fastconv.leaky_relu,
    "gelu": fastconv.gelu,
    "silu": fastconv.silu,
    "hardswish": fastconv.hardswish,
    "hardsigmoid": fastconv.hardsigmoid,
    "mish": fastconv.mish,
    "sigmoid": fastconv.sigmoid,
    "tanh": fastconv.tanh,
    "softmax": fastconv.softmax,
    "softmax_channels": lambda x, out=None: fastconv.softmax(x, 1, out=out),
    "log_softmax": lambda x, out=None: fastconv.log_softmax(x, 1, out=out),
    "max_pool2d": lambda x, out=None: fastconv.max_pool2d(x, 3, 2, 1, out=out),
    "avg_pool2d": lambda x, out=None: fastconv.avg_pool2d(x, 3, 2, 1, out=out),
    "adaptive_avg_pool2d": lambda x, out=None: fastconv.adaptive_avg_pool2d(x, (5, 7), out=out),
    "adaptive_max_pool2d": lambda x, out=None: fastconv.adaptive_max_pool2d(x, (5, 7), out=out),
    "global_avg_pool2d": fastconv.global_avg_pool2d,
    "interpolate": lambda x, out=None: fastconv.interpolate(x, (17, 40), out=out),
    "bilinear": lambda x, out=None: fastconv.interpolate(x, (17, 40), mode="bilinear", out=out),
    "bicubic": lambda x, out=None: fastconv.interpolate(x, (17, 40), mode="bicubic", out=out),
    "batch_norm": lambda x, out=None: fastconv.batch_norm(x, *parameters(x.dtype), out=out),
    "layer_norm": lambda x, out=None: fastconv.layer_norm(x, x.shape[-1], out=out),
    "group_norm": lambda x, out=None: fastconv.group_norm(x, 4, out=out),
    "local_response_norm": lambda x, out=None: fastconv.local_response_norm(x, 5, out=out),
    "add": lambda x, out=None: fastconv.add(x, 1.5, out=out),
    "multiply": lambda x, out=None: fastconv.multiply(1.5, x, out=out),
    "mean": lambda x, out=None: fastconv.mean(x, (1, 3), out=out),
    "sum": lambda x, out=None: fastconv.sum(x, (1, 3), out=out),
    "prod": lambda x, out=None: fastconv.prod(x, 1, out=out),
    "max": lambda x, out=None: fastconv.max(x, (1, 2), True, out=out),
    "min": lambda x, out=None: fastconv.min(x, -1, out=out),
    "norm": lambda x, out=None: fastconv.norm(x, 3, (2, 3), out=out),
    "cumsum": lambda x, out=None: fastconv.cumsum(x, 2, out=out),
    "pad": lambda x, out=None: fastconv.pad(x, (1, 2, 3, 4), "reflect", out=out),
    "concat": lambda x, out=None: fastconv.concat([x, x], 1, out=out),
    "flatten": lambda x, out=None: fastconv.flatten(x, 1, out=out),
    "reshape": lambda x, out=None: fastconv.reshape(x, (-1, 33), out=out),
    "permute": lambda x, out=None: fastconv.permute(x, (0, 2, 3, 1), out=out),
    "channel_shuffle": lambda x, out=None: fastconv.channel_shuffle(x, 4, out=out),
    "pixel_shuffle": lambda x, out=None: fastconv.pixel_shuffle(x, 2, out=out),
    "pixel_unshuffle": lambda x, out=None: fastconv.pixel_unshuffle(
        x, math.gcd(*x.shape[2:]), out=out
    ),
    "depth_to_space": lambda x, out=None: fastconv.depth_to_space(x, 2, out=out),
    "space_to_depth": lambda x, out=None: fastconv.space_to_depth(
        x, math.gcd(*x.shape[2:]), out=out
    ),
    "take": lambda x, out=None: fastconv.take(x, [3, -1, 3, 0], 1, out=out),
    "scatter_add": lambda x, out=None: fastconv.scatter_add(
        x, np.arange(C) ** 2 % C, x, 1, out=out
    ),
    "expand": lambda x, out=None: fastconv.expand(x, (-1, C, *x.shape[2:]), out=out),
    "tile": lambda x, out=None: fastconv.tile(x, (2, 1, 3), out=out),
    "squeeze": lambda x, out=None: fastconv.squeeze(x, (), out=out),
    "expand_dims": lambda x, out=None: fastconv.expand_dims(x, (2, -1), out=out),
    "unsqueeze": lambda x, out=None: fastconv.unsqueeze(x, 1, out=out),
    "flip": lambda x, out=None: fastconv.flip(x, (1, 3), out=out),
    "stack": lambda x, out=None: fastconv.stack([x, x], 1, out=out),
    "roll": lambda x, out=None: fastconv.roll(x, (5, -40), (1, 3), out=out),
}
INPLACE = {
    *("relu", "relu6", "leaky_relu", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid"),
    *("tanh", "mish", "add", "multiply", "batch_norm", "layer_norm"),
    "group_norm",
}

each_op = pytest.mark.parametrize("name", sorted(OPS))


@pytest.fixture
def x(dtype: Any, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(2, C, 12, 33)).astype(dtype)


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a, b, strict=True)


@each_op
def test_any_array_gives_the_same_bits(name: str, x: np.ndarray) -> None:
    op = OPS[name]
    expected = op(x)
    padded = np.zeros((4, C + 1, 24, 70), x.dtype)
    window = padded[1:3, :C, ::2, 2:68:2]
    window[...] = x
    raw = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for array in (
        np.asfortranarray(x),
        window,
        unaligned,
        read_only,
        channels_last,
        np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1],
        x.astype(x.dtype.newbyteorder()),
    ):
        y = op(array)
        same(y, expected)
        assert y.flags.c_contiguous
    same(op(np.broadcast_to(x[:1], x.shape)), op(np.repeat(x[:1], 2, 0)))
    assert expected.dtype == x.dtype
    assert expected.dtype.isnative


@each_op
def test_other_containers(name: str, x: np.ndarray, tmp_path: Path) -> None:
    class Wrapped:
        dtype = x.dtype
        shape = x.shape

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return x

    class Exported:
        dtype = x.dtype
        shape = x.shape

        def __dlpack__(self, **kwargs: Any) -> Any:
            return x.__dlpack__(**kwargs)

        def __dlpack_device__(self) -> Any:
            return x.__dlpack_device__()

    expected = OPS[name](x)
    same(OPS[name](Wrapped()), expected)
    same(OPS[name](Exported()), expected)
    mapped = np.memmap(tmp_path / "x", x.dtype, "w+", shape=x.shape)
    mapped[...] = x
    same(np.asarray(OPS[name](mapped)), expected)


@each_op
def test_out(name: str, x: np.ndarray) -> None:
    op = OPS[name]
    expected = op(x)
    out = np.full_like(expected, 7)
    assert op(x, out=out) is out
    same(out, expected)
    strided = np.full((*expected.shape, 2), 7, x.dtype)
    op(x, out=strided[..., 0])
    same(strided[..., 0].copy(), expected)
    assert (strided[..., 1] == 7).all()
    swapped = np.empty(expected.shape, x.dtype.newbyteorder())
    with pytest.raises(TypeError, match="out must be"):
        op(x, out=swapped)
    with pytest.raises(TypeError, match="out must be"):
        op(x, out=expected.astype(np.float16))
    with pytest.raises(TypeError, match=r"out must be a numpy\.ndarray"):
        op(x, out=expected.tolist())
    with pytest.raises(ValueError, match="out must have shape"):
        op(x, out=np.empty((*expected.shape, 1), x.dtype))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        op(x, out=out)
    one = np.empty(1, x.dtype)
    repeated = np.lib.stride_tricks.as_strided(one, expected.shape, (0,) * expected.ndim)
    if expected.size > 1:
        with pytest.raises(ValueError, match="share memory"):
            op(x, out=repeated)


@each_op
def test_out_and_x_in_the_same_memory(name: str, x: np.ndarray) -> None:
    op = OPS[name]
    expected = op(x)
    memory = np.zeros(x.size + expected.size, x.dtype)
    source = memory[: x.size].reshape(x.shape)
    source[...] = x
    target = memory[x.size - 1 : x.size - 1 + expected.size].reshape(expected.shape)
    with pytest.raises(ValueError, match="out overlaps"):
        op(source, out=target)
    same(source, x)
    if name in INPLACE:
        assert op(source, out=source) is source
        same(source, expected)
        transposed = np.asfortranarray(x)
        op(transposed, out=transposed)
        same(np.ascontiguousarray(transposed), expected)
    elif expected.shape == x.shape:
        with pytest.raises(ValueError, match="out overlaps"):
            op(source, out=source)


@each_op
@pytest.mark.parametrize("other", [np.int32, np.uint8, np.bool_, np.complex64, object, "<U3"])
def test_other_dtypes_are_refused(name: str, other: Any) -> None:
    with pytest.raises(TypeError, match="must be float32 or float64"):
        OPS[name](np.ones((2, C, 12, 33), other))


@each_op
def test_float16_is_computed_in_float32_and_rounded_once(
    name: str, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(2, C, 12, 33)).astype(np.float16)
    if name == "batch_norm":
        half = parameters(np.float16)
        y = fastconv.batch_norm(x, *half)
        wide = fastconv.batch_norm(x.astype(np.float32), *(p.astype(np.float32) for p in half))
    else:
        y, wide = OPS[name](x), OPS[name](x.astype(np.float32))
    same(y, wide.astype(np.float16))
    out = np.empty_like(y)
    if name != "batch_norm":
        OPS[name](x, out=out)
        same(out, y)


@each_op
def test_bits_do_not_depend_on_threads(name: str, rng: np.random.Generator) -> None:
    for dtype in (np.float32, np.float64):
        x = rng.normal(size=(3, C, 64, 66)).astype(dtype)
        results = []
        for threads in (1, 2, 5):
            with fastconv.num_threads(threads):
                results.append(OPS[name](x))
        same(results[1], results[0])
        same(results[2], results[0])


@pytest.mark.parametrize("name", sorted(OPS.keys() - {"reshape"}))  # which joins the images
def test_bits_do_not_depend_on_the_batch(name: str, x: np.ndarray) -> None:
    y = OPS[name](x)
    for i in range(2):
        same(OPS[name](x[i : i + 1]), y[i : i + 1])


@pytest.mark.parametrize("name", sorted(OPS.keys() - {"stack", "roll"}))  # which are several
def test_symbolic_values_are_recorded(name: str) -> None:
    calls: list[tuple[str, Any, Any]] = []

    class Symbol:
        shape, ndim, dtype = (2, C, 12, 33), 4, np.dtype(np.float32)

        def __fastconv_record__(self, op: str, inputs: Any, attributes: Any) -> Symbol:
            calls.append((op, inputs, attributes))
            return Symbol()

    symbol = Symbol()
    assert isinstance(OPS[name](symbol), Symbol)
    ((op, inputs, attributes),) = calls
    assert any(value is symbol for value in inputs)
    expected = {
        "softmax_channels": "softmax",
        "global_avg_pool2d": "adaptive_avg_pool2d",
        "bilinear": "interpolate",
        "bicubic": "interpolate",
        **dict.fromkeys(("flatten", "squeeze", "expand_dims", "unsqueeze"), "reshape"),
        "flip": "slice",
        "expand": "tile",
        "depth_to_space": "pixel_shuffle",
        "space_to_depth": "pixel_unshuffle",
    }
    assert op == ("activation" if "kind" in attributes else expected.get(name, name))
    if op in ("softmax", "log_softmax"):
        assert attributes == {"axis": 3 if name == "softmax" else 1}
    with pytest.raises(TypeError, match="symbolic"):
        OPS[name](symbol, out=np.empty(3))


def test_every_isa_passes_these_tests(isa: str, run_python: Callable[..., str]) -> None:
    here = Path(__file__).parent
    used = run_python(
        "-c", "import fastconv; print(fastconv.show_config('dict')['isa'])", FASTCONV_ISA=isa
    )
    assert used.strip() == isa
    if os.environ.get("FASTCONV_ISA") or isa == fastconv.show_config("dict")["isa"]:
        return  # this very run covers it
    names = ("activation", "common", "matmul", "moves", "norm", "pointwise", "pool", "shape")
    files = [
        *(str(here / f"test_ops_{name}.py") for name in names),
        str(here / "test_value_weights.py"),
    ]
    run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", *files, FASTCONV_ISA=isa)


def test_an_isa_that_is_unknown_is_an_import_error(run_python: Callable[..., str]) -> None:
    code = "\n".join(
        [
            "try:",
            "    import fastconv",
            "except ImportError as error:",
            "    print(error)",
        ]
    )
    assert "FASTCONV_ISA=sse9 cannot be used" in run_python("-c", code, FASTCONV_ISA="sse9")


def test_huge_sizes_are_value_errors() -> None:
    with pytest.raises(ValueError, match=r"address range|too (big|large)"):
        fastconv.interpolate(np.zeros((1, 1, 2, 2)), (2**40, 2**40))
    with pytest.raises(ValueError, match=r"address range|too (big|large)"):
        fastconv.adaptive_avg_pool2d(np.zeros((1, 1, 2, 2)), (2**39, 2**39))
    with pytest.raises(MemoryError):
        fastconv.adaptive_max_pool2d(np.zeros((1, 1, 2, 2)), (2**28, 2**28))
