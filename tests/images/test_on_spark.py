"""The same bytes, whether this machine prepares the images or a Spark cluster does, and if it loses a worker."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.engines import LocalEngine
from cxrflow.files import Root
from cxrflow.images.prepare import prepare_images
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.records import COLUMNS

PROJECT = Path(__file__).parents[2]
FILES = ("images.npy", "lungs.npy", "index.csv")


def written(records: pd.DataFrame, root: Path, steps, engine, out: Path) -> list[bytes]:
    """What an engine leaves of the images of ``records``."""
    prepare_images(records, Root(root), steps, engine, out)
    return [(out / name).read_bytes() for name in FILES]


def records_of(root: Path, files: list[Path]) -> pd.DataFrame:
    """As much of the records of ``files`` as preparing them takes."""
    paths = [file.relative_to(root).as_posix() for file in files]
    content = [f"hash of {path}" for path in paths]
    turned = [number % 3 == 0 for number in range(len(paths))]
    return pd.DataFrame({"image_id": paths, "path": paths, "content_hash": content, "turned": turned})


def test_pictures_are_the_same_bytes(own, picture, demo_params, spark, tmp_path, monkeypatch) -> None:
    deep = picture(5).astype(np.uint16) * 16  # 12 bits in 16
    root = own([], {f"{seed}.png": seed for seed in range(11)} | {"deep.png": deep})
    (root / "mine" / "3.png").write_bytes(b"not a picture")
    monkeypatch.chdir(tmp_path)
    relative = root.relative_to(tmp_path)  # as in params.yaml; executors have another working folder
    records = records_of(relative, sorted(relative.glob("mine/*.png")))
    assert len(records) == 12
    (tmp_path / "steps.py").write_text("def inverted(image):\n    return 255 - image\n")  # which travels along
    changes = {"lungs": "opencv", "lungs_use": "crop", "extra": ("steps.py:inverted",)}
    steps = demo_params.images.model_copy(update=changes)
    local = written(records, relative, steps, LocalEngine(), tmp_path / "local")
    assert written(records, relative, steps, spark, tmp_path / "spark") == local
    index = pd.read_csv(tmp_path / "spark" / "index.csv").set_index("image_id")
    assert index.left_out.dropna().index.tolist() == ["mine/3.png"]


def test_real_files_are_the_same_bytes(real_data, demo_params, spark, tmp_path) -> None:
    root = real_data / "sources"
    kinds = (".png", ".jpg", ".jpeg", ".dcm")
    files = []
    for collection in sorted(root.iterdir()):
        pictures = sorted(file for file in collection.rglob("*") if file.suffix.lower() in kinds)
        files += pictures[:: -(-len(pictures) // 5)]
    assert len(files) > 20
    assert any(file.suffix == ".dcm" for file in files)
    records = records_of(root, files)
    steps = demo_params.images.model_copy(update={"lungs": "learned", "lungs_use": "both"})
    local = written(records, root, steps, LocalEngine(), tmp_path / "local")
    assert written(records, root, steps, spark, tmp_path / "spark") == local
    assert pd.read_csv(tmp_path / "spark" / "index.csv").left_out.isna().all()


def test_the_command_hands_its_work_to_the_engine_that_it_names(own, engine, spark, tmp_path, monkeypatch) -> None:
    root = own([["0.png", "normal", "p"]], {f"{k}.png": k for k in range(12)})
    added = {"source": "mine", "label": "normal", "split": "train", "paediatric": False, "group_id": "mine:p"}
    hashes = [f"{number:064x}" for number in range(12)]
    records = records_of(root, sorted(root.glob("mine/*.png"))).assign(**added, content_hash=hashes)
    (tmp_path / "data" / "metadata").mkdir(parents=True)
    records.reindex(columns=COLUMNS).to_csv(tmp_path / "data" / "metadata" / "records.csv", index=False)
    values = yaml.safe_load(DEFAULTS.read_text())
    values["sources"]["root"], values["images"]["lungs"] = "root", "opencv"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    asked = []

    @contextmanager
    def open_engine(params):
        """The session's cluster: a process can have only one."""
        asked.append(params.engine)
        yield spark

    monkeypatch.setattr("cxrflow.engines.open_engine", open_engine)
    done = CliRunner().invoke(app, ["images", "--engine", "spark"], catch_exceptions=False)
    assert done.exit_code == 0
    assert asked == ["spark"]
    (images,) = (tmp_path / "data" / "images").iterdir()
    local = written(records, root, load_params(Path("params.yaml")).images, engine, tmp_path / "local")
    assert [(images / name).read_bytes() for name in FILES] == local


def test_a_worker_killed_in_the_middle_changes_nothing(
    own, picture, demo_params, spark, spark_cluster, tmp_path
) -> None:
    root = own([], {f"{seed:02}.png": picture(seed) for seed in range(32)})
    records = records_of(root, sorted(root.glob("mine/*.png")))
    steps = demo_params.images.model_copy(update={"lungs": "learned"})
    local = written(records, root, steps, LocalEngine(), tmp_path / "local")
    taken = 0

    class Losing:
        """Kills a worker of the cluster, with its executor, when the first results have come and others are due."""

        def map(self, function, items):
            nonlocal taken
            for result in spark.map(function, items):
                taken += 1
                if taken == 1:
                    worker = spark_cluster.workers.pop("two")
                    os.killpg(worker.pid, signal.SIGKILL)
                    worker.wait()
                yield result

    spark_cluster.add("three")  # takes over, so that later tests have two workers again
    assert written(records, root, steps, Losing(), tmp_path / "spark") == local
    assert taken == len(records)
    assert pd.read_csv(tmp_path / "spark" / "index.csv").left_out.isna().all()
