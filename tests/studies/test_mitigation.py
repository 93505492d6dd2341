"""Mitigations: each changes its own keys alone; figures are put together as said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrflow.evaluation import mitigation as module
from cxrflow.params import Params
from cxrflow.studies.mitigation import MITIGATIONS, mitigation, print_mitigation, with_mitigation


def test_each_mitigation_changes_its_own_keys_alone(demo_params: Params) -> None:
    plain = with_mitigation(demo_params.images, demo_params.training, "none")
    for name, change in MITIGATIONS.items():
        changed = with_mitigation(demo_params.images, demo_params.training, name)
        for section, before, after in zip(("images", "training"), plain, changed, strict=True):
            old, new = before.model_dump(), after.model_dump()
            assert {key: new[key] for key in new if new[key] != old[key]}.items() <= change.get(section, {}).items()
        assert name == "none" or plain != changed


def test_every_figure_is_where_it_belongs(
    demo_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within each fold all normal images score above all pneumonia ones; between the folds none does."""
    asked = []
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 8, "groups": 8}

    def prepare(records: pd.DataFrame, root: Path, steps: Any, engine: Any, out: Path) -> Path:
        return out

    def cross_validate(records: Any, store: Path, steps: Any, recipe: Any, *rest: Any) -> dict[str, Any]:
        asked.append((store.parent.name, steps.harmonise, recipe.robust))
        normal = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
        table = pd.DataFrame({"source": "a", "group_id": [f"g{k}" for k in range(8)], "fold": [0] * 4 + [1] * 4})
        table["label"] = ["normal", "normal", "pneumonia", "pneumonia"] * 2
        table = table.assign(covid=0.0, normal=normal, pneumonia=1 - normal)
        rest[2].mkdir(parents=True)
        table.to_csv(rest[2] / "predictions.csv", index=False)
        return {"test": {"macro_auroc": figure}}

    def leave_one_out(*given: Any) -> dict[str, Any]:
        return {"all": {"normal_vs_pneumonia": figure, "covid_vs_normal": figure, "covid_vs_pneumonia": figure}}

    for function in (cross_validate, leave_one_out):
        monkeypatch.setattr(module, function.__name__, function)
    monkeypatch.setattr(module, "prepare_images", prepare)
    sections = demo_params.images, demo_params.training, demo_params.evaluation
    names = ("harmonised", "group DRO")
    found = mitigation(pd.DataFrame(), tmp_path, *sections, None, tmp_path / "out", names=names)
    assert asked == [("harmonised", "percentiles", "none"), ("none", "none", "group_dro")]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == found
    for name in names:
        assert found[name]["pooled"] == figure
        assert found[name]["within"]["normal_vs_pneumonia"]["value"] == 1
        assert found[name]["within"]["covid_vs_normal"]["value"] is None
        assert found[name]["left_out"]["covid_vs_normal"] == figure
    print_mitigation(found)
    assert "sources left out" in " ".join(capsys.readouterr().out.split())
