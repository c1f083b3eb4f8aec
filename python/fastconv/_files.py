"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Write a file that takes the place of another when it is complete.

    Parameters
    ----------
    path : str or os.PathLike
        The file to make or to replace.

    Yields
    ------
    str
        Where to write it: a path of the same name, in a new folder beside the file. At the end of
        the block all files of this folder move to their places beside `path`, `path` last. If the
        block fails, the folder is deleted, and what was there is as it was.

    Raises
    ------
    ValueError
        If `path` ends in no name.
    OSError
        If the folder of `path` cannot be written to, or `path` is a folder.

    Notes
    -----
    A symbolic link stays, and what it leads to is replaced. A file that is replaced keeps its mode.
    Of several files each is whole, but they are replaced one after the other: who reads or crashes
    in between finds some old and some new.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(path) as new:
    ...     _ = pathlib.Path(new).write_text("whole")
    >>> path.read_text()
    'whole'
    """
    import shutil  # here, as most programs write nothing: import fastconv must stay fast
    import tempfile

    path = os.fspath(path)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    name = os.path.basename(path)
    if not name:
        raise ValueError(f"path must end in the name of a file, got {path!r}")
    folder = os.path.realpath(os.path.dirname(path))
    parent, prefix = os.path.dirname(os.path.realpath(path)), ".fastconv-"
    try:
        temporary = tempfile.mkdtemp(prefix=prefix, dir=parent)
        try:
            yield os.path.join(temporary, name)
            written = sorted(os.listdir(temporary), key=lambda file: file == name)
            moves = {
                os.path.join(temporary, file): os.path.realpath(os.path.join(folder, file))
                for file in written
            }
            for new, place in moves.items():
                _sync(new)
                if os.path.exists(place):
                    shutil.copymode(place, new)
            for new, place in moves.items():
                os.replace(new, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if not str(error.filename).startswith(os.path.join(parent, prefix)):
            raise
        raise OSError(error.errno, error.strerror, path) from error  # not our temporary name


def _sync(path: str) -> None:
    """Wait until a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
