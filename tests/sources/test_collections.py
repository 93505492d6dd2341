"""What is peculiar to each public collection."""

import json

import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset

from cxrflow.errors import CxrflowError
from cxrflow.findings import FINDINGS, find_finding
from cxrflow.records import Box
from cxrflow.sources import (
    actualmed,
    covid_chestxray,
    figure1,
    kermany,
    nih,
    radiography,
    read_collections,
    rsna,
    tables,
)
from cxrflow.sources import find_collections as find
from cxrflow.sources.collection import Options
from cxrflow.task import NO_FINDING_GIVEN, Task

VIRAL, BACTERIAL, FUNGAL = "pneumonia/viral", "pneumonia/bacterial", "pneumonia/fungal"
COVID, ARDS = f"{VIRAL}/covid-19", "acute respiratory distress syndrome"


@pytest.mark.parametrize(
    ("published", "findings", "label"),
    [
        # the vocabulary of June 2020
        ("COVID-19", [COVID], "covid"),
        ("COVID-19, ARDS", [COVID, ARDS], "covid"),
        ("SARS", [f"{VIRAL}/sars"], "pneumonia"),
        ("Streptococcus", [f"{BACTERIAL}/streptococcus"], "pneumonia"),
        ("Pneumocystis", [f"{FUNGAL}/pneumocystis"], "pneumonia"),
        ("Klebsiella", [f"{BACTERIAL}/klebsiella"], "pneumonia"),
        ("Legionella", [f"{BACTERIAL}/legionella"], "pneumonia"),
        ("Mycoplasma Bacterial Pneumonia", [f"{BACTERIAL}/mycoplasma"], "pneumonia"),
        ("Bacterial", [BACTERIAL], "pneumonia"),
        ("E.Coli", [f"{BACTERIAL}/e.coli"], "pneumonia"),
        ("Varicella", [f"{VIRAL}/varicella"], "pneumonia"),
        ("Chlamydophila", [f"{BACTERIAL}/chlamydophila"], "pneumonia"),
        ("Lipoid", ["pneumonia/lipoid"], "pneumonia"),
        ("Influenza", [f"{VIRAL}/influenza"], "pneumonia"),
        ("No Finding", ["no finding"], "normal"),
        ("ARDS", [ARDS], None),
        # the later one
        ("Pneumonia/Viral/COVID-19", [COVID], "covid"),
        ("Pneumonia/Bacterial/Streptococcus", [f"{BACTERIAL}/streptococcus"], "pneumonia"),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", [f"{BACTERIAL}/staphylococcus/mrsa"], "pneumonia"),
        ("Pneumonia/Fungal/Pneumocystis", [f"{FUNGAL}/pneumocystis"], "pneumonia"),
        ("Pneumonia/Viral/MERS-CoV", [f"{VIRAL}/mers-cov"], "pneumonia"),
        ("Pneumonia/Viral/Influenza/H1N1", [f"{VIRAL}/influenza/h1n1"], "pneumonia"),
        ("Pneumonia", ["pneumonia"], "pneumonia"),
        ("Tuberculosis", ["tuberculosis"], None),
        ("Unknown", ["not determined"], None),
        ("todo", ["not determined"], None),
        # not negative, whatever it names beside
        ("No Finding, Edema", ["edema"], None),
        # SARS-CoV-2 is no SARS
        ("SARS-CoV-2", [COVID], "covid"),
    ],
)
def test_both_vocabularies_of_covid_chestxray(published, findings, label, demo_params) -> None:
    assert covid_chestxray.findings_of(published) == (tuple(findings), None)
    found, reason = demo_params.task.label_of(findings)
    assert found == label
    assert reason == (None if label else "finding is not one of covid, normal, pneumonia")


@pytest.mark.parametrize(("published", "reason"), [("", NO_FINDING_GIVEN), ("Banana", tables.UNKNOWN_LABEL)])
@pytest.mark.parametrize("source", [covid_chestxray, figure1, actualmed, nih])
def test_no_word_and_an_unknown_word_are_told_apart(source, published, reason, demo_params) -> None:
    findings, left_out = source.findings_of(published)
    assert findings == ()
    assert (left_out or demo_params.task.label_of(findings)[1]) == reason


def test_every_translation_ends_in_the_vocabulary() -> None:
    paths = {path for _, path in covid_chestxray.PUBLISHED} | set(rsna.TARGET)
    paths |= {path for source in (figure1, rsna, nih, kermany) for path in source.PUBLISHED.values()}
    paths |= {path for kind in (*radiography.FIRST, *radiography.LATER) for path in kind.findings}
    assert paths <= set(FINDINGS)


def test_covid_chestxray_leaves_out_ct_and_lateral_views(make_tiny, read) -> None:
    tiny = make_tiny("covid-chestxray")
    tiny.add(["5", "", "", "", "COVID-19", "Axial", "CT", "volumes", "d.nii.gz", ""])
    tiny.add(["5", "", "", "", "COVID-19", "L", "X-ray", "images", "e.jpg", ""])
    tiny.add(["5", "", "", "", "COVID-19", "AP semi erect", "X-ray", "", "f.jpg", ""])
    records = read("covid-chestxray", tiny)
    ct, lateral, frontal = records[-3:]
    assert "CT" in ct.left_out
    assert "frontal" in lateral.left_out
    assert frontal.left_out is None
    assert frontal.path == "covid-chestxray-dataset/images/f.jpg"
    first = records[0]
    assert (first.patient_id, first.age, first.sex, first.day) == ("covid-chestxray:2", 65, "M", 0)


def test_figure1_finds_the_file_and_joins_a_and_b(make_tiny) -> None:
    tiny = make_tiny("figure1")
    tiny.add(["COVID-00003b", "", "", "", "Pneumonia", "", ""])
    images = tiny.write() / "images"
    images.mkdir()
    for file in ("COVID-00001.png", "COVID-00001.txt", "COVID-00003a.jpg", "COVID-00003b.JPEG"):
        (images / file).touch()
    first, absent, a, b = read_collections(*find(tiny.root), Options())
    assert first.path.endswith("images/COVID-00001.png")  # not the text beside it
    assert absent.path.endswith("images/COVID-00002.jpg")
    assert absent.age == 50
    assert b.path.endswith("images/COVID-00003b.JPEG")
    assert a.patient_id == b.patient_id == "figure1:COVID-00003"


def test_radiography_names_children_and_discarded(make_tiny) -> None:
    tiny = make_tiny("radiography")
    tiny.tables["COVID-19.metadata.xlsx"] += [[f"COVID-19 ({n})", "PNG", "", "https://a.org"] for n in (100, 107, 217)]
    folder = tiny.write()
    for file in ("COVID-19/COVID-19(1).png", "COVID-19/COVID-19 (2).png", "NORMAL/NORMAL (1).png"):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
    records = list(read_collections(*find(tiny.root), Options()))
    assert [record.path.split("/", 1)[1] for record in records] == [
        "COVID-19/COVID-19(1).png",
        "COVID-19/COVID-19 (2).png",
        "COVID-19/COVID-19 (100).png",
        "COVID-19/COVID-19 (107).png",
        "COVID-19/COVID-19 (217).png",
        "NORMAL/NORMAL (1).png",
        "Viral Pneumonia/Viral Pneumonia (1).png",
    ]
    assert [record.left_out is not None for record in records] == [False, False, True, False, True, False, False]
    assert [record.paediatric for record in records] == [False] * 5 + [True] * 2
    # images of one page are taken for one person's; the children come from one page, all of them
    assert [record.patient_id for record in records[2:]] == ["radiography:https://a.org"] * 3 + [None] * 2


def test_radiography_discards_these_and_no_others(make_tiny, read) -> None:
    tiny = make_tiny("radiography")
    header = tiny.tables["COVID-19.metadata.xlsx"][0]
    tiny.tables["COVID-19.metadata.xlsx"] = [header, *([f"COVID-19({n})", "PNG", "", ""] for n in range(1, 220))]
    gone = [int(r.image_id[21:-1]) for r in read("radiography", tiny) if r.left_out and r.finding == "COVID-19"]
    # 100-106, 110-113, 122-126, 217
    assert gone == [100, 101, 102, 103, 104, 105, 106, 110, 111, 112, 113, 122, 123, 124, 125, 126, 217]


def test_a_damaged_excel_table_is_one_sentence(make_tiny) -> None:
    tiny = make_tiny("radiography")
    table = tiny.write() / "NORMAL.metadata.xlsx"
    whole = table.read_bytes()
    for damaged in (b"no table", whole[: len(whole) // 2]):
        table.write_bytes(damaged)
        with pytest.raises(CxrflowError, match=r"NORMAL\.metadata\.xlsx"):
            list(read_collections(*find(tiny.root), Options(with_files=False)))


@pytest.mark.parametrize(
    ("targets", "published", "findings", "reason"),
    [
        ({"1"}, "Lung Opacity", ("lung opacity", "pneumonia"), None),
        ({"0"}, "Normal", ("no finding",), None),
        ({"0"}, "No Lung Opacity / Not Normal", ("abnormal without lung opacity",), None),
        ({"0", "1"}, "Lung Opacity", (), tables.UNKNOWN_LABEL),
        ({"0"}, "Lung Opacity", (), tables.UNKNOWN_LABEL),
        # nothing given: the task leaves it out
        ({"0"}, "", (), None),
        (set(), "Normal", (), None),
    ],
)
def test_rsna_rule(targets, published, findings, reason) -> None:
    assert rsna.findings_of(targets, published) == (findings, reason)


def test_rsna_boxes_are_one_record_and_patients_those_of_nih(make_tiny, read) -> None:
    tiny = make_tiny("rsna")
    tiny.tables["nih_mapping.csv"] = [["patientId", "nih_image"], ["r1", "00000150_007.png"], ["r2", ""]]
    records = read("rsna", tiny)
    assert [record.image_id for record in records] == ["rsna:r1", "rsna:r2", "rsna:r3"]
    # a blank in the mapping is nobody, not one more patient
    assert [record.patient_id for record in records] == ["nih:00000150", None, None]
    in_nih = read("nih", make_tiny("nih"))
    assert in_nih[1].patient_id == records[0].patient_id


def test_boxes_of_rsna_are_shares_of_its_pictures(make_tiny, read) -> None:
    first, second, third = read("rsna", make_tiny("rsna"))
    sides = [[side / 1024 for side in box] for box in ((1, 2, 3, 4), (5, 6, 7, 8))]
    assert first.boxes == tuple(Box(finding, *box) for box in sides for finding in ("lung opacity", "pneumonia"))
    assert second.boxes == third.boxes == ()


def test_boxes_of_nih_come_from_a_table_of_their_own(make_tiny, read) -> None:
    tiny = make_tiny("nih")
    tiny.tables[nih.BOXES] = [
        ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", ""],
        ["00000150_002.png", "Infiltrate", "256", "512.0", "128", "64"],
        ["00000150_002.png", "Pneumonia", "0", "0", "1024", "1024"],
        ["00000099_000.png", "Mass", "1", "1", "1", "1"],  # of an image that is not there
    ]
    records = read("nih", tiny)
    assert records[1].boxes == (Box("infiltration", 0.25, 0.5, 0.125, 0.0625), Box("pneumonia", 0, 0, 1, 1))
    assert not any(record.boxes for record in (records[0], *records[2:]))
    del tiny.tables[nih.BOXES][0][2]
    with pytest.raises(CxrflowError, match=r"BBox_List_2017\.csv: column Bbox \[x is missing"):
        read("nih", tiny)


@pytest.mark.parametrize(
    "cells",
    [
        ("a", "2", "3", "4"), ("1", "", "3", "4"), ("1", "2", "-3", "4"), ("1", "2", "0", "4"), ("-1", "2", "3", "4"),
        ("1000", "2", "30", "4"), ("1", "1000", "3", "30"), ("nan", "2", "3", "4"), ("1e300", "2", "3", "4"),
    ],
)  # fmt: skip
def test_a_box_that_cannot_be_is_counted_and_not_read(make_tiny, cells) -> None:
    tiny = make_tiny("rsna")
    tiny.tables["stage_2_train_labels.csv"].append(["r1", *cells, "1"])
    tiny.tables["stage_2_train_labels.csv"].append(["r2", "1", "2", "3", "4", "0"])  # of an image without an opacity
    tiny.write()
    options = Options(with_files=False)
    first, second, _ = read_collections(*find(tiny.root), options)
    assert (len(first.boxes), len(second.boxes)) == (4, 0)
    (said,) = options.unread
    assert said.startswith(f"{tiny.folder}: 2 boxes in stage_2_train_labels.csv not read, the first in line 6: ")


def test_rsna_without_the_patients_stops_unless_the_leak_is_accepted(make_tiny) -> None:
    tiny = make_tiny("rsna")
    del tiny.tables["nih_mapping.csv"]
    tiny.write()
    root, found = find(tiny.root)
    with pytest.raises(CxrflowError, match=r"mappings_2018\.json.*sources\.rsna_without_patients: accept"):
        list(read_collections(root, found, Options(with_files=False)))
    accepted = Options(with_files=False, rsna_without_patients="accept")
    assert [record.patient_id for record in read_collections(root, found, accepted)] == [None] * 3


def test_rsna_reads_the_mapping_as_rsna_publishes_it(make_tiny) -> None:
    tiny = make_tiny("rsna")
    del tiny.tables["nih_mapping.csv"]
    file = tiny.write() / "pneumonia-challenge-dataset-mappings_2018.json"
    entry = {"img_id": "00000150_007.png", "subset_img_id": "r1", "orig_labels": ["Mass"], "SOPInstanceUID": "1.2"}
    file.write_text(json.dumps([entry, entry | {"img_id": "00000151_001.png", "subset_img_id": "r2"}]))
    records = list(read_collections(*find(tiny.root), Options(with_files=False)))
    assert [record.patient_id for record in records] == ["nih:00000150", "nih:00000151", None]
    for damaged in ("[{}]", "{", '"text"', "[" * 100_000):
        file.write_text(damaged)
        with pytest.raises(CxrflowError, match="not the mapping that RSNA publishes"):
            list(read_collections(*find(tiny.root), Options(with_files=False)))


def test_rsna_takes_view_age_and_sex_from_the_header(make_tiny) -> None:
    tiny = make_tiny("rsna")
    images = tiny.write() / "stage_2_train_images"
    images.mkdir()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.PatientSex, data.PatientAge, data.ViewPosition = "F", "058Y", "PA"
    data.save_as(images / "r1.dcm")
    (images / "r2.dcm").write_bytes(b"damaged")
    first, damaged, absent = read_collections(*find(tiny.root), Options())
    assert (first.view, first.age, first.sex) == ("PA", 58, "F")
    assert (damaged.view, damaged.age, absent.sex) == (None, None, None)


@pytest.mark.parametrize(
    ("published", "findings", "label"),
    [
        ("Pneumonia", ("pneumonia",), "pneumonia"),
        ("Edema|Pneumonia", ("edema", "pneumonia"), "pneumonia"),
        ("Pleural_Thickening", ("pleural thickening",), None),
        ("No Finding", ("no finding",), "normal"),
        ("Hernia", ("hernia",), None),
        ("Banana|Pneumonia", ("pneumonia",), "pneumonia"),
        ("No Finding|Hernia", ("hernia",), None),
        ("No Finding|Banana", (), None),
    ],
)
def test_nih_rule(published, findings, label, demo_params) -> None:
    assert nih.findings_of(published) == (findings, None if findings else tables.UNKNOWN_LABEL)
    assert demo_params.task.label_of(findings)[0] == label


def test_nih_age_and_patient(make_tiny, read) -> None:
    records = read("nih", make_tiny("nih"))
    assert [record.age for record in records] == [77, 55, None, 55]
    assert [record.patient_id for record in records] == [f"nih:{n:08}" for n in (61, 150, 150, 151)]


def test_a_users_own_table_is_called_after_its_folder(make_tiny, read) -> None:
    first, _, third = read("table", make_tiny("table"))
    assert (first.image_id, first.source, first.patient_id) == ("hospital:a/1.png", "hospital", "hospital:p1")
    assert (first.age, first.finding, third.finding, third.patient_id) == (50, "é", "lobar", None)


@pytest.mark.parametrize(
    ("word", "finding"),
    [
        # as before there were tasks
        ("covid", COVID), ("COVID-19", COVID), ("covid19", COVID), ("Normal", "no finding"), ("pneumonia", "pneumonia"),
        # any finding, by its path or its last word
        ("pneumothorax", "pneumothorax"), ("Pneumonia/Viral/SARS", f"{VIRAL}/sars"),
        ("klebsiella", f"{BACTERIAL}/klebsiella"), ("Pleural_Thickening", "pleural thickening"),
        # a class of the task below, by its name and by what people read
        ("sick", "tuberculosis"), ("White Plague", "tuberculosis"), ("well", "no finding"),
    ],
)  # fmt: skip
def test_a_users_label_is_a_class_of_the_task_or_any_finding(make_tiny, word, finding) -> None:
    task = Task(
        classes={"sick": ("tuberculosis",), "well": ("no finding",)}, positive="sick", names={"sick": "White plague"}
    )
    tiny = make_tiny("table")
    tiny.tables["any name.csv"] = [["path", "label", "patient"], ["a.png", word, "p"], ["b.png", "flu", "p"]]
    tiny.write()
    options = Options(with_files=False, finding_named=lambda label: task.finding_named(label) or find_finding(label))
    known, flu = read_collections(*find(tiny.root), options)
    assert (known.findings, known.left_out) == ((finding,), None)
    assert (flu.findings, flu.left_out) == ((), f"{tables.UNKNOWN_LABEL} (flu)")


def test_two_tables_that_fit_are_refused_others_beside_are_not(make_tiny) -> None:
    tiny = make_tiny("table")
    folder = tiny.write()
    (folder / "notes.csv").write_text("path,remark\n")
    (folder / "folder.csv").mkdir()
    assert len(list(read_collections(*find(tiny.root), Options(with_files=False)))) == 3
    (folder / "more.csv").write_text("patient,label,path\n")
    with pytest.raises(CxrflowError, match=r"2 tables.*any name\.csv, more\.csv"):
        list(read_collections(*find(tiny.root), Options(with_files=False)))
