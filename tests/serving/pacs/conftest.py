"""DICOM nodes on this machine's loopback: cxrflow's, and those of dcmtk that send to it and store what it sends."""

import io
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
)

from cxrflow.task import Task

#: Patient data of every radiograph here: none of it may stand in a log or a file name.
PATIENT = {"PatientName": "DOE^JANE", "PatientID": "MRN-4711", "AccessionNumber": "ACC99"}
ROOT = "1.2.826.0.1.3680043.8.498"
Radiograph = Callable[..., bytes]


@pytest.fixture(scope="session")
def radiograph(drawn: list[np.ndarray]) -> Radiograph:
    """Makes a DICOM file of a drawn radiograph: study and image by number, and any attributes."""

    def make(study: int, image: int = 1, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> bytes:
        pixels = cv2.resize(drawn[image % len(drawn)], (128, 128))
        meta = FileMetaDataset()
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.StudyInstanceUID, data.SeriesInstanceUID = f"{ROOT}.{study}", f"{ROOT}.{study}.1"
        data.SOPClassUID = attributes.pop("SOPClassUID", DigitalXRayImageStorageForPresentation)
        data.SOPInstanceUID = f"{ROOT}.{study}.1.{image}"
        data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "DX", "MONOCHROME2", 1
        data.Rows, data.Columns = pixels.shape
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        data.PixelData = pixels.tobytes()
        for keyword, value in (PATIENT | attributes).items():
            if value is None:
                delattr(data, keyword)
            else:
                setattr(data, keyword, value)
        meta.MediaStorageSOPClassUID = data.SOPClassUID
        meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID", f"{ROOT}.9")
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if syntax == JPEGBaseline8Bit:
            frame = cv2.imencode(".jpg", pixels)[1].tobytes()
        elif syntax == JPEGLosslessSV1:
            frame = imagecodecs.ljpeg_encode(pixels, bitspersample=8)
        if syntax in (JPEGBaseline8Bit, JPEGLosslessSV1):
            data.PixelData, meta.TransferSyntaxUID = pydicom.encaps.encapsulate([frame]), syntax
        elif syntax != ExplicitVRLittleEndian:
            data.compress(syntax, generate_instance_uid=False)
        file = io.BytesIO()
        data.save_as(file, enforce_file_format=True)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def bundle(bundle_of: Callable[..., Path], task: Task) -> Path:
    return bundle_of(task)


def _until(true: Callable[[], Any], seconds: float = 240) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Waits until something holds."""
    return _until


def program(name: str) -> str:
    """dcmtk's program; pynetdicom installs others of the same names."""
    found = shutil.which("dcmdump")
    if found is None:
        pytest.skip("dcmtk is not installed")
    return str(Path(found).with_name(name))


def free_port() -> int:
    """A port that nobody else gets until it is used: below those that the system gives out, and drawn at random, so
    that tests that run at the same time draw others."""
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


class Process:
    """A program with its output in a file; ends with the test."""

    def __init__(self, command: Sequence[Any], output: Path, port: int) -> None:
        self.output, self.port = output, port
        with output.open("ab") as file:
            self.process = subprocess.Popen([str(each) for each in command], stdout=file, stderr=file)

    def log(self) -> str:
        return self.output.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Archive:
    """dcmtk's storescp as the destination of the results, which may be up or down."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder / "archive", free_port()
        self.folder.mkdir()
        self._output, self._process = folder / "storescp.log", None

    def up(self) -> "Archive":
        command = [program("storescp"), "-v", "-aet", "PACS", "-od", self.folder, self.port]
        self._process = Process(command, self._output, self.port)
        _until(lambda: _echo("PACS", self.port) == 0)
        return self

    def down(self) -> None:
        if self._process:
            self._process.kill()

    def held(self) -> list[pydicom.FileDataset]:
        """What it has stored. A file that storescp is writing is read again, until it has all that it was sent with."""
        end = time.monotonic() + 60
        while True:
            try:
                found = [pydicom.dcmread(path) for path in sorted(self.folder.iterdir())]
                assert all({"StudyInstanceUID", "Modality", "SeriesNumber"} <= set(each.dir()) for each in found)
                return found
            except Exception:  # pydicom raises almost anything
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def studies(self) -> list[str]:
        return sorted({each.StudyInstanceUID for each in self.held()})


def _echo(title: str, port: int, calling: str = "ECHOSCU") -> int:
    command = [program("echoscu"), "-aet", calling, "-aec", title, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, timeout=30).returncode


@pytest.fixture(scope="session")
def echo() -> Callable[..., int]:
    """dcmtk's echoscu: AE title and port called, and title that calls; its exit status."""
    return _echo


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    yield made
    made.down()


#: What storescu says of an image that was acknowledged.
ACKNOWLEDGED = "Received Store Response (Success)"


def _store(folder: Path, port: int, *contents: bytes, options: Sequence[str] = ()) -> str:
    folder = folder / f"sent-{os.urandom(4).hex()}"
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / f"{number:04d}.dcm").write_bytes(content)
    command = [program("storescu"), "-v", "-nh", "-aec", "CXRFLOW", *options, "127.0.0.1", str(port)]
    sent = subprocess.run([*command, *sorted(folder.iterdir())], capture_output=True, text=True, timeout=120)
    return sent.stdout + sent.stderr


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., str]:
    """Sends files with dcmtk's storescu in one association, to a port and with options; what it says."""
    return partial(_store, tmp_path)


class Node(Process):
    """`cxrflow dicom-node` as a process."""

    def __init__(self, folder: Path, bundle: Path, to: str, *options: str) -> None:
        self.spool = folder / "spool"
        command = [sys.executable, "-m", "cxrflow.cli", "dicom-node", "--bundle", bundle, "--spool", self.spool]
        port = free_port()
        super().__init__([*command, "--to", to, "--port", port, *options], folder / "node.log", port)

    def wait(self) -> "Node":
        _until(lambda: self.process.poll() is not None or _echo("CXRFLOW", self.port) == 0)
        assert self.process.poll() is None, self.log()
        return self

    def wait_for(self, words: str) -> "Node":
        _until(lambda: words in self.log())
        return self

    def store(self, *contents: bytes) -> int:
        """Send files in one association; the number that was acknowledged."""
        return _store(self.spool.parent, self.port, *contents).count(ACKNOWLEDGED)

    def held(self, state: str) -> list[Path]:
        return sorted((self.spool / state).rglob("*.dcm"))


@pytest.fixture
def node(tmp_path: Path, bundle: Path, archive: Archive) -> Iterator[Callable[..., Node]]:
    """Starts a node that sends to the archive; options as of the command."""
    started: list[Node] = []

    def start(*options: str) -> Node:
        to = f"PACS@127.0.0.1:{archive.port}"
        started.append(Node(tmp_path, bundle, to, "--quiet-seconds", "1", *options))
        return started[-1]

    yield start
    for each in started:
        each.kill()
