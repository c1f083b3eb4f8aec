"""A single convolution as an ONNX model, for the libraries that know no other form."""

from __future__ import annotations

from pathlib import Path

import fastconv
import numpy as np
from fastconv import nn
from fastconv.benchmark.cases import LayerCase


def export_layer(case: LayerCase, folder: Path) -> Path:
    """Write ``layer.onnx`` into the folder of a case and return its path."""
    layer = nn.Conv2d(case.channels, case.filters, case.kernel, **case.options)
    arrays = {name: np.load(folder / f"{name}.npy") for name in ("weight", "bias")}
    layer.load_state_dict(arrays)
    path = folder / "layer.onnx"
    fastconv.onnx.export(layer, path, case.input_shape, dynamic_axes={})
    return path
