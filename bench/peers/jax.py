"""JAX on the CPU, compiled by XLA; jaxonnxruntime traces the ONNX models."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run


class Jax:
    """Jitted functions; weights are constants of the program, as in a deployed one."""

    name = "jax"
    version = jax.__version__
    settings = "jit, float32, matmul precision highest, weights constant, NHWC where it is faster"

    def __init__(self, threads: int) -> None:
        os.environ["NPROC"] = str(threads)  # XLA reads it when the first array is made
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_default_matmul_precision", "highest")

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        x = np.load(folder / "x.npy")
        if isinstance(case, ModelCase):
            compiled = self._compile(self._network(folder), x)
            return lambda: np.asarray(compiled())
        weight, bias = (np.load(folder / f"{name}.npy") for name in ("weight", "bias"))
        # XLA's convolutions are about twice as fast in NHWC, but for those of groups.
        layouts = ("NCHW", "OIHW", "NCHW") if case.groups > 1 else ("NHWC", "HWIO", "NHWC")
        if case.groups == 1:
            x, weight = x.transpose(0, 2, 3, 1), weight.transpose(2, 3, 1, 0)
        else:
            bias = bias[:, None, None]

        def convolution(x: jax.Array) -> jax.Array:
            y = jax.lax.conv_general_dilated(
                x,
                weight,
                case.stride,
                [(p, p) for p in case.padding],
                rhs_dilation=case.dilation,
                dimension_numbers=layouts,
                feature_group_count=case.groups,
            )
            return y + bias

        compiled = self._compile(convolution, x)
        axes = (0, 1, 2, 3) if case.groups > 1 else (0, 3, 1, 2)
        return lambda: np.asarray(compiled()).transpose(axes)

    def _compile(self, function: Callable[[jax.Array], jax.Array], x: np.ndarray) -> Any:
        array = jax.numpy.asarray(x)
        compiled = jax.jit(function).lower(array).compile()
        return lambda: compiled(array)

    def _network(self, folder: Path) -> Callable[[jax.Array], jax.Array]:
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
