"""The viewer shows what the service sent: grey levels, heat, lungs, and the part that is asked for."""

import math
import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

NewPage = Callable[..., Any]
CASES = ("case", "other")


def blocks(*values: int) -> bytes:
    """A PNG with 16 bits of grey: a block of 100 x 400 pixels for each value, from left to right."""
    pixels = np.repeat(np.array([values], np.uint16), 400, axis=0).repeat(100, axis=1)
    return cv2.imencode(".png", pixels)[1].tobytes()


def middles(picture: NDArray[np.uint8], count: int) -> list[int]:
    """The grey in the middle of each of ``blocks``, which fill the width of the viewer."""
    rows, columns = picture.shape[:2]
    found = [picture[rows // 2, int((n + 0.5) * columns / count)].tolist() for n in range(count)]
    assert all(red == green == blue for red, green, blue in found)
    return [red for red, _, _ in found]


def test_window_and_level_show_all_sixteen_bits(new_page: NewPage) -> None:
    page, values = new_page(), (0, 20_000, 20_065, 20_129, 20_191, 65_535)
    page.give(("blocks.png", blocks(*values)))
    page.lines(1)
    page.seen()
    page.slider("opacity", 0)
    page.locator("[name=lungs]").uncheck()

    def windowed(level: float, width: float) -> list[int]:
        return [round(255 * min(1, max(0, (value - level) / width + 0.5))) for value in values]

    assert middles(page.shot(), 6) == pytest.approx(windowed(32_767.5, 65_535), abs=0) == [0, 78, 78, 78, 79, 255]
    page.slider("level", 20_145)  # the nearest step, a multiple of 255
    page.slider("width", 765)
    assert middles(page.shot(), 6) == windowed(20_145, 765) == [0, 79, 101, 122, 143, 255]
    page.locator("[data-do=invert]").click()
    assert middles(page.shot(), 6) == [255, 176, 154, 133, 112, 0]
    page.locator("[data-do=reset]").click()
    assert middles(page.shot(), 6) == windowed(32_767.5, 65_535)

    # Dragged with Shift by a tenth of the viewer to the right, the window is e to the power 0.2 times as wide.
    box = page.locator(".stage canvas").bounding_box()
    page.slider("width", 25_500)
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 50 + box["width"] / 10, box["y"] + 50)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert middles(page.shot(), 6) == pytest.approx(windowed(32_767.5, 25_500 * math.exp(0.2)), abs=1)


def test_the_heat_map_is_laid_over_with_the_opacity_of_its_slider(
    new_page: NewPage, of_url: Callable[[str], NDArray[np.uint8]]
) -> None:
    page = new_page()
    with page.expect_response("**/predict*") as answered:
        page.sample()
    look = answered.value.json()["results"][0]["look"]
    page.locator("[name=lungs]").uncheck()
    shots = {}
    for opacity in (0, 60, 100):
        page.slider("opacity", opacity)
        shots[opacity] = page.shot().astype(float)
        assert page.locator("[data-is=opacity]").inner_text() == f"{opacity} %"
    side = shots[0].shape[0]
    heat = cv2.resize(of_url(look["heat"])[..., 0], (side, side))
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


def test_the_outline_is_where_lungs_begin(new_page: NewPage, of_url: Callable[[str], NDArray[np.uint8]]) -> None:
    page = new_page()
    with page.expect_response("**/predict*") as answered:
        page.sample()
    lungs = of_url(answered.value.json()["results"][0]["look"]["lungs"])[..., 0]
    page.slider("opacity", 0)
    with_outline = page.shot()
    page.locator("[name=lungs]").uncheck()
    changed = (with_outline != page.shot()).any(axis=-1)
    mask = (cv2.resize(lungs, changed.shape[::-1]) > 127).astype(np.uint8)
    border = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    near = cv2.dilate(border.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert mask.any()
    assert changed[border].mean() > 0.95
    assert not changed[~near].any()


def test_wheel_buttons_and_drag_zoom_and_move(new_page: NewPage) -> None:
    page, values = new_page(), (0, 10_000, 20_000, 30_000, 40_000, 65_535)
    page.give(("blocks.png", blocks(*values)))
    page.lines(1)
    page.seen()
    page.slider("opacity", 0)
    shades = [round(value / 257) for value in values]
    box = page.locator(".stage canvas").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -667)  # e to the power 1.0005 is 2.72
    picture = page.shot()
    assert page.locator("[data-is=zoom]").inner_text() == "272 %"
    row = picture[picture.shape[0] // 2, :, 0]
    assert row[round(0.25 * len(row))] == shades[1]  # what was under the pointer is still there
    assert set(row[[0, -1]].tolist()) == {shades[0], shades[3]}
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"] - box["width"], box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    row = page.shot()[picture.shape[0] // 2, :, 0]
    assert row[round(0.25 * len(row))] == shades[3]  # by a width of the viewer, which shows 1 / 2.72 of the picture
    for _ in range(9):
        page.locator("[data-do=out]").click()
    assert page.locator("[data-is=zoom]").inner_text() == "100 %"
    assert middles(page.shot(), 6) == shades


def test_two_fingers_zoom(new_page: NewPage) -> None:
    page = new_page(has_touch=True)
    page.sample()
    box = page.locator(".stage canvas").bounding_box()
    session = page.session()

    def touch(kind: str, apart: float) -> None:
        middle = box["x"] + box["width"] / 2
        points = [{"x": middle + sign * apart, "y": box["y"] + 90, "id": sign + 1} for sign in (-1, 1)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else points})

    touch("touchStart", 40)
    touch("touchMove", 60)
    touch("touchMove", 80)
    touch("touchEnd", 0)
    page.shot()
    assert page.locator("[data-is=zoom]").inner_text() == "200 %"


def test_two_radiographs_are_compared_and_zoom_together(new_page: NewPage) -> None:
    page = new_page()
    page.sample(0)
    assert page.locator("#comparing").is_hidden()
    page.sample(1)
    page.locator("#compare").select_option(index=2)
    page.seen(1)
    captions = page.locator("figcaption").all_inner_texts()
    assert [caption[:2] for caption in captions] == ["1.", "2."]
    titles = page.locator(".case h3").all_inner_texts()
    assert [title[:2] for title in titles] == ["1.", "2."]
    # Each has its own answer below its own picture, the two side by side.
    best = [line.rpartition("\n")[2] for line in page.locator("#list li").all_inner_texts()]
    shown = page.locator(".case .bars li:first-child").all_inner_texts()
    assert [re.split(r"\s*\n\s*", text) for text in shown] == [line.rsplit(" ", 1) for line in best]
    boxes = [[page.locator(f"#{case} {part}").bounding_box() for part in (".stage", ".bars")] for case in CASES]
    assert all(bars["y"] > canvas["y"] + canvas["height"] and bars["x"] == canvas["x"] for canvas, bars in boxes)
    (first, bars), (second, other) = boxes
    assert (first["y"], bars["y"]) == (second["y"], other["y"])
    assert first["x"] + first["width"] < second["x"]
    assert (page.shot(0) != page.shot(1)).any()
    page.locator("[data-do=in]").first.click()
    page.shot()
    assert page.locator("[data-is=zoom]").all_inner_texts() == ["125 %", "125 %"]
    page.locator("#linked").uncheck()
    page.locator("[data-do=in]").nth(1).click()
    page.shot()
    assert page.locator("[data-is=zoom]").all_inner_texts() == ["125 %", "156 %"]
    page.locator("#list button").nth(1).click()  # the one compared with: it is not shown twice
    assert page.locator(".pane").count() == 1
    assert page.locator("#other").is_hidden()


def test_two_radiographs_and_their_answers_are_below_one_another_on_a_phone(new_page: NewPage) -> None:
    page = new_page(width=360)
    page.sample(0)
    page.sample(1)
    page.locator("#compare").select_option(index=2)
    page.seen(1)
    tops = [
        page.locator(f"#{case} {part}").first.bounding_box()["y"]
        for case in CASES
        for part in ("h3", ".stage", ".bars")
    ]
    assert tops == sorted(tops)
    assert len({page.locator(f"#{case}").bounding_box()["x"] for case in CASES}) == 1


def test_a_classifier_that_does_not_look_for_lungs_says_so_in_place_of_the_option(new_page: NewPage) -> None:
    page = new_page()

    def without(route: Any) -> None:
        body = route.fetch().json()
        for result in body["results"]:
            result["look"]["lungs"] = None
        route.fulfill(json=body)

    page.sample()
    assert page.locator("[name=lungs]").is_visible()
    page.route("**/predict*", without)
    page.sample(1)
    page.locator("#list button").nth(1).click()
    page.expect("[data-is=without-lungs]").to_have_text("No outline: this classifier does not look for lungs.")
    assert page.locator("[name=lungs]").is_hidden()
