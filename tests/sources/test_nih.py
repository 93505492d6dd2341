"""NIH ChestX-ray14: the tables of 2017 and 2020, images in parts, and the findings that radiologists adjudicated."""

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.sources import find_collections, nih, read_collections
from cxrflow.sources.collection import Options

HEADER = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender"]
HEADER += ["View Position", "OriginalImage[Width,Height]", "OriginalImagePixelSpacing[x,y]"]


@pytest.fixture
def of_2020(make_tiny):
    """Five images in the layout of 2020, its images in parts, one of them not there."""
    tiny = make_tiny("nih")
    tiny.tables = {
        nih.TABLES[0]: [
            HEADER,
            ["00000013_008.png", "No Finding", "8", "13", "60", "M", "AP", "3056,2544", "0.139,0.139"],
            ["00000013_026.png", "Pneumonia|Effusion", "26", "13", "57", "M", "AP", "2500,2048", "0.168,0.168"],
            ["00000032_002.png", "Pneumothorax", "2", "32", "55", "F", "AP", "3056,2544", "0.139,0.139"],
            ["00000032_003.png", "No Finding", "3", "32", "55", "F", "AP", "3056,2544", "0.139,0.139"],
            ["00000040_000.png", "Pneumonia", "0", "40", "9", "F", "PA", "3056,2544", "0.139,0.139"],
        ],
        nih.ADJUDICATED_TABLE: [
            [*HEADER, *nih.ADJUDICATED, "Set Id"],
            ["00000013_008.png", *[""] * 8, "YES", "NO", "YES", "NO", "test"],
            ["00000013_026.png", *[""] * 8, "NO", "NO", "NO", "NO", "test"],
            ["00000032_002.png", *[""] * 8, "NO", "NO", "NO", "NO", "val"],
            ["00000032_003.png", *[""] * 8, "NO", "NO", "NO", "NO", "val"],
            ["00000099_000.png", *[""] * 8, "YES", "NO", "NO", "NO", "val"],  # of an image that is not there
        ],
    }
    tiny.main = nih.TABLES[0]
    tiny.files = [
        "images_001/images/00000013_008.png", "images_001/images/00000013_026.png",
        "images_002/images/00000032_002.png", "images_012/images/00000040_000.png",
    ]  # fmt: skip
    return tiny


def test_images_in_parts_are_found_and_patients_are_those_of_rsna(of_2020) -> None:
    of_2020.write()
    records = list(read_collections(*find_collections(of_2020.root), Options()))
    assert [record.path.removeprefix("nih-chestxray14/") for record in records] == [
        *of_2020.files[:3],
        "images/00000032_003.png",  # in no part: the run says that it is not there
        of_2020.files[3],
    ]
    assert [record.patient_id for record in records] == [f"nih:{n:08}" for n in (13, 13, 32, 32, 40)]
    assert [record.age for record in records] == [60, 57, 55, 55, 9]


def test_adjudicated_findings_replace_mined_ones_and_say_so(of_2020, read) -> None:
    records = read("nih", of_2020)
    assert [(record.findings, record.finding, record.left_out) for record in records] == [
        (("airspace opacity", "nodule or mass"), "No Finding; adjudicated: Airspace opacity|Nodule or mass", None),
        # effusion was not read again; a pneumonia without an airspace opacity is none
        (("effusion",), "Pneumonia|Effusion; adjudicated: none of the four", None),
        # without a pneumothorax, the image is not normal: nobody has said so
        ((), "Pneumothorax; adjudicated: none of the four", nih.REFUTED),
        (("no finding",), "No Finding; adjudicated: none of the four", None),
        (("pneumonia",), "Pneumonia", None),
    ]


@pytest.mark.parametrize(
    ("mined", "found", "findings"),
    [
        (("nodule", "mass", "hernia"), {"Nodule or mass": False}, ("hernia",)),
        (("nodule",), {"Nodule or mass": True}, ("nodule", "nodule or mass")),
        (("infiltration", "consolidation", "atelectasis"), {"Airspace opacity": False}, ("atelectasis",)),
        (("pneumothorax",), {"Pneumothorax": True}, ("pneumothorax",)),
        (("no finding",), {"Fracture": True}, ("fracture",)),
        (("no finding",), {}, ("no finding",)),  # neither YES nor NO: not read
        (("pneumonia",), {"Fracture": False}, ("pneumonia",)),
    ],
)
def test_what_an_adjudicated_finding_decides_on(mined, found, findings) -> None:
    assert nih.adjudicate(mined, found) == findings


def test_of_both_tables_the_one_of_2020_is_read(of_2020, read) -> None:
    of_2020.tables[nih.TABLES[1]] = [HEADER, ["00000001_000.png", "Hernia", "0", "1", "60", "M", "PA", "", ""]]
    assert len(read("nih", of_2020)) == 5


def test_another_table_is_met_with_what_was_expected_and_found(of_2020) -> None:
    of_2020.tables = {"Data_Entry_2026.csv": of_2020.tables[nih.TABLES[0]]}
    of_2020.write()
    with pytest.raises(
        CxrflowError,
        match=r"Data_Entry_2017\.csv: the table is absent \(expected: Data_Entry_2017_v2020\.csv of 2020, or "
        r"Data_Entry_2017\.csv of 2017; found: Data_Entry_2026\.csv, images_001/, .*\); put it there as published\.$",
    ):
        list(read_collections(*find_collections(of_2020.root), Options()))
