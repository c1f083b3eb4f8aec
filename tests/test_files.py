"""Files appear whole or not at all, whoever writes them."""

import argparse
import os
from pathlib import Path

import pytest
from fastconv import _tuning
from fastconv._files import replacing
from fastconv.benchmark import report, session


def test_what_is_written_replaces_what_was_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "a.txt", "a.txt"):
        for text in ("first", "second"):
            with replacing(path) as new:
                assert os.path.basename(new) == "a.txt"
                Path(new).write_text(text)
                Path(f"{new}.data").write_text(text)
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
            "a.txt": "second",
            "a.txt.data": "second",
        }


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "a") as new:
        Path(new).touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    def write():
        with replacing(tmp_path / "a") as new:
            Path(new).write_text("ne")
            raise error

    (tmp_path / "a").write_text("old")
    with pytest.raises(error):
        write()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_folders_are_not_replaced(tmp_path):
    with pytest.raises(IsADirectoryError), replacing(tmp_path):
        raise AssertionError("unreachable")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "a"):
        raise AssertionError("unreachable")
    assert not list(tmp_path.iterdir())


def write_measurements(folder):
    _tuning._write(folder, {"schema": 1, "seconds": {}})


def write_report(folder):
    options = argparse.Namespace(out=folder, threads=[], json=False)
    session.finish(options, "models", [], Path(__file__))


@pytest.mark.parametrize("write", [write_measurements, write_report])
def test_writers_keep_the_old_file_when_they_fail(write, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "markdown", lambda content: "text\n")
    write(tmp_path)
    old = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert old

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == old
