"""The graph of a network, as `Module.graph` gives it to read."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from shutil import which

import fastconv
import fastconv.ops as F
import numpy as np
import pytest
from fastconv import _core, nn


class Block(nn.Module):
    def __init__(self):
        self.conv = nn.Conv2d(4, 4, 3, padding="same", groups=2)
        self.scale = np.full((4, 1, 1), 2, np.float32)

    def forward(self, x):
        return F.relu(self.conv(x) * self.scale + x, out=None)


def graph():
    return nn.Sequential(nn.Conv2d(3, 4, (3, 2), stride=(2, 1)), Block()).graph((2, 3, 9, 8))


def test_nodes_say_what_was_recorded():
    g = graph()
    (x,), (y,) = g.inputs, g.outputs
    assert (x.op, x.shape, x.inputs, dict(x.fields)) == ("input", (2, 3, 9, 8), (), {})
    operators = [node for node in g if node.inputs]
    assert [node.op for node in operators] == ["conv2d", "conv2d", "multiply", "add", "activation"]
    assert [node.name for node in operators] == ["0", "1.conv", "1", "1", "1"]
    first, second, product, total, last = operators
    assert last is y
    assert first.inputs[0] is x
    assert [value.name for value in first.inputs[1:3]] == ["0.weight", "0.bias"]
    assert first.fields == {
        "stride": (2, 1),
        "padding": (0, 0, 0, 0),
        "dilation": (1, 1),
        "groups": 1,
        "activation": "none",
    }
    assert second.fields["padding"] == (1, 1, 1, 1)
    assert second.fields["groups"] == 2
    assert product.inputs[1].name == "1.scale"
    assert total.inputs == (product, first)
    assert y.fields["kind"] == "relu"
    assert {node.dtype for node in g} == {np.dtype(np.float32)}
    assert y.shape == (2, 4, 4, 7)


def test_numbers_and_order():
    g = graph()
    assert [node.id for node in g] == list(range(len(g)))
    assert g.nodes() == tuple(g)
    assert all(g[node.id] is node for node in g)
    for node in g:
        assert all(value is None or value.id < node.id for value in node.inputs)


def test_constants_are_the_parameters_themselves():
    layer = nn.Linear(3, 2)
    g = layer.graph((1, 3))
    weight = next(node for node in g if node.name == "weight")
    values = g.array(weight)
    assert values.ctypes.data == layer.weight.ctypes.data
    assert values.dtype == np.float32
    assert not values.flags.writeable
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        values.flags.writeable = True
    with pytest.raises(ValueError, match="node must be a constant of this graph, got <%0 = input"):
        g.array(g.inputs[0])
    with pytest.raises(ValueError, match="node must be a constant of this graph"):
        g.array(next(node for node in layer.graph((1, 3)) if node.is_constant))


def test_arrays_outlive_the_graph():
    g = nn.Linear(3, 2).graph((1, 3))
    values = g.array(next(node for node in g if node.name == "bias"))
    expected = values.copy()
    del g
    np.testing.assert_array_equal(values, expected)


def test_float64_and_unbatched():
    g = nn.Conv2d(3, 8, 3).double().graph((3, 5, 5))
    assert g.inputs[0].shape == (1, 3, 5, 5)
    assert {node.dtype for node in g} == {np.dtype(np.float64)}
    assert all(g.array(node).dtype == np.float64 for node in g if node.is_constant)


def test_printed_it_is_a_table():
    assert [re.sub(" {2,}", " | ", line) for line in str(graph()).splitlines()] == [
        "%0 | input | (2, 3, 9, 8)",
        "%3 | conv2d(%0, 0.weight, 0.bias, stride=(2, 1)) | (2, 4, 4, 7) | 0",
        "%6 | conv2d(%3, 1.conv.weight, 1.conv.bias, padding=(1, 1, 1, 1), groups=2)"
        " | (2, 4, 4, 7) | 1.conv",
        "%8 | multiply(%6, 1.scale) | (2, 4, 4, 7) | 1",
        "%9 | add(%8, %3) | (2, 4, 4, 7) | 1",
        "%10 | activation(%9, kind='relu') | (2, 4, 4, 7) | 1",
        "returns %10",
    ]


def test_absent_inputs_and_nameless_constants_are_printed():
    class Sum(nn.Module):
        def forward(self, x):
            one = np.ones(2, np.float32)
            return F.batch_norm(x * 0.5, one, one.copy(), None, one)

    text = str(Sum().graph((1, 2, 3, 3)))
    assert "multiply(%0, array())" in text
    assert "batch_norm(%2, array(2,), array(2,), None, array(2,))" in text


def test_optimized_is_what_is_lowered():
    g = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).graph((1, 3, 5, 5))
    kept = [node for node in g.optimized() if not node.is_constant]
    assert [(node.op, node.fields.get("activation")) for node in kept] == [
        ("input", None),
        ("conv2d", "relu"),
    ]
    assert kept[1].inputs[1].name == "0.weight"


def test_several_outputs():
    class Two(nn.Module):
        def forward(self, x):
            return F.relu(x), x

    g = Two().graph((1, 2))
    assert [node.op for node in g.outputs] == ["activation", "input"]
    assert str(g).endswith("returns %1, %0")


@pytest.mark.parametrize("name", fastconv.list_models()[::9])
def test_every_node_reads_back_into_the_same_graph(name):
    with nn.init.skip():
        model = fastconv.create_model(name)
    size = model.default_cfg["input_size"]
    g = model.graph((1, *size))
    again = _core.Graph()
    for node in g:
        if node.op == "input":
            again.input(node.shape, node.dtype)
        elif node.is_constant:
            again.constant(g.array(node))
        else:
            inputs = [None if value is None else value.id for value in node.inputs]
            again.add(node.op, inputs, dict(node.fields), node.name)
        name = "" if node.is_constant else node.name
        assert again.node(node.id)[3:] == (node.shape, node.dtype, name)
        assert again.node(node.id)[2] == node.fields
    again.set_outputs([node.id for node in g.outputs])
    assert again.same_but_sizes(model.graph((1, *size))._native)


@pytest.mark.parametrize(
    ("shape", "error", "match"),
    [
        ((1, 5, 8, 8), ValueError, "channels"),
        ((), ValueError, "input_shape must be positive sizes"),
        ((1, 3, 0, 8), ValueError, "input_shape must be positive sizes"),
        ("abc", TypeError, "input_shape"),
        (None, TypeError, "input_shape"),
    ],
)
def test_bad_shapes(shape, error, match):
    with pytest.raises(error, match=match):
        nn.Conv2d(3, 4, 3).graph(shape)


def test_operators_refuse_attributes_they_lack():
    g = _core.Graph()
    x = g.input((1, 3, 8, 8), np.dtype(np.float32))
    for op, attributes, message in [
        ("softmax", {"axes": 1}, "softmax: there is no attribute axes, only axis"),
        ("add", {"axis": 1}, "add: there is no attribute axis, only none"),
        ("softmax", {"axis": 1.5}, "softmax: axis must be int, got 1.5"),
        ("max_pool2d", {"stride": (1, 1)}, "max_pool2d: the attribute kernel_size is missing"),
        ("activation", {"kind": "cubic"}, "activation: kind must be one of none, relu, .*'cubic'"),
        ("pixel_reshuffle", {}, "there is no operator 'pixel_reshuffle' in graphs"),
        ("softmax", {"axis": 2**40}, "softmax: axis must be int, got 1099511627776"),
    ]:
        with pytest.raises(ValueError, match=message):
            g.add(op, [x, x] if op == "add" else [x], attributes, "")


# ---- Pictures ------------------------------------------------------------------------------------


def test_dot_has_a_box_for_each_module():
    text = graph().to_dot()
    assert 'subgraph "cluster 1.conv" {' in text
    assert '[label="%3 conv2d\\n0.weight (4, 3, 3, 2)\\n0.bias (4,)\\n(2, 4, 4, 7)"];' in text
    assert "  n8 -> n9;" in text.splitlines()
    assert text.count("{") == text.count("}")


def test_dot_quotes_names():
    text = nn.ReLU().graph((1, 2)).to_dot()
    assert text.count('"') % 2 == 0
    assert fastconv.graph._graph._quoted('a"b\\c') == '"a\\"b\\\\c"'


def test_saved_as_dot(tmp_path):
    path = tmp_path / "network.dot"
    g = graph()
    g.save(path)
    assert path.read_text("utf-8") == g.to_dot()


def test_the_end_of_the_name_says_what_is_drawn(tmp_path):
    with pytest.raises(
        ValueError, match=r"path must end in .dot, .svg, .png or .pdf, got '.*x.txt'"
    ):
        graph().save(tmp_path / "x.txt")
    with pytest.raises(TypeError):
        graph().save(7)


def test_without_graphviz_there_is_an_error_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"Graphviz's command dot, which draws \.svg, is not"):
        graph().save(tmp_path / "x.svg")
    assert list(tmp_path.iterdir()) == []


def test_drawn_by_graphviz(tmp_path, monkeypatch):
    """By a stand-in where Graphviz is missing, which writes what it was given."""
    if which("dot") is None:
        fake = tmp_path / "dot"
        fake.write_text(
            f"#!{sys.executable}\nimport sys\n"
            "assert sys.argv[1:3] == ['-Tsvg', '-o'] and sys.stdin.read().startswith('digraph')\n"
            "open(sys.argv[3], 'w').write('<svg/>')\n"
        )
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "x.svg"
    graph().save(path)
    assert ET.parse(path).getroot().tag.endswith("svg")


def test_explain_draws(tmp_path):
    path = tmp_path / "lenet.dot"
    command = [sys.executable, "-m", "fastconv", "explain", "lenet5", "--graph", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with nn.init.skip():
        expected = fastconv.create_model("lenet5").graph((1, 1, 32, 32)).to_dot()
    assert path.read_text("utf-8") == expected
