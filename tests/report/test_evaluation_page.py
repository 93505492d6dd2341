"""`cxrflow validate-external` on a user's own collection leaves a page of its figures, with nothing from outside."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from cxrflow.bundle import Bundle
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.cli import app
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.evaluate import evaluate_collections
from cxrflow.evaluation.seen import SAME_FILE, SAME_PATIENT
from cxrflow.images.prepare import Store, prepare_all
from cxrflow.models import MODELS
from cxrflow.params import Params
from cxrflow.params_file import DEFAULTS
from cxrflow.predictor import Predictor
from cxrflow.records import read_records
from cxrflow.task import Task

IMAGES = 13
PROJECT = Path(__file__).parents[2]
OUTSIDE = ('src="http', 'href="http', "url(http", "@import", "<script src", "<link", "fetch(")


@pytest.fixture
def bundle(bundle_of: Callable[[Task], Bundle], tmp_path: Path) -> Callable[..., Path]:
    """Writes a network with random weights that has seen the given rows, its description changed; its folder."""

    def write(task: Task, used: pd.DataFrame, **changes: Any) -> Path:
        torch.manual_seed(1)
        network = MODELS[bundle_of(task).name].build(1, len(task.order))
        write_bundle(tmp_path / "bundle", [network], bundle_of(task).model_copy(update=changes), seen_rows(used))
        return tmp_path / "bundle"

    return write


@pytest.mark.parametrize(
    ("asked", "absent", "changes"),
    [
        ("two_classes", None, {}),
        ("task", None, {"drawn": True}),
        # What others trained, on a collection without the positive class.
        ("task", "positive", {"thresholds": {}, "prediction_sets": None, "seen": "unknown", "sources": {}}),
    ],
)
def test_the_page_holds_the_figures_and_nothing_from_outside(
    asked: str,
    absent: str | None,
    changes: dict[str, Any],
    request: pytest.FixtureRequest,
    own: Callable[..., Path],
    bundle: Callable[..., Path],
    tmp_path: Path,
) -> None:
    task: Task = request.getfixturevalue(asked)
    classes = [name for name in task.order if absent is None or name != task.positive]
    rows = [(f"scan-{k}.png", classes[k % len(classes)], f"mrn-{k // 2}") for k in range(IMAGES)]
    rows.append(("nowhere.png", classes[0], "mrn-99"))
    root = own(rows, {f"scan-{k}.png": k for k in range(IMAGES)})
    first = hashlib.sha256((root / "mine" / "scan-0.png").read_bytes()).hexdigest()
    seen = pd.DataFrame({"split": ["train"], "content_hash": [first], "near_hash": [None], "patient_id": [None]})
    params, out = tmp_path / "params.yaml", tmp_path / "out"
    params.write_text(DEFAULTS.read_text().replace("bootstrap: 1000", "bootstrap: 100"))
    named = {
        "sources": root,
        "bundle": bundle(task, seen, **changes),
        "params": params,
        "out": out,
        "ledger": tmp_path / "ledger.csv",
    }
    options = [str(part) for name, value in named.items() for part in (f"--{name}", value)]
    done = CliRunner().invoke(app, ["validate-external", *options])
    assert done.exit_code == 0, done.output
    assert done.output.strip().endswith(f"Page: {out / 'index.html'}")
    page = (out / "index.html").read_text()
    for outside in OUTSIDE:
        assert outside not in page

    figures = json.loads((out / "metrics.json").read_text())
    assert figures["n"] == IMAGES - 2
    shown = [
        figures["test"][name][kind] for name in task.order for kind in ("sensitivity", "specificity", "ppv", "auroc")
    ]
    shown += [figures["test"]["accuracy"], figures["test"]["macro_auroc"], figures["baseline"]["macro_auroc"]]
    shown += [figures["operating_points"]["specificity"]["sensitivity"], figures["prediction_sets"]["coverage"]["all"]]
    shown += [part["accuracy"] for part in figures["by_sex"].values()]
    shown += list(figures["by_source"]["mine"].values())
    for figure in shown:
        if figure["value"] is None:
            assert html.escape(figure["reason"]) in page
        else:
            value, low, high = (f"{figure[key]:.2f}" for key in ("value", "low", "high"))
            assert f'<b>{value}</b> <span class="interval">{low} to {high}</span>' in page
    assert (f"no {task.positive_name} image in the set" in page) == (task.positive not in classes)
    for name in task.order:
        assert f'style="--class: {task.colours[name]}">{task.names[name]}</span>' in page
    assert ("<b>Overlap with training:</b> Unknown" in page) == ("seen" in changes)
    assert ("patients that it never saw" in page) == ("seen" not in changes)

    # Every row, and why: the one seen, the other image of its patient, the one that is not there.
    assert f"{len(rows)} rows are listed by 1 collection; {IMAGES - 2} are kept, 3 left out" in page
    assert "2 of the rows left out are left out because of what the bundle was trained or validated on: 1 are" in page
    for reason in (SAME_FILE, SAME_PATIENT, "file is absent"):
        assert f"<span>1 {reason}</span>" in page

    assert ("This network was trained on drawings" in page) == ("drawn" in changes)
    assert ("it was trained on drawings and has never seen a radiograph" in page) == ("drawn" in changes)
    assert ("trained on synthetic radiographs drawn for the demo, in the layouts of hospital," in page) == (
        "drawn" in changes
    )

    # Nobody's picture, patient, file or folder is named; the key beside the page says what its numbers stand for.
    records = read_records(out / "records.csv")
    named = {
        str(name) for column in ("image_id", "path", "patient_id", "group_id") for name in records[column].dropna()
    }
    named |= {Path(path).name for path in records.path} | {"table.csv"}
    named |= {str(place) for place in (root, out, tmp_path, PROJECT, Path.home() / "x", Path.cwd())}
    assert len(named) > 3 * IMAGES
    visible = re.sub(r'"data:image/webp;base64,[^"]+"', "", html.unescape(page))
    assert not [name for name in named if name in visible]
    key = pd.read_csv(out / "key.csv").set_index("on the page")["stands for"]
    shown = [key[said] for said in re.findall(r'alt="Radiograph and heat map of (image \d+)"', page)]
    assert len(shown) == len(set(shown))
    assert set(shown) <= set(records.image_id)

    # No part is broken, and those that it has not are named.
    ids = set(re.findall(r'id="([\w-]+)"', page))
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= ids
    assert not {"audit", "training"} & ids
    assert "The audit, the training curves" in page
    pictures = re.findall(r'<img src="data:image/webp;base64,([^"]+)"', page)
    assert len(pictures) == page.count("<img") == len(list((out / "explanation").glob("*.png"))) > 0
    for picture in pictures:
        assert cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR) is not None
    assert page.count("<svg") == page.count("</svg>") == 6 + len(task.order)
    assert "Not a medical device" in page
    assert "None" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)


def test_an_image_that_cannot_be_prepared_is_left_out_with_its_reason(
    own: Callable[..., Path],
    bundle: Callable[..., Path],
    engine: object,
    demo_params: Params,
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [(f"{k}.png", task.order[k % 3], f"p{k}") for k in range(IMAGES)]
    root = own(rows, {f"{k}.png": k for k in range(IMAGES)})

    def prepare(*asked: Any) -> list[Store]:
        (store,) = prepare_all(*asked)
        store.index.loc[4, "left_out"] = "the image steps failed"
        return [store]

    monkeypatch.setattr("cxrflow.evaluation.evaluate.prepare_all", prepare)
    monkeypatch.setattr("cxrflow.evaluation.evaluate._draw", lambda *_: None)  # takes most of the time
    none = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
    how, out = demo_params.evaluation.model_copy(update={"bootstrap": 100}), tmp_path / "out"
    sources = demo_params.sources.model_copy(update={"root": str(root)})
    params = demo_params.model_copy(update={"sources": sources, "evaluation": how})
    figures, built, scored = evaluate_collections(
        Predictor(bundle(task, none)), params, engine, out, tmp_path / "ledger.csv"
    )
    assert len(scored) == IMAGES - 1
    assert figures["n"] == built.records.left_out.isna().sum() == IMAGES - 1
    written = read_records(out / "records.csv")
    assert written.left_out[4] == "the image steps failed"
    assert written.split[4] is None
    counted = pd.read_csv(out / "metadata" / "reconciliation.csv").set_index("fate").rows
    assert counted["the image steps failed"] == 1
    assert counted.sum() == IMAGES


def test_nothing_is_scored_if_every_file_fails(task: Task, own: Callable[..., Path], bundle, tmp_path: Path) -> None:
    root = own([(f"{k}.png", task.order[k % 2], f"p{k}") for k in range(4)], {})
    for k in range(4):
        (root / "mine" / f"{k}.png").write_text("no picture")
    seen = pd.DataFrame({"split": ["train"], "content_hash": ["0"], "near_hash": [None], "patient_id": [None]})
    named = {"sources": root, "bundle": bundle(task, seen), "params": DEFAULTS, "out": tmp_path / "out"}
    options = [str(part) for name, value in named.items() for part in (f"--{name}", value)]
    done = CliRunner().invoke(app, ["validate-external", *options, "--ledger", str(tmp_path / "ledger.csv")])
    assert done.exit_code == 1
    assert isinstance(done.exception, CxrflowError)
    assert "none of 4 rows is left to evaluate" in str(done.exception)
    assert not (tmp_path / "ledger.csv").exists()


def test_a_folder_that_is_not_there_is_named_before_the_bundle_is_opened(tmp_path: Path) -> None:
    named = {"sources": tmp_path / "nosuch", "bundle": tmp_path / "none", "params": DEFAULTS}
    options = [str(part) for name, value in named.items() for part in (f"--{name}", value)]
    done = CliRunner().invoke(app, ["validate-external", *options, "--out", str(tmp_path / "out")])
    assert "nosuch: no such folder" in str(done.exception)
