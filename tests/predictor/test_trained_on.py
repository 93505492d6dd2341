"""Images that a bundle was trained on are recognised among those that it is asked about."""

import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrflow.bundle_files import TRAINED_ON, seen_rows, write_bundle
from cxrflow.bundle_networks import read_bundle
from cxrflow.errors import CxrflowError
from cxrflow.metadata.near_hash import DIGITS, near_hash, thumbnail
from cxrflow.predict import Outputs, predict_files
from cxrflow.predictor import Predictor
from cxrflow.task import Task
from cxrflow.trained_on import SAME_FILE, SAME_PICTURE, read_trained_on


def png(grey: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def bundle(bundle_of: Callable[..., Path], two_classes: Task, drawn: list[np.ndarray], tmp_path: Path) -> Path:
    """A bundle that was trained on one radiograph, the first of ``drawn``."""
    folder = Path(shutil.copytree(bundle_of(two_classes), tmp_path / "bundle"))
    about, modules = read_bundle(folder)
    row = {
        "split": ["train", "val"],
        "content_hash": [hashlib.sha256(png(drawn[0])).hexdigest(), "cd" * 32],
        "near_hash": [near_hash(thumbnail(drawn[0]).tobytes()), None],
        "patient_id": [None, "a"],
    }
    write_bundle(folder, modules, about, seen_rows(pd.DataFrame(row, dtype=object)))
    return folder


def test_the_file_and_copies_of_its_picture_are_recognised_and_others_are_not(
    bundle: Path, drawn: list[np.ndarray], tmp_path: Path
) -> None:
    smaller = cv2.resize(drawn[0], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    paler = (60 + drawn[0] * 0.5).astype(np.uint8)
    framed = cv2.copyMakeBorder(drawn[0], 20, 20, 40, 40, cv2.BORDER_CONSTANT)
    jpeg = cv2.imencode(".jpg", drawn[0], [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()
    sources = [png(drawn[0]), jpeg, *map(png, (smaller, paler, framed, 255 - drawn[0])), *map(png, drawn[1:4])]
    flags = [result.flags for result in Predictor(bundle).results([*sources, drawn[0]])]
    assert [SAME_FILE in each for each in flags] == [True] + [False] * 9
    assert [SAME_PICTURE in each for each in flags] == [False] + [True] * 5 + [False] * 3 + [True]
    (tmp_path / "a.png").write_bytes(png(drawn[0]))
    predict_files(bundle, [tmp_path / "a.png"], Outputs(tmp_path / "out.csv"))
    assert pd.read_csv(tmp_path / "out.csv").flag[0] == SAME_FILE


def test_a_large_picture_is_recognised_from_a_part_of_its_pixels(bundle: Path, drawn: list[np.ndarray]) -> None:
    large = cv2.resize(drawn[0], (2900, 2500), interpolation=cv2.INTER_CUBIC).astype(np.uint16) * 16
    (result,) = Predictor(bundle).results([large])
    assert SAME_PICTURE in result.flags


def test_without_the_table_nothing_is_recognised_and_that_is_said(
    bundle: Path, drawn: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / TRAINED_ON).unlink()
    (tmp_path / "a.png").write_bytes(png(drawn[0]))
    predict_files(bundle, [tmp_path / "a.png"], Outputs(tmp_path / "out.csv"))
    assert "trained_on.csv is absent; images that were used to train it are not recognised" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "out.csv").flag.isna().all()


HEAD = "split,content_hash,near_hash,patient\n"


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe", b"split,near_hash\ntrain,ab\n", f"{HEAD}train,zz,ab,\n".encode(), f"{HEAD}train\n".encode(),
        f"{HEAD}train,{'a' * 200_000},,\n".encode(), f"{HEAD}train,,{'g' * DIGITS},\n".encode(),
        f"{HEAD}train,ab,,\n".encode(),
    ],
)  # fmt: skip
def test_a_damaged_table_is_one_sentence(bundle: Path, drawn: list[np.ndarray], content: bytes) -> None:
    (bundle / TRAINED_ON).write_bytes(content)
    with pytest.raises(CxrflowError, match=r"trained_on\.csv: not the table that was written with the weights"):
        next(Predictor(bundle).results([drawn[0]]))
    with pytest.raises(CxrflowError, match=r"trained_on\.csv: damaged, not a table of hashes; train the bundle again"):
        read_trained_on(bundle / TRAINED_ON, None)


def test_a_table_of_before_recognises_files_alone(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"{HEAD}train,{'ab' * 32},{'1' * 64},\nval,,{'2' * DIGITS},\n")
    found = read_trained_on(tmp_path / "t.csv", None)
    assert found is not None
    assert found.files == {bytes.fromhex("ab" * 32)}
    assert found.pictures.shape == (1, 324)
    assert found.flags([]) == []
    assert read_trained_on(tmp_path / "none.csv", None) is None
