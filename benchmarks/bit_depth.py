"""Can the way a grey image was stored be told after the image steps? It must not: it would tell the source.

    python benchmarks/bit_depth.py FOLDER [--images N] [--contrast LEAST MOST]

FOLDER holds collections as for `make run`. Radiographs of it are halved in size, so that they have grey levels between
the 256 of the file, and made pale: their contrast becomes a random share of the range (--contrast), at a random height.
Each is written in every way of WAYS, read, and prepared with the default image steps. A logistic regression on
the grey level histogram and the small picture (16 x 16) tells each way from the plain 8-bit DICOM, cross-validated by
picture.
An AUROC of 0.5 means that it cannot be told.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import table

from cxrflow.errors import LeftOut
from cxrflow.images.registry import prepare_image
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.reading import EXTENSIONS, read_radiograph

_PARAMS = DEFAULTS
_SMALL, _BINS, _FOLDS = 16, 64, 5


def dicom(share: np.ndarray, bits: int, **tags: object) -> bytes:
    """A DICOM file of a picture, float (height, width) in [0, 1], in ``bits`` bits, with the given tags added."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = "1.2.840.10008.5.1.4.1.1.1", "1.2.3", "CR"
    data.Rows, data.Columns = share.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 if bits == 8 else 16, bits, bits - 1
    data.PixelData = levels(share, bits).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    out = io.BytesIO()
    data.save_as(out)
    return out.getvalue()


def levels(share: np.ndarray, bits: int) -> np.ndarray:
    """The picture rounded to ``bits`` bits, uint8 or uint16."""
    return np.rint(share * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


PLAIN = "DICOM, 8 bits"
WAYS: dict[str, Callable[[np.ndarray], bytes]] = {
    PLAIN: lambda share: dicom(share, 8),
    "DICOM, 8 bits, rescale": lambda share: dicom(share, 8, RescaleSlope="1", RescaleIntercept="0"),
    "DICOM, 8 bits, MONOCHROME1": lambda share: dicom(1 - share, 8, PhotometricInterpretation="MONOCHROME1"),
    "DICOM, 12 bits": lambda share: dicom(share, 12),
    "DICOM, 16 bits": lambda share: dicom(share, 16),
    "PNG, 8 bits": lambda share: imagecodecs.png_encode(levels(share, 8)),
    "PNG, 16 bits": lambda share: imagecodecs.png_encode(levels(share, 16)),
    "TIFF, 16 bits": lambda share: imagecodecs.tiff_encode(levels(share, 16)),
}


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--contrast", type=float, nargs=2, default=(0.5, 0.9))
    asked = parser.parse_args()
    prepared = {way: np.stack(images) for way, images in stored(asked.folder, asked.images, asked.contrast).items()}
    pictures = len(prepared[PLAIN])
    rows = []
    plain = features(prepared.pop(PLAIN))
    for way, images in prepared.items():
        other = features(images)
        difference = 255 * np.abs(other[:, : _SMALL**2] - plain[:, : _SMALL**2]).mean()
        rows.append((way, f"{told(plain, other):.3f}", f"{difference:.2f} grey levels"))
    said = f"stored as ({pictures} radiographs)", f"AUROC against {PLAIN}", "mean difference of the prepared pictures"
    table(said, rows)


def stored(folder: Path, count: int, contrast: Sequence[float]) -> dict[str, list[np.ndarray]]:
    """The prepared pictures, uint8 (size, size), of ``count`` radiographs stored in each way."""
    steps, random = load_params(_PARAMS).images, np.random.default_rng(0)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    prepared: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "image")
        for k in random.permutation(len(files)):
            try:
                share = pale(read_radiograph(files[k]), random.uniform(*contrast), random)
            except LeftOut:
                continue
            for way, encode in WAYS.items():
                path.write_bytes(encode(share))
                prepared[way].append(prepare_image(read_radiograph(path, turned=False), steps).image)
            if len(prepared[PLAIN]) == count:
                break
    return prepared


def pale(grey: np.ndarray, contrast: float, random: np.random.Generator) -> np.ndarray:
    """The radiograph at half its size, float64, spanning a share ``contrast`` of [0, 1]."""
    small = cv2.resize(grey.astype(np.float64), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    small = (small - small.min()) / max(np.ptp(small), 1e-9)
    return np.asarray(random.uniform(0, 1 - contrast) + contrast * small)


def features(images: np.ndarray) -> np.ndarray:
    """Small picture, histogram, mean and standard deviation of each image: float64 (n, k)."""
    small = [cv2.resize(image, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA).ravel() / 255 for image in images]
    histogram = [np.histogram(image, _BINS, (0, 256))[0] / image.size for image in images]
    moments = np.stack([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1) / 255
    return np.hstack([np.array(small), np.array(histogram), moments])


def told(plain: np.ndarray, other: np.ndarray) -> float:
    """Cross-validated AUROC of telling the two apart; both versions of a picture are in the same fold."""
    truth = np.repeat([0, 1], len(plain))
    groups = np.tile(np.arange(len(plain)), 2)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    scores = cross_val_predict(
        model, np.vstack([plain, other]), truth, groups=groups, cv=GroupKFold(_FOLDS), method="predict_proba"
    )
    return float(roc_auc_score(truth, scores[:, 1]))


if __name__ == "__main__":
    main()
