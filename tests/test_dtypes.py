"""The dtypes of values in graphs: all can be moved; what has no kernel for one says so."""

import re

import numpy as np
import pytest
from fastconv import _core
from fastconv.graph import Graph
from operator_facts import add_sample
from operator_samples import BFLOAT16, COMPUTE, DTYPES, MASKS, SAMPLES

NOT_COMPUTED = {name: d for name, d in DTYPES.items() if name not in ("float32", "float64")}


def array(dtype, shape):
    """All bit patterns, NaNs with payloads among them."""
    if dtype == np.bool_:
        return np.random.default_rng(0).random(shape) < 0.5
    data = np.random.default_rng(0).bytes(int(np.prod(shape)) * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape).copy()


def bits(x):
    return x.dtype, x.shape, x.tobytes()


def network(graph, *outputs):
    return _core.Network(graph, list(outputs), "fast", None, 1)


def slice_(graph, x, start, stop, step):
    return graph.add("slice", [x], {"start": start, "stop": stop, "step": step})


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("poison", [False, True])
def test_moves_are_exact(dtype, poison):
    x, c = array(dtype, (2, 4, 6, 3)), array(dtype, (2, 1, 6, 3))
    graph = _core.Graph()
    i = graph.input(x.shape, dtype)
    outputs = {
        graph.add("reshape", [i], {"shape": (4, -1)}): x.reshape(4, -1),
        graph.add("permute", [i], {"order": (3, 0, 2, 1)}): x.transpose(3, 0, 2, 1),
        slice_(graph, i, (0, 1, 5, 2), (2, 4, 0, -1), (1, 2, -2, -1)): x[:, 1:4:2, 5:0:-2, ::-1],
        slice_(graph, i, (1, 0, 0, 0), (2, 4, 6, 3), (1, 1, 1, 1)): x[1:],
        graph.add("concat", [i, graph.constant(c)], {"axis": 1}): np.concatenate([x, c], 1),
        graph.add("concat", [i, i], {"axis": 3}): np.concatenate([x, x], 3),
        graph.add(
            "pad", [i], {"before": (0, 1, 2, 0), "after": (0, 0, 1, -1), "mode": "constant"}
        ): np.pad(x[..., :2], ((0, 0), (1, 0), (2, 1), (0, 0))),
        graph.add(
            "pad", [i], {"before": (0, 0, 2, 0), "after": (0, 0, 1, 0), "mode": "reflect"}
        ): np.pad(x, ((0, 0), (0, 0), (2, 1), (0, 0)), mode="reflect"),
        graph.add("channel_shuffle", [i], {"groups": 2}): x[:, [0, 2, 1, 3]],
        graph.add("pixel_shuffle", [i], {"upscale_factor": 2}): x.reshape(2, 1, 2, 2, 6, 3)
        .transpose(0, 1, 4, 2, 5, 3)
        .reshape(2, 1, 12, 6),
        graph.add("pixel_shuffle", [i], {"upscale_factor": 2, "mode": "DCR"}): x.reshape(
            2, 2, 2, 1, 6, 3
        )
        .transpose(0, 3, 4, 1, 5, 2)
        .reshape(2, 1, 12, 6),
        graph.add("pixel_unshuffle", [i], {"downscale_factor": 3}): x.reshape(2, 4, 2, 3, 1, 3)
        .transpose(0, 1, 3, 5, 2, 4)
        .reshape(2, 36, 2, 1),
        graph.add("pixel_unshuffle", [i], {"downscale_factor": 3, "mode": "DCR"}): x.reshape(
            2, 4, 2, 3, 1, 3
        )
        .transpose(0, 3, 5, 1, 2, 4)
        .reshape(2, 36, 2, 1),
        graph.add("take", [i], {"axis": -3, "indices": (3, -4, 3)}): x[:, [3, 0, 3]],
        graph.add("take", [i], {"axis": 3, "indices": (2, 0)}): x[..., [2, 0]],
        graph.add("take", [i], {"axis": 0, "indices": ()}): x[:0],
        graph.add("tile", [i], {"repeats": (1, 2, 1, 3)}): np.tile(x, (1, 2, 1, 3)),
        graph.add("tile", [i], {"repeats": (1, 0, 1, 3)}): np.tile(x, (1, 0, 1, 3)),
        slice_(graph, i, (0, 0, 0, 0), (0, 4, 6, 3), (1, 1, 1, 1)): x[:0],
    }
    # One after the other, through the arena.
    swapped = graph.add("permute", [i], {"order": (0, 2, 1, 3)})
    swapped = slice_(graph, swapped, (0, 5, 0, 0), (2, -1, 4, 3), (1, -1, 1, 1))
    twice = graph.add("concat", [swapped, swapped], {"axis": 2})
    outputs[graph.add("reshape", [twice], {"shape": (-1,)})] = np.tile(
        x.transpose(0, 2, 1, 3)[:, ::-1], (1, 1, 2, 1)
    ).ravel()
    outputs[i] = x
    for value in outputs:
        assert graph.node(value)[4] == dtype
    _core.set_poison_arenas(poison)
    try:
        results = network(graph, *outputs).run([x])
    finally:
        _core.set_poison_arenas(False)
    for value, y, expected in zip(outputs, results, outputs.values(), strict=True):
        assert bits(y) == bits(np.ascontiguousarray(expected)), graph.node(value)


def test_a_network_holds_values_of_several_dtypes():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    z, k = x.astype(np.float64), np.arange(6, dtype=np.int64).reshape(2, 3)
    w = np.random.default_rng(1).standard_normal((5, 3, 3, 3))
    graph = _core.Graph()
    a, b, c = (graph.input(v.shape, v.dtype) for v in (x, z, k))
    single = graph.add("conv2d", [a, graph.constant(w.astype(np.float32))], {"padding": "same"})
    double = graph.add("conv2d", [b, graph.constant(w)], {"padding": "same"})
    outputs = [
        graph.add("mean", [graph.add("activation", [v], {"kind": "relu"})], {"axis": (2, 3)})
        for v in (single, double)
    ]
    outputs.append(graph.add("permute", [c], {"order": (1, 0)}))
    low, high, moved = network(graph, *outputs).run([x, z, k])
    assert (low.dtype, high.dtype, moved.dtype) == (x.dtype, z.dtype, k.dtype)
    np.testing.assert_allclose(low, high, rtol=1e-5)
    assert (moved == k.T).all()

    def alone(value, weight):
        g = _core.Graph()
        y = g.input(value.shape, value.dtype)
        y = g.add("conv2d", [y, g.constant(weight)], {"padding": "same"})
        y = g.add("mean", [g.add("activation", [y], {"kind": "relu"})], {"axis": (2, 3)})
        return network(g, y).run([value])[0]

    assert bits(low) == bits(alone(x, w.astype(np.float32)))
    assert bits(high) == bits(alone(z, w))


def test_all_operators_are_here():
    assert {name for name, *_ in _core.operators()} == SAMPLES.keys()


@pytest.mark.parametrize("dtype", NOT_COMPUTED.values(), ids=NOT_COMPUTED)
@pytest.mark.parametrize("op", COMPUTE)
def test_what_has_no_kernel_says_so(op, dtype):
    graph = _core.Graph()
    y = add_sample(graph, op, COMPUTE[op], dtype)
    result = {name: result for name, _, result in _core.instructions()}.get(op)
    expected = np.int64 if op in ("argmax", "argmin") else np.bool_ if result == "m" else dtype
    assert graph.dtype(y) == graph.node(y)[4] == expected
    name = "bfloat16" if dtype == BFLOAT16 else dtype.name
    message = f"^{op} has no kernel for {name} on the CPU$"
    with pytest.raises(ValueError, match=message):
        network(graph, y)
    with pytest.raises(ValueError, match=message):
        _core.Network.plan(graph, [y], "fast", None)


@pytest.mark.cuda
@pytest.mark.parametrize("name", sorted(NOT_COMPUTED.keys() - {"bool"}))
def test_cuda_computes_in_floats(name):
    from fastconv import _cuda

    graph = _core.Graph()
    y = graph.add("reshape", [graph.input((2, 3), DTYPES[name])], {"shape": (6,)})
    with pytest.raises(ValueError, match=r"input has no kernel for \w+ on device='cuda'"):
        _cuda.Network(graph, [y])


@pytest.mark.cuda
@pytest.mark.parametrize("op", sorted(COMPUTE))
def test_cuda_takes_no_mask_for_a_number(op):
    from fastconv import _cuda

    graph = _core.Graph()
    y = add_sample(graph, op, COMPUTE[op], np.bool_)
    with pytest.raises(ValueError, match=rf"^{op} has no kernel for \w+ on device='cuda'$"):
        _cuda.Network(graph, [y])


@pytest.mark.cuda
def test_masks_move_on_a_device():
    from fastconv import _cuda

    x, c = array(np.dtype(np.bool_), (2, 4, 6, 3)), array(np.dtype(np.bool_), (2, 1, 6, 3))
    graph = _core.Graph()
    i = graph.input(x.shape, np.bool_)
    shuffled = graph.add("pixel_shuffle", [i], {"upscale_factor": 2})
    outputs = {
        i: x,
        graph.add("reshape", [i], {"shape": (4, -1)}): x.reshape(4, -1),
        graph.add("permute", [i], {"order": (3, 0, 2, 1)}): x.transpose(3, 0, 2, 1),
        slice_(graph, i, (0, 1, 5, 2), (2, 4, 0, -1), (1, 2, -2, -1)): x[:, 1:4:2, 5:0:-2, ::-1],
        graph.add("concat", [i, graph.constant(c)], {"axis": 1}): np.concatenate([x, c], 1),
        graph.add(
            "pad", [i], {"before": (0, 1, 2, 0), "after": (0, 0, 1, 0), "mode": "constant"}
        ): np.pad(x, ((0, 0), (1, 0), (2, 1), (0, 0))),
        graph.add("channel_shuffle", [i], {"groups": 2}): x[:, [0, 2, 1, 3]],
        graph.add("pixel_unshuffle", [shuffled], {"downscale_factor": 2}): x,
    }
    for precision in ("fp32", "fp16", "bf16"):
        native = _cuda.Network(graph, list(outputs), precision=precision)
        for _ in range(2):
            for value, y, expected in zip(outputs, native.run([x]), outputs.values(), strict=True):
                assert bits(y) == bits(np.ascontiguousarray(expected)), graph.node(value)


@pytest.mark.parametrize("op", sorted(MASKS))
def test_masks_are_bool(op):
    graph = _core.Graph()
    x, mask = graph.input((2, 3), np.float32), graph.input((3,), np.bool_)
    operands = {name: operands for name, operands, _ in _core.instructions()}[op]
    y = graph.add(op, [mask if kind == "m" else x for kind in operands], {})
    assert graph.node(y)[4] == (np.float32 if op == "where" else np.bool_)
    with pytest.raises(ValueError, match=rf"^{op}: inputs\[0\] must be bool, got float32$"):
        graph.add(op, [x] * len(operands), {})
    if op == "where":
        with pytest.raises(ValueError, match=r"^where: the inputs must have one dtype"):
            graph.add(op, [mask, x, graph.input((3,), np.float64)], {})


@pytest.mark.parametrize("other", ["float64", "int8"])
def test_inputs_of_an_operator_have_one_dtype(other):
    graph = _core.Graph()
    x, y = graph.input((1, 4, 5, 5), np.float32), graph.input((1, 4, 5, 5), other)
    weight = graph.constant(array(np.dtype(other), (2, 4, 3, 3)))
    one = "the inputs must have one dtype, but"
    for op, inputs, attributes, message in [
        ("conv2d", [x, weight], {}, f"conv2d: {one} x is float32 and weight is {other}"),
        (
            "linear",
            [y, graph.constant(np.ones((4, 5), np.float32))],
            {},
            f"x is {other} and weight",
        ),
        ("add", [x, y], {}, f"add: {one} inputs[0] is float32 and inputs[1] is {other}"),
        ("concat", [x, x, y], {"axis": 0}, f"concat: {one} arrays[0] is float32 and arrays[2] is"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            graph.add(op, inputs, attributes)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_constants_are_moved_as_values_are(dtype):
    c = array(dtype, (2, 4, 3, 5))
    graph = _core.Graph()
    value = graph.constant(c)
    part = slice_(graph, value, (1, 0, 0, 0), (2, 4, 3, 5), (1, 1, 1, 1))
    outputs = {
        graph.add("reshape", [value], {"shape": (8, 15)}): c.reshape(8, 15),
        part: c[1:],
        graph.add("permute", [part], {"order": (3, 2, 1, 0)}): c[1:].transpose(3, 2, 1, 0),
        graph.add("concat", [part, value], {"axis": 0}): np.concatenate([c[1:], c]),
    }
    results = network(graph, *outputs).run([])
    for y, expected in zip(results, outputs.values(), strict=True):
        assert bits(y) == bits(np.ascontiguousarray(expected))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_constants_keep_their_bits(dtype):
    c = array(dtype, (3, 5))
    graph = _core.Graph()
    value = graph.constant(c)
    graph.input((1,), np.float32)
    assert bits(graph.constant_array(value)) == bits(c)
    assert bits(network(graph, value).run([np.zeros(1, np.float32)])[0]) == bits(c)


@pytest.mark.parametrize(
    "dtype", ["uint16", "complex64", ">f4", ">i4", "U1", [("float16", "u2")], [("bfloat16", "u4")]]
)
def test_other_dtypes_are_refused(dtype):
    graph = _core.Graph()
    with pytest.raises(
        TypeError, match="expected one of float32, float64, float16, bfloat16, int8"
    ):
        graph.input((1, 2), np.dtype(dtype))
    with pytest.raises(
        TypeError, match="expected one of float32, float64, float16, bfloat16, int8"
    ):
        graph.constant(np.zeros(2, dtype))


def test_arrays_of_another_dtype_are_refused():
    graph = _core.Graph()
    y = graph.add("reshape", [graph.input((2, 3), np.int32)], {"shape": (6,)})
    n = network(graph, y)
    x = np.arange(6, dtype=np.int32).reshape(2, 3)
    with pytest.raises(TypeError, match="x must be int32, got float32"):
        n.run([x.astype(np.float32)])
    with pytest.raises(TypeError, match="out must be int32, got int64"):
        n.run([x], [np.zeros(6, np.int64)])
    out = np.zeros(6, np.int32)
    assert n.run([x], [out])[0] is out
    assert (out == x.ravel()).all()


@pytest.mark.parametrize(
    ("dtype", "value", "fits"),
    [
        ("int8", -128, True),
        ("int8", 128, False),
        ("int8", 0.5, False),
        ("uint8", 255, True),
        ("uint8", -1, False),
        ("int32", 2**31 - 1, True),
        ("int32", 2**31, False),
        ("int64", -(2.0**63), True),
        ("int64", 2.0**63, False),
        ("int64", float("nan"), False),
        ("bool", 1, True),
        ("bool", 2, False),
        ("float16", 1, False),
        ("float32", 0.1, True),
    ],
)
def test_pads_are_filled_with_what_the_dtype_has(dtype, value, fits):
    graph = _core.Graph()
    attributes = {"before": (1,), "after": (0,), "mode": "constant", "value": value}
    y = graph.add("pad", [graph.input((2,), dtype)], attributes)
    if fits:
        (result,) = network(graph, y).run([np.zeros(2, dtype)])
        assert bits(result) == bits(np.array([value, 0, 0], dtype))
    else:
        with pytest.raises(ValueError, match=rf"^pad .*{dtype}|^pad: .*{dtype}"):
            network(graph, y)


def test_graphs_of_other_dtypes_differ():
    def graph(dtype):
        g = _core.Graph()
        g.set_outputs([g.add("reshape", [g.input((2, 3), dtype)], {"shape": (6,)})])
        return g

    assert graph("int32").same_but_sizes(graph("int32"))
    assert not graph("int32").same_but_sizes(graph("float32"))


def test_graphs_print_dtypes_where_there_are_several():
    native = _core.Graph()
    x, k = native.input((2, 3), np.float32), native.input((2,), BFLOAT16)
    native.set_outputs([native.add("activation", [x], {"kind": "relu"}), k])
    graph = Graph(native)
    assert str(graph).splitlines() == [
        "%0  input                        float32 (2, 3)",
        "%1  input                        bfloat16 (2,)",
        "%2  activation(%0, kind='relu')  float32 (2, 3)",
        "returns %2, %1",
    ]
    assert repr(graph[1]) == "<%1 = input: bfloat16 (2,)>"
    assert graph[1].dtype == BFLOAT16
    assert graph.optimized()[1].dtype == BFLOAT16


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", COMPUTE)
def test_operators_compute_with_constants_as_with_inputs(op, dtype):
    shapes, attributes = COMPUTE[op]
    random = np.random.default_rng(0)
    x, *weights = (None if s is None else random.random(s).astype(dtype) for s in shapes)

    def result(add, arrays):
        graph = _core.Graph()
        others = [None if weight is None else graph.constant(weight) for weight in weights]
        values = [graph.add(op, [add(graph), *others], attributes)]
        if graph.dtype(values[0]) == np.bool_:
            values.append(graph.add("logical_not", values, {}))
        elif graph.dtype(values[0]) != np.int64:  # with which nothing computes
            values.append(graph.add("activation", values, {"kind": "silu"}))
        return network(graph, *values).run(arrays)

    given = result(lambda graph: graph.input(x.shape, dtype), [x])
    known = result(lambda graph: graph.constant(x), [])
    assert [bits(y) for y in given] == [bits(y) for y in known]


def test_programs_have_one_float_dtype():
    """Masks of what is compared in another dtype come in from outside."""
    graph = _core.Graph()
    a, x = graph.input((3,), np.float64), graph.input((3,), np.float32)
    positive = graph.add("greater", [a, graph.constant(np.zeros(()))], {})
    small = graph.add("less", [x, graph.constant(np.ones((), np.float32))], {})
    both = graph.add("logical_and", [positive, small], {})
    y = graph.add("where", [both, x, graph.constant(np.full((), 7, np.float32))], {})
    given = np.array([1.0, -1.0, 2.0]), np.array([0.5, 0.5, 2.0], np.float32)
    assert network(graph, y).run(list(given))[0].tolist() == [0.5, 7.0, 7.0]


def test_constants_alone_make_no_program():
    graph = _core.Graph()
    two, three = (graph.constant(np.full((), n, np.float32)) for n in (2, 3))
    y = network(graph, graph.add("subtract", [graph.add("multiply", [two, three], {}), two], {}))
    assert y.run([])[0] == 4
