"""A .npy file of many pictures, read and written one row at a time with plain file I/O.

With a memory-mapped array the pages that were touched would count as this process's memory, which would then grow with
the number of images.
"""

import errno
import os
from pathlib import Path
from types import TracebackType

import numpy as np


class Rows:
    """An open .npy file of shape (n, ...), ready for ``read`` and ``write``; use it in a ``with`` statement."""

    def __init__(self, path: Path, writable: bool = False) -> None:
        """Open what ``create`` or ``np.save`` wrote."""
        self._path = path
        mapped = np.load(path, mmap_mode="r")
        self.shape, self._dtype, self._start = mapped.shape, mapped.dtype, mapped.offset
        self._stride = mapped[:1].nbytes
        self._file = os.open(path, os.O_RDWR if writable else os.O_RDONLY)

    @staticmethod
    def create(path: Path, shape: tuple[int, ...], dtype: type) -> None:
        """Create the file, all 0. It is sparse: it takes space on disk as rows are written."""
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def read(self, row: int) -> np.ndarray:
        """Row ``row``."""
        content = os.pread(self._file, self._stride, self._start + row * self._stride)
        return np.frombuffer(content, self._dtype).reshape(self.shape[1:])

    def write(self, row: int, values: np.ndarray) -> None:
        """Set row ``row``; ``values`` has the file's dtype and the shape of a row. Raises OSError on a full disk."""
        content = np.ascontiguousarray(values).tobytes()
        if os.pwrite(self._file, content, self._start + row * self._stride) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._file)
