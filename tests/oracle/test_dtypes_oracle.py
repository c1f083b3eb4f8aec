"""bfloat16 as ml_dtypes, which comes with onnx, registers it with NumPy."""

import ml_dtypes
import numpy as np
import pytest
from fastconv import _core

pytestmark = pytest.mark.oracle


def test_a_registered_bfloat16_is_taken():
    x = np.linspace(-3, 3, 6).astype(ml_dtypes.bfloat16).reshape(2, 3)
    graph = _core.Graph()
    value = graph.add("permute", [graph.input(x.shape, x.dtype)], {"order": (1, 0)})
    y, c = _core.Network(graph, [value, graph.constant(x)], "fast", None, 1).run([x])
    assert y.dtype == c.dtype == np.dtype([("bfloat16", np.uint16)])
    assert (y.view(ml_dtypes.bfloat16) == x.T).all()
    assert (c.view(ml_dtypes.bfloat16) == x).all()
