"""Whole networks, with random weights that keep logits from vanishing and exploding."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fastconv
from fastconv import nn
from fastconv.benchmark.cases import ModelCase
from fastconv.benchmark.random_weights import randomise

DEFAULT = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "convnext_tiny")
QUICK = ("resnet18", "mobilenet_v2")


def cases(
    names: Sequence[str],
    batches: Sequence[int] = (1,),
    devices: Sequence[str] = ("cpu",),
    precisions: Sequence[str] = ("fp32",),
    size: int | None = None,
) -> list[ModelCase]:
    """Return the networks for each precision, batch size and device.

    Raises
    ------
    ValueError
        If there is no model of that name.
    """
    for name in names:
        fastconv.models.model_entry(name)
    return [
        ModelCase(name, batch, size, device, precision)
        for precision, batch, name, device in itertools.product(precisions, batches, names, devices)
    ]


def prepare(case: ModelCase, folder: Path) -> nn.Module:
    """Write the files of a case, input and weights; return the network."""
    with nn.init.skip():
        model = fastconv.create_model(case.model)
    channels, *size = model.default_cfg["input_size"]
    if case.size is not None:
        size = [case.size, case.size]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.batch, channels, *size), np.float32)
    randomise(model, rng.standard_normal((4, channels, *size), np.float32))
    dtype = np.float64 if case.precision == "fp64" else np.float32
    np.save(folder / "x.npy", x.astype(dtype))
    network: nn.Module = model.astype(dtype)
    np.savez(folder / "weights.npz", **network.state_dict())  # type: ignore[arg-type]
    return network
