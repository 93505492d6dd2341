"""What a bundle has seen is left out of its tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import TRAINED_ON, patient_digest
from cxrflow.evaluation.seen import (
    SAME_FILE,
    SAME_PATIENT,
    SAME_PICTURE,
    SIMILAR_PICTURE,
    leave_out_seen,
    met_before,
    patients_meet,
    seen_before,
)
from cxrflow.files import Root
from cxrflow.metadata.near_hash import DIGITS, SAME, SIMILAR, agreement, near_hash
from cxrflow.params import Params
from cxrflow.passport import Passport, unknown


def flipped(thumbnail: bytes, low: float, high: float) -> str:
    """The near hash of a thumbnail with so many of its bits turned that they agree between ``low`` and ``high``."""
    number = int(near_hash(thumbnail), 16)
    for bit in range(4 * DIGITS):
        number ^= 1 << bit
        if (agreed := agreement([thumbnail], [f"{number:0{DIGITS}x}"])[0]) < high:
            assert agreed >= low
            return f"{number:0{DIGITS}x}"
    raise AssertionError


def test_what_is_left_out_is_said_as_what_it_is(tmp_path: Path, picture: Callable[..., np.ndarray]) -> None:
    shown = {name: picture(seed, 96).tobytes() for seed, name in enumerate(("same", "like", "less", "other"))}
    hashes = [near_hash(shown["same"]), flipped(shown["like"], SIMILAR, SAME), flipped(shown["less"], 0.8, SIMILAR)]
    old = "0f" * 32  # as bundles of an earlier version have them
    seen = pd.DataFrame(
        {
            "split": ["train", "val", "train", "train"],
            "content_hash": ["aa", "bb", "cc", "dd"],
            "near_hash": [*hashes, old],
            "patient": [patient_digest("nih:7"), None, None, None],
        }
    )
    seen.to_csv(tmp_path / TRAINED_ON, index=False, lineterminator="\n")
    rows = [
        # image, content, picture, patient, group, already left out; expected
        ("same bytes", "bb", "other", None, "g1", None, SAME_FILE),
        ("same picture", "1c", "same", None, "g2", None, SAME_PICTURE),
        ("similar", "1d", "like", None, "g3", None, SIMILAR_PICTURE),
        ("of the similar one's group", "2d", "other", None, "g3", None, None),
        ("not similar enough", "1e", "less", None, "g4", None, None),
        ("same patient", "ee", "other", "nih:7", "g5", None, SAME_PATIENT),
        ("in a group with the same picture", "ff", "other", "x:1", "g2", None, SAME_PATIENT),
        ("left out before", "aa", None, "nih:7", "g5", "no finding given", "no finding given"),
        ("cannot be read any more", "ab", None, "nih:8", "g6", None, None),
        ("new", "ac", "other", "nih:8", "g6", None, None),
    ]
    names = ["image_id", "content_hash", "picture", "patient_id", "group_id", "left_out", "expected"]
    table = pd.DataFrame(rows, columns=names, dtype=object).assign(split="test")
    out = leave_out_seen(table, [shown.get(name) for name in table.picture], tmp_path)
    got = out.left_out.where(out.left_out.notna(), None)
    assert got.tolist() == table.expected.where(table.expected.notna(), None).tolist()
    assert out.split.notna().tolist() == [reason is None for reason in table.expected]
    # Drawings carry the patient numbers of real collections, in which they are of other people.
    out = leave_out_seen(table, [shown.get(name) for name in table.picture], tmp_path, by_patient=False)
    got, before = out.left_out.fillna(""), table.expected.fillna("")
    differing = table.image_id[got != before]
    assert differing.tolist() == ["same patient"]


def bundle_of(params: Params, drawn: bool = False) -> Bundle:
    return Bundle(
        cxrflow="0",
        task=params.task,
        networks=(Network(model="crnn", images=params.images, mean=0, std=1, temperature=1, epoch=0, validation={}),),
        sources={"nih": 5},
        drawn=drawn,
        digests={},
    )


def test_what_was_seen_in_pretraining_is_said(tmp_path: Path, demo_params: Params) -> None:
    seen = pd.DataFrame([{"split": "pretraining", "content_hash": "aa", "near_hash": None, "patient": None}])
    seen.to_csv(tmp_path / TRAINED_ON, index=False)
    bundle = bundle_of(demo_params)
    test = pd.DataFrame(
        {"source": ["nih", "rsna"], "content_hash": ["bb", "cc"], "patient_id": [None, "rsna:1"]}, dtype=object
    )
    assert seen_before(bundle, tmp_path, test) is None
    pretrained = bundle.model_copy(update={"pretrained_on": ("NIH", "ImageNet-1k")})
    assert seen_before(pretrained, tmp_path, test) == (
        "It was pretrained on images of nih and rsna; the test set has images of the same collections."
    )
    both = bundle.model_copy(update={"pretrained_on": ("NIH", "RSNA")})
    assert str(seen_before(both, tmp_path, test)).endswith(
        "nih and rsna; the test set has images of the same collections."
    )
    met = test.assign(content_hash=["aa", "cc"])
    assert seen_before(bundle, tmp_path, met) == (
        "1 of the 2 test images, or others of their patients, were seen in training."
    )
    person = pd.DataFrame(
        [{"split": "train", "content_hash": "ff", "near_hash": None, "patient": patient_digest("rsna:1")}]
    )
    person.to_csv(tmp_path / TRAINED_ON, index=False)
    assert str(seen_before(bundle, tmp_path, test)).startswith("1 of the 2 test images")
    assert seen_before(bundle, tmp_path, test, by_patient=False) is None
    assert str(seen_before(bundle.model_copy(update={"seen": "unknown"}), tmp_path, test)).startswith("Unknown")
    old = pd.DataFrame([{"split": "train", "content_hash": "ff", "near_hash": "0f" * 32, "patient": None}])
    old.to_csv(tmp_path / TRAINED_ON, index=False)
    assert "of an earlier version" in str(seen_before(bundle, tmp_path, test))


def test_numbers_of_patients_say_nothing_between_drawings_and_radiographs(tmp_path: Path, demo_params: Params) -> None:
    drawings, radiographs = Root(tmp_path / "drawn"), Root(tmp_path / "real")
    (drawings.folder / "truth" / "opacity").mkdir(parents=True)
    (radiographs.folder / "figure1").mkdir(parents=True)
    for drawn, expected in ((True, [True, False]), (False, [True, True])):
        bundle = bundle_of(demo_params, drawn)
        assert [patients_meet(bundle, root) for root in (drawings, radiographs)] == expected


def test_who_was_trained_on_nih_has_seen_rsna() -> None:
    """RSNA's images are NIH's; other sources are new to such weights."""
    test = pd.DataFrame(
        {
            "source": ["nih", "rsna", "rsna", "rsna", "actualmed", "covid-chestxray"],
            "group_id": ["a", "a", "b", "b", "c", "d"],
        }
    )
    weights = Passport(name="w", trained_on=("NIH", "PadChest"))
    met = met_before(weights, test)
    assert (met.sources, met.complete) == ({"nih": (1, 1), "rsna": (3, 2)}, True)
    assert met.words == "nih: 1 image of 1 group; rsna: 3 images of 2 groups"
    later = Passport(name="v", trained_on=("actualmed",), complete=False, before=weights)
    assert met_before(later, test).words == (
        "actualmed: 1 image of 1 group; nih: 1 image of 1 group; rsna: 3 images of 2 groups; others unknown"
    )
    assert met_before(weights, test[4:]).words == "none"
    assert met_before(None, test).words == "none"
    assert met_before(unknown("w"), test).words == "unknown"
    assert met_before(Passport(name="w", trained_on=("covid-chestxray",)), test).sources == {"covid-chestxray": (1, 1)}
