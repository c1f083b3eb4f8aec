"""LiteRT, once TensorFlow Lite, with XNNPACK; onnx2tf converts the ONNX models."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run

from bench.peers.onnx_layer import export_layer

if importlib.util.find_spec("onnx2tf") is None:
    raise ImportError("LiteRT needs the package onnx2tf, which converts models for it")


class LiteRt:
    """An interpreter with XNNPACK, on images in NHWC, the only layout that it knows."""

    name = "litert"
    version = importlib.metadata.version("ai-edge-litert")
    settings = "converted by onnx2tf; XNNPACK, float32, NHWC"

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        single = isinstance(case, LayerCase)
        path = export_layer(case, folder) if single else folder / "model.onnx"
        # What onnx2tf would download to try networks on; nothing here depends on the numbers.
        images = np.zeros((20, 128, 128, 3), np.float32)
        np.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", images)
        command = [sys.executable, "-m", "onnx2tf", "-i", path.name, "-o", ".", "-v", "error"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        converted = folder / f"{path.stem}_float32.tflite"
        interpreter = Interpreter(str(converted), num_threads=self._threads)
        interpreter.allocate_tensors()
        x, y = (
            d[0]["index"]
            for d in (interpreter.get_input_details(), interpreter.get_output_details())
        )
        interpreter.set_tensor(x, np.load(folder / "x.npy").transpose(0, 2, 3, 1))

        def run() -> np.ndarray:
            interpreter.invoke()
            output = interpreter.get_tensor(y)
            return output.transpose(0, 3, 1, 2) if single else output

        return run
