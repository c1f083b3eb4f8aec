"""OpenVINO, CPU plug-in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run

from bench.peers.onnx_layer import export_layer


class OpenVino:
    """A compiled model with the latency hint."""

    name = "openvino"
    version = openvino.__version__
    settings = "PERFORMANCE_HINT=LATENCY, INFERENCE_PRECISION_HINT=f32, one stream, shared memory"

    def __init__(self, threads: int) -> None:
        self._core = openvino.Core()
        self._config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        single = isinstance(case, LayerCase)
        path = export_layer(case, folder) if single else folder / "model.onnx"
        compiled = self._core.compile_model(str(path), "CPU", self._config)
        request = compiled.create_infer_request()
        x = np.load(folder / "x.npy")
        return lambda: request.infer([x], share_inputs=True, share_outputs=True)[0]
