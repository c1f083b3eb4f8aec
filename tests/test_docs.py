"""The pages that docs/make_*.py write: docs/operators.md says what is true of each operator."""

import re
import sys

import fastconv
import generated
import make_operators
import numpy as np
import operator_facts as facts
import pytest
from fastconv import _core, nn
from operator_samples import DTYPES, MASKS, OPERANDS, OTHER_SAMPLES

ROWS = {f"{row.op} {row.function}": row for row in make_operators.rows()}
HOSTS = {"conv2d", "conv_transpose2d", "linear", "scale_shift"}
"""What has activations."""


def fused(word, *hosts):
    return {(word, host) for host in hosts}


def test_pages_are_written_or_checked(tmp_path, monkeypatch, capsys):
    page, missing = tmp_path / "page.md", tmp_path / "missing.md"
    monkeypatch.setattr(sys, "argv", ["docs/make_page.py"])
    assert generated.main(page, "text\n") == 0
    assert page.read_text("utf-8") == "text\n"
    monkeypatch.setattr(sys, "argv", ["docs/make_page.py", "--check"])
    assert generated.main(page, "text\n") == 0
    assert generated.main(page, "other\n") == generated.main(missing, "") == 1
    assert page.read_text("utf-8") == "text\n"
    assert not missing.exists()
    assert f"{page} is stale: run python docs/make_page.py" in capsys.readouterr().err


def test_the_page_is_that_of_the_operators():
    assert make_operators.FILE.read_text("utf-8") == make_operators.document()


def test_every_operator_has_a_line():
    operators = {name for name, *_ in _core.operators()}
    assert {row.op for row in ROWS.values()} == operators
    assert (
        OTHER_SAMPLES.keys() | make_operators.NOT_ON_CUDA | make_operators.PARTLY_ON_CUDA
        < operators
    )
    assert {row.function for row in ROWS.values()} >= {*_core.activations()} - {"none"}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtypes_run(name, dtype):
    op, _, sample = ROWS[name]
    graph = _core.Graph()
    y = facts.add_sample(graph, op, sample, DTYPES[dtype])
    found = facts.dtypes(op, sample)
    if "f" not in facts.kinds_of(op, sample):
        assert found == {"bool": "bool"}
    elif dtype in found:
        inputs = [np.ones(graph.shape(i), graph.dtype(i)) for i in graph.inputs]
        (result,) = _core.Network(graph, [y], "fast", None, 1).run(inputs)
        assert result.dtype == np.dtype(DTYPES.get(found[dtype], found[dtype]))
    else:
        with pytest.raises(ValueError, match="has no kernel for"):
            _core.Network(graph, [y], "fast", None, 1)


def test_dtypes_in_words():
    words = {name: make_operators.dtypes(row) for name, row in ROWS.items()}
    assert words["conv2d conv2d"] == "float"
    assert words["where where"] == "float and bool"
    assert words["less less"] == "float → bool"
    assert words["argmax argmax"] == "float → int64"
    assert words["logical_not logical_not"] == "bool"
    assert words["take take"] == "any"


@pytest.mark.parametrize(
    ("words", "operators"),
    [
        ("blocks", ["conv2d", "batch_norm", "max_pool2d", "add", "exp", "interpolate"]),
        ("blocks, from blocks", ["concat"]),
        ("blocks, plain", ["scale_shift"]),
        ("blocks, plain, view", ["slice"]),
        ("from blocks", ["permute"]),
        ("plain", ["softmax", "group_norm", "where", "less", "pad", "matmul", "linear", "argmax"]),
        ("view", ["reshape"]),
        ("plain, blocks", ["mean", "layer_norm"]),
    ],
)
def test_layouts(words, operators):
    rows = {row.op: row for row in ROWS.values()}
    assert {op: make_operators.layouts(rows[op]) for op in operators} == dict.fromkeys(
        operators, words
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("activation relu", fused("activation", *HOSTS) | fused("program", "pointwise")),
        ("clip clip", fused("activation", *HOSTS) | fused("program", "pointwise")),
        ("pointwise prelu", fused("activation", *HOSTS) | fused("program", "pointwise")),
        (
            "add add",
            fused("residual", "conv2d", "linear")
            | fused("weights", *HOSTS)
            | fused("program", "pointwise"),
        ),
        ("batch_norm batch_norm", fused("weights", *HOSTS) | fused("program", "pointwise")),
        ("pad pad", fused("padding", "conv2d")),
        ("exp exp", fused("program", "pointwise")),
        ("logical_not logical_not", fused("program", "pointwise")),
        *((f"{op} {op}", set()) for op in ("input", "conv2d", "matmul", "softmax", "mean")),
    ],
)
def test_fusions(name, expected):
    op, _, sample = ROWS[name]
    assert facts.fusions(op, sample) == expected


class Chain(nn.Module):
    """A convolution beside what goes into it."""

    def __init__(self):
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x):
        y = self.norm(self.conv(fastconv.pad(x, (1, 1))))[..., 1:-1]
        return fastconv.exp(fastconv.relu(self.conv(y) + x) * 2 - 1)


def test_a_network_has_no_steps_of_what_is_fused():
    network = Chain().compile((1, 8, 6, 6))
    steps = [step["op"] for step in network.explain()]
    assert [op for op in steps if op != "copy"] == [
        "conv2d",
        "slice",
        "conv2d+add+relu",
        "pointwise",
    ]


@pytest.mark.cuda
@pytest.mark.parametrize("name", ROWS)
def test_the_back_ends_run(name):
    row = ROWS[name]
    words = {(True,): "CPU, CUDA", (False,): "CPU", (False, True): "CPU, CUDA in part"}
    ran = sorted({runs_on_cuda(row.op, sample) for sample in make_operators.samples(row)})
    assert make_operators.back_ends(row.op) == words[tuple(ran)]


def runs_on_cuda(op, sample):
    """Whether a network with the operator compiles; masks are made and used inside."""
    from fastconv import _cuda

    graph = _core.Graph()
    if op in MASKS:
        shapes, attributes = sample
        x = graph.input(shapes[0], np.float32)
        mask = graph.add("greater", [x, x], {})
        inputs = [mask if kind == "m" else x for kind in OPERANDS[op]]
        y = graph.add(op, inputs, attributes)
    else:
        y = facts.add_sample(graph, op, sample)
    if graph.dtype(y) == np.bool_:
        x = graph.input(graph.shape(y), np.float32)
        y = graph.add("where", [y, x, x], {})
    try:
        _cuda.Network(graph, [y])
    except ValueError as error:
        if re.search(f"{op} .*(does not run|has no kernel for int64) on device", str(error)):
            return False
        raise
    return True
