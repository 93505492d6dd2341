"""VinDr-CXR (Nguyen et al. 2022, Sci Data 9: 429): labels and boxes by radiologists, three for each image of ``train``,
and the consensus of five for ``test``. As PhysioNet publishes it, or as the Kaggle competition of 2021 did (``train``
only, with fewer labels)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cxrflow.findings import most_specific
from cxrflow.records import Box, Record
from cxrflow.sources import tables
from cxrflow.sources.boxes import Boxes
from cxrflow.sources.cells import number, sex, years
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.headers import header_of
from cxrflow.terminal import track

NAME = "vindr-cxr"
NO_FINDING = "No finding"
DISAGREE = "readers disagree"
#: Published label -> finding. The two tables of PhysioNet spell the last one differently.
PUBLISHED = {
    NO_FINDING: "no finding",
    "Aortic enlargement": "aortic enlargement",
    "Atelectasis": "atelectasis",
    "Calcification": "calcification",
    "Cardiomegaly": "cardiomegaly",
    "Clavicle fracture": "fracture/clavicle",
    "Consolidation": "consolidation",
    "COPD": "chronic obstructive pulmonary disease",
    "Edema": "edema",
    "Emphysema": "emphysema",
    "Enlarged PA": "enlarged pulmonary artery",
    "ILD": "interstitial lung disease",
    "Infiltration": "infiltration",
    "Lung cavity": "lung cavity",
    "Lung cyst": "lung cyst",
    "Lung Opacity": "lung opacity",
    "Lung tumor": "lung tumor",
    "Mediastinal shift": "mediastinal shift",
    "Nodule/Mass": "nodule or mass",
    "Other lesion": "other finding",
    "Pleural effusion": "effusion",
    "Pleural thickening": "pleural thickening",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
    "Pulmonary fibrosis": "fibrosis",
    "Rib fracture": "fracture/rib",
    "Tuberculosis": "tuberculosis",
}
_OTHER = {"Other disease": "other finding", "Other diseases": "other finding"}
_GIVEN, _NOT_GIVEN = ("1", "1.0"), ("", "0", "0.0")
#: Columns of a box: left, top, right, bottom, in pixels of the DICOM image.
CORNERS = ("x_min", "y_min", "x_max", "y_max")
#: Extensions of the images: as published, and as others have converted them. Their sizes are then in this table.
_EXTENSIONS = (".dicom", ".dcm", ".png", ".jpg")
SIZES = "{}_meta.csv"


@dataclass
class _Image:
    """What the readers say of an image.

    given    published label -> readers that give it
    readers  all of them
    boxes    published label, left, top, width, height, line of the table
    bad      whether a row has surplus cells
    """

    given: dict[str, set[str]] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)
    boxes: list[tuple[str, list[str], int]] = field(default_factory=list)
    bad: bool = False

    @property
    def votes(self) -> Counter[str]:
        """Published label -> number of readers that give it."""
        return Counter({label: len(readers) for label, readers in self.given.items()})

    def add(self, reader: str, labels: Iterable[str], bad: bool) -> None:
        """Take in a row of the table; a repeated one changes nothing."""
        self.readers.add(reader)
        for label in labels:
            self.given.setdefault(label, set()).add(reader)
        self.bad = self.bad or bad


def findings_of(votes: Counter[str], readers: int) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """The findings that more than half of the readers give, those that fewer give, and the reason for leaving the image
    out if they agree on none. "No finding" needs all of them: what one reader saw may be there.

    votes  published label -> number of readers that give it
    """
    known = {label: PUBLISHED.get(label) or _OTHER.get(label) for label in votes}
    if set(votes) == {NO_FINDING} and votes[NO_FINDING] == readers:
        return ("no finding",), (), None
    agreed = [f for label, f in known.items() if f and label != NO_FINDING and 2 * votes[label] > readers]
    reason = DISAGREE if any(known.values()) else tables.UNKNOWN_LABEL
    doubts = most_specific(f for label, f in known.items() if f and label != NO_FINDING and f not in agreed)
    return most_specific(agreed), doubts, None if agreed or not votes else reason


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per image. Age and sex come from the DICOM headers, and the sizes in which boxes are drawn."""
    place = tables.inner(folder, "annotations", "train.csv")
    home = folder / place
    kaggle = (home / "train.csv").is_file() and not (home / "annotations").is_dir()
    for side in ("train",) if kaggle else ("train", "test"):
        images = _read_kaggle(home / "train.csv") if kaggle else _read_physionet(home / "annotations", side)
        boxes = Boxes(home / ("train.csv" if kaggle else f"annotations/annotations_{side}.csv"))
        sizes = _read_sizes(home / SIZES.format(side))
        for key, image in track(images.items(), f"vindr-cxr: {side}, headers", disable=not options.with_files):
            path = _path(options, f"{place}/{side}/{key}".lstrip("/"))
            header = header_of(folder, path, options, _TAGS) if key and path.endswith(_EXTENSIONS[:2]) else {}
            size = sizes.get(key)
            if "Rows" in header and "Columns" in header:
                size = number(header["Columns"]) or 0, number(header["Rows"]) or 0
            if options.with_files or size is not None:  # without files, no size is known, and no box is missed
                _add_boxes(boxes, key, image, size)
            yield _record(key, image, f"{name}/{path}", header, boxes.of(key))
        options.unread.extend(boxes.sentences())


_TAGS = ("PatientAge", "PatientSex", "Rows", "Columns")


def _read_physionet(folder: Path, side: str) -> dict[str, _Image]:
    """The images in the tables of ``annotations``."""
    images: dict[str, _Image] = {}
    required = ("image_id", "rad_id", *PUBLISHED) if side == "train" else ("image_id", *PUBLISHED)
    for row in tables.read_table(folder / f"image_labels_{side}.csv", required, tuple(_OTHER)):
        given = {label: cell for label in (*PUBLISHED, *_OTHER) if (cell := row[label]) not in _NOT_GIVEN}
        labels = (label if cell in _GIVEN else f"{label}: {cell}" for label, cell in given.items())
        images.setdefault(row["image_id"], _Image()).add(row.get("rad_id", ""), labels, bool(row.surplus))
    table = folder / f"annotations_{side}.csv"
    for row in tables.read_table(table, ("image_id", "class_name", *CORNERS), counted=False):
        if row["image_id"] in images and row["class_name"] != NO_FINDING:
            images[row["image_id"]].boxes.append(_box(row))
    return images


def _read_kaggle(table: Path) -> dict[str, _Image]:
    """The images in a table of one row per box, or per reader who finds nothing."""
    images: dict[str, _Image] = {}
    for row in tables.read_table(table, ("image_id", "class_name", "rad_id", *CORNERS)):
        image, label = images.setdefault(row["image_id"], _Image()), row["class_name"]
        image.add(row["rad_id"], [label] if label else [], bool(row.surplus))
        if label != NO_FINDING:
            image.boxes.append(_box(row))
    return images


def _box(row: tables.Row) -> tuple[str, list[str], int]:
    left, top, right, bottom = (number(row[name]) for name in CORNERS)
    cells = [row["x_min"], row["y_min"], "", ""]
    if None not in (left, top, right, bottom):
        cells[2:] = [str(right - left), str(bottom - top)]  # type: ignore[operator]  # none of them is None
    return row["class_name"], cells, row.line


def _read_sizes(table: Path) -> dict[str, tuple[float, float]]:
    """Image -> width and height of the DICOM image it was made from; empty if there is no such table."""
    if not table.is_file():
        return {}
    rows = tables.read_table(table, ("image_id", "dim0", "dim1"), counted=False)
    return {row["image_id"]: (number(row["dim1"]) or 0, number(row["dim0"]) or 0) for row in rows}


def _path(options: Options, stem: str) -> str:
    paths = [f"{stem}{extension}" for extension in _EXTENSIONS]
    there = (path for path in paths if options.files is not None and options.files.holds(path))
    return next(there, paths[0])


def _add_boxes(boxes: Boxes, key: str, image: _Image, size: tuple[float, float] | None) -> None:
    """Take in the boxes round findings that the image has: of the others, most readers do not see what they mark."""
    findings, _, _ = findings_of(image.votes, len(image.readers))
    for label, cells, line in image.boxes:
        finding = PUBLISHED.get(label) or _OTHER.get(label)
        if finding is None or finding in findings:
            boxes.add(key, (finding,) if finding else (), cells, line, size)


def _record(key: str, image: _Image, path: str, header: dict[str, str], boxes: tuple[Box, ...]) -> Record:
    findings, uncertain, reason = findings_of(image.votes, len(image.readers))
    return Record(
        image_id=f"{NAME}:{key or 'row without image_id'}",
        source=NAME,
        path=path,
        findings=findings,
        uncertain=uncertain,
        finding=_words(image),
        view="PA",  # all of them (Nguyen et al. 2022)
        age=years(header.get("PatientAge")) or None,
        sex=sex(header.get("PatientSex")),
        boxes=boxes,
        left_out=(tables.BAD_ROW if image.bad else None if key else tables.NO_IMAGE) or reason,
    )


def _words(image: _Image) -> str | None:
    """The labels in words, each with the number of readers who give it, unless all do."""
    readers = len(image.readers)
    shares = {
        label: "" if count == readers else f" ({count} of {readers} readers)" for label, count in image.votes.items()
    }
    return "|".join(label + share for label, share in shares.items()) or None


COLLECTION = Collection(
    NAME,
    ("vindr-cxr", "vinbigdata-chest-xray-abnormalities-detection"),
    read,
    "the tables of version 1.0.0 in annotations/, or train.csv of the Kaggle competition",
    merges=True,
    findings=tuple(PUBLISHED.values()),
)
