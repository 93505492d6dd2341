"""Results of a run of any task, made up: what the report reads, without what made it."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow.audit.words import SIGNS
from cxrflow.bundle import Bundle, Network, OperatingPoint, PredictionSets
from cxrflow.bundle_files import write_description
from cxrflow.evaluation.plots import CONFUSION
from cxrflow.model_card import CARD, NOT_AUDITED, starts_table
from cxrflow.params import Params
from cxrflow.passport import Licence, Passport
from cxrflow.state import write_sealed
from cxrflow.statistics.figure import Figure, missing, to_json
from cxrflow.task import Task

#: What the network of the made-up run began with; names come from files and may hold anything.
START = Passport(
    name="<i>weights</i>",
    licence=Licence(name="MIT", research=True, commercial=True, share_alike=False),
    trained_on=("hospital",),
    before=Passport(name="earlier weights", trained_on=("ImageNet-1k",)),
)
SOURCES = ("hospital", "clinic")
#: A figure of the diagrams, in no table of the page; a panel as wide as the real ones.
BINNED = Figure(0.77, 0.66, 0.88, 40, 30)
_SVG = """<svg viewBox="0 0 236 99" width="236pt" height="99pt"><text id="a" x="9" y="20">A panel</text></svg>"""
_OF_A_CLASS = ("sensitivity", "specificity", "ppv", "auroc")
_AT_A_POINT = ("sensitivity", "specificity", "ppv", "npv", "ppv_at_prevalence", "npv_at_prevalence")


def made_up() -> Iterator[Figure]:
    """Figures that differ from one another when they are written with two digits, as far as these go."""
    for number in count():
        value = 0.3 + number % 50 / 100
        yield Figure(value, value - 0.11, value + 0.12, 40, 30, "12 of 40" if number % 5 == 0 else None)


def metrics(task: Task) -> dict[str, object]:
    """``metrics.json`` of 40 images for each class from two sources, the second without the last class."""
    figures = made_up()
    n = 40 * len(task.order)
    part = {"n": n, "groups": n, "images": dict.fromkeys(task.order, 40)}
    part |= {key: next(figures) for key in ("accuracy", "sensitivity", "specificity", "auroc")}
    others = {"n": 40, "groups": 40, "images": {name: 0 if name == task.positive else 40 for name in task.order}}
    others |= {"accuracy": next(figures), "specificity": next(figures)}
    others |= {"sensitivity": missing("no such image"), "auroc": missing("one class only")}
    points = {
        name: {"threshold": threshold, "wanted": wanted, "prevalence": None, "on_val": None}
        | {key: next(figures) for key in _AT_A_POINT}
        for name, threshold, wanted in (("argmax", None, None), ("specificity", 0.61, 0.9), ("cost_ratio", 0.23, 10))
    }
    points["cost_ratio"]["prevalence"] = 0.1
    points["argmax"]["ppv_at_prevalence"] = missing("no image was called it <at all>")
    more = [{"kind": name, "sources": list(SOURCES), "groups": 12, "needed": 345} for name in task.order]
    test = {name: {key: next(figures) for key in _OF_A_CLASS} for name in task.order}
    return to_json({
        "test": test | {"macro_auroc": next(figures), "accuracy": next(figures)},
        "by_source": {
            SOURCES[0]: {f"{a}_vs_{b}": next(figures) for a, b in task.pairs},
            SOURCES[1]: {f"{a}_vs_{b}": next(figures) for a, b in task.pairs if b != task.order[-1]},
        },
        "confusion": {"counts": [[40 if row == col else 0 for col in task.order] for row in task.order]}
        | {key: [[float(row == col) for col in task.order] for row in task.order] for key in ("by_row", "by_column")},
        "n": n, "groups": n,
        "operating_points": points, "prevalence": 0.1,
        "calibration": {"ece": 0.04, "ece_if_calibrated": {"mean": 0.03, "p95": 0.05}, "brier": next(figures),
                        "bins": [{"confidence": 0.6, "right": BINNED}]},
        "abstention": [{"answered": 0.5, "least": 0.7, "risk": BINNED}],
        "prediction_sets": {
            "wanted": 0.9, "least": dict.fromkeys(task.order, 0.25), "mean_size": 1.5, "single": next(figures),
            "empty": next(figures), "coverage": {name: next(figures) for name in ("all", *task.order)},
        },
        "far": {"share": 0.02, "all": next(figures), "by_source": {name: next(figures) for name in SOURCES}},
        "by_collection": {SOURCES[0]: part, SOURCES[1]: others},
        "by_view": {"PA": part}, "by_sex": {"F": part}, "by_age": {}, "by_day": {"day 0 to 3": part},
        "slices": {
            "failed": 30, "clusters": 3, "compared": 41, "unnamed": 10,
            "named": [{"shared": "view AP, class <one>", "failed": 20, "p": 0.0004, "error": next(figures),
                       "error_beside": next(figures)}],
        },
        "cannot_tell": {
            "half_width": 0.05, "unanswerable": ["What no image can tell."],
            "unknown_patients": ["hospital: the patient of 1 image is not known."],
            "needed": [
                {"figure": "macro AUROC", "interval": [0.7, 0.9], "more": more},
                {"figure": "AUROC within the clinic", "interval": None, "reason": "too few groups", "more": more[:1]},
            ],
        },
        "baseline": {"macro_auroc": next(figures), "difference": next(figures), "learned_from": "train"},
        "starts": [{"sources": {"hospital": [30, 20]}, "complete": True, "words": "hospital: 30 images of 20 groups"}],
        "test_set": {"hash": "ab" * 32, "bundle": "cd" * 32, "overlap": None},
    })  # fmt: skip


@pytest.fixture(scope="session")
def bundle_of(demo_params: Params) -> Callable[[Task], Bundle]:
    """Makes the description of a bundle of a task, with operating points and prediction sets."""

    def make(task: Task) -> Bundle:
        return Bundle(
            cxrflow="0",
            task=task,
            networks=(
                Network(
                    model="crnn",
                    images=demo_params.images.model_copy(update={"size": 32}),
                    mean=0.5,
                    std=0.25,
                    temperature=1.5,
                    epoch=1,
                    validation={"macro_auroc": 0.8},
                    start=START,
                ),
            ),
            sources={"hospital": 90},
            digests={"weights": "cd" * 32},
            thresholds={"specificity": OperatingPoint(wanted=0.9, threshold=0.4, sensitivity=0.5, specificity=0.9)},
            prediction_sets=PredictionSets(coverage=0.9, least=dict.fromkeys(task.order, 0.2)),
        )

    return make


@pytest.fixture(scope="session")
def results(bundle_of: Callable[[Task], Bundle], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Task], Path]:
    """Writes what the stages before the report leave for a task (no weights); the new folder of the results."""

    def write(task: Task) -> Path:
        out = tmp_path_factory.mktemp("results")
        write_description(out / "training" / "bundle", bundle_of(task))
        epochs = {
            "network": [1, 1],
            "epoch": [0, 1],
            "train_loss": [1, 0.5],
            "val_loss": [1, 0.8],
            "val_macro_auroc": [0.5, 0.8],
        }
        by_class = {f"val_{key}_{name}": [0.5, 0.8] for name in task.order for key in ("sensitivity", "ppv")}
        _csv(out / "training" / "history.csv", epochs | by_class)
        fates = [(source, f"kept: {name}", 50) for source in SOURCES for name in task.order]
        fates += [("hospital", "findings of more than one class (a, b)", 7), ("clinic", "file is absent", 3)]
        _csv(out / "metadata" / "reconciliation.csv", pd.DataFrame(fates, columns=["source", "fate", "rows"]))
        shares = [(side, "hospital", name, 30, 20) for side in ("train", "val", "test") for name in task.order]
        columns = ["split", "source", "label", "images", "groups"]
        _csv(out / "metadata" / "shares.csv", pd.DataFrame(shares, columns=columns))
        met = {"images": 100, "same_file": 1, "near": 2, "same_url": 0, "repeated": 3, "other_label": 1}
        met |= {"patients": 80, "shared_patients": 4}
        _csv(out / "metadata" / "overlap.csv", {"collection": ["hospital"], "other": ["clinic"]} | met)
        kept = 100 * len(task.order)
        write_sealed(out / "metadata" / "summary.json", {
            "rows": kept + 10, "kept": kept, "left_out": 10, "groups": kept, "patients": kept, "under_18": 2,
            "near_repeats": 1,
            "largest_group": {"group_id": "hospital:mrn-5512", "images": 3, "patients": 1,
                              "joined_by": {"image_id": "hospital:cover-7f3", "images": 3, "patients": 2}},
            "unknown_patients": ["hospital: the patient of 1 image is not known."],
            "tables_read": ["hospital: not given: sex in 3 of 10 rows.",
                            "hospital: 9 files found by name alone, such as mueller.png (2024/mueller.png)."],
            "files_named": ["mueller.png", "2024/mueller.png"],
            "not_frontal": {"below": 0.5, "images": 1, "list": ["hospital:1"]}, "turned": 1,
            "burned_in_text": [{"source": "hospital", "label": task.order[0],
                                "images": 1200, "with_text": 7, "groups": 9}],
        })  # fmt: skip
        write_sealed(out / "evaluation" / "metrics.json", metrics(task))
        curve = {"x": [0, 1], "y": [0.1, 1], "low": [0, 0.9], "high": [0.2, 1]}
        absent = missing("no such image")
        both = {name: {"roc": curve, "precision_recall": absent} for name in task.order}
        write_sealed(out / "evaluation" / "curves.json", to_json(both))
        (out / "evaluation" / CARD).write_text(
            f"# Model card\n\n{NOT_AUDITED}\n\n{starts_table(bundle_of(task), ['hospital: 30 images of 20 groups'])}\n"
        )
        plots = [f"confusion-{key}" for key in CONFUSION] + [f"curves-{name}" for name in task.order]
        for name in (*plots, "reliability", "abstention", "within_sources"):
            _text(out / "evaluation" / "plots" / f"{name}.svg", _SVG)
        examples = [
            {"image_id": f"hospital:scan-{name}-7f3", "source": "hospital", "label": name, "prediction": task.positive,
             "score": 0.75, "picture": f"{name}.png"}
            for name in task.order
        ]  # fmt: skip
        kinds = ("heat", "area", "gain", "pointing")
        inside = {name: dict.fromkeys(kinds, missing("none are known")) for name in ("opacity", "boxes", "lungs")}
        inside["boxes"] = dict(zip(kinds, map(Figure, (0.5, 0.2, 0.3, 0.6), (0.4, 0.1, 0.2, 0.5), (0.6, 0.3, 0.4, 0.7),
                                              (9,) * 4, (7,) * 4), strict=True))  # fmt: skip
        inside["lungs"] = inside["boxes"]  # whose name is the longest in a table
        write_sealed(out / "explanation" / "explanation.json", {"examples": examples, "inside": to_json(inside)})
        verdicts = dict.fromkeys(SIGNS, 1)
        tests = {
            name: {"question": f"{name}?", "verdict": name, "words": "0.8 of it.", "figures": {}} for name in verdicts
        }
        tests["no shortcut found"]["figures"] = {"starts": [Figure(0.71, 0.62, 0.83, 40, 30).to_dict()]}
        write_sealed(out / "audit" / "audit.json",
                   {"alarm": True, "verdicts": verdicts, "apart": [list(task.pairs[0])], "not_learned": None,
                    "tests": tests})  # fmt: skip
        for svg in ("metadata/overlap.svg", "audit/audit.svg"):
            _text(out / svg, _SVG)
        pictures = ["images/examples.png", "audit/where.png", *(f"explanation/{name}.png" for name in task.order)]
        for picture in pictures:
            (out / picture).parent.mkdir(exist_ok=True)
            cv2.imwrite(str(out / picture), np.full((8, 16), 128, np.uint8))
        return out

    return write


def _csv(path: Path, table: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table).to_csv(path, index=False)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
