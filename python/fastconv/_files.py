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
        Where to write it: a path of the same name, in a new folder beside `path`. At the end of the
        block all files of this folder move to their places, `path` last. If anything fails, the
        folder is deleted, and what was there is as it was.

    Raises
    ------
    OSError
        If the folder of `path` cannot be written to, or `path` is a folder.

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

    folder, name = os.path.split(os.fspath(path))
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    temporary = tempfile.mkdtemp(prefix=".fastconv-", dir=folder or os.curdir)
    try:
        yield os.path.join(temporary, name)
        written = sorted(os.listdir(temporary), key=lambda file: file == name)
        for file in written:
            descriptor = os.open(os.path.join(temporary, file), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        for file in written:
            os.replace(os.path.join(temporary, file), os.path.join(folder, file))
    finally:
        shutil.rmtree(temporary)
