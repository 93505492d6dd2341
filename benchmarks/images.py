"""Images per second: (a) the paper's order of steps, (b) cxrflow, (c) decoding alone, in one run on the same files.

    python benchmarks/images.py FOLDER [--images N] [--out results/bench.json]

FOLDER holds collections as for `make run`. Each figure is the median of several passes: three of (a), nine of (b) and
of (c), which are shorter and therefore noisier. The passes alternate, so that drifts of the machine's speed affect all
three. (a) runs as one process with one thread, like the paper's code; (b) and (c) use all cores. How much the pictures
of (b) differ from those of (a) is measured, too.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from paper_order import prepare
from tables import table

from cxrflow.engines import LocalEngine
from cxrflow.files import Root, write_json
from cxrflow.images.prepare import prepare_images
from cxrflow.images.registry import prepare_image
from cxrflow.params import Images
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.reading import EXTENSIONS, is_dicom, read_radiograph
from cxrflow.reading.dicom import read_dicom
from cxrflow.records import TRUTH

_ROUNDS, _REPEATS, _SHOWN = 3, 3, 6
STEPS = load_params(DEFAULTS).images.model_copy(
    update={"size": 224, "crop_top": 0.05, "equalise": "clahe", "order": "shrink_first", "lungs": "none"}
)


def decode_grey(path: str) -> int:
    """Only decode one file to grey, with the fastest decoder. Returns its number of pixels."""
    content = Path(path).read_bytes()
    if is_dicom(content):
        return read_dicom(content).grey.size
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH).size


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"))
    asked = parser.parse_args()
    files = radiographs(asked.folder)
    files = [files[k] for k in np.random.default_rng(0).permutation(len(files))[: asked.images]]
    cv2.setNumThreads(1)  # of this process, which does (a)
    engine = LocalEngine()
    figures = {
        "224": measure(files, asked.folder, engine, STEPS),
        "480_opencv": measure(files, asked.folder, engine, STEPS.model_copy(update={"size": 480, "lungs": "opencv"})),
    }
    small, large = figures["224"], figures["480_opencv"]
    bench = {
        "images": {
            "count": len(files),
            "speedup_224": small["ours"] / small["paper"],
            "speedup_480_opencv": large["ours"] / large["paper"],
            "share_of_decoding": small["ours"] / small["decoding"],
            "per_second": figures,
            "difference_224": difference(files[:100], asked.out.with_name("bench-order.png")),
        }
    }
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    write_json(asked.out, kept | bench)
    names = {"224": "224 pixels, CLAHE", "480_opencv": "480 pixels, CLAHE, OpenCV lungs"}
    rates = {names[key]: tuple(row[way] for way in ("paper", "ours", "decoding")) for key, row in figures.items()}
    table(
        (f"{len(files):,} files", *(f"({way}) images/s" for way in "abc"), "(b) / (a)", "(b) / (c)"),
        [(name, *(f"{r:.0f}" for r in (a, b, c)), f"{b / a:.1f}", f"{b / c:.0%}") for name, (a, b, c) in rates.items()],
    )
    far = bench["images"]["difference_224"]
    table(
        ("difference from (a), 224 pixels, 100 files", "grey levels of 255", "correlation"),
        [
            ("(b)", f"{far['grey_levels']:.1f}", f"{far['correlation']:.3f}"),
            ("(b) with `images.order: equalise_first`", f"{far['grey_levels_same_order']:.1f}", ""),
        ],
    )


def radiographs(folder: Path) -> list[Path]:
    """The picture files below a folder of collections, without masks."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS)
    return sorted(p for p in found if not {"annotations", TRUTH} & set(p.parts))


def difference(files: list[Path], picture: Path) -> dict[str, float]:
    """Mean absolute difference (grey levels, 0 to 255) and mean correlation of pictures prepared by (b) and by (a).

    picture  PNG to write, with a column for each of the first images: (a), (b), (b) in the paper's order, |(b) - (a)|
    """
    same_order = STEPS.model_copy(update={"order": "equalise_first"})
    found, columns = [], []
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            paper = prepare(path, STEPS.size, False, Path(folder) / "image.png").astype(np.float64)
            grey = read_radiograph(path)
            ours, same = (prepare_image(grey, steps).image.astype(np.float64) for steps in (STEPS, same_order))
            correlation = np.corrcoef(ours.ravel(), paper.ravel())[0, 1]
            found.append((np.abs(ours - paper).mean(), correlation, np.abs(same - paper).mean()))
            columns.append(np.vstack([paper, ours, same, np.abs(ours - paper)]))
    cv2.imwrite(str(picture), np.rint(np.hstack(columns[:_SHOWN])).astype(np.uint8))
    levels, correlation, same_levels = np.mean(found, axis=0)
    return {"grey_levels": levels, "correlation": correlation, "grey_levels_same_order": same_levels}


def measure(files: list[Path], root: Path, engine: LocalEngine, steps: Images) -> dict[str, float]:
    """Images per second of the paper's order, of ours and of decoding alone."""
    records = _records(files, root)
    seconds: dict[str, list[float]] = {"paper": [], "ours": [], "decoding": []}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        work: dict[str, Callable[[int], object]] = {
            "paper": lambda k: [prepare(p, steps.size, steps.lungs != "none", out / "image.png") for p in files],
            "ours": lambda k: prepare_images(records, Root(root), steps, engine, out / f"ours{k}"),
            "decoding": lambda k: list(engine.map(decode_grey, [str(p) for p in files])),
        }
        for k, name in enumerate((["paper"] + ["ours", "decoding"] * _REPEATS) * _ROUNDS):
            if name != "paper":  # start the worker processes and their imports before the clock starts
                prepare_images(records[:32], Root(root), steps, engine, out / f"awake{k}")
            started = time.perf_counter()
            work[name](k)
            seconds[name].append(time.perf_counter() - started)
    return {name: len(files) / statistics.median(times) for name, times in seconds.items()}


def _records(files: list[Path], root: Path) -> pd.DataFrame:
    """Records with the columns that ``prepare_images`` needs."""
    relative = [f"{p.relative_to(root)}" for p in files]
    return pd.DataFrame({"image_id": relative, "path": relative, "content_hash": relative, "turned": False})


if __name__ == "__main__":
    main()
