"""Convolutions and linear layers against torch in float64."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import fastconv
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import differential as diff

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's test modules use what NumPy and Python deprecate
    from torch.testing._internal.common_methods_invocations import op_db

pytestmark = pytest.mark.oracle

F = torch.nn.functional
CONFIG = fastconv.show_config("dict")
OTHER_ISAS = [isa for isa in CONFIG["isa_found"] if isa != CONFIG["isa"]]
CHUNKS = range(4)  # of random cases for each of the other ops
CASES = 100  # in a chunk

# ---- conv2d: 3,000 random cases here, 1,000 on every other instruction set ----


@pytest.mark.parametrize("seed", range(30))
def test_conv2d(seed: int) -> None:
    failures = diff.run(CASES, seed)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("isa", OTHER_ISAS)
@pytest.mark.parametrize("chunk", range(2))
def test_conv2d_on_other_instruction_sets(isa: str, chunk: int) -> None:
    seed = 1000 + 10 * CONFIG["isa_found"].index(isa) + chunk
    done = subprocess.run(
        [sys.executable, diff.__file__, "500", str(seed)],
        env={**os.environ, "FASTCONV_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == [isa]  # the forced one ran, and found nothing


# ---- torch's own samples ----

OPINFO = {op.name: op for op in op_db}
OPS = {
    "nn.functional.conv1d": fastconv.conv1d,
    "nn.functional.conv2d": fastconv.conv2d,
    "nn.functional.conv_transpose2d": fastconv.conv_transpose2d,
    "nn.functional.linear": fastconv.linear,
}


def to_numpy(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def absolute(value: Any) -> Any:
    return value.abs() if isinstance(value, torch.Tensor) else value


def to_double(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) else value


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torchs_sample_inputs(name: str, dtype: torch.dtype) -> None:
    op = OPINFO[name]
    samples = list(op.sample_inputs("cpu", dtype))
    assert len(samples) >= 10
    for sample in samples:
        arguments = [sample.input, *sample.args]
        exact = op.op(*map(to_double, arguments), **sample.kwargs)
        magnitude = op.op(*(absolute(to_double(a)) for a in arguments), **sample.kwargs)
        y = OPS[name](*map(to_numpy, arguments), **sample.kwargs)
        assert y.shape == tuple(exact.shape)
        assert y.dtype == to_numpy(sample.input).dtype
        error = np.abs(y - exact.numpy())
        scale = 1 if dtype == torch.float32 else 2.0**-29
        assert np.all(
            error <= diff.DEFAULT_BOUND * scale * magnitude.max().item() if y.size else True
        )


@pytest.mark.parametrize("name", [name for name in OPS if OPINFO[name].error_inputs_func])
def test_torchs_error_inputs(name: str) -> None:
    errors = list(OPINFO[name].error_inputs("cpu"))
    assert len(errors) >= 10
    for error in errors:
        sample = error.sample_input
        with pytest.raises((TypeError, ValueError)) as raised:
            OPS[name](*map(to_numpy, [sample.input, *sample.args]), **sample.kwargs)
        assert len(str(raised.value)) > 20


# What fastconv takes and torch.nn.functional.conv2d refuses.
EXTENSIONS = {
    "strided same": {"padding": "same", "stride": 2},
    "strided same, dilated": {"padding": "same", "stride": (2, 3), "dilation": 2},
    "four sides": {"padding": ((1, 0), (2, 3))},
}


@pytest.mark.parametrize("options", EXTENSIONS.values(), ids=EXTENSIONS)
def test_extensions_of_torch(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 5, 11, 12)), rng.standard_normal((6, 5, 3, 4))
    with pytest.raises((RuntimeError, TypeError)):
        F.conv2d(diff.double(x), diff.double(weight), **options)
    stride, dilation = (
        np.broadcast_to(options.get(k, 1), 2).tolist() for k in ("stride", "dilation")
    )
    sides = options["padding"]
    if sides == "same":
        sides = [
            diff.same(size, kernel, s, d)
            for size, kernel, s, d in zip((11, 12), (3, 4), stride, dilation, strict=True)
        ]
    padded = F.pad(diff.double(x), (*sides[1], *sides[0]))
    expected = F.conv2d(padded, diff.double(weight), stride=stride, dilation=dilation)
    y = fastconv.conv2d(x, weight, **options)
    np.testing.assert_allclose(y, expected.numpy(), rtol=0, atol=1e-12)


# ---- The other ops on random arguments ----


class Draw:
    """What random cases are made of."""

    def __init__(self, op: str, chunk: int) -> None:
        self.rng = np.random.default_rng([len(op), *op.encode(), chunk])
        self.reset()

    def reset(self) -> None:
        self.integers = bool(self.rng.random() < 0.4)
        self.dtype = self.pick(np.float32, np.float64)

    def pick(self, *values: Any) -> Any:
        return values[self.rng.integers(0, len(values))]

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pair(self, low: int, high: int) -> tuple[int, int]:
        return self.between(low, high), self.between(low, high)

    def channels(self) -> int:
        return int(self.pick(1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33))

    def array(self, *shape: int) -> np.ndarray:
        if self.integers:
            return self.rng.integers(-3, 4, shape).astype(self.dtype)
        return self.rng.standard_normal(shape).astype(self.dtype)

    def view(self, *shape: int) -> np.ndarray:
        """As `array`, with one of many layouts; of 2 to 4 dimensions."""
        padded = (1,) * (4 - len(shape)) + shape
        return diff.view(self.rng, self.array, padded).reshape(shape)

    def maybe(self, *shape: int) -> np.ndarray | None:
        return self.view(*shape) if self.rng.random() < 0.5 else None

    def activation(self) -> str | None:
        return self.pick(None, None, "relu", *diff.ACTIVATIONS)  # type: ignore[no-any-return]

    def out(self, shape: tuple[int, ...]) -> np.ndarray | None:
        if self.rng.random() < 0.6:
            return None
        out = np.empty(tuple(2 * n for n in shape), self.dtype)
        parts = (self.pick(slice(n), slice(None, None, 2), slice(None, None, -2)) for n in shape)
        return np.asarray(out[tuple(parts)])


def as_double(array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else diff.double(array)


def vector(draw: Draw, length: int) -> np.ndarray | None:
    return draw.array(2 * length)[::2] if draw.rng.random() < 0.5 else None


def check(
    y: np.ndarray,
    out: np.ndarray | None,
    exact: Any,
    magnitude: Any,
    draw: Draw,
    activation: Any,
    what: Any,
) -> None:
    """As `diff.mismatch`; sums of integers are exact."""
    wrong = diff.mismatch(
        y, exact, magnitude, dtype=draw.dtype, activation=activation, exactly=draw.integers
    )
    assert wrong is None, f"{wrong}: {what}"
    assert out is None or y is out


@pytest.mark.parametrize("chunk", CHUNKS)
def test_conv1d(chunk: int) -> None:
    draw = Draw("conv1d", chunk)
    for _ in range(CASES):
        draw.reset()
        groups = draw.pick(1, 1, 2, 3)
        c, o = draw.channels() * groups, draw.channels() * groups
        kernel, stride, dilation = draw.between(1, 7), draw.between(1, 3), draw.between(1, 3)
        window = (kernel - 1) * dilation + 1
        length = draw.between(1, 80)
        padding = draw.pick(
            "same", "valid", draw.between(0, 5), ((draw.between(0, 4), draw.between(0, 4)),)
        )
        if padding == "same":
            sides = diff.same(length, kernel, stride, dilation)
        else:
            sides = {int: (padding,) * 2, tuple: np.ravel(padding), str: (0, 0)}[type(padding)]
            length = max(length, window - sum(sides))
        single = draw.rng.random() < 0.2
        x, weight = (
            draw.view(*(() if single else (2,)), c, length),
            draw.view(o, c // groups, kernel),
        )
        bias = vector(draw, o)
        padded = F.pad(diff.double(x), tuple(int(side) for side in sides))
        native = {"stride": stride, "dilation": dilation, "groups": groups}
        exact = F.conv1d(padded, diff.double(weight), **native)
        magnitude = F.conv1d(padded.abs(), diff.double(weight).abs(), **native)
        residual, out, activation = (
            draw.maybe(*exact.shape),
            draw.out(tuple(exact.shape)),
            draw.activation(),
        )
        algorithm = draw.pick("auto", "im2col", "direct")
        y = fastconv.conv1d(
            x, weight, bias, padding=padding, residual=residual, activation=activation, out=out,
            algorithm=algorithm, accuracy="exact", **native,
        )  # fmt: skip
        if single:  # the channel axis is the second one for `check`
            exact, magnitude, y, out = exact[None], magnitude[None], y[None], None
            residual = None if residual is None else residual[None]
        exact, magnitude = diff.with_terms(exact, magnitude, bias, residual)
        check(
            y,
            out,
            exact,
            magnitude,
            draw,
            activation,
            (x.shape, weight.shape, padding, native, algorithm),
        )


@pytest.mark.parametrize("chunk", CHUNKS)
def test_conv_transpose2d(chunk: int) -> None:
    draw = Draw("conv_transpose2d", chunk)
    done = 0
    while done < CASES:
        draw.reset()
        groups = draw.pick(1, 1, 2, 3)
        c, o = draw.channels() * groups, draw.channels()
        stride, dilation, kernel = draw.pair(1, 4), draw.pair(1, 4), draw.pair(1, 5)
        padding = draw.pair(0, 4)
        extra = tuple(draw.between(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
        size = draw.pair(1, 12)
        result = [
            (n - 1) * s - 2 * p + d * (k - 1) + e + 1
            for n, s, p, d, k, e in zip(size, stride, padding, dilation, kernel, extra, strict=True)
        ]
        if min(result) < 1:
            continue
        done += 1
        x, weight = draw.view(draw.between(1, 2), c, *size), draw.view(c, o, *kernel)
        bias, activation = vector(draw, o * groups), draw.activation()
        options = {
            "stride": stride,
            "padding": padding,
            "output_padding": extra,
            "groups": groups,
            "dilation": dilation,
        }
        xd, wd = diff.double(x), diff.double(weight)
        exact = F.conv_transpose2d(xd, wd, **options)
        magnitude = F.conv_transpose2d(xd.abs(), wd.abs(), **options)
        out = draw.out(tuple(exact.shape))
        y = fastconv.conv_transpose2d(x, weight, bias, activation=activation, out=out, **options)
        exact, magnitude = diff.with_terms(exact, magnitude, bias)
        # Winograd may serve a phase of the stride: then integers are not exact.
        wrong = diff.mismatch(y, exact, magnitude, dtype=draw.dtype, activation=activation)
        assert wrong is None, f"{wrong}: {x.shape}, {weight.shape}, {options}"
        assert out is None or y is out
        single = fastconv.conv_transpose2d(x[0], weight, bias, activation=activation, **options)
        np.testing.assert_array_equal(
            single,
            fastconv.conv_transpose2d(x[:1], weight, bias, activation=activation, **options)[0],
        )


@pytest.mark.parametrize("chunk", CHUNKS)
def test_linear(chunk: int) -> None:
    draw = Draw("linear", chunk)
    for _ in range(CASES):
        draw.reset()
        inputs, outputs = (
            draw.pick(draw.channels(), 100, 700, 1025),
            draw.pick(draw.channels(), 100, 1000),
        )
        samples = draw.pick(1, 2, 3, 15, 64, 70)
        x, weight = draw.view(samples, inputs), draw.view(outputs, inputs)
        bias, residual, activation = (
            vector(draw, outputs),
            draw.maybe(samples, outputs),
            draw.activation(),
        )
        out = draw.out((samples, outputs))
        y = fastconv.linear(x, weight, bias, activation=activation, residual=residual, out=out)
        xd, wd = diff.double(x), diff.double(weight)
        exact, magnitude = xd @ wd.T, xd.abs() @ wd.abs().T
        if bias is not None:
            exact, magnitude = exact + diff.double(bias), magnitude + diff.double(bias).abs()
        exact, magnitude = diff.with_terms(exact, magnitude, residual)
        check(y, out, exact, magnitude, draw, activation, (x.shape, weight.shape))
        whole = fastconv.linear(
            x.reshape(1, samples, 1, inputs), weight, bias, activation=activation
        )
        assert whole.shape == (1, samples, 1, outputs)
        if samples == 1:
            assert fastconv.linear(x[0], weight, bias).shape == (outputs,)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_depthwise_separable_conv2d(chunk: int) -> None:
    draw = Draw("depthwise_separable_conv2d", chunk)
    for _ in range(CASES):
        draw.reset()
        c, multiplier, o = draw.channels(), draw.pick(1, 1, 2, 3), draw.channels()
        kernel, stride, dilation = draw.pair(1, 5), draw.pair(1, 2), draw.pair(1, 2)
        padding = draw.pair(0, 3)
        size = [
            max(draw.between(1, 20), (k - 1) * d + 1 - 2 * p)
            for k, d, p in zip(kernel, dilation, padding, strict=True)
        ]
        x, depthwise = draw.view(2, c, *size), draw.view(c * multiplier, 1, *kernel)
        pointwise = draw.view(o, c * multiplier, 1, 1)
        biases = vector(draw, c * multiplier), vector(draw, o)
        inner, activation = draw.pick(None, "relu", "relu6"), draw.activation()
        options = {"stride": stride, "padding": padding, "dilation": dilation}

        def twice(transform: Any, between: Any) -> torch.Tensor:
            first = F.conv2d(
                transform(diff.double(x)), transform(diff.double(depthwise)),  # noqa: B023
                None if biases[0] is None else transform(diff.double(biases[0])),  # noqa: B023
                groups=c, **options,  # noqa: B023
            )  # fmt: skip
            return F.conv2d(
                between(first), transform(diff.double(pointwise)),  # noqa: B023
                None if biases[1] is None else transform(diff.double(biases[1])),  # noqa: B023
            )  # fmt: skip

        exact = twice(lambda t: t, diff.ACTIVATIONS[inner])
        magnitude = 2 * twice(torch.abs, lambda t: t)  # the errors of both convolutions
        out = draw.out(tuple(exact.shape))
        y = fastconv.depthwise_separable_conv2d(
            x,
            depthwise,
            pointwise,
            *biases,
            depthwise_activation=inner,
            activation=activation,
            out=out,
            **options,
        )
        check(
            y,
            out,
            exact,
            magnitude,
            draw,
            activation,
            (x.shape, depthwise.shape, pointwise.shape, options),
        )


def prepared(
    x: np.ndarray, weight: np.ndarray, bias: Any, *, residual: Any, out: Any, **options: Any
) -> np.ndarray:
    """As `fastconv.conv2d`, by three calls of a prepared convolution."""
    conv = fastconv.prepare_conv2d(weight, bias, **options)
    y = conv(x, residual, out)
    kept = y.copy()
    single = conv(x[-1], None if residual is None else residual[-1])
    assert single.shape == y.shape[1:]
    if options["accuracy"] == "exact":
        np.testing.assert_array_equal(single, y[-1])
    ahead = fastconv.prepare_conv2d(weight, bias, **options, input_shape=x.shape)
    np.testing.assert_array_equal(ahead(x, residual), kept)
    return y


@pytest.mark.parametrize("chunk", CHUNKS)
def test_prepare_conv2d(chunk: int) -> None:
    rng = np.random.default_rng(100 + chunk)
    for _ in range(CASES):
        failures = diff.check_case(diff.make_case(rng), prepared)
        assert not failures, "\n".join(failures)


def _half_types() -> list[Any]:
    if importlib.util.find_spec("ml_dtypes") is None:
        return [np.float16]
    import ml_dtypes

    return [np.float16, ml_dtypes.bfloat16]


@pytest.mark.parametrize("dtype", _half_types())
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype: Any) -> None:
    rng = np.random.default_rng(7)
    for _ in range(100):
        case = diff.make_case(rng)
        arrays = [
            None if a is None else np.array(a, np.float32).astype(dtype)
            for a in (case.x, case.weight, case.bias, case.residual)
        ]
        single = [None if a is None else a.astype(np.float32) for a in arrays]
        y = fastconv.conv2d(*arrays[:3], residual=arrays[3], **case.options)
        expected = fastconv.conv2d(*single[:3], residual=single[3], **case.options)
        assert y.dtype == dtype
        np.testing.assert_array_equal(
            y.astype(np.float32), expected.astype(dtype).astype(np.float32)
        )
        out = np.empty(y.shape[::-1], dtype).T
        fastconv.conv2d(*arrays[:3], residual=arrays[3], out=out, **case.options)
        np.testing.assert_array_equal(out.astype(np.float32), y.astype(np.float32))
