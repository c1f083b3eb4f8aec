"""Searches hard data for transposed convolutions, as networks run them, whose rounding errors pass
what docs/accuracy.md promises.

Also a script: ``python transposed_search.py --cases 4000`` runs cases on the active instruction
set (``FASTCONV_ISA``), prints the largest errors, and exits with 1 where one passes the promise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from accuracy_search import (
    INPUTS,
    WEIGHTS,
    Array,
    Case,
    Outcome,
    Worst,
    exact_result,
    keep,
    promised,
)
from fastconv import nn

# kernel, stride, padding, output_padding
KINDS = (
    *((4, 2, 1, 0), (3, 2, 1, 1), (4, 2, 0, 1), (3, 2, 0, 0), (4, 2, 3, 0), (5, 3, 1, 1)),
    *((8, 4, 2, 0), (2, 2, 0, 0), (5, 2, 2, 1)),
)


def dense_case(
    number: int, x: Array, weight: Array, bias: Array, options: dict[str, int], text: str
) -> Case:
    """The same as a convolution: zeros between the pixels of x, the kernel turned round."""
    stride, padding, extra = (options[name] for name in ("stride", "padding", "output_padding"))
    kernel = weight.shape[2]
    crop = kernel - 1 - padding
    n, c, h, w = x.shape
    shape = (n, c, (h - 1) * stride + 1 + extra, (w - 1) * stride + 1 + extra)
    stuffed = np.zeros(shape, x.dtype)
    stuffed[:, :, : (h - 1) * stride + 1 : stride, : (w - 1) * stride + 1 : stride] = x
    turned = np.ascontiguousarray(weight.swapaxes(0, 1)[:, :, ::-1, ::-1])
    convolution = {"padding": (crop, crop), "stride": (1, 1), "dilation": (1, 1), "groups": 1}
    zeros = np.zeros((n, len(turned), 1, 1), x.dtype)
    return Case(number, stuffed, turned, bias, zeros, convolution, text)


def outcomes(number: int) -> Iterator[Outcome]:
    """Run case `number`, the same in every run, as a network."""
    rng = np.random.default_rng([number, 14])
    pick = lambda *values: values[rng.integers(0, len(values))]  # noqa: E731
    kernel, stride, padding, extra = pick(*KINDS)
    dtype = pick(*[np.float32] * 15, np.float64)
    channels = int(pick(32, 48, 64, 128, 250, 512)) if dtype == np.float32 else 32
    out_channels = int(pick(32, 40))
    h, w = (int(pick(13, 14, 17, 20)) for _ in range(2))
    x_family, weight_family = pick(*INPUTS), pick(*WEIGHTS)
    x_exponent, weight_exponent = pick((0, 0), (0, 0), (0, 0), (-90, 40), (40, -120), (30, 70))
    bias_exponent = x_exponent + weight_exponent + int(pick(-3, 0, 3))

    def draw(family: str, table: dict, shape: tuple[int, ...], exponent: int) -> Array:
        values = np.array(table[family](rng, shape), dtype=np.float64)
        return (values / (np.abs(values).max() or 1) * 2.0**exponent).astype(dtype)

    x = draw(x_family, INPUTS, (1, channels, h, w), x_exponent)
    # Drawn as (out, in, kernel, kernel), as families grade weights along these.
    weight = draw(weight_family, WEIGHTS, (out_channels, channels, kernel, kernel), weight_exponent)
    weight = np.ascontiguousarray(weight.swapaxes(0, 1))
    bias = draw("Gaussian", INPUTS, (1, out_channels), bias_exponent)[0]
    options = {"stride": stride, "padding": padding, "output_padding": extra}
    text = (
        f"case {number}: x {x_family} {x.shape} 2^{x_exponent}, weight {weight_family} "
        f"{weight.shape} 2^{weight_exponent}, {np.dtype(dtype)}, {options}"
    )
    layer = nn.ConvTranspose2d(channels, out_channels, kernel, **options).astype(dtype)
    layer.weight, layer.bias = weight, bias
    network = layer.compile(x.shape)
    y = network(x)
    case = dense_case(number, x, weight, bias, options, text)
    exact = exact_result(case)
    unit = 1 if dtype == np.float32 else 2.0**-29
    algorithm = network.explain()[0]["algorithm"]
    scale = exact.channel if "winograd" in algorithm else exact.own
    error = np.maximum(np.abs(y - exact.y) - exact.zeros, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(error > 0, error / scale, 0).max()
    if not np.isfinite(y).all():
        relative = np.inf
    factor = promised(algorithm, case.products, kernel) * unit
    yield Outcome(algorithm, "network", float(relative / factor), float(relative / unit), text)


def search(first: int, count: int) -> Worst:
    """The worst outcomes among the cases from `first` on."""
    worst: Worst = {}
    for number in range(first, first + count):
        for found in outcomes(number):
            keep(worst, found)
    return worst


def main() -> int:
    """Run the search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=4000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    arguments = parser.parse_args()
    worst = search(arguments.first, arguments.cases)
    for _, o in sorted(worst.items()):
        print(f"{o.algorithm:16} {o.error:6.3f} ({o.relative:.1e})  {o.text}")
    return any(o.error > 1 for o in worst.values())


if __name__ == "__main__":
    sys.exit(main())
