"""Whole networks, with random weights under which logits neither vanish nor explode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import fastconv
import numpy as np
from fastconv import nn
from fastconv.benchmark.random_weights import randomise

from bench.cases import ModelCase

DEFAULT = (
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "vgg16",
    "alexnet",
    "googlenet",
    "densenet121",
    "mobilenet_v2",
    "efficientnet_b0",
    "convnext_tiny",
)
QUICK = ("resnet18", "mobilenet_v2")


def cases(names: Sequence[str], batches: Sequence[int], device: str = "cpu") -> list[ModelCase]:
    """Return the networks at 224x224 for each batch size."""
    return [ModelCase(name, batch, device=device) for batch in batches for name in names]


def prepare(case: ModelCase, folder: Path) -> None:
    """Write the files of a case: input, weights, and the network as ONNX."""
    with nn.init.skip():
        model = fastconv.create_model(case.model)
    channels = model.default_cfg["input_size"][0]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.batch, channels, *case.size), np.float32)
    randomise(model, rng.standard_normal((4, channels, *case.size), np.float32))
    np.save(folder / "x.npy", x)
    np.savez(folder / "weights.npz", **model.state_dict())
    fastconv.onnx.export(model, folder / "model.onnx", x.shape)
