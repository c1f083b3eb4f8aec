"""ncnn; pnnx, from a package of its own, converts the ONNX models."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import ncnn
import numpy as np
from fastconv.benchmark.cases import LayerCase, ModelCase
from fastconv.benchmark.worker import Run

from bench.peers.onnx_layer import export_layer

_PNNX = importlib.util.find_spec("pnnx")  # importing it would import torch
if _PNNX is None or _PNNX.origin is None:
    raise ImportError("ncnn needs the package pnnx, which converts models for it")


class Ncnn:
    """A network in float32, Winograd and packed layouts allowed."""

    name = "ncnn"
    version = ncnn.__version__
    settings = "converted by pnnx; float32; Winograd, sgemm and packing on"

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def load(self, case: ModelCase | LayerCase, folder: Path) -> Run:
        single = isinstance(case, LayerCase)
        path = export_layer(case, folder) if single else folder / "model.onnx"
        x = np.load(folder / "x.npy")
        shape = ",".join(map(str, x.shape))
        executable = Path(_PNNX.origin).with_name("pnnx")
        command = [str(executable), path.name, f"inputshape=[{shape}]", "fp16=0"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        net = ncnn.Net()
        net.opt.num_threads = self._threads
        for option in dir(net.opt):
            if option.startswith(("use_fp16", "use_bf16", "use_int8")):
                setattr(net.opt, option, False)
        for read, suffix in ((net.load_param, "param"), (net.load_model, "bin")):
            if read(str(path.with_suffix(f".ncnn.{suffix}"))) != 0:
                raise NotImplementedError("ncnn cannot read what pnnx made of this model")

        given = ncnn.Mat(x, batch_index=0)

        def run() -> np.ndarray:
            extractor = net.create_extractor()
            extractor.input("in0", given)
            return extractor.extract("out0")[1].numpy(batch_index=0)

        return run
