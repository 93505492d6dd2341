"""The spool of the DICOM node: what it has accepted and not yet sent, as files that survive the process.

The folder that a study is in is its state; each change of state is one rename (docs/pacs.md). STUDY is the SHA-256 of
the StudyInstanceUID, IMAGE that of the DICOM file as it is stored here:

    incoming/               being written; removed at the start
    receiving/STUDY/IMAGE.dcm    acknowledged; more may follow
    scoring/STUDY/IMAGE.dcm      complete; out/ may hold a part of the results, which are made anew
    sending/STUDY/IMAGE.dcm      out/*.dcm are the results that the destination has not stored yet
    done/STUDY.json         a record without patient data: the images that were answered
    aside/STUDY/IMAGE.dcm   no result could be made of it; IMAGE.txt says why
"""

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from cxrflow.files import WRITING, refused

State = Literal["receiving", "scoring", "sending"]

#: Free disk space that is left for results, records and other programs (bytes).
FREE = 1024**3
#: How long a record of an answered study is kept (seconds): 90 days.
REMEMBERED = 90 * 86_400.0
_OUT, _DICOM, _REASON = "out", ".dcm", ".txt"


class Full(Exception):
    """The spool has no room for another image; the message says which limit was reached."""


class Spool:
    """One node's spool. Its methods may be called by several threads of one process.

    folder  made if absent, and closed to other users (mode 0700)
    most    limit of what it may hold (bytes)
    free    free disk space below which nothing is accepted (bytes)
    by      digest of what answers (bundle, kinds of results): an image is answered once by each
    clock   seconds, from any origin
    Raises CxrflowError if the folder cannot be made or written.
    """

    def __init__(
        self, folder: Path, most: int, free: int = FREE, by: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self._most, self._free, self._by, self._clock = folder, most, free, by, clock
        self._lock = threading.Lock()
        try:
            for part in ("", "incoming", "receiving", "scoring", "sending", "done", "aside"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            for begun in (folder / "incoming").iterdir():
                begun.unlink()
            self.forget()
            self._held = _size(folder)
        except OSError as error:
            raise refused(error, folder) from None
        # How long ago their last image came is not known: the time before the start does not count as quiet.
        self._last = dict.fromkeys(self.studies("receiving"), clock())

    def accept(self, study_uid: str, parts: Sequence[bytes | memoryview]) -> bool:
        """Keep one DICOM file; on return, it is on the disk. Returns False if the spool has or had it already.

        parts  of the file, in their order
        Raises Full if there is no room, or the disk does not take it.
        """
        study, size = digest_of(study_uid), sum(len(part) for part in parts)
        whole = hashlib.sha256()
        for part in parts:
            whole.update(part)
        name = whole.hexdigest() + _DICOM
        with self._lock:
            if self._has(study, name):
                return False
        with self._room(size):
            written = self._write(parts)
            try:
                with self._lock:
                    if not (known := self._has(study, name)):
                        folder = self._of("receiving", study)
                        _make(folder)
                        os.replace(written, folder / name)
                        _sync(folder)
                        self._last[study] = self._clock()
            finally:
                written.unlink(missing_ok=True)
        if known:
            self._add(-size)
        return not known

    def complete(self, quiet: float) -> list[str]:
        """Move studies that were quiet for so long (seconds) to be scored; returns them. One whose earlier images are
        still being scored or sent waits."""
        found = []
        for study in self.studies("receiving"):
            with self._lock:
                busy = any(self._of(state, study).exists() for state in ("scoring", "sending"))
                if busy or self._clock() - self._last.get(study, 0.0) < quiet:
                    continue
                self._last.pop(study, None)
                self._move(study, "receiving", "scoring")
            found.append(study)
        return found

    def studies(self, state: State) -> list[str]:
        """The studies in a state, the longest there first."""
        with os.scandir(self.folder / state) as found:
            return [name for _, name in sorted((each.stat().st_mtime_ns, each.name) for each in found)]

    def images(self, state: State, study: str) -> list[Path]:
        """The DICOM files of a study in a state, by name."""
        return sorted(self._of(state, study).glob(f"*{_DICOM}"))

    def begin(self, study: str) -> None:
        """Discard the results of a study in ``scoring`` that an earlier attempt has left."""
        out = self._of("scoring", study) / _OUT
        if out.exists():
            self._add(-_size(out))
            shutil.rmtree(out)

    def keep(self, image: Path, objects: Sequence[bytes]) -> None:
        """Keep the results of an image in ``scoring``: DICOM files."""
        out = image.parent / _OUT
        for number, content in enumerate(objects):
            self._keep(out / f"{image.stem}-{number}{_DICOM}", content)

    def keep_reason(self, image: Path, reason: str) -> None:
        """Keep why no result can be made of an image in ``scoring``, which will be set aside."""
        self._keep(image.parent / _OUT / f"{image.stem}{_REASON}", f"{reason}\n".encode())

    def scored(self, study: str) -> None:
        """All results of a study are kept: it may be sent."""
        with self._lock:
            _make(self._of("scoring", study) / _OUT)
            _sync(self._of("scoring", study) / _OUT)
            self._move(study, "scoring", "sending")

    def results(self, study: str) -> list[Path]:
        """The results of a study in ``sending`` that are left to be sent."""
        return sorted((self._of("sending", study) / _OUT).glob(f"*{_DICOM}"))

    def sent(self, result: Path) -> None:
        """The destination has stored a result."""
        self._add(-result.stat().st_size)
        result.unlink()

    def finish(self, study: str) -> int:
        """All results of a study are sent: note this, set images without a result aside, and delete the others.

        Returns the number of images set aside.
        """
        folder = self._of("sending", study)
        self._note(study, [image.stem for image in self.images("sending", study)])
        reasons = sorted((folder / _OUT).glob(f"*{_REASON}"))
        for reason in reasons:
            aside = self.folder / "aside" / study
            _make(aside)
            image = folder / f"{reason.stem}{_DICOM}"
            with suppress(FileNotFoundError):  # moved before the process was killed
                os.replace(image, aside / image.name)
            os.replace(reason, aside / reason.name)
            _sync(aside)
        self._add(-_size(folder))
        shutil.rmtree(folder)
        return len(reasons)

    def forget(self) -> None:
        """Remove records that are older than REMEMBERED."""
        for record in (self.folder / "done").glob("*.json"):
            if time.time() - record.stat().st_mtime > REMEMBERED:
                record.unlink()

    def _of(self, state: State, study: str) -> Path:
        return self.folder / state / study

    def _has(self, study: str, name: str) -> bool:
        states: tuple[State, ...] = ("receiving", "scoring", "sending")
        if any((self._of(state, study) / name).exists() for state in states):
            return True
        return name.removesuffix(_DICOM) in self._record(study).get(self._by, ())

    def _record(self, study: str) -> dict[str, list[str]]:
        """The images of a study that were answered, by what answered; one that was damaged from outside holds none."""
        try:
            found = json.loads((self.folder / "done" / f"{study}.json").read_bytes())
            return {str(by): [str(image) for image in images] for by, images in found["answered"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _note(self, study: str, images: Sequence[str]) -> None:
        record = self._record(study)
        record[self._by] = sorted({*record.get(self._by, ()), *images})
        written = self._write([(json.dumps({"answered": record}, indent=2) + "\n").encode()])
        os.replace(written, self.folder / "done" / f"{study}.json")
        _sync(self.folder / "done")

    def _keep(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(self._write([content]), path)
        self._add(len(content))

    def _write(self, parts: Sequence[bytes | memoryview]) -> Path:
        """Write a file into ``incoming``, down to the disk."""
        handle, name = tempfile.mkstemp(dir=self.folder / "incoming", suffix=WRITING)
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(name)
            raise
        return Path(name)

    def _move(self, study: str, before: State, after: State) -> None:
        os.rename(self._of(before, study), self._of(after, study))
        _sync(self.folder / after)
        _sync(self.folder / before)

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        """Context in which so many bytes are written; they count as held from its beginning."""
        with self._lock:
            if self._held + size > self._most:
                raise Full(f"the spool holds {self._held / 1e9:.2f} of {self._most / 1e9:.2f} GB")
            if shutil.disk_usage(self.folder).free - size < self._free:
                raise Full(f"less than {self._free / 1e9:.2f} GB of the disk are free")
            self._held += size
        try:
            yield
        except BaseException as error:
            self._add(-size)
            if isinstance(error, OSError):
                raise Full(f"the disk does not take it: {error.strerror}") from None
            raise

    def _add(self, size: int) -> None:
        with self._lock:
            self._held += size


def digest_of(uid: str) -> str:
    """SHA-256 (hexadecimal) of a UID, by which logs and file names call what it names."""
    return hashlib.sha256(uid.encode()).hexdigest()


def _make(folder: Path) -> None:
    """Make a folder, if it is absent, that survives a loss of power."""
    if not folder.exists():
        folder.mkdir(mode=0o700)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Have the names in a folder written to the disk. Windows opens no folder as a file, and has no other way."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
