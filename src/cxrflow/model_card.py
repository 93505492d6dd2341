"""The card of a model: the fields of Mitchell et al. (Model cards for model reporting, FAT* 2019), and the items of
CLAIM (Mongan, Moy and Kahn, Radiology: Artificial Intelligence 2020; 2: e200029) that a run can answer."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from cxrflow.bundle import DESCRIPTION, Bundle
from cxrflow.files import write_whole
from cxrflow.params import Training
from cxrflow.records import CLASSES, SPLITS

CARD = "model-card.md"
#: What stands in a bundle's card where evaluation puts its figures.
NOT_MEASURED = (
    "*On test: not measured yet. `cxrflow evaluation` writes a copy of this card with the figures in this place.*"
)
#: What stands in a card where the report puts the audit's verdicts.
NOT_AUDITED = (
    "*Audit: not run yet. `cxrflow report` writes a copy of this card with the verdicts of `cxrflow audit` in this "
    "place.*"
)
_LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "timm", "opencv-python-headless", "scikit-learn")


def write_card(folder: Path, records: pd.DataFrame | None = None, recipe: Training | None = None) -> None:
    """Write the card of the bundle in ``folder`` beside it.

    records, recipe   as ``card`` takes them
    """
    bundle = Bundle.model_validate_json((folder / DESCRIPTION).read_bytes())
    write_whole(folder / CARD, card(bundle, records, recipe).encode())


def card_of(folder: Path, bundle: Bundle) -> str:
    """The card in a bundle's folder; one that knows nothing of its training where there is none."""
    path = folder / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else card(bundle)


def card(bundle: Bundle, records: pd.DataFrame | None = None, recipe: Training | None = None) -> str:
    """The card as Markdown, from what is known when training ends; the same run gives the same bytes.

    records   kept rows of all splits (columns of records.py) that the split was made of, or None: unknown. Of test
              rows nothing but their counts and table columns goes into the card.
    recipe    how it was trained, or None: unknown
    """
    environment = Environment(  # noqa: S701  Markdown, not HTML
        loader=PackageLoader("cxrflow", "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    counts, people = ("", "") if records is None else (_counts(records), _people(records))
    return environment.get_template("model_card.md").render(
        bundle=bundle,
        recipe=recipe,
        counts=counts,
        people=people,
        coincide=None if records is None else _single_class(records),
        not_measured=NOT_MEASURED,
        not_audited=NOT_AUDITED,
        versions=", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
    )


def with_verdicts(text: str, audit: dict[str, Any]) -> str:
    """A card with the audit's verdicts in their place; ``audit`` as ``audit.json`` holds it."""
    rows = [[test["question"], test["verdict"], test["words"]] for test in audit["tests"].values()]
    table = markdown_table(["audit, on the split *test*", "verdict", "what was found"], rows)
    return text.replace(NOT_AUDITED, table)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; what stands in a cell cannot break it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(str(c).replace("|", r"\|").split()) for c in row) + " |" for row in lines
    )


def _counts(records: pd.DataFrame) -> str:
    rows = []
    for (split, source), part in sorted(
        records.groupby(["split", "source"]), key=lambda i: (SPLITS.index(i[0][0]), i[0])
    ):
        by_class = [f"{(part.label == name).sum():,}" for name in CLASSES]
        rows.append([split, source, *by_class, f"{len(part):,}", f"{part.group_id.nunique():,}"])
    return markdown_table(["split", "source", *CLASSES, "images", "groups of patients"], rows)


def _people(records: pd.DataFrame) -> str:
    """Age, sex and view of each split, as far as the collections' tables say."""
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


def _single_class(records: pd.DataFrame) -> list[str]:
    """The sources all of whose images are of one class, as ``source: class``."""
    classes = records.groupby("source").label.unique()
    return [f"{source}: {found[0]}" for source, found in classes.items() if len(found) == 1]
