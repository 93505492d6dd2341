"""Services of a bundle with random weights: in this process, or as a process of their own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from cxrflow.bundle import OperatingPoint
from cxrflow.params import Images, Params
from cxrflow.predictor import Predictor
from cxrflow.task import Task

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from cxrflow.serving.app import create_app
from cxrflow.serving.settings import Bounds, Settings

Served = Callable[..., TestClient]
Running = tuple[str, "subprocess.Popen[bytes]", Path]


#: Patient data of the fixture ``scan``, none of which may appear anywhere but in the answer to who sent it.
PATIENT = {
    "PatientName": "DOE^JANE",
    "PatientID": "MRN-4711",
    "PatientBirthDate": "19510203",
    "AccessionNumber": "ACC99",
}


@pytest.fixture(scope="session")
def png() -> Callable[[np.ndarray], bytes]:
    """A grey picture as PNG."""

    def encode(pixels: np.ndarray) -> bytes:
        file = BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    return encode


@pytest.fixture(scope="session")
def patient() -> dict[str, str]:
    """Patient data in the header of ``scan``."""
    return PATIENT


@pytest.fixture(scope="session")
def scan(drawn: list[np.ndarray]) -> bytes:
    """A drawn radiograph as a DICOM file with patient data."""
    import pydicom
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = DigitalXRayImageStorageForPresentation, "1.2.3.4.5"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for key, value in PATIENT.items():
        setattr(data, key, value)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "DX", "MONOCHROME2", 1
    data.Rows, data.Columns = drawn[0].shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = (drawn[0].astype(np.uint16) * 16).tobytes()
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture(scope="session")
def ask() -> Callable[..., httpx.Response]:
    """Sends files to ``/predict`` under a patient's name; further arguments are the query's, or headers."""

    def send(client: httpx.Client, *contents: bytes, headers: dict[str, str] | None = None, **query: Any) -> Any:
        files = [("files", ("DOE^JANE.png", content)) for content in contents]
        return client.post("/predict", files=files, params=query, headers=headers)

    return send


@pytest.fixture(scope="session")
def small(demo_params: Params) -> Images:
    """Image steps with lungs, of small pictures."""
    return demo_params.images.model_copy(update={"size": 64, "lungs": "opencv", "lungs_use": "crop"})


@pytest.fixture(scope="session")
def folder(bundle_of: Callable[..., Path], task: Task, small: Images) -> Path:
    """A bundle's folder, with an operating point."""
    at = OperatingPoint(wanted=0.9, threshold=0.5, sensitivity=0.8, specificity=0.9)
    return bundle_of(task, images=small, thresholds={"specificity": at})


@pytest.fixture(scope="session")
def predictor(folder: Path) -> Predictor:
    return Predictor(folder)


@pytest.fixture(scope="session")
def pictures(drawn: list[np.ndarray], png: Callable[[np.ndarray], bytes]) -> list[bytes]:
    """A few drawn radiographs as PNG."""
    return [png(each) for each in drawn[:4]]


@pytest.fixture(scope="session")
def client(predictor: Predictor) -> Iterator[TestClient]:
    """A client of a service with the usual settings, in this process."""
    with _client(predictor) as client:
        yield client


@pytest.fixture
def served(predictor: Predictor) -> Iterator[Served]:
    """Starts a service in this process; a client of it. Options are named as in Bounds and Settings."""
    with ExitStack() as stack:

        def start(predictor: Predictor = predictor, **more: Any) -> TestClient:
            return stack.enter_context(_client(predictor, **more))

        yield start


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """Starts `cxrflow serve` as a process; its URL, the process, and the file of what it says. Its temporary folder is
    ``tmp_path/tmp``."""

    @contextmanager
    def start(*options: str) -> Iterator[Running]:
        (tmp_path / "tmp").mkdir()
        said = tmp_path / "said"
        command = [sys.executable, "-m", "cxrflow.cli", "serve", "--bundle", str(folder), "--port", "0", *options]
        environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
        with said.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, cwd=tmp_path)
        try:
            _wait_until(lambda: "http://" in said.read_text() or process.poll() is not None)
            found = re.search(r"http://\S+:(\d+)", said.read_text())
            assert found, said.read_text()
            url = f"http://127.0.0.1:{found[1]}"
            _wait_until(lambda: httpx.get(f"{url}/v2/health/ready", timeout=60).status_code == 200)
            yield url, process, said
        finally:
            process.kill()
            process.wait()

    return start


@contextmanager
def _client(predictor: Predictor, **more: Any) -> Iterator[TestClient]:
    bounds = Bounds(**{key: more.pop(key) for key in [*more] if key in Bounds._fields})
    app = create_app(predictor, Settings(bounds=bounds, **more))
    with TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False) as client:
        _wait_until(lambda: app.state.service.scorer.ready)
        yield client


def _wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
