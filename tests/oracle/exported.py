"""What the tests of ONNX export share: a model is exported, run and compared with fastconv."""

import fastconv
import numpy as np
import onnxruntime
from fastconv import nn


class Function(nn.Module):
    """A function of `fastconv.ops` as a module."""

    def __init__(self, function):
        self._function = function
        self.weight = np.zeros(1, np.float32)

    def forward(self, x):
        return self._function(x)


def session(path):
    """Load a model into ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, x):
    """Return what ONNX Runtime makes of `x`."""
    return session(path).run(["y"], {"x": x})[0]


def random(shape, dtype=np.float32):
    """Return an array of normally distributed values."""
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def compare(path, module, *inputs, tolerance=1e-5):
    """Check that ONNX Runtime makes of arrays what fastconv does."""
    loaded = session(path)
    for x in inputs:
        expected, (found,) = module.eager(x), loaded.run(["y"], {"x": x})
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def check(module, x, folder, *, other_batches=True):
    """Export a module at the shape of `x`, and compare there and at other batch sizes."""
    path = folder / "model.onnx"
    fastconv.onnx.export(module, path, x.shape, dynamic_axes=None if other_batches else {})
    repeats = (1, 2, 3) if other_batches else (1,)
    compare(path, module, *(np.concatenate([x] * n) for n in repeats))
