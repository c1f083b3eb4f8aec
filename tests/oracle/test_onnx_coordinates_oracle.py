"""The operator's attributes are those of ONNX's Resize: its values against ONNX Runtime's."""

import itertools

import fastconv._core as _core
import numpy as np
import onnx
import onnxruntime
import pytest

pytestmark = pytest.mark.oracle

COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
# Factors and sizes for which float32 holds all coordinates, and halves between pixels.
CASES = [
    ((8, 8), (16, 4)),
    ((8, 6), (4, 24)),
    ((5, 9), (20, 9)),
    ((9, 5), (17, 3)),
    ((4, 2), (1, 1)),
]
HOW = [
    *(
        {"mode": "nearest", "nearest_mode": rounding}
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    {"mode": "bilinear"},
    *(
        {"mode": "bicubic", "cubic_coeff_a": a, "exclude_outside": exclude}
        for a, exclude in itertools.product((-0.75, -0.5), (False, True))
    ),
]


def resize(x, size, attributes):
    """Return what ONNX Runtime gives."""
    given = {key: int(v) if isinstance(v, bool) else v for key, v in attributes.items()}
    given["mode"] = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}[given["mode"]]
    given["coordinate_transformation_mode"] = given.pop("coordinates")
    helper = onnx.helper
    sizes = onnx.numpy_helper.from_array(np.array([*x.shape[:2], *size]), "sizes")
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **given)],
        "resize",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [sizes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})[0]


def compare(shape, size, attributes):
    x = np.random.default_rng(0).normal(size=(1, 2, *shape)).astype(np.float32)
    y = np.empty((1, 2, *size), np.float32)
    _core.interpolate(x, y, {"size": size, **attributes})
    # ONNX Runtime's coordinates have a few roundings in float32, each of 2**-24 of the size; a
    # weight changes by less than 2 an element; sixteen of them.
    atol = 16 * 2 * 4 * 2**-24 * max(*shape, *size) * np.abs(x).max()
    expected = resize(x, size, attributes)
    np.testing.assert_allclose(
        y, expected, rtol=0, atol=0 if "nearest_mode" in attributes else atol
    )


@pytest.mark.parametrize("coordinates", [*COORDINATES, "half_pixel_symmetric"])
@pytest.mark.parametrize("how", HOW, ids=lambda how: " ".join(map(str, how.values())))
def test_coordinates(coordinates, how):
    for shape, size in CASES:
        if how["mode"] == "nearest" and shape[0] == 9 and coordinates != "align_corners":
            continue  # 9 / 17: where float32 rounds to the other pixel
        compare(shape, size, {**how, "coordinates": coordinates})


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("exclude", [False, True])
def test_antialias(mode, exclude):
    how = {"mode": mode, "antialias": True, "exclude_outside": exclude, "cubic_coeff_a": -0.5}
    for shape, size in CASES:
        compare(shape, size, {**how, "coordinates": "half_pixel"})
