"""Searches hard data for convolutions whose rounding errors pass what docs/accuracy.md promises.

Also a script: ``python accuracy_search.py --cases 20000`` runs as many cases on every instruction
set of this CPU, prints the largest errors in units of the promise, and exits with 1 where one
passes it. Case number i is the same in every run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import fastconv
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

ROUNDOFF = 2.0**-24
SEARCHED = 1e-5  # of Winograd's and Strassen's algorithms, for at most SEARCHED_PRODUCTS a sum
SEARCHED_PRODUCTS = 4608
SEARCHED_6 = 1e-4  # of F(6x6, 3x3), which nothing chooses by itself


def promised(algorithm: str, products: int, kernel_w: int) -> float:
    """The factor B of docs/accuracy.md, in float32."""
    if algorithm.startswith(("winograd", "strassen")):
        searched = SEARCHED_6 if algorithm == "winograd6" else SEARCHED
        return searched * max(1, products / SEARCHED_PRODUCTS)
    longest = max(160, 16 * kernel_w)
    if algorithm == "grouped":
        longest = max(longest, 288)
    elif algorithm in ("depthwise", "reference"):
        return (products + 4) * ROUNDOFF
    return (min(products, longest) + -(-products // 64) + 3) * ROUNDOFF


# ---- Hard data: largest magnitude 1 ----


def _gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape)


def _outlier_channels(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    x = rng.standard_normal(shape)
    x[:, rng.permutation(shape[1])[: rng.integers(1, 4)]] *= 10 ** rng.uniform(1, 6)
    return x


def _first_channel(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    x = rng.standard_normal(shape)
    x[:, 0] *= 1e4
    return x


def _outliers(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    x = rng.standard_normal(shape)
    x[rng.random(shape) < 10 ** rng.uniform(-4, -1)] *= 10 ** rng.uniform(1, 6)
    return x


def _one_tile(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The same few pixels over and over, in every channel: rounding errors do not cancel."""
    side = int(rng.integers(2, 9))
    tile = rng.standard_normal((1, 1, side, side))
    down, across = (-(-size // side) for size in shape[2:])
    tiled = np.tile(tile, (1, 1, down, across))[:, :, : shape[2], : shape[3]]
    return np.broadcast_to(tiled, shape)


def _after_relu(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.maximum(rng.standard_normal(shape) - rng.uniform(0, 2), 0)


INPUTS: dict[str, Draw] = {
    "Gaussian": _gaussian,
    "positive": lambda rng, shape: rng.random(shape),
    "constant": lambda rng, shape: np.full(shape, rng.uniform(0.5, 1)),
    "constant channels": lambda rng, shape: np.broadcast_to(
        rng.uniform(0.5, 1, (1, shape[1], 1, 1)), shape
    ),
    "large mean": lambda rng, shape: 10 ** rng.uniform(0, 4) + rng.standard_normal(shape),
    "log-normal": lambda rng, shape: np.exp(rng.uniform(0.5, 4) * rng.standard_normal(shape)),
    "signed log-normal": lambda rng, shape: (
        np.exp(rng.uniform(0.5, 4) * rng.standard_normal(shape)) * rng.choice([-1, 1], shape)
    ),
    "outlier channels": _outlier_channels,
    "first channel 1e4": _first_channel,
    "outlier values": _outliers,
    "one tile": _one_tile,
    "after ReLU": _after_relu,
}


def _one_tap(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Of each kernel, one tap that is not zero."""
    weight = np.zeros((shape[0], shape[1], shape[2] * shape[3]))
    at = rng.integers(0, weight.shape[2], (*shape[:2], 1))
    np.put_along_axis(weight, at, rng.standard_normal(at.shape), axis=2)
    return weight.reshape(shape)


def _graded(axes: tuple[int, ...]) -> Draw:
    """Gaussian, over up to six orders of magnitude along the axes."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        sizes = tuple(n if axis in axes else 1 for axis, n in enumerate(shape))
        return rng.standard_normal(shape) * 10 ** -rng.uniform(0, 6, sizes)

    return draw


def _zero_sum(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    weight = rng.standard_normal(shape)
    return weight - weight.mean(axis=(1, 2, 3), keepdims=True)


def _sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape) * (rng.random(shape) < 10 ** rng.uniform(-2, -0.3))


def _few_kernels(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    kept = rng.random((*shape[:2], 1, 1)) < 10 ** rng.uniform(-2, -0.3)
    return rng.standard_normal(shape) * kept


WEIGHTS: dict[str, Draw] = {
    "Gaussian": _gaussian,
    "positive": lambda rng, shape: rng.random(shape),
    "constant": lambda rng, shape: np.full(shape, rng.uniform(0.5, 1)),
    "log-normal": lambda rng, shape: (
        rng.standard_normal(shape) * np.exp(rng.uniform(0.5, 3) * rng.standard_normal(shape))
    ),
    "sparse": _sparse,
    "few kernels": _few_kernels,
    "one tap": _one_tap,
    "one kernel": lambda rng, shape: np.broadcast_to(
        rng.standard_normal((shape[0], 1, *shape[2:])), shape
    ),
    "graded inputs": _graded((1,)),
    "graded outputs": _graded((0,)),
    "graded taps": _graded((2, 3)),
    "zero sum": _zero_sum,
}


@dataclass
class Case:
    """A convolution, with what is drawn for it."""

    number: int
    x: Array
    weight: Array
    bias: Array | None
    residual: Array | None
    options: dict[str, Any]
    text: str

    @property
    def products(self) -> int:
        return int(np.prod(self.weight.shape[1:]))


def make_case(number: int) -> Case:
    """Case `number`."""
    rng = np.random.default_rng([number, 13])
    pick = lambda *values: values[rng.integers(0, len(values))]  # noqa: E731
    kind = pick("3x3", "3x3", "3x3", "3x3", "1x1", "1x1", "any", "depthwise", "grouped")
    double = rng.random() < 0.05
    groups = 1
    stride, dilation = (1, 1), (1, 1)
    channels = int(pick(1, 3, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512))
    outputs = int(pick(4, 16, 20, 32, 48))
    kernel = (3, 3)
    if kind == "1x1":
        kernel = (1, 1)
        channels = int(pick(1, 3, 16, 32, 64, 128, 256, 512, 1024, 2048, 4608))
        outputs = int(pick(1, 20, 32, 96, 256, 512))
    elif kind == "any":
        kernel = (int(rng.integers(1, 8)), int(rng.integers(1, 8)))
        channels = min(channels, SEARCHED_PRODUCTS // (kernel[0] * kernel[1]))
        stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        dilation = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    elif kind == "depthwise":
        groups, outputs, kernel = channels, channels, pick((3, 3), (5, 5), (7, 7), (4, 11))
    elif kind == "grouped":
        groups = int(pick(2, 4))
        channels, outputs = groups * min(channels, 64), groups * int(pick(4, 8, 16, 24))
    if double:
        channels = groups * min(channels // groups, 24)
    sizes = (1, 2, 7, 9) if double else (1, 2, 7, 8, 13, 14, 20, 29)
    window = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(int(rng.integers(0, k // 2 + 2)) for k in kernel)
    h, w = (max(int(pick(*sizes)), k - 2 * p) for k, p in zip(window, padding, strict=True))
    n = int(pick(1, 1, 1, 2))
    dtype = np.float64 if double else np.float32
    x_family, weight_family = pick(*INPUTS), pick(*WEIGHTS)
    # Exponents: most of the time near 0; products, and sums of them, stay far from the limits.
    x_exponent = int(pick(0, 0, 0, 0, -90, -40, 40, 100))
    weight_exponent = int(pick(0, 0, 0, 0, -120, -70, -40, 40, 70, 100))
    if not -90 <= x_exponent + weight_exponent <= 100:
        x_exponent = -weight_exponent // 2
    if kind == "3x3" and rng.random() < 0.03:  # transformed weights, flushed, would lose a part
        x_exponent, weight_exponent = 112, -120

    def draw(family: Draw, shape: tuple[int, ...], exponent: int) -> Array:
        values = np.array(family(rng, shape), dtype=np.float64)
        largest = np.abs(values).max(initial=0)
        return (values / (largest or 1) * 2.0**exponent).astype(dtype)

    x = draw(INPUTS[x_family], (n, channels, h, w), x_exponent)
    weight = draw(WEIGHTS[weight_family], (outputs, channels // groups, *kernel), weight_exponent)
    options = {"padding": padding, "stride": stride, "dilation": dilation, "groups": groups}
    text = (
        f"case {number}: x {x_family} {x.shape} 2^{x_exponent}, weight {weight_family} "
        f"{weight.shape} 2^{weight_exponent}, {np.dtype(dtype)}, {options}"
    )
    bias = residual = None
    if rng.random() < 0.2:
        size = x_exponent + weight_exponent + int(pick(-3, 0, 3))
        bias = draw(_gaussian, (outputs,), size)
        out = [
            (i + 2 * p - k) // s + 1
            for i, p, k, s in zip((h, w), padding, window, stride, strict=True)
        ]
        residual = draw(_gaussian, (n, outputs, *out), size)
        text += ", bias, residual"
    return Case(number, x, weight, bias, residual, options, text)


# ---- The exact result, and what it may be missed by ----


def _convolve(case: Case, x: Array, weight: Array, padding: tuple[int, int] | None = None) -> Array:
    """The convolution in float64, for float64 arrays in extended precision; of any padding."""
    o = case.options
    wide = np.longdouble if case.x.dtype == np.float64 else np.float64
    ph, pw = o["padding"] if padding is None else padding
    stride = o["stride"] if padding is None else (1, 1)
    (dh, dw), groups = o["dilation"], o["groups"]
    kh, kw = weight.shape[2:]
    padded = np.pad(x.astype(wide), ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    windows = sliding_window_view(padded, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1], ::dh, ::dw]
    n, c, h, w = windows.shape[:4]
    columns = windows.reshape(n, groups, c // groups, h, w, kh, kw).transpose(1, 0, 3, 4, 2, 5, 6)
    columns = columns.reshape(groups, n * h * w, -1)
    rows = weight.astype(wide).reshape(groups, len(weight) // groups, -1).transpose(0, 2, 1)
    y = (columns @ rows).reshape(groups, n, h, w, -1).transpose(1, 0, 4, 2, 3)
    return y.reshape(n, len(weight), h, w)


@dataclass
class Exact:
    """The exact result of a case, and the scales of docs/accuracy.md."""

    y: Array
    own: Array  # |x| * |w| + |bias| + |residual| of each output
    channel: Array  # its largest at any position at which the window meets x, of each channel
    norm: Array  # the sum of |w|, times the largest |x|, and |bias| + |residual|, of each channel
    zeros: Array  # what values that are so small that they may count as zero contribute


def exact_result(case: Case) -> Exact:
    """What the case gives without rounding."""
    kh, kw = case.weight.shape[2:]
    (dh, dw) = case.options["dilation"]
    x, weight = np.abs(case.x), np.abs(case.weight)
    y, own = _convolve(case, case.x, case.weight), _convolve(case, x, weight)
    full = _convolve(case, x, weight, ((kh - 1) * dh, (kw - 1) * dw))
    channel = full.max(axis=(0, 2, 3), keepdims=True)
    sums = weight.sum(axis=(1, 2, 3), dtype=own.dtype).reshape(1, -1, 1, 1)
    norm = sums * x.max(initial=0).astype(own.dtype)
    if case.bias is not None and case.residual is not None:
        bias = case.bias.astype(own.dtype).reshape(1, -1, 1, 1)
        y = y + bias + case.residual
        added = np.abs(bias) + np.abs(case.residual)
        largest = added.max(axis=(0, 2, 3), keepdims=True)
        own, channel, norm = own + added, channel + largest, norm + largest
    smallest = np.finfo(case.x.dtype).tiny
    zeros = np.full_like(channel, case.products * smallest * 2**10)
    small_x = np.where(x < smallest * 2**26, x, 0)
    least = np.maximum(2.0**-60 * weight.max(axis=(1, 2, 3), keepdims=True), smallest)
    small_weight = np.where(weight < least, weight, 0)
    if small_x.any():
        zeros = zeros + _convolve(case, small_x, weight).max(axis=(0, 2, 3), keepdims=True)
    if small_weight.any():
        zeros = zeros + _convolve(case, x, small_weight).max(axis=(0, 2, 3), keepdims=True)
    return Exact(y, own, channel, norm, zeros)


@dataclass
class Outcome:
    """The largest error of a case with one algorithm, in units of the promise."""

    algorithm: str
    how: str  # functional, prepared, network
    error: float
    relative: float  # over the scale
    text: str  # the case


def _served(case: Case, how: str, accuracy: str) -> tuple[str, Array]:
    """The algorithm that the rule takes, and its result."""
    if how == "prepared":
        prepared = fastconv.prepare_conv2d(
            case.weight, case.bias, **case.options, input_shape=case.x.shape, accuracy=accuracy
        )
        algorithm = re.search(r"(\w+) for ", repr(prepared))
        assert algorithm
        return algorithm[1], prepared(case.x, case.residual)
    conv = fastconv.nn.Conv2d(
        case.x.shape[1],
        len(case.weight),
        case.weight.shape[2:],
        **case.options,
        bias=case.bias is not None,
    ).astype(case.x.dtype)
    conv.weight = case.weight
    if case.bias is not None:
        conv.bias = case.bias
    network = conv.compile(case.x.shape, accuracy=accuracy)
    y = network(case.x)
    return network.explain()[0]["algorithm"], y if case.residual is None else y + case.residual


def outcomes(case: Case) -> Iterator[Outcome]:
    """Run a case in every way."""
    exact = exact_result(case)
    unit = 1 if case.x.dtype == np.float32 else 2.0**-29

    def outcome(algorithm: str, how: str, y: Array) -> Outcome:
        scale = exact.own
        if algorithm.startswith("winograd"):
            scale = exact.channel
        elif algorithm == "strassen":
            scale = exact.norm
        family = algorithm
        if algorithm == "direct" and case.options["groups"] > 1:
            family = "grouped"
        factor = promised(family, case.products, case.weight.shape[3]) * unit
        error = np.maximum(np.abs(y - exact.y) - exact.zeros, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(error > 0, error / scale, 0).max(initial=0)
        if not np.isfinite(y).all():
            relative = np.inf
        return Outcome(algorithm, how, float(relative / factor), float(relative / unit), case.text)

    x, weight = case.x, case.weight
    for info in fastconv.algorithms(x.shape, weight.shape, dtype=str(x.dtype), **case.options):
        y = fastconv.conv2d(
            x, weight, case.bias, **case.options, residual=case.residual, algorithm=info.name
        )
        yield outcome(info.name, "functional", y)
    for how, accuracy in (("prepared", "fast"), ("network", "fast"), ("prepared", "fastest")):
        algorithm, y = _served(case, how, accuracy)
        if accuracy == "fast" and algorithm == "strassen":
            raise AssertionError(f"Strassen's algorithm under 'fast': {case.text}")
        yield outcome(algorithm, how, y)


Worst = dict[tuple[str, str], Outcome]
"""Of each algorithm and way; `relative` may be another case's."""


def keep(worst: Worst, found: Outcome) -> None:
    """Take it up where it is larger than what was found before."""
    before = worst.setdefault((found.algorithm, found.how), found)
    larger = max(before, found, key=lambda outcome: outcome.error)
    relative = max(before.relative, found.relative)
    worst[found.algorithm, found.how] = replace(larger, relative=relative)


def search(first: int, count: int) -> Worst:
    """The worst outcomes among the cases from `first` on."""
    worst: Worst = {}
    for number in range(first, first + count):
        for found in outcomes(make_case(number)):
            keep(worst, found)
    return worst


def main() -> int:
    """Run the search on every instruction set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20000, help="on each instruction set")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--isa", nargs="+", help="instruction sets (default: all of this CPU)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        fastconv.set_num_threads(1)
        found = search(arguments.first, arguments.cases)
        print(json.dumps([asdict(outcome) for outcome in found.values()]))
        return 0
    failed = False
    for isa in arguments.isa or fastconv.show_config("dict")["isa_found"]:
        environment = {**os.environ, "FASTCONV_ISA": isa, "OPENBLAS_NUM_THREADS": "1"}
        workers = []
        for job in range(arguments.jobs):
            begin = arguments.cases * job // arguments.jobs
            end = arguments.cases * (job + 1) // arguments.jobs
            command = [sys.executable, __file__, "--worker", "--cases", str(end - begin)]
            command += ["--first", str(arguments.first + begin)]
            workers.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
        worst: Worst = {}
        for worker in workers:
            output, _ = worker.communicate()
            if worker.returncode:
                return worker.returncode
            for values in json.loads(output):
                keep(worst, Outcome(**values))
        print(f"{isa}: {arguments.cases} cases; the largest error over the promise, and its case;")
        print("  in parentheses, the largest over the scale")
        for _, o in sorted(worst.items()):
            print(f"  {o.algorithm:10} {o.how:10} {o.error:6.3f} ({o.relative:.1e})  {o.text}")
            failed |= o.error > 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
