"""What a bundle has seen is left out of its tests."""

from pathlib import Path

import pandas as pd

from cxrflow.bundle import TRAINED_ON, Bundle, patient_digest
from cxrflow.evaluation.seen import SAME_IMAGE, SAME_PATIENT, leave_out_seen, seen_before
from cxrflow.params import Params


def flipped(near_hash: str, bits: int) -> str:
    """The hash with its first ``bits`` bits turned."""
    return f"{int(near_hash, 16) ^ ((1 << bits) - 1) << (256 - bits):064x}"


def test_same_bytes_near_repeats_and_patients_are_left_out(tmp_path: Path) -> None:
    near = "0f" * 32
    seen = pd.DataFrame(
        [
            {"split": "train", "content_hash": "aa", "near_hash": near, "patient": patient_digest("nih:7")},
            {"split": "val", "content_hash": "bb", "near_hash": "f0" * 32, "patient": None},
        ]
    )
    seen.to_csv(tmp_path / TRAINED_ON, index=False)
    far = "3c" * 32
    rows = [
        # image, content, near hash, patient, group, already left out; expected
        ("same bytes", "bb", far, None, "g1", None, SAME_IMAGE),
        ("near", "cc", flipped(near, 14), None, "g2", None, SAME_IMAGE),
        ("not near enough", "dd", flipped(near, 15), None, "g3", None, None),
        ("same patient", "ee", far, "nih:7", "g4", None, SAME_PATIENT),
        ("in a group with the near one", "ff", far, "x:1", "g2", None, SAME_PATIENT),
        ("left out before", "aa", near, "nih:7", "g5", "no finding given", "no finding given"),
        ("new", "gg", far, "nih:8", "g6", None, None),
    ]
    names = ["image_id", "content_hash", "near_hash", "patient_id", "group_id", "left_out", "expected"]
    table = pd.DataFrame(rows, columns=names, dtype=object).assign(split="test")
    out = leave_out_seen(table, tmp_path)
    got = out.left_out.where(out.left_out.notna(), None)
    assert got.tolist() == table.expected.where(table.expected.notna(), None).tolist()
    assert out.split.notna().tolist() == [reason is None for reason in table.expected]


def test_what_was_seen_in_pretraining_is_said(tmp_path: Path, demo_params: Params) -> None:
    seen = pd.DataFrame([{"split": "pretraining", "content_hash": "aa", "near_hash": None, "patient": None}])
    seen.to_csv(tmp_path / TRAINED_ON, index=False)
    bundle = Bundle(
        cxrflow="0", model="crnn", task=demo_params.task, images=demo_params.images, mean=0, std=1,
        temperature=1, sources={"nih": 5}, epoch=0, validation={}, digests={},
    )  # fmt: skip
    test = pd.DataFrame(
        {"source": ["nih", "rsna"], "content_hash": ["bb", "cc"], "patient_id": [None, "rsna:1"]}, dtype=object
    )
    assert seen_before(bundle, tmp_path, test) is None
    pretrained = bundle.model_copy(update={"pretrained_on": ("NIH", "ImageNet-1k")})
    assert seen_before(pretrained, tmp_path, test) == (
        "It was pretrained on images of nih; the test set has images of the same collection."
    )
    both = bundle.model_copy(update={"pretrained_on": ("NIH", "RSNA")})
    assert str(seen_before(both, tmp_path, test)).endswith(
        "nih and rsna; the test set has images of the same collections."
    )
    met = test.assign(content_hash=["aa", "cc"])
    assert seen_before(bundle, tmp_path, met) == (
        "1 of the 2 test images, or others of their patients, were seen in training."
    )
    assert str(seen_before(bundle.model_copy(update={"seen": "unknown"}), tmp_path, test)).startswith("Unknown")
