"""The typed result: what it holds of an image, and the way back to the original picture."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import examples

from cxrflow import CxrflowError, Predictor
from cxrflow.bundle import OperatingPoint, PredictionSets
from cxrflow.images.file import prepare_source
from cxrflow.images.registry import prepare_image
from cxrflow.images.steps import Window
from cxrflow.params import Params
from cxrflow.reading.dicom import identity
from cxrflow.result import Look, Result, on_original
from cxrflow.task import Task


@pytest.fixture(scope="module")
def predictor(bundle_of: Callable[..., Path], task: Task) -> Predictor:
    points = {"low": OperatingPoint(wanted=0.9, threshold=0.0, sensitivity=0.5, specificity=0.9)}
    sets = PredictionSets(coverage=0.9, least={"covid": 0.0, "normal": 1.0, "pneumonia": 0.0})
    return Predictor(bundle_of(task, thresholds=points, prediction_sets=sets))


@given(st.integers(60, 700), st.integers(60, 700), st.sampled_from([32, 64, 128]), st.floats(0, 0.2), st.data())
def test_a_point_is_found_again_where_it_was_drawn(
    demo_params: Params, height: int, width: int, size: int, crop_top: float, data: st.DataObject
) -> None:
    """A bright disc in the part that is prepared: the centre of its brightness, mapped back, is where it was, to a
    quarter of a pixel of the prepared image."""
    update = {"size": size, "crop_top": crop_top, "equalise": "none"}
    steps = demo_params.images.model_copy(update=update)
    window = prepare_image(np.tile(np.arange(width, dtype=np.uint8), (height, 1)), steps).window
    pixel = max(1.0, window.side / size)  # of the prepared image, in pixels of the original
    reach = int(np.ceil(4 * pixel))
    places = st.integers(reach, window.side - reach - 1)
    row, column = window.top + data.draw(places), window.left + data.draw(places)
    down, across = np.mgrid[:height, :width]
    distance = ((down - row) ** 2 + (across - column) ** 2) / (1.2 * pixel) ** 2
    picture = np.rint(255 * np.exp(-distance / 2)).astype(np.uint8)
    prepared = prepare_image(picture, steps)
    back = on_original(prepared.image.astype(np.float32), prepared.window, picture.shape)
    assert back.shape == picture.shape
    found = [float((back * where).sum() / back.sum()) for where in (down, across)]
    assert found == pytest.approx([row, column], abs=0.25 * pixel)


@pytest.mark.parametrize("orientation", [1, 6, 3])
def test_a_point_of_a_turned_or_cropped_picture_is_found_again(
    demo_params: Params, drawn: list[np.ndarray], orientation: int
) -> None:
    """A picture that EXIF turns upright, cropped to the lungs: found in the upright picture."""
    steps = demo_params.images.model_copy(
        update={"size": 64, "equalise": "none", "lungs": "learned", "lungs_use": "crop"}
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = cv2.copyMakeBorder(cv2.resize(drawn[0], (301, 333)), 90, 140, 120, 70, cv2.BORDER_REPLICATE)
    turned = {1: upright, 6: np.rot90(upright), 3: np.rot90(upright, 2)}[orientation]
    Image.fromarray(np.ascontiguousarray(turned)).save(written := io.BytesIO(), "PNG", exif=exif)
    file = prepare_source([steps], written.getvalue())
    (view,) = file.views
    assert file.shape == upright.shape
    assert view.window.side < min(upright.shape)  # cropped
    back = on_original(view.image.astype(np.float32), view.window, file.shape)
    part = slice(view.window.top, view.window.top + view.window.side - 2)
    across = slice(view.window.left, view.window.left + view.window.side - 2)
    assert np.corrcoef(back[part, across].ravel(), upright[part, across].ravel())[0, 1] > 0.97


def test_outside_of_what_was_prepared_there_is_nothing() -> None:
    back = on_original(np.ones((4, 4), np.float32), Window(2, 3, 5, 10, 12), (10, 12))
    expected = np.zeros((10, 12))
    expected[2:7, 3:8] = 1
    assert np.array_equal(back, expected)
    narrow = on_original(np.ones((4, 4), np.float32), Window(2, 3, 5, 10, 12), (10, 6))  # pixels twice as wide as high
    assert narrow.shape == (10, 6)
    assert narrow[4].tolist() == pytest.approx(cv2.resize(expected.astype(np.float32), (6, 10))[4].tolist())


def test_the_heat_of_several_networks_is_their_mean_and_the_lungs_are_of_all_views() -> None:
    left, right = Window(0, 0, 4, 4, 8), Window(0, 4, 4, 4, 8)
    hot, warm = np.ones((2, 2), np.float32), np.full((2, 2), 0.5, np.float32)
    mask = np.ones((2, 2), bool)
    look = Look("sick", (4, 8), ((hot, left), (warm, right)), ((mask, left), (~mask, right)))
    assert look.heat()[:, :4].tolist() == [[1.0] * 4] * 4
    assert look.heat()[:, 4:].tolist() == [[0.5] * 4] * 4
    assert [float(each.max()) for each in look.each()] == [1.0, 0.5]
    assert look.lung_mask().sum() == 16
    assert Look("sick", (4, 8), ((0 * hot, left),), ()).heat().max() == 0
    assert Look("sick", (4, 8), ((hot, left),), ()).lung_mask() is None


def test_files_bytes_and_arrays_have_one_answer(predictor: Predictor, drawn: list[np.ndarray], tmp_path: Path) -> None:
    Image.fromarray(drawn[0]).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    of_file, of_text, of_bytes, of_array = predictor.results(
        [tmp_path / "a.png", str(tmp_path / "a.png"), content, drawn[0]]
    )
    assert of_file == of_text
    assert of_file.path == str(tmp_path / "a.png")
    assert of_bytes == of_file.model_copy(update={"path": ""})
    assert of_array.scores == of_file.scores
    assert of_array.image != of_file.image  # of the pixels, not of the file
    black, other = predictor.results([np.zeros((60, 90), np.uint8), np.zeros((90, 60), np.uint8)])
    assert black.image != other.image
    expected = predictor.scores(predictor.prepare(tmp_path / "a.png"))[0]
    assert list(of_file.scores) == list(predictor.bundle.task.order)
    assert list(of_file.scores.values()) == pytest.approx(expected.tolist())
    assert of_file.positive_at == {"low": True}
    assert of_file.prediction_set == ("covid", "pneumonia")
    assert of_file.look is None
    assert "not for diagnosis" in of_file.purpose
    assert len(of_file.bundle) == 64


def test_what_cannot_be_used_is_an_answer_too(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    sources = [tmp_path / "absent.png", tmp_path / "empty.png", b"text", b"", np.zeros((4, 4), np.float64), np.ones(3)]
    results = list(predictor.results(sources))
    reasons = [result.left_out for result in results]
    assert reasons[0] == "file is absent"
    assert reasons[1] == reasons[3] == "file is empty"
    assert "not an image" in (reasons[2] or "")
    assert "float64, not 8 or 16 bits" in (reasons[4] or "")
    assert all(reasons)
    assert not any(result.scores for result in results)
    assert results[0].image == "file:1"
    assert results[2].image.startswith("sha256:")
    with pytest.raises(TypeError, match="put a single one into a list"):
        predictor.results("scan.dcm")


def test_a_dicom_image_has_its_uids_and_heat_in_its_stored_pixels(predictor: Predictor) -> None:
    data = examples.ct
    data.Modality, data.PixelSpacing = "DX", [0.2, 0.1]  # pixels twice as high as wide
    written = io.BytesIO()
    data.save_as(written)
    (result,) = predictor.results([written.getvalue()], look=True)
    assert (result.study, result.series, result.instance) == (
        data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID,
    )  # fmt: skip
    assert result.look is not None
    assert result.look.label == result.prediction
    assert result.look.heat().shape == (data.Rows, data.Columns)
    data = pydicom.dcmread(io.BytesIO(written.getvalue()))
    with pytest.warns(UserWarning, match="Invalid value"):
        data.StudyInstanceUID = "no uid"
    data.save_as(again := io.BytesIO())
    (result,) = predictor.results([again.getvalue()])
    assert result.study == ""


@pytest.mark.parametrize("uid", ["..", "1..2", ".1", "1.", "1.02", "1." + "2" * 63, "1.2/3"])
def test_a_text_that_is_no_uid_is_none(uid: str) -> None:
    data = pydicom.Dataset()
    data.add(pydicom.DataElement("StudyInstanceUID", "LO", uid))
    data.SeriesInstanceUID = "1.2." + "3" * 60
    assert identity(data) == ("", "1.2." + "3" * 60, "")


def test_a_result_is_json_without_the_look_and_read_back(predictor: Predictor, drawn: list[np.ndarray]) -> None:
    (result,) = predictor.results([drawn[0]], look=True)
    assert result.look is not None
    text = result.model_dump_json()
    assert "look" not in text
    assert Result.model_validate_json(text) == result.model_copy(update={"look": None})


def test_text_burned_in_is_flagged_if_it_is_asked_for(
    predictor: Predictor,
    drawn: list[np.ndarray],
    with_text: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_text("cxrflow.predictor")
    found = [next(predictor.results([drawn[0]], burned_in_text=asked)) for asked in (False, True)]
    flag = "has text burned into the picture (2 places)"
    assert [(result.text_places, flag in result.flags) for result in found] == [(None, False), (2, True)]
    monkeypatch.setattr("cxrflow.reading.letters.find_spec", lambda _: None)
    with pytest.raises(CxrflowError, match=r"^burned_in_text: .*pip install 'cxrflow\[text\]'"):
        predictor.results([drawn[0]], burned_in_text=True)
