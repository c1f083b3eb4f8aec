"""Random conv2d cases, each run by every algorithm that can serve it, against torch in float64.

Also a script: ``python differential.py COUNT SEED`` runs COUNT cases in this process, whose
instruction set ``FASTCONV_ISA`` may have forced, and exits with 1 after the first failures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fastconv
import numpy as np
import torch

F = torch.nn.functional

ACTIVATIONS = {
    None: lambda t: t,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda t: F.gelu(t, approximate="tanh"),
    "silu": F.silu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "mish": F.mish,
}
EXACT_ALGORITHMS = ("reference", "im2col", "direct", "depthwise")
ALGORITHMS = (
    *EXACT_ALGORITHMS, "strassen", "winograd2", "winograd4", "winograd6", "winograd", "auto",
)  # fmt: skip

# |y - y_exact| over max over the channel of (|x| * |w| + |bias| + |residual|), in float32; with
# Winograd's algorithm at all positions at which the window meets the image.
BOUND = {"winograd6": 2e-5}
DEFAULT_BOUND = 2e-6


@dataclass
class Case:
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    residual: np.ndarray | None
    options: dict[str, Any]
    explicit_padding: tuple[int, int, int, int]  # left, right, top, bottom, as torch's pad takes it
    integers: bool
    out: np.ndarray | None

    def __str__(self) -> str:
        return (
            f"x {self.x.shape} {self.x.strides} {self.x.dtype}, weight {self.weight.shape}, "
            f"bias {self.bias is not None}, residual {self.residual is not None}, "
            f"integers {self.integers}, "
            f"out {self.out is not None and self.out.strides}, {self.options}"
        )


def view(rng: np.random.Generator, draw: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An array of this shape with one of many layouts."""
    n, c, h, w = shape
    kind = rng.integers(0, 9)
    if kind == 1:
        return draw(n, h, w, c).transpose(0, 3, 1, 2)  # NHWC
    if kind == 2:
        return draw(n, c, h, 2 * w)[..., ::-2]
    if kind == 3:
        return np.broadcast_to(draw(1, c, 1, w), shape)
    if kind == 4:
        return np.asfortranarray(draw(n, c, h, w))
    if kind == 5:
        return draw(2 * n, c + 1, h + 2, w + 3)[::2, 1:, 1:-1, 2:-1]
    if kind == 6:
        return draw(n, c, w, h).transpose(0, 1, 3, 2)[:, ::-1]
    array = draw(n, c, h, w)
    if kind == 7:
        array.setflags(write=False)
    if kind == 8:
        array = array.astype(array.dtype.newbyteorder(">"))
    return array


def _out(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray | None:
    """Where to put a result of this shape: nowhere, or an array with one of many layouts."""
    n, c, h, w = shape
    kind = rng.integers(0, 8)
    if kind == 1:
        return np.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    if kind == 2:
        return np.empty((n, c, h, 2 * w), dtype)[..., ::-2]
    if kind == 3:
        return np.empty(shape, dtype, "F")
    if kind == 4:
        return np.empty((2 * n, c + 3, h + 1, w + 2), dtype)[::2, 3:, 1:, 1:-1]
    if kind == 5:
        return np.empty((n, c, w, h), dtype)[:, ::-1].transpose(0, 1, 3, 2)
    return None


def same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def make_case(rng: np.random.Generator) -> Case:
    pick = lambda *values: values[rng.integers(0, len(values))]  # noqa: E731
    between = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    channels = lambda: pick(1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 64, 65)  # noqa: E731
    kind = pick("any", "any", "3x3", "3x3", "1x1", "depthwise", "grouped", "long")
    groups, c, o = 1, channels(), channels()
    kernel = (between(1, 5), between(1, 5))
    if kind == "3x3":
        kernel = (3, 3)
    elif kind == "1x1":
        kernel = (1, 1)
    elif kind == "long":  # several parts of the reduction
        c, kernel = pick(130, 257, 600), pick((3, 3), (1, 1), (2, 3))
    elif kind == "depthwise":
        groups, o = c, c * pick(1, 1, 2, 3)
        kernel = (between(1, 7), between(1, 7))
    elif kind == "grouped":
        groups = between(2, 4)
        c, o = c * groups, o * groups
    stride = (between(1, 3), between(1, 3))
    dilation = (between(1, 3), between(1, 3))
    if kind == "3x3" or rng.random() < 0.3:
        stride = dilation = (1, 1)
    size = 12 if kind == "long" else 40
    window = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding: Any
    mode = pick("int", "pair", "sides", "sides", "same", "valid")
    h, w = (pick(1, 2, between(1, size), between(1, size), between(1, size)) for _ in range(2))
    if mode == "same":
        padding = "same"
        top, bottom = same(h, kernel[0], stride[0], dilation[0])
        left, right = same(w, kernel[1], stride[1], dilation[1])
    else:
        top, bottom, left, right = (pick(0, 0, between(0, 4)) for _ in range(4))
        if mode == "valid":
            padding, top, bottom, left, right = "valid", 0, 0, 0, 0
        elif mode == "int":
            padding = bottom = left = right = top
        elif mode == "pair":
            padding, bottom, right = (top, left), top, left
        else:
            padding = ((top, bottom), (left, right))
        h, w = max(h, window[0] - top - bottom), max(w, window[1] - left - right)

    integers = bool(rng.random() < 0.4)
    dtype = pick(np.float32, np.float64)

    def draw(*shape: int) -> np.ndarray:
        if integers:
            return rng.integers(-3, 4, shape).astype(dtype)
        return rng.standard_normal(shape).astype(dtype)

    x = view(rng, draw, (pick(1, 1, 2, 3), c, h, w))
    weight = view(rng, draw, (o, c // groups, *kernel))
    bias = draw(2 * o)[::2] if rng.random() < 0.5 else None
    out_h = (h + top + bottom - window[0]) // stride[0] + 1
    out_w = (w + left + right - window[1]) // stride[1] + 1
    residual = view(rng, draw, (x.shape[0], o, out_h, out_w)) if rng.random() < 0.3 else None
    activation = pick(None, None, "relu", *ACTIVATIONS)
    options = {
        "stride": stride if rng.random() < 0.8 or stride[0] != stride[1] else stride[0],
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "activation": activation,
        "accuracy": pick("fast", "fast", "exact"),
    }
    out = _out(rng, (x.shape[0], o, out_h, out_w), dtype)
    return Case(x, weight, bias, residual, options, (left, right, top, bottom), integers, out)


def double(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64, order="C"))


def with_terms(
    exact: torch.Tensor, magnitude: torch.Tensor, *terms: np.ndarray | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bias and residual added to a result and to its magnitude."""
    for term in terms:
        if term is not None:
            value = double(term)
            if value.ndim == 1 and exact.ndim > 2:  # a bias, along the second axis
                value = value.reshape(-1, *[1] * (exact.ndim - 2))
            exact, magnitude = exact + value, magnitude + value.abs()
    return exact, magnitude


def mismatch(
    y: np.ndarray,
    exact: torch.Tensor,
    magnitude: torch.Tensor,
    *,
    dtype: Any,
    activation: str | None = None,
    exactly: bool = False,
    bound: float = DEFAULT_BOUND,
    elsewhere: torch.Tensor | None = None,
) -> str | None:
    """What is wrong with `y`, or None.

    `exact` is the result in double before the activation, `magnitude` the same of absolute values,
    `elsewhere` the latter at other positions. The error may be `bound` times the largest magnitude
    of the output channel (the second axis), or nothing at all where `exactly`: sums of small
    integers.
    """
    y_exact = ACTIVATIONS[activation](exact).numpy()
    if y.shape != y_exact.shape or y.dtype != np.dtype(dtype).newbyteorder("="):
        return f"shape {y.shape} instead of {y_exact.shape}, dtype {y.dtype}"
    if y.size == 0:
        return None
    others = tuple(axis for axis in range(magnitude.ndim) if axis != 1)
    largest = magnitude.amax(dim=others, keepdim=True).numpy()
    if elsewhere is not None:
        largest = np.maximum(largest, elsewhere.amax(dim=others, keepdim=True).numpy())
    single = y.dtype.itemsize == 4
    error = np.abs(y - y_exact)
    linear = activation in (None, "relu", "relu6")
    if exactly and linear:
        wrong = error > 0
    else:
        allowed = bound * largest * (1 if single else 2.0**-29)
        if not linear:  # slopes of up to 1.5, and a few ulps of their own
            allowed = 1.5 * allowed + 8 * np.finfo(y.dtype).eps * (np.abs(y_exact) + 1)
        wrong = ~(error <= allowed)
    if not wrong.any():
        return None
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    return f"off by {error[worst]:.3g} at {tuple(map(int, worst))}, of {largest.max():.3g}"


def check_case(case: Case, convolve: Callable[..., np.ndarray] = fastconv.conv2d) -> list[str]:
    """The failures of a case: one line for each algorithm that is wrong."""
    options = case.options
    native = dict(stride=options["stride"], dilation=options["dilation"], groups=options["groups"])
    x = F.pad(double(case.x), case.explicit_padding)
    weight = double(case.weight)
    exact, magnitude = with_terms(
        F.conv2d(x, weight, **native),
        F.conv2d(x.abs(), weight.abs(), **native),
        case.bias,
        case.residual,
    )
    elsewhere = None
    if weight.shape[2:] == (3, 3):
        elsewhere = F.conv2d(x.abs(), weight.abs(), padding=2, groups=options["groups"])
    failures = []
    for algorithm in ALGORITHMS:
        if case.out is not None:
            case.out[...] = np.nan
        try:
            y = convolve(
                case.x,
                case.weight,
                case.bias,
                residual=case.residual,
                algorithm=algorithm,
                out=case.out,
                **options,
            )
        except ValueError as error:
            if "cannot serve" not in str(error):
                failures.append(f"{algorithm}: {error} [{case}]")
            continue
        wrong = mismatch(
            y,
            exact,
            magnitude,
            dtype=case.x.dtype,
            activation=options["activation"],
            exactly=case.integers
            and (algorithm in EXACT_ALGORITHMS or options["accuracy"] == "exact"),
            bound=BOUND.get(algorithm, DEFAULT_BOUND),
            elsewhere=None if algorithm in EXACT_ALGORITHMS else elsewhere,
        )
        if wrong or (case.out is not None and y is not case.out):
            failures.append(f"{algorithm}: {wrong} [{case}]")
    return failures


def run(count: int, seed: int) -> list[str]:
    """Check `count` cases; stop after some failures."""
    rng = np.random.default_rng(seed)
    failures: list[str] = []
    for _ in range(count):
        failures += check_case(make_case(rng))
        if len(failures) > 5:
            break
    return failures


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = run(int(sys.argv[1]), int(sys.argv[2]))
    print(fastconv.show_config("dict")["isa"], *found, sep="\n")
    sys.exit(bool(found))
