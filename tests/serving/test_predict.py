"""``POST /predict``: the same answers as the program's, in order, with the pictures that the page shows."""

import base64
import email
import email.policy
import hashlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from fastapi.testclient import TestClient

from cxrflow.errors import CxrflowError
from cxrflow.outputs.words import in_words
from cxrflow.predictor import Predictor
from cxrflow.reading import read
from cxrflow.result import Result
from cxrflow.serving.settings import Settings

Ask = Callable[..., Any]
Served = Callable[..., TestClient]


def pixels(url: str) -> np.ndarray:
    """The PNG in a ``data:`` URL: (height, width), or (height, width, 3) with red first."""
    head, _, content = url.partition(",")
    assert head == "data:image/png;base64"
    read = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)
    return read if read.ndim == 2 else read[:, :, ::-1]


def test_the_answers_are_those_of_the_program_in_the_order_of_the_files(
    client: TestClient, predictor: Predictor, pictures: list[bytes], scan: bytes, ask: Ask
) -> None:
    sent = [pictures[0], b"no image", pictures[1], scan]
    answered = ask(client, *sent)
    assert answered.status_code == 200
    body = answered.json()
    assert body["request"] == answered.headers["x-request-id"]
    assert len(body["results"]) == 4
    for said, expected in zip(body["results"], predictor.results(sent), strict=True):
        words = said.pop("words")
        assert words == list(in_words(expected, predictor.bundle))
        assert said.pop("look") is None
        scores = said.pop("scores")
        plain = expected.model_dump(mode="json")
        assert scores == pytest.approx(plain.pop("scores"), abs=1e-6)
        assert said == plain
    assert body["results"][1]["left_out"] == "file is a text or a table, not an image"
    assert body["results"][3]["study"] == "1.2.3"


def test_a_request_of_which_no_file_can_be_used_says_why_for_each(client: TestClient, ask: Ask) -> None:
    answered = ask(client, b"", b"%PDF-1.4")
    assert answered.status_code == 422
    reasons = [result["left_out"] for result in answered.json()["results"]]
    assert reasons[0] == "file is empty"
    assert reasons[1].startswith("file is a PDF document")


def test_the_pictures_are_the_radiograph_the_heat_and_the_lungs(
    client: TestClient, predictor: Predictor, scan: bytes, ask: Ask
) -> None:
    (result,) = ask(client, scan, look="true").json()["results"]
    (expected,) = predictor.results([scan], look=True)
    seen, look, grey = result["look"], expected.look, read(scan).grey
    assert look
    height, width = grey.shape
    assert (seen["width"], seen["height"], seen["label"]) == (width, height, expected.prediction)
    shown = pixels(seen["picture"]).astype(np.int64)
    stretched = (grey - grey.min()) / (grey.max() - grey.min()) * 65535
    assert np.abs(shown[..., 0] * 256 + shown[..., 1] - stretched).max() <= 1
    assert not shown[..., 2].any()
    assert np.abs(pixels(seen["heat"]) - look.heat() * 255.0).max() <= 1
    lungs = look.lung_mask()
    assert lungs is not None
    assert np.array_equal(pixels(seen["lungs"]), lungs * np.uint8(255))


def test_large_pictures_are_shown_smaller_in_their_proportions(
    client: TestClient, drawn: list[np.ndarray], png: Callable[[np.ndarray], bytes], ask: Ask
) -> None:
    large = cv2.resize(drawn[0], (1680, 2100))
    (result,) = ask(client, png(large), look="true").json()["results"]
    assert (result["look"]["width"], result["look"]["height"]) == (1638, 2048)
    for name in ("picture", "heat", "lungs"):
        assert pixels(result["look"][name]).shape[:2] == (2048, 1638)
    shown = pixels(result["look"]["picture"])[..., 0]
    assert np.corrcoef(cv2.resize(large, (1638, 2048)).ravel(), shown.ravel())[0, 1] > 0.99


def test_a_picture_asked_for_as_dicom_is_refused(client: TestClient, pictures: list[bytes], ask: Ask) -> None:
    for how in ({"format": "dicom"}, {"headers": {"Accept": "application/dicom"}}):
        answered = ask(client, pictures[0], **how)
        assert answered.status_code == 415
        assert "file 1 is no DICOM file" in answered.json()["detail"]
    assert ask(client, pictures[0], format="json", headers={"Accept": "application/dicom"}).status_code == 200


def test_a_file_that_takes_too_much_memory_costs_that_file_alone(
    served: Served, pictures: list[bytes], png: Callable[[np.ndarray], bytes], ask: Ask
) -> None:
    client = served()
    client.app.state.service.scorer._limits = client.app.state.service.scorer._limits._replace(memory_gb=0.1)
    large = png(np.zeros((9000, 9000), np.uint8))
    answered = ask(client, large, pictures[0])
    first, second = (
        Result.model_validate({k: v for k, v in r.items() if k not in ("words", "look")})
        for r in answered.json()["results"]
    )
    assert first.left_out is not None
    assert "memory" in first.left_out
    assert first.image == f"sha256:{hashlib.sha256(large).hexdigest()}"
    assert second.left_out is None


def test_what_the_service_is_told_of_its_bundle(served: Served, predictor: Predictor) -> None:
    about = served(files=3).get("/about").json()
    task = predictor.bundle.task
    assert [each["name"] for each in about["classes"]] == list(task.order)
    assert [each["color"] for each in about["classes"]] == list(task.colours.values())
    assert about["positive"] == task.positive
    assert about["limits"] == {"files": 3, "bytes": 256 * 1024**2, "pixels": 100_000_000}
    assert about["operating_points"] == [
        {"name": "specificity", "threshold": 0.5, "sensitivity": 0.8, "specificity": 0.9,
         "words": "chosen for a specificity of 0.9"}
    ]  # fmt: skip
    assert (about["coverage"], about["audit"]) == (None, None)


def test_the_samples_are_frontal_radiographs(client: TestClient, ask: Ask) -> None:
    samples = client.get("/about").json()["samples"]
    assert len(samples) == 3
    for sample in samples:
        picture = client.get(sample["url"])
        assert picture.headers["content-type"] == "image/png"
        (result,) = ask(client, picture.content).json()["results"]
        assert (result["left_out"], result["flags"]) == (None, [])
    assert client.get("/samples/3.png").status_code == 404


def parts(answered: Any) -> list[pydicom.Dataset]:
    """The DICOM objects of an answer, taken apart by the standard library."""
    head = f"Content-Type: {answered.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answered.content, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/related"
    assert message.get_param("type") == "application/dicom"
    found = []
    for part in message.iter_parts():
        assert part.get_content_type() == "application/dicom"
        found.append(pydicom.dcmread(BytesIO(part.get_payload(decode=True))))
    return found


def test_dicom_objects_are_of_the_study_of_the_image(client: TestClient, scan: bytes, ask: Ask) -> None:
    (report,) = parts(ask(client, scan, headers={"Accept": 'multipart/related; type="application/dicom"'}))
    assert (report.StudyInstanceUID, report.Modality) == ("1.2.3", "SR")
    both = ask(client, scan, scan, format="dicom", kinds="map,sr")
    assert both.status_code == 200
    made = parts(both)
    assert [each.SOPClassUID.name for each in made] == ["Comprehensive 3D SR Storage", "Parametric Map Storage"] * 2
    assert {each.StudyInstanceUID for each in made} == {"1.2.3"}
    said = "query.kinds: name one or several of sr, sc, map, with commas between them"
    for kinds in ("pdf", "sr%0A", "sr,", ""):
        wrong = client.post(f"/predict?format=dicom&kinds={kinds}")
        assert (wrong.status_code, wrong.json()["detail"]) == (422, said)


@pytest.mark.parametrize(
    ("accept", "dicom"),
    [
        ("application/dicom", True),
        ("Application/DICOM;q=0.5, text/html", True),
        ("multipart/related; type=application/dicom", True),
        ('text/html, multipart/related;type="application/dicom";q=0.9, application/json;q=0.1', True),
        ("application/dicom+json", False),
        ("application/dicom+xml", False),
        ('multipart/related; type="application/dicom+xml"', False),
        ('text/x; a=", application/dicom"', False),
        ("application/dicom;q=0", False),
        ("application/dicom;q=x", False),
        ("application/json, application/dicom;q=0.5", False),
        ("*/*", False),
    ],
)
def test_dicom_is_answered_to_who_accepts_dicom(
    client: TestClient, pictures: list[bytes], ask: Ask, accept: str, dicom: bool
) -> None:
    """Told by the refusal of a picture, which cannot be answered as DICOM."""
    assert ask(client, pictures[0], headers={"Accept": accept}).status_code == (415 if dicom else 200)


def test_a_dicom_image_that_cannot_be_used_has_a_report_that_says_so(client: TestClient, scan: bytes, ask: Ask) -> None:
    cut = scan[: scan.index(b"\xe0\x7f\x10\0")]
    answered = ask(client, cut, format="dicom")
    assert answered.status_code == 200
    (report,) = parts(answered)
    assert report.Modality == "SR"
    nothing = ask(client, b"\0" * 128 + b"DICM", format="dicom")
    assert nothing.status_code == 422
    assert nothing.json()["detail"].startswith("file 1: its result cannot be made a DICOM object: ")


def test_text_burned_in_is_flagged_if_the_service_looks_for_it(
    client: TestClient, served: Callable[..., TestClient], scan: bytes, ask: Ask, with_text: Callable[[str], None]
) -> None:
    (unasked,) = ask(client, scan).json()["results"]
    assert (unasked["text_places"], client.get("/about").json()["burned_in_text"]) == (None, False)
    with_text("cxrflow.serving.scoring")
    looking = served(burned_in_text=True)
    (found,) = ask(looking, scan).json()["results"]
    flag = "has text burned into the picture (2 places)"
    assert (found["text_places"], flag in found["flags"]) == (2, True)
    assert f"Warning: the image {flag}." in found["words"]
    assert looking.get("/about").json()["burned_in_text"] is True
    (report,) = parts(ask(looking, scan, format="dicom"))
    assert f"The image {flag}." in [element.value for element in report.iterall() if element.VR == "UT"]


def test_a_missing_detector_is_said_when_the_service_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrflow.reading.letters.find_spec", lambda _: None)
    with pytest.raises(CxrflowError, match=r"^--burned-in-text: .*pip install 'cxrflow\[text\]'"):
        Settings(burned_in_text=True).check()
