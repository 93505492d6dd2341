"""The model card: the fields of Mitchell et al. (Model cards for model reporting, FAT* 2019), and those items of CLAIM
(Mongan, Moy and Kahn, Radiology: Artificial Intelligence 2020; 2: e200029) that can be filled in from a run."""

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from cxrflow.bundle import Bundle
from cxrflow.bundle_files import read_description
from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.metadata.groups import unknown_patients
from cxrflow.params import Training
from cxrflow.passport import described
from cxrflow.records import SPLITS
from cxrflow.task import Task

CARD = "model-card.md"
#: Placeholder in a bundle's card; evaluation replaces it by the test figures.
NOT_MEASURED = "*On test: not measured yet. `cxrflow evaluation` writes a copy of this card with the figures here.*"
#: Placeholder in a bundle's card; the report replaces it by the audit's verdicts.
NOT_AUDITED = (
    "*Audit: not run yet. `cxrflow report` writes a copy of this card with the verdicts of `cxrflow audit` here.*"
)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "timm", "opencv-python-headless", "scikit-learn")


def write_card(folder: Path, records: pd.DataFrame | None = None, recipe: Training | None = None) -> None:
    """Write the card of the bundle in ``folder`` into that folder; records and recipe as for ``card``."""
    write_whole(folder / CARD, card(read_description(folder), records, recipe).encode())


def card_of(folder: Path, bundle: Bundle) -> str:
    """The card in a bundle's folder; if there is none, a new one without training data and recipe."""
    path = folder / CARD
    if not path.is_file():
        return card(bundle)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CxrflowError(f"{path}: damaged, not UTF-8 text; train the bundle again or restore the file.") from None


def card(bundle: Bundle, records: pd.DataFrame | None = None, recipe: Training | None = None) -> str:
    """The card as Markdown, with placeholders for what is not known when training ends. Equal runs give equal bytes.

    records   kept rows of all splits (columns of records.py), or None if unknown. Of the test rows, the card contains
              only counts and the distributions of age, sex and view.
    recipe    the training parameters, or None if unknown
    """
    environment = Environment(  # noqa: S701  Markdown, not HTML
        loader=PackageLoader("cxrflow", "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    counts, people = ("", "") if records is None else (_counts(records, bundle.task), _people(records))
    environment.filters["inline"] = inline
    return environment.get_template("model_card.md").render(
        bundle=bundle,
        task=bundle.task,
        recipe=recipe,
        counts=counts,
        people=people,
        coincide=None if records is None else _single_class(records, bundle.task),
        leaks=[] if records is None else unknown_patients(records),
        not_measured=NOT_MEASURED,
        not_audited=NOT_AUDITED,
        starts=starts_table(bundle),
        versions=", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
    )


def with_verdicts(text: str, audit: dict[str, Any]) -> str:
    """The card with NOT_AUDITED replaced by the audit's verdicts; ``audit`` is the content of ``audit.json``."""
    rows = [[test["question"], test["verdict"], test["words"]] for test in audit["tests"].values()]
    table = markdown_table(["audit, on the split *test*", "verdict", "what was found"], rows)
    return text.replace(NOT_AUDITED, table)


def starts_table(bundle: Bundle, met: Sequence[str] | None = None, told: Sequence[str | None] | None = None) -> str:
    """The passports of the weights that the networks began with, as a Markdown table; arguments as for
    ``passport.described``."""
    parts = described(bundle.starts, met, told)
    rows = [[title if k == 0 else "", *row] for title, lines in parts for k, row in enumerate(lines)]
    return markdown_table(["network", "about the weights before training", "what is known"], rows)


def with_starts(text: str, bundle: Bundle, met: Sequence[str], told: Sequence[str | None] | None = None) -> str:
    """The card with what evaluation (``met``) and audit (``told``) add to the passports in its table."""
    before = starts_table(bundle) if told is None else starts_table(bundle, met)
    return text.replace(before, starts_table(bundle, met, told))


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; pipes, line breaks and HTML tags in cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(inline(str(c)).replace("|", r"\|") for c in row) + " |" for row in lines)


def inline(text: str) -> str:
    """Text of others for Markdown: on one line, and its HTML tags shown instead of obeyed."""
    return _TAG.sub("&lt;", " ".join(text.split()))


def _counts(records: pd.DataFrame, task: Task) -> str:
    rows = []
    for (split, source), part in sorted(
        records.groupby(["split", "source"]), key=lambda i: (SPLITS.index(i[0][0]), i[0])
    ):
        by_class = [f"{(part.label == name).sum():,}" for name in task.order]
        rows.append([split, source, *by_class, f"{len(part):,}", f"{part.group_id.nunique():,}"])
    heads = ["split", "source", *(task.names[name] for name in task.order), "images", "groups of patients"]
    return markdown_table(heads, rows)


def _people(records: pd.DataFrame) -> str:
    """Table of age, sex and view in each split, as far as the collections give them."""
    known = records.reindex(columns=[*records.columns.union(["age", "sex", "view"])])
    rows = []
    for split in (name for name in SPLITS if (known.split == name).any()):
        part = known[known.split == split]
        age = pd.to_numeric(part.age).dropna()
        ages = f"{age.median():.0f} ({age.quantile(0.25):.0f} to {age.quantile(0.75):.0f})" if len(age) else "–"
        views = ", ".join(f"{name} {count:,}" for name, count in _tally(part["view"]))
        sexes = ", ".join(f"{name} {count:,}" for name, count in _tally(part.sex))
        rows.append([split, ages, f"{len(part) - len(age):,}", sexes, views])
    return markdown_table(["split", "age, median (quartiles)", "age unknown", "sex", "view"], rows)


def _tally(column: pd.Series) -> list[tuple[str, int]]:
    counted = column.astype(object).where(column.notna(), "unknown").astype(str).value_counts()
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))  # type: ignore[arg-type]


def _single_class(records: pd.DataFrame, task: Task) -> list[str]:
    """The sources whose images are all of one class, as ``source: class``."""
    classes = records.groupby("source").label.unique()
    return [f"{source}: {task.names[found[0]]}" for source, found in classes.items() if len(found) == 1]
