"""Two runs side by side on one page: the parameters that differ, figures, verdicts and pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import cxrflow
from cxrflow.audit.words import SIGNS
from cxrflow.bundle import Bundle
from cxrflow.bundle_files import read_description
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.differences import SAME_WEIGHTS, differences
from cxrflow.evaluation.predictions import read_predictions
from cxrflow.files import write_whole
from cxrflow.params import Params
from cxrflow.records import are_drawn
from cxrflow.report.filters import environment
from cxrflow.report.key import KEY, Key
from cxrflow.report.read import of_this_version, read_json, read_picture, with_figures
from cxrflow.report.tables import labelled
from cxrflow.statistics.figure import Figure
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.text import name_text
from cxrflow.yaml_files import read_yaml

_OF_A_CLASS = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "auroc": "AUROC"}


@dataclass(frozen=True)
class _Side:
    """A run: its folder of results, and what the page shows of it. ``drawn``: its images are the demo's."""

    folder: Path
    params: Params
    bundle: Bundle
    drawn: bool
    figures: dict[str, Any]
    audit: dict[str, Any]
    examples: list[dict[str, Any]]


def write_comparison(a: Path, b: Path, out: Path) -> Path:
    """Write ``out/index.html``, runs A and B side by side, with ``key.csv``; returns the page's path.

    a, b  folders of results, each of a whole run (``dvc repro``)
    Differences are B - A, paired, and only where both were tested on the same images. Raises CxrflowError if a file is
    missing, or if the runs ask other questions.
    """
    with of_this_version():
        sides = [_read(folder) for folder in (a, b)]
        if not sides[0].bundle.task.same_question(sides[1].bundle.task):
            raise CxrflowError(
                f"{a} and {b}: their classes, findings or positive class differ; compare runs of one task."
            )
        key = Key()
        page = _page(sides, key)
    here = [part for side in sides for part in (side.folder, Path(side.params.sources.root))]
    write_whole(out / "index.html", key.without_paths(page, [*here, Path.cwd(), Path.home()]).encode())
    key.write(out / KEY)
    return out / "index.html"


def _read(folder: Path) -> _Side:
    if not folder.is_dir():
        raise CxrflowError(f"{name_text(folder)}: no such folder; --compare takes the results of two runs.")
    if (folder / "index.html").exists() and not (folder / "training").exists():
        raise CxrflowError(f"{folder}: no run, but a page beside its figures; --compare takes the results of two runs.")
    # The file is the result of the overrides that it names; they are not applied again.
    params = Params.model_validate(read_yaml(folder / "params.yaml", "file of resolved parameters"))
    bundle = read_description(folder / "training" / "bundle")
    return _Side(
        folder=folder,
        params=params,
        bundle=bundle,
        drawn=bundle.drawn or are_drawn(folder.absolute().parent / params.sources.root),
        figures=with_figures(read_json(folder / "evaluation" / "metrics.json")),
        audit=read_json(folder / "audit" / "audit.json"),
        examples=read_json(folder / "explanation" / "explanation.json")["examples"],
    )


def _page(sides: list[_Side], key: Key) -> str:
    a, b = sides
    pictures = [
        [each | {"url": read_picture(side.folder / "explanation" / each["picture"])} for each in side.examples]
        for side in sides
    ]
    paired = _paired(a, b)
    questions = dict.fromkeys(name for side in sides for name in side.audit["tests"])
    return labelled(
        environment()
        .get_template("compare.html")
        .render(
            version=cxrflow.__version__,
            task=a.bundle.task,
            sides=list(zip("AB", sides, pictures, strict=True)),
            same=_same_images(a, b),
            paired=bool(paired),
            same_weights=SAME_WEIGHTS if _weights(a) == _weights(b) else None,
            params=differing(*(yaml.safe_load(key.parameters(side.params)) for side in sides)),
            rows=_rows(a, b, paired),
            questions=[[side.audit["tests"].get(name) for side in sides] for name in questions],
            signs=SIGNS,
            key=key,
        )
    )


def differing(a: dict[str, Any], b: dict[str, Any], under: str = "") -> list[tuple[str, Any, Any]]:
    """The keys, joined by dots, whose values differ, with both; None for a key that one of them has not."""
    found: list[tuple[str, Any, Any]] = []
    for name in dict.fromkeys([*a, *b]):
        first, second = a.get(name), b.get(name)
        if isinstance(first, dict) and isinstance(second, dict):
            found += differing(first, second, f"{under}{name}.")
        elif first != second:
            found.append((f"{under}{name}", first, second))
    return found


def _rows(a: _Side, b: _Side, paired: dict[str, dict[str, Figure]]) -> list[tuple[str, Figure, Figure, Figure | None]]:
    """Name, A and B of each figure on test, and the paired difference where it is computed."""
    task, sides = a.bundle.task, (a.figures, b.figures)

    def row(said: str, found: list[Figure], difference: str = "") -> tuple[str, Figure, Figure, Figure | None]:
        return said, found[0], found[1], paired[difference]["difference"] if difference in paired else None

    rows = [row("Macro AUROC, pooled", [side["test"]["macro_auroc"] for side in sides], "macro_auroc")]
    rows.append(row("Macro AUROC without a pixel", [side["baseline"]["macro_auroc"] for side in sides]))
    for name in ("sensitivity", "specificity"):
        found = [side["operating_points"]["specificity"][name] for side in sides]
        rows.append(row(f"{task.positive_name} {name} at the wanted specificity", found, name))
    for name in task.order:
        for figure, said in _OF_A_CLASS.items():
            of_positive = "positive_auroc" if (name, figure) == (task.positive, "auroc") else ""
            rows.append(row(f"{task.names[name]} {said}", [side["test"][name][figure] for side in sides], of_positive))
    return rows


def _weights(side: _Side) -> str | None:
    return side.bundle.digests.get("weights")


def _same_images(a: _Side, b: _Side) -> bool:
    return bool(a.figures["test_set"]["hash"] == b.figures["test_set"]["hash"])


def _paired(a: _Side, b: _Side) -> dict[str, dict[str, Figure]]:
    """``differences`` of the stored probabilities; empty if the test images, or their identifiers, differ."""
    if not _same_images(a, b):
        return {}
    task, how = a.bundle.task, a.params.evaluation
    tables = [read_predictions(side.folder / "evaluation" / "predictions.csv", task) for side in (a, b)]
    first, second = (table.sort_values("image_id", ignore_index=True) for table in tables)
    if not np.array_equal(first.image_id, second.image_id):
        return {}
    scored = [
        Scored(task, first, table[list(task.order)].to_numpy(), Bootstrap(how.bootstrap, how.seed))
        for table in (first, second)
    ]
    points = a.bundle.thresholds.get("specificity"), b.bundle.thresholds.get("specificity")
    return differences(scored[0], scored[1], points)
