"""Runs side by side, ranked by their figure on val: table, files and picture, with the looks at each test set counted.

The test set ranks nothing. Each look at it makes the best figure on it less believable (Dwork et al., Science 2015;
349: 636-638), so that the looks stand beside it, and what luck alone would give the best of so many.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from cxrflow.csv_files import to_csv
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.learned import CHANCE
from cxrflow.evaluation.ledger import Look
from cxrflow.evaluation.plots import ACCENT, INK, SOFT, Row, forest
from cxrflow.files import write_json, write_whole
from cxrflow.statistics.figure import Figure, in_words
from cxrflow.studies.dvc_runs import dvc_runs, has_history
from cxrflow.studies.runs import Found, Run, in_folders
from cxrflow.terminal import print_fitting, say
from cxrflow.text import clean, number_of

_FIGURES = ("val", "test", "within", "sensitivity")
_ABSENT = "(absent)"
#: Runs in the picture, and characters of a parameter's value in the table.
_DRAWN, _CELL = 20, 40


@dataclass(frozen=True)
class Leaderboard:
    """Runs in the order of their rank, then those without one.

    ranks    of each run, from 1, among those with the same images on val; None without a figure there
    looks    by test set, the looks that are known, in any ledger or run, with the number of equal ones
    differ   names of the parameters that are not the same in all runs
    remarks  what a reader has to know, in sentences
    """

    runs: list[Run]
    ranks: list[int | None]
    looks: dict[str, Counter[Look]]
    differ: list[str]
    remarks: list[str]


def leaderboard(folders: Sequence[Path], out: Path) -> Leaderboard:
    """Compare the runs in ``folders`` of results or, without any, all that DVC knows of the study in the current
    folder; write ``leaderboard.csv``, ``leaderboard.json`` and ``leaderboard.svg`` into ``out``.

    Raises CxrflowError if there is no run, or if the ledger is damaged.
    """
    here = Path()
    found = dvc_runs(here) if not folders and has_history(here) else in_folders(folders or [here / "results"])
    if not found.runs:
        raise CxrflowError("There is no run here yet; run `dvc repro` or `cxrflow run`, or name folders of results.")
    board = compare(found)
    write_whole(out / "leaderboard.csv", to_csv(_table(board)))
    write_json(out / "leaderboard.json", _json(board))
    write_whole(out / "leaderboard.svg", picture(board))
    return board


def compare(found: Found) -> Leaderboard:
    """Join the entries of one run, rank, count the looks, and find the parameters that differ."""
    runs = _joined(found.runs)
    sets = {name: sum(run.val_images == name for run in runs) for name in dict.fromkeys(run.val_images for run in runs)}
    order = sorted(sets, key=lambda name: -sets[name])

    def place(run: Run) -> tuple[Any, ...]:
        return not run.val.known, order.index(run.val_images), -run.val.value if run.val.known else 0.0

    runs.sort(key=place)
    ranks: list[int | None] = []
    for run in runs:
        above = [each for each in runs if each.val.known and each.val_images == run.val_images]
        ranks.append(1 + sum(each.val.value > run.val.value for each in above) if run.val.known else None)
    looks = _looks(runs, found.looks)
    keys = dict.fromkeys(key for run in runs for key in run.params)
    differ = [key for key in keys if len({_said(run.params, key) for run in runs if run.params}) > 1]
    board = Leaderboard(runs, ranks, looks, differ, [])
    return replace(board, remarks=[*_remarks(board), *found.unread])


def expected_largest(count: int) -> float:
    """Expected value of the largest of ``count`` independent standard normal numbers: 0 of one, 1.16 of five."""
    at = np.linspace(-12, 12, 24_001)
    return float(np.trapezoid(at * np.gradient(ndtr(at) ** count, at), at))


def print_leaderboard(board: Leaderboard) -> None:
    """Print the table, a row for each run, and what has to be known of it."""
    labels = ["", "run", *(["parameters that differ"] if board.differ else [])]
    shown = ["val macro AUROC", "test macro AUROC", "looks", "within sources", "sensitivity", "cost"]
    rows = []
    for run, rank in zip(board.runs, board.ranks, strict=True):
        named = [str(rank or ""), run.name, *(["\n".join(_differing(board, run))] if board.differ else [])]
        figures = [in_words(each, 3) if each.known else each.reason for each in (run.val, run.test)]
        looks = str(board.looks[run.test_set].total()) if run.test_set else ""
        more = [in_words(each) if each.known else each.reason for each in (run.within, run.sensitivity)]
        rows.append((list(map(clean_lines, named)), [*figures, looks, *more, _cost(run)]))
    print_fitting("Runs, best on val first; 95 % intervals", labels, shown, rows)
    for remark in board.remarks:
        say(remark)


def clean_lines(text: str) -> str:
    """Text of others, control characters escaped, with its line feeds."""
    return "\n".join(map(clean, text.split("\n")))


def picture(board: Leaderboard) -> bytes:
    """Forest plot of the best runs, SVG: for each its macro AUROC on val and on the test set, and within sources."""
    rows: list[Row] = []
    for run in [run for run in board.runs if run.state == "finished"][:_DRAWN]:
        looks = f", {number_of(board.looks[run.test_set].total(), 'look')}" if run.test_set else ""
        rows += [
            (run.name, None, INK),
            ("val", run.val, INK),
            (f"test{looks}", run.test, ACCENT),
            ("test, within sources", run.within, SOFT),
        ]
    return forest([(rows, CHANCE, None, "macro AUROC, 95 % interval; best on val first; dashed: chance")])


def _joined(runs: Sequence[Run]) -> list[Run]:
    """One entry for each run: of its entries, the one with the most files here."""
    together: dict[Any, list[Run]] = {}
    for run in runs:
        together.setdefault(run.hashes or run.name, []).append(run)
    return [
        replace(
            min(same, key=lambda run: len(run.not_here)),
            names=tuple(dict.fromkeys(name for run in same for name in run.names)),
        )
        for same in together.values()
    ]


def _looks(runs: Sequence[Run], ledger: Counter[Look]) -> dict[str, Counter[Look]]:
    """The ledgers' looks by test set. A run whose own look is in none, since the folder in which its experiment ran is
    gone, adds it."""
    found: dict[str, Counter[Look]] = {}
    for look, count in ledger.items():
        found.setdefault(look.test_set, Counter())[look] = count
    for run in runs:
        if run.test_set:
            looks = found.setdefault(run.test_set, Counter())
            if run.bundle not in {look.bundle for look in looks}:
                looks[Look("", run.bundle, run.test_set)] = 1
    return found


def _remarks(board: Leaderboard) -> list[str]:
    remarks = ["Ranked by val, where each run chose its epoch; the test set ranks nothing."]
    if len({run.val_images for run in board.runs if run.val.known}) > 1:
        remarks.append(
            "The runs left out different images (val), whose figures do not compare: each set has its ranks."
        )
    tested = [run for run in board.runs if run.test_set]
    if len({run.test_set for run in tested}) > 1:
        remarks.append("The runs were tested on different test sets, whose figures do not compare.")
    for test_set in dict.fromkeys(run.test_set for run in tested):
        remarks.append(_luck(test_set, board.looks[test_set], [run for run in tested if run.test_set == test_set]))
    for run in board.runs:
        if run.not_here:
            remarks.append(
                f"{clean(run.name)}: {', '.join(run.not_here)} not on this machine, or damaged; get what a colleague "
                "pushed with `dvc pull` (of an experiment: `dvc exp pull`), or run it again."
            )
    return remarks


def _luck(test_set: str, looks: Counter[Look], tested: Sequence[Run]) -> str:
    bundles = len({look.bundle for look in looks})
    said = f"Test set {test_set[:12]}: {number_of(looks.total(), 'look')} by {number_of(bundles, 'network')}"
    best = max((run.test for run in tested if run.test.known), key=lambda figure: figure.value, default=None)
    if bundles < 2 or best is None:
        return f"{said}."
    error = (best.high - best.low) / (2 * 1.96)
    return (
        f"{said}. The best of {bundles} equally good networks would stand out by up to "
        f"{expected_largest(bundles) * error:.3f} of macro AUROC by luck alone (the expected largest of {bundles} "
        "independent errors)."
    )


def _said(params: dict[str, Any], key: str) -> str:
    value = params.get(key, _ABSENT)
    return value if isinstance(value, str) else json.dumps(value)


def _differing(board: Leaderboard, run: Run) -> list[str]:
    values = {key: _said(run.params, key) for key in board.differ} if run.params else {}
    return [f"{key}: {value if len(value) <= _CELL else value[: _CELL - 1] + '…'}" for key, value in values.items()]


def _cost(run: Run) -> str:
    said = [] if run.seconds is None else [f"{run.seconds:,.0f} s ({run.device})"]
    said += [] if run.parameters is None else [f"{run.parameters / 1e6:.1f} M parameters"]
    return ", ".join([*said, *([] if run.bundle_bytes is None else [f"{run.bundle_bytes / 1e6:.0f} MB"])]) or run.state


def _table(board: Leaderboard) -> pd.DataFrame:
    def columns(name: str, figure: Figure) -> dict[str, float]:
        return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}

    rows = []
    for run, rank in zip(board.runs, board.ranks, strict=True):
        row: dict[str, Any] = {"rank": rank, "run": run.name, "state": run.state, "val_images": run.val_images}
        for name in _FIGURES:
            row |= columns(name, getattr(run, name))
        row |= {"test_set": run.test_set, "looks": board.looks[run.test_set].total() if run.test_set else None}
        row |= {name: getattr(run, name) for name in ("seconds", "device", "parameters", "bundle_bytes")}
        rows.append(row | {key: _said(run.params, key) if run.params else "" for key in board.differ})
    table = pd.DataFrame(rows)
    whole = dict.fromkeys(("rank", "looks", "parameters", "bundle_bytes"), "Int64")
    return table.replace({np.nan: None}).astype(whole)


def _json(board: Leaderboard) -> dict[str, Any]:
    rows = []
    for run, rank in zip(board.runs, board.ranks, strict=True):
        row: dict[str, Any] = {"rank": rank, "names": list(run.names), "state": run.state}
        row |= {name: getattr(run, name).to_dict() for name in _FIGURES}
        for name in ("val_images", "test_set", "bundle", "seconds", "device", "parameters", "bundle_bytes"):
            row[name] = getattr(run, name)
        row |= {"not_here": list(run.not_here), "differ": {k: run.params[k] for k in board.differ if k in run.params}}
        rows.append(row)
    looks = {name: [look._asdict() for look in sorted(board.looks[name].elements())] for name in sorted(board.looks)}
    return {"runs": rows, "looks": looks, "remarks": board.remarks}
