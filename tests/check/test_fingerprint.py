"""The fingerprint of tiny collections, counted by hand; what they cannot answer."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from cxrflow.check import fingerprint as module
from cxrflow.check.check import facts_of
from cxrflow.check.fingerprint import cramers_v, fingerprint, text_in_sample
from cxrflow.check.tables import how_close, print_fingerprint, rows_of_source
from cxrflow.check.unanswered import confounded, enough, too_few, unanswered
from cxrflow.metadata import fingerprint as of_metadata
from cxrflow.metadata.build import FINGERPRINTS, build_records
from cxrflow.params import Sources
from cxrflow.reading.letters import Place
from cxrflow.statistics.figure import to_json

COLUMNS = ("view", "age", "sex")
MINE = [
    ["a.png", "covid", "p1", "PA", "40", "F"],
    ["b.png", "covid", "p1", "AP", "42", "F"],
    ["c.png", "normal", "p2", "PA", "10", "M"],
    ["d.png", "normal", "", "", "", ""],
    ["absent.png", "normal", "p4", "", "", ""],
]
THEIRS = [["e.jpg", "normal", "q1", "", "", ""], ["f.png", "covid", "q2", "AP", "50", "M"]]


@pytest.fixture
def built(own, how, demo_params, engine, tmp_path, picture):
    wide = picture(3, 256)[:128]
    deep = picture(4).astype(np.uint16) * 257
    own(MINE, {"a.png": 1, "b.png": 2, "c.png": wide, "d.png": deep}, columns=COLUMNS)
    root = own(THEIRS, {"e.jpg": 5, "f.png": 1}, folder="theirs", columns=COLUMNS)  # f.png has the bytes of a.png
    sources = Sources(root=str(root), collections=None)
    return build_records(sources, how, demo_params.task, engine, tmp_path / "work")


def test_what_each_source_holds_counted_by_hand(built, task, tmp_path, capsys) -> None:
    found = fingerprint(built, task, tmp_path / "work")
    assert (found["rows"], found["kept"], found["groups"]) == (7, 5, 4)
    assert found["left_out"] == {"file is absent": 1, "repeat: the same bytes as an earlier image": 1}
    mine, theirs = found["sources"]["mine"], found["sources"]["theirs"]
    assert {key: mine[key] for key in ("rows", "images", "people", "unknown", "groups", "children")} == {
        "rows": 5, "images": 4, "people": 2, "unknown": 1, "groups": 3, "children": 1,
    }  # fmt: skip
    assert mine["views"] == {"AP": 1, "PA": 2, "unknown": 1}
    assert mine["sexes"] == {"F": 2, "M": 1, "unknown": 1}
    assert mine["ages"] == {"40 to 59": 2, "under 18": 1, "unknown": 1}
    assert mine["age"] == [10.0, 13.0, 40.0, 41.8, 42.0]  # of 10, 40 and 42 years
    assert mine["width"] == [128.0, 128.0, 128.0, 236.8, 256.0]  # of 128, 128, 128 and 256 pixels
    assert mine["height"] == mine["shorter"] == [128.0] * 5
    assert mine["bits"] == {"8 bits": 3, "16 bits": 1}
    assert mine["formats"] == {"PNG": 4}
    assert mine["repeated"] == {"here": 0, "elsewhere": 1}
    assert theirs["formats"] == {"JPEG": 1}
    assert (theirs["age"], theirs["images"], theirs["rows"]) == (None, 1, 2)
    assert theirs["repeated"] == {"here": 0, "elsewhere": 1}
    assert not mine["text"].known
    counted = {(row["source"], row["label"]): (row["images"], row["groups"]) for row in found["classes"]}
    assert counted == {("mine", "covid"): (2, 1), ("mine", "normal"): (2, 2), ("theirs", "normal"): (1, 1)}
    assert not found["baseline"].known  # too few patients to learn from
    json.dumps(to_json(found), allow_nan=False)
    print_fingerprint(found, task)
    printed = capsys.readouterr().out
    assert "4 of 5" in printed
    assert "2; unknown of 1 image" in printed


def test_no_image_is_read_twice(built, task, how, engine, tmp_path) -> None:
    assert len(engine.asked) == 7  # each file once, the absent one too
    engine.asked.clear()
    fingerprint(built, task, tmp_path / "work")
    assert engine.asked == []
    again = Sources(root=str(built.root.folder), collections=None)
    build_records(again, how, task, engine, tmp_path / "work")
    assert [path for _, path in engine.asked] == ["mine/absent.png"]  # it may be there by now


def test_a_file_that_changed_since_is_not_counted(built, task, tmp_path, picture) -> None:
    file = built.root.folder / "mine" / "a.png"
    Image.fromarray(picture(9, 64)).save(file)
    of_metadata.fingerprints(built.root, ["mine/a.png"], _Here(), tmp_path / "work" / FINGERPRINTS)
    assert sum(fingerprint(built, task, tmp_path / "work")["sources"]["mine"]["formats"].values()) == 3


class _Here:
    def map(self, function, items):
        return map(function, items)


def test_text_is_looked_for_in_a_sample_and_remembered(built, task, engine, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "TEXT_SAMPLE", 3)
    monkeypatch.setattr(of_metadata, "detector", lambda: "a detector")
    monkeypatch.setattr(of_metadata, "try_text", lambda grey: (Place(0, 0, 9, 9, 1.0),) if grey.shape[1] > 128 else ())
    engine.asked.clear()
    found = text_in_sample(built, engine, tmp_path / "work")
    assert len(engine.asked) == 4  # three of one source, all of the other
    assert (found["mine"].n, found["theirs"].n, found["theirs"].value) == (3, 1, 0.0)
    engine.asked.clear()
    assert text_in_sample(built, engine, tmp_path / "work") == found
    assert engine.asked == []
    shown = dict(rows_of_source(fingerprint(built, task, tmp_path / "work", found)["sources"]["theirs"]))
    assert shown["text burned in"].startswith("0 %")


def test_cramers_v_is_that_of_the_textbook() -> None:
    def v(*counts: tuple[str, str, int]) -> float | None:
        return cramers_v(pd.DataFrame(counts, columns=["source", "label", "groups"]))

    assert v(("a", "x", 10), ("b", "y", 30)) == pytest.approx(1)
    assert v(("a", "x", 10), ("a", "y", 30), ("b", "x", 20), ("b", "y", 60)) == pytest.approx(0)
    # chi-squared of 20, 10, 10, 20 is 60 (20 x 20 - 10 x 10)^2 / 30^4 = 6.67, and V = sqrt(6.67 / 60).
    assert v(("a", "x", 20), ("a", "y", 10), ("b", "x", 10), ("b", "y", 20)) == pytest.approx(1 / 3)
    assert v(("a", "x", 10), ("a", "y", 30)) is None


def test_a_table_that_gives_the_class_away_has_a_baseline_near_1(own, how, two_classes, engine, tmp_path) -> None:
    labels = [two_classes.classes[name][0] for name in two_classes.order]
    rows = [[f"{n}.png", labels[n % 2], f"p{n}", ["PA", "AP"][n % 2]] for n in range(60)]
    own([row for row in rows if row[3] == "PA"], {}, columns=("view",))
    root = own([row for row in rows if row[3] == "AP"], {}, folder="theirs", columns=("view",))
    ignoring = how.model_copy(update={"files": "ignored"})
    built = build_records(Sources(root=str(root), collections=None), ignoring, two_classes, engine, tmp_path / "work")
    figure = module._baseline(built, two_classes)
    assert figure.value == pytest.approx(1)
    test = (built.records.split == "test").sum()
    assert figure.n == 60 - test  # the test split is not looked at


def test_what_would_stop_the_study_comes_first_and_there_are_no_facts(built, task, how, demo_params, tmp_path) -> None:
    said = unanswered(built, task, how)
    assert said[0].startswith("Anything, as it stands; the study would stop: metadata: ")
    assert "Anything by view or age or sex within theirs: it says none of its 1 image." in said
    assert any(sentence.startswith("mine: the patient of 1 of 4 images is not known") for sentence in said)
    assert facts_of(built, demo_params, fingerprint(built, task, tmp_path / "work")) is None


def test_how_many_patients_are_missing(two_classes) -> None:
    rows = [(name, side, 9, 60) for name in two_classes.order for side in ("train", "val", "test")]
    counted = pd.DataFrame(rows, columns=["label", "split", "images", "groups"])
    said = too_few(counted, two_classes)
    assert len(said) == 2
    # The normal approximation wants 1.96^2 x 0.8 x 0.2 / 0.05^2 = 246 patients; Wilson's interval of 60 is narrower.
    assert "has 60 patients" in said[0]
    assert 150 < int(said[0].partition("about ")[2].split()[0]) < 186
    assert not too_few(counted.assign(groups=1000), two_classes)
    assert enough() == 245
    low, high = proportion_confint(0.8 * 245, 245, method="wilson")
    assert high - low == pytest.approx(0.1, abs=2e-4)


def test_children_against_adults_is_said_and_a_mixture_is_not(two_classes) -> None:
    a, b = two_classes.order
    (said,) = confounded({"child": {a: 1.0, b: 0.1}, "AP": {a: 0.5, b: 0.6}}, two_classes)
    assert "children from adults" in said
    assert "100% of" in said
    assert not confounded({"child": {a: 1.0}, "AP": {}}, two_classes)


def test_how_close_class_and_source_are_in_words(built, task, tmp_path) -> None:
    said = how_close(fingerprint(built, task, tmp_path / "work"))
    assert said[0].startswith("Cramér's V of class and source: 0.")
    assert "unknown (" in said[1]
