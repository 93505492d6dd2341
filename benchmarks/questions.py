"""Three questions beside COVID-19, from the files of collections to the report, with no code:

    python benchmarks/questions.py FOLDER [--nih DIR] [--out DIR]

FOLDER holds collections as for `make run`; NIH's and version 1 of the Radiography database are used. DIR holds NIH's
tables, such as that of 2020, to be read in place of FOLDER's. The studies:
- effusion or infiltration against no finding: NIH's images there (`effusion.yaml`);
- tuberculosis against no finding: drawn radiographs in the layouts of Shenzhen and Montgomery
  (`tuberculosis.yaml`);
- bacterial against viral against no pneumonia in children: the Radiography database's children, which are Kermany's,
  in Kermany's layout (`children.yaml`). All its pneumonias are viral, and every second one is called bacterial
  here: a figure that tells the two apart would be an error.

Each with `short.yaml`, in a study of its own, which --out keeps.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import yaml
from tables import table, track

from cxrflow.flow.init import make_study
from cxrflow.synthetic.drawing import draw
from cxrflow.synthetic.patient import make_patient
from cxrflow.synthetic.people import make_style

PROJECT = Path(__file__).parents[1]
PNEUMONIA = "Viral Pneumonia"


def effusion(sources: Path, root: Path, nih: Path | None) -> Path:
    """A copy of NIH's images and tables."""
    folder = root / "nih-chestxray14"
    shutil.copytree(sources / folder.name / "images", folder / "images")
    for path in (nih or sources / folder.name).glob("*.csv"):
        shutil.copy(path, folder)
    return root


def children(sources: Path, root: Path, _: Path | None) -> Path:
    """The Radiography database's children under Kermany's names, each pneumonia a person."""
    database, kept = sources / "COVID-19-Radiography-Database", root / "chest_xray" / "train"
    for n, file in enumerate(sorted((database / "NORMAL").iterdir())):
        _copy(file, kept / "NORMAL" / f"IM-{n:04}-0001.jpeg")
    for n, file in enumerate(sorted((database / PNEUMONIA).iterdir())):
        word = "bacteria" if n % 2 else "virus"
        _copy(file, kept / "PNEUMONIA" / f"person{n}_{word}_{n}.jpeg")
    return root / "chest_xray"


def tuberculosis(_: Path, root: Path, __: Path | None) -> Path:
    """Drawn radiographs with a consolidation, and as many without, in the layouts of the two sets of the NLM."""
    rng = np.random.default_rng(0)
    sets = (("ChinaSet_AllFiles", "CHNCXR", 120), ("MontgomerySet", "MCUCXR", 80))
    for (folder, prefix, count), style in zip(
        sets, ("rsna-pneumonia-detection-challenge", "nih-chestxray14"), strict=True
    ):
        images, readings = (root / folder / name for name in ("CXR_png", "ClinicalReadings"))
        images.mkdir(parents=True)
        readings.mkdir()
        for n in range(count):
            sick, woman, age = n % 2, rng.random() < 0.45, int(rng.integers(18, 80))
            person = make_patient(int(rng.integers(2**31)), woman, rng)
            kind = "pneumonia" if sick else "normal"
            picture = draw(person, kind, make_style(style, rng), int(rng.integers(2**31)))
            stem = f"{prefix}_{n + 1:04}_{sick}"
            cv2.imwrite(str(images / f"{stem}.png"), np.rint(picture.pixels * 255).astype(np.uint8))
            if prefix == "CHNCXR":
                words = f"{'female' if woman else 'male'} {age}yrs\n{'right PTB' if sick else 'normal'}\n"
            else:
                seen = "infiltrate, consistent with TB" if sick else "normal"
                words = f"Patient's Sex: {'F' if woman else 'M'}\nPatient's Age: {age:03}Y\n{seen}\n"
            (readings / f"{stem}.txt").write_text(words)
    return root


def _copy(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(to), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))


STUDIES = {"effusion": effusion, "tuberculosis": tuberculosis, "children": children}


def run(name: str, sources: Path, nih: Path | None, folder: Path) -> list[tuple[str, str]]:
    """A study's figures, each with its name."""
    collections = STUDIES[name](sources, folder / "collections", nih)
    study = folder / "study"
    make_study(study, collections)
    params = {"overrides": ["short", name], "sources": {"root": str(collections.resolve())}}
    (study / "params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-m", "cxrflow.cli", "run"]
    subprocess.run(command, cwd=study, check=True, stdout=sys.stderr)
    figures = json.loads((study / "results/evaluation/metrics.json").read_text())
    return [("all", _shown(figures["test"]["macro_auroc"]))] + [
        (f"{source}: {pair.replace('_vs_', ' against ')}", _shown(figure))
        for source, pairs in figures["by_source"].items()
        for pair, figure in pairs.items()
    ]


def _shown(figure: dict[str, float]) -> str:
    if figure["value"] is None:
        return str(figure["reason"])
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f}); {figure['n']}"


def main() -> None:
    """Print a table of AUROCs on test, pooled (macro) and within each collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, metavar="FOLDER")
    parser.add_argument("--nih", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in track(STUDIES, "studies"):
            folder = (asked.out or Path(scratch)) / name
            folder.mkdir(parents=True)
            (folder / "collections").mkdir()
            rows += [(name, *figure) for figure in run(name, asked.sources, asked.nih, folder)]
    table(("question", "AUROC of", "value (95 % interval); images"), rows)


if __name__ == "__main__":
    main()
