"""Open-i's Indiana University chest X-ray collection (Demner-Fushman et al. 2016, JAMIA 23: 304-310): reports in XML,
indexed with MeSH terms by hand; or as the two tables that Kaggle has (raddar), with normalised images.

Each report is another patient's (3,996 of both were collected; 3,955 are published).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

from cxrflow.errors import CxrflowError, one_line
from cxrflow.findings import most_specific
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.words import not_frontal

NAME = "openi"
REPORTS, IMAGES = "ecgen-radiology", "NLMCXR_png"
TABLE, PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
_PROJECTION = ("uid", "filename", "projection")
#: Why an image is left out whose projection is not known: the reports have frontal and lateral ones.
NO_TABLE = f"only {PROJECTIONS} says which images are lateral; put it beside {REPORTS}"
NOT_GIVEN = f"{PROJECTIONS} does not say whether it is lateral"
NORMAL = "normal"
#: Terms that say nothing of what the images show.
SILENT = frozenset(("no indexing", "technical quality of image unsatisfactory"))
#: Term, or term/qualifier -> findings. Every other term is an "other finding".
PUBLISHED = {
    "airspace disease": ("airspace opacity",),
    "atelectasis": ("atelectasis",),
    "bronchiectasis": ("bronchiectasis",),
    "calcified granuloma": ("calcification", "granuloma"),
    "calcinosis": ("calcification",),
    "cardiomegaly": ("cardiomegaly",),
    "catheters, indwelling": ("support devices",),
    "cavitation/lung": ("lung cavity",),
    "consolidation": ("consolidation",),
    "costophrenic angle/blunted": ("costophrenic angle blunting",),
    "cysts/lung": ("lung cyst",),
    "diaphragm/flattened": ("flattened diaphragm",),
    "emphysema": ("emphysema",),
    "fractures, bone": ("fracture",),
    "fractures, bone/clavicle": ("fracture/clavicle",),
    "fractures, bone/ribs": ("fracture/rib",),
    "granuloma": ("granuloma",),
    "granulomatous disease": ("granuloma",),
    "hemopneumothorax": ("effusion", "pneumothorax"),
    "hemothorax": ("effusion",),
    "hernia, diaphragmatic": ("hernia",),
    "hernia, hiatal": ("hernia",),
    "hydropneumothorax": ("effusion", "pneumothorax"),
    "implanted medical device": ("support devices",),
    "infiltrate": ("infiltration",),
    "lung diseases, interstitial": ("interstitial lung disease",),
    "mass": ("mass",),
    "medical device": ("support devices",),
    "nodule": ("nodule",),
    "opacity/lung": ("lung opacity",),
    "pleural effusion": ("effusion",),
    "pneumonia": ("pneumonia",),
    "pneumothorax": ("pneumothorax",),
    "pulmonary artery/enlarged": ("enlarged pulmonary artery",),
    "pulmonary atelectasis": ("atelectasis",),
    "pulmonary disease, chronic obstructive": ("chronic obstructive pulmonary disease",),
    "pulmonary edema": ("edema",),
    "pulmonary emphysema": ("emphysema",),
    "pulmonary fibrosis": ("fibrosis",),
    "scoliosis": ("scoliosis",),
    "stents": ("support devices",),
    "thickening/pleura": ("pleural thickening",),
    "tube, inserted": ("support devices",),
    "tuberculosis": ("tuberculosis",),
}
#: Upper limit of a report, in bytes; the largest published one has 8,967.
_LARGEST = 1 << 20


@lru_cache(maxsize=10_000)
def findings_of(terms: tuple[str, ...]) -> tuple[str, ...]:
    """The findings in the major terms of a report ("Opacity/lung/base/left").

    "normal" counts only if it is the sole term. A term without a finding of its own is an "other finding", for MeSH has
    no end.
    """
    plain = ["/".join(part.strip() for part in term.casefold().split("/")) for term in terms if term.strip()]
    if plain == [NORMAL]:
        return ("no finding",)
    findings: list[str] = []
    for term in plain:
        head, *qualifiers = term.split("/")
        special = (found for part in qualifiers if (found := PUBLISHED.get(f"{head}/{part}")))
        if head not in SILENT and head != NORMAL:
            findings += next(special, PUBLISHED.get(head, ("other finding",)))
    return most_specific(findings or ["not determined"] * bool(plain))


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per image of the reports in REPORTS; if there is no such folder, per row of PROJECTIONS.

    Only PROJECTIONS says which image is lateral, so images that it does not list are left out.
    Raises CxrflowError for a report that is damaged: nobody knows which images it has.
    """
    if (folder / REPORTS).is_dir():
        yield from _read_reports(folder, name, options)
        return
    terms = {row["uid"]: row["MeSH"] for row in tables.read_table(folder / TABLE, ("uid", "MeSH"), counted=False)}
    for row in tables.read_table(folder / PROJECTIONS, _PROJECTION):
        file, uid = row["filename"], row["uid"]
        path = options.place(file, ("images/images_normalized", "images", ""))
        record = _record(file.removesuffix(".dcm.png"), uid, terms.get(uid, "").split(";"), f"{name}/{path}", row)
        yield replace(record, left_out=tables.problem(row, file) or record.left_out)


def _read_reports(folder: Path, name: str, options: Options) -> Iterator[Record]:
    table = folder / PROJECTIONS
    rows = tables.read_table(table, _PROJECTION, counted=False) if table.is_file() else ()
    views = {row["filename"].removesuffix(".dcm.png"): row for row in rows}
    for report in sorted((folder / REPORTS).glob("*.xml"), key=lambda path: (len(path.name), path.name)):
        uid, terms, names = _read_report(report)
        for image in names:
            # CXR1_1_IM-0001-3001 is 1_IM-0001-3001.dcm.png of the other release
            number = image.removeprefix(f"CXR{uid}_") if image.startswith(f"CXR{uid}_{uid}_") else image[3:]
            path = options.place(f"{image}.png", (IMAGES, "images", ""))
            record = _record(number, uid, terms, f"{name}/{path}", views.get(number))
            yield record if views else replace(record, left_out=NO_TABLE)


def _read_report(path: Path) -> tuple[str, list[str], list[str]]:
    """Number of a report, its major terms and its images."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:  # a FIFO would wait for ever
            raise ValueError("too large, or not a file")
        content = path.read_bytes()
        if b"<!ENTITY" in content or b"\0" in content:  # in UTF-16, every other byte of the word is zero
            raise ValueError("it declares entities, by which little text can become much, or is not UTF-8")
        root = ElementTree.fromstring(content)  # noqa: S314  # see above
        terms = [term.text or "" for term in root.findall("MeSH/major")]
        images = [image.attrib["id"] for image in root.findall("parentImage")]
        return root.find("uId").attrib["id"].removeprefix("CXR"), terms, images  # type: ignore[union-attr]  # caught
    except (OSError, ElementTree.ParseError, LookupError, AttributeError, ValueError) as error:
        raise CxrflowError(
            f"{path}: not a report of the collection ({one_line(str(error))}); put it there again."
        ) from None


def _record(image: str, uid: str, terms: Sequence[str], path: str, projection: tables.Row | None) -> Record:
    view = known(projection["projection"]) if projection else None
    return Record(
        image_id=f"{NAME}:{image or f'line {projection.line if projection else 0}'}",
        source=NAME,
        path=path,
        patient_id=f"{NAME}:{uid}" if known(uid) else None,
        findings=findings_of(tuple(terms)),
        finding=";".join(filter(None, terms)) or None,
        view=view,
        left_out=not_frontal(view) if view else NOT_GIVEN,
    )


COLLECTION = Collection(
    NAME,
    ("NLMCXR", "chest-xrays-indiana-university"),
    read,
    f"reports in {REPORTS}/, or {TABLE} and {PROJECTIONS}",
    findings=(
        "no finding",
        *(finding for found in PUBLISHED.values() for finding in found),
        "other finding",
        "not determined",
    ),
)
