"""OpenVINO, CPU plug-in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Bound

from bench.peers.onnx_layer import export_layer


class OpenVino:
    """A compiled model with the latency hint."""

    name = "openvino"
    version = openvino.__version__
    settings = "PERFORMANCE_HINT=LATENCY, INFERENCE_PRECISION_HINT=f32, one stream, tensors bound"

    def __init__(self, threads: int) -> None:
        self._core = openvino.Core()
        self._config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "ENABLE_HYPER_THREADING": True,  # or fewer threads than asked for may run
            "CPU_DENORMALS_OPTIMIZATION": True,  # flushes them to zero, as fastconv does
        }

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Bound:
        single = isinstance(case, LayerCase)
        path = export_layer(case, folder) if single else folder / "model.onnx"
        compiled = self._core.compile_model(str(path), "CPU", self._config)
        request = compiled.create_infer_request()
        x = np.load(folder / "x.npy")
        y = np.array(request.infer([x])[0])
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        request.set_output_tensor(openvino.Tensor(y, shared_memory=True))
        return Bound(lambda: request.infer(share_outputs=True), x, y)
