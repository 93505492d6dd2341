"""What the report prints for any task, and what it says where a stage has not run."""

import ast
import base64
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

import cxrflow
from cxrflow.audit.words import SIGNS
from cxrflow.bundle import Bundle
from cxrflow.bundle_files import write_description
from cxrflow.errors import CxrflowError
from cxrflow.flow.code import CODE
from cxrflow.model_card import CARD
from cxrflow.params import Params
from cxrflow.passport import MET, TOLD
from cxrflow.report import filters
from cxrflow.report.figures import audited, tables
from cxrflow.report.page import write_report
from cxrflow.report.read import fates_of, read_picture, with_figures
from cxrflow.state import read_sealed, write_sealed
from cxrflow.statistics.figure import Figure, missing
from cxrflow.task import Task

REPORT = Path(cxrflow.__file__).parent / "report"
PROJECT = Path(__file__).parents[2]
#: PPV and NPV are shown at the prevalence; of a part without the positive class only what there is.
NOT_SHOWN = re.compile(
    r"calibration\.bins|abstention|operating_points\.\w+\.[pn]pv$|by_collection\.clinic\.(sensitivity|auroc)$"
)


def test_a_figure_shows_its_interval_or_its_reason_and_escapes_it() -> None:
    shown = filters.figure(Figure(0.5, 0.25, 0.755, 4, 4, "2 of 4"))
    assert shown.startswith('<b>0.50</b> <span class="interval">0.25 to 0.76</span>')
    assert "2 of 4" in shown
    assert '<b>0.500</b> <span class="interval">0.250 to 0.755</span>' in filters.figure(Figure(0.5, 0.25, 0.755), 3)
    assert "&lt;script&gt;" in filters.figure(missing("<script>"))
    assert "<script>" not in filters.figure(missing("<script>"))


def test_every_figure_of_the_audit_is_in_its_csv() -> None:
    deep = {"c,d": missing("none"), "e": [None, Figure(1, 1, 1)], "f": 0.5}
    swaps = {"figures": {"a": Figure(0.5, 0.25, 0.75, 4, 3), "b": deep}}
    read = pd.read_csv(io.StringIO(audited({"tests": {"swaps": swaps, "gap": {"figures": {}}}})))
    assert list(read.columns) == ["test", "figure", "value", "low", "high", "images", "groups"]
    assert read.iloc[0].tolist() == ["swaps", "a", 0.5, 0.25, 0.75, 4, 3]
    assert read.iloc[1, :2].tolist() == ["swaps", "b / c,d"]
    assert read.iloc[1, 2:].isna().all()
    assert read.figure.tolist() == ["a", "b / c,d", "b / e / 2"]


def test_a_picture_on_the_page_looks_as_it_was_written(tmp_path: Path) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, 32:64, 1], picture[:, 64:] = 200, np.arange(64, dtype=np.uint8)[:, None, None] * 4
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    head, content = read_picture(tmp_path / "picture.png").split(",")
    assert head == "data:image/webp;base64"
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == picture.shape
    assert np.abs(shown.astype(int) - picture).mean() < 4
    whole = (tmp_path / "picture.png").read_bytes()
    (tmp_path / "picture.png").write_bytes(whole[:33] + b"\0" * 20 + whole[53:])  # its first chunk of pixels
    with pytest.raises(CxrflowError, match="damaged"):
        read_picture(tmp_path / "picture.png")


def test_a_restated_figure_carries_its_numbers_in_full() -> None:
    shown = filters.restated(Figure(1 / 3, 0.25, 0.5))
    assert json.loads(re.search("data-restated='([^']+)'", html.unescape(shown))[1]) == [1 / 3, 0.25, 0.5]
    assert filters.restated(missing("none")) == filters.figure(missing("none"))


def test_fates_add_up_for_each_collection(two_classes: Task) -> None:
    rows = [("a", "kept: air", 3), ("a", "file is absent", 2), ("b", "kept: clear", 1)]
    fates = fates_of(pd.DataFrame(rows, columns=["source", "fate", "rows"]), two_classes)
    assert [f["rows"] for f in fates] == [5, 1]
    assert fates[0]["kept"] == {"clear": 0, "air": 3}
    assert fates[0]["left_out"] == {"file is absent": 2}


def test_a_stage_that_has_not_run_is_named(demo_params: Params, tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match="bundle"):
        write_report(demo_params, tmp_path)


@pytest.mark.parametrize("absent", ["evaluation/metrics.json", "metadata/overlap.svg", "audit/where.png"])
def test_a_file_that_is_absent_is_named(
    absent: str, results: Callable[[Task], Path], task: Task, demo_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrflow.report.figures.training_panel", lambda *_: b"<svg></svg>")  # which takes its time
    folder = results(task)
    (folder / absent).unlink()
    with pytest.raises(CxrflowError, match=f"{absent} is absent"):
        write_report(demo_params, folder)


@pytest.fixture(scope="module", params=["two_classes", "task", "four_classes"])
def shown(
    request: pytest.FixtureRequest, results: Callable[[Task], Path], demo_params: Params
) -> tuple[Task, Path, str]:
    """A task, what the report reads of it, and the page; the names come from people and may hold anything."""
    task: Task = request.getfixturevalue(request.param)
    task = task.model_copy(update={"names": task.names | {task.order[0]: "<b>first</b> & foremost"}})
    folder = results(task)
    return task, folder, write_report(demo_params, folder).read_text()


def test_the_page_is_of_its_task(shown: tuple[Task, Path, str], demo_params: Params) -> None:
    task, _, page = shown
    for name in task.order:
        said = html.escape(task.names[name])
        assert f'<span class="class" style="--class: {task.colours[name]}">{said}</span>' in page
        assert all(finding in page for finding in task.classes[name])
    assert "<b>first</b>" not in page
    assert f"Sensitivity for {html.escape(task.positive_name)}" in page
    assert page.count("(the positive class:") == 1
    for a, b in task.pairs:
        assert f"<div>{html.escape(f'{task.names[a]} vs {task.names[b]}')}</div>" in page
    said = re.sub(r"<(style|pre)>.*?</\1>", "", page, flags=re.DOTALL).lower()
    foreign = [name for name in demo_params.task.order if name not in str(task)]
    assert foreign or task.order == demo_params.task.order
    assert not [name for name in foreign if re.search(rf"\b{name}\b", said)]
    brier = {2: "0.50", 3: "0.67", 4: "0.75"}[len(task.order)]
    assert f"equal probabilities for all classes would score {brier}" in page
    said = "Of 5 tests <b>1 found a shortcut</b>, 1 found none, for 1 it cannot be told, "
    said += "1 does not apply, and 1 finds that the heat maps depend on what was learned."
    assert said in page
    for verdict, sign in SIGNS.items():  # never by colour alone
        assert (
            f'<span class="verdict {verdict.replace(" ", "-")}">{sign} {verdict}</span></div><th scope="row">{verdict}?'
            in page
        )
    assert "7 findings of more than one class (a, b)" in page


def test_every_figure_is_shown(shown: tuple[Task, Path, str]) -> None:
    _, folder, page = shown
    for figure in _figures(json.loads((folder / "evaluation" / "metrics.json").read_text())):
        if NOT_SHOWN.search(figure["at"]):
            continue
        if figure["value"] is None:
            assert html.escape(figure["reason"]) in page
        else:
            digits = 3 if figure["at"].endswith("brier") else 2
            value, low, high = (f"{figure[key]:.{digits}f}" for key in ("value", "low", "high"))
            if figure["at"].startswith(".far."):
                value, low, high = (
                    f"{100 * figure['value']:.0f} %",
                    *(f"{100 * figure[k]:.0f}" for k in ("low", "high")),
                )
            counts = f"<small class=counts>{figure['counts']}</small>" if "counts" in figure else ""
            assert f'<b>{value}</b> <span class="interval">{low} to {high}</span>{counts}' in page


def test_every_row_of_a_table_has_a_cell_for_each_head(shown: tuple[Task, Path, str]) -> None:
    tables = re.findall(r"<table.*?</table>", shown[2], re.DOTALL)
    assert len(tables) == 16
    for table in tables:
        heads, *rows = (_cells(row) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL))
        assert rows
        assert set(rows) == {heads}, table


def test_the_passport_of_the_weights_is_in_the_page_and_in_the_card(shown: tuple[Task, Path, str]) -> None:
    _, folder, page = shown
    (table,) = re.findall(r'<table class="small starts">.*?</table>', page, re.DOTALL)
    rows = dict(re.findall(r'<tr><th scope="row">(.*?)<td><div>(.*?)</div></tr>', table, re.DOTALL))
    assert rows == {
        "weights": "&lt;i&gt;weights&lt;/i&gt;",
        "origin": "unknown",
        "licence": "MIT: research yes, commercial use yes, share-alike no",
        "trained on": "hospital",
        "lists of these images": "not published",
        "which began with": "earlier weights; licence unknown; trained on ImageNet-1k",
        MET: "hospital: 30 images of 20 groups",
        TOLD: "0.71 (0.62 to 0.83)",
    }
    card = (folder / "report" / CARD).read_text()
    for head, text in rows.items():
        assert f"| {head} | {text.replace('&gt;', '>')} |" in card


def test_the_parts_of_the_page_are_there_in_their_order(shown: tuple[Task, Path, str]) -> None:
    task, _, page = shown
    sections = re.findall(r'<section id="([\w-]+)"', page)
    assert sections[:5] == ["result", "figures", "explanation", "audit", "sources"]
    assert re.findall(r'href="#([\w-]+)"', page.split("</nav>")[0].split("<nav")[1]) == sections
    assert page.index("<h3>Errors</h3>") < page.index("<h3>Right answers</h3>") < page.index('id="audit"')
    assert re.search(r'<section id="cannot-tell">\s*<details>', page)
    assert page.index('class="answer"') < page.index("<nav")
    assert page.count("<svg") == page.count("</svg>") == 11 + len(task.order)
    assert page.count("data:image/webp;base64,") == 2 + len(task.order)
    assert page.count("data-restated=") == 5  # of three operating points, one PPV is unknown
    assert "None" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)


def test_of_a_frozen_network_no_epoch_is_kept(
    results: Callable[[Task], Path],
    bundle_of: Callable[[Task], Bundle],
    task: Task,
    demo_params: Params,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marked = []
    monkeypatch.setattr(
        "cxrflow.report.figures.training_panel", lambda *asked: marked.append(asked[2]) or b"<svg></svg>"
    )
    folder, bundle = results(task), bundle_of(task)
    (network,) = bundle.networks
    seen = {}
    for frozen in (False, True):
        networks = (network.model_copy(update={"frozen": frozen, "epoch": 0}),)
        write_description(folder / "training" / "bundle", bundle.model_copy(update={"networks": networks}))
        page = write_report(demo_params, folder).read_text()
        seen[frozen] = re.search(r'<section id="training">.*?</section>', page, re.DOTALL)[0]
        assert ('"Used to"><div>choose the epoch' in page) == (not frozen)
    for said in ("batches of", "The epoch with the best macro AUROC on val is kept.", "Epoch 1 is kept", "Dashed line"):
        assert said in seen[False]
        assert said not in seen[True]
    for said in (
        "is fitted, as a logistic regression; no epoch is chosen.",
        "The last layer alone is fitted, macro AUROC",
    ):
        assert said in seen[True]
        assert said not in seen[False]
    assert marked == [0] * (len(marked) // 2) + [None] * (len(marked) // 2)


def test_counts_of_images_stay_whole_where_a_figure_is_missing(task: Task, results: Callable[[Task], Path]) -> None:
    metrics = with_figures(read_sealed(results(task) / "evaluation" / "metrics.json", "write it"))
    pairs = {"many": Figure(0.123456, 0.1, 0.2, 12345, 10001), "none": missing("one class only")}
    metrics["by_source"]["hospital"] = pairs
    rows = tables(metrics, {}, task)["within"].splitlines()
    assert "hospital,many,0.1235,0.1,0.2,12345,10001" in rows
    assert "hospital,none,,,,," in rows


def test_a_source_is_never_said_to_be_one_hospital() -> None:
    said = {path.name: path.read_text() for path in REPORT.glob("*.html")}
    assert not [name for name, text in said.items() if re.search("one hospital|hospital cannot", text)]
    for name in ("page.html", "compare.html"):
        assert "where the collection cannot give the class away" in said[name]
    assert "it may hold images of several hospitals" in said["glossary.html"]


def test_the_page_is_written_anew_when_what_it_imports_changes() -> None:
    # What every stage takes from these, or the page of one stage does not, changes no page.
    general, others = {"errors", "files", "state"}, {"compare.py", "external.py"}
    imported = {
        node.module.removeprefix("cxrflow.").replace(".", "/")
        for path in REPORT.glob("*.py")
        if path.name not in others
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cxrflow.")
    }
    assert "csv_files" in imported
    depended = {Path(each) for each in CODE["report"]}
    absent = {
        name
        for name in imported - general
        if not depended & {path := Path(f"{name}.py"), *path.parents, path.with_suffix("")}
    }
    assert not absent


@pytest.mark.parametrize("path", sorted(REPORT.glob("*.[hc]*")), ids=lambda path: path.name)
def test_no_class_of_the_default_task_is_in_a_template(path: Path, task: Task) -> None:
    words = {*task.order, *task.names.values()}
    found = re.findall(rf"\b(?:{'|'.join(map(re.escape, words))})\b", path.read_text(), re.IGNORECASE)
    assert not found


def _cells(row: str) -> int:
    spans = re.findall(r'colspan="(\d+)"', row)
    return len(re.findall(r"<t[hd]\b", row)) + sum(int(span) - 1 for span in spans)


def _figures(value: Any, at: str = "") -> list[dict[str, Any]]:
    """Every figure in ``metrics.json``, and where it is."""
    if not isinstance(value, dict):
        return []
    if "value" in value:
        return [value | {"at": at}]
    return [found for key, each in value.items() for found in _figures(each, f"{at}.{key}")]


def test_patients_who_are_not_known_are_named_where_images_are_counted_and_where_limits_are(shown) -> None:
    _, _, page = shown
    assert page.count("hospital: the patient of 1 image is not known.") == 2
    assert "hospital: not given: sex in 3 of 10 rows." in page


def test_nobody_and_no_folder_is_named_on_the_page(
    results: Callable[[Task], Path], task: Task, demo_params: Params, tmp_path: Path
) -> None:
    """Whatever words of earlier stages hold them: pictures, patients, files, the folders of this machine."""
    folder = results(task)
    root = tmp_path / "J. Doe & sons" / "sources"
    root.mkdir(parents=True)
    training = demo_params.training.model_copy(
        update={"start": "/elsewhere/weights.ckpt", "members": [{"training": {"start": "../mine/other.ckpt"}}]}
    )
    sources = demo_params.sources.model_copy(update={"root": str(root)})
    spark = demo_params.spark.model_copy(update={"master": "spark://host7:7077"})
    params = demo_params.model_copy(update={"sources": sources, "training": training, "spark": spark})
    audited = read_sealed(folder / "audit" / "audit.json", "write it")
    audited["tests"]["yes"]["words"] = f"Training failed: {root}/hospital/scan-9.png and {Path.home()}/.cache/x failed."
    write_sealed(folder / "audit" / "audit.json", audited)
    (folder / "audit" / "audit.svg").write_text(f"<svg><text>{html.escape(str(folder / 'audit'))}</text></svg>")
    page = write_report(params, folder).read_text()
    visible = html.unescape(page)
    examples = read_sealed(folder / "explanation" / "explanation.json", "write it")["examples"]
    named = {example["image_id"] for example in examples} | {example["picture"] for example in examples}
    named |= {"mrn-5512", "cover-7f3", "mueller.png", "scan-9.png", "weights.ckpt", "other.ckpt", "host7", "J. Doe"}
    named |= {str(place) for place in (root, folder, tmp_path, Path.cwd(), Path.home() / ".cache")}
    assert not [name for name in named if name in visible]
    assert "9 files found by name alone, such as file 1 (file 2)." in page
    assert "running numbers on this page" in page
    assert 'href="key.csv' not in page
    key = pd.read_csv(folder / "report" / "key.csv").set_index("on the page")["stands for"]
    assert len(set(key)) == len(key) == len(set(key.index))
    assert f"root: {key.index[key == str(root)][0]}\n" in page
    shown = re.findall(r'alt="Radiograph and heat map of (image \d+)"', page)
    assert [key[each] for each in shown] == sorted((e["image_id"] for e in examples), key=list(key).index)
    assert key["group 1"] == "hospital:mrn-5512"
