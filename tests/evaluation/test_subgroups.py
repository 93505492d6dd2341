"""The figures of parts of a test set, counted by hand."""

import json

import numpy as np
import pytest

from cxrflow.evaluation.subgroups import subgroups
from cxrflow.statistics.figure import missing, to_json


def test_parts_are_told_by_what_is_known(task, score) -> None:
    flu, clear, other = range(3)
    scored = score(
        task,
        [flu, flu, flu, clear, other, clear],
        np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])[[flu, clear, flu, clear, other, flu]],
        view=["PA", "AP Supine", None, "AP erect", "L", "pa"],
        sex=["F", "M", None, "F", "M", "F"],
        age=[17.9, 18, np.nan, 59.5, 80, 79],
        day=[3, 4, np.nan, 2, np.nan, np.nan],
        source=["b", "a", "a", "b", "a", "a"],
    )
    parts = subgroups(scored)
    counts = {name: {part: f["n"] for part, f in found.items()} for name, found in parts.items()}
    assert counts["by_collection"] == {"a": 4, "b": 2}
    assert counts["by_view"] == {"PA": 2, "AP": 2, "other": 1, "unknown": 1}
    assert counts["by_sex"] == {"F": 3, "M": 2, "unknown": 1}
    assert counts["by_age"] == {
        "under 18": 1, "18 to 39": 1, "40 to 59": 1, "60 to 79": 1, "80 and over": 1, "unknown": 1,
    }  # fmt: skip
    assert counts["by_day"] == {"day 0 to 3": 1, "day 4 to 7": 1, "unknown": 1}  # of the positive class alone
    assert parts["by_collection"]["a"]["images"] == {"flu": 2, "clear": 1, "other": 1}
    assert parts["by_day"]["day 4 to 7"]["sensitivity"].value == 0
    assert parts["by_collection"]["a"]["sensitivity"].value == 0.5
    assert parts["by_collection"]["a"]["specificity"].value == 0.5
    assert parts["by_view"]["PA"]["accuracy"].value == 0.5
    assert parts["by_view"]["other"]["sensitivity"] == missing("no influenza image in the set")
    written = to_json(parts)
    assert json.loads(json.dumps(written, allow_nan=False)) == written


def test_a_part_has_the_figures_of_its_images_alone(any_task, random_case) -> None:
    scored = random_case(any_task)
    found = subgroups(scored)["by_collection"]
    assert list(found) == ["a", "b"]
    alone = subgroups(scored.where(scored.sources == "a"))["by_collection"]
    assert alone == {"a": found["a"]}
    positive = scored.positive & (scored.sources == "a")
    called = scored.predicted == any_task.positive_column
    assert found["a"]["sensitivity"].value == pytest.approx(called[positive].mean())
    assert found["a"]["images"] == {
        name: int(((scored.labels == name) & (scored.sources == "a")).sum()) for name in any_task.order
    }
    assert found["b"]["auroc"] == missing(f"no {any_task.positive_name} image in the set")
