"""Where the networks looked, as DICOM images in the pixels of the original: an overlay in colour, and the heat."""

import cv2
import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes

from cxrflow.bundle import Bundle
from cxrflow.outputs import codes as ours
from cxrflow.outputs.dicom_report import concept
from cxrflow.outputs.dicom_source import for_highdicom, named, refer, uid
from cxrflow.outputs.pictures import drawn
from cxrflow.reading import read
from cxrflow.result import Look, Result

_BURNED_IN = "RESEARCH USE ONLY - NOT A MEDICAL DEVICE"
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def overlay_picture(result: Result, look: Look, bundle: Bundle, source: Dataset, content: bytes) -> SCImage:
    """Heat and outline of the lungs over the radiograph, RGB, with "research use only" burned in."""
    picture = burned_in(drawn(look, read(content).grey), f"cxrflow {result.cxrflow}: heat for {look.label}")
    made = SCImage(
        pixel_array=np.ascontiguousarray(picture[..., ::-1]),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        pixel_spacing=source.get("PixelSpacing"),
        study_instance_uid=source.StudyInstanceUID,
        patient_id=source.PatientID,
        patient_name=source.PatientName,
        patient_birth_date=source.PatientBirthDate,
        patient_sex=source.PatientSex,
        accession_number=source.AccessionNumber,
        study_id=source.StudyID,
        study_date=source.StudyDate,
        study_time=source.StudyTime,
        referring_physician_name=source.ReferringPhysicianName,
        **named(result, bundle, source, "sc", "heat over the image"),
    )
    made.copy_patient_and_study_information(for_highdicom(source))
    # highdicom demands an orientation. The image's own counts, or none: it is not guessed.
    made.add_new("PatientOrientation", "CS", source.get("PatientOrientation"))
    if "PixelSpacing" not in source and (ratio := _aspect(source)):
        made.PixelAspectRatio = ratio
    if "LossyImageCompression" in source:
        made.LossyImageCompression = source.LossyImageCompression
    made.Laterality = ""  # of the chest, which is no paired part
    made.BurnedInAnnotation = "YES"
    made.DerivationDescription = f"{_what(look, bundle)}. Research use only."
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = [
        concept(ours.Coded("DCM", "121322", "Source image for image processing operation"))
    ]
    reference.SpatialLocationsPreserved = "YES"
    made.SourceImageSequence = [reference]
    return made


def heat_map(result: Result, look: Look, bundle: Bundle, source: Dataset) -> ParametricMap:
    """The heat, float32, 0 to 1, a pixel for each of the image's."""
    image = for_highdicom(source)
    image.Rows, image.Columns = look.shape
    # A projection has no place in space, but a Parametric Map must have one (PS3.3 A.75): a frame of reference of its
    # own, in which the image begins at 0 and its pixels are as large as the image says, or 1 mm.
    image.FrameOfReferenceUID = uid(result, source, "map", "frame of reference")
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = source.get("PixelSpacing") or _sides(source), 1
    made = ParametricMap(
        source_images=[image],
        pixel_array=look.heat(),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label="HEAT",
                lut_explanation=_what(look, bundle)[:64],
                unit=codes.UCUM.NoUnits,
                value_range=(0.0, 1.0),
                slope=1.0,
                intercept=0.0,
                quantity_definition=concept(ours.HEAT),
            )
        ],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label="HEAT",
        content_description=f"Research use only: {_what(look, bundle)}"[:64],
        content_qualification="RESEARCH",
        **named(result, bundle, source, "map", "heat, 0 to 1"),
    )
    made.Laterality = ""
    refer(made, source)
    return made


def burned_in(picture: NDArray[np.uint8], about: str) -> NDArray[np.uint8]:
    """The picture, uint8 (height, width, 3), with "research use only" and ``about`` on black at its lower left."""
    height, width = picture.shape[:2]
    lines = [_BURNED_IN, about]
    scale = 0.6 * width / max(cv2.getTextSize(line, _FONT, 1, 2)[0][0] for line in lines)
    step = max(1, round(36 * scale))
    for number, line in enumerate(lines):
        bottom = height - step * (len(lines) - number - 1) - step // 2
        across = cv2.getTextSize(line, _FONT, scale, 2)[0][0] + step
        picture[max(0, bottom - step * 3 // 4) : bottom + step // 2, :across] = 0
        cv2.putText(picture, line, (step // 2, bottom), _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def _what(look: Look, bundle: Bundle) -> str:
    return f"Grad-CAM for {bundle.task.names[look.label]}"


def _sides(source: Dataset) -> list[float]:
    """Height and width of a pixel in mm, on the detector where the image has no other; of one whose size is not known
    [1, 1], or as its aspect ratio says."""
    return [float(side) for side in source.get("ImagerPixelSpacing") or source.get("PixelAspectRatio") or (1, 1)]


def _aspect(source: Dataset) -> list[int] | None:
    """Height and width of a pixel in whole numbers (PS3.3 C.7.6.3.1.7); None if it is square."""
    height, width = _sides(source)
    return None if height == width else [round(1000 * height), round(1000 * width)]
