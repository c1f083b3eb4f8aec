"""ONNX Runtime, CPU provider."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run

from bench.peers.onnx_layer import export_layer


class OnnxRuntime:
    """An inference session with all graph optimisations."""

    name = "onnxruntime"
    version = onnxruntime.__version__
    settings = "all graph optimisations, sequential, spinning threads, inputs bound"

    def __init__(self, threads: int) -> None:
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self._options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._options.log_severity_level = 3

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        single = isinstance(case, LayerCase)
        path = export_layer(case, folder) if single else folder / "model.onnx"
        session = onnxruntime.InferenceSession(
            path, self._options, providers=["CPUExecutionProvider"]
        )
        x = np.load(folder / "x.npy")
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_output("y")

        def run() -> np.ndarray:
            session.run_with_iobinding(binding)
            return binding.copy_outputs_to_cpu()[0]

        return run
