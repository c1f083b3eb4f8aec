"""Networks with several inputs and outputs, by place and by name."""

import collections
import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from fastconv import nn
from fastconv import ops as F

IMAGE, MASK = (2, 3, 9, 8), (2, 1, 9, 8)
Pair = collections.namedtuple("Pair", ["features", "pooled"])

# docs/accuracy.md: 1e-5 of the sum of absolute products. These are 27 of a number below 5 and a
# weight of at most 27 ** -0.5, and some are multiplied by a number below 5.
ATOL = 1e-5 * 27**0.5 * 5 * 5


def draw(shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class Masked(nn.Module):
    """An image and a mask, which may be left out; returns what `pack` makes of two values."""

    input_ndim = 4

    def __init__(self, pack=None):
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self._pack = pack

    def forward(self, image, mask=None, *, scale=None):
        features = self.conv(image)
        if mask is not None:
            features = features * F.sigmoid(mask)
        if scale is not None:
            features = features * scale
        pooled = F.mean(features, axis=(2, 3), keepdims=True)
        return features if self._pack is None else self._pack(features, pooled)


def in_tuple(a, b):
    return a, b


def in_list(a, b):
    return [a, b]


def in_dict(a, b):
    return {"pooled": b, "features": a}


def one_in_tuple(a, b):
    return (a,)


def one_in_dict(a, b):
    return {"all": a}


def twice(a, b):
    return {"a": a, "b": a, "c": b}


PACKS = (in_tuple, in_list, in_dict, Pair, one_in_tuple, one_in_dict, twice)


def parts(y):
    """Return the arrays of an output with how they are reached."""
    if isinstance(y, dict):
        return list(y.items())
    return list(enumerate(y)) if isinstance(y, (tuple, list)) else [(None, y)]


def assert_same(ours, expected, exact=False):
    assert type(ours) is type(expected)
    assert [place for place, _ in parts(ours)] == [place for place, _ in parts(expected)]
    for (_, a), (_, b) in zip(parts(ours), parts(expected), strict=True):
        assert a.dtype == b.dtype
        if exact:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=ATOL)


@pytest.fixture(params=PACKS, ids=lambda pack: pack.__name__)
def model(request):
    return Masked(request.param)


# ---- Outputs -------------------------------------------------------------------------------------


def test_what_forward_returned_comes_back(model):
    x = draw(IMAGE)
    expected = model.eager(x)
    assert_same(model(x), expected)
    network = model.compile(IMAGE)
    assert_same(network(x), expected)
    assert_same(pickle.loads(pickle.dumps(network))(x), network(x), exact=True)


def test_outputs_without_a_batch(model):
    x = draw(IMAGE)
    batch = model.eager(x[:1])
    expected = copy.copy(batch)
    if isinstance(batch, dict):
        expected = {name: value[0] for name, value in batch.items()}
    else:
        values = [value[0] for value in batch]
        expected = Pair(*values) if isinstance(batch, Pair) else type(batch)(values)
    for computed in (model.eager(x[0]), model(x[0]), model.compile(IMAGE[1:])(x[0])):
        assert_same(computed, expected)


def test_outputs_in_the_inputs_dtype():
    class Doubled(nn.Module):
        def forward(self, x):
            return {"sum": x + x, "same": F.relu(x)}

    x = draw((2, 3), "float16")
    y = Doubled()(x)
    assert [(name, value.dtype) for name, value in y.items()] == [("sum", "f2"), ("same", "f2")]
    np.testing.assert_array_equal(y["sum"], x + x)


def empty_like(y):
    empty = [np.empty_like(value) for _, value in parts(y)]
    if isinstance(y, dict):
        return dict(zip(y, empty, strict=True))
    return tuple(empty) if isinstance(y, (tuple, list)) else empty[0]


def test_outputs_into_arrays(model):
    x = draw(IMAGE)
    network = model.compile(IMAGE)
    expected = network(x)
    out = empty_like(expected)
    assert network(x, out=out) is out
    for (_, array), (_, wanted) in zip(parts(out), parts(expected), strict=True):
        np.testing.assert_array_equal(array, wanted)
    y, taps = network(x, out=empty_like(expected), taps=["conv"])
    assert_same(taps, {"conv": model.conv(x)})
    np.testing.assert_allclose(parts(y)[0][1], parts(expected)[0][1], rtol=0, atol=ATOL)


def test_arrays_for_a_mapping_in_any_order():
    network = Masked(in_dict).compile(IMAGE)
    x = draw(IMAGE)
    expected = network(x)
    out = {name: np.empty_like(expected[name]) for name in ("features", "pooled")}
    network(x, out=out)
    for name, array in out.items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ({"pooled": np.empty((2, 5, 1, 1), "f4")}, TypeError, r"keys .*'pooled'.*'features'.* got"),
        (
            {"pooled": np.empty((2, 5, 1, 1), "f4"), "other": np.empty((2, 5, 9, 8), "f4")},
            TypeError,
            r"\['features'\], got \['pooled'\], \['other'\]",
        ),
        ((np.empty((2, 5, 1, 1), "f4"),) * 2, TypeError, "must be a mapping .*, got tuple"),
        (np.empty((2, 5, 1, 1), "f4"), TypeError, "must be a mapping .*, got ndarray"),
        (
            {"pooled": None, "features": None},
            TypeError,
            r"out\['pooled'\] must be a numpy.ndarray, got None",
        ),
        (
            {"pooled": np.empty((2, 5, 1, 1), "f4"), "features": np.empty((2, 5, 9, 9), "f4")},
            ValueError,
            r"out\['features'\] must have shape \(2, 5, 9, 8\), got \(2, 5, 9, 9\)",
        ),
        (
            {"pooled": np.empty((2, 5, 1, 1), "f8"), "features": np.empty((2, 5, 9, 8), "f4")},
            TypeError,
            r"out\['pooled'\] must be float32",
        ),
    ],
)
def test_arrays_that_do_not_fit_a_mapping(out, error, message):
    network = Masked(in_dict).compile(IMAGE)
    with pytest.raises(error, match=message):
        network(draw(IMAGE), out=out)


def test_a_mapping_for_a_tuple():
    network = Masked(in_tuple).compile(IMAGE)
    out = {0: np.empty((2, 5, 9, 8), "f4"), 1: np.empty((2, 5, 1, 1), "f4")}
    with pytest.raises(TypeError, match=r"out must be a tuple of 2 arrays, .*, got dict"):
        network(draw(IMAGE), out=out)


def test_arrays_of_a_mapping_must_not_overlap():
    network = Masked(twice).compile(IMAGE)
    array = np.empty((2, 5, 9, 8), "f4")
    with pytest.raises(ValueError, match=r"out\['b'\] overlaps out\['a'\]"):
        network(draw(IMAGE), out={"a": array, "b": array, "c": np.empty((2, 5, 1, 1), "f4")})


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        (lambda a, b: {"a": a, "b": (a, b)}, r"not nested, got tuple as output\['b'\]"),
        (lambda a, b: (a, {"b": b}), r"not nested, got dict as output\[1\]"),
        (lambda a, b: [a, [b]], r"not nested, got list as output\[1\]"),
        (lambda a, b: {"a": a, 1: b}, r"strings as keys, got \['a', 1\]"),
        (lambda a, b: {"a": a, "b": None}, r"dict of such values, got NoneType as output\['b'\]"),
        (
            lambda a, b: None,
            "dict of such values, got NoneType: |dict of such values, got NoneType$",
        ),
        (lambda a, b: (), "an empty tuple"),
        (lambda a, b: {}, "an empty dict"),
    ],
)
def test_what_forward_must_not_return(pack, message):
    model = Masked(pack)
    for run in (
        lambda: model(draw(IMAGE)),
        lambda: model.compile(IMAGE),
        lambda: model.graph(IMAGE),
    ):
        with pytest.raises(TypeError, match=rf"Masked\.forward must return .*{message}"):
            run()


# ---- Inputs --------------------------------------------------------------------------------------


def test_inputs_by_place_and_by_name():
    model, x, mask, scale = Masked(), draw(IMAGE), draw(MASK, seed=1), draw((2, 5, 1, 1), seed=2)
    expected = model.eager(x, mask, scale=scale)
    assert_same(model.eager(scale=scale, mask=mask, image=x), expected, exact=True)
    assert_same(model(x, mask, scale=scale), expected)
    assert_same(model(scale=scale, mask=mask, image=x), expected)
    named = model.compile({"scale": scale.shape, "image": IMAGE, "mask": MASK})
    for y in (
        named(x, mask, scale),
        named(x, mask=mask, scale=scale),
        named(scale=scale, image=x, mask=mask),
        named({"scale": scale, "image": x, "mask": mask}),
        named(collections.OrderedDict(mask=mask, scale=scale, image=x)),
    ):
        assert_same(y, expected)
    placed = model.compile([IMAGE, MASK])
    expected = model.eager(x, mask)
    assert_same(placed(x, mask), expected)
    assert_same(placed(mask=mask, image=x), expected)
    assert_same(model(x), model.eager(x))


def test_what_was_compiled_for():
    model = Masked()
    assert model.compile(IMAGE).input_shape == IMAGE
    assert model.compile([list(IMAGE)]).input_shape == IMAGE
    assert model.compile([IMAGE, MASK]).input_shape == (IMAGE, MASK)
    network = model.compile({"mask": MASK, "image": IMAGE})
    assert network.input_shape == {"image": IMAGE, "mask": MASK}
    x, mask = draw(IMAGE), draw(MASK)
    for again in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert again.input_shape == network.input_shape
        np.testing.assert_array_equal(again(mask=mask, image=x), network(x, mask))


def test_one_input_by_name():
    network = Masked().compile(IMAGE)
    x = draw(IMAGE)
    np.testing.assert_array_equal(network(image=x), network(x))
    np.testing.assert_array_equal(network({"image": x}), network(x))
    network.profile({"image": x}, repeats=1)


def test_inputs_without_a_batch():
    model, x, mask = Masked(in_dict), draw(IMAGE), draw(MASK, seed=1)
    batch = model.eager(x[:1], mask[:1])
    expected = {name: value[0] for name, value in batch.items()}
    network = model.compile({"image": IMAGE[1:], "mask": MASK[1:]})
    assert network.input_shape == {"image": IMAGE[1:], "mask": MASK[1:]}
    for y in (
        model(x[0], mask[0]),
        model(x[0], mask=mask[0]),
        model.eager(x[0], mask=mask[0]),
        network(x[0], mask=mask[0]),
    ):
        assert_same(y, expected)
    out = empty_like(expected)
    network(x[0], mask[0], out=out)
    np.testing.assert_array_equal(out["features"], network(x[0], mask[0])["features"])


def test_any_strides():
    model = Masked()
    x = draw((8, 9, 3, 2)).transpose(3, 2, 1, 0)
    mask = draw((2, 1, 9, 16), seed=1)[..., ::2]
    expected = model.eager(x, mask)
    assert_same(model(x, mask), expected)
    assert_same(model.compile((IMAGE, MASK))(x, mask), expected)


def test_graphs_of_several_inputs():
    by_place, by_name = (
        Masked(in_dict).graph(shapes) for shapes in ((IMAGE, MASK), {"mask": MASK, "image": IMAGE})
    )
    for graph in (by_place, by_name):
        assert [node.shape for node in graph.inputs] == [IMAGE, MASK]
        assert [node.shape for node in graph.outputs] == [(2, 5, 1, 1), (2, 5, 9, 8)]
    assert str(by_place) == str(by_name)
    assert [node.shape for node in Masked().graph((IMAGE[1:], MASK[1:])).inputs] == [
        (1, *IMAGE[1:]),
        (1, *MASK[1:]),
    ]


def test_modules_call_modules_by_name():
    class Outer(nn.Module):
        def __init__(self):
            self.inner = Masked(in_dict)

        def forward(self, a, *others, **more):
            y = self.inner(mask=others[0], image=a)
            return {"out": y["features"] * y["pooled"], **{k: F.relu(v) for k, v in more.items()}}

    model, x, mask = Outer(), draw(IMAGE), draw(MASK, seed=1)
    expected = model.eager(x, mask, extra=mask)
    assert list(expected) == ["out", "extra"]
    assert_same(model(x, mask, extra=mask), expected)
    network = model.compile((IMAGE, MASK), taps=["inner.conv"])
    y, taps = network(x, mask)
    assert_same(y, model.eager(x, mask))
    assert_same(taps, {"inner.conv": model.inner.conv(x)})
    with pytest.raises(ValueError, match="'inner' or it returns no one array"):
        network(x, mask, taps=["inner"])


def test_tuned_and_profiled():
    model, x, mask = Masked(), draw(IMAGE), draw(MASK, seed=1)
    network = model.compile({"image": IMAGE, "mask": MASK}, autotune=True)
    assert_same(network(x, mask), model.eager(x, mask))
    profile = network.profile(x, mask=mask, repeats=1)
    assert [step["op"] for step in profile] == [step["op"] for step in network.explain()]


def test_networks_are_kept_by_shapes_and_names():
    class Sub(nn.Module):
        def forward(self, a, b=None, c=None):
            return a + (-1) * (b if c is None else c * c)

    model, a, b = Sub(), draw((2, 3)), draw((2, 3), seed=1)
    np.testing.assert_array_equal(model(a, b), a - b)
    np.testing.assert_array_equal(model(a, c=b), a - b * b)
    np.testing.assert_array_equal(model(b=a, a=b), b - a)
    np.testing.assert_array_equal(model(a, b[:1]), a - b[:1])


@pytest.mark.parametrize(
    ("shapes", "error", "message"),
    [
        (
            (IMAGE, MASK, MASK),
            TypeError,
            r"takes \(image, mask=None, \*, scale=None\), got 3 inputs",
        ),
        ({"image": IMAGE, "masks": MASK}, TypeError, "got 2 inputs: .*unexpected.*'masks'"),
        ({"mask": MASK}, TypeError, "got 1 input: missing a required argument: 'image'"),
        ({}, TypeError, "got 0 inputs: missing a required argument: 'image'"),
        ({0: IMAGE}, TypeError, r"input_shape must have strings as keys, got \[0\]"),
        ({"image": 3}, TypeError, r"input_shape\['image'\] must be a sequence of integers"),
        ((IMAGE, 3), TypeError, r"input_shape\[1\] must be a sequence of integers .*, got 3"),
        ((IMAGE, (2, 1.5)), TypeError, r"input_shape\[1\] must be an integer, got float"),
        ((IMAGE, (2, -1, 9, 8)), ValueError, r"input_shape\[1\] must be .*sizes"),
        ((IMAGE, ()), ValueError, r"input_shape\[1\] must be .*sizes"),
        ((), ValueError, "input_shape must be .*sizes"),
        ("image", TypeError, "input_shape must be a sequence of integers"),
    ],
)
def test_shapes_that_do_not_fit(shapes, error, message):
    for method in (Masked().compile, Masked().graph):
        with pytest.raises(error, match=message):
            method(shapes)


NETWORK = r"^the network takes image, mask: "


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((), {}, TypeError, NETWORK + "got no image$"),
        ((IMAGE,), {}, TypeError, NETWORK + "got no mask$"),
        ((IMAGE, MASK, MASK), {}, TypeError, NETWORK + "got 3 arrays$"),
        ((IMAGE, MASK), {"mask": MASK}, TypeError, NETWORK + "got mask twice$"),
        ((IMAGE,), {"masks": MASK}, TypeError, NETWORK + "got an array 'masks'$"),
        (
            (MASK, IMAGE),
            {},
            ValueError,
            r"^image must have shape .*, got \(2, 1, 9, 8\)",
        ),
        (
            (IMAGE, MASK[1:]),
            {},
            ValueError,
            r"^mask must have shape .*, got \(1, 9, 8\)",
        ),
        (
            (IMAGE,),
            {"mask": (2, 9, 8, 1)},
            ValueError,
            r"^mask must have .*: channels come first, mask.transpose\(0, 3, 1, 2\)",
        ),
    ],
)
def test_arrays_that_do_not_fit(args, kwargs, error, message):
    network = Masked().compile((IMAGE, MASK))
    args = tuple(draw(shape) for shape in args)
    kwargs = {name: draw(shape) for name, shape in kwargs.items()}
    for method in (network, network.profile):
        with pytest.raises(error, match=message):
            method(*args, **kwargs)


def test_other_dtypes():
    model, x, mask = Masked(), draw(IMAGE), draw(MASK)
    network = model.compile((IMAGE, MASK))
    with pytest.raises(TypeError, match=r"mask must be float32 .* mask\.astype\(np\.float32\)"):
        network(x, mask.astype("f8"))
    for run in (model, model.eager):
        with pytest.raises(TypeError, match=r"the input mask has dtype float64, .*mask\.astype"):
            run(x, mask.astype("f8"))
        with pytest.raises(TypeError, match="mask must be an array, got None"):
            run(x, None)
        with pytest.raises(TypeError, match="scale must be an array, got None"):
            run(x, scale=None)
    with pytest.raises(TypeError, match="image must be an array, got None"):
        network(None, mask)


def test_what_is_left_in_no_cache():
    class Calls(nn.Module):
        def __init__(self, forward):
            self.forward = forward

    held = np.ones((2, 3), np.float32)
    alive = weakref.ref(held)
    model = Calls(lambda x, held=held: x + held)
    assert (model(np.ones((2, 3), np.float32)) == 2).all()
    del held, model
    gc.collect()
    assert alive() is None


def test_other_arguments():
    model, x = Masked(), draw(IMAGE)
    for run in (model, model.eager):
        with pytest.raises(TypeError, match=r"Masked\.forward takes .*, got 2 inputs: .*'masks'"):
            run(x, masks=x)
        with pytest.raises(TypeError, match=r"Masked\.forward takes .*, got 0 inputs: .*'image'"):
            run()


def test_out_must_not_overlap_any_input():
    network = Masked().compile((IMAGE, MASK))
    buffer = np.zeros(2 * 5 * 9 * 8, np.float32)
    mask = buffer[: 2 * 9 * 8].reshape(MASK)
    with pytest.raises(ValueError, match="out overlaps mask"):
        network(draw(IMAGE), mask, out=buffer.reshape(2, 5, 9, 8))
