"""The pages that docs/make_*.py write: docs/operators.md says what is true of each operator."""

import sys

import fastconv
import generated
import make_operators
import numpy as np
import operator_facts as facts
import pytest
from fastconv import _core
from fastconv.ops._programs import recognise
from operator_samples import DTYPES, OPERANDS, SAMPLES

ROWS = list(make_operators.rows())
IDS = [f"{row.op} {row.function}" for row in ROWS]
CELLS = dict(
    zip(
        IDS,
        (
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in make_operators.FILE.read_text("utf-8")
            .split("| fused as |\n")[-1]
            .split("\n\n")[0]
            .splitlines()[1:]
        ),
        strict=True,
    )
)
"""The cells of the table's lines."""


def cells(row):
    return CELLS[f"{row.op} {row.function}"]


def add(graph, op, x, *others, **attributes):
    return graph.add(op, [x, *others], attributes)


@pytest.mark.parametrize("check", [False, True])
def test_pages_are_written_or_checked(check, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["docs/make_page.py"])
    assert generated.main(page, "text\n") == 0
    assert page.read_text("utf-8") == "text\n"
    monkeypatch.setattr(sys, "argv", ["docs/make_page.py", "--check"])
    assert generated.main(page, "text\n") == 0
    assert generated.main(page, "other\n") == generated.main(tmp_path / "missing.md", "") == 1
    assert page.read_text("utf-8") == "text\n"
    assert f"{page} is stale: run python docs/make_page.py" in capsys.readouterr().err


def test_the_table_is_current():
    assert make_operators.FILE.read_text("utf-8") == make_operators.document()
