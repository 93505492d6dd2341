"""Hit rate and false-alarm rate of the audit, on networks with and without planted shortcuts, over several seeds.

    python benchmarks/audit_check.py [--planted-seeds 1 2 ...] [--clean-seeds 6 7 ...] [--out results/audit-check.json]

For each seed, patients are drawn as in the demo, in the collections that hold every class, so that no source reveals
the class. CONDITIONS says what is made of them: marks that follow the class; hospitals that have marks of their own and
differ in their shares of the classes; and, without a shortcut, hospitals with marks of their own and equal shares, or
with unequal shares and severity but without a mark (case mix). Under each condition a small network is trained and
audited by every test. As in the audit, an alarm means that any test finds a shortcut. ``reads`` is the truth of the
matter, which the audit does not know: by how much a probability of the network changes on average if a test picture is
given the mark of that class instead of that of its own. The tests' limits were set on the seeds in RULE_SET_ON, which
this check refuses. Goal: hit_rate at least 0.95 and false_alarm_rate at most 0.05, both with exact 95 % intervals.

An interrupted check resumes with the network that was being trained; a network is not audited again by the same code.
Two processes can therefore share the work, with different seeds and the same --out; a last call with all seeds then
counts the alarms.
"""

import argparse
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest
from tables import table, track

import cxrflow
from cxrflow.audit.audit import audit
from cxrflow.audit.context import Audited
from cxrflow.audit.registry import TESTS
from cxrflow.audit.words import FOUND
from cxrflow.dataset import Dataset
from cxrflow.engines import LocalEngine
from cxrflow.evaluation.evaluate import evaluate_split
from cxrflow.evaluation.ledger import LEDGER
from cxrflow.evaluation.metrics import macro_auroc
from cxrflow.evaluation.predictions import read_predictions
from cxrflow.files import code_digest, digest, write_json
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.images.registry import prepare_image
from cxrflow.lungs.learned import lung_map
from cxrflow.params import Images, Params
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.predictor import Predictor
from cxrflow.records import Record, to_frame
from cxrflow.synthetic.drawing import Radiograph, draw
from cxrflow.synthetic.layouts import plan
from cxrflow.synthetic.people import SHARES, Job
from cxrflow.synthetic.shortcuts import KINDS, Shortcut, mark_of, plant
from cxrflow.training.train import train


@dataclass(frozen=True)
class Condition:
    """What is made of the drawn pictures.

    marks     planted in each picture
    hospital  whether the marks are those of the patient's hospital, which is then the source; else they are those of
              the picture's class, and the source is the collection
    strength  how closely hospitals, or marks, follow the class (``shortcuts.mark_of``)
    severe    whether a class's severe cases are in its own hospital more often than its mild ones
    """

    marks: tuple[Shortcut, ...] = ()
    hospital: bool = False
    strength: float = 0.0
    severe: bool = False

    @property
    def planted(self) -> bool:
        """Whether a shortcut is there to be read."""
        return bool(self.marks) and self.strength > 0


#: In a hospital of its own are 80 % of a class's patients, 10 % in each of the two others.
_UNEQUAL = 0.7
CONDITIONS = {
    "marker": Condition(("marker",), strength=1),
    "border": Condition(("border",), strength=1),
    "exposure": Condition(("exposure",), strength=1),
    "hospital-marker": Condition(("marker",), True, _UNEQUAL),
    "hospital-grain": Condition(("grain",), True, _UNEQUAL),
    "hospital-exposure": Condition(("exposure",), True, _UNEQUAL),
    "hospital-pale": Condition(("pale",), True, _UNEQUAL),
    "hospital-all": Condition(("marker", "grain", "exposure"), True, _UNEQUAL),
    "none": Condition(),
    "equal-all": Condition(("marker", "grain", "exposure"), True),
    "equal-pale": Condition(("pale",), True),
    "case-mix": Condition((), True, _UNEQUAL, severe=True),
}
RULE_SET_ON = (101, 102)
PATIENTS, SIZE, EPOCHS, RETRAIN_EPOCHS, RETRAIN_SIZE = 420, 64, 20, 8, 48
#: Collections that have every class; in the others the source itself would be a shortcut.
FOLDERS = [folder for folder, (_, classes) in SHARES.items() if min(classes[:3]) > 0]
#: The code that the verdicts depend on, in the package's folder.
_CODE = (
    *("audit", "evaluation", "explanation", "images", "lungs", "models", "reading", "statistics", "synthetic"),
    *("studies/compare.py", "training", "bundle.py", "dataset.py", "predictor.py", "records.py", "task.py"),
)


def main() -> None:
    """Draw, train, audit, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--planted-seeds", type=int, nargs="*", default=list(range(1, 6)))
    parser.add_argument("--clean-seeds", type=int, nargs="*", default=list(range(6, 16)), help="without a shortcut")
    parser.add_argument("--conditions", nargs="+", choices=list(CONDITIONS), default=list(CONDITIONS))
    parser.add_argument("--out", type=Path, default=Path("results/audit-check.json"))
    parser.add_argument("--setting", action="store_true", help="allow the seeds that the rule was set on")
    asked = parser.parse_args()
    if not asked.setting and (shared := {*asked.planted_seeds, *asked.clean_seeds} & set(RULE_SET_ON)):
        parser.error(f"the rule was set on seed {min(shared)}; check it on others")
    params = small(load_params(DEFAULTS))
    found: list[dict[str, Any]] = []
    for seed in sorted({*asked.planted_seeds, *asked.clean_seeds}):
        for name in asked.conditions:
            if seed in (asked.planted_seeds if CONDITIONS[name].planted else asked.clean_seeds):
                found.append(checked(seed, name, params, asked.out.with_suffix("") / f"{seed}-{name}"))
                write_json(asked.out, summary(found, params))
        shutil.rmtree(_drawn(asked.out, seed), ignore_errors=True)
    print_summary(summary(found, params))


def print_summary(counted: dict[str, Any]) -> None:
    """Print what each test found under each condition, and the two rates."""
    rows = []
    for name, of in counted["per_condition"].items():
        reads = f"{min(of['reads']):.2f} to {max(of['reads']):.2f}"
        planted = "planted" if CONDITIONS[name].planted else "none"
        rows.append((f"`{name}`", planted, of["networks"], of["alarms"], *of["found_by"].values(), reads))
    tests = [f"{number}. {name.replace('_', ' ')}" for number, name in enumerate(TESTS, 1)]
    table(("condition", "shortcut", "networks", "alarm", *tests, "reads"), rows)
    rates = []
    for rate in ("hit_rate", "false_alarm_rate"):
        if counts := counted["counts"][rate]:
            of, interval = f"{counts['alarms']} of {counts['networks']}", f"{counts['low']:.2f} to {counts['high']:.2f}"
            rates.append((rate.replace("_", " "), f"{counted[rate]:.2f}", of, interval))
    table(("", "rate", "networks with an alarm", "exact 95 % interval"), rates)


def small(params: Params) -> Params:
    """The demo's parameters at a size that trains in half a minute."""
    schedule = params.training.schedule.model_copy(update={"warmup_epochs": 1})
    training = {"model": "timm:resnet10t", "epochs": EPOCHS, "early_stopping_epochs": EPOCHS, "learning_rate": 1e-3}
    return params.model_copy(
        update={
            "images": params.images.model_copy(update={"size": SIZE}),
            "training": params.training.model_copy(update=training | {"schedule": schedule}),
            "evaluation": params.evaluation.model_copy(update={"bootstrap": 500}),
            "audit": params.audit.model_copy(
                update={"heat_maps": 24, "retrain_size": RETRAIN_SIZE, "retrain_epochs": RETRAIN_EPOCHS}
            ),
        }
    )


def checked(seed: int, name: str, params: Params, folder: Path) -> dict[str, Any]:
    """The audit of a network trained on one seed's patients under one condition; from disk if it was done before."""
    done = folder / "done.json"
    code = code_digest(Path(cxrflow.__file__).parent, _CODE), code_digest(Path(__file__).parent, [Path(__file__).name])
    key = digest([params.model_dump(), PATIENTS, seed, name, code])
    if done.exists() and (kept := json.loads(done.read_text()))["key"] == key:
        return kept["found"]
    print(f"seed {seed}, {name}", file=sys.stderr)
    drawn = drawings(seed, _drawn(folder.parent.with_suffix(".json"), seed))
    lungs = lungs_of(drawn, params.images, _drawn(folder.parent.with_suffix(".json"), seed) / "lungs.npy")
    dataset = stored(seed, CONDITIONS[name], params, drawn, lungs)
    params = params.model_copy(update={"training": params.training.model_copy(update={"seed": seed})})
    train(dataset, params.images, params.training, folder / "training")
    predictor, evaluated = Predictor(folder / "training" / "bundle"), folder / "evaluation"
    evaluate_split(predictor, dataset, params.evaluation, evaluated)
    context = Audited(
        predictor=predictor,
        dataset=dataset,
        predictions=read_predictions(evaluated / "predictions.csv", params.task),
        params=params,
        root=folder,
        out=folder / "audit",
        ledger=evaluated / LEDGER,
    )
    audited = audit(context).to_json()
    tests = audited["tests"]
    found = {
        "seed": seed,
        "condition": name,
        "alarm": audited["alarm"],
        "verdicts": {test: result["verdict"] for test, result in tests.items()},
        "macro_auroc": macro_auroc(context.scored).value,
        "reads": reads(context, CONDITIONS[name], drawn),
        "learned": tests["source_probe"]["figures"]["learned"],
        "without_lungs": tests["retraining"]["figures"]["macro_auroc"]["without lungs"],
        "gaps": {pair: figures["gap"] for pair, figures in tests["gap"]["figures"]["pairs"].items()},
        "towards": tests["swaps"]["figures"]["towards"],
    }
    write_json(done, {"key": key, "found": found})
    shutil.rmtree(folder / "training")
    shutil.rmtree(folder / "audit" / "retraining")
    return found


@dataclass(frozen=True)
class Drawing:
    """A radiograph without a mark: its job, pixels uint8, and the share of the picture that is ill."""

    job: Job
    pixels: NDArray[np.uint8]
    severity: float

    def marked(self, marks: tuple[Shortcut, ...], mark: str, steps: Images) -> NDArray[np.uint8]:
        """The prepared picture with the marks of a class or hospital."""
        nothing = np.zeros(self.pixels.shape, np.bool_)
        picture = Radiograph(self.pixels.astype(np.float32) / 255, nothing, nothing)
        for shortcut in marks:
            picture = plant(picture, shortcut, mark)
        return prepare_image(np.rint(picture.pixels * 255).astype(np.uint8), steps).image


def stored(seed: int, condition: Condition, params: Params, drawn: list[Drawing], lungs: NDArray[np.bool_]) -> Dataset:
    """The data set of one seed's patients under one condition, with lungs bool (n, size, size), for the project's own
    task; split by patient."""
    steps, jobs = params.images, [each.job for each in drawn]
    marks = marks_of(drawn, condition)
    images = [each.marked(condition.marks, mark, steps) for each, mark in zip(drawn, marks, strict=True)]
    people = [str(job.patient.number) for job in jobs]
    sources = [f"hospital-{mark}" for mark in marks] if condition.hospital else [_folder(job) for job in jobs]
    places = [int(digest([seed, person])[:8], 16) / 2**32 for person in people]
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    listed = [Record(j.path, source, j.path, p) for j, source, p in zip(jobs, sources, people, strict=True)]
    records = to_frame(listed).assign(
        label=[job.kind for job in jobs],
        content_hash=hashes,
        near_hash=hashes,
        frontal=1.0,
        turned=False,
        group_id=people,
        split=pd.cut(places, [-1, 0.5, 0.65, 1], labels=["train", "val", "test"]).astype(str),
    )
    index = records[["image_id", "content_hash"]].assign(left_out=None, top=0, left=0, side=0)
    return Dataset.join(records, Store(np.stack(images), lungs, index, steps_digest(steps)), params.task)


def lungs_of(drawn: list[Drawing], steps: Images, file: Path) -> NDArray[np.bool_]:
    """The lungs as the learned segmenter finds them in the pictures without a mark, bool (n, size, size): once per
    seed, since that takes as long as a training; kept in ``file``."""
    if not file.exists():
        found = [
            cv2.resize(lung_map(each.marked((), "normal", steps)), (steps.size, steps.size)) > 127
            for each in track(drawn, "finding lungs")
        ]
        np.save(file, np.stack(found))
    return np.asarray(np.load(file))


def marks_of(drawn: list[Drawing], condition: Condition) -> list[str]:
    """The mark of each picture: one of the three, as ``Condition`` says. All pictures of a patient are in one hospital;
    with ``severe``, the milder half of a class's patients is there with a strength less by 0.3, the other half with 0.3
    more."""
    if not condition.hospital:
        return [mark_of(each.job, condition.strength) for each in drawn]
    first: dict[int, Drawing] = {}
    for each in drawn:
        first.setdefault(each.job.patient.number, each)
    middle = {kind: float(np.median([e.severity for e in first.values() if e.job.kind == kind])) for kind in KINDS}
    hospitals: dict[int, str] = {}
    for number, each in first.items():
        more = 0.3 if each.severity > middle[each.job.kind] else -0.3
        strength = condition.strength + (more if condition.severe and each.job.kind != "normal" else 0)
        hospitals[number] = mark_of(each.job, strength)
    return [hospitals[each.job.patient.number] for each in drawn]


def reads(context: Audited, condition: Condition, drawn: list[Drawing]) -> float:
    """Mean change of the probability of another class, over test pictures and other classes: with the marks of that
    class, or of its hospital, minus with those of the own class."""
    order = context.task.order
    ids = set(context.dataset.split("test").records.path)
    shown = [each for each in drawn if each.job.path in ids]
    given = np.stack(
        [
            context.scores(np.stack([each.marked(condition.marks, mark, context.params.images) for each in shown]))
            for mark in order
        ]
    )
    truth = context.task.numbers([each.job.kind for each in shown])
    everyone = np.arange(len(shown))
    changes = [(given[c, everyone, c] - given[truth, everyone, c])[truth != c].mean() for c in range(len(order))]
    return float(np.mean(changes))


def drawings(seed: int, folder: Path) -> list[Drawing]:
    """The radiographs of one seed's patients, drawn once and kept in ``folder``."""
    jobs = [job for job in plan(PATIENTS, seed)[0] if job.kind != "other" and _folder(job) in FOLDERS]
    files = [folder / f"{k}.npz" for k in range(len(jobs))]
    folder.mkdir(parents=True, exist_ok=True)
    todo = [(job, file) for job, file in zip(jobs, files, strict=True) if not file.exists()]
    list(track(LocalEngine().map(_draw, todo), "drawing radiographs", len(todo)))
    out = []
    for job, file in zip(jobs, files, strict=True):
        with np.load(file) as held:
            out.append(Drawing(job, held["pixels"], float(held["severity"])))
    return out


def _draw(item: tuple[Job, Path]) -> None:
    job, file = item
    drawn = draw(job.patient, job.kind, job.style, job.seed)
    part = file.with_suffix(".part.npz")
    np.savez(part, pixels=np.rint(drawn.pixels * 255).astype(np.uint8), severity=drawn.opacity.mean())
    part.rename(file)


def _folder(job: Job) -> str:
    return job.path.split("/")[0]


def _drawn(out: Path, seed: int) -> Path:
    return out.with_suffix("") / f"{seed}-drawn"


def summary(found: list[dict[str, Any]], params: Params) -> dict[str, Any]:
    """The check's result: rates over all networks, with counts and exact 95 % intervals (Clopper and Pearson,
    Biometrika 1934; 26: 404-413), alarms per condition, and how often each test found a shortcut."""
    rates: dict[str, float | None] = {}
    counts: dict[str, dict[str, Any] | None] = {}
    for name, planted in (("hit_rate", True), ("false_alarm_rate", False)):
        alarms = [row["alarm"] for row in found if CONDITIONS[row["condition"]].planted == planted]
        rates[name], counts[name] = (sum(alarms) / len(alarms) if alarms else None), None
        if alarms:
            low, high = binomtest(sum(alarms), len(alarms)).proportion_ci(method="exact")
            counts[name] = {"alarms": sum(alarms), "networks": len(alarms), "low": float(low), "high": float(high)}
    by = {name: [row for row in found if row["condition"] == name] for name in CONDITIONS}
    tests = list(found[0]["verdicts"]) if found else []
    return {
        **rates,
        "counts": counts,
        "seeds": sorted({row["seed"] for row in found}),
        "rule_set_on_seeds": list(RULE_SET_ON),
        "per_condition": {
            name: {
                "networks": len(rows),
                "alarms": sum(row["alarm"] for row in rows),
                "found_by": {t: sum(row["verdicts"][t] == FOUND for row in rows) for t in tests},
                "macro_auroc": [round(row["macro_auroc"], 3) for row in rows],
                "reads": [round(row["reads"], 3) for row in rows],
            }
            for name, rows in by.items()
            if rows
        },
        "network": params.training.model,
        "networks": found,
    }


if __name__ == "__main__":
    main()
