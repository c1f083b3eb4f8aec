"""dtypes of values against packages that have them: ml_dtypes's bfloat16, and ONNX Runtime."""

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from fastconv import _core
from fastconv import graph as readable
from fastconv.onnx import _graph as onnx_graph
from fastconv.onnx._dynamic import Call

pytestmark = pytest.mark.oracle


def run(graph, values, arrays):
    return _core.Network(graph, values, "fast", None, 1).run(arrays)


def test_a_registered_bfloat16_is_taken():
    x = np.linspace(-3, 3, 6).astype(ml_dtypes.bfloat16).reshape(2, 3)
    graph = _core.Graph()
    value = graph.add("permute", [graph.input(x.shape, x.dtype)], {"order": (1, 0)})
    y, c = run(graph, [value, graph.constant(x)], [x])
    assert y.dtype == c.dtype == np.dtype([("bfloat16", np.uint16)])
    assert (y.view(ml_dtypes.bfloat16) == x.T).all()
    assert (c.view(ml_dtypes.bfloat16) == x).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint8", "int32", "int64", "bool"])
def test_exported_values_keep_their_dtype(dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype)
    native = _core.Graph()
    value = native.input(x.shape, dtype)
    value = native.add("concat", [value, native.constant(x[:1].copy())], {"axis": 0})
    value = native.add("permute", [value], {"order": (1, 0)})
    fields = {"before": (0, 1), "after": (2, 0), "mode": "constant", "value": 1}
    value = native.add("pad", [value], fields)
    native.set_outputs([value])
    graph = readable.Graph(native)
    exported = onnx_graph.Graph(graph, (), [(2,), (3,)])
    for node in graph:
        if node.inputs:
            exported.add(Call([node]))
    y = graph.outputs[0]
    model = exported.model(y, x.shape, y.shape)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, {"x": x})
    (got,) = run(native, [value], [x])
    assert got.dtype == expected.dtype == x.dtype
    assert (got == expected).all()
