"""COVIDx: lists without a header, whose patients are other collections'."""

from collections import Counter

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.sources import covidx, find_collections, read_collections
from cxrflow.sources.collection import Options
from cxrflow.sources.covidx import Line, line_of

RICORD, STONYBROOK = (
    "MIDRC-RICORD-1C-419639-000331-70020-0.png",
    "A1-12-31-1900-NA-CHEST_AP_PORT-6.000000-AP-16-1-1.jpg",
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("350a e73d-1.jpeg COVID-19 cohen", ("350a", "e73d-1.jpeg", "COVID-19", "cohen", "")),
        ("COVID 626 COVID(626).png positive sirm", ("COVID 626", "COVID(626).png", "positive", "sirm", "")),
        ("98bf 98bf.png normal", ("98bf", "98bf.png", "normal", "", "")),
        (
            "8 SARS-10.1148rg-Fig5-day9.jpeg pneumonia",
            ("8", "SARS-10.1148rg-Fig5-day9.jpeg", "pneumonia", "", ""),
        ),
        (f"419639-000331 {RICORD} positive ricord", ("419639-000331", RICORD, "positive", "ricord", "")),
        (f"A1 {STONYBROOK} COVID-19 stonybrook", ("A1", STONYBROOK, "COVID-19", "stonybrook", "")),
        ("1 a.png normal rsna and more", ("1", "a.png", "normal", "rsna", "and more")),
        ("1 normal rsna", ("1 normal rsna", "", "", "", "")),
    ],
)
def test_a_line(text, line) -> None:
    assert line_of(text.split()) == Line(*line)


def covidx_records(root, files=None):
    found = read_collections(*find_collections(root), Options(), files)
    return [record for record in found if record.source == "covidx"]


@pytest.fixture
def tiny(make_tiny):
    tiny = make_tiny("covidx")
    tiny.tables["train_COVIDx9A.txt"] = [
        ["2", "a.jpg", "COVID-19", "cohen"],
        ["COVID-00003a", "COVID-00003a.jpg", "pneumonia", "fig1"],
        ["ANON2", "b.png", "COVID-19", "actmed"],
        ["S1", "sub-S1_ses-E1_run-1_bp-chest_vp-ap_cr-corrected.png", "COVID-19", "bimcv"],
        ["419639-000331", RICORD, "COVID-19", "ricord"],
        ["A1", STONYBROOK, "COVID-19", "stonybrook"],
        ["COVID_1", "COVID(1).png", "COVID-19", "sirm"],
        ["r1", "r1.png", "pneumonia", "rnsa"],  # the published misprint
    ]
    tiny.tables["test_COVIDx9A.txt"] = [["r2", "r2.png", "normal"], ["r3", "r3.png", "negative", "rsna"]]
    return tiny


def test_patients_are_those_of_the_origins(tiny, make_tiny) -> None:
    tiny.files = ["train/a.jpg", "data/test/r2.png"]
    tiny.write()
    known = [
        "covid-chestxray:2", "figure1:COVID-00003", "actualmed:ANON2", "bimcv-covid19:sub-S1", "ricord:419639-000331",
        "stonybrook:A1", None,
    ]  # fmt: skip
    alone = covidx_records(tiny.root)
    assert [record.patient_id for record in alone] == [*known, None, None, None]  # RSNA's number is an image's
    paths = [record.path for record in alone]
    assert (paths[0], paths[8]) == ("COVIDx/train/a.jpg", "COVIDx/data/test/r2.png")
    for other in ("rsna", "covid-chestxray", "figure1", "actualmed", "bimcv-covid19"):
        make_tiny(other).write()
    together = list(read_collections(*find_collections(tiny.root), Options(with_files=False)))
    people = {record.patient_id for record in together if record.source != "covidx"}
    ours = [record.patient_id for record in together if record.source == "covidx"]
    assert ours == [*known, "nih:00000150", "nih:00000151", "nih:00000152"]
    assert set(ours) - people == {None, "ricord:419639-000331", "stonybrook:A1"}


def test_a_patient_of_hannover_in_covid_chestxray_is_hannovers(tiny, make_tiny) -> None:
    cohen = make_tiny("covid-chestxray")
    url = "https://github.com/ml-workgroup/covid-19-image-repository"
    cohen.add(["2", "", "", "", "COVID-19", "AP", "X-ray", "images", "c9280a30.jpg", url])
    for other in (tiny, cohen, make_tiny("hannover")):
        other.write()
    assert covidx_records(tiny.root)[0].patient_id == "hannover:042f06a9"


def test_images_that_keep_the_names_of_hannover_and_of_the_radiography_database_are_theirs(tiny, make_tiny) -> None:
    """Without covid-chestxray beside it, or with a version of it that has fewer images than COVIDx took."""
    tiny.tables["train_COVIDx9A.txt"] = [
        ["501", "c9280a30.jpg", "COVID-19", "cohen"],
        ["COVID-19(2)", "COVID-19(2).png", "COVID-19", "sirm"],  # of version 1, whose table writes a space
        ["COVID 2", "COVID(2).png", "positive", "sirm"],  # of a later version, which numbers anew
        ["c9280a30", "c9280a30.png", "normal", "rsna"],
    ]
    for other in (tiny, make_tiny("hannover"), make_tiny("radiography")):
        other.write()
    people = [record.patient_id for record in covidx_records(tiny.root)[:4]]
    assert people == ["hannover:042f06a9", "radiography:https://a.org", None, None]


def test_a_radiograph_of_the_abdomen_is_left_out(tiny) -> None:
    """487 images of Stony Brook in version 9A; the first of these names is in issue 230 of COVID-Net."""
    names = ["A926447-01-17-1901-NA-FLAT_PLATE_OF_ABDOMEN_PORTABLE-29035-3.000000-AP-30591-1-1.jpg"]
    names += ["A1-12-31-1900-NA-ABD_UPRT_VIEWONLY-6.000000-AP-16-1-1.jpg", STONYBROOK]
    tiny.tables["train_COVIDx9A.txt"] = [["A1", name, "COVID-19", "stonybrook"] for name in names]
    tiny.write()
    reasons = [record.left_out for record in covidx_records(tiny.root)[:3]]
    assert reasons == ["body part is abdomen, not chest"] * 2 + [None]


def test_negative_is_not_normal(tiny) -> None:
    tiny.write()
    last = covidx_records(tiny.root)[-1]
    assert (last.findings, last.finding) == (("negative for covid-19",), "negative")


def test_the_newest_version_is_read_and_of_it_the_list_that_tells_more(tiny) -> None:
    for version in ("9B", "8A"):
        for side in ("train", "test"):
            tiny.tables[f"{side}_COVIDx{version}.txt"] = [["x", "x.png", "negative", "rsna"]]
    tiny.write()
    assert len(covidx_records(tiny.root)) == 10
    for side in ("train", "test"):
        (tiny.root / "COVIDx" / f"{side}_COVIDx9A.txt").rename(tiny.root / "COVIDx" / f"{side}.txt")
    assert [record.image_id for record in covidx_records(tiny.root)] == ["covidx:x.png"] * 2  # of 9B


def test_lists_as_distributed_with_the_images_or_in_the_repository(tiny) -> None:
    for names in (("train.txt", "test.txt"), ("labels/train_COVIDx5.txt", "labels/test_COVIDx5.txt")):
        tiny.tables = dict(zip(names, tiny.tables.values(), strict=True))
        folder = tiny.write()
        assert len(covidx_records(tiny.root)) == 10
        for name in names:
            (folder / name).unlink()


@pytest.mark.parametrize("text", ["patient_id,image,class\n1,2,3\n", ""])
def test_another_table_is_met_with_what_was_expected_and_found(tiny, text) -> None:
    (tiny.write() / "train_COVIDx9A.txt").write_text(text)
    found = "patient_id image class" if text else "nothing"
    says = rf"train_COVIDx9A\.txt: column file is missing \(expected: train_COVIDx9A\.txt and .*; found: {found}\)"
    with pytest.raises(CxrflowError, match=says):
        covidx_records(tiny.root)


def test_the_published_totals_of_version_9a(tiny) -> None:
    """Images to train and to test by label (docs/COVIDx.md of COVID-Net), by the origins that the lists give."""
    train = {("normal", "rsna"): 8_085, ("pneumonia", "rsna"): 5_503, ("pneumonia", "cohen"): 52}
    train |= {("COVID-19", "stonybrook"): 14_132, ("COVID-19", "ricord"): 896, ("COVID-19", "sirm"): 943}
    train |= {
        ("COVID-19", "cohen"): 270,
        ("COVID-19", "bimcv"): 200,
        ("COVID-19", "actmed"): 25,
        ("COVID-19", "fig1"): 24,
    }
    test = {("normal", "rsna"): 100, ("pneumonia", "rsna"): 100, ("COVID-19", "ricord"): 200}
    for side, counts in (("train", train), ("test", test)):
        lines = ([f"p{k}", f"{side}{k}-{o}.png", label, o] for (label, o), n in counts.items() for k in range(n))
        tiny.tables[f"{side}_COVIDx9A.txt"] = list(lines)
    folder = tiny.write()
    counts = Counter(record.findings[0] for record in covidx.read(folder, folder.name, Options(with_files=False)))
    assert counts == {"no finding": 8_185, "pneumonia": 5_655, "pneumonia/viral/covid-19": 16_690}
