"""Export to ONNX where the package onnx is missing; `tests/oracle` has what it exports."""

import sys

import fastconv
import pytest
from fastconv import nn


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"fastconv\[onnx\]"):
        fastconv.onnx.export(nn.ReLU(), tmp_path / "a.onnx", (1, 3, 8, 8))
    assert not list(tmp_path.iterdir())


def test_importing_does_not_need_the_package(run_source):
    run_source("import sys; sys.modules['onnx'] = None; import fastconv.onnx")
