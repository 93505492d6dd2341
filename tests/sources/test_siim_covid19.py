"""SIIM-FISABIO-RSNA COVID-19: appearances of studies, marks in images, people in DICOM headers."""

from collections import Counter

import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset

from cxrflow.records import Box
from cxrflow.sources import find_collections, read_collections, siim_covid19, tables
from cxrflow.sources.collection import Options
from cxrflow.sources.siim_covid19 import CONTRADICTS, ELSEWHERE, findings_of

TYPICAL, NEGATIVE = ("typical appearance of covid-19",), ("negative for pneumonia",)
NONE, OPACITY = "none 1 0 0 1 1", "opacity 1 789.28836 582.43035 1815.94498 2499.73327"


@pytest.mark.parametrize(
    ("columns", "label", "marked", "findings", "reason"),
    [
        (("Typical Appearance",), OPACITY, True, (*TYPICAL, "lung opacity"), None),
        (("Typical Appearance",), NONE, True, (), ELSEWHERE),
        (("Typical Appearance",), NONE, False, TYPICAL, None),  # nothing is marked in the whole study
        (("Negative for Pneumonia",), NONE, False, NEGATIVE, None),
        (("Negative for Pneumonia",), OPACITY, True, (), CONTRADICTS),
        (("Indeterminate Appearance", "Atypical Appearance"), OPACITY, True, (), tables.UNKNOWN_LABEL),
        ((), NONE, False, (), tables.UNKNOWN_LABEL),
    ],
)
def test_what_a_study_and_a_mark_say_of_an_image(columns, label, marked, findings, reason) -> None:
    assert findings_of(columns, label, marked) == (findings, reason)


def write_dicom(path, **elements) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.update({pydicom.tag.Tag(name): pydicom.DataElement(name, *value) for name, value in elements.items()})
    data.save_as(path)


def test_people_and_boxes_come_from_headers(make_tiny) -> None:
    tiny = make_tiny("siim-covid19")
    image = tiny.tables["train_image_level.csv"][3]
    image[1:3] = ["[{'x': 9000.0, 'y': 0.0, 'width': 1.0, 'height': 1.0}]", image[2]]  # beyond the picture
    folder = tiny.write()
    size = {"Rows": ("US", 2052), "Columns": ("US", 4096)}
    for key, study, person in (("a", "s1", "p1"), ("b", "s1", "p1"), ("c", "s2", "p1")):
        place = folder / "train" / study / f"series-{key}" / f"{key}.dcm"
        write_dicom(place, PatientID=("LO", person), PatientSex=("CS", "F"), **size)
    options = Options()
    records = list(read_collections(*find_collections(tiny.root), options))
    assert [record.path.partition("/")[2] for record in records] == [
        "train/s1/series-a/a.dcm",
        "train/s1/series-b/b.dcm",
        "train/s2/series-c/c.dcm",
        "train/s3/d.dcm",  # not there: the run says so
    ]
    # two studies of one person; of an image that is not there, the study is all that is known
    people = ["siim-covid19:p1"] * 3 + ["siim-covid19:study s3"]
    assert [(record.patient_id, record.sex) for record in records] == list(zip(people, ["F"] * 3 + [None], strict=True))
    assert [record.boxes for record in records] == [(Box("lung opacity", 0.125, 0.125, 0.25, 512 / 2052),), (), (), ()]
    (said,) = options.unread
    assert said.startswith("siim-covid19-detection: 1 box in train_image_level.csv not read, the first in line 4: ")


def test_the_published_totals(make_tiny) -> None:
    """6,334 images of 6,054 studies, with what their studies are said to look like."""
    tiny = make_tiny("siim-covid19")
    published = dict(zip(siim_covid19.PUBLISHED.values(), (1_736, 3_007, 1_108, 483), strict=True))
    place = [place for place, count in enumerate(published.values()) for _ in range(count)]
    # of each second image, while there are any, the study is that of the image before
    study = [k - 1 if k % 2 and k < 2 * (6_334 - 6_054) else k for k in range(6_334)]
    rows = [[f"s{k}_study", *("1" if n == place[k] else "0" for n in range(4))] for k in dict.fromkeys(study)]
    tiny.tables["train_study_level.csv"][1:] = rows
    tiny.tables["train_image_level.csv"][1:] = [[f"i{k}_image", "", NONE, f"s{s}"] for k, s in enumerate(study)]
    folder = tiny.write()
    records = list(siim_covid19.read(folder, folder.name, Options(with_files=False)))
    assert (len(records), len({record.patient_id for record in records})) == (6_334, 6_054)
    assert Counter(record.findings[0] for record in records) == published
    assert not any(record.left_out for record in records)
