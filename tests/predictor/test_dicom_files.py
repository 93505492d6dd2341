"""``predict --dicom`` and ``--fhir``: files by digest, what is no DICOM is counted, an interrupted run goes on."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from typer.testing import CliRunner

from cxrflow import predict
from cxrflow.cli import app
from cxrflow.errors import CxrflowError
from cxrflow.outputs import dicom
from cxrflow.outputs.journal import Journal
from cxrflow.predict import Outputs, predict_files
from cxrflow.task import Task


def write_dicom(path: Path, pixels: np.ndarray, instance: str, study: str = "1.2.3") -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = instance
    data.StudyInstanceUID, data.SeriesInstanceUID = study, f"{study}.4"
    data.PatientName, data.PatientID, data.Modality = "DoeJane", "P1", "DX"  # a name of which highdicom warns
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.add_new("PixelData", "OB", pixels.tobytes())
    data.save_as(path, enforce_file_format=True)


@pytest.fixture
def folder(drawn: list[np.ndarray], tmp_path: Path) -> Path:
    """Two images of one study, one of another, one that is left out, a picture and a text."""
    folder = tmp_path / "Doe^Jane"
    folder.mkdir()
    write_dicom(folder / "Doe1.dcm", drawn[0], "1.2.3.4.1")
    write_dicom(folder / "Doe2.dcm", drawn[1], "1.5.3.4.2", "1.5.3")
    write_dicom(folder / "Doe3.dcm", drawn[2], "1.2.3.4.3")
    lateral = pydicom.dcmread(folder / "Doe1.dcm")
    lateral.ViewPosition = "LL"
    lateral.save_as(folder / "Doe4.dcm")
    Image.fromarray(drawn[0]).save(folder / "Doe5.png")
    (folder / "Doe6.png").write_text("text")
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_each_dicom_image_has_its_objects_and_others_are_counted(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outputs = Outputs(tmp_path / "o.csv", dicom=tmp_path / "objects", fhir=tmp_path / "o.ndjson")
    counts = predict_files(bundle_of(two_classes), [folder], outputs)
    table, dicom, fhir = counts.in_words(outputs)
    assert table.startswith(f"{outputs.table}: 4 images scored, ")
    assert table.endswith(" 2 left out")
    assert dicom == f"{outputs.dicom}: 10 DICOM objects; not DICOM: 2 files"
    assert fhir == f"{outputs.fhir}: 5 FHIR R4 bundles, one a line"
    assert "Doe" not in "".join(capfd.readouterr())  # of the worker processes, too
    assert (counts.unfiled, counts.no_dicom, counts.failed) == (2, 2, 4)
    scored = [digest(folder / f"Doe{number}.dcm") for number in (1, 2, 3)]
    expected = {f"{each}-{kind}.dcm" for each in scored for kind in ("sr", "sc", "map")}
    left_out = f"{digest(folder / 'Doe4.dcm')}-sr.dcm"
    assert {path.name for path in outputs.dicom.iterdir()} == expected | {left_out}
    report = pydicom.dcmread(outputs.dicom / f"{scored[0]}-sr.dcm")
    assert (report.PatientName, report.StudyInstanceUID) == ("DoeJane", "1.2.3")
    texts = [element.value for element in pydicom.dcmread(outputs.dicom / left_out).iterall() if element.VR == "UT"]
    assert "No answer: lateral view, as the DICOM header says." in texts
    heat = pydicom.dcmread(outputs.dicom / f"{scored[1]}-map.dcm")
    assert heat.pixel_array.shape == (pydicom.dcmread(folder / "Doe2.dcm").Rows, heat.Columns)
    bundles = [json.loads(line) for line in outputs.fhir.read_text().splitlines()]
    reports = [
        [entry["resource"] for entry in each["entry"] if entry["resource"]["resourceType"] == "DiagnosticReport"]
        for each in bundles
    ]
    studies = [each[0].get("imagingStudy", [{}])[0].get("identifier", {}).get("value") for each in reports]
    # Of images that are left out the study is not known, and of pictures there is none.
    assert list(zip(studies, map(len, reports), strict=True)) == [
        ("urn:oid:1.2.3", 2),
        ("urn:oid:1.5.3", 1),
        (None, 1),
        (None, 1),
        (None, 1),
    ]
    assert "Doe" not in outputs.fhir.read_text()


def test_reports_alone_take_no_heat(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict.Predictor, "heat_maps", None)  # cannot be called
    outputs = Outputs(tmp_path / "o.csv", dicom=tmp_path / "objects", kinds=("sr",))
    assert predict_files(bundle_of(two_classes), [folder / "Doe1.dcm"], outputs).failed == 0
    assert [path.name for path in outputs.dicom.iterdir()] == [f"{digest(folder / 'Doe1.dcm')}-sr.dcm"]


def test_an_image_without_finite_heat_has_its_report_and_is_counted(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heat_maps(*_: object) -> None:
        raise CxrflowError("no number")

    monkeypatch.setattr(predict.Predictor, "heat_maps", heat_maps)
    outputs = Outputs(tmp_path / "o.csv", dicom=tmp_path / "objects")
    counts = predict_files(bundle_of(two_classes), [folder / "Doe1.dcm"], outputs)
    assert (counts.scored, counts.objects, counts.unfiled, counts.no_dicom, counts.failed) == (1, 1, 1, 0, 1)
    assert [path.name for path in outputs.dicom.iterdir()] == [f"{digest(folder / 'Doe1.dcm')}-sr.dcm"]


def test_an_interrupted_prediction_goes_on_and_writes_each_object(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "BATCH", 2)
    bundle, outputs = bundle_of(two_classes), Outputs(tmp_path / "o.csv", dicom=tmp_path / "objects")
    with monkeypatch.context() as patch:
        original, calls = Journal.add, []

        def add(journal: Journal, *args: object) -> None:
            calls.append(args)
            if len(calls) == 3:
                raise KeyboardInterrupt
            original(journal, *args)  # type: ignore[arg-type]

        patch.setattr(Journal, "add", add)
        with pytest.raises(KeyboardInterrupt):
            predict_files(bundle, [folder], outputs)
    before = {path.name: path.stat().st_mtime_ns for path in outputs.dicom.iterdir()}
    first = f"{digest(folder / 'Doe1.dcm')}-sr.dcm"
    whole = predict_files(bundle, [folder], Outputs(tmp_path / "p.csv", dicom=tmp_path / "others"))
    assert predict_files(bundle, [folder], outputs) == whole  # what lacked objects before counts, too
    assert whole.no_dicom > 0
    assert whole.objects == 10
    after = {path.name: path.stat().st_mtime_ns for path in outputs.dicom.iterdir()}
    assert len(after) == 10
    assert after[first] == before[first]  # not made again


def test_the_command_takes_kinds_and_says_which_there_are(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["predict", str(folder), "--bundle", str(bundle_of(two_classes)), "--dicom", "objects"]
    refused = CliRunner().invoke(app, [*command, "--dicom-kinds", "sr,scs"])
    assert refused.exit_code == 1
    assert "'scs' is none of sr, sc, map; did you mean sc?" in str(refused.exception) + refused.output
    assert not (tmp_path / "predictions.csv").exists()
    done = CliRunner().invoke(app, [*command, "--dicom-kinds", "sc, sr", "--fhir", "f.ndjson", "--fhir-version", "R5"])
    assert done.exit_code == 3, done.output
    assert {path.stem[65:] for path in (tmp_path / "objects").iterdir()} == {"sr", "sc"}
    assert '"study"' in (tmp_path / "f.ndjson").read_text()


def test_what_cannot_be_done_is_said_before_any_work(
    bundle_of: Callable[..., Path], two_classes: Task, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of(two_classes)
    for outputs, why in (
        (Outputs(tmp_path / "a.csv", fhir=tmp_path / "a.csv"), "named for the CSV and for the FHIR bundles"),
        (Outputs(tmp_path / "a.csv", dicom=folder / "objects"), "lies in .*, whose images are scored"),
        (Outputs(tmp_path / "a.csv", dicom=folder / "Doe5.png"), "is a file; name a folder"),
    ):
        with pytest.raises(CxrflowError, match=why):
            predict_files(bundle, [folder], outputs)
    monkeypatch.setattr(dicom, "find_spec", lambda name: None)
    with pytest.raises(CxrflowError, match="install the extra pacs"):
        predict_files(tmp_path / "no bundle", [folder], Outputs(tmp_path / "a.csv", dicom=tmp_path / "objects"))
