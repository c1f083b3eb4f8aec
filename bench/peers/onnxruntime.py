"""ONNX Runtime, CPU provider."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Bound

from bench.peers.onnx_layer import export_layer


class OnnxRuntime:
    """An inference session with all graph optimisations."""

    name = "onnxruntime"
    version = onnxruntime.__version__
    settings = "all graph optimisations, sequential, spinning threads, arrays bound"

    def __init__(self, threads: int) -> None:
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self._options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._options.log_severity_level = 3
        for key in ("session.intra_op.allow_spinning", "session.set_denormal_as_zero"):
            self._options.add_session_config_entry(key, "1")

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Bound:
        single = isinstance(case, LayerCase)
        path = export_layer(case, folder) if single else folder / "model.onnx"
        session = onnxruntime.InferenceSession(
            path, self._options, providers=["CPUExecutionProvider"]
        )
        x = np.load(folder / "x.npy")
        y = np.array(session.run(["y"], {"x": x})[0])
        binding = session.io_binding()
        # On the CPU such a value is the array's own memory.
        binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", onnxruntime.OrtValue.ortvalue_from_numpy(y))
        return Bound(lambda: session.run_with_iobinding(binding), x, y)
