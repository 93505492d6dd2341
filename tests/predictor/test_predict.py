"""Files to a table of scores: what is found, what is flagged, what is left out, and how it is written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrflow import predict
from cxrflow.bundle import OperatingPoint, PredictionSets
from cxrflow.errors import CxrflowError
from cxrflow.predict import find_images, predict_files
from cxrflow.predictor import Predictor
from cxrflow.reading.frontal import FLAG
from cxrflow.task import Task


@pytest.fixture
def folder(drawn: list[np.ndarray], picture: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """A radiograph, the same inverted, another picture, and a text."""
    for name, grey in {"a": drawn[0], 'b, "inverted"': 255 - drawn[0], "other": picture(1)}.items():
        Image.fromarray(grey).save(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_text("text")
    return tmp_path


@pytest.mark.parametrize("name", ["task", "two_classes", "four_classes"])
def test_what_is_no_frontal_radiograph_is_flagged_and_inverted_ones_are_turned(
    name: str, request: pytest.FixtureRequest, bundle_of: Callable[..., Path], folder: Path
) -> None:
    task: Task = request.getfixturevalue(name)
    counts = predict_files(bundle_of(task), [folder], folder / "out.csv")
    assert str(counts) == "3 images scored, 2 of them flagged, 1 left out"
    table = pd.read_csv(folder / "out.csv")
    assert table.columns.tolist() == ["path", *task.order, "prediction", "frontal", "flag", "note", "left_out"]
    flags = [None, "was stored inverted and has been corrected", "does not look like a frontal chest radiograph", None]
    assert table.flag.fillna("").tolist() == [flag or "" for flag in flags]
    assert (table.frontal >= FLAG).tolist() == [True, True, False, False]
    scores = table[list(task.order)]
    assert scores.loc[0].tolist() == scores.loc[1].tolist()
    assert scores.loc[2].notna().all()  # flagged, and scored all the same
    assert scores.loc[3].isna().all()
    assert table.prediction[:3].tolist() == scores[:3].idxmax(axis=1).tolist()
    assert "not an image" in table.left_out[3]


def test_the_table_is_written_as_pandas_writes_it(
    bundle_of: Callable[..., Path], four_classes: Task, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte: six decimals, quotes where a path needs them, nothing for what is missing; and the same from
    worker processes, several batches."""
    points = {
        name: OperatingPoint(wanted=0.9, threshold=threshold, sensitivity=0.5, specificity=0.9)
        for name, threshold in (("low", 0.0), ("high", 1.0))
    }
    sets = PredictionSets(coverage=0.9, least={"clear": 0.0, "viral": 1.0, "bacterial": 0.0, "other": 1.0})
    predictor = Predictor(bundle := bundle_of(four_classes, thresholds=points, prediction_sets=sets))
    predict_files(bundle, [folder], folder / "out.csv")
    paths = sorted(folder.glob("*.png"))
    rows = []
    for path in paths[:3]:
        score = predictor.scores(predictor.prepare(path))[0]
        decided = {"prediction": four_classes.order[score.argmax()], "positive_at_low": True, "positive_at_high": False}
        rows.append({"path": str(path), **dict(zip(four_classes.order, score, strict=True)), **decided})
    written = pd.read_csv(folder / "out.csv")
    table = pd.DataFrame([*rows, {"path": str(paths[3])}])
    table["prediction_set"] = ["clear bacterial"] * 3 + [None]
    table = table.join(written[["frontal", "flag", "note", "left_out"]])
    expected = table.to_csv(index=False, lineterminator="\n", float_format="%.6f").encode()
    assert (folder / "out.csv").read_bytes() == expected
    monkeypatch.setattr(predict, "_FEW", 3)
    monkeypatch.setattr(predict, "_BATCH", 2)
    predict_files(bundle, [folder], folder / "pool.csv")
    assert (folder / "pool.csv").read_bytes() == expected


def test_images_are_found_in_folders_and_what_is_absent_is_said(tmp_path: Path) -> None:
    for name in ("b.PNG", "a/deep/x.dcm", "notes.txt", "odd.name"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "IM000001").write_bytes(bytes(128) + b"DICM")  # as archives export them
    found = [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path, tmp_path / "odd.name"])]
    assert found == ["IM000001", "a/deep/x.dcm", "b.PNG", "odd.name"]
    with pytest.raises(CxrflowError, match="no such file"):
        find_images([tmp_path / "absent"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CxrflowError, match="no image found"):
        find_images([tmp_path / "empty"])
