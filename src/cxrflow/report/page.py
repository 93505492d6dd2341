"""The report: one HTML page that holds everything, pictures too, and needs no network."""

import base64
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

import cxrflow
from cxrflow.bundle import Bundle, read_bundle
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.evaluate import LEDGER
from cxrflow.evaluation.ledger import times_looked_at
from cxrflow.evaluation.operating import POINTS
from cxrflow.evaluation.plots import training_curves
from cxrflow.evaluation.seen import SAME_IMAGE, SAME_PATIENT
from cxrflow.files import write_whole
from cxrflow.images.examples import step_names
from cxrflow.metadata.overlap import meeting
from cxrflow.model_card import CARD, with_verdicts
from cxrflow.params import Params, resolved_yaml
from cxrflow.records import CLASSES, NAMES, SPLITS
from cxrflow.synthetic.demo import TRUTH

_LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "opencv-python-headless", "pydicom", "scikit-learn", "dvc")
_PLOTS = ("confusion", "curves", "calibration", "within_sources")


def write_report(params: Params, results: Path) -> Path:
    """Write ``results/report/index.html``, and beside it the model card with the audit's verdicts, from what the
    earlier stages left in ``results``; returns the page's path.

    Raises CxrflowError naming the file where a stage has not run.
    """
    bundle, _ = read_bundle(results / "training" / "bundle")
    evaluation, audit = results / "evaluation", _json(results / "audit" / "audit.json")
    history = _csv(results / "training" / "history.csv")
    card = with_verdicts(_read(evaluation / CARD).decode(), audit)
    write_whole(results / "report" / CARD, card.encode())
    return _write(
        results / "report" / "index.html",
        params,
        bundle,
        Path(params.sources.root),
        results,
        evaluation,
        evaluation / LEDGER,
        external=False,
        sides=_sides(_csv(results / "metadata" / "shares.csv")),
        steps=_picture(results / "images" / "examples.png"),
        curves=Markup(training_curves(history, bundle.epoch).decode()),  # noqa: S704  drawn here, from numbers
        audit=audit,
        audit_figures=_svg(results / "audit" / "audit.svg"),
        audit_heat=_picture(results / "audit" / "where.png"),
        card=card,
        yaml=resolved_yaml(params),
    )


def write_evaluation(params: Params, bundle: Bundle, root: Path, out: Path, ledger: Path) -> Path:
    """Write ``out/index.html``, the same page without the parts that belong to the run that trained the bundle.

    root  that the paths of the records start at; out  what ``evaluate_collections`` and, in ``out/explanation``,
    ``explain`` wrote; ledger  of looks at test sets
    Returns the page's path. Raises CxrflowError naming the file where one is absent.
    """
    card = _read(out / CARD).decode()
    return _write(out / "index.html", params, bundle, root, out, out, ledger, external=True, card=card)


def _write(
    page: Path, params: Params, bundle: Bundle, root: Path, results: Path, evaluation: Path, ledger: Path, **own: Any
) -> Path:
    """Write ``page`` from what lies in ``results`` and ``evaluation``.

    own  ``card``, ``external``, whether it is of an evaluation alone, and where it is not, the parts of the run: those
         that the templates show under ``not external``
    """
    figures = _json(evaluation / "metrics.json")
    explanation = _json(results / "explanation" / "explanation.json")
    fates = _fates(_csv(results / "metadata" / "reconciliation.csv"))
    template = _environment().get_template("page.html")
    text = template.render(
        version=cxrflow.__version__,
        purpose=bundle.purpose,
        root=root,
        synthetic=(root / TRUTH).is_dir(),
        bundle=bundle,
        params=params,
        classes=CLASSES,
        names=NAMES,
        splits=SPLITS,
        metadata=_json(results / "metadata" / "summary.json"),
        fates=fates,
        meetings=meeting(_csv(results / "metadata" / "overlap.csv")).to_dict("records"),
        overlap_map=_svg(results / "metadata" / "overlap.svg"),
        seen=sum(fate["left_out"].get(why, 0) for fate in fates for why in (SAME_IMAGE, SAME_PATIENT)),
        step_names=step_names(bundle.images),
        plots={name: _svg(evaluation / "plots" / f"{name}.svg") for name in _PLOTS},
        figures=figures,
        points=POINTS,
        looked=times_looked_at(ledger, figures["test_set"]["hash"]),
        explanation=explanation,
        panels={e["picture"]: _picture(results / "explanation" / e["picture"]) for e in explanation["examples"]},
        versions={"Python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        **own,
    )
    write_whole(page, text.encode())
    return page


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cxrflow", "report"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    environment.filters["pair"] = _pair
    environment.filters["restated"] = _restated
    environment.filters["by_kind"] = lambda rows: {row["kind"]: row for row in rows}
    return environment


def _figure(figure: dict[str, Any], digits: int = 2) -> Markup:
    """A figure with its interval, or a dash with the reason."""
    if figure["value"] is None:
        return Markup('<span class="none" title="{0}">– <small>{0}</small></span>').format(figure["reason"])
    counts = f"<small class=counts>{figure['counts']}</small>" if "counts" in figure else ""
    value, low, high = (f"{figure[key]:.{digits}f}" for key in ("value", "low", "high"))
    return Markup(f'<b>{value}</b> <span class="interval">{low} to {high}</span>{counts}')  # noqa: S704  numbers and counts


def _restated(figure: dict[str, Any]) -> Markup:
    """A figure that the page restates at another prevalence: its numbers go along in full."""
    if figure["value"] is None:
        return _figure(figure)
    numbers = [figure[key] for key in ("value", "low", "high")]
    return Markup("<span data-restated='{}'>{}</span>").format(json.dumps(numbers), _figure(figure))


def _pair(name: str) -> str:
    first, second = name.split("_vs_")
    return f"{NAMES[first]} against {NAMES[second]}"


def _fates(table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each collection its rows, what was kept of each class, and each reason for leaving out with its rows."""
    out = []
    for source, rows in table.groupby("source", sort=False):
        by_fate = dict(zip(rows.fate, (int(n) for n in rows.rows), strict=True))
        kept = {name: by_fate.pop(f"kept: {name}", 0) for name in CLASSES}
        out.append({"source": source, "rows": int(rows.rows.sum()), "kept": kept, "left_out": by_fate})
    return out


def _sides(shares: pd.DataFrame) -> dict[str, dict[str, int]]:
    counted = shares.groupby(["split", "label"]).images.sum()
    return {side: {name: int(counted.get((side, name), 0)) for name in CLASSES} for side in SPLITS}


def _json(path: Path) -> Any:
    return json.loads(_read(path))


def _csv(path: Path) -> pd.DataFrame:
    _read(path)
    return pd.read_csv(path)


def _svg(path: Path) -> Markup:
    return Markup(_read(path).decode())  # noqa: S704  drawn by an earlier stage


def _picture(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(_read(path)).decode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise CxrflowError(f"report: {path} is absent; run the stages before it with `dvc repro`.") from None
