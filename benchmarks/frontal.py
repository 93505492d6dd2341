"""Fits the check for frontal radiographs again, in a temporary folder, and prints its figures.

    python benchmarks/frontal.py FOLDER

FOLDER holds collections as for `make run`. The weights that the package ships are not replaced: see `cxrflow frontal`.
"""

import argparse
import tempfile
from pathlib import Path

from tables import table

from cxrflow.engines import LocalEngine
from cxrflow.metadata.fit_frontal import fit_frontal
from cxrflow.params_file import DEFAULTS, load_params

_SIDES = {"val": "val", "test": "test", "five_fold": "five-fold, all sides"}


_NAMES = {"frontal": "frontal", "ct": "CT", "lateral": "lateral"}


def _said(kind: str) -> str:
    """A kind, such as ``frontal: nih``, in the words of the page."""
    return _NAMES.get(kind, kind.replace("frontal: ", "– frontal, "))


def main() -> None:
    """Fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    params = load_params(DEFAULTS)
    with tempfile.TemporaryDirectory() as out:
        figures = fit_frontal(asked.folder, params, LocalEngine(), Path(out))
    sides = [figures[side] for side in _SIDES]
    flagged = sorted({kind for side in sides for kind in side["flagged"]})
    rows = [(_NAMES[kind], *(side["images"][kind] for side in sides)) for kind in _NAMES]
    rows += [
        (f"AUROC frontal against {_NAMES[other]}", *(f"{side['auroc_frontal_against'][other]:.3f}" for side in sides))
        for other in ("ct", "lateral")
    ]
    rows.append(("frontal flagged (wrongly)", *(side["frontal_flagged"] for side in sides)))
    rows += [(f"{_said(kind)} flagged", *(side["flagged"].get(kind, "") for side in sides)) for kind in flagged]
    rows.append(("upright frontal turned (wrongly)", *(side["frontal_turned"] for side in sides)))
    rows.append(("inverted frontal turned", *(side["inverted_frontal_turned"] for side in sides)))
    rows.append(("CT and lateral turned (wrongly)", *(side["ct_and_lateral_turned"] for side in sides)))
    table(("", *_SIDES.values()), rows)
    photographs = figures["photographs"]
    table(("photographs and parts of them", "flagged", "turned"), [("", photographs["flagged"], photographs["turned"])])


if __name__ == "__main__":
    main()
