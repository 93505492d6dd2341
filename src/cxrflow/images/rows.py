"""A .npy file of many images, read and written one row at a time with plain file I/O, by one thread.

With a memory-mapped array, the pages touched would count towards the memory of the process, which would grow with the
number of images.
"""

import errno
import os
from pathlib import Path
from types import TracebackType

import numpy as np


class Rows:
    """An open .npy file of shape (n, ...) to ``read`` and ``write`` by row; use it in a ``with`` statement."""

    def __init__(self, path: Path, writable: bool = False) -> None:
        """Open a file that ``create`` or ``np.save`` wrote."""
        self._path = path
        mapped = np.load(path, mmap_mode="r")
        self.shape, self.dtype, self._start = mapped.shape, mapped.dtype, mapped.offset
        self._stride = mapped[:1].nbytes
        self._file = path.open("r+b" if writable else "rb", buffering=0)

    @staticmethod
    def create(path: Path, shape: tuple[int, ...], dtype: type) -> None:
        """Create the file, filled with 0. It is sparse: disk space is used as rows are written."""
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def read(self, row: int) -> np.ndarray:
        """Row ``row``."""
        self._file.seek(self._start + row * self._stride)
        content = self._file.read(self._stride)
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def write(self, row: int, values: np.ndarray) -> None:
        """Set row ``row``; ``values`` has the file's dtype and the shape of a row. Raises OSError on a full disk."""
        content = np.ascontiguousarray(values).tobytes()
        try:
            self._file.seek(self._start + row * self._stride)
            written = self._file.write(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        if written != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
