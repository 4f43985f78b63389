"""The bytes of a file: decompressed, decoded, and read on with a progress bar."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from lgcn_jax.errors import InputError

SAMPLE = 1 << 18  # bytes that are looked at to tell what a file is
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)
_BLOCK = 1 << 22
_OTHER_KINDS = {b"PK\x03\x04": "a zip or Excel file", b"SQLite": "an SQLite data base", b"%PDF": "a PDF file"}


class Source:
    """A file.

    Attributes:
      path: of the file.
      progress: whether a bar shows how far it was read.
    """

    def __init__(self, path: str | os.PathLike, progress: bool = False):
        self.path, self.progress = os.fspath(path), progress

    @contextmanager
    def open(self, progress: bool = False) -> Iterator[BinaryIO]:
        """The decompressed bytes from the beginning.

        Raises:
          InputError: it cannot be read; also what the block of the `with` meets while it reads.
        """
        try:
            with open(self.path, "rb") as raw, _with_progress(raw, self.path, progress and self.progress) as file:
                yield _open_decompressed(file)
        except FileNotFoundError:
            raise InputError(self.path, "no such file", "a file of interactions") from None
        except IsADirectoryError:
            raise InputError(self.path, "a directory", "a file of interactions") from None
        except _DAMAGED as error:
            kind = "gzip" if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile) else "compressed"
            raise InputError(
                self.path, f"a truncated or damaged {kind} file ({error})", f"a whole {kind} file"
            ) from None
        except OSError as error:
            found = f"a file that cannot be read ({error.strerror or error})"
            raise InputError(self.path, found, "a readable file") from None

    def sample(self, encoding: str = "utf-8") -> str:
        """The first lines as text."""
        with self.open() as file:
            data = _read_fully(file, SAMPLE)
            whole = len(data) < SAMPLE
        if not whole:
            data = data[: data.rfind(b"\n") + 1] or data
        for start, kind in _OTHER_KINDS.items():
            if data.startswith(start):
                raise InputError(self.path, kind, "text, parquet or Arrow")
        return self.decoded(data, encoding, final=whole)

    def is_compressed(self) -> bool:
        """Whether what is stored is not what is read."""
        with open(self.path, "rb") as raw:
            return _open_decompressed(raw) is not raw

    def magic(self) -> bytes:
        """The first bytes, decompressed."""
        with self.open() as file:
            return _read_fully(file, 8)

    def decoded(self, data: bytes, encoding: str, final: bool = True) -> str:
        """Text without a byte-order mark.

        Raises:
          InputError: the bytes are no text in this encoding; the message names the line.
        """
        encoding = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        try:
            return codecs.getincrementaldecoder(encoding)().decode(data, final)
        except UnicodeError as error:
            start = error.start if isinstance(error, UnicodeDecodeError) else 0
            raise self.decode_error(data.count(b"\n", 0, start) + 1, encoding) from None

    def decode_error(self, line: int, encoding: str) -> InputError:
        """The error of a line that is no text."""
        name = encoding.removesuffix("-sig")
        likely = "utf-16" if self.magic()[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin-1"
        expected = f"text, or its --encoding, such as {likely}"
        return InputError(f"{self.path}:{line}", f"bytes that are no {name}", expected)


def _open_decompressed(file: BinaryIO) -> BinaryIO:
    start = file.read(6)
    file.seek(0)
    if start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)
    if start[:3] == b"BZh":
        return bz2.BZ2File(file)
    if start == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(file)
    if start[:4] == b"\x28\xb5\x2f\xfd":
        import pyarrow

        return io.BufferedReader(_Raw(pyarrow.CompressedInputStream(file, "zstd")))
    return file


class _Raw(io.RawIOBase):
    """An Arrow stream as Python reads it."""

    def __init__(self, stream):
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _read_fully(file: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes, fewer only at the end."""
    parts = []
    while size and (data := file.read(size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


@contextmanager
def _with_progress(file: BinaryIO, path: str, progress: bool) -> Iterator[BinaryIO]:
    """The file, with a progress bar of the bytes that were read, where it takes more than a moment."""
    size = os.fstat(file.fileno()).st_size
    if not progress or size < 16 * _BLOCK:
        yield file
        return
    from tqdm.auto import tqdm

    with tqdm.wrapattr(file, "read", total=size, desc=os.path.basename(path), leave=False) as wrapped:
        yield wrapped
