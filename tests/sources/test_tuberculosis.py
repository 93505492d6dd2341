"""Montgomery, Shenzhen and TBX11K: readings as their radiologists wrote them, people, boxes, and published totals.

The readings are published ones. Totals: Jaeger et al. 2014; Liu et al. 2020 and github.com/yun-liu/Tuberculosis.
"""

import os
from collections import Counter

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.records import Box
from cxrflow.sources import (
    SOURCES,
    find_collections,
    montgomery,
    read_collections,
    readings,
    shenzhen,
    tables,
    tbx11k,
)
from cxrflow.sources.collection import Options
from cxrflow.task import Task

TASK = Task(classes={"tb": ("tuberculosis",), "normal": ("no finding",)}, positive="tb")


@pytest.mark.parametrize(
    ("text", "sex", "age", "words"),
    [
        ("male 45yrs\nnormal", "M", 45, "normal"),
        ("Female, 28yrs\nSTB", "F", 28, "STB"),
        ("male , 29yrs  \t\nbilateral secondary PTB", "M", 29, "bilateral secondary PTB"),
        ("female24yrs\nnormale", "F", 24, "normale"),
        ("femal 32yrs\nnormal", "F", 32, "normal"),
        ("male 16month\nnormal", "M", 1.33, "normal"),
        ("female 64days\nnormal", "F", 0.18, "normal"),
        ("male 42\nnormal", "M", None, "normal"),  # years or months?
        ("Mild changes\nin both", None, None, "Mild changes in both"),
        ("", None, None, ""),
    ],
)
def test_readings_of_shenzhen(text, sex, age, words) -> None:
    assert shenzhen.parse(text.splitlines()) == (sex, age, words)


@pytest.mark.parametrize(
    ("text", "sex", "age", "words"),
    [
        ("Patient's Sex: F \nPatient's Age: 027Y\nnormal", "F", 27, "normal"),
        ("Patient's Sex: O \nPatient's Age: 005Y\nnormal", None, 5, "normal"),
        ("Patient's Sex: M\nPatient's Age: 018M\nRUL infiltrate\nwith cavity", "M", 1.5, "RUL infiltrate with cavity"),
        ("normal", None, None, "normal"),
    ],
)
def test_readings_of_montgomery(text, sex, age, words) -> None:
    assert montgomery.parse(text.splitlines()) == (sex, age, words)


@pytest.mark.parametrize(
    ("words", "findings"),
    [
        ("PTB in the right upper field,COPD", ("tuberculosis", "chronic obstructive pulmonary disease")),
        ("NATB", ("tuberculosis",)),
        ("tuberculosis pleuritis", ("tuberculosis",)),
        ("Right pneumothorax, Right upper PTB", ("tuberculosis", "pneumothorax")),
        ("bilateral PTB, with left pleural effusion", ("tuberculosis", "effusion")),
        ("1.secondary PTB  in the right upper field; 2.small tuberculoma", ("tuberculosis",)),
        ("right upper pneumonia", ("pneumonia",)),  # among the abnormal ones, without tuberculosis
        ("fibrous changes", ("other finding",)),
        ("", ("tuberculosis",)),
    ],
)
def test_findings_of_shenzhen(words, findings) -> None:
    assert shenzhen.findings_of(words) == findings


@pytest.mark.parametrize(
    ("number", "words", "person"),
    [
        ("0001", "normal", "0001"),
        ("0117", "stable CXR since 6M; off Rx since 6M (same pt as MCUCXR_0113_1)", "0113"),
        ("0166", "NO REPORT (same pt as MCUCXR_0162_1)", "0162"),
        ("0170", "improved since prior views 1M and 2M ago", "0162"),
        ("0200", "(same pt as MCUCXR_0166_1)", "0162"),
    ],
)
def test_people_of_montgomery(number, words, person) -> None:
    assert montgomery.person_of(number, words) == person


def test_images_and_readings_are_listed_each_once_in_any_layout(make_tiny) -> None:
    tiny = make_tiny("montgomery")
    tiny.folder = "NLM-MontgomeryCXRSet"
    tiny.texts = {f"MontgomerySet/{path}": text for path, text in tiny.texts.items()}
    images = [f"MontgomerySet/CXR_png/MCUCXR_{number}.png" for number in ("0001_0", "0251_1", "0002_0")]
    masks = "MontgomerySet/ManualMask/leftMask/MCUCXR_0001_0.png"
    tiny.files = (*images, masks, "MontgomerySet/CXR_png/Thumbs.db", "MontgomerySet/NLM-MontgomeryCXRSet-ReadMe.pdf")
    tiny.write()
    records = list(read_collections(*find_collections(tiny.root), Options()))
    assert [record.image_id for record in records] == [
        f"montgomery:MCUCXR_{number}" for number in ("0001_0", "0002_0", "0113_1", "0117_1", "0251_1")
    ]
    assert records[0].path == f"NLM-MontgomeryCXRSet/{images[0]}"
    assert (records[0].age, records[0].sex, records[0].view, records[0].finding) == (27, "F", "PA", "normal")
    # without a reading, the name still says what it is
    assert (records[1].findings, records[1].age, records[1].finding) == (("no finding",), None, "normal")
    assert (records[4].findings, records[4].finding) == (("tuberculosis",), "abnormal")
    assert records[2].patient_id == records[3].patient_id == "montgomery:0113"


def test_a_reading_that_contradicts_the_name_is_left_out(make_tiny, read) -> None:
    tiny = make_tiny("shenzhen")
    tiny.texts = {**tiny.texts, "ClinicalReadings/CHNCXR_0002_0.txt": "male 63yrs\nPTB"}
    tiny.texts["ClinicalReadings/CHNCXR_0328_1.txt"] = "male 63yrs\nnormal"
    tiny.texts["ClinicalReadings/CHNCXR_0003_0.txt"] = "male 63yrs\nnormale"
    left_out = [record.left_out for record in read("shenzhen", tiny)]
    assert left_out == [None, readings.CONTRADICTION, None, None, readings.CONTRADICTION]


@pytest.mark.parametrize("name", ["montgomery", "shenzhen"])
def test_a_folder_with_nothing_of_it_says_what_was_expected(tmp_path, name) -> None:
    (tmp_path / SOURCES[name].folders[0] / "png").mkdir(parents=True)
    with pytest.raises(CxrflowError, match=r"no images \(expected: CXR_png/.*; found: png\); put the folders there as"):
        list(read_collections(*find_collections(tmp_path), Options()))


def test_a_reading_that_is_no_text_file_is_passed_over(tmp_path) -> None:
    folder = tmp_path / "ChinaSet_AllFiles"
    (folder / "ClinicalReadings").mkdir(parents=True)
    os.mkfifo(folder / "ClinicalReadings/CHNCXR_0001_0.txt")
    (folder / "ClinicalReadings/CHNCXR_0327_1.txt").write_bytes("female 28yrs\nPTB é".encode("cp1252"))
    (folder / "ClinicalReadings/CHNCXR_0002_0.txt").symlink_to(tmp_path / "elsewhere.txt")
    (tmp_path / "elsewhere.txt").write_text("male 63yrs\nnormal")
    first, second, third = shenzhen.read(folder, folder.name, Options(with_files=False))
    assert (first.age, second.age, third.age, third.finding) == (None, None, 28, "PTB é")


@pytest.mark.parametrize(("name", "prefix", "normal", "tuberculosis"), [
    ("montgomery", "MCUCXR", 80, 58), ("shenzhen", "CHNCXR", 326, 336),
])  # fmt: skip
def test_the_published_totals(tmp_path, name, prefix, normal, tuberculosis) -> None:
    folder = tmp_path / SOURCES[name].folders[0]
    (folder / "CXR_png").mkdir(parents=True)
    for k in range(normal + tuberculosis):
        (folder / f"CXR_png/{prefix}_{k + 1:04}_{int(k >= normal)}.png").touch()
    records = list(read_collections(*find_collections(tmp_path), Options()))
    labels = Counter(TASK.label_of(record.findings)[0] for record in records)
    assert labels == {"normal": normal, "tb": tuberculosis}


@pytest.mark.parametrize(
    ("folder", "categories", "findings", "label"),
    [
        ("health", set(), ("no finding",), "normal"),
        ("sick", set(), ("abnormal without tuberculosis",), None),
        ("tb", {"ActiveTuberculosis"}, ("tuberculosis/active",), "tb"),
        ("tb", {"ObsoletePulmonaryTuberculosis"}, ("tuberculosis/latent",), "tb"),
        ("tb", set(tbx11k.PUBLISHED), ("tuberculosis/active", "tuberculosis/latent"), "tb"),
        ("tb", {"PulmonaryTuberculosis"}, ("tuberculosis",), "tb"),
        ("tb", set(), ("tuberculosis",), "tb"),
        ("health", {"ActiveTuberculosis"}, (), None),
        ("extra", set(), (), None),
        ("tb", {"Banana"}, (), None),
    ],
)
def test_tbx11k_from_the_folder_and_the_boxes(folder, categories, findings, label) -> None:
    assert tbx11k.findings_of(folder, categories) == (findings, None if findings else tables.UNKNOWN_LABEL)
    assert TASK.label_of(findings)[0] == label


def test_boxes_of_tbx11k_and_its_folder_in_a_folder(make_tiny) -> None:
    tiny = make_tiny("tbx11k")
    tiny.texts = {f"TBX11K/{path}": text for path, text in tiny.texts.items()}
    tiny.files = ("TBX11K/imgs/tb/tb0005.png", "TBX11K/imgs/test/test_00001.png")
    tiny.write()
    healthy, active, sick = read_collections(*find_collections(tiny.root), Options())
    assert active.boxes == (Box("tuberculosis/active", 0.75, 0.25, 0.125, 0.0625),)
    assert (active.path, active.image_id) == ("TBX11K/TBX11K/imgs/tb/tb0005.png", "tbx11k:tb/tb0005.png")
    assert (active.finding, healthy.finding, active.patient_id) == ("tb, ActiveTuberculosis", "health", None)
    assert not healthy.boxes
    assert sick.findings == ("abnormal without tuberculosis",)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"images": []}', "[" * 100_000, '{"categories": 1}'])
def test_damaged_annotations_are_one_sentence(make_tiny, read, damage) -> None:
    tiny = make_tiny("tbx11k")
    tiny.texts = {**tiny.texts, "annotations/json/TBX11K_val.json": damage}
    with pytest.raises(CxrflowError, match=r"TBX11K_val\.json: not the annotations that TBX11K publishes \(.*\); put"):
        read("tbx11k", tiny)


def test_absent_annotations_are_met_with_those_that_are_there(make_tiny) -> None:
    tiny = make_tiny("tbx11k")
    tiny.texts = {"annotations/json/TBX11K_train.json": tiny.texts["annotations/json/TBX11K_train.json"]}
    tiny.write()
    with pytest.raises(CxrflowError, match=r"TBX11K_val\.json: .* absent \(expected: .*; found: TBX11K_train\.json"):
        list(read_collections(*find_collections(tiny.root), Options(with_files=False)))


def test_the_published_totals_of_tbx11k(make_tiny, read, annotated) -> None:
    """Training and validation: 3,800 healthy, 3,800 sick, 630 active, 139 latent, 30 both, and one without a box."""
    box = [1.0, 2.0, 3.0, 4.0]
    active, latent = ("ActiveTuberculosis", box), ("ObsoletePulmonaryTuberculosis", box)
    sides = {"train": (3000, 473, 103, 23, 1), "val": (800, 157, 36, 7, 0)}
    tiny = make_tiny("tbx11k")
    texts = {}
    for side, (each, *kinds) in sides.items():
        images = {f"{kind}/{side}{k}.png": [] for kind in ("health", "sick") for k in range(each)}
        marked = zip(kinds, ([active], [latent], [active, latent], []), strict=True)
        images |= {
            f"tb/{side}{k}{len(boxes)}{n}.png": boxes for n, (count, boxes) in enumerate(marked) for k in range(count)
        }
        texts[f"annotations/json/TBX11K_{side}.json"] = annotated(images)
    tiny.texts = texts
    records = read("tbx11k", tiny)
    assert Counter(record.findings for record in records) == {
        ("no finding",): 3800,
        ("abnormal without tuberculosis",): 3800,
        ("tuberculosis/active",): 630,
        ("tuberculosis/latent",): 139,
        ("tuberculosis/active", "tuberculosis/latent"): 30,
        ("tuberculosis",): 1,
    }
    assert Counter(TASK.label_of(record.findings)[0] for record in records) == {"normal": 3800, None: 3800, "tb": 800}
