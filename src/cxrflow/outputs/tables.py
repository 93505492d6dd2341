"""Results as one CSV table, and as JSON lines."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from cxrflow.bundle import Bundle
from cxrflow.result import Result
from cxrflow.text import clean, inert


def csv_table(bundle: Bundle, results: Iterable[Result], paths: bool, burned_in_text: bool = False) -> Iterator[bytes]:
    """A table in parts: columns image, path if asked for, one per class, prediction, ``positive_at_<operating point>``,
    prediction_set, frontal, as_far, text_places, flag, note, left_out.

    Numbers have six decimals, missing values are empty, several classes or flags are joined. Texts are made inert for
    spreadsheets (text.py). ``prediction_set`` is there if the bundle has prediction sets, and ``text_places`` with
    ``burned_in_text``, if text was looked for.
    """
    named = ["image", *(["path"] if paths else [])]
    points = [f"positive_at_{name}" for name in bundle.thresholds]
    sets = ["prediction_set"] if bundle.prediction_sets else []
    text = ["text_places"] if burned_in_text else []
    last = ["frontal", "as_far", *text, "flag", "note", "left_out"]
    yield _csv([*named, *bundle.task.order, "prediction", *points, *sets, *last])
    for result in results:
        yield _csv(
            [
                result.image,
                *([result.path] if paths else []),
                *(result.scores.get(name) for name in bundle.task.order),
                result.prediction,
                *(result.positive_at.get(name) for name in bundle.thresholds),
                *([None if result.prediction_set is None else " ".join(result.prediction_set)] if sets else []),
                result.frontal,
                result.as_far,
                *([result.text_places] if text else []),
                "; ".join(result.flags),
                result.note,
                result.left_out,
            ]
        )


def json_lines(results: Iterable[Result], paths: bool) -> Iterator[bytes]:
    """Each result as a line of JSON, with the fields of ``Result``; without ``path`` unless it is asked for."""
    for result in results:
        yield result.model_dump_json(exclude=None if paths else {"path"}).encode() + b"\n"


def _csv(row: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_cell(value) for value in row])
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6f}"
    return inert(clean(value)) if isinstance(value, str) else value
