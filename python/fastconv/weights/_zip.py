"""Zip archives that may be corrupt or hostile: those of torch's zip format and of ``.npz``."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from fastconv.weights._common import Array, Source, WeightsError, quote


@contextmanager
def zip_errors(source: Source) -> Iterator[None]:
    """Turn whatever `zipfile` raises on a corrupt archive into a `WeightsError`."""
    try:
        yield
    except WeightsError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        OSError,
        OverflowError,
        RuntimeError,
        ValueError,
    ) as error:
        raise source.error(f"corrupt or truncated zip archive: {error}") from error


class Archive:
    """A zip archive whose table of contents has been checked against the size of its file."""

    def __init__(self, source: Source, file: zipfile.ZipFile) -> None:
        self.source = source
        self._file = file
        self._entries: dict[str, zipfile.ZipInfo] = {}
        total = 0
        for entry in file.infolist():
            name = quote(entry.filename)
            if entry.filename in self._entries:
                raise source.error(f"the zip archive holds two entries {name}")
            if entry.flag_bits & 1:
                raise source.error(f"the zip entry {name} is encrypted")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise source.error(f"the zip entry {name} has an unsupported compression")
            stored = entry.compress_type == zipfile.ZIP_STORED
            if entry.compress_size > source.size or (
                stored and entry.file_size != entry.compress_size
            ):
                raise source.error(
                    f"the zip entry {name} declares {entry.file_size} bytes ({entry.compress_size} "
                    f"in the file) in a file of {source.size} bytes"
                )
            total += entry.file_size
            if total > source.budget:
                raise source.error(
                    f"the zip archive declares far more data than a file of {source.size} bytes "
                    f"should hold; expected at most {source.budget} bytes"
                )
            if entry.CRC == 0:  # torch.serialization.set_crc32_options(False): no checksum was made
                entry.CRC = None  # type: ignore[assignment]
            self._entries[entry.filename] = entry

    @property
    def names(self) -> list[str]:
        """Names of the entries, in order."""
        return list(self._entries)

    def size(self, name: str) -> int:
        """Return the uncompressed size in bytes of an entry."""
        if name not in self._entries:
            raise self.source.error(f"the zip archive lacks the entry {quote(name)}")
        return self._entries[name].file_size

    def open(self, name: str) -> IO[bytes]:
        """Open an entry that `size` knows."""
        return self._file.open(self._entries[name])

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of an entry of at most ``limit`` bytes."""
        if self.size(name) > limit:
            raise self.source.error(
                f"the zip entry {quote(name)} has {self.size(name)} bytes; expected at most {limit}"
            )
        with self.open(name) as entry:
            return entry.read()

    def fill(self, entry: IO[bytes], array: Array, what: str) -> None:
        """Read the rest of an opened entry into ``array``, which it must fill exactly."""
        count = entry.readinto(array)  # type: ignore[attr-defined]
        # Reading on to the end makes zipfile compare the checksum.
        if count != array.nbytes or entry.read(1):
            raise self.source.error(f"the data of {what} does not have {array.nbytes} bytes")
