"""Recording: what symbolic values take, what they refuse, and what the passes make of a graph."""

import fastconv
import numpy as np
import pytest
from fastconv import _core, nn
from fastconv.graph._symbols import Recorder, Symbol


@pytest.fixture
def graph():
    return Recorder(np.dtype(np.float32))


@pytest.fixture
def x(graph):
    return graph.input((2, 8, 6, 6))


def steps(graph, *outputs):
    native = _core.Network(graph.native, [y.id for y in outputs], "fast", None, 0)
    return [step["op"] for step in native.steps()]


def weight(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def test_symbol_has_shape_and_dtype(x):
    assert (x.shape, x.ndim, x.dtype) == ((2, 8, 6, 6), 4, np.float32)
    assert repr(x) == "Symbol(shape=(2, 8, 6, 6), dtype=float32)"


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        slice(None),
        (slice(None), slice(2, 7)),
        (slice(None), slice(None, None, 2), ..., slice(4, 0, -1)),
        (..., 3),
        (slice(None), None, 1),
        (0, ..., None),
        (slice(5, 2),),
    ],
)
def test_basic_slicing_has_numpys_shape(x, key):
    assert x[key].shape == np.empty(x.shape)[key].shape


@pytest.mark.parametrize("key", [2, (slice(None),) * 5, (0, 0, 0, 6)])
def test_slicing_out_of_range(x, key):
    with pytest.raises(IndexError):
        x[key]


def test_arithmetic_broadcasts_and_reflects(x):
    column = weight(8, 1, 1)
    for y in (x + x, x * x, x + 1, 2.5 * x, x + column, column * x, np.float32(3) + x):
        assert isinstance(y, Symbol)
        assert y.shape == x.shape


@pytest.mark.parametrize(
    ("misuse", "substitute"),
    [
        (np.asarray, "eager"),
        (lambda x: x // 2, r"fastconv.floor\(x / y\)"),
        (lambda x: x % 2, "fastconv.floor"),
        (np.log2, "fastconv.ops"),
        (np.average, "fastconv.mean"),
        (lambda x: np.vstack([x, x]), "fastconv.concat"),
        (lambda x: x.view(2, -1), r"x.reshape\(shape\)"),
        (lambda x: x.mean(dim=1), "fastconv.mean"),
        (lambda x: x.T, "fastconv.permute"),
        (bool, "truth value"),
        (float, "float"),
        (list, "split"),
        (len, r"x.shape\[0\]"),
        (lambda x: 1 in x, "operator in"),
        (lambda x: x[[0, 1], [0, 1]], "slices"),
        (lambda x: x[True], "boolean"),
        (lambda x: x + "a", "a number or an array"),
        (lambda x: x * np.ones(6), "astype"),
    ],
)
def test_misuse_names_the_substitute(x, misuse, substitute):
    with pytest.raises(TypeError, match=substitute):
        misuse(x)


PROMOTING = {
    "float64": lambda x: x * np.float64(2),
    "root": lambda x: np.sqrt(2.0) * x,
    "int64": lambda x: x + np.int64(2),
    "no dimensions": lambda x: x * np.array(2.0),
    "function": lambda x: fastconv.add(x, np.array(2.0)),
    "in place": lambda x: fastconv.relu(x).__imul__(np.float64(2)),
}


@pytest.mark.parametrize("kind", sorted(PROMOTING))
def test_what_would_go_on_in_float64_is_refused(kind):
    module, x = Function(PROMOTING[kind]), weight(1, 2, 3, 3)
    with pytest.raises(TypeError, match=r"has dtype \w+64, but .* float32.*(float\(|astype)"):
        module.compile(x.shape)
    assert module.compile(x.shape, precision="fp64").dtype == np.float64
    if kind != "in place":
        module.compile(x.shape, precision="fp32")  # which converts


def test_numbers_that_keep_the_dtype_work(x):
    for number in (2, 2.0, float(np.sqrt(2)), np.float32(2), np.float16(2), np.int8(2)):
        for y in (x * number, number + x):
            assert y.dtype == np.float32
    wide = Recorder(np.dtype(np.float64)).input((2, 3))
    assert (wide * np.float64(2) + np.float32(1)).dtype == np.float64


# ---- += and *= -----------------------------------------------------------------------------------


class Function(nn.Module):
    """Computes a function; has a child whose output may be tapped."""

    def __init__(self, function):
        self._function = function
        self.child = nn.ReLU()

    def forward(self, x):
        return self._function(x)


def change(y, by=1):
    y += by
    return y


def alias(x):
    y = fastconv.relu(x)
    z = y
    z += 1
    return fastconv.multiply(y, z)


def residual(x):
    y = fastconv.permute(fastconv.relu(x), (0, 1, 3, 2))
    y *= 2.5
    y += x
    y *= weight(8, 1, 1)
    return y + y


def inside_modules(x):
    y = x + 1
    nn.Sequential(nn.Identity(), nn.Dropout(0.5), Function(change))(y)
    return y


def parts(x):
    y = fastconv.relu(x)
    a, b = fastconv.split(y, 4, 1)
    a += b
    y += 1
    return fastconv.concat([a, y], 1)


def copies(x):
    y = x.copy()
    y += x
    z = y.copy()[:, :4].copy()
    z *= 3
    return fastconv.concat([y, z], 1)


def wrapped(x):
    y = fastconv.relu(x)
    z = fastconv.pad(y, (1, 1), "circular")
    y += 1
    z *= 2
    return fastconv.concat([y, z], 3)


def rearranged(x):
    y = fastconv.relu(x)
    z = fastconv.reshape(y, (2, -1))
    z += 1
    y *= 3
    return fastconv.flatten(y, 1) + z


@pytest.mark.parametrize(
    "function", [alias, residual, inside_modules, parts, copies, wrapped, rearranged]
)
def test_what_is_changed_in_place_is_changed_for_all(function):
    module, x = Function(function), weight(2, 8, 6, 6)
    before = x.copy()
    expected = module.eager(x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(module(x), expected, rtol=1e-6)
    np.testing.assert_allclose(module.compile(x.shape)(x), expected, rtol=1e-6)


def test_aliases_are_one_array():
    module, x = Function(alias), np.full((1, 1), 2, np.float32)
    assert module(x).tolist() == module.eager(x).tolist() == [[9.0]]


VIEWS = {
    "a slice": lambda x: x[:, 1:],
    "an element": lambda x: x[0],
    "reshape": lambda x: x.reshape(2, -1),
    "transpose": lambda x: x.transpose(1, 0, 2, 3),
    "swapaxes": lambda x: x.swapaxes(1, 2),
    "squeeze": lambda x: x.squeeze(),
}


@pytest.mark.parametrize("kind", sorted(VIEWS))
def test_views_cannot_be_changed_nor_what_has_them(kind):
    def has_views(x):
        y = x + 1
        view = VIEWS[kind](y)
        return fastconv.relu(view), change(y)

    for function in (has_views, lambda x: change(VIEWS[kind](x + 1))):
        with pytest.raises(TypeError, match=r"x \+= y cannot be recorded .*write x = x \+ y"):
            Function(function)(weight(2, 8, 6, 6))


@pytest.mark.parametrize("function", [change, lambda x: change(x[:, 1:])])
def test_inputs_are_not_written_to(function):
    module, x = Function(function), weight(2, 8, 6, 6)
    before = x.copy()
    with pytest.raises(TypeError, match=r"x is an input"):
        module(x)
    with pytest.raises(ValueError, match="read-only"):
        module.eager(x)
    with pytest.raises(ValueError, match="read-only"):
        nn.Sequential(module).eager(x)
    np.testing.assert_array_equal(x, before)
    assert x.flags.writeable


def test_numbers_are_not_written_to():
    with pytest.raises(TypeError, match="has no dimensions"):
        Function(lambda x: change(x.mean()))(weight(2, 3))


def test_what_is_changed_in_place_keeps_its_shape():
    module, x = Function(lambda x: change(x[:, :1].copy(), x)), weight(2, 8, 6, 6)
    with pytest.raises(
        ValueError, match=r"has shape \(2, 1, 6, 6\), but the result \(2, 8, 6, 6\)"
    ):
        module(x)
    with pytest.raises(ValueError, match="broadcast"):
        module.eager(x)


def test_recorded_values_are_those_of_their_time():
    module = Function(lambda x: change(module.child(x)))
    x = weight(2, 8, 6, 6)
    y, taps = module.compile(x.shape)(x, taps=["child"])
    np.testing.assert_array_equal(taps["child"], np.maximum(x, 0))
    np.testing.assert_array_equal(y, np.maximum(x, 0) + 1)
    relu, add = (node for node in module.graph(x.shape) if node.op in ("activation", "add"))
    assert add.inputs[0] is relu is not add


# ---- Errors --------------------------------------------------------------------------------------


def test_signals_without_elements_are_refused_in_both_ways():
    module = Function(lambda x: fastconv.conv1d(x, weight(2, 2, 3), padding=1))
    for call in (module, module.eager):
        with pytest.raises(ValueError, match=r"at least one channel, row and column, got"):
            call(weight(1, 2, 0))


def test_absent_arrays_are_named(x):
    kernel = weight(8, 8, 3, 3)
    for call, name in (
        (lambda: fastconv.concat([x, None], 1), r"arrays\[1\]"),
        (lambda: fastconv.conv2d(None, kernel, residual=x), "x"),
        (lambda: fastconv.conv2d(x, None), "weight"),
        (lambda: fastconv.conv1d(None, kernel[0], residual=x), "x"),
        (lambda: fastconv.linear(None, kernel[0, 0], residual=x), "x"),
        (lambda: fastconv.linear(x, None), "weight"),
        (lambda: fastconv.conv_transpose2d(x, None), "weight"),
        (lambda: fastconv.batch_norm(x, None, None), "running_mean"),
        (lambda: fastconv.add(x, None), "b"),
    ):
        with pytest.raises(TypeError, match=f"^{name} must be an array, got None"):
            call()


def test_assignment_is_refused(x):
    with pytest.raises(TypeError, match="concat"):
        x[0] = 1


def test_values_of_two_recordings_do_not_mix(x):
    with pytest.raises(ValueError, match="different recordings"):
        x + Recorder(np.dtype(np.float32)).input(x.shape)


def test_shape_errors_name_the_argument(x):
    with pytest.raises(ValueError, match="weight has 3 input channels but x has 8"):
        fastconv.conv2d(x, weight(4, 3, 3, 3))
    with pytest.raises(ValueError, match="do not broadcast"):
        x + weight(5)
    with pytest.raises(ValueError, match="may differ along axis 1"):
        fastconv.concat([x, x[:, :, :3]], 1)
    with pytest.raises(ValueError, match="input features"):
        fastconv.linear(x, weight(4, 7))


def test_conv_bn_relu_is_one_step(graph, x):
    y = fastconv.conv2d(x, weight(8, 8, 3, 3), padding=1)
    y = fastconv.batch_norm(y, weight(8), abs(weight(8)), weight(8), weight(8))
    assert steps(graph, fastconv.relu(y)) == ["conv2d+relu"]


@pytest.mark.parametrize("swap", [False, True])
def test_residual_goes_into_the_convolution(graph, x, swap):
    y = fastconv.conv2d(x, weight(8, 8, 3, 3), padding=1)
    z = fastconv.conv2d(y, weight(8, 8, 3, 3), padding=1)
    y = fastconv.relu(z + y if swap else y + z)
    assert steps(graph, y) == ["conv2d", "conv2d+add+relu"]


def test_a_value_with_two_uses_is_not_fused(graph, x):
    y = fastconv.conv2d(x, weight(8, 8, 3, 3), padding=1)
    assert steps(graph, fastconv.relu(y) * y) == ["conv2d", "pointwise", "copy"]


def test_an_output_is_not_fused(graph, x):
    y = fastconv.conv2d(x, weight(8, 8, 3, 3), padding=1)
    assert steps(graph, y, fastconv.relu(y)) == ["conv2d", "copy", "activation", "copy"]


def test_padding_goes_into_the_convolution(graph, x):
    y = fastconv.conv2d(fastconv.pad(x, (0, 1, 2, 1)), weight(8, 8, 3, 3))
    assert steps(graph, y) == ["conv2d"]
    y = fastconv.conv2d(fastconv.pad(x, (0, 1, 2, 1), value=1), weight(8, 8, 3, 3))
    assert steps(graph, y) == ["pad", "conv2d"]


def test_dead_code_and_identities_vanish(graph, x):
    fastconv.conv2d(x, weight(8, 8, 3, 3))
    y = fastconv.permute(fastconv.permute(x, (0, 2, 3, 1)), (0, 3, 1, 2))
    y = fastconv.reshape(fastconv.reshape(y[:], (2, -1)), x.shape)
    y = fastconv.channel_shuffle(y, 1)
    assert steps(graph, fastconv.conv2d(y, weight(8, 8, 3, 3))) == ["conv2d"]


def test_channels_last_sections_run_on_nchw(graph):
    x = graph.input((2, 16, 6, 6))
    y = fastconv.conv2d(x, weight(16, 1, 7, 7), padding=3, groups=16)
    y = fastconv.permute(y, (0, 2, 3, 1))
    y = fastconv.layer_norm(y, (16,), weight(16), weight(16))
    y = fastconv.gelu(fastconv.linear(y, weight(64, 16), weight(64)))
    y = fastconv.linear(y, weight(16, 64), weight(16))
    y = weight(16, 1, 1) * fastconv.permute(y, (0, 3, 1, 2))
    assert steps(graph, x + y) == ["conv2d", "layer_norm", "conv2d+gelu", "conv2d+add"]


@pytest.mark.parametrize("kind", ["sum with a constant", "product with a constant", "matmul"])
def test_permuted_values_with_fewer_axes_than_the_result(kind):
    wide = weight(5, 1, 4, 3)
    function = {
        "sum with a constant": lambda x: wide + fastconv.permute(x, (2, 0, 1)),
        "product with a constant": lambda x: fastconv.permute(x, (2, 0, 1)) * wide,
        "matmul": lambda x: fastconv.matmul(fastconv.permute(x, (2, 1, 0)), weight(5, 1, 4, 3)),
    }[kind]
    x = weight(4, 3, 2)
    module = Function(function)
    np.testing.assert_allclose(module(x), module.eager(x), rtol=1e-6, atol=1e-6)


def test_concatenation_is_free(graph):
    # Blocks of every instruction set divide 16 channels.
    x = graph.input((2, 16, 6, 6))
    features = [fastconv.relu(fastconv.conv2d(x, weight(32, 16, 3, 3), padding=1))]
    for _ in range(3):
        y = fastconv.concat(features, 1)
        features.append(fastconv.conv2d(y, weight(16, y.shape[1], 3, 3), padding=1))
    y = fastconv.conv2d(fastconv.concat(features, 1), weight(8, 80, 1, 1))
    assert steps(graph, y) == ["conv2d+relu"] + ["conv2d"] * 4


def test_names_are_the_innermost_modules():
    class Block(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            y = self.a(x)
            y = fastconv.sigmoid(y) * y
            return self.b(y)

    network = nn.Sequential(Block(), nn.MaxPool2d(2)).compile((1, 4, 6, 6))
    assert [(s["name"], s["op"]) for s in network.explain() if s["op"] != "copy"] == [
        ("0.a", "conv2d"),
        ("0", "pointwise"),
        ("0.b", "conv2d"),
        ("1", "max_pool2d"),
    ]
