"""The store: what is in it, what is decoded again, what an interruption leaves."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrflow import files
from cxrflow.engines import LocalEngine
from cxrflow.errors import CxrflowError
from cxrflow.files import Root
from cxrflow.images import prepare
from cxrflow.images.registry import prepare_image
from cxrflow.images.rows import Rows
from cxrflow.params_file import DEFAULTS, load_params

STEPS = load_params(DEFAULTS).images.model_copy(update={"size": 32, "crop_top": 0.0, "equalise": "none"})


class CountingEngine(LocalEngine):
    """Works in this process and counts what it is given; stops after ``limit`` items."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.items = 0
        self.limit = limit

    def map(self, function, items):
        for item in items:
            if self.limit is not None and self.items >= self.limit:
                raise KeyboardInterrupt
            self.items += 1
            yield function(item)


@pytest.fixture
def collection(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    root = tmp_path / "root"
    (root / "here").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for k in range(6):
        path = root / "here" / f"{k}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (40, 40)).astype(np.uint8))
        rows.append({"image_id": f"here:{k}", "path": f"here/{k}.png", "content_hash": f"hash{k}", "turned": k == 5})
    return root, pd.DataFrame(rows)


def test_rows_are_the_prepared_images_in_order(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, records = collection
    store = prepare.prepare_images(records, Root(root), STEPS, LocalEngine(), tmp_path / "out")
    assert store.images.shape == (6, 32, 32)
    for k in range(6):
        grey = cv2.imread(str(root / records.path[k]), cv2.IMREAD_GRAYSCALE)
        grey = 255 - grey if records.turned[k] else grey
        assert (store.images[k] == prepare_image(grey, STEPS).image).all()
    assert store.index.image_id.tolist() == records.image_id.tolist()


def test_only_what_is_new_is_decoded(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, records = collection
    out = tmp_path / "out"
    first = prepare.prepare_images(records[:4], Root(root), STEPS, CountingEngine(), out)
    before = np.array(first.images)
    engine = CountingEngine()
    reordered = records.iloc[[5, 2, 0, 1, 3, 4]]
    store = prepare.prepare_images(reordered, Root(root), STEPS, engine, out)
    assert engine.items == 2
    assert (store.images[[2, 3, 1, 4]] == before).all()
    changed_steps = CountingEngine()
    prepare.prepare_images(records, Root(root), STEPS.model_copy(update={"crop_top": 0.2}), changed_steps, out)
    assert changed_steps.items == 6


def test_an_interrupted_run_goes_on(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, records = collection
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_images(records, Root(root), STEPS, CountingEngine(limit=4), out)
    assert not (out / "images.npy").exists()
    engine = CountingEngine()
    store = prepare.prepare_images(records, Root(root), STEPS, engine, out)
    assert engine.items == 2
    whole = prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), tmp_path / "other")
    assert (store.images[:] == whole.images[:]).all()
    assert not (tmp_path / "out.partial").exists()


def test_a_line_that_a_kill_cut_short_is_done_again(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, records = collection
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_images(records, Root(root), STEPS, CountingEngine(limit=4), out)
    journal = tmp_path / "out.partial" / "journal.jsonl"
    journal.write_text(journal.read_text()[:-5])
    engine = CountingEngine()
    store = prepare.prepare_images(records, Root(root), STEPS, engine, out)
    assert engine.items == 3
    whole = prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), tmp_path / "other")
    assert (store.images[:] == whole.images[:]).all()


class Killed(BaseException):
    """What a kill is to the code: nothing after it is done."""


@pytest.mark.parametrize(
    ("where", "name", "path"),
    [
        (prepare, "write_whole", "out.partial/index.csv"),
        (prepare, "write_sealed", "out.partial/steps.json"),
        (files.shutil, "rmtree", "out"),
        (Path, "rename", "out.partial"),
        (Path, "unlink", "out/journal.jsonl"),
        (Path, "unlink", "out/begun.json"),
    ],
)
def test_a_kill_while_the_store_takes_its_place_loses_nothing(
    collection, tmp_path, monkeypatch, where, name: str, path: str
) -> None:
    root, records = collection
    out = tmp_path / "out"
    prepare.prepare_images(records, Root(root), STEPS.model_copy(update={"crop_top": 0.2}), CountingEngine(), out)
    real = getattr(where, name)

    def killed(first, *args, **kwargs):
        if Path(first) == tmp_path / path:
            if name == "rmtree":
                (out / "images.npy").unlink()  # in the middle of it
            raise Killed
        return real(first, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, killed)
        with pytest.raises(Killed):
            prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), out)
    engine = CountingEngine()
    store = prepare.prepare_images(records, Root(root), STEPS, engine, out)
    whole = prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), tmp_path / "other")
    assert (store.images[:] == whole.images[:]).all()
    assert {"images.npy", "index.csv", "steps.json"} <= {p.name for p in out.iterdir()}
    assert not (tmp_path / "out.partial").exists()
    assert engine.items == 0


def test_a_full_disk_never_counts_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.npy"
    Rows.create(path, (2, 4), np.uint8)
    with Rows(path, writable=True) as rows:
        rows.write(1, np.arange(4, dtype=np.uint8))
        assert rows.read(1).tolist() == [0, 1, 2, 3]
        assert np.load(path).tolist() == [[0, 0, 0, 0], [0, 1, 2, 3]]
        full = SimpleNamespace(seek=lambda at: at, write=lambda content: 1, close=rows._file.close)
        monkeypatch.setattr(rows, "_file", full)
        with pytest.raises(OSError, match="No space left"):
            rows.write(0, np.arange(4, dtype=np.uint8))


def test_names_with_odd_characters_stay_one_row(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, records = collection
    records.loc[2, "image_id"] = 'here:\r"2",\r'
    store = prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), tmp_path / "out")
    assert store.index.image_id.tolist() == records.image_id.tolist()


def test_keys_in_force_alone_count() -> None:
    key = prepare.steps_digest(STEPS)
    same = STEPS.model_copy(update={"lungs_use": "crop", "clahe_clip": 3.0, "channels": 3})
    assert prepare.steps_digest(same) == key
    others = [{"size": 33}, {"equalise": "clahe"}, {"lungs": "opencv"}, {"lungs": "learned"}, {"crop_top": 0.1}]
    assert len({prepare.steps_digest(STEPS.model_copy(update=o)) for o in others} | {key}) == 6


def test_a_kill_does_not_make_an_unreadable_image_black(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, records = collection
    (root / "here" / "1.png").write_bytes(b"not a picture")
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_images(records, Root(root), STEPS, CountingEngine(limit=4), tmp_path / "out")
    store = prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), tmp_path / "out")
    assert "not an image" in store.index.left_out[1]


def test_records_without_hashes_and_steps_of_another_kind_are_refused(
    collection: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    root, records = collection
    with pytest.raises(CxrflowError, match="counted without files"):
        prepare.prepare_images(records.assign(content_hash=None), Root(root), STEPS, LocalEngine(), tmp_path / "out")


def test_an_unreadable_image_is_left_out_with_its_reason(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, records = collection
    (root / "here" / "3.png").write_bytes(b"not a picture")
    store = prepare.prepare_images(records, Root(root), STEPS, LocalEngine(), tmp_path / "out")
    reasons = store.index.set_index("image_id").left_out
    assert "not an image" in reasons["here:3"]
    assert reasons.drop("here:3").isna().all()
    assert (store.images[3] == 0).all()


def test_what_a_killed_run_left_out_is_read_again(collection: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, records = collection
    whole = (root / "here" / "1.png").read_bytes()
    (root / "here" / "1.png").write_bytes(b"not a picture")
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_images(records, Root(root), STEPS, CountingEngine(limit=4), tmp_path / "out")
    (root / "here" / "1.png").write_bytes(whole)
    store = prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), tmp_path / "out")
    assert store.index.left_out.isna().all()
    assert store.images[1].any()


def test_no_store_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(CxrflowError, match="run `cxrflow images`"):
        prepare.open_store(tmp_path)


def test_masks_are_stored_beside_the_images(tmp_path: Path) -> None:
    """Two dark ovals in a bright body; what is stored is what the steps give, new or copied from the store."""
    root = tmp_path / "root"
    (root / "here").mkdir(parents=True)
    y, x = np.mgrid[0:120, 0:90] / 100
    lungs = (((x - 0.25) / 0.12) ** 2 + ((y - 0.6) / 0.3) ** 2 < 1) | (
        ((x - 0.65) / 0.12) ** 2 + ((y - 0.6) / 0.3) ** 2 < 1
    )
    for k in range(3):
        noise = np.random.default_rng(k).normal(0, 12, lungs.shape)
        cv2.imwrite(str(root / "here" / f"{k}.png"), np.clip(np.where(lungs, 60, 180) + noise, 0, 255).astype(np.uint8))
    records = pd.DataFrame(
        [{"image_id": f"{k}", "path": f"here/{k}.png", "content_hash": f"h{k}", "turned": False} for k in range(3)]
    )
    steps = STEPS.model_copy(update={"size": 64, "lungs": "opencv", "lungs_use": "crop"})
    out = tmp_path / "out"
    prepare.prepare_images(records[:1], Root(root), steps, CountingEngine(), out)
    store = prepare.prepare_images(records, Root(root), steps, CountingEngine(limit=2), out)
    assert store.lungs is not None
    for k in range(3):
        image, mask, window = prepare_image(cv2.imread(str(root / "here" / f"{k}.png"), cv2.IMREAD_GRAYSCALE), steps)
        assert mask is not None
        assert mask.any()
        assert (store.images[k] == image).all()
        assert (store.lungs[k] == mask).all()
        assert store.window(k) == window
    without = prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), out)
    assert without.lungs is None
    assert prepare.open_store(out).lungs is None


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def less(file: Path) -> None:
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def pickled(file: Path) -> None:
    file.unlink()
    np.save(file, np.array([{"a": print}], dtype=object))


def of_floats(file: Path) -> None:
    with file.open("wb") as opened:
        np.save(opened, np.zeros((3, 32, 32), np.float32))


def holds(content: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(content)


DAMAGES = {
    "cut": cut, "less": less, "folder": folder, "pickled": pickled, "absent": Path.unlink, "floats": of_floats,
    "empty": holds(b""), "zeros": holds(bytes(500)), "deep": holds(b"[" * 100_000), "list": holds(b'{"key": ["a"]}'),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.parametrize("name", ["steps.json", "index.csv", "images.npy", "lungs.npy"])
def test_a_damaged_store_is_one_sentence_and_made_anew(collection, tmp_path: Path, name: str, damage) -> None:
    root, records = collection
    steps, out = STEPS.model_copy(update={"lungs": "opencv", "lungs_use": "store"}), tmp_path / "out"
    first = prepare.prepare_images(records[:3], Root(root), steps, CountingEngine(), out)
    pixels = np.array(first.images)
    damage(out / name)
    with pytest.raises(CxrflowError, match="run `cxrflow images`") as stopped:
        prepare.open_store(out)
    assert str(stopped.value).isprintable()
    again = prepare.prepare_images(records[:3], Root(root), steps, CountingEngine(), out)
    assert np.array_equal(again.images, pixels)
    assert prepare.open_store(out).index.image_id.tolist() == records.image_id[:3].tolist()


@pytest.mark.parametrize(
    "line",
    [
        "[9, null, [0, 0, 9]]",
        "[-1, null, [0, 0, 9]]",
        "[0, null, null]",
        "[true]",
        "{}",
        '["a", "b", null]',
        "[[",
        "\0",
    ],
)
def test_a_journal_that_says_what_cannot_be_begins_anew(collection, tmp_path: Path, line: str) -> None:
    root, records = collection
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_images(records, Root(root), STEPS, CountingEngine(limit=4), out)
    journal = tmp_path / "out.partial" / "journal.jsonl"
    journal.write_text(journal.read_text() + line + "\n")
    store = prepare.prepare_images(records, Root(root), STEPS, engine := CountingEngine(), out)
    assert engine.items == len(records)
    assert store.index.left_out.isna().all()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.parametrize("name", ["begun.json", "journal.jsonl", "images.npy"])
def test_damaged_work_in_progress_is_done_again(collection, tmp_path: Path, name: str, damage) -> None:
    root, records = collection
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_images(records, Root(root), STEPS, CountingEngine(limit=4), out)
    damage(tmp_path / "out.partial" / name)
    store = prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), out)
    whole = prepare.prepare_images(records, Root(root), STEPS, CountingEngine(), tmp_path / "other")
    assert np.array_equal(store.images, whole.images)
