"""The demo: what it writes is what the real collections look like, and its truth is true."""

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.metadata.near import near_pairs
from cxrflow.metadata.near_hash import SAME, SIMILAR, agreement, near_hash, thumbnail
from cxrflow.params import Demo
from cxrflow.reading import read, to_uint8
from cxrflow.reading.frontal import FLAG
from cxrflow.records import to_frame
from cxrflow.sources import SOURCES, find_collections, read_collections
from cxrflow.sources.collection import Options
from cxrflow.synthetic.demo import write_demo
from cxrflow.synthetic.drawing import Style, draw
from cxrflow.synthetic.layouts import plan
from cxrflow.synthetic.patient import make_patient
from cxrflow.synthetic.people import SHARES

#: What is drawn: synthetic/drawing.py.
KINDS = ("covid", "normal", "pneumonia")
PARAMS = Demo(patients=60, seed=3, shortcut="none", shortcut_strength=1.0)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "made"
    write_demo(out, PARAMS)
    return out


@pytest.fixture(scope="module")
def real_sources() -> Path:
    place = os.environ.get("CXR_REAL_DATA")
    if not place:
        pytest.skip("CXR_REAL_DATA is not set")
    root = Path(place)
    return root / "sources" if (root / "sources").is_dir() else root


@pytest.fixture(scope="module")
def records(demo, demo_params) -> pd.DataFrame:
    root, found = find_collections(demo)
    read = list(read_collections(root, found, Options()))
    labels = [demo_params.task.label_of(record.findings) for record in read]
    reasons = [record.left_out or reason for record, (_, reason) in zip(read, labels, strict=True)]
    return to_frame(read).assign(label=[label for label, _ in labels], left_out=pd.Series(reasons, dtype=object))


@pytest.fixture(scope="module")
def kept(demo, records) -> pd.DataFrame:
    usable = records[records.left_out.isna()]
    return usable[[(demo / path).is_file() for path in usable.path]]


def _grey(path: Path) -> np.ndarray:
    """Grey values, 0 (dark, air) to 1."""
    if path.suffix == ".dcm":
        data = pydicom.dcmread(path)
        grey = data.pixel_array / (2**data.BitsStored - 1)
        return 1 - grey if data.PhotometricInterpretation == "MONOCHROME1" else grey
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    grey = image / np.iinfo(image.dtype).max
    return grey[..., 0] if grey.ndim == 3 else grey


def _truth(demo: Path, path: str) -> tuple[np.ndarray, np.ndarray]:
    masks = [demo / "truth" / name / Path(path).with_suffix(".png") for name in ("lungs", "opacity")]
    lungs, opacity = (cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) for mask in masks)
    assert set(np.unique(lungs)) == {0, 255}
    assert set(np.unique(opacity)) <= {0, 255}
    return lungs > 0, opacity > 0


def _sides(lungs: np.ndarray, opacity: np.ndarray) -> list[float]:
    """Share of each lung, from left to right in the picture, that the opacity covers."""
    count, parts, stats, centres = cv2.connectedComponentsWithStats(lungs.astype(np.uint8))
    two = sorted(range(1, count), key=lambda i: -stats[i, cv2.CC_STAT_AREA])[:2]
    return [float(opacity[parts == i].mean()) for i in sorted(two, key=lambda i: centres[i][0])]


def _digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class EveryFifth:
    """An engine that draws every fifth image, of all collections, and nothing of the others."""

    def __init__(self, limits: None) -> None:
        pass

    def map(self, function, jobs):
        for number, job in enumerate(jobs):
            yield function(job) if number % 5 == 0 else []


def test_equal_params_give_equal_bytes_and_replace_the_earlier_demo(demo, tmp_path, monkeypatch):
    out = tmp_path / "again"
    (out / "truth").mkdir(parents=True)
    (out / "stale.txt").write_text("of an earlier demo")
    monkeypatch.setattr("cxrflow.synthetic.demo.LocalEngine", EveryFifth)
    write_demo(out, PARAMS)
    again, before = _digests(out), _digests(demo)
    jobs, tables = plan(PARAMS.patients, PARAMS.seed)
    boxes = "rsna-pneumonia-detection-challenge/stage_2_train_labels.csv"
    drawn = {job.path for job in jobs[::5]} | set(tables)
    assert {name for name in again if not name.startswith("truth")} == drawn
    assert sum(name.startswith("truth") for name in again) == 2 * sum(job.kind != "other" for job in jobs[::5])
    assert len({name.split("/")[0] for name in drawn}) == 7
    assert again.pop(boxes) != before[boxes]  # images that were not drawn have no boxes
    assert again.items() <= before.items()
    ours, theirs = (pd.read_csv(folder / boxes) for folder in (out, demo))
    known = [Path(job.path).stem for job in jobs[::5]]
    ours, theirs = (table[table.patientId.isin(known)].reset_index(drop=True) for table in (ours, theirs))
    assert ours.x.notna().any()
    pd.testing.assert_frame_equal(ours, theirs)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_another_seed_gives_other_people():
    first, other = (plan(60, seed)[0] for seed in (3, 4))
    assert not {job.patient.number for job in first} & {job.patient.number for job in other}


def test_leaves_a_folder_of_something_else_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CxrflowError, match="something other than a demo"):
        write_demo(tmp_path, PARAMS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_every_collection_is_there_with_every_class_it_can_have(kept):
    have = kept.groupby("source")["label"].agg(set).to_dict()
    drawn = {c.name for c in SOURCES.values() if not set(SHARES).isdisjoint(c.folders)}
    expected = {name: set(KINDS) for name in drawn | {"demo-hospital"}}
    expected |= {"rsna": {"normal", "pneumonia"}, "nih": {"normal", "pneumonia"}}
    assert have == expected
    adults = kept[~kept.paediatric]
    shares = adults.label.value_counts(normalize=True)
    assert shares.min() > 0.2
    assert set(kept[kept.paediatric].source) == {"radiography"}


def test_every_listed_image_is_there_but_for_the_deliberate_absences(demo, records):
    absent = [path for path in records.path if not (demo / path).is_file()]
    assert absent == [
        "covid-chestxray-dataset/volumes/case-1-dcm.nii.gz",
        "covid-chestxray-dataset/images/case-2-lost.jpg",
    ]
    listed = set(records.path)
    images = {
        path.relative_to(demo).as_posix()
        for path in demo.rglob("*")
        if path.suffix in (".png", ".jpg", ".jpeg", ".dcm") and "truth" not in path.relative_to(demo).parts
    }
    assert images <= listed


@pytest.mark.parametrize(
    ("table", "folder"),
    [
        ("metadata.csv", "covid-chestxray-dataset"),
        ("metadata.csv", "Figure1-COVID-chestxray-dataset"),
        ("metadata.csv", "Actualmed-COVID-chestxray-dataset"),
        ("COVID-19.metadata.xlsx", "COVID-19-Radiography-Database"),
        ("Viral Pneumonia.matadata.xlsx", "COVID-19-Radiography-Database"),
        ("stage_2_train_labels.csv", "rsna-pneumonia-detection-challenge"),
        ("stage_2_detailed_class_info.csv", "rsna-pneumonia-detection-challenge"),
        ("nih_mapping.csv", "rsna-pneumonia-detection-challenge"),
        ("Data_Entry_2017.csv", "nih-chestxray14"),
    ],
)
def test_columns_are_those_of_the_real_table(demo, real_sources, table, folder):
    def columns(root: Path) -> list[str]:
        path = root / folder / table
        return list(pd.read_excel(path) if path.suffix == ".xlsx" else pd.read_csv(path, encoding="latin-1"))

    assert columns(demo) == columns(real_sources)


def test_the_quirks_of_the_real_collections_are_there(demo, records):
    reasons = records.groupby("source")["left_out"].agg(lambda column: column.notna().sum())
    assert reasons["covid-chestxray"] == 5  # three CT, two lateral
    assert reasons["figure1"] == 1
    assert reasons["rsna"] >= 1
    assert reasons["nih"] >= 1
    files = sorted((demo / "rsna-pneumonia-detection-challenge" / "stage_2_train_images").glob("*.dcm"))
    kinds = {(d.PhotometricInterpretation, d.BitsStored, d.BitsAllocated) for d in map(pydicom.dcmread, files)}
    assert kinds == {("MONOCHROME2", 8, 8), ("MONOCHROME1", 8, 8), ("MONOCHROME2", 12, 16)}
    people = records[records.source.isin(["rsna", "nih"])].groupby("patient_id")["source"].nunique()
    assert (people == 2).sum() >= 3
    pages = {name: set(rows.url.dropna()) for name, rows in records.groupby("source")}
    assert pages["radiography"] & pages["covid-chestxray"]
    assert pages["radiography"] - pages["covid-chestxray"]


def test_truth_has_the_size_of_the_image_and_lungs_are_dark(demo, kept):
    contrasts = []
    for path in kept.path:
        grey = _grey(demo / path)
        lungs, opacity = _truth(demo, path)
        assert lungs.shape == opacity.shape == grey.shape
        assert 0.08 < lungs.mean() < 0.5
        assert not (opacity & ~lungs).any()
        middle = grey.shape[1] // 2
        between = np.zeros_like(lungs)
        rows = np.flatnonzero(lungs.any(1))
        between[rows[0] + len(rows) // 2 : rows[-1], middle - 15 : middle + 15] = True
        contrasts.append(grey[between & ~lungs].mean() - grey[lungs & ~opacity].mean())
    assert min(contrasts) > 0.05
    assert np.mean(contrasts) > 0.25


def test_people_look_as_different_as_real_ones(demo, kept):
    """Of 1,191 real radiographs, the best agreement with one of another person is 0.67 in the median, 0.83 at most."""
    jobs = {job.path: job for job in plan(PARAMS.patients, PARAMS.seed)[0]}
    people, pictures = np.array([(jobs[path].patient.number, jobs[path].seed) for path in kept.path]).T
    seen = [read(demo / path) for path in kept.path]
    assert min(reading.frontal for reading in seen) >= FLAG
    prints = [thumbnail(to_uint8(reading.grey)).tobytes() for reading in seen]
    hashes = np.array([near_hash(content) for content in prints])
    best = [agreement([p], hashes[people != who].tolist())[0] for p, who in zip(prints, people, strict=True)]
    assert 0.6 < np.median(best) < 0.72
    assert max(best) < SIMILAR
    pairs = near_pairs(prints)
    assert (people[pairs[:, 0]] == people[pairs[:, 1]]).all()
    copies = {(a, b) for b in range(len(pictures)) for a in range(b) if pictures[a] == pictures[b]}
    assert copies
    assert copies <= set(map(tuple, pairs.tolist()))
    assert all(agreement([prints[a]], [hashes[b]])[0] >= SAME for a, b in copies)


def test_disease_lies_where_its_class_says(demo, kept):
    for row in kept.itertuples():
        lungs, opacity = _truth(demo, row.path)
        left, right = _sides(lungs, opacity)
        if row.label == "normal":
            assert not opacity.any(), row.path
        elif row.label == "covid":
            assert min(left, right) > 0, row.path
        else:
            assert max(left, right) > 0, row.path
            assert min(left, right) == 0, row.path


def test_the_boxes_of_rsna_enclose_the_opacity(demo):
    folder = demo / "rsna-pneumonia-detection-challenge"
    labels = pd.read_csv(folder / "stage_2_train_labels.csv")
    assert labels.groupby("patientId").Target.nunique().max() == 1
    assert labels[labels.Target == 0].x.isna().all()
    for key, boxes in labels[labels.Target == 1].groupby("patientId"):
        _, opacity = _truth(demo, f"{folder.name}/stage_2_train_images/{key}.dcm")
        opacity = np.kron(opacity, np.ones((2, 2), opacity.dtype))  # the boxes are in pixels of 1024 x 1024
        inside = np.zeros_like(opacity)
        for box in boxes[["x", "y", "width", "height"]].astype(int).itertuples(index=False):
            assert box.x + box.width <= opacity.shape[1]
            assert box.y + box.height <= opacity.shape[0]
            inside[box.y : box.y + box.height, box.x : box.x + box.width] = True
        assert opacity.shape == (1024, 1024)
        assert opacity[inside].sum() > 0.8 * opacity.sum()


def test_style_and_build_do_not_tell_the_class():
    jobs = [job for job in plan(1500, 1)[0] if job.kind in KINDS]
    kinds = np.array([job.kind for job in jobs])
    for folder in ("covid-chestxray-dataset", "demo-hospital"):
        here = np.array([job.path.startswith(folder) for job in jobs])
        for name in ("width", "field", "exposure", "contrast", "noise", "border", "leads"):
            values = np.array([float(getattr(job.style, name)) for job in jobs])
            _assert_alike(values[here], kinds[here], f"{folder}: {name}")
        _assert_alike(np.array([job.patient.heart for job in jobs])[here], kinds[here], f"{folder}: heart")
        _assert_alike(np.array([bool(job.style.marker) for job in jobs])[here], kinds[here], f"{folder}: marker")


def _assert_alike(values: np.ndarray, kinds: np.ndarray, what: str) -> None:
    """Class means differ by less than four standard errors."""
    for kind in KINDS:
        a, b = values[kinds == kind].astype(float), values[kinds != kind].astype(float)
        error = values.astype(float).std() * np.sqrt(1 / len(a) + 1 / len(b))
        assert abs(a.mean() - b.mean()) <= 4 * error, what


def test_a_drawing_differs_from_clear_lungs_only_by_its_opacity():
    patient = make_patient(5, False, np.random.default_rng(5))
    clear, ill = (draw(patient, kind, Style(), 1) for kind in ("normal", "pneumonia"))
    assert clear.pixels.dtype == np.float32
    assert clear.pixels.min() >= 0
    assert clear.pixels.max() <= 1
    assert (clear.lungs == ill.lungs).all()
    assert ill.pixels[ill.opacity].mean() > clear.pixels[ill.opacity].mean() + 0.02
    with pytest.raises(ValueError, match="kind"):
        draw(patient, "tuberculosis", Style(), 1)
