"""One run at a time in an output folder: a lock, and what an interrupted run left behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from cxrflow.errors import CxrflowError
from cxrflow.files import WRITING, refused
from cxrflow.text import name_text

#: How long a run waits for another one in its folder to end (seconds).
_PATIENCE = 3.0


@contextmanager
def only_run(folder: Path, patience: float = _PATIENCE, of_file: bool = False) -> Iterator[None]:
    """Context for a command that writes into ``folder``: checks that it can, and that no other run does.

    The lock is a file beside the folder, ``.<name>.lock``, which names the process that holds it. It vanishes with that
    process, however it ends. Half-written files of earlier runs in the folder are removed.

    patience  how long to wait for another run (seconds)
    of_file   the command writes the one file ``folder``
    Raises CxrflowError if another run uses the folder, or the folder cannot be written.
    """
    given, folder = folder, Path(os.path.abspath(folder))
    if not folder.name:
        raise CxrflowError(f"{name_text(given)}: is the root of the file system; name another folder.")
    path = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(path, mode=0o644)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not of_file:
            tempfile.TemporaryFile(dir=folder).close()
        lock.acquire(timeout=patience)
        path.write_text(f"process {os.getpid()}, since {datetime.now():%Y-%m-%d %H:%M:%S}", encoding="utf-8")
        _clear(folder)
    except Timeout:
        raise CxrflowError(
            f"{name_text(given)}: another run ({_holder(path)}) is using it; wait until it ends, or stop it."
        ) from None
    except OSError as error:
        lock.release()
        raise refused(error, given) from None
    try:
        yield
    finally:
        lock.release()


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8")[:100] or "process unknown"
    except OSError:
        return "process unknown"


def _clear(folder: Path) -> None:
    """Remove what ``write_whole``, checkpoints and the demo had begun to write."""
    for begun in (*folder.rglob(f"*{WRITING}"), *folder.parent.glob(f".{folder.name}.*{WRITING}")):
        if begun.is_dir() and not begun.is_symlink():
            shutil.rmtree(begun)
        else:
            begun.unlink(missing_ok=True)
