"""Dice of both lung segmentation methods on the same test images, and contact sheets of their masks.

    python benchmarks/lungs.py FOLDER [--out results/lungs]

FOLDER holds collections as for `make run`, including covid-chestxray with its lung masks. Both methods get the
pipeline's pictures: 480 x 480, CLAHE, top cropped, centre square; the human masks are cropped to the same window.
Writes `dice.json`, `test.png` (outlines: human green, learned red, OpenCV blue) and `elsewhere.png` (the learned method
on training images of the other collections and on children, who are in no split).
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tables import table, track

from cxrflow.engines import LocalEngine
from cxrflow.files import Root, write_json
from cxrflow.images.registry import prepare_image
from cxrflow.images.steps import cut
from cxrflow.lungs.train import dice, masked, pair
from cxrflow.metadata.build import build_records
from cxrflow.params import Sources
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.reading import read_radiograph

_PARAMS = load_params(DEFAULTS)
STEPS = _PARAMS.images.model_copy(update={"size": 480, "equalise": "clahe", "lungs_use": "store"})
_METHODS = ("opencv", "learned")
_COLOURS = {"human": (0, 220, 0), "opencv": (255, 120, 0), "learned": (40, 40, 255)}
_TILE, _COLUMNS = 200, 8


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/lungs"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    where = Sources(root=str(asked.folder), collections=None)
    built = build_records(where, _PARAMS.metadata, _PARAMS.task, LocalEngine(), asked.out)
    rows = masked(built.records, built.root)
    figures, tiles = compare(rows[rows.split == "test"], built.root)
    write_json(asked.out / "dice.json", figures)
    cv2.imwrite(str(asked.out / "test.png"), sheet(tiles))
    cv2.imwrite(str(asked.out / "elsewhere.png"), sheet(elsewhere(built.records, built.root)))
    table(
        ("Dice coefficient", "images", "mean", "median", "10th percentile", "least", "empty"),
        [
            (name, f["images"], *(f"{f[k]:.3f}" for k in ("mean", "median", "p10", "least")), f["empty"])
            for name, f in figures.items()
        ],
    )


def compare(rows: pd.DataFrame, root: Root) -> tuple[dict[str, dict[str, float]], list[np.ndarray]]:
    """Dice figures of each method, and a tile of each image, in increasing order of the learned method's Dice."""
    values: dict[str, list[float]] = {name: [] for name in _METHODS}
    empty = dict.fromkeys(_METHODS, 0)
    tiles = []
    for row in track(list(rows.itertuples()), "comparing"):
        picture, mask = pair(root, row)
        found = {name: prepare_image(picture, STEPS.model_copy(update={"lungs": name})) for name in _METHODS}
        truth = cv2.resize(cut(mask.astype(np.uint8), found["opencv"].window), (STEPS.size,) * 2) > 0
        for name in _METHODS:
            values[name].append(dice(found[name].lungs, truth))
            empty[name] += not found[name].lungs.any()
        outlines = {"opencv": found["opencv"].lungs, "human": truth, "learned": found["learned"].lungs}
        tiles.append((values["learned"][-1], tile(found["learned"].image, outlines, f"{values['learned'][-1]:.3f}")))
    figures = {
        name: {
            "images": len(v),
            "mean": float(np.mean(v)),
            "median": float(np.median(v)),
            "p10": float(np.quantile(v, 0.1)),
            "least": float(np.min(v)),
            "empty": empty[name],
        }
        for name, v in values.items()
    }
    return figures, [picture for _, picture in sorted(tiles, key=lambda pair: pair[0])]


def elsewhere(records: pd.DataFrame, root: Root) -> list[np.ndarray]:
    """Tiles of images without human masks: some training images of the other collections, and images of children."""
    adults = records[(records.split == "train") & records.source.isin(["nih", "rsna", "actualmed", "figure1"])]
    children = records[records.paediatric & records.source.eq("radiography") & records.content_hash.notna()]
    steps = STEPS.model_copy(update={"lungs": "learned"})
    tiles = []
    for source, count in (("nih", 16), ("rsna", 16), ("actualmed", 4), ("figure1", 4), ("radiography", 16)):
        rows = children if source == "radiography" else adults[adults.source == source]
        for path in rows.path.iloc[:: max(1, len(rows) // count)][:count]:
            found = prepare_image(read_radiograph(root.file(path)), steps)
            tiles.append(tile(found.image, {"learned": found.lungs}, source))
    return tiles


def tile(image: np.ndarray, outlines: dict[str, np.ndarray], text: str) -> np.ndarray:
    """A small picture with outlines of masks and a caption."""
    small = cv2.cvtColor(cv2.resize(image, (_TILE, _TILE), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    for name, mask in outlines.items():
        shrunk = cv2.resize(mask.astype(np.uint8), (_TILE, _TILE), interpolation=cv2.INTER_NEAREST)
        borders, _ = cv2.findContours(shrunk, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(small, borders, -1, _COLOURS[name], 1, cv2.LINE_AA)
    return cv2.putText(small, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 255, 255), 1, cv2.LINE_AA)


def sheet(tiles: list[np.ndarray]) -> np.ndarray:
    """Tiles side by side, _COLUMNS in a row."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % _COLUMNS)
    return np.vstack([np.hstack(tiles[k : k + _COLUMNS]) for k in range(0, len(tiles), _COLUMNS)])


if __name__ == "__main__":
    main()
