"""Whole networks, with their ONNX export for the peers: of fixed sizes, which serve them best."""

from __future__ import annotations

from pathlib import Path

import fastconv
import numpy as np
from fastconv.benchmark import networks
from fastconv.benchmark.cases import ModelCase
from fastconv.benchmark.networks import cases

__all__ = ["DEFAULT", "cases", "prepare"]

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


def prepare(case: ModelCase, folder: Path) -> None:
    """Write the files of a case: input, weights, and the network as ONNX."""
    model = networks.prepare(case, folder)
    if case.device == "cpu" and case.precision == "fp32":
        shape = np.load(folder / "x.npy", mmap_mode="r").shape
        fastconv.onnx.export(model, folder / "model.onnx", shape, dynamic_axes={})
