"""The page in a real browser, against the real service on loopback."""

import base64
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from numpy.typing import NDArray

from cxrflow.bundle import Bundle, Network, OperatingPoint, PredictionSets
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.models import find_model
from cxrflow.outputs.tables import csv_table
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.reading import EXTENSIONS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra serve)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)
TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 (of a service that lives as long as a test)
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe"
#: How the page writes that name: nothing in it acts on the text around it.
HARMLESS = "<img src=x onerror=alert(1)>\\u202egnp.exe"
Picture = NDArray[np.uint8]
Page = Any


@pytest.fixture(scope="module")
def bundle(demo_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with random weights that looks for lungs, with operating points and prediction sets."""
    torch.manual_seed(1)
    images = demo_params.images.model_copy(update={"size": 64, "clahe_tiles": 4, "lungs": "opencv"})
    network = Network(model="crnn", images=images, mean=0.4, std=0.2, temperature=2.0, epoch=0, validation={})
    described = Bundle(
        cxrflow="0",
        task=demo_params.task,
        networks=(network,),
        thresholds={
            "specificity": OperatingPoint(wanted=0.9, threshold=0.25, sensitivity=0.8, specificity=0.91),
            "cost_ratio": OperatingPoint(wanted=10, prevalence=0.1, threshold=0.75, sensitivity=0.6, specificity=0.97),
        },
        prediction_sets=PredictionSets(coverage=0.9, least=dict.fromkeys(demo_params.task.order, 0.3)),
        sources={},
        drawn=True,
        digests={},
    )
    module = find_model("crnn").build(1, len(demo_params.task.order))
    module.train()(torch.randn(8, 1, 64, 64))  # some statistics for batch normalisation
    folder = tmp_path_factory.mktemp("bundle")
    empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
    write_bundle(folder, [module], described, seen_rows(empty))
    return folder


@pytest.fixture(scope="module")
def address(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of ``cxrflow serve``, which asks for TOKEN."""
    (bundle / "model-card.md").write_text(
        "# Model card: *one*\n\nA paragraph with `code` and <b>markup</b>.\n\n- first\n- second, **strong**\n\n"
        "| a | b |\n| --- | --- |\n| 1 | [words](javascript:alert(1)) |\n"
    )
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"someone: {TOKEN}\n")
    command = [sys.executable, "-m", "cxrflow.cli", "serve", "--bundle", str(bundle), "--port", "0"]
    command += ["--token-file", str(tokens)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout
            said = iter(process.stdout.readline, "")
            yield next(found[0] for line in said if (found := re.search(r"http://[\d.]+:\d+", line)))
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield running
        running.close()


@pytest.fixture
def new_page(browser: Any, address: str) -> Iterator[Callable[..., Page]]:
    """Opens the page, with the token unless ``known`` is false. What a test does with it must not make its console
    complain, and must not reach another server."""
    said: list[str] = []
    hosts: set[str] = set()
    contexts = []

    def start(width: int = 1280, height: int = 1000, known: bool = True, **more: Any) -> Page:
        headers = {"Authorization": f"Bearer {TOKEN}"} if known else {}
        viewport = {"width": width, "height": height}
        contexts.append(
            browser.new_context(viewport=viewport, extra_http_headers=headers, reduced_motion="reduce", **more)
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda sent: hosts.add(urlsplit(sent.url).netloc) if sent.url.startswith("http") else None)
        page.goto(address)
        if known:
            page.locator("#samples button").first.wait_for()
        return page

    yield start
    for context in contexts:
        context.close()
    # The browser itself reports each answer that is an error; that is how the service refuses.
    assert [line for line in said if not line.startswith("Failed to load resource")] == []
    assert hosts == {urlsplit(address).netloc}


def lines(page: Page, count: int) -> list[str]:
    """What the list says of its files, as soon as there are so many and none is waited for."""
    page.locator(f"#list li:nth-child({count}) button:not(.waiting)").wait_for()
    playwright.expect(page.locator("#list .waiting")).to_have_count(0)
    return [text.replace("\n", " ") for text in page.locator("#list li").all_inner_texts()]


def sample(page: Page, number: int = 0) -> None:
    there = page.locator("#list li").count()
    page.locator("#samples button").nth(number).click()
    lines(page, there + 1)
    seen(page)


def seen(page: Page, pane: int = 0) -> None:
    """Wait until a pane shows a picture."""
    page.locator(f".pane:nth-child({pane + 1}) [data-do=fit]:enabled").wait_for()


def shot(page: Page, pane: int = 0) -> Picture:
    """The pixels of a viewer, RGB, after it has been painted."""
    url = page.evaluate(
        """pane => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
             done(document.querySelectorAll(".pane .stage canvas")[pane].toDataURL()))))""",
        pane,
    )
    return decoded(url)


def decoded(url: str) -> Picture:
    stored = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1])


def set_slider(page: Page, name: str, value: int, pane: int = 0) -> None:
    page.locator(f"[name={name}]").nth(pane).fill(str(value))


def encoded(pixels: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def upload(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def dicom(address: str, path: Path) -> Path:
    """The service's first sample as a DICOM file with a patient's name in it."""
    pixels = cv2.imdecode(np.frombuffer(drawn(address), np.uint8), cv2.IMREAD_GRAYSCALE)
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    file.StudyInstanceUID, file.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    file.Modality, file.PatientName = "CR", "Doe^Jane"
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PixelData = (pixels.astype(np.uint16) * 16).tobytes()
    file.save_as(path, enforce_file_format=True)
    return path


def drawn(address: str, number: int = 0) -> bytes:
    with urlopen(f"{address}/samples/{number}.png") as response:  # noqa: S310 (our own)
        return response.read()


def test_a_sample_is_scored_at_once_as_the_predictor_scores_it(
    new_page: Callable[..., Page], address: str, bundle: Path
) -> None:
    page, predictor = new_page(), Predictor(bundle)
    sample(page)
    (result,) = predictor.results([drawn(address)])
    names = predictor.bundle.task.names
    score = sorted(result.scores.items(), key=lambda item: -item[1])
    said = page.locator(".bars li").all_inner_texts()
    assert [re.split(r"\s*\n\s*", text) for text in said] == [[names[name], f"{value:.2f}"] for name, value in score]
    bars = page.locator(".bar").evaluate_all(
        "all => all.map(bar => bar.firstChild.getBoundingClientRect().width / bar.clientWidth)"
    )
    assert bars == pytest.approx([value for _, value in score], abs=0.01)
    points = page.locator(".points").inner_text()
    for name, at in predictor.bundle.thresholds.items():
        word = "positive" if result.positive_at[name] else "negative"
        assert re.search(rf"{word} for COVID-19: [\d.]+ is (at least|below) the threshold {at.threshold:.2f}", points)
    assert "chosen for a specificity of 0.9" in points
    assert "On val: sensitivity 0.80, specificity 0.91; optimistic, because selected there." in points
    held = [names[name] for name in result.prediction_set or ()]
    assert page.locator(".set").inner_text().startswith(", ".join(held) or "no class")
    assert "90 % of new patients" in page.locator("#answer").inner_text()
    assert "not a medical device" in page.locator(".strip").inner_text()
    assert "drawings" in page.locator(".strip").inner_text()


def test_the_strip_stays_in_sight(new_page: Callable[..., Page]) -> None:
    page = new_page(height=600)
    sample(page)
    page.mouse.wheel(0, 5000)
    page.locator("#foot").scroll_into_view_if_needed()
    assert page.evaluate("scrollY") > 300
    assert page.locator(".strip").bounding_box()["y"] == pytest.approx(0, abs=1)


def test_a_drop_of_dicom_and_broken_files_lists_every_outcome_and_is_downloaded_as_predict_writes_it(
    new_page: Callable[..., Page], address: str, bundle: Path, tmp_path: Path
) -> None:
    page = new_page(accept_downloads=True)
    whole, broken = dicom(address, tmp_path / "Doe_Jane.dcm"), tmp_path / "broken.png"
    broken.write_bytes(drawn(address)[:2000])
    bodies: list[bytes] = []
    page.on("request", lambda request: bodies.append(request.post_data_buffer or b""))
    drop(page, [whole, broken])
    first, second = lines(page, 2)
    assert first.startswith("1. Doe_Jane.dcm ")
    assert "0." in first
    assert second.startswith("2. broken.png No answer: ")
    assert "2 done: 1 scored, 1 without an answer." in page.locator("#status").inner_text()
    assert bodies
    assert all(b"Doe_Jane" not in body and b"broken" not in body for body in bodies)
    page.locator("#list button").nth(1).click()
    assert page.locator("#warnings").inner_text().startswith("No answer.")
    assert page.locator("#answer").inner_text() == ""

    predictor = Predictor(bundle)
    results = list(predictor.results([whole.read_bytes(), broken.read_bytes()]))
    assert downloaded(page, "csv") == b"".join(csv_table(predictor.bundle, results, paths=False))
    table = json.loads(downloaded(page, "json"))
    assert [row["image"] for row in table] == [result.image for result in results]
    assert table[0]["scores"] == results[0].scores
    assert not {"look", "words", "path"} & set(table[0])
    page.locator("#names").check()
    assert b",Doe_Jane.dcm," in downloaded(page, "csv")


def downloaded(page: Page, button: str) -> bytes:
    with page.expect_download() as expected:
        page.locator(f"#{button}").click()
    return Path(expected.value.path()).read_bytes()


def drop(page: Page, paths: list[Path]) -> None:
    """As a person drops files and folders from the desktop."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 200, "data": data})


@pytest.mark.parametrize("how", ["dropped", "chosen"])
def test_a_folder_is_searched_for_radiographs(
    how: str, new_page: Callable[..., Page], address: str, tmp_path: Path
) -> None:
    page, folder = new_page(), tmp_path / "study"
    (folder / "deep" / ".hidden").mkdir(parents=True)
    for name in ("10.png", "9.png", "deep/1.2.840.113619", "deep/.hidden/no.png"):
        (folder / name).write_bytes(drawn(address, len(name) % 2))
    (folder / "notes.txt").write_text("not a radiograph")
    if how == "dropped":
        drop(page, [folder])
    else:
        page.locator("#folder").set_input_files(folder)
    playwright.expect(page.locator("#status")).to_have_text(
        "3 done: 3 scored, 0 without an answer; 2 other files passed over."
    )
    names = [line.split()[1] for line in lines(page, 3)]
    assert names == ["9.png", "10.png", "1.2.840.113619"]


def blocks(*values: int) -> bytes:
    """A PNG with 16 bits of grey: a block of 100 x 400 pixels for each value, from left to right."""
    return encoded(np.repeat(np.array([values], np.uint16), 400, axis=0).repeat(100, axis=1))


def middles(picture: Picture, count: int) -> list[int]:
    """The grey in the middle of each of ``blocks``, which fill the width of the viewer."""
    rows, columns = picture.shape[:2]
    found = [picture[rows // 2, int((n + 0.5) * columns / count)].tolist() for n in range(count)]
    assert all(red == green == blue for red, green, blue in found)
    return [red for red, _, _ in found]


def test_window_and_level_show_all_sixteen_bits(new_page: Callable[..., Page]) -> None:
    page, values = new_page(), (0, 20_000, 20_065, 20_129, 20_191, 65_535)
    page.locator("#files").set_input_files([upload("blocks.png", blocks(*values))])
    lines(page, 1)
    seen(page)
    set_slider(page, "opacity", 0)
    page.locator("[name=lungs]").uncheck()

    def windowed(level: float, width: float) -> list[int]:
        return [round(255 * min(1, max(0, (value - level) / width + 0.5))) for value in values]

    assert middles(shot(page), 6) == pytest.approx(windowed(32_767.5, 65_535), abs=0) == [0, 78, 78, 78, 79, 255]
    set_slider(page, "level", 20_145)  # the nearest step, a multiple of 255
    set_slider(page, "width", 765)
    assert middles(shot(page), 6) == windowed(20_145, 765) == [0, 79, 101, 122, 143, 255]
    page.locator("[data-do=invert]").click()
    assert middles(shot(page), 6) == [255, 176, 154, 133, 112, 0]
    page.locator("[data-do=reset]").click()
    assert middles(shot(page), 6) == windowed(32_767.5, 65_535)

    # Dragged with Shift by a tenth of the viewer to the right, the window is e to the power 0.2 times as wide.
    box = page.locator(".stage canvas").bounding_box()
    set_slider(page, "width", 25_500)
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 50 + box["width"] / 10, box["y"] + 50)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert middles(shot(page), 6) == pytest.approx(windowed(32_767.5, 25_500 * math.exp(0.2)), abs=1)


def test_the_heat_map_is_laid_over_with_the_opacity_of_its_slider(new_page: Callable[..., Page]) -> None:
    page = new_page()
    with page.expect_response("**/predict*") as answered:
        sample(page)
    look = answered.value.json()["results"][0]["look"]
    page.locator("[name=lungs]").uncheck()
    shots = {}
    for opacity in (0, 60, 100):
        set_slider(page, "opacity", opacity)
        shots[opacity] = shot(page).astype(float)
        assert page.locator("[data-is=opacity]").inner_text() == f"{opacity} %"
    side = shots[0].shape[0]
    heat = cv2.resize(decoded(look["heat"])[..., 0], (side, side))
    inferno = cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO)[..., ::-1].astype(float)
    share = ((heat / 255) ** 0.8)[..., None]
    none = cv2.dilate(heat, np.ones((7, 7), np.uint8)) == 0
    calm = cv2.GaussianBlur(np.abs(cv2.Laplacian(heat.astype(np.float32), -1)), (9, 9), 0) < 1
    for opacity in (60, 100):
        expected = shots[0] * (1 - share * opacity / 100) + inferno * share * opacity / 100
        assert np.abs(expected - shots[opacity])[calm].mean() < 2.5
        assert np.abs(expected - shots[opacity])[none].max() <= 1
    assert none.any()
    assert np.abs(shots[100] - shots[0]).max() > 60


def test_the_outline_is_where_lungs_begin(new_page: Callable[..., Page]) -> None:
    page = new_page()
    with page.expect_response("**/predict*") as answered:
        sample(page)
    lungs = decoded(answered.value.json()["results"][0]["look"]["lungs"])[..., 0]
    set_slider(page, "opacity", 0)
    with_outline = shot(page)
    page.locator("[name=lungs]").uncheck()
    changed = (with_outline != shot(page)).any(axis=-1)
    mask = (cv2.resize(lungs, changed.shape[::-1]) > 127).astype(np.uint8)
    border = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    near = cv2.dilate(border.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert mask.any()
    assert changed[border].mean() > 0.95
    assert not changed[~near].any()


def test_wheel_buttons_and_drag_zoom_and_move(new_page: Callable[..., Page]) -> None:
    page, values = new_page(), (0, 10_000, 20_000, 30_000, 40_000, 65_535)
    page.locator("#files").set_input_files([upload("blocks.png", blocks(*values))])
    lines(page, 1)
    seen(page)
    set_slider(page, "opacity", 0)
    shades = [round(value / 257) for value in values]
    box = page.locator(".stage canvas").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -667)  # e to the power 1.0005 is 2.72
    picture = shot(page)
    assert page.locator("[data-is=zoom]").inner_text() == "272 %"
    row = picture[picture.shape[0] // 2, :, 0]
    assert row[round(0.25 * len(row))] == shades[1]  # what was under the pointer is still there
    assert set(row[[0, -1]].tolist()) == {shades[0], shades[3]}
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"] - box["width"], box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    row = shot(page)[picture.shape[0] // 2, :, 0]
    assert row[round(0.25 * len(row))] == shades[3]  # by a width of the viewer, which shows 1 / 2.72 of the picture
    for _ in range(9):
        page.locator("[data-do=out]").click()
    assert page.locator("[data-is=zoom]").inner_text() == "100 %"
    assert middles(shot(page), 6) == shades


def test_two_fingers_zoom(new_page: Callable[..., Page]) -> None:
    page = new_page(has_touch=True)
    sample(page)
    box = page.locator(".stage canvas").bounding_box()
    session = page.context.new_cdp_session(page)

    def touch(kind: str, apart: float) -> None:
        middle = box["x"] + box["width"] / 2
        points = [{"x": middle + sign * apart, "y": box["y"] + 90, "id": sign + 1} for sign in (-1, 1)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else points})

    touch("touchStart", 40)
    touch("touchMove", 60)
    touch("touchMove", 80)
    touch("touchEnd", 0)
    shot(page)
    assert page.locator("[data-is=zoom]").inner_text() == "200 %"


def test_two_radiographs_are_compared_and_zoom_together(new_page: Callable[..., Page]) -> None:
    page = new_page()
    sample(page, 0)
    assert page.locator("#comparing").is_hidden()
    sample(page, 1)
    page.locator("#compare").select_option(index=2)
    seen(page, 1)
    captions = page.locator("figcaption").all_inner_texts()
    assert [caption[:2] for caption in captions] == ["1.", "2."]
    assert page.locator("#chosen-title").inner_text().startswith("1.")
    assert (shot(page, 0) != shot(page, 1)).any()
    page.locator("[data-do=in]").first.click()
    shot(page)
    assert page.locator("[data-is=zoom]").all_inner_texts() == ["125 %", "125 %"]
    page.locator("#linked").uncheck()
    page.locator("[data-do=in]").nth(1).click()
    shot(page)
    assert page.locator("[data-is=zoom]").all_inner_texts() == ["125 %", "156 %"]
    page.locator("#list button").nth(1).click()  # the one compared with: it is not shown twice
    assert page.locator(".pane").count() == 1


def test_everything_can_be_done_with_the_keyboard(new_page: Callable[..., Page]) -> None:
    page = new_page()

    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            ring = "e => e.matches(':focus-visible') && getComputedStyle(e).outlineStyle != 'none'"
            assert page.locator(":focus").evaluate_all(f"all => all.every({ring})")
            if page.locator(f"{selector}:focus").count():
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    tab_to(".skip")
    page.keyboard.press("Enter")
    tab_to("#choose-files")
    tab_to("#samples button")
    page.keyboard.press("Enter")
    lines(page, 1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the second sample
    lines(page, 2)
    seen(page)
    tab_to("#list button")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#chosen-title").inner_text().startswith("2.")
    seen(page)
    tab_to(".stage canvas")
    before = shot(page)
    for key in ("+", "+", "ArrowLeft", "i"):
        page.keyboard.press(key)
        after = shot(page)
        assert (after != before).any(), key
        before = after
    assert page.locator("[data-is=zoom]").inner_text() == "156 %"
    page.keyboard.press("Shift+ArrowLeft")
    assert (shot(page) != before).any()
    page.keyboard.press("r")
    playwright.expect(page.locator("[data-is=width]")).to_have_text("100 %")
    tab_to("[name=opacity]")
    page.keyboard.press("ArrowRight")
    shot(page)
    assert page.locator("[data-is=opacity]").inner_text() == "65 %"
    tab_to("#compare")
    page.keyboard.press("ArrowDown")
    seen(page, 1)
    tab_to("#csv")
    tab_to("#card summary")
    page.keyboard.press("Enter")
    assert page.locator("#card table").is_visible()


def opened(page: Page) -> None:
    """Everything that the page can show at once."""
    sample(page, 0)
    sample(page, 1)
    page.locator("#files").set_input_files([upload("broken.png", b"\x89PNG\r\n\x1a\n")])
    lines(page, 3)
    page.locator("#compare").select_option(index=2)
    seen(page, 1)
    for summary in page.locator("summary").all():
        summary.click()


@pytest.mark.parametrize("width", [360, 390, 640, 1280])  # 640: of 1280 pixels at 200 %
def test_nothing_is_cut_and_the_page_does_not_scroll_sideways(width: int, new_page: Callable[..., Page]) -> None:
    page = new_page(width=width, height=844)
    opened(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    beyond = """all => all.filter(e => e.checkVisibility() && !e.closest(".skip, thead, .scroll")).filter(e => {
        const {left, right} = e.getBoundingClientRect();
        return right > innerWidth + 1 || left < -1;
    }).map(e => e.outerHTML)"""
    assert page.locator("body *").evaluate_all(beyond) == []


@pytest.mark.skipif(find_spec("axe_core_python") is None, reason="axe-core-python is not installed (extra dev)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_against_the_page(scheme: str, new_page: Callable[..., Page]) -> None:
    (package,) = find_spec("axe_core_python").submodule_search_locations
    axe = (Path(package) / "axe.min.js").read_text()
    page = new_page(color_scheme=scheme)
    opened(page)
    page.evaluate(axe)
    run = """axe.run(document).then(({passes, violations}) => [passes.length,
        violations.map(v => [v.id, v.help, v.nodes.slice(0, 4).map(n => n.html)])])"""
    for entry in (0, 2):  # with an answer, and without
        page.locator("#list button").nth(entry).click()
        passes, violations = page.evaluate(run)
        assert violations == []
        assert passes > 20
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == scheme


def test_hostile_names_notes_and_cards_are_shown_as_text(
    new_page: Callable[..., Page], address: str, bundle: Path
) -> None:
    page = new_page()

    def hostile(route: Any) -> None:
        body = route.fetch().json()
        for result in body["results"]:
            result |= {"note": HOSTILE, "flags": [HOSTILE]}
        route.fulfill(json=body)

    page.route("**/predict*", hostile)
    page.locator("#files").set_input_files([upload(HOSTILE, drawn(address))])
    (line,) = lines(page, 1)
    assert line.startswith(f"1. {HARMLESS} ")
    assert line.endswith("· 1 warning")
    seen(page)
    assert page.locator("#chosen-title").inner_text() == f"1. {HARMLESS}"
    warned = page.locator("#warnings").inner_text()
    assert f"This image {HARMLESS}." in warned
    assert f"File header: {HARMLESS}" in warned
    assert HARMLESS in page.locator("figcaption").inner_text()
    page.locator("#card summary").click()
    card = page.locator("#card .card-text")
    assert card.locator("h3").inner_text() == "Model card: one"
    assert card.locator("h3 em").inner_text() == "one"
    assert card.locator("p").first.inner_text() == "A paragraph with code and <b>markup</b>."
    assert card.locator("li").all_inner_texts() == ["first", "second, strong"]
    assert card.locator("td").all_inner_texts() == ["1", "words (javascript:alert(1))"]
    assert page.locator("img, a:not(.skip)").count() == 0


def test_a_token_is_asked_for_and_kept_in_memory_alone(new_page: Callable[..., Page]) -> None:
    page = new_page(known=False)
    dialog = page.locator("#token")
    for token, again in (("wrong", False), (TOKEN, True)):
        playwright.expect(dialog).to_contain_text("does not accept" if again else "kept until this page is closed")
        dialog.locator("input").fill(token)
        page.keyboard.press("Enter")
    page.locator("#samples button").first.wait_for()
    assert dialog.is_hidden()
    sample(page)
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert TOKEN not in page.content()
    page.reload()
    playwright.expect(dialog).to_be_visible()


def test_a_busy_service_is_asked_again_and_a_refused_group_file_by_file(
    new_page: Callable[..., Page], address: str
) -> None:
    page, asked = new_page(), []

    def refuse(route: Any) -> None:
        asked.append(route.request.post_data_buffer.count(b'name="files"'))
        if len(asked) == 1:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"detail": "busy", "request": "1"})
        elif asked[-1] > 1:
            route.fulfill(status=413, json={"detail": "together too much", "request": "2"})
        elif len(asked) == 4:
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"detail": "slow", "request": "3"})
        elif len(asked) == 6:
            route.fulfill(status=500, json={"detail": "the service failed", "request": "4"})
        else:
            route.continue_()

    page.route("**/predict*", refuse)
    names = ("one.png", "two.png", "three.png")
    page.locator("#files").set_input_files([upload(name, drawn(address, n)) for n, name in enumerate(names)])
    found = lines(page, 3)
    assert asked == [3, 3, 1, 1, 1, 1]
    assert ["No answer: The service failed." in line for line in found] == [False, False, True]


def test_cancelled_files_stay_listed(new_page: Callable[..., Page], address: str) -> None:
    page, held = new_page(), []
    page.route("**/predict*", lambda route: held.append(route) if held else route.continue_() or held.append(None))
    names = [f"{n}.png" for n in range(9)]
    page.locator("#files").set_input_files([upload(name, drawn(address, n % 3)) for n, name in enumerate(names)])
    playwright.expect(page.locator("#status")).to_have_text("4 of 9 done.")
    page.locator("#cancel").click()
    found = lines(page, 9)
    assert [line.endswith("No answer: Cancelled before it was scored.") for line in found] == [False] * 4 + [True] * 5
    assert page.locator("#progress").is_hidden()
    page.locator("#clear").click()
    assert page.locator("#list li").count() == 0
    assert page.locator("#results").is_hidden()
    page.unroute("**/predict*")
    sample(page)
    assert page.locator("#chosen-title").inner_text().startswith("1.")


def test_a_picture_that_was_let_go_is_asked_for_again(new_page: Callable[..., Page], address: str) -> None:
    page, looks = new_page(), []
    page.on("request", lambda sent: looks.append(sent.url.rpartition("=")[2]) if "predict" in sent.url else None)
    page.locator("#files").set_input_files([upload(f"{n}.png", drawn(address, n % 3)) for n in range(5)])
    lines(page, 5)
    seen(page)
    assert sorted(looks) == ["false", "false", "true"]  # five in two groups, and the picture of the first
    for _ in range(2):  # twice the same: the picture is kept
        for number in (1, 0):
            page.locator("#list button").nth(number).click()
            playwright.expect(page.locator("figcaption")).to_contain_text(f"{number + 1}. ")
    assert looks.count("true") == 2


def test_what_the_page_repeats_of_the_package_is_the_same(new_page: Callable[..., Page], address: str) -> None:
    page = new_page()
    assert page.evaluate("import('/static/files.js').then(each => each.EXTENSIONS)") == list(EXTENSIONS)
    inferno = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    assert page.evaluate("import('/static/inferno.js').then(each => each.INFERNO)") == inferno.tolist()
