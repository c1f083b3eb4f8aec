"""Files appear whole or not at all, whoever writes them."""

import argparse
import os
from pathlib import Path

import pytest
from fastconv._files import replacing
from fastconv.benchmark import report, session
from fastconv.network import _tuning


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


def test_the_mode_of_what_was_there_is_kept(tmp_path):
    for name in ("a", "a.data"):
        (tmp_path / name).touch(0o600)
    with replacing(tmp_path / "a") as new:
        Path(new).touch()
        Path(f"{new}.data").touch()
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_links_stay(tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    link, file = tmp_path / "here" / "a.txt", tmp_path / "there" / "b"
    link.symlink_to(os.path.join("..", "there", "b"))
    for text in ("first", "second"):
        with replacing(link) as new:
            assert os.path.basename(new) == "a.txt"
            Path(new).write_text(text)
            Path(f"{new}.data").write_text(text)
        assert link.is_symlink()
        assert file.read_text() == text
        assert (tmp_path / "here" / "a.txt.data").read_text() == text
        assert sum(1 for _ in tmp_path.rglob("*")) == 5


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


@pytest.mark.parametrize("path", ["", "new/"])
def test_paths_that_name_no_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"must end in the name of a file, got '{path}'"):
        replacing(path).__enter__()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["none/a", "a/b", "a" * 300])
def test_errors_name_the_path_that_was_asked_for(name, tmp_path):
    def write():
        with replacing(path) as new:
            Path(new).touch()

    path = tmp_path / name
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match="o") as caught:
        write()
    assert caught.value.filename == str(path)
    assert ".fastconv-" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_other_errors_in_the_block_stay(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")


def test_a_folder_that_cannot_be_deleted_does_not_hide_the_error(tmp_path):
    def write():
        with replacing(tmp_path / "a") as new:
            os.rmdir(os.path.dirname(new))
            raise ValueError("the real one")

    with pytest.raises(ValueError, match="the real one"):
        write()


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
