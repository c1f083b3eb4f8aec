"""The distinct convolutions of model families, found by tracing the models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import fastconv
import numpy as np
from fastconv._recording import record
from fastconv.nn import init

from bench.cases import LayerCase

DEFAULT = ("resnet50", "mobilenet_v2", "convnext_tiny", "resnext50_32x4d", "efficientnet_b0")


def cases(names: Sequence[str], batches: Sequence[int], device: str = "cpu") -> list[LayerCase]:
    """Return each distinct convolution of the networks once, in the order of their layers."""
    found: dict[tuple[object, ...], LayerCase] = {}
    for batch in batches:
        for name in names:
            for case in _convolutions(name, batch, device):
                found.setdefault((case.name, case.padding, batch), case)
    return list(found.values())


def _convolutions(name: str, batch: int, device: str) -> list[LayerCase]:
    with init.skip():
        model = fastconv.create_model(name)
    layers = []
    for operator in record(model).operators:
        if operator.name != "conv2d":
            continue
        x, weight = operator.inputs[:2]
        assert x is not None
        assert weight is not None
        padding = operator.attributes["padding"]
        if padding == "same" or x.shape[2:] == (1, 1):
            continue  # not every peer pads one side more; squeeze-excitation is a linear layer
        (top, bottom), (left, right) = ((0, 0), (0, 0)) if padding == "valid" else padding
        if (top, left) != (bottom, right):
            continue
        layers.append(
            LayerCase(
                name,
                *x.shape[1:],
                weight.shape[0],
                tuple(weight.shape[2:]),
                operator.attributes["stride"],
                (top, left),
                operator.attributes["dilation"],
                operator.attributes["groups"],
                batch,
                device,
            )
        )
    return layers


def prepare(case: LayerCase, folder: Path) -> None:
    """Write the files of a case: input, weight and bias."""
    rng = np.random.default_rng(0)
    per_group = case.channels // case.groups
    fan_in = per_group * math.prod(case.kernel)
    arrays = {
        "x": rng.standard_normal((case.batch, case.channels, case.height, case.width), np.float32),
        "weight": rng.standard_normal((case.filters, per_group, *case.kernel), np.float32)
        / np.float32(math.sqrt(fan_in)),
        "bias": rng.standard_normal(case.filters, np.float32),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
