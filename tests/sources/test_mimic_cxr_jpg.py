"""MIMIC-CXR-JPG: studies of several images, views, the layout of PhysioNet, and the cost of its 377,110 rows."""

import gzip
import tracemalloc

import pytest

from cxrflow.sources import find_collections, mimic_cxr_jpg, read_collections, tables
from cxrflow.sources.collection import Options
from cxrflow.task import NO_FINDING_GIVEN

NAME = "mimic-cxr-jpg"


def test_paths_people_and_the_labels_of_a_study(make_tiny, read, demo_params) -> None:
    tiny = make_tiny(NAME)
    tiny.add(["second-of-the-study", "10000032", "53189527", "CHEST (PA AND LAT)", "AP"])
    first, second, third, coded, unlabelled, other = read(NAME, tiny)
    assert first.path == "mimic-cxr-jpg/files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg"
    assert first.patient_id == second.patient_id == other.patient_id == "mimic-cxr-jpg:10000032"
    assert second.findings == other.findings == ("pneumonia",)
    assert second.finding == "Pneumonia|Consolidation (uncertain)"
    assert third.findings == ("atelectasis",)
    assert (coded.view, coded.left_out) == ("postero-anterior", None)
    # a study that the labeler could not read is not normal
    assert (unlabelled.left_out, demo_params.task.label_of(unlabelled.findings)) == (None, (None, NO_FINDING_GIVEN))


@pytest.mark.parametrize(
    ("position", "coded", "reason"),
    [
        ("AP", "", None), ("PA", "lateral", None), ("", "", None), ("AP AXIAL", "", None),
        ("", "antero-posterior", None),
        ("LATERAL", "", "view is LATERAL, not frontal"), ("LL", "left lateral", "view is LL, not frontal"),
        ("", "left lateral", "view is left lateral, not frontal"), ("LAO", "", "view is LAO, not frontal"),
        ("XTABLE LATERAL", "", "view is XTABLE LATERAL, not frontal"),
        ("SWIMMERS", "", "view is SWIMMERS, not frontal"),
    ],
)  # fmt: skip
def test_views(make_tiny, read, position, coded, reason) -> None:
    tiny = make_tiny(NAME)
    tiny.add(["x", "10000032", "50414267", "", position, "", "", "", "", coded])
    assert read(NAME, tiny)[-1].left_out == reason


def test_an_image_of_an_uncertain_study_is_left_out_as_such(make_tiny, read, observed) -> None:
    tiny = make_tiny(NAME)
    labels = f"{mimic_cxr_jpg.LABELS}.gz"
    column = tiny.tables[labels][0].index("Atelectasis")
    tiny.tables[labels][3][column] = ""
    assert [record.left_out for record in read(NAME, tiny)] == [None, None, tables.UNCERTAIN, None, None]


def test_labels_of_a_radiologist_replace_the_labelers(make_tiny, read) -> None:
    """Version 2.1.0; there "No Finding" is uncertain where the report says no more than that nothing has changed."""
    tiny = make_tiny(NAME)
    others = [name for name in mimic_cxr_jpg.PUBLISHED if name not in ("No Finding", "Lung Opacity")]
    blank = [""] * (len(others) - 1)
    assert others[0] == "Enlarged Cardiomediastinum"
    tiny.tables[mimic_cxr_jpg.RADIOLOGIST] = [
        ["study_id", "Airspace Opacity", "No Findings", *others],
        ["50414267", "1.0", "", "-1.0", *blank],
        ["50771383", "", "-1.0", "", *blank],
        ["57375967", "", "1.0", "0.0", *blank],
    ]
    first, second, third, fourth, _ = read(NAME, tiny)
    assert first.findings == ("lung opacity",)
    assert first.finding == "Lung Opacity|Enlarged Cardiomediastinum (uncertain); labelled by a radiologist"
    assert second.findings == ("pneumonia",)  # of a study that the radiologist did not read
    assert (third.findings, third.left_out) == (("no finding",), None)
    assert (fourth.findings, fourth.left_out) == ((), tables.UNCERTAIN)


def test_the_folder_of_the_latest_version_and_tables_that_were_unpacked(make_tiny) -> None:
    tiny = make_tiny(NAME)
    tiny.tables = {f"2.1.0/{name.removesuffix('.gz')}": rows for name, rows in tiny.tables.items()}
    image = "2.1.0/files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg"
    tiny.files = (image, "2.0.0/mimic-cxr-2.0.0-metadata.csv.gz")
    tiny.write()
    records = list(read_collections(*find_collections(tiny.root), Options()))
    assert len(records) == 5
    assert records[0].path == f"mimic-cxr-jpg/{image}"


def test_the_metadata_are_never_whole_in_memory(tmp_path) -> None:
    """Twice the images of as many studies take no more memory."""
    (tmp_path / f"{mimic_cxr_jpg.LABELS}").write_text(",".join(("study_id", *mimic_cxr_jpg.PUBLISHED)) + "\n")
    peaks = []
    for rows in (2_000, 8_000):
        with gzip.open(tmp_path / f"{mimic_cxr_jpg.METADATA}.gz", "wt", compresslevel=1) as file:
            file.write("dicom_id,subject_id,study_id,ViewPosition\n")
            file.writelines(f"{k:08x}-{k:08x},{10_000_000 + k},{50_000_000 + k},PA\n" for k in range(rows))
        tracemalloc.start()
        try:
            assert sum(1 for _ in mimic_cxr_jpg.read(tmp_path, "m", Options(with_files=False))) == rows
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 300_000
