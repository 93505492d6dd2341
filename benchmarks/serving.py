"""From file to answer by PyTorch, ONNX Runtime and int8, in one run on the same files.

    python benchmarks/serving.py FOLDER [--bundle DIR] [--images N] [--out results/bench.json]

FOLDER holds collections as for `make run`. Without --bundle, the networks have random weights: what they cost does not
depend on the weights. Passes of the three ways alternate, and each figure is the median of several, so that drifts of
the machine's speed affect all three.

images/s  files are read and prepared in worker processes on all cores and scored in this process, as by
          `cxrflow predict`
p50, p99  one file after the other, from its path to its answer, in this process, as in a service without load
user time of the command `cxrflow predict` for one file, from its start to its end
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tables import table

from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import read_description, seen_rows, write_bundle
from cxrflow.bundle_networks import read_networks
from cxrflow.engines import LocalEngine, Lost
from cxrflow.exporting.export import metadata, with_metadata, write_file
from cxrflow.exporting.graph import to_onnx
from cxrflow.exporting.int8 import quantise
from cxrflow.files import write_json
from cxrflow.images.file import try_source
from cxrflow.onnx_file import ONNX
from cxrflow.params import Images
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.predictor import Predictor
from images import radiographs

_ROUNDS, _SINGLE, _CALIBRATED, _STARTS = 3, 100, 32, 3
WAYS = ("PyTorch", "ONNX Runtime", "int8")
#: The networks of the defaults and of real.yaml, each with its image size.
NETWORKS = [("resnet18", 128), ("timm:tf_efficientnet_lite0", 224)]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"))
    asked = parser.parse_args()
    files = radiographs(asked.folder)
    files = [files[k].absolute() for k in np.random.default_rng(0).permutation(len(files))[: asked.images]]
    figures = {}
    for model, size in [(None, 0)] if asked.bundle else NETWORKS:
        with tempfile.TemporaryDirectory() as place:
            source = asked.bundle or write_random(Path(place) / "random", model, size)
            bundle = read_description(source)
            name = f"{bundle.name}, {' and '.join(str(steps.size) for steps in bundle.steps)} pixels"
            figures[name] = measure(three_ways(source, bundle, files, Path(place)), files)
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    write_json(asked.out, kept | {"serving": {"count": len(files), "networks": figures}})
    heads = ("images/s", "times PyTorch's", "prepared images/s", "p50, ms", "p99, ms", "user time of the command, s")
    for name, found in figures.items():
        plain = found["PyTorch"]["per_second"]
        rows = [
            (
                way,
                f"{of['per_second']:.1f}",
                f"{of['per_second'] / plain:.2f}",
                f"{of['scored_per_second']:.1f}",
                f"{of['p50']:.0f}",
                f"{of['p99']:.0f}",
                f"{of['user']:.1f}",
            )
            for way, of in found.items()
        ]
        table((f"{name}; {len(files):,} files", *heads), rows)


def write_random(folder: Path, model: str, size: int) -> Path:
    """A bundle of one network with random weights, its batch normalisation settled on noise."""
    import pandas as pd
    import torch

    from cxrflow.models import find_model

    params = load_params(DEFAULTS)
    images = Images(**params.images.model_dump() | {"size": size})
    about = Network(model=model, images=images, mean=0.5, std=0.25, temperature=1.5, epoch=0, validation={})
    torch.manual_seed(0)
    module = find_model(model).build(images.channels, len(params.task.order)).train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(8, images.channels, size, size))
    bundle = Bundle(cxrflow="0", task=params.task, networks=(about,), sources={}, digests={})
    empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
    write_bundle(folder, [module.eval()], bundle, seen_rows(empty))
    return folder


def three_ways(source: Path, bundle: Bundle, files: list[Path], place: Path) -> dict[str, Path]:
    """The bundle without an ONNX file, with one, and with an int8 one, whose ranges are those of the first files."""
    model = to_onnx(bundle, read_networks(source, bundle))
    exact = with_metadata(model, metadata(bundle))
    prepared = [each for each in map(partial(try_source, bundle.steps), files[:_CALIBRATED]) if hasattr(each, "views")]
    sets = [np.stack(view) for view in zip(*(each.images for each in prepared), strict=True)]
    small = with_metadata(quantise(exact, bundle, sets), metadata(bundle))
    folders = {way: place / way.replace(" ", "") for way in WAYS}
    for way, folder in folders.items():
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(f"{ONNX}*"))
        if way != "PyTorch":
            write_file(folder / ONNX, exact if way == "ONNX Runtime" else small)
    return folders


def measure(folders: dict[str, Path], files: list[Path]) -> dict[str, dict[str, float]]:
    """For each way: images/s from files, and of prepared images alone; p50 and p99 (ms); user time (s)."""
    predictors = {way: Predictor(folder) for way, folder in folders.items()}
    steps = predictors["PyTorch"].bundle.steps
    ready = [("", each) for each in LocalEngine().map(partial(try_source, steps), files[:_SINGLE])]
    ready = [each for each in ready if not isinstance(each[1], Lost)]
    seconds: dict[str, dict[str, list[float]]] = {way: {"files": [], "ready": [], "single": []} for way in WAYS}
    for _ in range(_ROUNDS):
        for way, predictor in predictors.items():
            _timed(lambda p=predictor: list(p.results_of(ready[:8])))  # the first batches take longer
            seconds[way]["files"].append(_timed(lambda p=predictor: list(p.results_of(from_files(p, files)))))
            seconds[way]["ready"].append(_timed(lambda p=predictor: list(p.results_of(ready))))
            for file in files[:_SINGLE]:
                seconds[way]["single"].append(_timed(lambda p=predictor, f=file: list(p.results([f]))))
    found = {}
    for way, of in seconds.items():
        p50, p99 = (1000 * float(value) for value in np.quantile(of["single"], (0.5, 0.99)))
        found[way] = {
            "per_second": len(files) / statistics.median(of["files"]),
            "scored_per_second": len(ready) / statistics.median(of["ready"]),
            "p50": p50,
            "p99": p99,
            "user": statistics.median(user_time(folders[way], files[0]) for _ in range(_STARTS)),
        }
    return found


def from_files(predictor: Predictor, files: list[Path]) -> Iterator[tuple[str, object]]:
    """The files, prepared in worker processes."""
    for each in LocalEngine().map(partial(try_source, predictor.bundle.steps), files):
        if not isinstance(each, Lost):
            yield "", each


def user_time(bundle: Path, file: Path) -> float:
    """User time of `cxrflow predict` for one file, with its worker process (s)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with tempfile.TemporaryDirectory() as place:
        command = ["predict", str(file), "--bundle", str(bundle), "--out", f"{place}/out.csv"]
        subprocess.run([sys.executable, "-m", "cxrflow.cli", *command], check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
