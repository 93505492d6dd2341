"""A DICOM image, a bundle's description and its result for that image, made by hand."""

import hashlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from cxrflow.bundle import PURPOSE, Bundle, Network, OperatingPoint, PredictionSets
from cxrflow.images.steps import Window
from cxrflow.params import Params
from cxrflow.result import Look, Result
from cxrflow.task import Task

#: Of the picture of ``dicom_image``.
SHAPE = (240, 200)


@pytest.fixture(scope="session")
def bundle(demo_params: Params, four_classes: Task) -> Bundle:
    """Four classes, two operating points, prediction sets."""
    points = {
        "specificity": OperatingPoint(wanted=0.9, threshold=0.25, sensitivity=0.8, specificity=0.9),
        "cost_ratio": OperatingPoint(wanted=5, prevalence=0.1, threshold=0.125, sensitivity=0.9, specificity=0.7),
    }
    network = Network(
        model="resnet18", images=demo_params.images, mean=0.5, std=0.2, temperature=1, epoch=0, validation={}
    )
    sets = PredictionSets(coverage=0.9, least=dict.fromkeys(four_classes.order, 0.1))
    return Bundle(
        cxrflow="0",
        task=four_classes,
        networks=(network,),
        thresholds=points,
        prediction_sets=sets,
        sources={},
        digests={},
    )


@pytest.fixture(scope="session")
def look() -> Look:
    """Heat at one place of a 10 x 10 map that shows the lower 200 x 200 pixels: (40 + 130, 70), lungs around it."""
    heat, lungs = np.zeros((10, 10), np.float32), np.zeros((10, 10), bool)
    heat[6, 3], lungs[2:9, 1:9] = 1, True
    window = Window(40, 0, 200, *SHAPE)
    return Look("bacterial", SHAPE, ((heat, window),), ((lungs, window),))


@pytest.fixture(scope="session")
def header() -> Callable[..., Dataset]:
    """Makes a DX image of 240 x 200 pixels with a whole header; ``tags`` are changed, None removes one."""

    def make(**tags: Any) -> Dataset:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4.5"
        data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Doe^Jane", "P 1", "19600102", "F"
        data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20200304", "050607", "7", "A8"
        data.ReferringPhysicianName, data.StudyDescription, data.Modality = "Roe^Richard", "Chest", "DX"
        data.PatientOrientation, data.ImagerPixelSpacing = ["L", "F"], [0.2, 0.2]
        data.Rows, data.Columns = SHAPE
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
        ramp = np.linspace(0, 4095, SHAPE[0] * SHAPE[1]).astype(np.uint16)
        data.add_new("PixelData", "OW", ramp.tobytes())
        for keyword, value in tags.items():
            if value is None:
                del data[keyword]
            else:
                setattr(data, keyword, value)
        data.file_meta.MediaStorageSOPClassUID = data.get("SOPClassUID", "")
        data.file_meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID", "")
        return data

    return make


@pytest.fixture(scope="session")
def content_of() -> Callable[[Dataset], bytes]:
    """The file of a header."""

    def write(data: Dataset) -> bytes:
        file, data.preamble = io.BytesIO(), bytes(128)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that are wrong on purpose
            data.save_as(file)
        return file.getvalue()

    return write


@pytest.fixture(scope="session")
def result_of(bundle: Bundle, look: Look) -> Callable[..., Result]:
    """Makes a result for the content of a file, or its fields changed."""

    def make(content: bytes, **fields: Any) -> Result:
        said = {
            "image": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "study": "1.2.3",
            "series": "1.2.3.4",
            "instance": "1.2.3.4.5",
            "scores": {"clear": 0.5, "viral": 0.125, "bacterial": 0.25, "other": 0.125},
            "prediction": "clear",
            "positive_at": {"specificity": True, "cost_ratio": False},
            "prediction_set": ("clear", "bacterial"),
            "frontal": 0.75,
            "as_far": 0.375,
            "flags": ("was stored inverted and has been corrected",),
            "note": "BodyPartExamined is HAND",
            "bundle": "ab" * 32,
            "cxrflow": "9.8",
            "purpose": PURPOSE,
            "look": look,
        }
        return Result(**(said | fields))

    return make
