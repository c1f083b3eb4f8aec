"""Interpolation by filters, and ONNX's coordinates, against matrices of weights."""

import itertools

import fastconv
import numpy as np
import pytest
from fastconv import _core, nn

COORDINATES = {
    "half_pixel": lambda i, n, m, step: (i + 0.5) * step - 0.5,
    "pytorch_half_pixel": lambda i, n, m, step: (i + 0.5) * step - 0.5 if m > 1 else 0,
    "half_pixel_symmetric": lambda i, n, m, step: (n - m * step) / 2 + (i + 0.5) * step - 0.5,
    "align_corners": lambda i, n, m, step: i * (n - 1) / (m - 1) if m > 1 else 0,
    "asymmetric": lambda i, n, m, step: i * step,
}
ROUNDED = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
SIZES = [
    ((7, 9), (4, 18)),
    ((7, 9), (16, 2)),
    ((1, 5), (3, 1)),
    ((8, 6), (8, 30)),
    ((40, 3), (5, 4)),
]


def keys(d, a):
    d = abs(d)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0


def matrix(n, m, mode, coordinates, step=0.0, **how):
    """Return the weights of `n` elements in each of `m`, as torch and ONNX define them."""
    weights = np.zeros((m, n))
    for i in range(m):
        at = COORDINATES[coordinates](i, n, m, step or n / m)
        if mode == "nearest":
            weights[i, int(np.clip(ROUNDED[how["nearest_mode"]](at), 0, n - 1))] = 1
            continue
        if mode == "bilinear" and not how.get("antialias"):
            at = min(max(at, 0), n - 1)
        wide = max(1, step or n / m) if how.get("antialias") else 1
        a = how.get("cubic_coeff_a", -0.75)
        for j in range(-4 * n - 4, 5 * n + 4):
            d = (j - at) / wide
            w = max(0, 1 - abs(d)) if mode == "bilinear" else keys(d, a)
            if not (how.get("exclude_outside") and not 0 <= j < n):
                weights[i, min(max(j, 0), n - 1)] += w
        if how.get("antialias") or how.get("exclude_outside"):
            weights[i] /= weights[i].sum()
    return weights


def interpolated(x, size, attributes):
    """Return what the operator gives, alone and in a graph."""
    y = np.empty((*x.shape[:2], *size), x.dtype)
    _core.interpolate(x, y, {"size": size, **attributes})
    graph = _core.Graph()
    node = graph.add("interpolate", [graph.input(x.shape, x.dtype)], {"size": size, **attributes})
    z = np.empty_like(y)
    _core.Network(graph, [node], "fast", None, 0).run([x], [z])
    np.testing.assert_array_equal(y, z)
    return y


def check(y, expected, x):
    # Two sums of at most 4 * 9 products, with weights that add up to less than 2 in magnitude.
    atol = 4 * (2 * 36 + 8) * np.finfo(x.dtype).eps * np.abs(x).max()
    np.testing.assert_allclose(y, expected, rtol=0, atol=atol)


def image(shape, dtype):
    return np.random.default_rng(0).normal(size=(2, 3, *shape)).astype(dtype)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        *({"mode": "nearest", "nearest_mode": rounding} for rounding in ROUNDED),
        {"mode": "bilinear"},
        *(
            {"mode": "bicubic", "cubic_coeff_a": a, "exclude_outside": exclude}
            for a, exclude in itertools.product((-0.75, -0.5), (False, True))
        ),
    ],
    ids=lambda how: " ".join(map(str, how.values())),
)
def test_coordinates(coordinates, scaled, how, dtype):
    for shape, size in SIZES[:3]:
        steps = [0.96 * n / m if scaled else 0.0 for n, m in zip(shape, size, strict=True)]
        x = image(shape, dtype)
        rows, columns = (
            matrix(n, m, coordinates=coordinates, step=step, **how)
            for n, m, step in zip(shape, size, steps, strict=True)
        )
        attributes = {**how, "coordinates": coordinates, "scale": steps}
        check(interpolated(x, size, attributes), rows @ x.astype(float) @ columns.T, x)


@pytest.mark.parametrize("coordinates", ["half_pixel", "half_pixel_symmetric"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("exclude", [False, True])
def test_antialias(coordinates, mode, exclude, dtype):
    how = {"mode": mode, "antialias": True, "exclude_outside": exclude, "cubic_coeff_a": -0.5}
    for shape, size in SIZES:
        x = image(shape, dtype)
        rows, columns = (
            matrix(n, m, coordinates=coordinates, **how) for n, m in zip(shape, size, strict=True)
        )
        y = interpolated(x, size, {**how, "coordinates": coordinates})
        check(y, rows @ x.astype(float) @ columns.T, x)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("step", [1e-300, 1e-3, 77, 1e15, 1e308])
def test_filters_far_from_the_image(coordinates, step):
    """Whatever the coordinates, weights add up to 1, and there are no more than the image has."""
    x = np.ones((1, 1, 5, 4))
    for mode, antialias, exclude in itertools.product(
        ("bilinear", "bicubic"), (False, True), (False, True)
    ):
        if mode == "bilinear" and exclude and not antialias:
            continue
        attributes = {"mode": mode, "antialias": antialias, "exclude_outside": exclude}
        attributes |= {"coordinates": coordinates, "scale": (step, step)}
        np.testing.assert_allclose(interpolated(x, (3, 9), attributes), 1, rtol=1e-12)


@pytest.mark.parametrize("mode", ["nearest-exact", "bicubic", "area"])
@pytest.mark.parametrize("channels", [1, 4, 24, 37])
def test_in_networks(mode, channels, dtype):
    """Values between convolutions lie in blocks of channels."""

    class Resize(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Conv2d(3, channels, 1), nn.Conv2d(channels, 2, 1)

        def forward(self, x):
            y = fastconv.interpolate(self.first(x), (5, 17), mode=mode)
            return self.last(fastconv.interpolate(y, scale_factor=(2.3, 0.6), mode=mode))

    model = Resize().astype(dtype)
    x = image((9, 11), dtype)
    np.testing.assert_array_equal(model(x), model.eager(x))


def test_wide_images_need_no_more_memory_than_a_row():
    """The filter reads the rows of x where they are: 1 GB would be a copy of each, padded."""
    x = np.ones((1, 1, 4000, 4000), np.float32)
    y = fastconv.interpolate(x, 1, mode="bilinear", antialias=True)
    np.testing.assert_allclose(y, 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"antialias": True}, "antialias is for bilinear and bicubic, got the mode nearest"),
        ({"exclude_outside": True}, "exclude_outside is for bicubic and for antialias"),
        ({"cubic_coeff_a": np.nan}, "cubic_coeff_a must be finite, got nan"),
        ({"coordinates": "tf_crop_and_resize"}, "coordinates must be one of half_pixel, "),
        ({"nearest_mode": "round"}, "nearest_mode must be one of round_prefer_floor, "),
    ],
)
def test_what_graphs_refuse(attributes, message):
    graph = _core.Graph()
    x = graph.input((1, 1, 4, 4), np.dtype(np.float32))
    with pytest.raises(ValueError, match=message):
        graph.add("interpolate", [x], {"size": (2, 2), **attributes})


@pytest.mark.parametrize(
    ("mode", "size", "scale"),
    [("linear", 9, None), ("linear", (3,), None), ("linear", None, 1.7), ("nearest", (11,), None)]
    + [(mode, None, (2.5,)) for mode in ("nearest", "nearest-exact", "area", "linear")],
)
def test_signals_are_images_of_one_row(mode, size, scale):
    class Signals(nn.Module):
        def forward(self, x):
            return fastconv.interpolate(x, size, scale, mode)

    x = np.random.default_rng(0).standard_normal((2, 3, 5))
    (length,) = np.ravel(size) if scale is None else np.floor(5 * np.ravel(scale)).astype(int)
    images = {"linear": "bilinear"}.get(mode, mode)
    pair = (1, int(np.ravel(size)[0])) if scale is None else None
    factors = None if scale is None else (1, float(np.ravel(scale)[0]))
    expected = fastconv.interpolate(x[:, :, None], pair, factors, images)[:, :, 0]
    assert expected.shape == (2, 3, length)
    y = np.empty_like(expected)
    assert fastconv.interpolate(x, size, scale, mode, out=y) is y
    assert np.array_equal(y, expected)
    assert np.array_equal(Signals().astype(np.float64)(x), expected)


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (np.ones((1, 2, 3, 4)), {"size": 3, "mode": "linear"}, r"\(N, C, L\)"),
        (np.ones((1, 2, 3, 4)), {"size": (3,)}, r"\(N, C, L\)"),
        (np.ones((1, 2, 3)), {"size": (3,), "mode": "bilinear"}, "mode='bilinear'"),
        (np.ones((1, 2, 3)), {"size": (3, 4), "mode": "linear"}, "size must be a number or a seq"),
        (np.ones((1, 2, 3)), {"scale_factor": (1, 2), "mode": "linear"}, "scale_factor must be a"),
    ],
)
def test_what_signals_refuse(x, arguments, message):
    with pytest.raises(ValueError, match=message):
        fastconv.interpolate(x, **arguments)
