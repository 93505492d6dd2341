"""Two runs on one page: what differs, the paired difference, and no name or folder."""

import html
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.differences import SAME_WEIGHTS
from cxrflow.params import Params
from cxrflow.records import TRUTH
from cxrflow.report.compare import write_comparison
from cxrflow.state import read_sealed, write_sealed
from cxrflow.task import Task

IMAGES = 60


@pytest.fixture
def runs(results: Callable[[Task], Path], task: Task, demo_params: Params, tmp_path: Path) -> list[Path]:
    """Two folders of results on the same images; the second run was trained for longer, and is often right."""
    first, second = tmp_path / "J. Doe" / "a", tmp_path / "J. Doe" / "b"
    labels = np.array(task.order)[np.arange(IMAGES) % 3]
    for k, folder in enumerate((first, second)):
        shutil.copytree(results(task), folder)
        params = demo_params.model_dump(mode="json")
        # As `cxrflow params` writes it: the overrides that it names are applied, and their files lie elsewhere.
        params["overrides"], params["training"]["epochs"] = "real", (3, 7)[k]
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        scores = np.random.default_rng(k).dirichlet(np.ones(3), IMAGES)
        right = np.arange(3) == (np.arange(IMAGES) % 3)[:, None]
        table = pd.DataFrame({"image_id": [f"hospital:mrn-{n}" for n in range(IMAGES)], "source": "hospital"})
        table = table.assign(group_id=table.image_id, label=labels)
        table[list(task.order)] = (1 - 0.5 * k) * scores + 0.5 * k * right
        table.sample(frac=1, random_state=k).to_csv(folder / "evaluation" / "predictions.csv", index=False)
    return [first, second]


def compared(runs: list[Path], out: Path) -> str:
    done = CliRunner().invoke(app, ["report", "--compare", *map(str, runs), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return html.unescape((out / "index.html").read_text())


def test_the_page_says_what_differs_and_by_how_much(runs: list[Path], task: Task, tmp_path: Path) -> None:
    page = compared(runs, tmp_path / "out")
    changed = re.search(r"<caption>All other parameters.*?<tbody>(.*?)</tbody>", page, re.DOTALL)[1]
    assert re.findall(r"<code>(.*?)</code>", changed) == ["training.epochs"]
    assert re.findall(r"<div>(.*?)</div>", changed) == ["3", "7"]
    tables = [pd.read_csv(run / "evaluation" / "predictions.csv") for run in runs]
    macro = [np.mean([roc_auc_score(t.label == name, t[name]) for name in task.order]) for t in tables]
    row = re.search(r"<th scope=\"row\">Macro AUROC, pooled(.*?)</tr>", page, re.DOTALL)[1]
    value, low, high = re.search(
        r'paired"><div><b>(.*?)</b> <span class="interval">(.*?) to (.*?)</span>', row
    ).groups()
    assert float(value) == pytest.approx(macro[1] - macro[0], abs=0.006)
    assert 0 < float(low) < float(value) < float(high)
    assert page.count("no shortcut found</span>") == 2
    assert SAME_WEIGHTS in page  # both are copies of one
    for name in ("bundle.json", "thresholds.json"):
        file = runs[1] / "training" / "bundle" / name
        file.write_text(file.read_text().replace("cd" * 32, "0" * 64))
    assert SAME_WEIGHTS not in compared(runs, tmp_path / "other")
    assert page.count("<img") == 2 * len(task.order)


def test_runs_on_other_images_have_no_difference(runs: list[Path], tmp_path: Path) -> None:
    metrics = read_sealed(runs[1] / "evaluation" / "metrics.json", "write it")
    metrics["test_set"]["hash"] = "ef" * 32
    write_sealed(runs[1] / "evaluation" / "metrics.json", metrics)
    page = compared(runs, tmp_path / "out")
    assert "They were tested on different images" in page
    assert "paired" not in page


def test_nobody_and_no_folder_is_named(runs: list[Path], tmp_path: Path) -> None:
    page = compared(runs, tmp_path / "out")
    examples = read_sealed(runs[0] / "explanation" / "explanation.json", "write it")["examples"]
    named = {"J. Doe", "mrn-", str(tmp_path), *(each["image_id"] for each in examples)}
    assert not [name for name in named if name in page]
    stands_for = set(pd.read_csv(tmp_path / "out" / "key.csv")["stands for"])
    assert {each["image_id"] for each in examples} <= stands_for


def test_runs_of_other_questions_are_refused(
    runs: list[Path], results: Callable[[Task], Path], two_classes: Task, tmp_path: Path
) -> None:
    other = results(two_classes)
    shutil.copy(runs[0] / "params.yaml", other)
    done = CliRunner().invoke(app, ["report", "--compare", str(runs[0]), str(other), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "their classes, findings or positive class differ; compare runs of one task" in str(done.exception)


def test_runs_with_another_positive_class_are_refused(
    runs: list[Path], results: Callable[[Task], Path], task: Task, tmp_path: Path
) -> None:
    other = results(Task(classes=task.classes, positive=task.order[1], names=task.names))
    for name in ("params.yaml", "evaluation/predictions.csv"):
        shutil.copy(runs[1] / name, other / name)
    done = CliRunner().invoke(app, ["report", "--compare", str(runs[0]), str(other), "--out", str(tmp_path / "out")])
    assert "positive class differ" in str(done.exception)


def test_the_same_images_under_other_names_have_no_difference_and_the_page_says_so(
    runs: list[Path], tmp_path: Path
) -> None:
    predictions = runs[1] / "evaluation" / "predictions.csv"
    predictions.write_text(predictions.read_text().replace("hospital:mrn-", "copy:mrn-"))
    page = compared(runs, tmp_path / "out")
    assert "paired" not in page
    assert "with other identifiers (<code>image_id</code>) in each run: no difference is computed" in page


def test_drawings_are_said_to_be(runs: list[Path], tmp_path: Path) -> None:
    assert "drawings" not in compared(runs, tmp_path / "before")
    params = yaml.safe_load((runs[1] / "params.yaml").read_text())
    params["sources"]["root"] = "drawn"  # beside the results, as data/demo is
    (runs[1] / "params.yaml").write_text(yaml.safe_dump(params))
    (runs[1].parent / "drawn" / TRUTH / "opacity").mkdir(parents=True)
    page = compared(runs, tmp_path / "out")
    assert page.index("Run <b>B</b>") < page.index("Its radiographs are drawings")
    assert page.count("Its radiographs are drawings") == 1


def test_out_without_compare_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report", "--out", "elsewhere"])
    assert done.exit_code == 1
    assert "--out is for --compare" in str(done.exception)


def test_a_folder_that_is_not_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match=r"nosuch: no such folder; --compare takes the results of two runs"):
        write_comparison(tmp_path / "nosuch", tmp_path, tmp_path / "out")
