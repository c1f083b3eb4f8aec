"""JAX on the CPU, compiled by XLA; jaxonnxruntime traces the ONNX models."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import jax
import numpy as np
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run


class Jax:
    """Jitted functions; weights are constants of the program, as in a deployed one."""

    name = "jax"
    version = jax.__version__
    settings = "jit, float32, matmul precision highest, weights constant"

    def __init__(self, threads: int) -> None:
        os.environ["NPROC"] = str(threads)  # XLA reads it when the first array is made
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_default_matmul_precision", "highest")

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        x = jax.numpy.asarray(np.load(folder / "x.npy"))
        function = self._layer if isinstance(case, LayerCase) else self._network
        compiled = jax.jit(function(case, folder)).lower(x).compile()
        return lambda: np.asarray(compiled(x))

    def _layer(self, case, folder):
        weight, bias = (np.load(folder / f"{name}.npy") for name in ("weight", "bias"))

        def convolution(x):
            y = jax.lax.conv_general_dilated(
                x,
                weight,
                case.stride,
                [(p, p) for p in case.padding],
                rhs_dilation=case.dilation,
                feature_group_count=case.groups,
            )
            return y + bias[:, None, None]

        return convolution

    def _network(self, case, folder):
        try:
            call_onnx = importlib.import_module("jaxonnxruntime.call_onnx")
        except ImportError as error:
            raise NotImplementedError(
                "JAX has no networks of its own: install jaxonnxruntime, onnx and absl-py"
            ) from error
        model = importlib.import_module("onnx").load(folder / "model.onnx")
        x = np.load(folder / "x.npy")
        run, weights = call_onnx.call_onnx_model(model, {"x": x})
        return lambda x: run(weights, {"x": x})[0]
