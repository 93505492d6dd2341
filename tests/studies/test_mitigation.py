"""Mitigations: each changes its own keys alone; figures are put together as said; the whole runs from the files."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.params import Params
from cxrflow.statistics.figure import Figure, in_words, to_json
from cxrflow.studies import mitigation as module
from cxrflow.studies.mitigation import MITIGATIONS, mitigation, print_mitigation, with_mitigation
from cxrflow.task import Task


def test_each_mitigation_changes_its_own_keys_alone(demo_params: Params) -> None:
    plain = with_mitigation(demo_params, "none")
    for name, change in MITIGATIONS.items():
        changed = with_mitigation(demo_params, name)
        for section in ("images", "training"):
            old, new = (getattr(params, section).model_dump() for params in (plain, changed))
            assert {key: new[key] for key in new if new[key] != old[key]}.items() <= change.get(section, {}).items()
        assert name == "none" or plain != changed


def test_every_figure_is_where_it_belongs(
    demo_params: Params, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within each fold all images of one class score above all of another; between the folds none does."""
    asked, follow = [], []
    figure = Figure(0.5, 0.4, 0.6, 8, 8)
    (first, high, low) = (task.positive, *(name for name in task.order if name != task.positive))

    def prepare(records: pd.DataFrame, root: Path, steps: Any, engine: Any, out: Path) -> Path:
        return out

    def cross_validate(
        store: Path, params: Params, folds: int, out: Path, ledger: Path, features: Path, to_follow: int
    ) -> dict[str, Any]:
        follow.append(to_follow)
        asked.append((store.parent.name, params.images.harmonise, params.training.robust))
        share = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
        table = pd.DataFrame({"source": "a", "group_id": [f"g{k}" for k in range(8)], "fold": [0] * 4 + [1] * 4})
        table["label"], table["image_id"] = [high, high, low, low] * 2, table.group_id
        table = table.assign(**{first: 0.0, high: share, low: 1 - share})
        out.mkdir(parents=True)
        table.to_csv(out / "predictions.csv", index=False)
        return {"test": {"macro_auroc": figure}}

    def leave_one_out(*given: Any) -> dict[str, Any]:
        follow.append(given[-1])
        return {"all": {f"{a}_vs_{b}": figure for a, b in task.pairs}}

    for function in (cross_validate, leave_one_out):
        monkeypatch.setattr(module, function.__name__, function)
    monkeypatch.setattr(module, "prepare_images", prepare)
    monkeypatch.setattr(module, "kept_records", lambda *given: (pd.DataFrame({"source": ["a", "b"]}), tmp_path))
    monkeypatch.setattr(module, "Dataset", SimpleNamespace(join=lambda records, store, task: store))
    names = ("harmonised", "group DRO")
    found = mitigation(tmp_path, demo_params, None, 3, names, tmp_path / "out")
    assert asked == [("harmonised", "percentiles", "none"), ("none", "none", "group_dro")]
    assert follow == [2 + 5, 5, 2, 0]  # of 2 mitigations with 3 folds and 2 sources
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == to_json(found)
    for name in names:
        assert found[name]["pooled"] == figure
        assert found[name]["within"][f"{high}_vs_{low}"].value == 1
        assert not found[name]["within"][f"{first}_vs_{high}"].known
        assert found[name]["left_out"][f"{first}_vs_{high}"] == figure
    monkeypatch.setenv("COLUMNS", "80")
    print_mitigation(found, task)
    printed = capsys.readouterr().out
    assert printed.count(in_words(figure, 3)) == 2 * len(names) * len(task.pairs)  # none is broken
    printed = " ".join(printed.split())
    assert "sources left out" in printed
    assert printed.count("against") == len(task.pairs)


def test_a_mitigation_that_a_frozen_network_cannot_have_stops_before_any_work(
    demo_params: Params, tmp_path: Path
) -> None:
    training = demo_params.training.model_copy(update={"freeze": "backbone", "start": "imagenet"})
    params = demo_params.model_copy(update={"training": training})
    with pytest.raises(CxrflowError, match=r"mitigation: group DRO cannot be: .*no batches for robust.* by --only"):
        mitigation(tmp_path, params, None, 3, ("none", "group DRO"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_name_is_refused_before_any_work(demo_params: Params, tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match="unknown name magic; the names are: none, lungs alone"):
        mitigation(tmp_path / "absent", demo_params, None, 3, ["magic"], tmp_path / "out")


def test_it_runs_from_the_files_of_the_collections_to_the_figures(
    short: Callable[..., Params], two_classes: Task, own: Callable[..., Path], engine: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, picture: Callable[..., np.ndarray],
) -> None:  # fmt: skip
    """Two collections of a user's own; the studies themselves are tested elsewhere."""
    sizes = []

    def study(dataset: Any, params: Params, *rest: Any) -> dict[str, Any]:
        sizes.append((len(dataset), dataset.size, sorted(set(dataset.records.source))))
        assert params.sources.root == str(root)  # which says whether the images are drawn
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "cross_validate", study)
    for folder in ("here", "there"):
        rows = [(f"{k}.png", two_classes.order[k % 2], f"{folder}{k}") for k in range(4)]
        root = own(rows, {row[0]: k + 10 * len(folder) for k, row in enumerate(rows)}, folder)
    with pytest.raises(KeyboardInterrupt):
        mitigation(root, short(two_classes), engine, 2, ["harmonised"], tmp_path / "out")
    assert sizes == [(8, 32, ["here", "there"])]
    assert (tmp_path / "out" / "harmonised" / "images" / "index.csv").exists()
