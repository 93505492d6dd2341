"""Runs a study of many trainings, or the whole flow on real collections, and prints its tables.

    python benchmarks/studies.py {leaks,mitigation,real} FOLDER [--out results/figures]

FOLDER holds collections as for `make run`. The study has a project of its own, OUT/NAME, with its parameters, images
and results; an interrupted study resumes there. Prints

    leaks       the table of each leak (short.yaml over real.yaml, 12 epochs)
    mitigation  the mitigations, then each source left out of training, under "cropped to the lungs" (short over real)
    real        with real.yaml, out of fold and on the test split: the networks beside a table without a pixel;
                then the tests of the audit; then the aims, out of fold. It looks at the test split
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tables import table

from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.params_file import load_params
from cxrflow.statistics.figure import Figure, in_words
from cxrflow.task import Task

PROJECT = Path(__file__).parents[1]
_CXRFLOW = Path(sys.executable).with_name("cxrflow")
#: AUROCs within a source that `real.yaml` aims at on the sample of six collections (docs/training.md).
_AIMS = {
    ("covid-chestxray", "covid_vs_pneumonia"): 0.73,
    ("covid-chestxray", "covid_vs_normal"): 0.76,
    ("rsna", "normal_vs_pneumonia"): 0.88,
    ("nih", "normal_vs_pneumonia"): 0.84,
}


def project(place: Path, sources: Path, overrides: list[str], **training: Any) -> Task:
    """Parameters in ``place``: the defaults, some override files, and changes of the section training. Returns the
    task."""
    params = {"overrides": overrides, "sources": {"root": str(sources)}, "training": training}
    write_whole(place / "params.yaml", yaml.safe_dump(params).encode())
    return load_params(place / "params.yaml").task


def cxrflow(place: Path, *arguments: str) -> None:
    """Run a command in a project, what it prints on standard error."""
    if status := subprocess.run([_CXRFLOW, *arguments], cwd=place, check=False, stdout=sys.stderr).returncode:
        raise CxrflowError(f"`cxrflow {' '.join(arguments)}` in {place} ended with status {status}.")


def found(place: Path, file: str) -> Any:
    """What a command has written as JSON below results."""
    return json.loads((place / "results" / file).read_text())


def words(figure: dict[str, Any] | None, digits: int = 2, counts: bool = False) -> str:
    """A figure of a JSON file, in words; nothing if there is none."""
    return in_words(Figure.from_dict(figure), digits, counts) if figure else ""


def leaks(place: Path, sources: Path) -> None:
    """Each leak: macro AUROC, that of the positive class, and pairs within sources; the first row is the figure itself,
    the others are differences from it."""
    task = project(place, sources, ["real", "short"], epochs=12, early_stopping_epochs=12)
    cxrflow(place, "leaks", "--sources", str(sources))
    pairs = {f"{a}_vs_{b}": f"{task.names[a]} against {task.names[b]}, within sources" for a, b in task.pairs}
    columns = {"macro_auroc": "macro AUROC", "positive_auroc": f"{task.positive_name} AUROC", **pairs}
    rows = [
        (name, of["shared"], *(words(of["figures"][key]["difference" if number else "figure"], 3) for key in columns))
        for number, (name, of) in enumerate(found(place, "leaks/metrics.json")["by_leak"].items())
    ]
    table(("", "test images that share a group with training", *columns.values()), rows)


def mitigation(place: Path, sources: Path) -> None:
    """Each mitigation; then sources left out, under one of them, and below the same networks where they know the
    source."""
    task = project(place, sources, ["real", "short"])
    cxrflow(place, "mitigation", "--sources", str(sources))
    each = found(place, "mitigation/metrics.json")
    pairs = {f"{a}_vs_{b}": f"{task.names[a]} against {task.names[b]}" for a, b in task.pairs}
    columns = [f"{said}, {where}" for said in pairs.values() for where in ("within sources", "sources left out")]
    table(
        ("", "macro AUROC, pooled", *columns),
        [
            (name, words(of["pooled"]), *(words(of[where][pair]) for pair in pairs for where in ("within", "left_out")))
            for name, of in each.items()
        ],
    )
    cropped = "cropped to the lungs"
    left_out = found(place, f"mitigation/{cropped.replace(' ', '-')}/leave-one-out/metrics.json")
    rows = [(source, *(_counted(of[pair]) for pair in pairs)) for source, of in left_out["sources"].items()]
    rows.append(("all, images of one source alone", *(words(left_out["all"][pair]) for pair in pairs)))
    known = "**the same network where it knows the source**"
    rows.append((known, *(words(each[cropped]["within"][pair]) for pair in pairs)))
    table(("left out", *pairs.values()), rows)


def _counted(figure: dict[str, Any]) -> str:
    return words(figure) if figure["value"] is None else f"{words(figure)}, {figure['n']} images"


def real(place: Path, sources: Path) -> None:
    """The settings for real data, out of fold and once on test."""
    task = project(place, sources, ["real"])
    for stage in ("metadata", "images", "training", "evaluation", "audit"):
        cxrflow(place, stage)
    cxrflow(place, "cross-validate", "--folds", "5")
    out_of_fold, test = (found(place, f"{name}/metrics.json") for name in ("cross-validation", "evaluation"))
    print_real(out_of_fold, test, found(place, "audit/audit.json"), task)


def print_real(out_of_fold: Any, test: Any, audit: Any, task: Task) -> None:
    """Print the tables of ``real``, from the contents of the three files."""
    sides = {f"out of fold, {out_of_fold['n']} images": out_of_fold, f"test split, {test['n']} images": test}
    blind = [m["baseline"] for m in sides.values()]
    rows = [
        ("all sources, macro: **the networks**", *(words(m["test"]["macro_auroc"]) for m in sides.values())),
        ("all sources, macro: **the table without a pixel**", *(words(of["macro_auroc"]) for of in blind)),
        ("the difference of these two, paired", *(words(of["difference"], 3) for of in blind)),
    ]
    for source, pair in _AIMS:
        within = (m.get("within_folds", m["by_source"]).get(source, {}).get(pair) for m in sides.values())
        rows.append((f"within {source}, {_against(pair, task)}", *(words(figure, counts=True) for figure in within)))
    table(("AUROC", *sides), rows)
    tests = enumerate(audit["tests"].values(), 1)
    table(
        ("test", "verdict", "figures"),
        [(f"{n}. {test['question']}", f"**{test['verdict']}**", test["words"]) for n, test in tests],
    )
    reached = [
        (f"{source}, {_against(pair, task)}, AUROC", words(out_of_fold["within_folds"].get(source, {}).get(pair)), aim)
        for (source, pair), aim in _AIMS.items()
    ]
    at, calibration = out_of_fold["at_specificity"], out_of_fold["calibration"]
    right = calibration["ece_if_calibrated"]["mean"]
    reached += [
        ("pooled macro AUROC", words(out_of_fold["test"]["macro_auroc"]), 0.9),
        (f"{task.positive_name} sensitivity at specificity {at['wanted']}, off the ROC curve", words(at["roc"]), 0.4),
        (f"ECE, at most ({right:.3f} if every probability were exactly right)", f"{calibration['ece']:.3f}", 0.05),
    ]
    table(("out of fold", "reached", "aim"), reached)


def _against(pair: str, task: Task) -> str:
    return " against ".join(task.names[name] for name in pair.split("_vs_"))


STUDIES: dict[str, Callable[[Path, Path], None]] = {"leaks": leaks, "mitigation": mitigation, "real": real}


def main() -> None:
    """Run a study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/figures"))
    asked = parser.parse_args()
    try:
        STUDIES[asked.study](asked.out.resolve() / asked.study, asked.folder.resolve())
    except CxrflowError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
