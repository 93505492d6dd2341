"""Synthetic chest radiographs in the layouts of the real collections, with ground-truth masks of lungs and disease.

They let the whole pipeline run without a download, on images with known content.
"""

import io
import re
import tempfile
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from cxrflow.engines import LocalEngine, Lost
from cxrflow.errors import CxrflowError
from cxrflow.files import WRITING, write_whole
from cxrflow.params import Demo
from cxrflow.records import TRUTH
from cxrflow.synthetic.drawing import Radiograph, draw
from cxrflow.synthetic.layouts import plan
from cxrflow.synthetic.people import Job
from cxrflow.synthetic.shortcuts import mark_of, plant
from cxrflow.terminal import track

Box = tuple[float, float, float, float]
#: RSNA publishes pictures of this side; those of the demo are smaller.
_PUBLISHED_SIDE = 1024
_LABELS = "rsna-pneumonia-detection-challenge/stage_2_train_labels.csv"


def write_demo(out: Path, params: Demo) -> None:
    """Draw radiographs of ``params.patients`` people, on all cores, and write them into ``out`` as seven collections.

    Beside the collections, ``truth/lungs`` and ``truth/opacity`` hold 8-bit masks (0, 255) of each frontal radiograph:
    the lung fields, and the disease within them (empty for clear lungs). A mask has the size of its radiograph, and its
    path with the extension ``.png``. If ``params.shortcut`` names a shortcut, marks correlated with the class are added
    (synthetic/shortcuts.py). Equal ``params`` give equal bytes. ``out`` is written in a temporary folder and then moved
    into place.

    Raises CxrflowError if ``out`` holds something other than an earlier demo.
    """
    if out.exists() and not (out.is_dir() and ((out / TRUTH).is_dir() or not any(out.iterdir()))):
        raise CxrflowError(f"{out}: holds something other than a demo; name another folder, or remove it.")
    jobs, tables = plan(params.patients, params.seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=WRITING) as temporary:
        new = Path(temporary) / "new"
        drawn = LocalEngine(limits=None).map(partial(_write, new, params), jobs)
        found = []
        for boxes_of in track(drawn, "drawing radiographs", total=len(jobs)):
            if isinstance(boxes_of, Lost):
                raise CxrflowError(f"demo: a radiograph was not drawn: {boxes_of.reason}; run again.")
            found.append(boxes_of)
        boxes = {PurePosixPath(job.path).stem: some for job, some in zip(jobs, found, strict=True)}
        tables[_LABELS] = _with_boxes(tables[_LABELS], boxes)
        for path, table in tables.items():
            write_whole(new / path, _table(path, table))
        if out.exists():
            out.rename(Path(temporary) / "old")
        new.rename(out)


def _write(root: Path, params: Demo, job: Job) -> list[Box]:
    """Draw and write one image and its masks; returns the bounding boxes of its opacities."""
    path = root / job.path
    if job.kind == "other":
        write_whole(path, _encode(_other(job), job))
        return []
    picture = draw(job.patient, job.kind, job.style, job.seed)
    picture = plant(picture, params.shortcut, mark_of(job, params.shortcut_strength))
    if job.side:
        picture = _resized(picture, job.side)
    write_whole(path, _dicom(picture.pixels, job) if path.suffix == ".dcm" else _encode(picture.pixels, job))
    for name, mask in (("lungs", picture.lungs), ("opacity", picture.opacity)):
        write_whole((root / TRUTH / name / job.path).with_suffix(".png"), _png(mask.astype(np.uint8) * 255))
    return _boxes(picture.opacity)


def _resized(picture: Radiograph, side: int) -> Radiograph:
    lungs, opacity = (
        np.asarray(cv2.resize(m.astype(np.float32), (side, side))) > 0.5 for m in (picture.lungs, picture.opacity)
    )
    pixels = np.asarray(cv2.resize(picture.pixels, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    return Radiograph(pixels, lungs, opacity)


def _boxes(opacity: NDArray[np.bool_]) -> list[Box]:
    """Bounding boxes (x, y, width, height) of the connected parts of a mask with at least 200 pixels; always of the
    largest part. In pixels of a picture of _PUBLISHED_SIDE, as RSNA publishes them."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(opacity.astype(np.uint8))
    parts = sorted((s for s in stats[1:].tolist()), key=lambda s: -s[cv2.CC_STAT_AREA])
    y, x = (_PUBLISHED_SIDE / side for side in opacity.shape)
    large = [s for i, s in enumerate(parts) if i == 0 or s[cv2.CC_STAT_AREA] >= 200]
    return [(s[0] * x, s[1] * y, s[2] * x, s[3] * y) for s in large]


def _with_boxes(labels: pd.DataFrame, boxes: dict[str, list[Box]]) -> pd.DataFrame:
    """The table with one row per box, as published; images without boxes keep their single row."""
    rows = []
    for row in labels.to_dict("records"):
        here = boxes[str(row["patientId"])] if row["Target"] else []
        sides = ("x", "y", "width", "height")
        rows += [row | {k: float(v) for k, v in zip(sides, box, strict=True)} for box in here] or [row]
    return pd.DataFrame(rows, columns=labels.columns)


def _other(job: Job) -> NDArray[np.float32]:
    """A crude cross-section, for the CT and lateral rows that the sources leave out."""
    h, w = job.style.height, job.style.width
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
    rng = np.random.default_rng(job.seed)
    grey = 0.6 * ((x / 0.9) ** 2 + (y / 0.65) ** 2 < 1)
    for side in (-1, 1):
        grey -= 0.5 * (((x - 0.4 * side) / 0.32) ** 2 + (y / 0.45) ** 2 < 1)
    return np.asarray(np.clip(cv2.GaussianBlur(grey, (0, 0), 2) + rng.normal(0, 0.03, (h, w)), 0, 1), np.float32)


def _png(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 2])[1].tobytes()


def _encode(pixels: NDArray[np.float32], job: Job) -> bytes:
    if job.channels == 0:
        return _png(np.round(pixels * 65535).astype(np.uint16))
    image = np.round(pixels * 255).astype(np.uint8)
    if job.channels > 1:
        image = np.repeat(image[:, :, None], job.channels, axis=2)
        image[:, :, 3:] = 255
    if job.path.endswith(".png"):
        return _png(image)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def _dicom(pixels: NDArray[np.float32], job: Job) -> bytes:
    """DICOM with the header of the challenge's files; 12 bits are stored in 16, and MONOCHROME1 is inverted."""
    bits, inverted = abs(job.channels), job.channels < 0
    stored = np.round((1 - pixels if inverted else pixels) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    uid = UID(f"1.2.826.0.1.3680043.8.498.{job.seed}{job.patient.number}")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("1.2.826.0.1.3680043.8.498.1")
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)  # type: ignore[arg-type]
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, uid
    file.StudyInstanceUID, file.SeriesInstanceUID = UID(f"{uid}.1"), UID(f"{uid}.2")  # each image is a study of its own
    tags = dict(job.tags)
    file.Modality, file.ConversionType, file.SeriesDescription = "CR", "WSD", f"view: {tags['ViewPosition']}"
    file.PatientName, file.PatientID, file.PatientSex = (
        tags["PatientID"],
        tags["PatientID"],
        tags["PatientSex"],
    )
    file[0x00101010] = DataElement(
        0x00101010, "AS", tags["PatientAge"], validation_mode=0
    )  # "58", not "058Y": as published
    file.BodyPartExamined, file.ViewPosition = "CHEST", tags["ViewPosition"]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME1" if inverted else "MONOCHROME2"
    file.Rows, file.Columns = stored.shape
    file.PixelSpacing = [0.168, 0.168]
    file.BitsAllocated, file.BitsStored, file.HighBit = 8 * stored.itemsize, bits, bits - 1
    file.PixelRepresentation = 0
    file.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _table(path: str, table: pd.DataFrame) -> bytes:
    """CSV, in ISO-8859-1 if the original is; or Excel with fixed time stamps, so that the bytes are reproducible."""
    if not path.endswith(".xlsx"):
        code = "iso-8859-1" if path.startswith("Figure1") else "utf-8"
        return table.to_csv(index=False, lineterminator="\n").encode(code)
    buffer, out = io.BytesIO(), io.BytesIO()
    table.to_excel(buffer, sheet_name="Sheet1", index=False)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = re.sub(rb"\d{4}-\d\d-\d\dT[\d:]+Z", b"2020-01-01T00:00:00Z", old.read(name))
            new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()
