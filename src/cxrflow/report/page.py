"""The report: one self-contained HTML page, pictures included, that loads nothing from the network."""

import platform
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from markupsafe import Markup

import cxrflow
from cxrflow.audit.words import SIGNS
from cxrflow.bundle import Bundle
from cxrflow.bundle_files import read_description
from cxrflow.evaluation.ledger import LEDGER, times_looked_at
from cxrflow.evaluation.operating import point_names
from cxrflow.evaluation.seen import SEEN
from cxrflow.files import write_whole
from cxrflow.images.examples import examples_file, step_names
from cxrflow.metadata.overlap import meeting
from cxrflow.model_card import CARD, with_starts, with_verdicts
from cxrflow.params import Params
from cxrflow.passport import described
from cxrflow.records import are_drawn
from cxrflow.report.answer import answer
from cxrflow.report.figures import audited, plots, tables, training
from cxrflow.report.filters import environment
from cxrflow.report.key import KEY, Key
from cxrflow.report.read import (
    COUNT,
    FATES,
    OVERLAP,
    SHARES,
    damaged,
    fates_of,
    of_this_version,
    read_csv,
    read_json,
    read_picture,
    read_svg,
    read_text,
    sides_of,
    with_figures,
)
from cxrflow.report.tables import labelled
from cxrflow.state import number
from cxrflow.statistics.figure import Figure, in_words

_LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "opencv-python-headless", "pydicom", "scikit-learn", "dvc")


@dataclass(frozen=True)
class _Run:
    """The parts of the page that belong to the run that trained the bundle.

    sides          number of images of each class in each split
    steps          picture of each of the image steps (``data:`` URL)
    curves         of each network the training curves (``panels``, SVG) and their numbers (``csv``)
    audit          contents of ``audit.json``
    audit_figures  forest plot of the audit (SVG); ``audit_csv``, its numbers and the audit's others
    audit_heat     heat maps of the audit (``data:`` URL)
    """

    sides: dict[str, dict[str, int]]
    steps: list[str]
    curves: list[dict[str, Any]]
    audit: dict[str, Any]
    audit_figures: Markup
    audit_csv: str
    audit_heat: str


@dataclass(frozen=True)
class _Shown:
    """The input of the page.

    root        folder of the collections
    results     folder that holds ``metadata`` and ``explanation``
    evaluation  folder that holds ``metrics.json`` and ``plots``
    ledger      file that counts looks at test sets
    card        the model card, Markdown
    run         None if the page shows an evaluation only
    """

    params: Params
    bundle: Bundle
    root: Path
    results: Path
    evaluation: Path
    ledger: Path
    card: str
    run: _Run | None


def write_report(params: Params, results: Path) -> Path:
    """Write ``results/report/index.html`` and the model card with the audit's verdicts; returns the page's path.

    results  folder that the earlier stages wrote to
    Raises CxrflowError, naming the missing file, if a stage has not run.
    """
    bundle = read_description(results / "training" / "bundle")
    evaluation, audit = results / "evaluation", read_json(results / "audit" / "audit.json")
    by_epoch = ["train_loss", "val_loss", "val_macro_auroc"]
    by_epoch += [f"val_{key}_{name}" for key in ("sensitivity", "ppv") for name in bundle.task.order]
    history_kinds = dict.fromkeys(by_epoch, number()) | dict.fromkeys(("network", "epoch"), COUNT)
    history = read_csv(results / "training" / "history.csv", history_kinds, number())
    with of_this_version():
        card = with_verdicts(read_text(evaluation / CARD), audit)
        card = with_starts(card, bundle, _met(read_json(evaluation / "metrics.json")), _told(audit))
    write_whole(results / "report" / CARD, card.encode())
    run = _Run(
        sides=sides_of(read_csv(results / "metadata" / "shares.csv", SHARES), bundle.task),
        steps=[read_picture(results / "images" / examples_file(number)) for number in range(len(bundle.steps))],
        curves=[
            training(history[history.network == k], bundle.task, None if network.frozen else network.epoch)
            for k, network in enumerate(bundle.networks, start=1)
        ],
        audit=audit,
        audit_csv=audited(with_figures(audit)),
        audit_figures=read_svg(results / "audit" / "audit.svg"),
        audit_heat=read_picture(results / "audit" / "where.png"),
    )
    root = Path(params.sources.root)
    shown = _Shown(params, bundle, root, results, evaluation, evaluation / LEDGER, card, run)
    return _write(results / "report" / "index.html", shown)


def write_evaluation(params: Params, bundle: Bundle, root: Path, out: Path, ledger: Path) -> Path:
    """Write ``out/index.html``, the same page without the parts about the run that trained the bundle.

    root    folder that the records' paths are relative to
    out     folder that ``evaluate_collections`` and, in ``out/explanation``, ``explain`` wrote to
    ledger  file that counts looks at test sets
    Returns the page's path. Raises CxrflowError, naming the file, if one is missing.
    """
    card = read_text(out / CARD)
    return _write(out / "index.html", _Shown(params, bundle, root, out, out, ledger, card, run=None))


def _met(figures: dict[str, Any]) -> list[str]:
    """Which test images the weights that each network began with may have seen, in words."""
    return [start["words"] for start in figures["starts"]]


def _told(audit: dict[str, Any]) -> list[str | None] | None:
    """How well the features that each network began with tell the source, in words; None for random weights."""
    starts = next((test["figures"]["starts"] for test in audit["tests"].values() if "starts" in test["figures"]), None)
    return starts and [None if start is None else in_words(Figure.from_dict(start)) for start in starts]


def _write(page: Path, shown: _Shown) -> Path:
    key = Key()
    with of_this_version():
        text = _page(shown, key)
    here = (shown.root, Path(shown.params.sources.root), shown.results, Path.cwd(), Path.home())
    write_whole(page, key.without_paths(text, here).encode())
    key.write(page.parent / KEY)
    return page


def _page(shown: _Shown, key: Key) -> str:
    bundle, task = shown.bundle, shown.bundle.task
    metadata, explained = shown.results / "metadata", shown.results / "explanation"
    figures = with_figures(read_json(shown.evaluation / "metrics.json"))
    explanation = read_json(explained / "explanation.json")
    counts = read_json(metadata / "summary.json")
    fates = fates_of(read_csv(metadata / "reconciliation.csv", FATES), task)
    if sum(fate["rows"] for fate in fates) != counts["rows"]:
        raise damaged(metadata / "reconciliation.csv")
    drawn = are_drawn(shown.root)
    return labelled(
        environment()
        .get_template("page.html")
        .render(
            version=cxrflow.__version__,
            versions={"Python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
            bundle=bundle,
            task=task,
            params=shown.params,
            run=shown.run,
            key=key,
            parameters=key.parameters(shown.params),
            tables_read=[key.without(said, "file", counts["files_named"]) for said in counts["tables_read"]],
            card=shown.card,
            synthetic=drawn,
            signs=SIGNS,
            answer=answer(figures, task, shown.run.audit if shown.run else None, drawn, bundle.drawn),
            metadata=counts,
            fates=fates,
            seen=[sum(fate["left_out"].get(why, 0) for fate in fates) for why in SEEN],
            meetings=meeting(read_csv(metadata / "overlap.csv", OVERLAP)).to_dict("records"),
            overlap_map=read_svg(metadata / "overlap.svg"),
            step_names=[step_names(steps) for steps in bundle.steps],
            figures=figures,
            points=point_names(task),
            looked=times_looked_at(shown.ledger, figures["test_set"]["hash"]),
            plots=plots(shown.evaluation / "plots", task),
            csv=tables(figures, with_figures(read_json(shown.evaluation / "curves.json")), task),
            next_figure=partial(next, count(1)),
            examples={
                kind: [each for each in explanation["examples"] if (each["label"] == each["prediction"]) == right]
                for kind, right in (("wrong", False), ("right", True))
            },
            inside=with_figures(explanation["inside"]),
            starts=described(bundle.starts, _met(figures), _told(shown.run.audit) if shown.run else None),
            panels={each["picture"]: read_picture(explained / each["picture"]) for each in explanation["examples"]},
        )
    )
