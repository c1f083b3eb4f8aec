"""MNN; its own converter reads the ONNX models."""

from __future__ import annotations

import importlib
from pathlib import Path

import MNN
import numpy as np
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run
from MNN import expr, nn

from bench.peers.onnx_layer import export_layer

# The native converter. MNN.tools.mnnconvert would run pip when it is imported, and send usage data.
_converter = importlib.import_module("_tools")


class Mnn:
    """A module of the CPU backend in high precision, which is float32."""

    name = "mnn"
    version = MNN.version()
    settings = "CPU backend, precision high (float32), static shapes"

    def __init__(self, threads: int) -> None:
        config = {"backend": "CPU", "precision": "high", "numThread": threads}
        self._runtime = nn.create_runtime_manager((config,))

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        single = isinstance(case, LayerCase)
        path = export_layer(case, folder) if single else folder / "model.onnx"
        converted = str(path.with_suffix(".mnn"))
        arguments = ["-f", "ONNX", "--modelFile", str(path), "--MNNModel", converted]
        _converter.mnnconvert(["mnnconvert", *arguments, "--bizCode", "bench"])
        net = nn.load_module_from_file(
            converted, ["x"], ["y"], runtime_manager=self._runtime, shape_mutable=False
        )
        array = np.load(folder / "x.npy")
        x = expr.placeholder(array.shape, expr.NCHW)
        x.write(array)

        def run() -> np.ndarray:
            y = net.forward(x)
            return expr.convert(y, expr.NCHW).read() if single else y.read()

        return run
