"""One tiny real run of the whole pipeline on the CPU, by DVC, and what people do with it afterwards."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import cxrflow
from cxrflow.audit.registry import TESTS
from cxrflow.cli import app
from cxrflow.errors import CxrflowError
from cxrflow.params_file import DEFAULTS
from cxrflow.reading.frontal import FLAG
from cxrflow.trained_on import SAME_FILE

PROJECT = Path(__file__).parents[1]
TUTORIAL = (PROJECT / "docs" / "tutorial.md").read_text(encoding="utf-8")
TASK = yaml.safe_load(DEFAULTS.read_text())["task"]
STAGES = ("metadata", "images", "training", "evaluation", "explanation", "audit", "report")
CLASSES = tuple(TASK["classes"])
PARTS = ("by_collection", "by_view", "by_sex", "by_age", "by_day")
FIGURES = ("sensitivity", "specificity", "ppv", "auroc")
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
}


def run(folder: Path, *command: str, status: int = 0, **environment: str) -> str:
    """Run a command in ``folder``; its output, both streams."""
    everything = ENVIRONMENT | environment
    done = subprocess.run(command, cwd=folder, env=everything, capture_output=True, text=True, timeout=1_200)
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    return output


def set_params(folder: Path, **sections: dict[str, object]) -> None:
    """Change keys of ``folder/params.yaml``."""
    path = folder / "params.yaml"
    values = yaml.safe_load(path.read_text())
    for name, changes in sections.items():
        values[name] = values.get(name, {}) | changes
    path.write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's study, made smaller and run once, by the page's own commands."""
    place = tmp_path_factory.mktemp("studies")
    (install,), (make, enter), (repro,), *_ = tutorial("sh")
    assert install.startswith("pip install ")  # as .ci/run does
    run(place, *shlex.split(make))
    folder = place / enter.removeprefix("cd ")
    set_params(folder, **yaml.safe_load("\n".join(tutorial("yaml")[0])))
    set_params(
        folder,
        demo={"patients": 110},
        images={"size": 32},
        training={"epochs": 3, "early_stopping_epochs": 3},
        evaluation={"bootstrap": 100},
        explanation={"per_class": 1},
        audit={"heat_maps": 6, "retrain_epochs": 1},
    )
    run(folder, *shlex.split(repro))
    return folder


def tutorial(kind: str) -> list[list[str]]:
    """The lines of each block of a kind in docs/tutorial.md."""
    return [block.splitlines() for block in re.findall(rf"^```{kind}\n(.*?)^```$", TUTORIAL, re.M | re.S)]


def test_every_promised_figure_is_there(project: Path) -> None:
    metrics = json.loads((project / "results/evaluation/metrics.json").read_text())
    figures = [metrics["test"]["macro_auroc"], metrics["test"]["accuracy"], metrics["baseline"]["macro_auroc"]]
    figures += [metrics["test"][name][figure] for name in CLASSES for figure in FIGURES]
    figures += [figure for pairs in metrics["by_source"].values() for figure in pairs.values()]
    figures += [metrics["operating_points"][name]["ppv_at_prevalence"] for name in ("specificity", "cost_ratio")]
    figures += [row["risk"] for row in metrics["abstention"]] + list(metrics["prediction_sets"]["coverage"].values())
    figures += [part["sensitivity"] for name in PARTS for part in metrics[name].values()]
    assert "normal_vs_pneumonia" in metrics["by_source"]["rsna"]
    for figure in figures:
        if figure["value"] is None:
            assert figure["reason"]
        else:
            assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
            assert figure["n"] > 0


def test_no_group_is_on_two_sides_and_rows_add_up(project: Path) -> None:
    records = pd.read_csv(project / "data/metadata/records.csv")
    kept = records[records.left_out.isna()]
    assert len(kept[["group_id", "split"]].drop_duplicates()) == kept.group_id.nunique()
    counted = pd.read_csv(project / "results/metadata/reconciliation.csv")
    assert counted["rows"].sum() == len(records)
    assert set(kept.split) == {"train", "val", "test"}


def test_the_report_holds_everything_itself(project: Path) -> None:
    page = (project / "results/report/index.html").read_text()
    for there in (
        "Within each source",
        "Without a pixel",
        "Limits of use",
        "scored <b>6 times</b>",
        "not for diagnosis",
    ):
        assert there in page
    for outside in ('src="http', 'href="http', "url(http", "@import", "<script src", "fetch("):
        assert outside not in page
    assert page.count("data:image/webp;base64,") >= 4
    assert page.count("<svg") == 11 + len(CLASSES)
    assert 1 <= page.count("data-restated=") <= 6  # PPV and NPV at three operating points, where something is called


def test_heat_is_measured_against_the_true_opacity(project: Path) -> None:
    explained = json.loads((project / "results/explanation/explanation.json").read_text())
    inside = explained["inside"]["opacity"]
    records = pd.read_csv(project / "data/metadata/records.csv")
    assert 0 < inside["pointing"]["n"] <= ((records.split == "test") & (records.label != "normal")).sum()
    assert 0 <= inside["heat"]["value"] <= 1
    assert 0 < inside["area"]["value"] < 0.5
    assert explained["inside"]["boxes"]["heat"] == {"value": None, "reason": "no radiologist's boxes are known"}
    pictures = {example["picture"] for example in explained["examples"]}
    assert pictures == {path.name for path in (project / "results/explanation").glob("*.png")}


def test_every_test_of_the_audit_has_a_verdict_and_stands_in_the_report(project: Path) -> None:
    audited = json.loads((project / "results/audit/audit.json").read_text())
    page = (project / "results/report/index.html").read_text()
    assert sum(audited["verdicts"].values()) == len(audited["tests"]) == len(TESTS)
    for test in audited["tests"].values():
        assert test["verdict"] in audited["verdicts"]
        assert test["question"] in page
    found = audited["verdicts"]["shortcut found"]
    assert f"Of {len(TESTS)} tests <b>{found} found a shortcut</b>" in page
    assert audited["tests"]["where"]["figures"]["disease"]["occlusion"]["pointing"]["n"] > 0
    assert audited["tests"]["retraining"]["figures"]["macro_auroc"]["without lungs"]["value"] is not None
    assert page.index('id="result"') < page.index('id="figures"') < page.index('id="audit"') < page.index('id="data"')


def test_the_bundle_says_that_it_was_trained_on_drawings(project: Path) -> None:
    assert json.loads((project / "results/training/bundle/bundle.json").read_text())["drawn"] is True
    assert "the model has seen no radiograph" in (project / "results/training/bundle/model-card.md").read_text()
    assert "trained on synthetic radiographs drawn for the demo" in (project / "results/report/index.html").read_text()


def test_the_model_is_used_as_the_tutorial_says(project: Path) -> None:
    predict, explain, serve = tutorial("sh")[3]
    assert serve == "cxrflow serve"  # as tests/serving/conftest.py runs it
    call(project, *shlex.split(predict)[1:])
    call(project, *shlex.split(explain)[1:])
    assert len(pd.read_csv(project / "results/predictions.csv")) > 10
    assert cv2.imread(str(project / "results/seen.png")) is not None


def test_commands_of_the_readme_that_no_other_test_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "early_stopping_epochs: 6" in call(project, "params", "--defaults")
    asked = []  # its trainings are those of tests/studies/test_cross_validate.py
    monkeypatch.setattr("cxrflow.studies.cross_validate.cross_validate", lambda *given: asked.append(given) or {})
    monkeypatch.setattr("cxrflow.evaluation.tables.print_figures", lambda *_: None)
    call(project, "cross-validate", "--folds", "5")
    ((dataset, params, folds, *_),) = asked
    assert (params.training.epochs, folds) == (3, 5)
    records = pd.read_csv(project / "data/metadata/records.csv")
    assert len(dataset) == records.left_out.isna().sum()


def test_a_second_run_does_nothing_in_seconds(project: Path) -> None:
    assert ran(run(project, "dvc", "repro")) == ["params"]


def test_without_dvc_the_same_is_current(project: Path) -> None:
    """By the digests that DVC has written: of files, of folders, of parameters, of code."""
    lines = run(project, "cxrflow", "run").splitlines()
    assert [line.split("] ")[1] for line in lines if line.startswith("[")] == [
        f"{name}: {'runs (it always does)' if name == 'params' else 'current'}" for name in ("params", "demo", *STAGES)
    ]


def test_dvc_knows_metrics_and_plots(project: Path) -> None:
    shown = json.loads(run(project, "dvc", "metrics", "show", "--json"))
    figures = shown[""]["data"]
    trained = {f"results/training/{name}.json" for name in ("cost", "live/metrics", "val")}
    assert set(figures) == {"results/evaluation/summary.json", *trained}
    evaluated = figures["results/evaluation/summary.json"]["data"]
    assert "macro_auroc" in evaluated
    assert len(evaluated) <= 14
    run(project, "dvc", "plots", "show", "--out", "plots")
    assert (project / "plots" / "index.html").exists()


def test_a_changed_template_reruns_the_report_alone(project: Path) -> None:
    """Another version of the package is installed; run without DVC, which then finds all current, too."""
    place = project.parent / "changed"
    shutil.copytree(Path(cxrflow.__file__).parent, place / "cxrflow", ignore=shutil.ignore_patterns("__pycache__"))
    template = place / "cxrflow/report/page.html"
    template.write_text(template.read_text() + "<!-- changed -->\n")
    output = run(project, "cxrflow", "run", PYTHONPATH=str(place))
    assert "report: runs (the code has changed)" in output
    assert output.count(": current") == len(STAGES)  # the drawings, and all but the report
    assert "<!-- changed -->" in (project / "results/report/index.html").read_text()
    run(project, "dvc", "commit", "--force")  # into DVC's cache
    assert ran(run(project, "dvc", "repro", PYTHONPATH=str(place))) == ["params"]
    assert ran(run(project, "dvc", "repro")) == ["params"]  # it has kept the report of this code
    assert "<!-- changed -->" not in (project / "results/report/index.html").read_text()


def ran(output: str) -> list[str]:
    """The stages that ``dvc repro`` says it ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_another_prevalence_reruns_neither_explanation_nor_audit(project: Path) -> None:
    """As the tutorial ends: what changes runs again, and is committed."""
    before = json.loads((project / "results/training/bundle/thresholds.json").read_text())
    changed = yaml.safe_load("\n".join(tutorial("yaml")[1]))
    assert changed["evaluation"] == yaml.safe_load("\n".join(tutorial("yaml")[0]))["evaluation"] | {"prevalence": 0.3}
    set_params(project, evaluation={"prevalence": 0.3})
    (repro,), (add, commit) = tutorial("sh")[4:]
    output = run(project, *shlex.split(repro))
    assert ran(output) == ["params", "training", "evaluation", "report"]
    assert "Epoch 1/" not in output  # nothing is trained anew
    after = json.loads((project / "results/training/bundle/thresholds.json").read_text())
    assert (before["thresholds"]["cost_ratio"]["prevalence"], after["thresholds"]["cost_ratio"]["prevalence"]) == (
        0.1,
        0.3,
    )
    assert after["thresholds"]["specificity"] == before["thresholds"]["specificity"]
    someone = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    run(project, *shlex.split(add))
    run(project, *shlex.split(commit), **someone)
    kept = run(project, "git", "ls-files").split()
    assert {"params.yaml", "dvc.lock", "results/evaluation/ledger.csv"} <= set(kept)
    assert [name for name in kept if name.startswith(("data/", "results/"))] == ["results/evaluation/ledger.csv"]


def test_predict_scores_files_and_lists_what_it_cannot_read(project: Path) -> None:
    folder = project / "some"
    folder.mkdir()
    dicom = next((project / "data/demo/rsna-pneumonia-detection-challenge/stage_2_train_images").glob("*.dcm"))
    picture = next((project / "data/demo/Actualmed-COVID-chestxray-dataset/images").glob("*.png"))
    shutil.copy(dicom, folder / "a.dcm")
    shutil.copy(picture, folder / "b.png")
    (folder / "c.png").write_text("no picture")
    run(project, "cxrflow", "predict", "some", str(picture), "--out", "scores.csv", "--paths", status=3)
    table = pd.read_csv(project / "scores.csv")
    decided = ["positive_at_specificity", "positive_at_cost_ratio", "prediction_set"]
    known = ["frontal", "as_far", "flag", "note", "left_out"]
    assert table.columns.tolist() == ["image", "path", *CLASSES, "prediction", *decided, *known]
    chosen = json.loads((project / "results/training/bundle/thresholds.json").read_text())
    for name, point in chosen["thresholds"].items():
        at, scores = table[f"positive_at_{name}"], table[TASK["positive"]]
        assert (at[table.left_out.isna()] == (scores[table.left_out.isna()] >= point["threshold"])).all()
        assert at[table.left_out.notna()].isna().all()
    assert [Path(path).name for path in table.path] == ["a.dcm", "b.png", "c.png", picture.name]
    scored = table[table.left_out.isna()]
    assert scored[list(CLASSES)].sum(axis=1).to_numpy() == pytest.approx([1, 1, 1], abs=1e-5)
    assert (scored.prediction == scored[list(CLASSES)].idxmax(axis=1)).all()
    assert scored.loc[1, TASK["positive"]] == scored.loc[3, TASK["positive"]]
    assert (scored.frontal >= FLAG).all()
    records = pd.read_csv(project / "data/metadata/records.csv").set_index("content_hash")
    sides = records.split[scored.image.str.removeprefix("sha256:")]
    flagged = scored.flag.fillna("").str.contains(SAME_FILE, regex=False)
    assert flagged.tolist() == sides.isin(["train", "val"]).tolist()
    assert scored.as_far.between(0, 1).tolist() == [bool(chosen["far"])] * 3
    assert "not an image" in table.left_out[2]
    assert table.loc[2, list(CLASSES)].isna().all()


def assert_test_split(external: Path, evaluation: Path) -> None:
    """Assert that the images scored in ``external`` are the test images of ``evaluation``, with the same scores."""
    ours, theirs = (pd.read_csv(folder / "predictions.csv").set_index("image_id") for folder in (external, evaluation))
    assert sorted(ours.index) == sorted(theirs.index)
    numbers = theirs.select_dtypes("number").columns
    assert np.allclose(ours[numbers], theirs.loc[ours.index, numbers], atol=1e-6)


def test_evaluate_leaves_out_what_the_bundle_has_seen(project: Path) -> None:
    """On the collections it was trained on, the test split is left, whole, with the same scores."""
    output = run(project, "cxrflow", "validate-external", "--sources", "data/demo", "--out", "external")
    assert output.strip().endswith(f"Page: {project / 'external' / 'index.html'}")
    assert_test_split(project / "external", project / "results" / "evaluation")
    ledger = pd.read_csv(project / "results/evaluation/ledger.csv")
    assert len(ledger) == 8  # the network by two evaluations and here, and the five that the audit trained


def test_a_killed_training_goes_on_under_dvc(project: Path) -> None:
    set_params(project, training={"epochs": 18, "early_stopping_epochs": 18})
    process = subprocess.Popen(
        ["dvc", "repro", "training"], cwd=project, env=ENVIRONMENT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    history = project / "results/training/history.csv"
    deadline = time.monotonic() + 300
    while not (history.exists() and 5 <= len(history.read_text().splitlines()) < 18):  # more than the first run wrote
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(history.read_text().splitlines()) - 1
    output = run(project, "dvc", "repro", "training")
    assert "Resuming after the last complete epoch" in output
    after = pd.read_csv(history)
    assert after.epoch.tolist() == list(range(18))
    live = pd.read_csv(project / "results/training/live/plots/metrics/val_loss.tsv", sep="\t")
    assert live.step.tolist() == list(range(18))
    assert done >= 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"model": "resnet9"}}, "training.model: no network is called resnet9"),
        ({"images": {"sise": 4}}, "images.sise"),
        ({"sources": {"root": "nowhere"}}, "nowhere"),
    ],
)
def test_a_bad_parameter_stops_before_any_work(
    tmp_path: Path, changes: dict[str, dict[str, object]], message: str
) -> None:
    (tmp_path / "params.yaml").write_text("{}\n")
    set_params(tmp_path, **changes)
    command = "metadata" if "sources" in changes else "params"
    output = run(tmp_path, "cxrflow", command, status=1)
    assert message in output
    assert "Traceback" not in output
    assert len(output.strip().splitlines()) == 1
    assert not (tmp_path / "data" / "metadata" / "records.csv").exists()


#: A split in which each of the four classes has groups on every side.
SEED = 1
#: Four classes, of the findings that the demo's collections say.
FOUR = {
    "classes": {
        "clear": ["no finding"],
        "virus": ["pneumonia/viral/covid-19"],
        "bacterial": ["pneumonia/bacterial"],
        "other": ["pneumonia"],
    },
    "positive": "virus",
    "names": {"other": "other pneumonia"},
}


@pytest.fixture(scope="module")
def asked(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which another question was asked of the same drawn radiographs, through every stage, by two networks
    that see different pictures and leave out a fold each."""
    folder = tmp_path_factory.mktemp("four")
    training = {"model": "timm:resnet10t", "epochs": 2, "early_stopping_epochs": 2}
    training |= {"members": [{}, {"size": 48, "lungs": "learned", "lungs_use": "crop"}], "folds": 2}
    values = {
        "sources": {"root": str(project / "data" / "demo")},
        "task": FOUR,
        "metadata": {"split": {"train": 0.5, "val": 0.25, "test": 0.25, "seed": SEED}},
        "images": {"size": 32},
        "training": training,
        "evaluation": {"bootstrap": 100},
        "explanation": {"per_class": 1},
        "audit": {"heat_maps": 4, "retrain_epochs": 1, "retrain_size": 32},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    shutil.copytree(project / "data" / "metadata", folder / "data" / "metadata")  # fingerprints of the same files
    (folder / "data" / "metadata" / "sides.csv").unlink()
    for stage in ("params", *STAGES):
        call(folder, stage)
    return folder


def call(folder: Path, *command: str) -> str:
    """Run a command of cxrflow in this process, in ``folder``; what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_another_task_goes_through_every_stage(asked: Path) -> None:
    folder, classes = asked, list(FOUR["classes"])
    named = [FOUR["names"].get(name, name) for name in classes]
    bundle = json.loads((folder / "results/training/bundle/bundle.json").read_text())
    assert list(bundle["task"]["classes"]) == classes
    figures = json.loads((folder / "results/evaluation/metrics.json").read_text())
    assert [len(row) for row in figures["confusion"]["counts"]] == [len(classes)] * len(classes)
    for name in classes:
        assert set(figures["test"][name]) == set(FIGURES)
    audited = json.loads((folder / "results/audit/audit.json").read_text())
    assert len(audited["tests"]) == len(TESTS)
    page = (folder / "results/report/index.html").read_text()
    for name in named:
        assert name in page
    lines = {word for name in named for word in name.split()}  # a long name has several lines in the confusion matrix
    for name in (*CLASSES, *TASK["names"].values()):
        if name not in {*classes, *named, *lines, "normal"}:
            assert f">{name}<" not in page
    records = pd.read_csv(folder / "data/metadata/records.csv")
    assert set(records.label.dropna()) == set(classes)


def test_two_networks_are_shown_together_and_each_beside(asked: Path, project: Path) -> None:
    folder = asked
    networks = json.loads((folder / "results/training/bundle/bundle.json").read_text())["networks"]
    assert [each["images"]["size"] for each in networks] == [32, 48]
    page = (folder / "results/report/index.html").read_text()
    assert page.count("One training radiograph of each class after each image step") == 2
    assert "each network leaves one out" in page
    for number in (1, 2):
        assert f"For network {number}: as read" in page
    for picture in (folder / "results/explanation").glob("*.png"):
        height, width = cv2.imread(str(picture)).shape[:2]
        assert width == height  # two rows of two
    assert len(list((folder / "data/images").iterdir())) == 2
    picture = next((project / "data/demo/Actualmed-COVID-chestxray-dataset/images").glob("*.png"))
    tables = []
    for name, more in (("all", ()), ("1", ("--member", "1")), ("2", ("--member", "2"))):
        call(folder, "predict", str(picture), "--out", f"{name}.csv", *more)
        tables.append(pd.read_csv(folder / f"{name}.csv")[list(FOUR["classes"])].to_numpy())
    assert tables[0] == pytest.approx(np.mean(tables[1:], axis=0), abs=2e-6)


def test_a_bundle_of_another_task_predicts_is_validated_and_compared(asked: Path, project: Path) -> None:
    folder, classes = asked, list(FOUR["classes"])
    picture = next((project / "data/demo/Actualmed-COVID-chestxray-dataset/images").glob("*.png"))
    call(folder, "predict", str(picture), "--out", "scores.csv")
    table = pd.read_csv(folder / "scores.csv")
    assert [name for name in table.columns if name in classes] == classes
    assert table[classes].sum(axis=1).to_numpy() == pytest.approx([1], abs=1e-5)
    call(folder, "validate-external", "--sources", str(project / "data/demo"), "--out", "external")
    assert_test_split(folder / "external", folder / "results" / "evaluation")
    bundle = "results/training/bundle"
    call(folder, "compare", bundle, bundle, "--out", "compared")
    compared = json.loads((folder / "compared/comparison.json").read_text())
    assert compared["figures"]["positive_auroc"]["difference"]["value"] == 0


def test_a_bundle_of_another_task_is_refused_before_any_scoring(asked: Path, project: Path) -> None:
    folder = asked
    theirs = str(project / "results/training/bundle")
    with pytest.raises(CxrflowError, match="classes are"):
        call(folder, "compare", "results/training/bundle", theirs)
    assert not (folder / "results/comparison/comparison.json").exists()


def test_a_damaged_file_of_a_run_is_one_sentence_wherever_it_is_read(
    asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    from damaged_state import DAMAGES

    folder = asked
    readers = {
        "data/metadata/records.csv": "training",
        "data/images/*/index.csv": "audit",
        "results/training/bundle/trained_on.csv": "evaluation",
        "results/evaluation/predictions.csv": "explanation",
        "results/evaluation/metrics.json": "report",
        "results/training/history.csv": "report",
    }
    for name, command in readers.items():
        file = next(folder.glob(name))
        whole = file.read_bytes()
        for damage in ("absent", "folder", "cut", "NUL bytes"):
            DAMAGES[damage](file)
            with pytest.raises(CxrflowError, match=file.name.replace(".", r"\.")) as stopped:
                call(folder, command)
            assert str(stopped.value).isprintable()
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
            file.write_bytes(whole)
