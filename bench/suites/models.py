"""Whole networks, with random weights under which logits neither vanish nor explode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastconv
import numpy as np
from fastconv import nn

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
    model = fastconv.create_model(case.model, seed=1)
    channels = model.default_cfg["input_size"][0]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.batch, channels, *case.size), np.float32)
    calibrate(model, rng.standard_normal((4, channels, *case.size), np.float32))
    np.save(folder / "x.npy", x)
    np.savez(folder / "weights.npz", **model.state_dict())
    fastconv.onnx.export(model, folder / "model.onnx", x.shape)


def calibrate(model: Any, x: np.ndarray) -> None:
    """Give batch norms random weights and the statistics of a batch, logits a deviation of 1.

    Initial weights and statistics would let signals grow or die from layer to layer, and then all
    peers agree on garbage. Biases are positive because deep networks of which half of the ReLUs are
    closed are chaotic: rounding errors grow from layer to layer.
    """
    forward = nn.BatchNorm2d.forward
    rng = np.random.default_rng(0)

    def observe(self: Any, x: Any) -> Any:
        channels = x.shape[1]
        self.weight = rng.uniform(0.5, 1.0, channels)
        self.bias = rng.uniform(0.0, 1.0, channels)
        self.running_mean = x.mean((0, 2, 3))
        self.running_var = x.var((0, 2, 3))
        return forward(self, x)

    nn.BatchNorm2d.forward = observe  # type: ignore[method-assign]
    try:
        logits = model.eager(x)
    finally:
        nn.BatchNorm2d.forward = forward  # type: ignore[method-assign]
    head = dict(model.named_modules())[model._classifier]
    head.weight = head.weight / logits.std()
