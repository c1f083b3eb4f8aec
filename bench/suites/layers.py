"""The distinct convolutions of model families, found by tracing the models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import fastconv
import numpy as np
from fastconv.benchmark.cases import LayerCase
from fastconv.nn import init

DEFAULT = ("resnet50", "mobilenet_v2", "convnext_tiny", "resnext50_32x4d", "efficientnet_b0")


def cases(
    names: Sequence[str],
    batches: Sequence[int] = (1,),
    devices: Sequence[str] = ("cpu",),
    precisions: Sequence[str] = ("fp32",),
    size: int | None = None,
) -> list[LayerCase]:
    """Return each distinct convolution of the networks once, in the order of their layers.

    Each for every precision, batch size and device.
    """
    found: dict[LayerCase, list[str]] = {}
    for name in names:
        for layer in dict.fromkeys(_convolutions(name, size)):
            found.setdefault(layer, []).append(name)
    return [
        replace(
            layer,
            batch=batch,
            device=device,
            precision=precision,
            networks=tuple(networks),
            algorithm=_algorithm(layer, precision) if device == "cpu" else "",
        )
        for precision, batch, (layer, networks), device in itertools.product(
            precisions, batches, found.items(), devices
        )
    ]


def _algorithm(layer: LayerCase, precision: str) -> str:
    dtype = "float64" if precision == "fp64" else "float32"
    shapes = layer.input_shape, layer.weight_shape
    return fastconv.algorithms(*shapes, **layer.options, dtype=dtype)[0].name


def _convolutions(name: str, size: int | None) -> Iterator[LayerCase]:
    with init.skip():
        model = fastconv.create_model(name)
    channels, *sizes = model.default_cfg["input_size"]
    shape = (1, channels, *(sizes if size is None else (size, size)))
    for node in model.graph(shape):
        if node.op != "conv2d":
            continue
        x, weight = node.inputs[:2]
        assert x is not None
        assert weight is not None
        top, bottom, left, right = node.fields["padding"]
        if (top, left) != (bottom, right) or x.shape[2:] == (1, 1):
            continue  # not every peer pads one side more; squeeze-excitation is a linear layer
        yield LayerCase(
            *x.shape[1:],
            weight.shape[0],
            tuple(weight.shape[2:]),
            node.fields["stride"],
            (top, left),
            node.fields["dilation"],
            node.fields["groups"],
        )


def prepare(case: LayerCase, folder: Path) -> None:
    """Write the files of a case: input, weight and bias."""
    rng = np.random.default_rng(0)
    fan_in = math.prod(case.weight_shape[1:])
    arrays = {
        "x": rng.standard_normal(case.input_shape, np.float32),
        "weight": rng.standard_normal(case.weight_shape, np.float32)
        / np.float32(math.sqrt(fan_in)),
        "bias": rng.standard_normal(case.filters, np.float32),
    }
    dtype = np.float64 if case.precision == "fp64" else np.float32
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.astype(dtype))
