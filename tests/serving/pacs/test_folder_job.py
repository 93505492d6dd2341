"""The folders of orchestrators: images in, objects and a summary out, and an exit status."""

import json
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.errors import CxrflowError

pytest.importorskip("highdicom")

from cxrflow.serving.folder_job import run_job


@pytest.fixture
def images(tmp_path: Path, radiograph) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"1.2.3#1.2.3.{number}.dcm").write_bytes(radiograph(1, number))
        (folder / f"1.2.3#1.2.3.{number}.tags").write_text("{}")
    return folder


@pytest.fixture
def run(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    def start(images: Path, *options: str, prefix: str = "CXRFLOW_{}") -> object:
        monkeypatch.setenv(prefix.format("IN"), str(images))
        monkeypatch.setenv(prefix.format("OUT"), str(tmp_path / "out"))
        monkeypatch.setenv("CXRFLOW_BUNDLE", str(bundle))
        return CliRunner().invoke(app, ["folder-job", *options])

    return start


def objects(folder: Path) -> list[pydicom.FileDataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def test_every_image_has_its_objects_and_a_result(images, run, tmp_path) -> None:
    done = run(images)
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'out'}: 2 images scored, 0 left out\n")
    found = objects(tmp_path / "out")
    assert [each.Modality for each in found] == ["SR", "SR"]
    names = sorted(path.name for path in (tmp_path / "out").glob("*.dcm"))
    assert names == sorted(f"{each.SeriesInstanceUID}#{each.SOPInstanceUID}.dcm" for each in found)
    said = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (said["scored"], said["left_out"]) == (2, 0)
    assert {each["instance"] for each in said["results"]} == {
        pydicom.dcmread(path).SOPInstanceUID for path in images.glob("*.dcm")
    }
    assert all(sum(each["scores"].values()) == pytest.approx(1) for each in said["results"])
    assert "path" not in said["results"][0]
    assert "DOE" not in done.output + json.dumps(said)


def test_mercure_names_folders_and_settings(images, run, tmp_path) -> None:
    (images / "task.json").write_text(
        '{"id": "1", "process": {"module_name": "cxr", "settings": {"kinds": ["sr", "sc"]}}}'
    )
    assert run(images, prefix="MERCURE_{}_DIR").exit_code == 0
    assert sorted(each.Modality for each in objects(tmp_path / "out")) == ["OT", "OT", "SR", "SR"]


def test_the_exit_status_says_whether_something_was_left_out(images, run, radiograph, tmp_path) -> None:
    (images / "lateral.dcm").write_bytes(radiograph(1, 3, ViewPosition="LL"))
    assert run(images).exit_code == 3
    assert len(objects(tmp_path / "out")) == 3  # its report says so
    for path in images.glob("1.2.3#*"):
        path.unlink()
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    assert run(images).exit_code == 3  # its report is a result, too
    assert len(objects(tmp_path / "out")) == 1
    said = json.loads((tmp_path / "out" / "result.json").read_text())
    assert said["results"][0]["left_out"] == "lateral view, as the DICOM header says"


def test_the_exit_status_says_whether_nothing_was_written(images, run, radiograph, tmp_path) -> None:
    for path in images.glob("1.2.3#*.dcm"):
        path.write_bytes(too_deep(radiograph(1, 3)))
    assert run(images).exit_code == 1
    assert objects(tmp_path / "out") == []


def too_deep(content: bytes) -> bytes:
    """A DICOM file with a sequence in a sequence, 2,000 deep, at its end (Explicit VR Little Endian)."""
    opened = b"\xfa\xff\xfa\xffSQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return content + 2000 * opened + 2000 * closed


def test_an_image_that_no_object_can_be_made_of_is_counted(images, run, radiograph, tmp_path) -> None:
    (images / "deep.dcm").write_bytes(too_deep(radiograph(1, 3)))
    assert run(images).exit_code == 3
    assert len(objects(tmp_path / "out")) == 2


def test_what_is_wrong_is_one_sentence(images, bundle, tmp_path, monkeypatch) -> None:
    for variable in ("CXRFLOW_IN", "CXRFLOW_OUT", "MERCURE_IN_DIR", "MERCURE_OUT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    refused = CliRunner().invoke(app, ["folder-job"]).exception
    assert isinstance(refused, CxrflowError)
    assert "neither CXRFLOW_IN nor MERCURE_IN_DIR" in str(refused)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CxrflowError, match="no DICOM file is in it"):
        run_job(bundle, tmp_path / "empty", tmp_path / "out", ["sr"])
    for settings, said in (({"kind": "sr"}, "'kind' is no setting"), ({"kinds": "pdf"}, "'pdf' is none of")):
        (images / "task.json").write_text(json.dumps({"process": {"settings": settings}}))
        with pytest.raises(CxrflowError, match=said):
            run_job(bundle, images, tmp_path / "out", ["sr"])
    (images / "task.json").write_text("{")
    with pytest.raises(CxrflowError, match="damaged"):
        run_job(bundle, images, tmp_path / "out", ["sr"])


def test_text_burned_in_is_flagged_if_it_is_asked_for(images, run, tmp_path, with_text) -> None:
    with_text("cxrflow.serving.dicom_results")
    uids = set()
    for options in ([], ["--burned-in-text"]):
        assert run(images, *options).exit_code == 0
        results = json.loads((tmp_path / "out" / "result.json").read_text())["results"]
        assert {result["text_places"] for result in results} == ({2} if options else {None})
        uids |= {each.SOPInstanceUID for each in objects(tmp_path / "out")}
    assert len(uids) == 4  # another report has another UID: archives keep the first of a UID
    flags = [e.value for each in objects(tmp_path / "out") for e in each.iterall() if e.VR == "UT"]
    assert flags.count("The image has text burned into the picture (2 places).") == 2
