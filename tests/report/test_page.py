"""What the report prints of figures, and what it says where a stage has not run."""

from pathlib import Path

import pandas as pd
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.params import Params
from cxrflow.report.page import _fates, _figure, _pair, write_report


def test_a_figure_shows_its_interval_or_its_reason_and_escapes_it() -> None:
    shown = _figure({"value": 0.5, "low": 0.25, "high": 0.755, "n": 4, "counts": "2 of 4"})
    assert "<b>0.50</b>" in shown
    assert "0.25 to 0.76" in shown or "0.25 to 0.75" in shown
    assert "2 of 4" in shown
    assert "&lt;script&gt;" in _figure({"value": None, "reason": "<script>"})


def test_names_are_the_fields_own() -> None:
    assert _pair("covid_vs_normal") == "COVID-19 against normal"


def test_fates_add_up_for_each_collection() -> None:
    rows = [("a", "kept: covid", 3), ("a", "file is absent", 2), ("b", "kept: normal", 1)]
    fates = _fates(pd.DataFrame(rows, columns=["source", "fate", "rows"]))
    assert [f["rows"] for f in fates] == [5, 1]
    assert fates[0]["kept"] == {"covid": 3, "normal": 0, "pneumonia": 0}
    assert fates[0]["left_out"] == {"file is absent": 2}


def test_a_stage_that_has_not_run_is_named(demo_params: Params, tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match="bundle"):
        write_report(demo_params, tmp_path)
