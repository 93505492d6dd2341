"""What a run left of itself for comparison: its effective parameters, its figures with intervals, and its cost."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any

from cxrflow.errors import CxrflowError
from cxrflow.evaluation.ledger import LEDGER, Look, looks_in
from cxrflow.state import read_json, read_sealed
from cxrflow.statistics.figure import Figure, average, missing
from cxrflow.text import name_text
from cxrflow.yaml_files import read_yaml

#: Files of a run, below its folder of results.
PARAMS, VAL, COST, METRICS = "params.yaml", "training/val.json", "training/cost.json", "evaluation/metrics.json"
BUNDLE = "training/bundle"
_AGAIN = "run its stage again"


@dataclass(frozen=True)
class Run:
    """A run, finished or not.

    names        the same run may have several: of an experiment, of branches, of the workspace
    state        finished, running, queued or failed
    params       effective parameters, ``section.key``: value
    val          macro AUROC on the images that its networks left out, by which runs are ranked
    val_images   12 hexadecimal digits, the same for the same images; empty if unknown
    test         macro AUROC on the test set
    within       mean AUROC of the pairs of classes within each source, on the test set
    sensitivity  on the test set, at the threshold for the wanted specificity
    test_set, bundle   SHA-256 of the images and labels that it was tested on, and of its weights; empty if not tested
    seconds      that the epochs took, on ``device``; None if unknown
    parameters   of all its networks; None if unknown
    bundle_bytes size of the bundle; None if unknown
    not_here     files that it made and that are not on this machine, or are damaged
    hashes       MD5 of its files, by which DVC knows them: the same for two entries of one run
    """

    names: tuple[str, ...]
    state: str = "finished"
    params: dict[str, Any] = field(default_factory=dict)
    val: Figure = field(default_factory=lambda: missing("not yet"))
    val_images: str = ""
    test: Figure = field(default_factory=lambda: missing("not yet"))
    within: Figure = field(default_factory=lambda: missing("not yet"))
    sensitivity: Figure = field(default_factory=lambda: missing("not yet"))
    test_set: str = ""
    bundle: str = ""
    seconds: float | None = None
    device: str = ""
    parameters: int | None = None
    bundle_bytes: int | None = None
    not_here: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its names, joined."""
        return ", ".join(self.names)


@dataclass(frozen=True)
class Found:
    """The runs that were found, the looks at test sets in any of their ledgers (with the number of equal ones), and
    what could not be read, in sentences."""

    runs: list[Run]
    looks: Counter[Look]
    unread: list[str]


def read_run(name: str, made: Callable[[str], tuple[Path, str] | None], bundle_bytes: int | None) -> Run:
    """A finished run.

    made  where a file of the run is, and its MD5, by its path below the folder of results; None if the run made none. A
          file that is not there after all is one of ``Run.not_here``.
    Raises CxrflowError if one holds other keys than those of this version.
    """
    not_here: list[str] = []
    hashes: list[str] = []

    def read(file: str, reader: Callable[[Path, str], dict[str, Any]]) -> dict[str, Any] | None:
        if (found := made(file)) is None:
            return None
        hashes.append(found[1])
        try:
            return reader(found[0], _AGAIN)
        except CxrflowError:
            not_here.append(file)
            return {}

    params, val = read(PARAMS, lambda path, _: read_yaml(path, "file of resolved parameters")), read(VAL, read_json)
    cost, metrics = read(COST, read_json), read(METRICS, read_sealed)
    try:
        return Run(
            names=(name,),
            params=flat(params or {}),
            val=_on_val(val),
            val_images=(val or {}).get("images", ""),
            **_on_test(metrics),
            seconds=(cost or {}).get("seconds"),
            device=(cost or {}).get("device", ""),
            parameters=(cost or {}).get("parameters"),
            bundle_bytes=bundle_bytes,
            not_here=tuple(not_here),
            hashes=tuple(hashes),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CxrflowError(
            f"{name}: {VAL} or {METRICS} is of another version of cxrflow; run training and evaluation again."
        ) from None


def in_folders(folders: Iterable[Path]) -> Found:
    """The runs in folders of results. Raises CxrflowError if one holds no run, or if a ledger is damaged, and as
    ``read_run``."""
    runs: list[Run] = []
    looks: Counter[Look] = Counter()
    for folder in folders:
        run = of_folder(folder, name_text(folder))
        if run is None:
            raise CxrflowError(
                f"{name_text(folder)}: no folder of results with {VAL} or {METRICS}; train or evaluate a run first."
            )
        runs.append(run)
        looks |= looks_in(folder / "evaluation" / LEDGER)
    return Found(runs, looks, [])


def of_folder(folder: Path, name: str) -> Run | None:
    """The run in a folder of results; None if there is none."""

    def made(file: str) -> tuple[Path, str] | None:
        path = folder / file
        return (path, md5(path.read_bytes(), usedforsecurity=False).hexdigest()) if path.is_file() else None

    if not (made(VAL) or made(METRICS)):
        return None
    held = [path.stat().st_size for path in (folder / BUNDLE).rglob("*") if path.is_file()]
    return read_run(name, made, sum(held) if held else None)


def flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested sections as one dict: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) and value else {f"{before}{key}": value}
    return found


def _on_val(val: dict[str, Any] | None) -> Figure:
    if not val:
        return missing("not recorded" if val is None else "file not here")
    if val["macro_auroc"] is None:
        return missing("a class is absent")
    value, low, high = (val[f"macro_auroc{end}"] for end in ("", "_low", "_high"))
    return Figure(value, low, high, val["n"], val["groups"])


def _on_test(metrics: dict[str, Any] | None) -> dict[str, Any]:
    if not metrics:
        why = missing("not tested" if metrics is None else "file not here")
        return {"test": why, "within": why, "sensitivity": why}
    within = [Figure.from_dict(each) for pairs in metrics["by_source"].values() for each in pairs.values()]
    return {
        "test": Figure.from_dict(metrics["test"]["macro_auroc"]),
        "within": average(within),
        "sensitivity": Figure.from_dict(metrics["operating_points"]["specificity"]["sensitivity"]),
        "test_set": metrics["test_set"]["hash"],
        "bundle": metrics["test_set"]["bundle"],
    }
