"""VinDr-CXR: how its readers are combined, boxes in the size of each DICOM image, the layouts in which it is there."""

from collections import Counter

import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset

from cxrflow.records import Box
from cxrflow.sources import find_collections, read_collections, tables, vindr_cxr
from cxrflow.sources.collection import Options

NAME = "vindr-cxr"


@pytest.mark.parametrize(
    ("votes", "readers", "findings", "reason"),
    [
        ({"No finding": 3}, 3, ("no finding",), None),
        ({"Pneumonia": 2, "Edema": 1}, 3, ("pneumonia",), None),
        ({"Pneumonia": 3, "Nodule/Mass": 2}, 3, ("pneumonia", "nodule or mass"), None),
        # what one reader saw may be there, and may not
        ({"No finding": 2, "Pneumonia": 1}, 3, (), vindr_cxr.DISAGREE),
        ({"No finding": 2}, 3, (), vindr_cxr.DISAGREE),
        ({"No finding": 1, "Pneumonia": 2}, 3, ("pneumonia",), None),
        ({"Pneumonia": 1, "Edema": 1, "ILD": 1}, 3, (), vindr_cxr.DISAGREE),
        ({"Pneumonia": 1}, 2, (), vindr_cxr.DISAGREE),
        # the consensus of five is one row
        ({"Tuberculosis": 1, "Other disease": 1}, 1, ("tuberculosis", "other finding"), None),
        ({"Other lesion": 2}, 3, ("other finding",), None),
        ({"Banana": 3}, 3, (), tables.UNKNOWN_LABEL),
        ({}, 3, (), None),
    ],
)
def test_a_finding_needs_most_readers_and_no_finding_all(votes, readers, findings, reason) -> None:
    found, uncertain, why = vindr_cxr.findings_of(Counter(votes), readers)
    assert (found, why) == (findings, reason)
    assert not set(found) & set(uncertain)
    assert ("edema" in uncertain) == ("Edema" in votes)  # one reader's
    assert ("no finding" in uncertain) is False


def test_words_say_how_many_readers(make_tiny, read) -> None:
    _, second, third, _ = read(NAME, make_tiny(NAME))
    assert second.finding == (
        "Consolidation (1 of 3 readers)|Pneumonia (2 of 3 readers)|Nodule/Mass (1 of 3 readers)"
        "|Pleural effusion (1 of 3 readers)"
    )
    assert (third.finding, third.view, third.patient_id) == ("No finding", "PA", None)


def _dicom(path, rows, columns, age, sex) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns, data.PatientAge, data.PatientSex = rows, columns, age, sex
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path)


def test_boxes_are_shares_of_the_dicom_image_and_of_findings_that_most_readers_see(make_tiny) -> None:
    tiny = make_tiny(NAME)
    tiny.tables["annotations/annotations_train.csv"] += [
        ["i2", "R8", "Pneumonia", "100", "200", "300", "600"],
        ["i2", "R9", "Pneumonia", "0", "0", "1000", "2000"],
        ["i2", "R9", "Pneumonia", "0", "0", "1001", "2000"],  # beyond the picture
        ["i2", "R9", "Pneumonia", "0", "", "10", "20"],
    ]
    folder = tiny.write()
    _dicom(folder / "train/i2.dicom", 2000, 1000, "058Y", "M")
    _dicom(folder / "test/i4.dicom", 10, 10, "000Y", "O")
    options = Options()
    records = list(read_collections(*find_collections(tiny.root), options))
    assert records[1].boxes == (Box("pneumonia", 0.1, 0.1, 0.2, 0.2), Box("pneumonia", 0, 0, 1, 1))
    assert (records[1].age, records[1].sex) == (58, "M")
    assert records[3].boxes == (Box("other finding", 0.1, 0.2, 0.2, 0.2),)
    assert (records[3].age, records[3].sex, records[3].path) == (None, None, "vindr-cxr/test/i4.dicom")
    (said,) = options.unread
    assert said.startswith("annotations: 2 boxes in annotations_train.csv not read, the first in line 6: ")


def test_images_that_were_converted_to_png_have_their_sizes_in_a_table(make_tiny) -> None:
    tiny = make_tiny(NAME)
    tiny.tables = {f"1.0.0/{name}": rows for name, rows in tiny.tables.items()}
    tiny.tables["1.0.0/annotations/annotations_train.csv"].append(["i2", "R8", "Pneumonia", "100", "200", "300", "600"])
    tiny.tables["1.0.0/train_meta.csv"] = [["image_id", "dim0", "dim1"], ["i2", "2000", "1000"]]
    tiny.files = ("1.0.0/train/i2.png", "1.0.0/test/i4.png")
    tiny.write()
    options = Options()
    records = list(read_collections(*find_collections(tiny.root), options))
    assert (records[1].path, records[1].boxes) == (
        "vindr-cxr/1.0.0/train/i2.png",
        (Box("pneumonia", 0.1, 0.1, 0.2, 0.2),),
    )
    (said,) = options.unread  # i4: nobody knows the size
    assert "1 box in annotations_test.csv not read" in said


def test_the_table_of_the_kaggle_competition(tmp_path) -> None:
    folder = tmp_path / "vinbigdata-chest-xray-abnormalities-detection"
    folder.mkdir()
    (folder / "train.csv").write_text(
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
        "a,No finding,14,R11,,,,\na,No finding,14,R7,,,,\na,No finding,14,R10,,,,\n"
        "b,Cardiomegaly,3,R10,10,20,30,40\nb,Cardiomegaly,3,R10,11,21,31,41\nb,ILD,5,R9,1,2,3,4\n"
        "b,Cardiomegaly,3,R8,1,1,9,9\nc,Lung Opacity,7,R9,1,2,3,4\nc,Nodule/Mass,8,R8,1,2,3,4\nc,ILD,5,R10,1,2,3,4\n"
    )
    records = list(read_collections(*find_collections(tmp_path), Options(with_files=False)))
    assert [(record.image_id, record.findings) for record in records] == [
        ("vindr-cxr:a", ("no finding",)), ("vindr-cxr:b", ("cardiomegaly",)), ("vindr-cxr:c", ()),
    ]  # fmt: skip
    assert [record.left_out for record in records] == [None, None, vindr_cxr.DISAGREE]
    assert records[1].finding == "Cardiomegaly (2 of 3 readers)|ILD (1 of 3 readers)"
    assert records[0].path == f"{folder.name}/train/a.dicom"


def test_a_row_that_is_there_twice_counts_once(make_tiny, read) -> None:
    tiny = make_tiny(NAME)
    once = read(NAME, tiny)
    for name, rows in tiny.tables.items():
        if name.startswith("annotations/image_labels"):
            tiny.tables[name] = [rows[0], *(row for row in rows[1:] for _ in range(2))]
    assert read(NAME, tiny) == once
